//! What changes while a server runs.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

/// Whether the tool and the prompt that come and go are there.
#[derive(Default)]
pub(super) struct Catalogue {
    tool: AtomicBool,
    prompt: AtomicBool,
}

/// A change that clients are told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Tools,
    Prompts,
    Resource(String),
}

impl Catalogue {
    pub(super) fn has_dynamic_tool(&self) -> bool {
        self.tool.load(Ordering::Relaxed)
    }

    pub(super) fn has_dynamic_prompt(&self) -> bool {
        self.prompt.load(Ordering::Relaxed)
    }

    /// Adds what is absent, removes what is there.
    pub(super) fn apply(&self, change: &Change) {
        match change {
            Change::Tools => drop(self.tool.fetch_xor(true, Ordering::Relaxed)),
            Change::Prompts => drop(self.prompt.fetch_xor(true, Ordering::Relaxed)),
            Change::Resource(_) => {}
        }
    }
}

impl Change {
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resource(_) => "notifications/resources/updated",
        }
    }

    pub(super) fn params(&self) -> Value {
        match self {
            Self::Resource(uri) => json!({ "uri": uri }),
            Self::Tools | Self::Prompts => json!({}),
        }
    }
}
