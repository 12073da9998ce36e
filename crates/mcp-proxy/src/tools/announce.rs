//! Telling clients that their list of tools is another one now.

use serde::Deserialize;

const METHOD: &str = "notifications/tools/list_changed";

/// The notification; `subscription` is the raw id of the request to listen that it answers (MCP 2026-07-28).
#[must_use]
pub fn list_changed(subscription: Option<&str>) -> Vec<u8> {
    match subscription {
        None => format!(r#"{{"jsonrpc":"2.0","method":"{METHOD}"}}"#),
        Some(id) => format!(
            r#"{{"jsonrpc":"2.0","method":"{METHOD}","params":{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}}}}}"#
        ),
    }
    .into_bytes()
}

/// Does a request to listen ask for changes of the tools? (MCP 2026-07-28, subscriptions)
#[must_use]
pub fn is_wanted(listen: &str) -> bool {
    #[derive(Deserialize)]
    struct Listen {
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        notifications: Wanted,
    }
    #[derive(Deserialize)]
    struct Wanted {
        #[serde(rename = "toolsListChanged", default)]
        tools_list_changed: bool,
    }
    serde_json::from_str::<Listen>(listen)
        .is_ok_and(|listen| listen.params.notifications.tools_list_changed)
}
