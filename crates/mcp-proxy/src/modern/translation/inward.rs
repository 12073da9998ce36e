//! A modern request as an older server understands it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::http::error::Refusal;
use crate::jsonrpc::{Message, as_text};
use crate::modern::translation::log_level::Level;
use crate::modern::translation::members::{Members, Object, line, quoted};
use crate::modern::translation::profile::Profile;

/// A modern request, taken apart: what is for the server, and what is for this bridge.
#[derive(Debug)]
pub struct Inward<'a> {
    method: Cow<'a, str>,
    params: Members<'a>,
    meta: Members<'a>,
    /// What the client can be asked for.
    pub profile: Profile,
    /// From which severity on it wants logs.
    pub level: Option<Level>,
    /// `inputResponses`: the client's answers by key.
    pub responses: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// `requestState`, as it came.
    pub state: Option<Cow<'a, str>>,
}

impl<'a> Inward<'a> {
    /// Takes a request apart.
    pub fn read(message: &Message<'a>) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        struct Request<'a> {
            #[serde(borrow, default)]
            params: Members<'a>,
        }
        let Request { mut params } = serde_json::from_str::<Request<'a>>(message.text)
            .map_err(|_| Refusal::InvalidParams("`params` must be an object"))?;
        let mut meta = params
            .get("_meta")
            .and_then(|meta| Members::parse(meta.get()))
            .unwrap_or_default();
        meta.drop_reserved();
        let responses = match params.get("inputResponses") {
            None => Vec::new(),
            Some(responses) => {
                Members::parse(responses.get())
                    .filter(|responses| {
                        let mut values = responses.0.iter();
                        values.all(|(_, value)| value.get().starts_with('{'))
                    })
                    .ok_or(Refusal::InvalidParams(
                        "`inputResponses` must be an object of objects",
                    ))?
                    .0
            }
        };
        let state = match params.get("requestState") {
            None => None,
            Some(state) => Some(
                as_text(state).ok_or(Refusal::InvalidParams("`requestState` must be a string"))?,
            ),
        };
        let level = match message.params.meta.log_level {
            None => None,
            Some(level) => Some(as_text(level).and_then(|name| Level::parse(&name)).ok_or(
                Refusal::InvalidParams("`_meta` has an unknown io.modelcontextprotocol/logLevel"),
            )?),
        };
        params
            .0
            .retain(|(key, _)| !matches!(&**key, "_meta" | "inputResponses" | "requestState"));
        let capabilities = message.params.meta.client_capabilities;
        Ok(Self {
            method: message.method.clone(),
            params,
            meta,
            profile: capabilities.map_or_else(Profile::default, |it| Profile::read(it.get())),
            level,
            responses,
            state,
        })
    }

    /// A member of `params` that is for the server.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a RawValue> {
        self.params.get(name)
    }

    /// The line that brings it to the child, under our number, which is its progress token as well.
    #[must_use]
    pub fn line(&self, number: u64) -> Vec<u8> {
        let number = number.to_string();
        let mut meta = Object::new();
        for (key, value) in &self.meta.0 {
            let is_token = key == "progressToken" && value.get() != "null";
            meta.raw(key, if is_token { &number } else { value.get() });
        }
        let mut params = Object::new();
        params.members(&self.params);
        if !meta.is_empty() {
            params.raw("_meta", &meta.finish());
        }
        let mut request = Object::new();
        request
            .raw("jsonrpc", r#""2.0""#)
            .raw("id", &number)
            .raw("method", &quoted(&self.method));
        if !params.is_empty() {
            request.raw("params", &params.finish());
        }
        line(&request.finish())
    }

    /// What the request asks for, in a form that does not depend on the order of members or on white space: the same for
    /// a request and its repetition with answers.
    #[must_use]
    pub fn salient(&self) -> String {
        let params: Map<String, Value> = self
            .params
            .0
            .iter()
            .map(|(key, value)| {
                let value = serde_json::from_str(value.get()).unwrap_or_default();
                (key.clone().into_owned(), value)
            })
            .collect();
        format!("{}\n{}", self.method, Value::from(params))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t","arguments":{"x":1.50, "y":"\u00e9"},
        "inputResponses":{"k":{"action":"accept"}},"requestState":"s","_meta":{"progressToken":"p","traceparent":"00-1",
        "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}}}}}"#;

    #[test]
    fn only_what_an_older_server_knows_goes_in() {
        let message = Message::parse(REQUEST).unwrap();
        let inward = Inward::read(&message).unwrap();
        assert_eq!(
            String::from_utf8(inward.line(7)).unwrap(),
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","arguments":{"x":1.50, "y":"\u00e9"},"_meta":{"progressToken":7,"traceparent":"00-1"}}}"#
        );
        assert!(inward.profile.roots);
        assert_eq!(inward.state.as_deref(), Some("s"));
        assert_eq!(inward.responses.len(), 1);
    }

    #[test]
    fn the_repetition_with_answers_asks_for_the_same() {
        let salient = |text: &str| {
            Inward::read(&Message::parse(text).unwrap())
                .unwrap()
                .salient()
        };
        let again = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"arguments":{"y":"é","x":1.50},"name":"t"}}"#;
        assert_eq!(salient(REQUEST), salient(again));
        assert_ne!(salient(REQUEST), salient(&again.replace("1.50", "2")));
    }

    #[test]
    fn malformed_answers_are_refused() {
        for wrong in [
            r#""inputResponses":null"#,
            r#""inputResponses":{"k":1}"#,
            r#""requestState":1"#,
            r#""_meta":{"io.modelcontextprotocol/logLevel":"loud"}"#,
        ] {
            let text =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{wrong}}}}}"#);
            let read = Inward::read(&Message::parse(&text).unwrap()).map(|_| ());
            assert!(matches!(read, Err(Refusal::InvalidParams(_))), "{wrong}");
        }
    }
}
