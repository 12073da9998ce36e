//! Revisions: what each has, and that a process keeps to one era.

use serde_json::json;

use crate::echo::{Echo, modern, modern_with, text};

#[test]
fn initialize_echoes_a_supported_revision_and_offers_the_latest_otherwise() {
    for (asked, answered) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let mut echo = Echo::start(&[]);
        let result = &echo.initialize(asked)["result"];
        assert_eq!(result["protocolVersion"], answered);
        assert_eq!(result["serverInfo"]["name"], "mcp-echo");
        assert!(result["capabilities"]["tools"].is_object(), "{result}");
        assert!(result.get("resultType").is_none(), "{result}");
    }
}

#[test]
fn a_batch_is_answered_in_the_revision_that_has_batches() {
    let mut echo = Echo::start(&[]);
    echo.initialize("2025-03-26");
    echo.send(&json!([
        {"jsonrpc": "2.0", "id": 1, "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/unknown"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "timing", "arguments": {"milliseconds": 1}}},
        {"jsonrpc": "2.0", "id": 3, "method": "nope"},
    ]));
    let answers = echo.receive();
    assert_eq!(answers[0]["id"], 1);
    assert_eq!(answers[1]["id"], 2);
    assert!(text(&answers[1]).starts_with("asked for 1 ms"));
    assert_eq!(answers[2]["error"]["code"], -32601);
    assert_eq!(answers.as_array().unwrap().len(), 3);
}

#[test]
fn discover_tells_the_modern_revision() {
    let mut echo = Echo::start(&[]);
    let answer = echo.request("server/discover", modern(json!({})));
    let result = &answer["result"];
    assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(result["resultType"], "complete");
    assert_eq!(result["cacheScope"], "private");
    assert!(result["ttlMs"].is_u64(), "{result}");
    assert!(result["capabilities"]["tools"].is_object(), "{result}");
    assert_eq!(
        result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
        "mcp-echo"
    );
}

#[test]
fn modern_requests_need_no_handshake() {
    let mut echo = Echo::start(&[]);
    let list = echo.request("tools/list", modern(json!({})));
    assert_eq!(list["result"]["resultType"], "complete");
    assert!(list["result"]["ttlMs"].is_u64(), "{list}");
    let call = echo.request(
        "tools/call",
        modern(json!({"name": "whoami", "arguments": {}})),
    );
    let result = &call["result"];
    assert_eq!(result["resultType"], "complete");
    assert!(result.get("ttlMs").is_none(), "{result}");
    assert_eq!(
        result["structuredContent"]["protocol"],
        json!({"version": "2026-07-28", "era": "modern"})
    );
    assert_eq!(result["structuredContent"]["client"]["name"], "test");
    assert_eq!(
        result["structuredContent"]["client_capabilities"],
        json!({"elicitation": {}})
    );
}

#[test]
fn modern_requests_are_held_to_their_form() {
    let mut echo = Echo::start(&[]);
    let unknown = echo.request("tools/list", modern_with("2099-01-01", json!({})));
    assert_eq!(unknown["error"]["code"], -32022);
    assert_eq!(
        unknown["error"]["data"],
        json!({"supported": ["2026-07-28"], "requested": "2099-01-01"})
    );
    let no_capabilities =
        json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}});
    assert_eq!(
        echo.request("tools/list", no_capabilities)["error"]["code"],
        -32602
    );
    for removed in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
    ] {
        let answer = echo.request(removed, modern(json!({})));
        assert_eq!(answer["error"]["code"], -32601, "{removed}: {answer}");
    }
}

#[test]
fn a_server_of_one_era_refuses_the_other() {
    let mut legacy = Echo::start(&["--era", "legacy"]);
    let answer = legacy.request("server/discover", modern(json!({})));
    assert_eq!(answer["error"]["code"], -32601);
    assert_eq!(
        legacy.initialize("2025-11-25")["result"]["protocolVersion"],
        "2025-11-25"
    );

    let mut modern_only = Echo::start(&["--era", "modern"]);
    assert_eq!(
        modern_only.initialize("2025-11-25")["error"]["code"],
        -32601
    );
    let answer = modern_only.request("server/discover", modern(json!({})));
    assert_eq!(answer["result"]["resultType"], "complete");
}

#[test]
fn structured_content_is_left_out_where_it_is_unknown() {
    for (version, expected) in [("2025-03-26", false), ("2025-06-18", true)] {
        let mut echo = Echo::start(&[]);
        echo.initialize(version);
        let answer = echo.call("health", json!({}));
        let result = answer["result"].as_object().unwrap();
        assert_eq!(
            result.contains_key("structuredContent"),
            expected,
            "{answer}"
        );
    }
}
