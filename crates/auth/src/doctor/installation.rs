//! The service itself: what it says about its store, its keys and its clock, who may come in, and whether the identity provider answers.

use chassis::config::Loaded;
use serde_json::Value;
use url::Url;

use super::probe::Prober;
use super::report::{Report, Who};
use crate::config::Config;
use crate::idp::oidc::{self, OidcSettings};
use crate::settings::{ProviderSettings, Settings};

const PLACE: &str = "the installation";

pub(super) async fn examine(
    prober: &Prober,
    loaded: &Loaded<Config>,
    settings: &Settings,
    private: &Url,
    report: &mut Report,
) {
    readiness(private, report).await;
    people(loaded, settings, report);
    if !settings.sites.is_https() {
        report.note(
            PLACE,
            "https",
            "the public URLs are http: only clients on this machine should use them",
        );
    }
    match &settings.provider {
        ProviderSettings::GitHub { url, .. } => github(prober, url, report).await,
        ProviderSettings::Oidc(settings) => openid(settings, report).await,
        ProviderSettings::Local(_) => {}
    }
}

/// What the private listener says.
async fn readiness(private: &Url, report: &mut Report) {
    let asked = async {
        let url = private
            .join("/health/ready")
            .map_err(|error| error.to_string())?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(5))
            .build()
            .map_err(|error| error.to_string())?;
        let answer = client.get(url).send().await.map_err(|_| {
            format!("nothing answers at {private} (PRIVATE_HOST, PRIVATE_PORT): is mcp-auth running here?")
        })?;
        answer
            .json::<Value>()
            .await
            .map_err(|_| format!("what answers at {private} is not mcp-auth"))
    };
    let ready = match asked.await {
        Ok(ready) => ready,
        Err(problem) => {
            let advice = "start mcp-auth, or name its private listener with --url";
            report.broken(
                PLACE,
                "the service runs",
                problem,
                advice,
                &[Who::Everybody],
            );
            return;
        }
    };
    let checks = ready.get("checks").and_then(Value::as_array);
    for check in checks.into_iter().flatten() {
        let name = check.get("name").and_then(Value::as_str).unwrap_or("?");
        let problem = check.get("problem").and_then(Value::as_str);
        let outcome = problem.map_or(Ok(()), |problem| Err(problem.to_owned()));
        let what = format!("{name} is well");
        report.check(
            PLACE,
            what,
            outcome,
            "see the log of mcp-auth",
            &[Who::Everybody],
        );
    }
}

fn people(loaded: &Loaded<Config>, settings: &Settings, report: &mut Report) {
    let (github, oidc) = (&loaded.config.github, &loaded.config.oidc);
    let what = "who may come in";
    let (users, everybody, counted) = match &settings.provider {
        ProviderSettings::Local(_) => {
            report.ok(PLACE, format!("{what} (the configuration's own list)"));
            return;
        }
        ProviderSettings::GitHub { .. } => (
            &github.allowed_users,
            "everybody who has a GitHub account (ALLOWED_GITHUB_USERS=*)",
            [
                (github.allowed_orgs.len(), "organisations"),
                (github.allowed_teams.len(), "teams"),
            ],
        ),
        ProviderSettings::Oidc(_) => (
            &oidc.allowed_users,
            "everybody whom the provider knows (ALLOWED_OIDC_USERS=*)",
            [(oidc.allowed_groups.len(), "groups"), (0, "")],
        ),
    };
    if users.iter().any(|user| user == "*") {
        report.note(PLACE, what, everybody);
        return;
    }
    let shown: Vec<String> = std::iter::once((users.len(), "names"))
        .chain(counted)
        .filter(|(count, _)| *count > 0)
        .map(|(count, of)| format!("{of}: {count}"))
        .collect();
    report.ok(PLACE, format!("{what} ({})", shown.join(", ")));
}

/// The issuer is what it is said to be, and has keys.
async fn openid(settings: &OidcSettings, report: &mut Report) {
    let outcome = match oidc::examine(settings).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    report.check(
        PLACE,
        format!("{} is an issuer of OpenID Connect that can be used", settings.issuer),
        outcome,
        "nobody can sign in until it is; who is signed in goes on. See OIDC_ISSUER, and whether the way out is blocked",
        &[Who::Everybody],
    );
}

/// GitHub answers, and its clock agrees with ours: tokens carry times.
async fn github(prober: &Prober, url: &Url, report: &mut Report) {
    let outcome = match prober.get(url.as_str()).await {
        Err(problem) => Err(problem),
        Ok(answer) if answer.status >= 500 => Err(format!("answers {}", answer.shown())),
        Ok(_) => Ok(()),
    };
    report.check(
        PLACE,
        format!("{url} answers"),
        outcome,
        "nobody can sign in until it does; who is signed in goes on. Is the way out blocked?",
        &[Who::Everybody],
    );
}
