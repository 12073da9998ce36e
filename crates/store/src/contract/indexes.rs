//! Indexes, and the sweep.

use super::world::new_client;
use super::{Counter, Fixture, at, increment, key, put, read, record, swap};
use crate::{Index, Records, Registration, Store, Swapped};

/// Byte order, no matter in which order and with which ends the names came.
pub async fn an_index_lists_in_order_and_page_by_page(fixture: impl Fixture) {
    let backend = fixture.backend();
    let index = Index::SessionsOfPerson("github:1".to_owned());
    let neighbour = Index::SessionsOfPerson("github:10".to_owned());
    for (number, name) in ["d", "a", "https://e.com/[x]", "(b", "c", "ä"]
        .into_iter()
        .enumerate()
    {
        let end = (name != "c").then(|| at(100 - i64::try_from(number).unwrap()));
        backend
            .index_insert(&index, name, end, at(0))
            .await
            .unwrap();
    }
    backend
        .index_insert(&neighbour, "b", None, at(0))
        .await
        .unwrap();
    let all = ["(b", "a", "c", "d", "https://e.com/[x]", "ä"];
    let listed = backend
        .index_members(&index, None, 100, at(1))
        .await
        .unwrap();
    assert_eq!(listed, all);
    let mut paged: Vec<String> = Vec::new();
    loop {
        let after = paged.last().map(String::as_str);
        let page = backend
            .index_members(&index, after, 4, at(1))
            .await
            .unwrap();
        assert!(page.len() <= 4);
        let last = page.len() < 4;
        paged.extend(page);
        if last {
            break;
        }
    }
    assert_eq!(paged, all);
    // A cursor whose name is gone still has a place.
    let rest = backend
        .index_members(&index, Some("b"), 2, at(1))
        .await
        .unwrap();
    assert_eq!(rest, ["c", "d"]);
    assert_eq!(backend.index_len(&index, at(1)).await.unwrap(), 6);
    assert_eq!(backend.index_len(&Index::Clients, at(1)).await.unwrap(), 0);
    let none = backend
        .index_members(&Index::Clients, None, 10, at(1))
        .await
        .unwrap();
    assert!(none.is_empty());
    backend.index_remove(&index, "c").await.unwrap();
    backend.index_remove(&index, "never there").await.unwrap();
    assert_eq!(backend.index_len(&index, at(1)).await.unwrap(), 5);
}

/// A name that has ended is neither listed nor counted, and takes no place in a page.
pub async fn a_name_in_an_index_ends(fixture: impl Fixture) {
    let backend = fixture.backend();
    let index = Index::Clients;
    for number in 0..300 {
        let end = if number % 100 == 0 { at(20) } else { at(10) };
        let name = format!("{number:03}");
        backend
            .index_insert(&index, &name, Some(end), at(0))
            .await
            .unwrap();
    }
    assert_eq!(backend.index_len(&index, at(9)).await.unwrap(), 300);
    assert_eq!(backend.index_len(&index, at(10)).await.unwrap(), 3);
    let listed = backend
        .index_members(&index, None, 2, at(10))
        .await
        .unwrap();
    assert_eq!(listed, ["000", "100"]);
    let rest = backend
        .index_members(&index, Some("100"), 2, at(10))
        .await
        .unwrap();
    assert_eq!(rest, ["200"]);
    assert_eq!(backend.index_len(&index, at(20)).await.unwrap(), 0);
}

/// The last end that was given counts, be it later, earlier or none.
pub async fn a_name_in_an_index_can_get_another_end(fixture: impl Fixture) {
    let backend = fixture.backend();
    let index = Index::Sessions;
    for end in [Some(at(10)), Some(at(30)), None, Some(at(20))] {
        backend
            .index_insert(&index, "one", end, at(0))
            .await
            .unwrap();
    }
    assert_eq!(backend.index_len(&index, at(19)).await.unwrap(), 1);
    assert_eq!(backend.index_len(&index, at(20)).await.unwrap(), 0);
    // The ends that were replaced are not swept as if they still counted.
    backend
        .index_insert(&index, "one", None, at(0))
        .await
        .unwrap();
    backend.sweep(at(100), 100).await.unwrap();
    assert_eq!(backend.index_len(&index, at(100)).await.unwrap(), 1);
}

/// An index may be ahead of or behind the records.
pub async fn a_list_leaves_out_what_is_gone(fixture: impl Fixture) {
    let backend = fixture.backend();
    let records = Records::new(fixture.backend());
    for id in ["a", "b", "c", "d"] {
        backend
            .index_insert(&Index::People, id, None, at(0))
            .await
            .unwrap();
        if id != "b" {
            records.update(id, at(0), increment).await.unwrap();
        }
    }
    let ids = |page: &[(String, Counter)]| -> Vec<String> {
        page.iter().map(|(id, _)| id.clone()).collect()
    };
    let (page, next) = records
        .list::<Counter>(&Index::People, None, 3, at(0))
        .await
        .unwrap();
    assert_eq!(ids(&page), ["a", "c"]);
    assert_eq!(next.as_deref(), Some("c"));
    let (page, next) = records
        .list::<Counter>(&Index::People, next.as_deref(), 3, at(0))
        .await
        .unwrap();
    assert_eq!(ids(&page), ["d"]);
    assert_eq!(next, None);
}

/// A sweep is bounded, and what has not ended stays, also when its end was moved.
pub async fn a_sweep_removes_what_has_ended_and_nothing_else(fixture: impl Fixture) {
    let backend = fixture.backend();
    for number in 0..10 {
        let id = number.to_string();
        let ends = record("ends", Some(at(10)));
        put(&*backend, &key(&id), &ends, at(0)).await;
        backend
            .index_insert(&Index::Sessions, &id, Some(at(10)), at(0))
            .await
            .unwrap();
    }
    let (moved, immortal) = (record("moved", Some(at(30))), record("immortal", None));
    let before = record("ends", Some(at(10)));
    let done = swap(&*backend, &key("3"), Some(&before), Some(&moved), at(1)).await;
    assert_eq!(done, Swapped::Done);
    let done = swap(&*backend, &key("4"), Some(&before), Some(&immortal), at(1)).await;
    assert_eq!(done, Swapped::Done);
    assert_eq!(backend.sweep(at(9), 100).await.unwrap(), 0);
    let first = backend.sweep(at(20), 5).await.unwrap();
    assert!(first == 5 || first == 0, "bounded, or by itself: {first}");
    let rest = backend.sweep(at(20), 100).await.unwrap();
    assert!(
        rest == 13 || rest == 0,
        "8 records and 10 names: {first} + {rest}"
    );
    assert_eq!(backend.sweep(at(20), 100).await.unwrap(), 0);
    assert_eq!(read(&*backend, &key("3"), at(20)).await, Some(moved));
    assert_eq!(read(&*backend, &key("4"), at(20)).await, Some(immortal));
    put(&*backend, &key("5"), &before, at(20)).await;
}

/// A client that is removed while others write its name into the index leaves no name behind, however they meet.
pub async fn a_removed_client_leaves_no_name_behind(fixture: impl Fixture) {
    let store = Store::new(fixture.backend());
    let second = Store::new(fixture.second().await);
    for round in 0..30 {
        let client = new_client();
        // One that would be listed for ever.
        let created = store.create_client(client.clone(), 0, 1000, at(0)).await;
        assert_eq!(created.unwrap(), Registration::Created);
        let used = {
            let (store, client) = (store.clone(), client.clone());
            tokio::spawn(async move { store.note_client_use(&client, 0, at(1)).await })
        };
        let removed = {
            let (second, id) = (second.clone(), client.id.clone());
            tokio::spawn(async move { second.delete_client(&id, at(1)).await })
        };
        used.await.unwrap().unwrap();
        assert!(removed.await.unwrap().unwrap());
        let named = store
            .backend()
            .index_members(&Index::Clients, None, 10, at(1))
            .await;
        assert_eq!(named.unwrap(), Vec::<String>::new(), "round {round}");
    }
}
