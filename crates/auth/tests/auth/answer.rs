//! An answer, read whole, and written down for snapshots.

use reqwest::header::{HeaderMap, SET_COOKIE};
use serde_json::Value;
use url::Url;

use crate::service::ISSUER;

/// Headers that say nothing about the service.
const UNINTERESTING: [&str; 3] = ["date", "content-length", "x-request-id"];

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// How often a header is there.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.headers.get_all(name).iter().count()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A text member of the JSON body.
    pub(crate) fn text(&self, member: &str) -> String {
        self.json()
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no {member} in {self:?}"))
            .to_owned()
    }

    /// `STATUS error` of a JSON refusal.
    pub(crate) fn refusal(&self) -> String {
        format!("{} {}", self.status, self.text("error"))
    }

    /// Where a browser that stands at the authorization server is redirected to.
    pub(crate) fn location(&self) -> Url {
        let base = Url::parse(ISSUER).unwrap();
        assert_eq!(self.count("location"), 1, "{self:?}");
        base.join(self.header("location")).unwrap()
    }

    /// A parameter of the redirect.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        parameter(&self.location(), name)
    }

    /// `name=value` of each cookie that is set, as a browser sends it back.
    pub(crate) fn cookies(&self) -> Vec<String> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| {
                let text = value.to_str().unwrap();
                text.split(';').next().unwrap().to_owned()
            })
            .collect()
    }

    /// The value of a hidden field.
    pub(crate) fn hidden(&self, name: &str) -> String {
        let before = format!("name=\"{name}\" value=\"");
        self.body
            .split_once(&before)
            .and_then(|(_, rest)| rest.split_once('"'))
            .map_or_else(
                || panic!("no field {name} in {self:?}"),
                |(value, _)| value.to_owned(),
            )
    }

    /// Status, headers and body, with what differs from run to run replaced.
    pub(crate) fn shown(&self, replacements: &[(&str, &str)]) -> String {
        let body = serde_json::from_str::<Value>(&self.body).map_or_else(
            |_| self.body.clone(),
            |value| serde_json::to_string_pretty(&value).unwrap(),
        );
        let text = format!("{}\n{}\n\n{body}", self.status, self.head().join("\n"));
        replace(&text, replacements)
    }

    /// Status and headers.
    pub(crate) fn shown_head(&self, replacements: &[(&str, &str)]) -> String {
        let text = format!("{}\n{}", self.status, self.head().join("\n"));
        replace(&text, replacements)
    }

    fn head(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .headers
            .iter()
            .filter(|(name, _)| !UNINTERESTING.contains(&name.as_str()))
            .map(|(name, value)| {
                let value = value.to_str().unwrap();
                // The end of a cookie is an instant; what counts is `Max-Age`.
                let value = value.split("; Expires=").next().unwrap();
                format!("{name}: {value}")
            })
            .collect();
        lines.sort();
        lines
    }
}

fn replace(text: &str, replacements: &[(&str, &str)]) -> String {
    let mut text = text.trim_end().to_owned();
    for (found, shown) in replacements {
        assert!(!found.is_empty(), "nothing to replace by {shown}");
        text = text.replace(found, shown);
    }
    text
}

/// A parameter of a URL's query.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// Sends a request and reads its answer.
pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}
