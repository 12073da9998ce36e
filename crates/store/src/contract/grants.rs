//! Codes and refresh tokens, several at once and from two instances, and the end of a session.

use oauth::Subject;
use oauth::session::Revocation;

use super::events::connected;
use super::world::{
    ACCESS_TOKEN_LIFETIME, VERIFIER, WRONG_VERIFIER, World, ann, derivation_key, refresh_token,
};
use super::{Fixture, PATIENCE, at, next_event};
use crate::{Event, Redemption, Refresh};

/// A client that repeats its request because the answer was lost gets no second family of tokens.
pub async fn of_racing_redemptions_all_get_the_same_tokens(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    assert!(!world.is_alive(0).await, "a code is not a session yet");
    let mut tokens = Vec::new();
    for outcome in world.race_redeem(100, VERIFIER, 1).await {
        match outcome {
            Redemption::Granted(session) => tokens.push(refresh_token(&session)),
            other => panic!("{other:?}"),
        }
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1, "one session, one refresh token");
    assert!(world.is_alive(2).await);
}

/// OAuth 2.1 section 4.1.3: a code that comes back revokes what it gave.
pub async fn a_late_redemption_ends_the_session_for_all(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    world.granted().await;
    assert!(world.is_alive(2).await);
    let outcomes = world.race_redeem(20, VERIFIER, 30).await;
    let replayed = |outcome: &&Redemption| matches!(outcome, Redemption::Replayed(_));
    assert_eq!(outcomes.iter().filter(replayed).count(), 1, "told once");
    let granted = |outcome: &Redemption| matches!(outcome, Redemption::Granted(_));
    assert!(!outcomes.iter().any(granted));
    assert!(!world.is_alive(31).await);
}

/// Failures that race are all counted: nobody gets more guesses by sending them at once.
pub async fn wrong_redemptions_are_all_counted(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let outcomes = world.race_redeem(20, WRONG_VERIFIER, 1).await;
    let refused = |outcome: &&Redemption| matches!(outcome, Redemption::Refused);
    assert_eq!(outcomes.iter().filter(refused).count(), 3);
    let outcome = world.redeem(0, VERIFIER, 2).await;
    assert!(matches!(outcome, Redemption::Unknown), "{outcome:?}");
    assert!(!world.is_alive(2).await);
}

/// Two processes of one client that refresh at once end with one live refresh token, never a fork.
pub async fn of_racing_refreshes_all_get_the_same_successor(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let first = world
        .granted()
        .await
        .refresh_token(&derivation_key())
        .unwrap();
    let mut tokens = Vec::new();
    for outcome in world.race_refresh(50, &first, 120, 10).await {
        match outcome {
            Refresh::Granted(session) => tokens.push(refresh_token(&session)),
            other => panic!("{other:?}"),
        }
    }
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
    assert_ne!(tokens[0], first.expose().to_string());
    // After the grace period it is theft.
    let outcomes = world.race_refresh(1, &first, 120, 131).await;
    assert!(
        matches!(outcomes[..], [Refresh::Replayed(_)]),
        "{outcomes:?}"
    );
    assert!(!world.is_alive(132).await);
}

/// `REFRESH_GRACE=0`: strict rotation.
pub async fn without_grace_a_racing_refresh_ends_the_session(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let first = world
        .granted()
        .await
        .refresh_token(&derivation_key())
        .unwrap();
    let outcomes = world.race_refresh(50, &first, 0, 10).await;
    let granted = |outcome: &&Refresh| matches!(outcome, Refresh::Granted(_));
    let replayed = |outcome: &&Refresh| matches!(outcome, Refresh::Replayed(_));
    assert_eq!(outcomes.iter().filter(granted).count(), 1);
    assert_eq!(outcomes.iter().filter(replayed).count(), 1, "told once");
    assert!(!world.is_alive(11).await);
}

/// Revocation takes effect at once, everywhere.
pub async fn a_revoked_session_is_dead_and_all_are_told(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let session = world.granted().await;
    assert!(world.is_alive(2).await);
    let there = world.store(1);
    connected(there.backend()).await;
    let mut feed = there.backend().events();
    let was_there = world
        .store(0)
        .revoke_session(
            &session.id,
            Revocation::Requested,
            ACCESS_TOKEN_LIFETIME,
            at(3),
        )
        .await
        .unwrap();
    assert!(was_there);
    let event = Event::SessionChanged(session.id.to_string());
    let told = async { while next_event(&mut feed).await != event {} };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    assert!(!world.is_alive(3).await);
    // A tombstone: nothing makes it live again.
    let first = session.refresh_token(&derivation_key()).unwrap();
    let outcomes = world.race_refresh(2, &first, 120, 4).await;
    assert!(
        matches!(outcomes[..], [Refresh::Unknown, Refresh::Unknown]),
        "{outcomes:?}"
    );
    let outcome = world.redeem(1, VERIFIER, 4).await;
    assert!(matches!(outcome, Redemption::Unknown), "{outcome:?}");
}

/// Removing a client is one change, without a scan for its sessions.
pub async fn a_session_lives_only_while_its_client_does(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    world.granted().await;
    assert!(world.is_alive(2).await);
    let store = world.store(1);
    assert!(store.delete_client(&world.client.id, at(3)).await.unwrap());
    assert!(!world.is_alive(3).await);
    assert!(!store.delete_client(&world.client.id, at(4)).await.unwrap());
    let found = world
        .store(0)
        .client(&world.client.id, at(4))
        .await
        .unwrap();
    assert!(found.is_none());
}

/// Signing a person out voids what they had and nothing that comes later.
pub async fn a_session_counts_only_from_the_instant_its_person_set(fixture: impl Fixture) {
    let mut world = World::new(&fixture).await;
    world.granted().await;
    assert!(world.is_alive(2).await);
    let subject = ann().subject;
    assert!(world.store(1).revoke_person(&subject, at(3)).await.unwrap());
    assert!(!world.is_alive(3).await);
    // Who signs in again comes in at once.
    let created_at = world.store(0).note_sign_in(&ann(), at(5)).await.unwrap();
    world.issue(created_at, 5).await;
    let outcome = world.redeem(0, VERIFIER, 6).await;
    assert!(matches!(outcome, Redemption::Granted(_)), "{outcome:?}");
    assert!(world.is_alive(6).await);
    let nobody = Subject::parse("local:nobody").unwrap();
    assert!(!world.store(0).revoke_person(&nobody, at(7)).await.unwrap());
}

/// The clocks of two instances differ by less than half a minute: a revocation by the one that is behind ends what the one
/// that is ahead has made, and nothing that was ended comes back.
pub async fn a_revocation_of_a_person_reaches_over_clocks(fixture: impl Fixture) {
    let mut world = World::new(&fixture).await;
    world.issue(at(29), 29).await;
    let outcome = world.redeem(0, VERIFIER, 29).await;
    assert!(matches!(outcome, Redemption::Granted(_)), "{outcome:?}");
    assert!(world.is_alive(30).await);
    let subject = ann().subject;
    for seconds in [0, -40] {
        let store = world.store(1);
        assert!(store.revoke_person(&subject, at(seconds)).await.unwrap());
        assert!(!world.is_alive(30).await, "{seconds}");
    }
}
