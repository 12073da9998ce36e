//! `/success` and `/error`: pages on which a browser may be left, and that say nothing but our own words.

use insta::assert_snapshot;

use crate::answer::answer;
use crate::service::{AUTH, Auth, FETCH, ISSUER};

#[tokio::test]
async fn the_page_of_a_success_shows_nothing_of_its_address() {
    let auth = Auth::start().await;
    let page = auth.get(AUTH, "/success").await;
    let guarded = auth.get(AUTH, "/login?state=x").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("You are signed in"), "{page:?}");
    for header in [
        "content-security-policy",
        "x-frame-options",
        "x-content-type-options",
        "referrer-policy",
        "cross-origin-opener-policy",
        "cache-control",
        "content-type",
    ] {
        assert_ne!(page.header(header), "", "{header}");
        assert_eq!(page.header(header), guarded.header(header), "{header}");
    }
    let with_code = auth
        .get(
            AUTH,
            "/success?code=mcp_ac_secret&state=<script>alert(1)</script>",
        )
        .await;
    assert_eq!(with_code.body, page.body);
    assert_eq!(
        answer(auth.request("HEAD", AUTH, "/success")).await.status,
        200
    );
    let posted = answer(auth.request("POST", AUTH, "/success")).await;
    assert_eq!((posted.status, posted.header("allow")), (405, "GET, HEAD"));
}

/// The paragraph of the page.
fn said(body: &str) -> &str {
    let (_, rest) = body.split_once("<p>").unwrap();
    rest.split_once("</p>").unwrap().0
}

#[tokio::test]
async fn the_page_of_an_error_says_what_a_known_code_means_and_no_word_of_others() {
    let auth = Auth::start().await;
    let mut texts = Vec::new();
    for code in [
        "access_denied",
        "server_error",
        "login_required",
        "invalid_target",
        "unknown",
    ] {
        let page = auth.get(AUTH, &format!("/error?error={code}")).await;
        assert_eq!(page.status, 400, "{page:?}");
        assert_eq!(page.header("x-frame-options"), "DENY");
        texts.push(format!("{code}: {}", said(&page.body)));
    }
    assert_snapshot!(texts.join("\n"), @r"
    access_denied: Access was not given: it was refused, or this account may not use the service. Ask whoever runs the service, or go back to the application and connect again.
    server_error: The gateway or the identity provider could not answer just now. Go back to the application and try again in a moment.
    login_required: You have to be asked, and the application did not want that. Go back to it and connect again.
    invalid_target: The application asked for something that there is not here, or its registration has ended. Remove it from the application&#39;s list of servers and connect it again.
    unknown: Go back to the application and connect again.
    ");
    let words = "Call+0800-EVIL+now";
    for query in [
        format!("error={words}"),
        format!("error=access_denied&error_description={words}&error_uri=https://evil.example/"),
        format!("error=access_denied&error={words}"),
        "error=<script>alert(1)</script>".to_owned(),
        format!("error={}", "x".repeat(2000)),
        "%ff=%".to_owned(),
        String::new(),
    ] {
        let page = auth.get(AUTH, &format!("/error?{query}")).await;
        assert_eq!(page.status, 400, "{query}");
        for foreign in ["EVIL", "evil", "<script", "xxxx"] {
            assert!(!page.body.contains(foreign), "{query}: {page:?}");
        }
    }
}

#[tokio::test]
async fn on_the_host_of_a_service_the_browser_is_sent_to_ours() {
    let auth = Auth::start().await;
    for path in ["/success", "/error?error=access_denied"] {
        let sent = auth.get(FETCH, path).await;
        assert_eq!(sent.status, 303, "{path}");
        assert_eq!(sent.location().as_str(), format!("{ISSUER}{path}"));
    }
}
