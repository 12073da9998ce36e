//! GitHub as identity provider, against a fake one that checks what GitHub checks.

use testkit::github::{Approval, CLIENT_ID, CLIENT_SECRET, GitHub, User};
use testkit::network::http_client;
use url::Url;

use crate::answer::{Answer, answer};
use crate::audit::audit_lines;
use crate::service::{AUTH, Auth, ISSUER};
use crate::sign_in::{Held, STATE, Tokens, ask, consent_page, decide, public_client, redemption};

/// A service and its GitHub.
pub(crate) struct Fixture {
    pub(crate) github: GitHub,
    pub(crate) auth: Auth,
}

/// Both, with octocat on the list.
pub(crate) async fn start(changes: &[(&str, &str)]) -> Fixture {
    let callback = Url::parse(&format!("{ISSUER}/callback")).unwrap();
    let people = [
        User::new(583_231, "octocat").in_team("acme", "robots"),
        User::new(9919, "mona"),
    ];
    let github = GitHub::start(&callback, people).unwrap();
    github.set_approval(Approval::Automatic("octocat".to_owned()));
    let (url, api_url) = (github.url(), github.api_url());
    let mut settings = vec![
        ("IDENTITY_PROVIDER", "github"),
        ("LOCAL_USERS", ""),
        ("GITHUB_CLIENT_ID", CLIENT_ID),
        ("GITHUB_CLIENT_SECRET", CLIENT_SECRET),
        ("GITHUB_URL", url.as_str()),
        ("GITHUB_API_URL", api_url.as_str()),
        ("ALLOWED_GITHUB_USERS", "octocat"),
    ];
    settings.extend(changes);
    let auth = Auth::start_with(&settings).await;
    Fixture { github, auth }
}

/// The browser on its way to GitHub.
pub(crate) struct Leaving {
    pub(crate) cookie: String,
    pub(crate) to: Url,
}

impl Fixture {
    /// Agrees at our page.
    pub(crate) async fn approve(&self, client_id: &str) -> Leaving {
        let held = consent_page(&ask(&self.auth, client_id, &[]).await);
        let answer = decide(&self.auth, &held, "approve").await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let [cookie] = answer.cookies().try_into().unwrap();
        Leaving {
            cookie,
            to: answer.location(),
        }
    }

    /// GitHub sends the browser on at once, because it has approved before: path and query of the callback.
    pub(crate) async fn at_github(&self, leaving: &Leaving) -> String {
        let passed = answer(http_client().unwrap().get(leaving.to.clone())).await;
        let back = passed.location();
        assert!(
            back.as_str().starts_with(&format!("{ISSUER}/callback?")),
            "{back}"
        );
        format!("{}?{}", back.path(), back.query().unwrap())
    }

    /// The browser is at our callback.
    pub(crate) async fn come_back(&self, cookie: &str, callback: &str) -> Answer {
        let request = self.auth.request("GET", AUTH, callback);
        answer(request.header("Cookie", cookie)).await
    }

    /// The whole way.
    pub(crate) async fn sign_in(&self, client_id: &str) -> Answer {
        let leaving = self.approve(client_id).await;
        let callback = self.at_github(&leaving).await;
        self.come_back(&leaving.cookie, &callback).await
    }
}

/// The answer is a page, and leads nowhere.
pub(crate) fn assert_page(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.count("location"), 0, "{answer:?}");
}

#[tokio::test]
async fn somebody_on_the_list_gets_tokens() {
    let fixture = start(&[]).await;
    let auth = &fixture.auth;
    let client = public_client(auth).await;
    let granted = fixture.sign_in(&client.id).await;
    assert_eq!(granted.status, 303, "{granted:?}");
    assert_eq!(granted.parameter("state").as_deref(), Some(STATE));
    assert_eq!(granted.parameter("iss").as_deref(), Some(ISSUER));
    let code = granted.parameter("code").unwrap();
    let tokens = Tokens::of(&auth.post("/token", &redemption(&client, &code)).await);
    let verified = auth.verify(&tokens.access).await;
    assert_eq!(verified.header("x-auth-subject"), "github:583231");
    assert_eq!(verified.header("x-auth-login"), "octocat");
    assert!(fixture.github.complaints().is_empty());
}

#[tokio::test]
async fn somebody_who_is_not_on_the_list_is_refused_at_the_client() {
    let fixture = start(&[]).await;
    fixture
        .github
        .set_approval(Approval::Automatic("mona".to_owned()));
    let client = public_client(&fixture.auth).await;
    let refused = fixture.sign_in(&client.id).await;
    assert_eq!(refused.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(refused.parameter("code"), None);
    assert_eq!(refused.parameter("state").as_deref(), Some(STATE));
    assert_eq!(refused.parameter("iss").as_deref(), Some(ISSUER));
}

/// Attacker approves in one browser; the victim, signed in at GitHub, opens the captured address in another.
#[tokio::test]
async fn a_captured_address_gives_no_code_in_another_browser() {
    let fixture = start(&[]).await;
    let client = public_client(&fixture.auth).await;
    let attackers = fixture.approve(&client.id).await;
    let victims = fixture.approve(&client.id).await;
    let callback = fixture.at_github(&attackers).await;
    assert_page(&fixture.come_back("", &callback).await, 400);
    assert_page(&fixture.come_back(&victims.cookie, &callback).await, 400);
    // GitHub has not been asked about the code.
    let granted = fixture.come_back(&attackers.cookie, &callback).await;
    assert_eq!(granted.status, 303, "{granted:?}");
    assert_page(&fixture.come_back(&attackers.cookie, &callback).await, 400);
}

#[tokio::test]
async fn a_changed_state_gives_no_code() {
    let fixture = start(&[]).await;
    let client = public_client(&fixture.auth).await;
    let leaving = fixture.approve(&client.id).await;
    let callback = fixture.at_github(&leaving).await;
    for wrong in [
        "/callback".to_owned(),
        "/callback?code=x".to_owned(),
        "/callback?code=x&state=".to_owned(),
        callback.replace("state=", "state=x"),
        format!("{callback}&state=x"),
        format!("{callback}x"),
    ] {
        assert_page(&fixture.come_back(&leaving.cookie, &wrong).await, 400);
    }
    let granted = fixture.come_back(&leaving.cookie, &callback).await;
    assert_eq!(granted.status, 303, "{granted:?}");
}

/// A fault of the Python gateway: a refusal at GitHub became a 422.
#[tokio::test]
async fn a_refusal_at_github_is_told_to_the_client() {
    let fixture = start(&[]).await;
    let client = public_client(&fixture.auth).await;
    let leaving = fixture.approve(&client.id).await;
    let state = crate::answer::parameter(&leaving.to, "state").unwrap();
    let callback = format!(
        "/callback?error=access_denied&error_description=The+user+has+denied&state={state}"
    );
    let refused = fixture.come_back(&leaving.cookie, &callback).await;
    assert_eq!(refused.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(refused.parameter("state").as_deref(), Some(STATE));
    assert_page(&fixture.come_back(&leaving.cookie, &callback).await, 400);
}

/// A fault of the Python gateway: a name taken off the list kept its tokens.
#[tokio::test]
async fn a_name_taken_off_the_list_is_out_after_the_restart() {
    let store = tempfile::tempdir().unwrap();
    let path = store.path().join("auth.redb");
    let redb = [("STORE", "redb"), ("STORE_PATH", path.to_str().unwrap())];
    let before = start(&redb).await;
    let client = public_client(&before.auth).await;
    let code = before.sign_in(&client.id).await.parameter("code").unwrap();
    let tokens = Tokens::of(
        &before
            .auth
            .post("/token", &redemption(&client, &code))
            .await,
    );
    assert_eq!(before.auth.verify(&tokens.access).await.status, 200);
    drop(before);
    let [store, path] = redb;
    let after = start(&[store, path, ("ALLOWED_GITHUB_USERS", "mona")]).await;
    let auth = &after.auth;
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
    let refused = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
}

#[tokio::test]
async fn the_password_page_belongs_to_the_other_provider() {
    let fixture = start(&[]).await;
    let page = fixture.auth.get(AUTH, "/login?state=x").await;
    assert_eq!(page.refusal(), "404 not_found");
    let held = Held {
        cookie: String::new(),
        fields: vec![],
    };
    let posted = answer(crate::sign_in::form(&fixture.auth, "/login", &held, &[])).await;
    assert_eq!(posted.refusal(), "404 not_found");
}

/// A name that was given up and taken by somebody else opens nothing: names are pinned to GitHub's number.
#[tokio::test]
async fn whoever_takes_over_a_listed_name_is_not_let_in() {
    let fixture = start(&[]).await;
    let client = public_client(&fixture.auth).await;
    assert!(
        fixture
            .sign_in(&client.id)
            .await
            .parameter("code")
            .is_some()
    );
    fixture
        .github
        .set_user(User::new(583_231, "octocat-renamed"));
    fixture.github.set_user(User::new(777, "octocat"));
    let refused = fixture.sign_in(&client.id).await;
    assert_eq!(refused.parameter("error").as_deref(), Some("access_denied"));
    assert_eq!(refused.parameter("code"), None);
    fixture.auth.logs.wait_for("name_taken_over").await.unwrap();
    let lines = audit_lines(&fixture.auth);
    let line = lines.iter().find(|line| line["event"] == "name_taken_over");
    let line = line.unwrap();
    for (field, value) in [
        ("entry", "octocat"),
        ("subject", "github:777"),
        ("before", "github:583231"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
}

/// A fault of the Python gateway: names were compared with their case.
#[tokio::test]
async fn names_and_teams_are_compared_as_github_does() {
    for (list, value, login, is_admitted) in [
        ("ALLOWED_GITHUB_USERS", " OctoCat , hubot", "octocat", true),
        ("ALLOWED_GITHUB_USERS", "octocat2,octo", "octocat", false),
        ("ALLOWED_GITHUB_USERS", "*", "mona", true),
        ("ALLOWED_GITHUB_ORGS", "ACME", "octocat", true),
        ("ALLOWED_GITHUB_ORGS", "acme", "mona", false),
        ("ALLOWED_GITHUB_TEAMS", "Acme/Robots", "octocat", true),
        ("ALLOWED_GITHUB_TEAMS", "acme/people", "octocat", false),
    ] {
        let fixture = start(&[("ALLOWED_GITHUB_USERS", ""), (list, value)]).await;
        fixture
            .github
            .set_approval(Approval::Automatic(login.to_owned()));
        let client = public_client(&fixture.auth).await;
        let answer = fixture.sign_in(&client.id).await;
        let has_code = answer.parameter("code").is_some();
        assert_eq!(has_code, is_admitted, "{list}={value} {login}: {answer:?}");
        assert!(fixture.github.complaints().is_empty());
    }
}

#[tokio::test]
async fn the_last_of_many_organisations_counts_too() {
    let fixture = start(&[
        ("ALLOWED_GITHUB_USERS", ""),
        ("ALLOWED_GITHUB_ORGS", "organisation-249"),
    ])
    .await;
    let joiner = (0..250).fold(User::new(1, "joiner"), |user, number| {
        user.in_organization(&format!("organisation-{number}"))
    });
    fixture.github.set_user(joiner);
    fixture
        .github
        .set_approval(Approval::Automatic("joiner".to_owned()));
    let client = public_client(&fixture.auth).await;
    let answer = fixture.sign_in(&client.id).await;
    assert!(answer.parameter("code").is_some(), "{answer:?}");
}

/// Each way in is held against its own list: who came in by name is out without it, whatever else is configured.
#[tokio::test]
async fn a_name_taken_off_the_list_is_out_although_an_organisation_is_listed() {
    let store = tempfile::tempdir().unwrap();
    let path = store.path().join("auth.redb");
    let [store, path] = [("STORE", "redb"), ("STORE_PATH", path.to_str().unwrap())];
    let orgs = ("ALLOWED_GITHUB_ORGS", "other,acme");
    let by_name = start(&[store, path, ("ALLOWED_GITHUB_USERS", "mona"), orgs]).await;
    let client = public_client(&by_name.auth).await;
    let mut tokens = Vec::new();
    for login in ["mona", "octocat"] {
        let automatic = Approval::Automatic(login.to_owned());
        by_name.github.set_approval(automatic);
        let code = by_name.sign_in(&client.id).await.parameter("code").unwrap();
        let form = redemption(&client, &code);
        tokens.push(Tokens::of(&by_name.auth.post("/token", &form).await));
    }
    drop(by_name);
    let after = start(&[store, path, ("ALLOWED_GITHUB_USERS", "hubot"), orgs]).await;
    let [by_name, by_organisation] = tokens.try_into().unwrap();
    assert_eq!(after.auth.verify(&by_name.access).await.status, 401);
    let refused = after.auth.refresh(&client, &by_name.refresh).await;
    assert_eq!(refused.refusal(), "400 invalid_grant");
    assert_eq!(after.auth.verify(&by_organisation.access).await.status, 200);
    assert_eq!(
        after
            .auth
            .refresh(&client, &by_organisation.refresh)
            .await
            .status,
        200
    );
}
