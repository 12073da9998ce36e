//! Little room on the disk of the store file.

use testkit::wait::{PATIENCE, until};

use crate::answer::answer;
use crate::service::Auth;
use crate::sign_in::signed_in;

/// What readiness says of the disk, and the figures of `/metrics`: whether there is little room, and how much.
async fn seen(auth: &Auth) -> (u16, Option<String>, Vec<f64>) {
    let http = testkit::network::http_client().unwrap();
    let ready = answer(http.get(format!("http://{}/health/ready", auth.private))).await;
    let checks = ready.json()["checks"].as_array().unwrap().clone();
    let disk = checks.iter().find(|check| check["name"] == "disk");
    let degraded = disk.unwrap()["degraded"].as_str().map(str::to_owned);
    let metrics = answer(http.get(format!("http://{}/metrics", auth.private))).await;
    let figure = |name: &str| {
        let line = metrics
            .body
            .lines()
            .find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse().unwrap()
    };
    let figures = ["auth_store_degraded", "auth_store_free_bytes"].map(figure);
    (ready.status, degraded, figures.to_vec())
}

#[tokio::test]
async fn little_room_is_told_and_changes_nothing_else() {
    for (wanted, is_little) in [("1000000000000", true), ("0", false)] {
        let auth = Auth::start_with(&[
            ("STORE", "redb"),
            ("STORE_PATH", "auth.redb"),
            ("STORE_FREE_SPACE", wanted),
        ])
        .await;
        let (_, tokens) = signed_in(&auth).await;
        let degraded = until("the figures", PATIENCE, async || {
            let (status, degraded, figures) = seen(&auth).await;
            assert_eq!(status, 200);
            let expected = if is_little { 1.0 } else { 0.0 };
            let is_told = figures[1] > 0.0 && (figures[0] - expected).abs() < 0.1;
            is_told.then_some(degraded)
        })
        .await
        .unwrap();
        assert_eq!(degraded.is_some(), is_little, "{degraded:?}");
        assert!(degraded.is_none_or(|text| text.contains("STORE_FREE_SPACE")));
        assert_eq!(auth.verify(&tokens.access).await.status, 200);
    }
}
