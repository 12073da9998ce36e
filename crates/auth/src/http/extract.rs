//! Strict reading of what clients send: each parameter once, credentials in one place, bodies of the right type.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::cookie::Cookie;
use actix_web::error::PayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE};
use actix_web::web::{Bytes, Payload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth::ErrorCode;
use oauth::secret::{BrowserCookie, Plain};
use zeroize::Zeroizing;

use super::error::{self, Refused};
use crate::flow::Refusal;
use crate::flow::token::ClientCredentials;
use crate::routes::BODY_LIMIT;

/// How long a body may take to come, so that slow senders do not hold connections for ever.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Parameters of a form that are read. Ours have ten at most; each is compared with those before it.
const MOST_PARAMETERS: usize = 64;

/// A form with each parameter at most once; only `resource` may repeat (RFC 6749 section 3.2, RFC 8707 section 2). Empty
/// values count as absent.
#[derive(Debug, Default)]
pub(crate) struct Form {
    pairs: Vec<(String, Zeroizing<String>)>,
    pub(crate) resources: Vec<String>,
}

impl Form {
    /// The value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that must be there.
    pub(crate) fn need(&self, name: &str) -> Result<&str, Refused> {
        self.get(name).ok_or_else(|| {
            error::json(ErrorCode::InvalidRequest, &format!("{name} is missing")).into()
        })
    }
}

/// Reads a form body. Parameters in the URL are refused, because URLs are logged on the way.
pub(crate) async fn form(request: &HttpRequest, payload: Payload) -> Result<Form, Refused> {
    require_type(request, "application/x-www-form-urlencoded")?;
    let body = body(payload).await?;
    let refuse = |text: &str| Refused::from(error::json(ErrorCode::InvalidRequest, text));
    if !request.query_string().is_empty() {
        return Err(refuse("parameters belong in the body, not in the URL"));
    }
    let mut form = Form::default();
    for (number, (name, value)) in url::form_urlencoded::parse(&body).enumerate() {
        if number >= MOST_PARAMETERS {
            return Err(refuse("a form may have at most 64 parameters"));
        }
        if value.is_empty() {
            continue;
        }
        if name == "resource" {
            form.resources.push(value.into_owned());
        } else if form.get(&name).is_some() {
            return Err(refuse("a parameter is repeated"));
        } else {
            form.pairs
                .push((name.into_owned(), Zeroizing::new(value.into_owned())));
        }
    }
    Ok(form)
}

/// Reads a JSON body.
pub(crate) async fn json<T: serde::de::DeserializeOwned>(
    request: &HttpRequest,
    payload: Payload,
) -> Result<T, Refused> {
    require_type(request, "application/json")?;
    let body = body(payload).await?;
    // A list would be read as the members of the object in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        let text = "the body must be a JSON object";
        return Err(error::json(ErrorCode::InvalidClientMetadata, text).into());
    }
    serde_json::from_slice(&body).map_err(|problem| {
        let text = format!("the body is not the JSON that was expected: {problem}");
        error::json(ErrorCode::InvalidClientMetadata, &text).into()
    })
}

fn require_type(request: &HttpRequest, wanted: &str) -> Result<(), Refused> {
    let given = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(wanted) {
        Ok(())
    } else {
        Err(error::json_with(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::InvalidRequest.as_str(),
            &format!("Content-Type must be {wanted}"),
        )
        .into())
    }
}

async fn body(payload: Payload) -> Result<Bytes, Refused> {
    let read = tokio::time::timeout(BODY_TIME, payload.to_bytes_limited(BODY_LIMIT)).await;
    let Ok(read) = read else {
        return Err(error::json_with(
            StatusCode::REQUEST_TIMEOUT,
            ErrorCode::InvalidRequest.as_str(),
            "the body did not come in time",
        )
        .into());
    };
    match read {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(problem)) if !is_too_long(&problem) => {
            Err(error::json(ErrorCode::InvalidRequest, "the body could not be read").into())
        }
        _ => Err(error::json_with(
            StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::InvalidRequest.as_str(),
            &format!("the body may have at most {BODY_LIMIT} bytes"),
        )
        .into()),
    }
}

fn is_too_long(problem: &actix_web::Error) -> bool {
    matches!(
        problem.as_error::<PayloadError>(),
        Some(PayloadError::Overflow)
    )
}

/// The client's credentials, from the header or from the form but not from both (RFC 6749 section 2.3).
pub(crate) fn client_credentials(
    request: &HttpRequest,
    form: &Form,
) -> Result<ClientCredentials, Refused> {
    let refuse = |text: &str| Refused::from(error::json(ErrorCode::InvalidRequest, text));
    let Some(header) = single_header(request, AUTHORIZATION.as_str())
        .map_err(|()| refuse("Authorization is repeated, or holds more than ASCII"))?
    else {
        return Ok(ClientCredentials {
            client_id: form.get("client_id").map(str::to_owned),
            client_secret: form
                .get("client_secret")
                .map(|secret| Zeroizing::new(secret.to_owned())),
            by_header: false,
        });
    };
    // The client tried to prove itself by the header, so the answer is 401 with a challenge (RFC 6749 section 5.2).
    let (id, secret) = basic(header).ok_or_else(|| {
        Refused::from(error::refusal(&Refusal::Client {
            description: "Authorization must be Basic with client id and secret",
            by_header: true,
        }))
    })?;
    if form.get("client_secret").is_some() {
        return Err(refuse(
            "send the client secret in the header or in the form, not in both",
        ));
    }
    if form.get("client_id").is_some_and(|form_id| form_id != id) {
        return Err(refuse("client_id in the form is not the one in the header"));
    }
    Ok(ClientCredentials {
        client_id: Some(id),
        client_secret: Some(secret).filter(|secret| !secret.is_empty()),
        by_header: true,
    })
}

/// `Basic` credentials: base64 of two form-encoded parts (RFC 6749 section 2.3.1, RFC 7617).
fn basic(header: &str) -> Option<(String, Zeroizing<String>)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).ok()?);
    let text = std::str::from_utf8(&decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((form_decode(id)?, Zeroizing::new(form_decode(secret)?)))
}

/// Decodes one form-encoded value.
fn form_decode(text: &str) -> Option<String> {
    if text.contains(['&', '=']) {
        return Some(text.to_owned());
    }
    url::form_urlencoded::parse(text.as_bytes())
        .next()
        .map_or_else(|| Some(String::new()), |(name, _)| Some(name.into_owned()))
}

/// The bearer token of a request: `Ok(None)` when there is no bearer credential, an error when there is one that cannot be.
pub(crate) fn bearer(request: &HttpRequest) -> Result<Option<&str>, ()> {
    let Some(header) = single_header(request, AUTHORIZATION.as_str())? else {
        return Ok(None);
    };
    let (scheme, token) = header.split_once(' ').unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Ok(None);
    }
    let token = token.trim_start_matches(' ');
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    if (1..=8192).contains(&token.len()) && token.bytes().all(is_token) {
        Ok(Some(token))
    } else {
        Err(())
    }
}

/// The value of a header that may be there once.
pub(crate) fn single_header<'a>(
    request: &'a HttpRequest,
    name: &str,
) -> Result<Option<&'a str>, ()> {
    let mut values = request.headers().get_all(name);
    let first = values.next();
    if values.next().is_some() {
        return Err(());
    }
    first
        .map(|value| value.to_str().map_err(|_| ()))
        .transpose()
}

/// The cookie of a sign-in. Cookies of other programs on the same domain come along, and one that is not UTF-8 must not
/// hide ours, as it does with [`HttpRequest::cookie`]; so each is decoded by itself.
pub(crate) fn sign_in_cookie(request: &HttpRequest, name: &str) -> Option<Plain<BrowserCookie>> {
    Plain::parse(&cookie(request, name)?)
}

/// The text of a cookie.
pub(crate) fn cookie(request: &HttpRequest, name: &str) -> Option<String> {
    request
        .headers()
        .get_all(COOKIE)
        .flat_map(|header| header.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|cookie| std::str::from_utf8(cookie).ok())
        .filter_map(|cookie| Cookie::parse(cookie.trim()).ok())
        .find(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
}
