//! All records as text, and back.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use oauth::session::Revocation;

use super::consents::remembered;
use super::keys::ring;
use super::world::{ACCESS_TOKEN_LIFETIME, VERIFIER, World, ann, new_client};
use super::{Fixture, at, key, put, read, record};
use crate::{Backup, BackupError, Checked, FirstRing, Index, MemoryBackend, Redemption, Store};

async fn backup(store: &Store, now: Timestamp) -> Vec<String> {
    let mut backup = Backup::new(store.clone(), now);
    let mut lines = Vec::new();
    while let Some(line) = backup.next_line().await.unwrap() {
        lines.push(line);
    }
    assert_eq!(backup.unreadable(), []);
    lines
}

async fn restore(store: &Store, lines: &[String], now: Timestamp) -> Result<u64, BackupError> {
    let read = || lines.iter().cloned().map(Ok);
    let checked = Checked::read(read(), now)?;
    checked.restore(store, read(), now, |_| ()).await
}

/// The records alone: neither the header with its instant nor the order of a backend.
fn content(lines: &[String]) -> BTreeSet<&str> {
    let records = lines.get(1..lines.len() - 1).unwrap();
    records.iter().map(String::as_str).collect()
}

async fn listed(store: &Store, now: Timestamp) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for index in [
        Index::Clients,
        Index::Sessions,
        Index::People,
        Index::SessionsOfPerson(ann().subject.to_string()),
        Index::ConsentsOfPerson(ann().subject.to_string()),
    ] {
        let members = store.backend().index_members(&index, None, 100, now).await;
        all.push(members.unwrap());
    }
    all
}

/// A grant, a revoked one, a client, a person and keys, in any store and back: what was spent or revoked stays so, what lived
/// lives on, nothing is forgotten or longer-lived, and all of it can be listed.
pub async fn a_backup_comes_back_as_it_was(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let store = &world.stores[0];
    let session = world.granted().await;
    let made = store.create_key_ring(&ring("sealed"), at(0)).await;
    assert!(
        matches!(made.unwrap(), FirstRing::Refused { .. }),
        "there are sessions"
    );
    store
        .put_key_ring_if_gone(&ring("sealed"), at(0))
        .await
        .unwrap();
    let browser = remembered(store, 1000, at(0)).await;
    let before = listed(store, at(2)).await;
    assert_eq!(before.concat().len(), 5, "{before:?}");
    let lines = backup(store, at(2)).await;

    let elsewhere = Store::new(Arc::new(MemoryBackend::new()));
    let restored = restore(&elsewhere, &lines, at(2)).await.unwrap();
    assert_eq!(restored, lines.len() as u64 - 2);
    let again = backup(&elsewhere, at(3)).await;
    assert_eq!(content(&again), content(&lines));
    assert_eq!(listed(&elsewhere, at(2)).await, before);

    assert!(store.clear(at(2)).await.unwrap() >= restored);
    assert_eq!(content(&backup(store, at(2)).await).len(), 0);
    assert_eq!(listed(store, at(2)).await.concat(), Vec::<String>::new());
    assert!(!world.is_alive(3).await);
    assert!(store.browser(&browser, at(3)).await.unwrap().is_none());
    restore(store, &again, at(3)).await.unwrap();
    assert_eq!(content(&backup(store, at(3)).await), content(&lines));
    assert_eq!(listed(store, at(3)).await, before);
    assert!(world.is_alive(3).await);
    assert!(store.browser(&browser, at(3)).await.unwrap().is_some());
    // The code is as spent as it was.
    let replayed = world.redeem(0, VERIFIER, 200).await;
    assert!(matches!(replayed, Redemption::Replayed(_)), "{replayed:?}");

    let revoked = backup(store, at(201)).await;
    store.clear(at(201)).await.unwrap();
    restore(store, &revoked, at(202)).await.unwrap();
    assert!(!world.is_alive(202).await);
    let why = Revocation::Requested;
    let known = store
        .revoke_session(&session.id, why, ACCESS_TOKEN_LIFETIME, at(202))
        .await;
    assert!(known.unwrap(), "the tombstone was restored");
    // What ended while the backup lay in a drawer is not revived.
    let late = Store::new(Arc::new(MemoryBackend::new()));
    let year = 366 * 24 * 60 * 60;
    restore(&late, &lines, at(year)).await.unwrap();
    assert!(late.session(&session.id, at(2)).await.unwrap().is_none());
}

/// Nothing is mixed into what is there; but a restore that was interrupted is done again as if nothing had been.
pub async fn a_restore_refuses_what_is_there_and_can_be_repeated(fixture: impl Fixture) {
    let source = Store::new(Arc::new(MemoryBackend::new()));
    for _ in 0..3 {
        let created = source.create_client(new_client(), 1000, 10, at(0)).await;
        assert_eq!(created.unwrap(), crate::Registration::Created);
    }
    let lines = backup(&source, at(0)).await;
    let store = Store::new(fixture.backend());
    let other = record(r#"{"version":1,"record":{}}"#, None);
    put(store.backend(), &key("other"), &other, at(0)).await;
    let error = restore(&store, &lines, at(0)).await.unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("1 session"), "{text}");
    assert!(text.contains("--clear"), "{text}");
    assert_eq!(listed(&store, at(0)).await.concat(), Vec::<String>::new());
    store.clear(at(0)).await.unwrap();
    // As after an interruption: one of three is there.
    let page = source
        .backend()
        .scan(
            crate::Scan {
                kind: crate::Kind::Client,
                prefix: "",
                cursor: None,
                limit: 1,
            },
            at(0),
        )
        .await
        .unwrap();
    let (first, stored) = &page.records[0];
    put(store.backend(), first, stored, at(0)).await;
    for _ in 0..2 {
        assert_eq!(restore(&store, &lines, at(0)).await.unwrap(), 3);
        assert_eq!(content(&backup(&store, at(0)).await), content(&lines));
        assert_eq!(listed(&store, at(0)).await[0].len(), 3);
    }
}

/// A backup is checked to its end before anything is stored.
pub async fn a_damaged_backup_restores_nothing(fixture: impl Fixture) {
    let source = Store::new(Arc::new(MemoryBackend::new()));
    for _ in 0..3 {
        let created = source.create_client(new_client(), 1000, 10, at(0)).await;
        assert_eq!(created.unwrap(), crate::Registration::Created);
    }
    let lines = backup(&source, at(0)).await;
    let store = Store::new(fixture.backend());
    let without = |number: usize| {
        let mut lines = lines.clone();
        lines.remove(number);
        lines
    };
    let with = |number: usize, from: &str, to: &str| {
        let mut lines = lines.clone();
        let line = lines.get_mut(number).unwrap();
        assert!(line.contains(from), "{line}");
        *line = line.replace(from, to);
        lines
    };
    for (what, damaged, expected) in [
        ("cut off", without(4), "cut off"),
        ("a record less", without(2), "checksum"),
        ("no header", without(0), "line 1"),
        (
            "another address",
            with(1, "a.example", "b.example"),
            "checksum",
        ),
        (
            "another format",
            with(0, r#""version":1"#, r#""version":2"#),
            "version 2",
        ),
        (
            "a newer record",
            with(3, r#""version":1"#, r#""version":9"#),
            "newer release",
        ),
        (
            "a new kind",
            with(3, r#""kind":"client""#, r#""kind":"thing""#),
            "line 4",
        ),
        ("no JSON", with(2, "{", "["), "line 3"),
        ("nothing", Vec::new(), "cut off"),
    ] {
        let error = restore(&store, &damaged, at(0))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{what}: {error}");
        assert_eq!(content(&backup(&store, at(0)).await).len(), 0, "{what}");
    }
    let absent = read(store.backend(), &key("x"), at(0)).await;
    assert_eq!(absent, None);
}
