//! What a client can be asked for, and what a question needs.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

/// The capabilities of a client that let a server ask it for something. Everything else a client declares concerns this
/// bridge alone, so that clients which can be asked for the same share one kind of child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one capability, there or not"
)]
pub struct Profile {
    /// `elicitation.form`, or `elicitation` alone.
    pub form: bool,
    /// `elicitation.url`.
    pub url: bool,
    /// `sampling`.
    pub sampling: bool,
    /// `sampling.tools`.
    pub sampling_tools: bool,
    /// `sampling.context`.
    pub sampling_context: bool,
    /// `roots`.
    pub roots: bool,
}

impl Profile {
    /// Reads `io.modelcontextprotocol/clientCapabilities`. What is malformed is not declared.
    #[must_use]
    pub fn read(capabilities: &str) -> Self {
        #[derive(Deserialize)]
        struct Declared {
            elicitation: Option<Elicitation>,
            sampling: Option<Sampling>,
            roots: Option<IgnoredAny>,
        }
        #[derive(Deserialize)]
        struct Elicitation {
            form: Option<IgnoredAny>,
            url: Option<IgnoredAny>,
        }
        #[derive(Deserialize)]
        struct Sampling {
            tools: Option<IgnoredAny>,
            context: Option<IgnoredAny>,
        }
        let Ok(declared) = serde_json::from_str::<Declared>(capabilities) else {
            return Self::default();
        };
        let (elicitation, sampling) = (declared.elicitation, declared.sampling);
        Self {
            form: elicitation
                .as_ref()
                .is_some_and(|modes| modes.form.is_some() || modes.url.is_none()),
            url: elicitation.is_some_and(|modes| modes.url.is_some()),
            sampling_tools: sampling
                .as_ref()
                .is_some_and(|sampling| sampling.tools.is_some()),
            sampling_context: sampling
                .as_ref()
                .is_some_and(|sampling| sampling.context.is_some()),
            sampling: sampling.is_some(),
            roots: declared.roots.is_some(),
        }
    }

    /// Can the client be asked for anything?
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// As `capabilities` of `initialize` (MCP 2025-11-25) and of `requiredCapabilities` (MCP 2026-07-28) alike.
    #[must_use]
    pub fn as_capabilities(self) -> Value {
        let flags = |flags: [(&str, bool); 2]| -> Value {
            flags
                .into_iter()
                .filter(|(_, set)| *set)
                .map(|(name, _)| (name.to_owned(), json!({})))
                .collect::<Map<_, _>>()
                .into()
        };
        let mut capabilities = Map::new();
        if self.form || self.url {
            let modes = flags([("form", self.form), ("url", self.url)]);
            capabilities.insert("elicitation".to_owned(), modes);
        }
        if self.sampling {
            let extras = flags([
                ("tools", self.sampling_tools),
                ("context", self.sampling_context),
            ]);
            capabilities.insert("sampling".to_owned(), extras);
        }
        if self.roots {
            capabilities.insert("roots".to_owned(), json!({}));
        }
        capabilities.into()
    }

    /// What the request of a server needs of its client; `None` when it is nothing a client can be asked for.
    #[must_use]
    pub fn needed(method: &str, params: Option<&str>) -> Option<Self> {
        #[derive(Default, Deserialize)]
        struct Params<'a> {
            #[serde(borrow)]
            mode: Option<std::borrow::Cow<'a, str>>,
            tools: Option<IgnoredAny>,
        }
        let params: Params<'_> = params
            .and_then(|params| serde_json::from_str(params).ok())
            .unwrap_or_default();
        let none = Self::default();
        match method {
            "elicitation/create" if params.mode.as_deref() == Some("url") => {
                Some(Self { url: true, ..none })
            }
            "elicitation/create" => Some(Self { form: true, ..none }),
            "sampling/createMessage" => Some(Self {
                sampling: true,
                sampling_tools: params.tools.is_some(),
                ..none
            }),
            "roots/list" => Some(Self {
                roots: true,
                ..none
            }),
            _ => None,
        }
    }

    /// Is all that `needed` asks for there?
    #[must_use]
    pub fn covers(self, needed: Self) -> bool {
        (self.form || !needed.form)
            && (self.url || !needed.url)
            && (self.sampling || !needed.sampling)
            && (self.sampling_tools || !needed.sampling_tools)
            && (self.sampling_context || !needed.sampling_context)
            && (self.roots || !needed.roots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_declared_comes_back() {
        let same = |text: &str| Profile::read(text).as_capabilities().to_string();
        assert_eq!(
            same(r#"{"elicitation":{}}"#),
            r#"{"elicitation":{"form":{}}}"#
        );
        for text in [
            r#"{"elicitation":{"form":{},"url":{}},"roots":{},"sampling":{"context":{},"tools":{}}}"#,
            r#"{"elicitation":{"url":{}}}"#,
            r#"{"sampling":{}}"#,
            "{}",
        ] {
            assert_eq!(same(text), text);
        }
        for nothing in [
            r#"{"elicitation":true}"#,
            "null",
            r#"{"roots":null,"extensions":{"x":{}}}"#,
        ] {
            assert!(Profile::read(nothing).is_empty(), "{nothing}");
        }
    }

    #[test]
    fn a_question_needs_its_capability() {
        let covers = |declared: &str, method: &str, params: &str| {
            Profile::read(declared).covers(Profile::needed(method, Some(params)).unwrap())
        };
        assert!(covers(r#"{"elicitation":{}}"#, "elicitation/create", "{}"));
        assert!(!covers(
            r#"{"elicitation":{"url":{}}}"#,
            "elicitation/create",
            "{}"
        ));
        assert!(!covers(
            r#"{"elicitation":{}}"#,
            "elicitation/create",
            r#"{"mode":"url"}"#
        ));
        assert!(covers(r#"{"sampling":{}}"#, "sampling/createMessage", "{}"));
        assert!(!covers(
            r#"{"sampling":{}}"#,
            "sampling/createMessage",
            r#"{"tools":[]}"#
        ));
        assert!(!covers("{}", "roots/list", "{}"));
        assert_eq!(Profile::needed("tasks/get", None), None);
    }
}
