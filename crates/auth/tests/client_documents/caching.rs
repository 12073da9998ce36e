//! What is remembered, for how long, and how much can be asked for.

use std::sync::Arc;
use std::time::Duration;

use auth::testing::DocumentError;
use serde_json::json;

use crate::remote::{CLIENT, LookUp, Remote, TestNetwork, answer, document, json as as_json};

async fn setting() -> (Remote, LookUp) {
    let remote = Remote::start().await;
    let look_up = LookUp::new(&TestNetwork::new(&remote));
    (remote, look_up)
}

#[tokio::test]
async fn a_document_is_kept_as_http_says_between_a_minute_and_a_day() {
    for (headers, seconds) in [
        (&["Cache-Control: max-age=600"][..], 600),
        (&["Cache-Control: public, max-age=600"], 600),
        (&["Cache-Control: max-age=600", "Age: 100"], 500),
        (&["Cache-Control: max-age=1"], 60),
        (&["Cache-Control: no-store"], 60),
        (&["Cache-Control: max-age=600, no-cache"], 60),
        (&["Cache-Control: max-age=31536000"], 86_400),
        (&["Cache-Control: max-age=soon"], 300),
        (&[], 300),
    ] {
        let (remote, look_up) = setting().await;
        remote.set(as_json(&document(), headers));
        look_up.of(CLIENT).await.unwrap();
        look_up.clock.advance(seconds - 1);
        look_up.of(CLIENT).await.unwrap();
        assert_eq!(remote.connections(), 1, "{headers:?}");
        look_up.clock.advance(1);
        look_up.of(CLIENT).await.unwrap();
        assert_eq!(remote.connections(), 2, "{headers:?}");
    }
}

#[tokio::test]
async fn a_failure_is_remembered_for_half_a_minute_and_never_as_a_client() {
    let mut wrong = document();
    wrong["client_id"] = json!("https://other.example/");
    for reaction in [
        as_json(&wrong, &["Cache-Control: max-age=600"]),
        answer(404, &["Cache-Control: max-age=600"], ""),
        answer(503, &[], ""),
    ] {
        let (remote, look_up) = setting().await;
        remote.set(reaction);
        let first = look_up.of(CLIENT).await.unwrap_err();
        look_up.clock.advance(29);
        remote.set(as_json(&document(), &[]));
        assert_eq!(look_up.of(CLIENT).await.unwrap_err(), first);
        assert_eq!(remote.connections(), 1);
        look_up.clock.advance(1);
        assert!(look_up.of(CLIENT).await.is_ok());
    }
}

#[tokio::test]
async fn a_document_that_went_bad_does_not_live_on() {
    let (remote, look_up) = setting().await;
    assert!(look_up.of(CLIENT).await.is_ok());
    look_up.clock.advance(300);
    remote.set(answer(404, &[], ""));
    assert!(look_up.of(CLIENT).await.is_err());
}

#[tokio::test]
async fn a_document_that_many_ask_for_is_fetched_once() {
    let (remote, look_up) = setting().await;
    remote.hold(Duration::from_millis(200));
    let look_up = Arc::new(look_up);
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let look_up = Arc::clone(&look_up);
            tokio::spawn(async move { look_up.of(CLIENT).await.is_ok() })
        })
        .collect();
    for asked in asking {
        assert!(asked.await.unwrap());
    }
    assert_eq!(remote.connections(), 1);
}

#[tokio::test]
async fn at_most_four_documents_are_fetched_at_once() {
    let (remote, look_up) = setting().await;
    remote.hold(Duration::from_millis(300));
    let look_up = Arc::new(look_up);
    let asking: Vec<_> = (0..12)
        .map(|number| {
            let look_up = Arc::clone(&look_up);
            tokio::spawn(async move { look_up.of(&format!("https://h{number}.example/c")).await })
        })
        .collect();
    for asked in asking {
        // The document is another client's: fetched, and refused.
        let refused = asked.await.unwrap().unwrap_err();
        assert!(matches!(refused, DocumentError::Invalid(_)), "{refused}");
    }
    assert_eq!((remote.connections(), remote.most_at_once()), (12, 4));
}

#[tokio::test]
async fn one_host_is_asked_twenty_times_in_a_minute() {
    let (remote, look_up) = setting().await;
    let mut refused = 0;
    for number in 0..40 {
        let id = format!("https://client.example/{number}");
        if look_up.of(&id).await.unwrap_err() == DocumentError::Busy {
            refused += 1;
        }
    }
    // One is granted every three seconds, so a slow machine gets some more.
    assert!(
        (20..=30).contains(&remote.connections()),
        "{}",
        remote.connections()
    );
    assert_eq!(remote.connections() + refused, 40);
    // Another host is not concerned, and what was refused for this reason is not remembered as the client's fault.
    assert_ne!(
        look_up.of("https://other.example/c").await.unwrap_err(),
        DocumentError::Busy
    );
}
