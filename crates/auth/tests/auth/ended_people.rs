//! Somebody whose access ended between their yes and the exchange gets no tokens for what they granted before.

use std::sync::Arc;

use oauth::{ManualClock, Timestamp};

use crate::administration;
use crate::answer::Answer;
use crate::audit::audit_lines;
use crate::device::{ask, poll, television, type_code};
use crate::reload::until_read;
use crate::service::{Auth, PASSWORD, USERNAME};
use crate::service_rules::ada_and_bob;
use crate::sign_in::{
    Client, Tokens, approved, code, consent_page, decide, log_in, public_client, redemption,
};

/// What a client and a device hold that a person has approved.
struct Approved {
    client: Client,
    code: String,
    television: Client,
    asked: Answer,
}

impl Approved {
    async fn by_ada(auth: &Auth) -> Self {
        let client = public_client(auth).await;
        let code = code(auth, &client.id).await;
        let television = television(auth).await;
        let asked = ask(auth, &television).await;
        let page = type_code(auth, &asked.text("user_code")).await;
        let held = approved(&decide(auth, &consent_page(&page), "approve").await);
        let done = log_in(auth, &held, USERNAME, PASSWORD).await;
        assert_eq!(done.status, 200, "{done:?}");
        Self {
            client,
            code,
            television,
            asked,
        }
    }

    async fn redeem(&self, auth: &Auth) -> Answer {
        let form = redemption(&self.client, &self.code);
        auth.post("/token", &form).await
    }

    async fn poll(&self, auth: &Auth) -> Answer {
        poll(auth, &self.television, &self.asked).await
    }

    async fn assert_refused(&self, auth: &Auth) {
        // Twice: asking again does not help.
        for _ in 0..2 {
            assert_eq!(self.redeem(auth).await.refusal(), "400 invalid_grant");
        }
        assert_eq!(self.poll(auth).await.refusal(), "400 access_denied");
    }
}

#[tokio::test]
async fn a_revocation_of_the_person_ends_codes_that_wait() {
    let auth = Auth::start().await;
    let given = Approved::by_ada(&auth).await;
    let revoked = administration::post(&auth, "/admin/users/local:ada/revoke").await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    given.assert_refused(&auth).await;
    auth.logs.wait_for("code_refused").await.unwrap();
    let lines = audit_lines(&auth);
    let told = lines.iter().filter(|line| line["event"] == "code_refused");
    let [line] = told.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(line["subject"], "local:ada", "{line}");
    assert_eq!(line["client"], given.client.id, "{line}");
    assert!(line["token"].is_string(), "{line}");
    // What they grant from now on counts.
    let again = Approved::by_ada(&auth).await;
    let tokens = Tokens::of(&again.redeem(&auth).await);
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
    let tokens = Tokens::of(&again.poll(&auth).await);
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn a_change_of_the_list_ends_codes_that_wait() {
    let people = ada_and_bob();
    let auth = Auth::start_with_file(&[("LOCAL_USERS", &people)], "").await;
    let given = Approved::by_ada(&auth).await;
    auth.write_file("[services.mcp-fetch]\nusers = [\"bob\"]\n");
    until_read(&auth, 1).await;
    given.assert_refused(&auth).await;
}

/// After a revocation the sessions of a person begin a little later than now; their codes still live for a minute.
#[tokio::test]
async fn a_code_that_follows_a_revocation_lives_no_longer_than_others() {
    let begin = Timestamp::from_second(2_000_000_000).unwrap();
    let clock = Arc::new(ManualClock::at(begin));
    let auth = Auth::start_at(&clock, &[]).await;
    let client = public_client(&auth).await;
    code(&auth, &client.id).await;
    administration::post(&auth, "/admin/users/local:ada/revoke").await;
    let [in_time, late] = [code(&auth, &client.id).await, code(&auth, &client.id).await];
    clock.advance(59);
    let redeemed = auth.post("/token", &redemption(&client, &in_time)).await;
    Tokens::of(&redeemed);
    clock.advance(1);
    let redeemed = auth.post("/token", &redemption(&client, &late)).await;
    assert_eq!(redeemed.refusal(), "400 invalid_grant");
}
