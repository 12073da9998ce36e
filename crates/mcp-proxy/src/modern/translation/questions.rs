//! What an older server asks its client in the middle of a call, and the answers that come with the next request.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::jsonrpc::Message;
use crate::modern::translation::members::{Members, Object, quoted, response};
use crate::modern::translation::profile::Profile;

/// One request of the child that waits for the client.
#[derive(Debug)]
pub struct Question {
    /// Its key in `inputRequests`: the child's id of the request.
    pub key: String,
    /// The child's id, as it was written.
    id: Box<str>,
    method: Box<str>,
    params: String,
    /// What the client must be able to do.
    pub needs: Profile,
}

/// An answer that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;

impl Question {
    /// Reads a request of the child; `None` when it is nothing a client can be asked.
    #[must_use]
    pub fn read(message: &Message<'_>) -> Option<Self> {
        #[derive(Deserialize)]
        struct Request<'a> {
            #[serde(borrow, default)]
            params: Option<&'a RawValue>,
        }
        let id = message.id?;
        let Request { params } = serde_json::from_str(message.text).ok()?;
        let needs = Profile::needed(&message.method, params.map(RawValue::get))?;
        let key = crate::jsonrpc::as_text(id)
            .map_or_else(|| id.get().to_owned(), std::borrow::Cow::into_owned);
        Some(Self {
            key,
            id: id.get().into(),
            method: message.method.as_ref().into(),
            params: params.map_or_else(|| "{}".to_owned(), |params| outward(params.get())),
            needs,
        })
    }

    /// A question that is asked in the child's stead: visit this URL (MCP 2025-11-25, client/elicitation).
    #[must_use]
    pub fn visit(number: usize, elicitation: &RawValue) -> Self {
        Self {
            key: format!("url-{number}"),
            id: "null".into(),
            method: "elicitation/create".into(),
            params: elicitation.get().to_owned(),
            needs: Profile {
                url: true,
                ..Profile::default()
            },
        }
    }

    /// Is it the child's request of this raw id?
    #[must_use]
    pub fn is(&self, id: &RawValue) -> bool {
        *self.id == *id.get()
    }

    /// Gives it a key that none of the others has.
    pub fn distinguish(&mut self, others: &[Self]) {
        let wish = self.key.clone();
        let mut number = 2;
        while others.iter().any(|other| other.key == self.key) {
            self.key = format!("{wish}-{number}");
            number += 1;
        }
    }

    /// Checks that an answer is one (MCP 2026-07-28, schema: `ElicitResult`, `CreateMessageResult`, `ListRootsResult`).
    pub fn check(&self, answer: &str) -> Result<(), NoAnswer> {
        #[derive(Deserialize)]
        struct Answer<'a> {
            #[serde(borrow)]
            action: Option<std::borrow::Cow<'a, str>>,
            role: Option<IgnoredAny>,
            content: Option<IgnoredAny>,
            roots: Option<Vec<IgnoredAny>>,
        }
        let answer: Answer<'_> = serde_json::from_str(answer).map_err(|_| NoAnswer)?;
        let fits = match &*self.method {
            "elicitation/create" => matches!(
                answer.action.as_deref(),
                Some("accept" | "decline" | "cancel")
            ),
            "sampling/createMessage" => answer.role.is_some() && answer.content.is_some(),
            _ => answer.roots.is_some(),
        };
        if fits { Ok(()) } else { Err(NoAnswer) }
    }

    /// The line that brings the client's answer to the child.
    #[must_use]
    pub fn answered(&self, answer: &str) -> Vec<u8> {
        response(&self.id, answer)
    }
}

/// The parameters of a question, without what means nothing to the client: the child's progress token and what is reserved.
fn outward(params: &str) -> String {
    let Some(mut params) = Members::parse(params) else {
        return "{}".to_owned();
    };
    let meta = params
        .get("_meta")
        .and_then(|meta| Members::parse(meta.get()));
    params.0.retain(|(key, _)| key != "_meta");
    let mut object = Object::new();
    object.members(&params);
    if let Some(mut meta) = meta {
        meta.drop_reserved();
        meta.0.retain(|(key, _)| key != "progressToken");
        if !meta.0.is_empty() {
            let mut kept = Object::new();
            kept.members(&meta);
            object.raw("_meta", &kept.finish());
        }
    }
    object.finish()
}

/// The answer that asks the client (MCP 2026-07-28, basic/patterns/mrtr, `InputRequiredResult`). `state` is left out where
/// the next request needs nothing of this one.
#[must_use]
pub fn input_required(
    client_id: &str,
    questions: &[Question],
    state: Option<&str>,
    server: &str,
) -> Vec<u8> {
    let mut requests = Object::new();
    for question in questions {
        let mut request = Object::new();
        request
            .raw("method", &quoted(&question.method))
            .raw("params", &question.params);
        requests.raw(&question.key, &request.finish());
    }
    let mut meta = Object::new();
    meta.raw("io.modelcontextprotocol/serverInfo", server);
    let mut result = Object::new();
    result
        .raw("resultType", r#""input_required""#)
        .raw("inputRequests", &requests.finish());
    if let Some(state) = state {
        result.raw("requestState", &quoted(state));
    }
    result.raw("_meta", &meta.finish());
    response(client_id, &result.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(text: &str) -> Question {
        Question::read(&Message::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn a_question_keeps_its_parameters_and_is_answered_under_its_own_id() {
        let asked = question(
            r#"{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"\u00e9","x":1.0,"_meta":{"progressToken":1,"a":2}}}"#,
        );
        let answer = input_required("9", &[asked], Some("S"), "{}");
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            r#"{"jsonrpc":"2.0","id":9,"result":{"resultType":"input_required","inputRequests":{"q":{"method":"elicitation/create","params":{"message":"\u00e9","x":1.0,"_meta":{"a":2}}}},"requestState":"S","_meta":{"io.modelcontextprotocol/serverInfo":{}}}}"#
        );
        let number = question(r#"{"jsonrpc":"2.0","id":0,"method":"roots/list"}"#);
        assert_eq!(number.key, "0");
        assert_eq!(
            number.answered(r#"{"roots":[]}"#),
            br#"{"jsonrpc":"2.0","id":0,"result":{"roots":[]}}"#
        );
    }

    #[test]
    fn keys_are_told_apart() {
        let first = question(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#);
        let mut second = question(r#"{"jsonrpc":"2.0","id":"1","method":"roots/list"}"#);
        second.distinguish(&[first]);
        assert_eq!(second.key, "1-2");
    }

    #[test]
    fn only_an_answer_is_one() {
        let of = |method: &str| {
            question(&format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#
            ))
        };
        let (user, model, roots) = (
            of("elicitation/create"),
            of("sampling/createMessage"),
            of("roots/list"),
        );
        assert_eq!(user.check(r#"{"action":"decline"}"#), Ok(()));
        assert_eq!(user.check(r#"{"action":"maybe"}"#), Err(NoAnswer));
        assert_eq!(model.check(r#"{"role":"assistant","content":{}}"#), Ok(()));
        assert_eq!(model.check(r#"{"role":"assistant"}"#), Err(NoAnswer));
        assert_eq!(roots.check(r#"{"roots":[]}"#), Ok(()));
        assert_eq!(roots.check(r#"{"roots":{}}"#), Err(NoAnswer));
    }
}
