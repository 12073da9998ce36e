//! Rules that change while the service runs.

use std::time::Duration;

use testkit::redis::RedisServer;
use testkit::wait;

use crate::answer::Answer;
use crate::service::{Auth, USERNAME, cheap_hash, in_redis};
use crate::service_rules::ada_and_bob;
use crate::sign_in::{Tokens, public_client, signed_in, tokens};

/// How long a changed rule may take on a busy machine; on an idle one it takes less than a second.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Asks `/verify` until it answers with that status.
pub(crate) async fn until_status(auth: &Auth, access_token: &str, status: u16) -> Answer {
    wait::until("the new rules count", PATIENCE, async || {
        let answer = auth.verify(access_token).await;
        (answer.status == status).then_some(answer)
    })
    .await
    .unwrap()
}

/// Waits until the rules were read again so many times.
pub(crate) async fn until_read(auth: &Auth, times: usize) {
    wait::until_true("the rules are read again", PATIENCE, || {
        auth.logs.text().matches("rules_changed").count() >= times
    })
    .await
    .unwrap();
}

fn only(name: &str) -> String {
    format!("[services.mcp-fetch]\nusers = [\"{name}\"]\n")
}

/// Somebody taken off the list is out at the next request, on each instance, and in again when the list says so.
#[tokio::test]
async fn a_changed_list_counts_at_once_on_every_instance() {
    let redis = RedisServer::start().await.unwrap();
    let (url, people) = (redis.url(), ada_and_bob());
    let settings = [&in_redis(&url)[..], &[("LOCAL_USERS", &people)]].concat();
    let one = Auth::start_with_file(&settings, &only(USERNAME)).await;
    let two = Auth::start_with_file(&settings, &only(USERNAME)).await;
    let (client, tokens) = signed_in(&one).await;
    for auth in [&one, &two] {
        // Twice: the second is answered from memory.
        for _ in 0..2 {
            assert_eq!(auth.verify(&tokens.access).await.status, 200);
        }
        auth.write_file(&only("bob"));
    }
    for auth in [&one, &two] {
        let begun = std::time::Instant::now();
        until_status(auth, &tokens.access, 401).await;
        println!("out after {:?}", begun.elapsed());
    }
    for auth in [&one, &two] {
        auth.write_file(&only(USERNAME));
    }
    for auth in [&one, &two] {
        until_status(auth, &tokens.access, 200).await;
    }
    let answer = two.refresh(&client, &tokens.refresh).await;
    Tokens::of(&answer);
}

#[tokio::test]
async fn a_refresh_of_somebody_who_was_taken_off_ends_the_session() {
    let people = ada_and_bob();
    let auth = Auth::start_with_file(&[("LOCAL_USERS", &people)], "").await;
    let (client, tokens) = signed_in(&auth).await;
    auth.write_file(&only("bob"));
    until_status(&auth, &tokens.access, 401).await;
    let answer = auth.refresh(&client, &tokens.refresh).await;
    assert_eq!(answer.refusal(), "400 invalid_grant");
    auth.write_file("");
    until_read(&auth, 2).await;
    crate::sign_in::tokens(&auth, &client).await;
    assert_eq!(auth.verify(&tokens.access).await.status, 401);
}

#[tokio::test]
async fn a_wrong_file_is_refused_with_one_line_and_the_rules_stay() {
    let auth = Auth::start_with_file(&[], &only(USERNAME)).await;
    let (_, tokens) = signed_in(&auth).await;
    for wrong in [
        "[services.mcp-fetch\n",
        "[services.mcp-fetch]\nuser = [\"bob\"]\n",
        "[services.mcp-fetch]\nusers = []\n",
        "[services.mcp-fetch]\nusers = [\"bob\"]\naccess_token_lifetime = 1\n",
    ] {
        let before = refusals(&auth, "is refused");
        auth.write_file(wrong);
        wait::until_true("the refusal is logged", PATIENCE, || {
            refusals(&auth, "is refused") > before
        })
        .await
        .unwrap();
        // Asked by hand as well: the answer stays what it was.
        assert_eq!(auth.verify(&tokens.access).await.status, 200, "{wrong}");
        assert_eq!(refusals(&auth, "is refused"), before + 1, "{wrong}");
    }
    auth.write_file(&only("bob"));
    until_status(&auth, &tokens.access, 401).await;
}

/// How many changes were refused with these words.
pub(crate) fn refusals(auth: &Auth, text: &str) -> usize {
    auth.logs
        .text()
        .lines()
        .filter(|line| line.contains(text) && line.contains("the rules stay"))
        .count()
}

/// Lists may stand in files of their own, as secrets do.
#[tokio::test]
async fn a_list_in_a_file_counts_when_the_file_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("people");
    std::fs::write(&path, ada_and_bob()).unwrap();
    let settings = [
        ("LOCAL_USERS", ""),
        ("LOCAL_USERS_FILE", path.to_str().unwrap()),
    ];
    let auth = Auth::start_with(&settings).await;
    let (_, old) = signed_in(&auth).await;
    assert_eq!(auth.verify(&old.access).await.status, 200);
    // Replaced as a whole, as editors and orchestrators do it.
    let new = directory.path().join("new");
    std::fs::write(&new, format!("bob:{}", cheap_hash())).unwrap();
    std::fs::rename(&new, &path).unwrap();
    until_status(&auth, &old.access, 401).await;
    std::fs::write(&path, ada_and_bob()).unwrap();
    until_status(&auth, &old.access, 200).await;
    let client = public_client(&auth).await;
    tokens(&auth, &client).await;
}

#[tokio::test]
async fn a_hangup_reads_the_rules_again_and_does_not_end_the_service() {
    let auth = Auth::start_with_file(&[], &only(USERNAME)).await;
    let (_, tokens) = signed_in(&auth).await;
    let changed = || auth.logs.text().matches("rules_changed").count();
    assert_eq!(changed(), 0);
    auth.hang_up();
    wait::until_true("the file is read again", PATIENCE, || changed() == 1)
        .await
        .unwrap();
    assert_eq!(auth.verify(&tokens.access).await.status, 200);
}
