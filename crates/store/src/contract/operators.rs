//! Clients that the operator created.

use oauth::client::Client;
use oauth::operator::{OperatorClientName, OperatorRights};
use oauth::session::{Revocation, Session};
use oauth::{ScopeSet, ServiceName, SystemEntropy, TokenId};

use super::{Fixture, at};
use crate::Store;

/// Only the operator ends what the operator created, and no name is given away twice.
pub async fn an_operators_client_stays_until_it_is_removed(fixture: impl Fixture) {
    let stores = [
        Store::new(fixture.backend()),
        Store::new(fixture.second().await),
    ];
    let name = OperatorClientName::parse("nightly").unwrap();
    let service = ServiceName::parse("mcp-fetch").unwrap();
    let rights = OperatorRights {
        services: [service.clone()].into(),
        ..OperatorRights::default()
    };
    let (client, _) = Client::of_operator(&name, rights.clone(), at(0), &SystemEntropy);
    let (second, _) = Client::of_operator(&name, OperatorRights::default(), at(0), &SystemEntropy);
    let created = stores[0].create_operator_client(client.clone(), at(0));
    assert!(created.await.unwrap());
    let created = stores[1].create_operator_client(second, at(0));
    assert!(!created.await.unwrap());
    let years = 10 * 366 * 24 * 60 * 60;
    let found = stores[1].client(&client.id, at(years)).await.unwrap();
    assert_eq!(found.unwrap().operator, Some(rights));

    let scope = ScopeSet::parse("mcp").unwrap();
    let session =
        Session::for_machine(&client.id, service, scope, 60, at(years), &SystemEntropy).unwrap();
    let token = TokenId::generate(&SystemEntropy);
    let id = session.id.clone();
    stores[0]
        .open_session(session, 60, at(years))
        .await
        .unwrap();
    let found = stores[1].session(&id, at(years + 59)).await.unwrap();
    assert!(found.unwrap().admits_token(&token, at(years + 59)));
    assert!(
        stores[1]
            .session(&id, at(years + 60))
            .await
            .unwrap()
            .is_none()
    );
    stores[1]
        .revoke_session(&id, Revocation::Requested, 60, at(years + 1))
        .await
        .unwrap();
    let found = stores[0].session(&id, at(years + 2)).await.unwrap();
    assert!(!found.unwrap().admits_token(&token, at(years + 2)));

    assert!(
        stores[1]
            .delete_client(&client.id, at(years))
            .await
            .unwrap()
    );
    let found = stores[0].client(&client.id, at(years)).await.unwrap();
    assert!(found.is_none());
}
