//! Registrations as clients send them.

use super::*;
use crate::ErrorCode;

fn check(json: serde_json::Value) -> Result<ClientMetadata, InvalidMetadata> {
    let request: ClientMetadataRequest = serde_json::from_value(json).unwrap();
    request.check(&ScopeSet::parse("mcp").unwrap())
}

#[test]
fn defaults_are_filled_in_and_null_counts_as_absent() {
    let metadata = check(serde_json::json!({
        "redirect_uris": ["https://a.example/cb"], "client_name": null, "scope": "claudeai", "contacts": null,
    }))
    .unwrap();
    assert_eq!(
        metadata.token_endpoint_auth_method,
        TokenEndpointAuthMethod::ClientSecretBasic
    );
    assert!(metadata.may_refresh());
    assert_eq!(metadata.scope.to_string(), "mcp");
    assert_eq!(metadata.response_types, ["code"]);
}

#[test]
fn what_cannot_work_is_refused_with_the_member() {
    let base = |extra: (&str, serde_json::Value)| {
        let mut json = serde_json::json!({"redirect_uris": ["https://a.example/cb"]});
        json[extra.0] = extra.1;
        check(json).unwrap_err()
    };
    for (member, value) in [
        ("grant_types", serde_json::json!(["implicit"])),
        ("response_types", serde_json::json!(["token"])),
        (
            "token_endpoint_auth_method",
            serde_json::json!("private_key_jwt"),
        ),
        ("client_name", serde_json::json!("evil\u{202e}name")),
        ("client_name", serde_json::json!("x".repeat(101))),
        ("client_uri", serde_json::json!("javascript:alert(1)")),
        ("application_type", serde_json::json!("desktop")),
        ("scope", serde_json::json!("a\"b")),
    ] {
        let error = base((member, value));
        assert_eq!(error.code, ErrorCode::InvalidClientMetadata);
        assert!(error.description.contains(member), "{error}");
    }
    assert_eq!(
        base(("redirect_uris", serde_json::json!([]))).code,
        ErrorCode::InvalidRedirectUri
    );
    assert_eq!(
        check(serde_json::json!({})).unwrap_err().code,
        ErrorCode::InvalidRedirectUri
    );
}

#[test]
fn a_name_may_have_emoji_in_their_coloured_form() {
    let named = |name: &str| {
        check(serde_json::json!({"redirect_uris": ["https://a.example/cb"], "client_name": name}))
    };
    for good in ["Weather \u{2600}\u{FE0F}", "Heart \u{2764}\u{FE0E}"] {
        assert_eq!(named(good).unwrap().client_name, good);
    }
    for bad in ["a\u{FE00}b", "a\u{200B}b", "a\u{E0100}b"] {
        assert!(named(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_client_of_devices_needs_no_redirect() {
    let device = check(serde_json::json!({"grant_types": [DEVICE_GRANT]})).unwrap();
    assert!(device.may_ask_for_a_device() && !device.may_refresh());
    assert!(device.redirect_uris.is_empty() && device.response_types.is_empty());
    let both = serde_json::json!({"grant_types": [DEVICE_GRANT, "authorization_code"]});
    assert_eq!(check(both).unwrap_err().code, ErrorCode::InvalidRedirectUri);
}

#[test]
fn a_substring_of_a_type_is_not_that_type() {
    let error = check(
        serde_json::json!({"redirect_uris": ["https://a.example/cb"], "response_types": ["c"]}),
    );
    assert!(error.is_err());
}
