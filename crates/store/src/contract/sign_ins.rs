//! Sign-ins that race.

use std::sync::Arc;

use oauth::authorization::{Authorization, IdentitySecrets};
use oauth::{Subject, SystemEntropy};

use super::world::{World, all, request};
use super::{Fixture, at};
use crate::{Pinned, Store};

/// A name on the allow-list cannot be taken over by whoever gets it later.
pub async fn a_name_belongs_to_the_first_who_came(fixture: impl Fixture) {
    let stores = [
        Store::new(fixture.backend()),
        Store::new(fixture.second().await),
    ];
    let attempts = (0..20).map(|number| {
        let store = stores[number % 2].clone();
        let subject = Subject::parse(&format!("github:{number}")).unwrap();
        tokio::spawn(async move {
            let pinned = store.pin("octocat", &subject, at(0)).await.unwrap();
            (subject, pinned)
        })
    });
    let outcomes = all(attempts).await;
    let owners: Vec<_> = outcomes
        .iter()
        .filter(|(_, pinned)| *pinned == Pinned::ToThem)
        .map(|(subject, _)| subject)
        .collect();
    let [owner] = owners[..] else {
        panic!("{owners:?}");
    };
    for (subject, pinned) in &outcomes {
        if subject != owner {
            assert_eq!(*pinned, Pinned::ToAnother(owner.clone()));
        }
    }
}

/// A sign-in is approved once and taken once.
pub async fn one_approval_and_one_answer_win(fixture: impl Fixture) {
    let world = World::new(&fixture).await;
    let (authorization, consent) =
        Authorization::start(request(&world.client.id), at(0), &SystemEntropy);
    let id = authorization.id.clone();
    world
        .store(0)
        .begin_sign_in(authorization, at(0))
        .await
        .unwrap();
    let consent = Arc::new(consent);
    let approvals = (0..20).map(|number| {
        let (store, id, consent) = (world.store(number), id.clone(), Arc::clone(&consent));
        tokio::spawn(async move {
            let secrets = IdentitySecrets::generate(&SystemEntropy);
            let approved = store
                .approve_sign_in(&id, &consent.cookie, &consent.form, false, &secrets, at(1))
                .await
                .unwrap();
            approved.ok().map(|_| secrets)
        })
    });
    let mut approved: Vec<_> = all(approvals).await.into_iter().flatten().collect();
    assert_eq!(approved.len(), 1);
    let secrets = Arc::new(approved.remove(0));
    let answers = (0..20).map(|number| {
        let (store, id, secrets) = (world.store(number), id.clone(), Arc::clone(&secrets));
        tokio::spawn(async move {
            let taken = store
                .finish_sign_in(&id, &secrets.cookie, &secrets.state, at(2))
                .await
                .unwrap();
            taken.is_ok()
        })
    });
    let taken = all(answers).await;
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
}
