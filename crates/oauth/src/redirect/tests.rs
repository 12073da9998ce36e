use super::*;
use proptest::prelude::*;

/// An address in its parts: scheme, host, port, path with query.
fn address() -> impl Strategy<Value = [String; 4]> {
    let host = "(localhost|127\\.0\\.0\\.1|\\[::1\\]|app\\.example)";
    (
        "https?",
        host,
        "(:[1-9][0-9]{0,3})?",
        "(/|/cb|/cb/|/CB)?(\\?x=[12])?",
    )
        .prop_map(|(scheme, host, port, rest)| [scheme, host, port, rest])
}

proptest! {
    /// The address that is admitted is the one that was registered, or another port of the same program's.
    #[test]
    fn what_is_admitted_differs_in_the_port_of_loopback_only(registered in address(), requested in address()) {
        let text = |[scheme, host, port, rest]: &[String; 4]| format!("{scheme}://{host}{port}{rest}");
        if let Ok(uri) = RedirectUri::parse(&text(&registered)) {
            let is_loopback = registered[0] == "http" && registered[1] != "app.example";
            let differs_in_port_only = [0, 1, 3].iter().all(|part| registered[*part] == requested[*part]);
            let expected = registered == requested || (is_loopback && differs_in_port_only);
            prop_assert_eq!(uri.admits(&text(&requested)), expected, "{} {}", text(&registered), text(&requested));
        }
    }

    /// Whatever may be registered is kept as it was written, and a browser is sent to its host with what we add to it.
    #[test]
    fn what_may_be_registered_admits_itself_and_leads_where_it_says(
        text in "(https?|cursor|com\\.example|javascript|Https):/{0,3}[a-z0-9.:@\\[\\]%\\\\-]{0,16}(/[a-z0-9.%@/]{0,8})?(\\?[a-z=&]{0,6})?#?",
    ) {
        if let Ok(uri) = RedirectUri::parse(&text) {
            prop_assert_eq!(uri.as_str(), text.as_str());
            prop_assert!(uri.admits(&text));
            let (url, sent) = (Url::parse(&text).unwrap(), uri.with_query(&[("code", "a&b=c#d"), ("state", "")]));
            let sent = Url::parse(&sent).unwrap();
            let place = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port(), url.path().to_owned());
            prop_assert_eq!(place(&sent), place(&url));
            prop_assert!(sent.fragment().is_none() && sent.username().is_empty() && sent.password().is_none());
            prop_assert!(sent.query_pairs().any(|(name, value)| name == "code" && value == "a&b=c#d"), "{}", sent);
            let scheme = sent.scheme();
            prop_assert!(scheme == "https" || uri.is_loopback() || (scheme != "http" && scheme != "javascript"), "{}", text);
        }
    }
}

#[test]
fn redirects_of_clients_in_use_may_be_registered() {
    for good in [
        "https://claude.ai/api/mcp/auth_callback",
        "https://claude.com/api/mcp/auth_callback",
        "https://chatgpt.com/connector_platform_oauth_redirect",
        "https://chatgpt.com/connector/oauth/abc123",
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
        "https://vscode.dev/redirect",
        "https://insiders.vscode.dev/redirect",
        "http://127.0.0.1/",
        "http://127.0.0.1:33418/",
        "http://127.0.0.1:5555/callback/id",
        "http://[::1]:5555/callback",
        "com.example.app:/callback",
    ] {
        assert!(
            RedirectUri::parse(good).is_ok(),
            "{good}: {:?}",
            RedirectUri::parse(good)
        );
    }
}

#[test]
fn dangerous_and_ambiguous_redirects_are_refused() {
    for bad in [
        "",
        "/callback",
        "callback",
        "javascript:alert(1)",
        "javascript://x/%0aalert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "blob:https://x/y",
        "vbscript:x",
        "about:blank",
        "myapp:callback",
        "intent://scan/",
        "chrome://settings/",
        "ms-officecmd://x/",
        "smb://host/share",
        "ssh://host/",
        "http://example.com/cb",
        "http://localhost.evil.example/",
        "http://127.0.0.1.evil/",
        "http://0x7f.1/",
        "http://0.0.0.0/",
        "http://127.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://localhost:0/",
        "https://user@example.com/",
        "https://user:pw@example.com/",
        "https://example.com/#x",
        "https://example.com/cb#",
        "https://*.example.com/",
        "https://exa mple.com/",
        "https://EXAMPLE.com/",
        "HTTPS://example.com/",
        "Http://localhost/cb",
        "https://example.com./cb",
        "https://ex%61mple.com/",
        "https:///cb",
        "https:example.com",
        "https://example.com\\@evil/",
        "https://@example.com/",
        "http://localhost@evil.example/",
        "https://exämple.com/",
    ] {
        assert!(RedirectUri::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(
        RedirectUri::parse(&format!("https://example.com/{}", "a".repeat(MAX_LENGTH))),
        Err(InvalidRedirectUri::TooLong)
    );
}

#[test]
fn only_the_port_of_a_loopback_redirect_is_free() {
    let any_port = |registered: &str, requested: &str| {
        RedirectUri::parse(registered).unwrap().admits(requested)
    };
    assert!(any_port(
        "http://localhost/callback",
        "http://localhost:51234/callback"
    ));
    assert!(any_port("http://127.0.0.1:1/cb", "http://127.0.0.1:2/cb"));
    assert!(any_port("http://[::1]/cb", "http://[::1]:9/cb"));
    assert!(any_port(
        "https://a.example/cb?x=1",
        "https://a.example/cb?x=1"
    ));
}

#[test]
fn near_misses_are_not_admitted() {
    let loopback = "http://localhost:8080/callback";
    for miss in [
        "http://localhost:8080/callback/",
        "http://localhost:8080/Callback",
        "http://localhost:8080/callback?x=1",
        "http://localhost:8080/callback#",
        "http://localhost:8080",
        "http://localhost:8080/",
        "https://localhost:8080/callback",
        "http://127.0.0.1:8080/callback",
        "http://[::1]:8080/callback",
        "http://LOCALHOST:8080/callback",
        "http://localhost.:8080/callback",
        "http://localhost.evil:8080/callback",
        "http://localhost:0/callback",
        "http://localhost:08080/callback",
        "http://localhost:65536/callback",
        "http://localhost:/callback",
        "http://localhost:80 80/callback",
        "http://localhost:+80/callback",
        "http://user@localhost:8080/callback",
        "http://localhost:8080@evil.example/callback",
        "http://localhost:8080/%63allback",
        "http://localhost:8080//callback",
        "http://localhost:8080/./callback",
        "http://localhost:8080/callback ",
        " http://localhost:8080/callback",
        "HTTP://localhost:8080/callback",
        "http://localhost%3a8080/callback",
        "http://0x7f.1:8080/callback",
        "http://127.0.0.1.evil:8080/callback",
        "http://localhost:8080/callback%2e",
        "http:/localhost:8080/callback",
        "http://localhost:8080\\callback",
        "//localhost:8080/callback",
        "",
    ] {
        assert!(
            !RedirectUri::parse(loopback).unwrap().admits(miss),
            "{miss}"
        );
    }
    let web = RedirectUri::parse("https://app.example/cb").unwrap();
    for miss in [
        "https://app.example/cb/",
        "https://app.example:443/cb",
        "https://app.example:8443/cb",
        "https://APP.example/cb",
        "https://app.example/cb?",
        "https://app.example/CB",
        "http://app.example/cb",
        "https://app.example.evil/cb",
        "https://evil.example/app.example/cb",
        "https://app.example/cb/../cb",
    ] {
        assert!(!web.admits(miss), "{miss}");
    }
}

#[test]
fn parameters_join_an_existing_query() {
    let with = |uri: &str| {
        RedirectUri::parse(uri)
            .unwrap()
            .with_query(&[("code", "a b"), ("state", "x&y")])
    };
    assert_eq!(
        with("https://a.example/cb"),
        "https://a.example/cb?code=a+b&state=x%26y"
    );
    assert_eq!(
        with("https://a.example/cb?k=v"),
        "https://a.example/cb?k=v&code=a+b&state=x%26y"
    );
    assert_eq!(
        with("https://a.example/cb?"),
        "https://a.example/cb?code=a+b&state=x%26y"
    );
}

#[test]
fn a_person_reads_the_host_or_the_application() {
    let destination = |uri: &str| RedirectUri::parse(uri).unwrap().destination();
    assert_eq!(destination("https://claude.ai/api/x"), "claude.ai");
    assert_eq!(
        destination("http://localhost:8787/callback"),
        "localhost:8787"
    );
    assert_eq!(
        destination("cursor://anysphere.cursor-mcp/oauth"),
        "cursor://anysphere.cursor-mcp"
    );
}
