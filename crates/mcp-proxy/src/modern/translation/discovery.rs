//! What an older server said of itself in the handshake, and how a modern client reads it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::jsonrpc::Message;
use crate::modern::translation::members::{Members, Object, response};
use crate::version::Version;

/// The `InitializeResult` of a child.
#[derive(Debug)]
pub struct Greeting {
    /// `serverInfo`, as it was written.
    pub server: String,
    /// `capabilities`, as they were written.
    capabilities: String,
    /// `instructions`, as they were written.
    instructions: Option<String>,
    /// It says when its lists change, or resources that were subscribed to.
    pub changes: Changes,
    /// It logs.
    pub logging: bool,
}

/// What a server notifies of.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one capability, there or not"
)]
pub struct Changes {
    /// There are tools.
    pub has_tools: bool,
    /// `tools.listChanged`.
    pub tools: bool,
    /// `prompts.listChanged`.
    pub prompts: bool,
    /// `resources.listChanged`.
    pub resources: bool,
    /// `resources.subscribe`.
    pub subscribe: bool,
}

impl Greeting {
    /// Reads the answer to `initialize`; `None` when it is none.
    #[must_use]
    pub fn read(answer: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Initialized<'a> {
            #[serde(borrow)]
            capabilities: &'a RawValue,
            #[serde(borrow)]
            server_info: &'a RawValue,
            #[serde(borrow, default)]
            instructions: Option<&'a RawValue>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Capabilities {
            tools: Option<Capability>,
            prompts: Option<Capability>,
            resources: Option<Capability>,
            logging: Option<serde::de::IgnoredAny>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Capability {
            list_changed: bool,
            subscribe: bool,
        }
        let result = Message::parse(answer).ok()?.result?;
        let initialized: Initialized<'_> = serde_json::from_str(result.get()).ok()?;
        let found: Capabilities =
            serde_json::from_str(initialized.capabilities.get()).unwrap_or_default();
        let list =
            |capability: &Option<Capability>| capability.as_ref().is_some_and(|it| it.list_changed);
        Some(Self {
            server: initialized.server_info.get().to_owned(),
            capabilities: initialized.capabilities.get().to_owned(),
            instructions: initialized.instructions.map(|text| text.get().to_owned()),
            changes: Changes {
                has_tools: found.tools.is_some(),
                tools: list(&found.tools),
                prompts: list(&found.prompts),
                resources: list(&found.resources),
                subscribe: found.resources.as_ref().is_some_and(|it| it.subscribe),
            },
            logging: found.logging.is_some(),
        })
    }

    /// The answer to `server/discover` (MCP 2026-07-28, server/discover). Tasks of 2025-11-25 are not those of the extension that
    /// took their place, so they are not passed on.
    #[must_use]
    pub fn discovered(&self, client_id: &str) -> Vec<u8> {
        let mut capabilities = Object::new();
        if let Some(mut members) = Members::parse(&self.capabilities) {
            members.0.retain(|(key, _)| key != "tasks");
            capabilities.members(&members);
        }
        let versions = format!("[\"{}\"]", Version::V20260728);
        let mut meta = Object::new();
        meta.raw("io.modelcontextprotocol/serverInfo", &self.server);
        let mut result = Object::new();
        result
            .raw("resultType", r#""complete""#)
            .raw("supportedVersions", &versions)
            .raw("capabilities", &capabilities.finish());
        if let Some(instructions) = &self.instructions {
            result.raw("instructions", instructions);
        }
        result
            .raw("ttlMs", "0")
            .raw("cacheScope", r#""private""#)
            .raw("_meta", &meta.finish());
        response(client_id, &result.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_says_what_the_handshake_said() {
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"tasks":{},"resources":{"subscribe":true}},
            "serverInfo":{"name":"s","version":"1"},"instructions":"\u00e9"}}"#;
        let greeting = Greeting::read(answer).unwrap();
        assert!(greeting.changes.tools && greeting.changes.subscribe);
        assert!(!greeting.changes.resources && !greeting.logging);
        assert_eq!(
            String::from_utf8(greeting.discovered("\"d\"")).unwrap(),
            r#"{"jsonrpc":"2.0","id":"d","result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true},"resources":{"subscribe":true}},"instructions":"\u00e9","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}}"#
        );
        assert!(
            Greeting::read(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#)
                .is_none()
        );
    }
}
