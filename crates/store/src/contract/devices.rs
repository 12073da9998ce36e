//! Devices that wait for a person.

use oauth::device::{DeviceAuthorization, DeviceCode, Polled};
use oauth::{ClientId, ScopeSet, ServiceName, SystemEntropy};

use super::world::{all, ann};
use super::{Fixture, at};
use crate::Store;

/// One answer of a person is given out once, and nobody takes the code of another device.
pub async fn of_many_questions_of_a_device_one_gets_the_grant(fixture: impl Fixture) {
    let stores = [
        Store::new(fixture.backend()),
        Store::new(fixture.second().await),
    ];
    let client = ClientId::parse("television").unwrap();
    let code = DeviceCode::generate(&SystemEntropy);
    let service = ServiceName::parse("mcp-fetch").unwrap();
    let scope = ScopeSet::parse("mcp").unwrap();
    let device = DeviceAuthorization::start(&code, client.clone(), service, scope, at(0));
    let begun = stores[0].begin_device(&code.user_code, device.clone(), at(0));
    assert!(begun.await.unwrap());
    let begun = stores[1].begin_device(&code.user_code, device, at(0));
    assert!(!begun.await.unwrap());
    let polled = stores[1].poll_device(&code, &client, at(1)).await.unwrap();
    assert!(matches!(polled, Polled::Pending(_)), "{polled:?}");
    let person = ann();
    let answered = stores[0].answer_device(&code.user_code, Some(&person), at(2));
    assert!(answered.await.unwrap());
    let answered = stores[1].answer_device(&code.user_code, None, at(2));
    assert!(!answered.await.unwrap());
    let questions = (0..20).map(|number| {
        let (store, code, client) = (stores[number % 2].clone(), code.clone(), client.clone());
        tokio::spawn(async move { store.poll_device(&code, &client, at(7)).await.unwrap() })
    });
    let answers = all(questions).await;
    let granted = answers
        .iter()
        .filter(|answer| matches!(answer, Polled::Granted(..)))
        .count();
    let refused = answers
        .iter()
        .filter(|answer| matches!(answer, Polled::Unknown))
        .count();
    assert_eq!((granted, refused), (1, 19));
}
