//! Looking at all records of a kind, page by page.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Fixture, at, put, record};
use crate::{Backend, Key, Kind, Scan};

/// The ids of all pages, and how many pages there were. Fails when a page is much larger than the limit.
async fn ids(
    backend: &dyn Backend,
    kind: Kind,
    prefix: &str,
    limit: usize,
    now: Timestamp,
) -> (BTreeSet<String>, usize) {
    let mut found = BTreeSet::new();
    let mut cursor: Option<String> = None;
    let mut pages = 0;
    loop {
        let scan = Scan {
            kind,
            prefix,
            cursor: cursor.as_deref(),
            limit,
        };
        let page = backend.scan(scan, now).await.unwrap();
        pages += 1;
        // Redis looks at whole buckets of its table, of which one may hold some more.
        assert!(
            page.records.len() <= limit + 16,
            "{} records with limit {limit}",
            page.records.len()
        );
        for (key, stored) in page.records {
            assert_eq!(key.kind(), kind);
            assert_eq!(stored.bytes(), key.id().as_bytes(), "each with its own key");
            found.insert(key.id().to_owned());
        }
        cursor = page.next;
        if cursor.is_none() {
            return (found, pages);
        }
        assert!(pages < 10_000, "it comes to an end");
    }
}

async fn fill(backend: &dyn Backend, kind: Kind, names: &[&str], end: Option<Timestamp>) {
    for name in names {
        put(backend, &Key::new(kind, *name), &record(name, end), at(0)).await;
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// All of the kind, with their ends, and nothing of another kind, of an index, or expired.
pub async fn a_scan_finds_each_record_of_its_kind(fixture: impl Fixture) {
    let backend = fixture.backend();
    assert!(
        ids(&*backend, Kind::Client, "", 10, at(0))
            .await
            .0
            .is_empty()
    );
    let names = ["a", "https://e.com/a?b=[c]", "é", "a:b", "", "line\nbreak"];
    fill(&*backend, Kind::Client, &names, Some(at(100))).await;
    fill(&*backend, Kind::Client, &["short"], Some(at(10))).await;
    fill(&*backend, Kind::Session, &["a", "session"], None).await;
    fill(&*backend, Kind::Consent, &["b"], None).await;
    let index = crate::Index::Clients;
    backend
        .index_insert(&index, "a", None, at(0))
        .await
        .unwrap();
    let (found, _) = ids(&*backend, Kind::Client, "", 100, at(10)).await;
    assert_eq!(found, set(&names));
    let (found, _) = ids(&*backend, Kind::Session, "", 100, at(10)).await;
    assert_eq!(found, set(&["a", "session"]));
    for kind in Kind::all() {
        let (found, _) = ids(&*backend, kind, "", 100, at(10)).await;
        let expected = match kind {
            Kind::Client => names.len(),
            Kind::Session => 2,
            Kind::Consent => 1,
            _ => 0,
        };
        assert_eq!(found.len(), expected, "{kind:?}");
    }
    let scan = Scan {
        kind: Kind::Client,
        prefix: "a:b",
        cursor: None,
        limit: 100,
    };
    let page = backend.scan(scan, at(10)).await.unwrap();
    let ends: Vec<_> = page
        .records
        .iter()
        .map(|(_, record)| record.expires_at())
        .collect();
    assert_eq!(ends, [Some(at(100))]);
}

/// A page looks at a bounded number of records, and together they are all of them.
pub async fn a_scan_is_done_in_pages(fixture: impl Fixture) {
    let backend = fixture.backend();
    let names: Vec<_> = (0..300).map(|number| format!("{number:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    fill(&*backend, Kind::Session, &names, None).await;
    for limit in [0, 7, 100] {
        let (found, pages) = ids(&*backend, Kind::Session, "", limit, at(1)).await;
        assert_eq!(found, set(&names), "limit {limit}");
        assert!(pages > 1, "limit {limit}");
    }
    let (found, pages) = ids(&*backend, Kind::Session, "", 10_000, at(1)).await;
    assert_eq!((found, pages), (set(&names), 1));
}

/// What is there all the time is found, whatever happens to its neighbours between two pages.
pub async fn a_scan_goes_on_while_records_come_and_go(fixture: impl Fixture) {
    let backend = fixture.backend();
    let (stay, go): (Vec<_>, Vec<_>) = (0..200)
        .map(|number| format!("{number:03}"))
        .partition(|name| name.ends_with(['0', '3', '7']));
    let stay: Vec<_> = stay.iter().map(String::as_str).collect();
    let go: Vec<_> = go.iter().map(String::as_str).collect();
    fill(&*backend, Kind::Session, &stay, None).await;
    fill(&*backend, Kind::Session, &go, None).await;
    let mut found = BTreeSet::new();
    let mut cursor: Option<String> = None;
    let mut going = go.iter();
    let mut page_number = 0;
    loop {
        let scan = Scan {
            kind: Kind::Session,
            prefix: "",
            cursor: cursor.as_deref(),
            limit: 20,
        };
        let page = backend.scan(scan, at(1)).await.unwrap();
        found.extend(page.records.iter().map(|(key, _)| key.id().to_owned()));
        for name in going.by_ref().take(15) {
            let old = record(name, None);
            let gone = super::swap(&*backend, &super::key(name), Some(&old), None, at(1)).await;
            assert_eq!(gone, crate::Swapped::Done);
        }
        let new = format!("new {page_number}");
        fill(&*backend, Kind::Session, &[&new], None).await;
        page_number += 1;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        assert!(page_number < 1000, "it comes to an end");
    }
    let missed: Vec<_> = stay.iter().filter(|name| !found.contains(**name)).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// No character of a prefix is a pattern.
pub async fn a_scan_takes_a_prefix_as_it_is_written(fixture: impl Fixture) {
    let backend = fixture.backend();
    let names = [
        "a*b", "axb", "a?", "a[x]", "a\\*", "a", "b", "a*", "[a]", "aé",
    ];
    fill(&*backend, Kind::Consent, &names, None).await;
    for prefix in ["a*", "a?", "a[", "a\\", "a", "[a", "aé", "", "c"] {
        let expected: Vec<_> = names
            .iter()
            .copied()
            .filter(|name| name.starts_with(prefix))
            .collect();
        let (found, _) = ids(&*backend, Kind::Consent, prefix, 100, at(0)).await;
        assert_eq!(found, set(&expected), "{prefix}");
        let (found, _) = ids(&*backend, Kind::Consent, prefix, 1, at(0)).await;
        assert_eq!(found, set(&expected), "{prefix}, one by one");
    }
}
