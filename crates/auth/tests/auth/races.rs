//! Races, on every store: of requests at the same moment one is the first, and the others see that.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use testkit::redis::RedisServer;

use crate::service::Auth;
use crate::service::{PASSWORD, USERNAME};
use crate::sign_in::{
    Tokens, approve, code, confidential_client, consent_page, decide, log_in, public_client,
    redemption, refreshing, signed_in,
};

/// All of it against one store.
async fn race(auth: &Auth) {
    let client = confidential_client(auth).await;

    let redeemed = code(auth, &client.id).await;
    let form = redemption(&client, &redeemed);
    let answers = join_all((0..100).map(|_| auth.post("/token", &form))).await;
    let refresh_tokens: BTreeSet<String> = answers
        .iter()
        .map(|answer| Tokens::of(answer).refresh)
        .collect();
    assert_eq!(
        refresh_tokens.len(),
        1,
        "one session of a hundred redemptions"
    );

    let spent = refresh_tokens.first().unwrap();
    let answers = join_all((0..50).map(|_| auth.refresh(&client, spent))).await;
    let successors: BTreeSet<String> = answers
        .iter()
        .map(|answer| Tokens::of(answer).refresh)
        .collect();
    assert_eq!(successors.len(), 1, "one successor of fifty refreshes");

    let page = consent_page(&crate::sign_in::ask(auth, &client.id, &[]).await);
    let answers = join_all((0..20).map(|_| decide(auth, &page, "approve"))).await;
    let approvals = answers.iter().filter(|answer| answer.status == 303).count();
    assert_eq!(approvals, 1, "one approval of twenty");

    let held = approve(auth, &client.id, &[]).await;
    let answers = join_all((0..8).map(|_| log_in(auth, &held, USERNAME, PASSWORD))).await;
    let codes = answers.iter().filter(|answer| answer.status == 303).count();
    assert_eq!(codes, 1, "one code of eight sign-ins");

    // A revocation and fifty refreshes: whichever is first, afterwards nothing is left.
    let (public, tokens) = signed_in(auth).await;
    let refresh = refreshing(&public, &tokens.refresh);
    let revocation = [
        ("token", tokens.refresh.as_str()),
        ("client_id", &public.id),
    ];
    let (revoked, answers) = futures_util::future::join(
        auth.post("/revoke", &revocation),
        join_all((0..50).map(|_| auth.post("/token", &refresh))),
    )
    .await;
    assert_eq!(revoked.status, 200);
    for answer in answers {
        if answer.status == 200 {
            assert_eq!(auth.verify(&Tokens::of(&answer).access).await.status, 401);
        } else {
            assert_eq!(answer.refusal(), "400 invalid_grant");
        }
    }
    assert_eq!(
        auth.post("/token", &refresh).await.refusal(),
        "400 invalid_grant"
    );

    // Registrations do not get into each other's way.
    let clients = join_all((0..30).map(|_| public_client(auth))).await;
    let ids: BTreeSet<String> = clients.into_iter().map(|client| client.id).collect();
    assert_eq!(ids.len(), 30);
}

#[tokio::test]
async fn in_memory() {
    race(&Auth::start().await).await;
}

#[tokio::test]
async fn in_a_file() {
    race(&Auth::start_with(&[("STORE", "redb"), ("STORE_PATH", "auth.redb")]).await).await;
}

#[tokio::test]
async fn in_redis() {
    let redis = RedisServer::start().await.unwrap();
    let auth = Auth::start_on(&redis, &[]).await;
    race(&auth).await;
}
