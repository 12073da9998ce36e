//! The fetch of one document, from a host that anybody may have named to reach what only we can reach.
//!
//! The address is checked after resolution, in the resolver that the connection is made from, so that a name cannot mean one
//! address to the check and another to the connection. No connection is used twice.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::CacheDirective;
use async_trait::async_trait;
use oauth::client_document::DocumentUrl;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AGE, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use reqwest::{Certificate, Response, StatusCode};

use super::DocumentError;
use super::address::is_public;

/// Longest time until the connection stands, with its name resolved and TLS agreed.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Longest time for everything.
const FETCH_LIMIT: Duration = Duration::from_secs(3);
/// Most bytes of a document that are read (draft-ietf-oauth-client-id-metadata-document section 6.6).
const DOCUMENT_LIMIT: usize = 5 * 1024;
/// The one port.
const HTTPS: u16 = 443;

/// What is below the fetches. Production has [`Internet`]; a test puts a hostile one in its place, and every check stays
/// above it. No setting chooses another one.
#[async_trait]
pub trait Network: Send + Sync + 'static {
    /// The addresses of a host.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// Where a connection to an address, already found to be public, goes.
    fn endpoint(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, HTTPS)
    }

    /// Certificates that are trusted *instead of* the system's; none: the system's.
    fn trust_anchors(&self) -> Vec<Certificate> {
        Vec::new()
    }
}

/// The system's resolver, port 443, the system's certificates.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Internet;

#[async_trait]
impl Network for Internet {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = tokio::net::lookup_host((host, HTTPS)).await?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}

/// A name leads to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not a public address")]
struct NotPublic(IpAddr);

/// The resolver hook of the HTTP client.
struct PublicOnly(Arc<dyn Network>);

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let network = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = network.resolve(name.as_str()).await?;
            // One address of ours among others is enough to refuse the name: nobody honest publishes that.
            if let Some(address) = addresses.iter().find(|address| !is_public(**address)) {
                return Err(NotPublic(*address).into());
            }
            let endpoints: Vec<SocketAddr> = addresses
                .into_iter()
                .map(|address| network.endpoint(address))
                .collect();
            Ok(Box::new(endpoints.into_iter()) as Addrs)
        })
    }
}

/// A document that was read, not yet understood.
pub(super) struct Fetched {
    pub(super) body: Vec<u8>,
    /// How long it may be kept, in seconds (RFC 9111 section 4.2), if it says so.
    pub(super) fresh_for: Option<u64>,
}

/// Fetches documents.
pub(super) struct Fetcher {
    http: reqwest::Client,
}

impl Fetcher {
    pub(super) fn new(network: Arc<dyn Network>) -> Result<Self, reqwest::Error> {
        let anchors = network.trust_anchors();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("mcp-oauth-gateway/", env!("CARGO_PKG_VERSION")))
            .https_only(true)
            .no_proxy()
            .referer(false)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_LIMIT)
            .timeout(FETCH_LIMIT)
            .pool_max_idle_per_host(0)
            .dns_resolver(PublicOnly(network));
        if !anchors.is_empty() {
            builder = builder.tls_certs_only(anchors);
        }
        Ok(Self {
            http: builder.build()?,
        })
    }

    /// One GET, without credentials and cookies.
    pub(super) async fn fetch(&self, url: &DocumentUrl) -> Result<Fetched, DocumentError> {
        let mut response = self
            .http
            .get(url.url().clone())
            .header(ACCEPT, "application/json")
            .send()
            .await
            .map_err(|error| failure(url, &error))?;
        check_status(response.status())?;
        if !is_json(response.headers()) {
            return Err(DocumentError::Answer("is not sent as application/json"));
        }
        let fresh_for = fresh_for(response.headers());
        let body = read(url, &mut response).await?;
        Ok(Fetched { body, fresh_for })
    }
}

/// A refused address is told apart from a host that does not answer.
fn failure(url: &DocumentUrl, error: &reqwest::Error) -> DocumentError {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    let mut last = error.to_string();
    while let Some(error) = cause {
        if let Some(NotPublic(address)) = error.downcast_ref() {
            tracing::warn!(host = url.host(), %address, "a client_id leads to an address that is not public");
            return DocumentError::Blocked;
        }
        last = error.to_string();
        cause = error.source();
    }
    tracing::info!(host = url.host(), error = %chassis::telemetry::untrusted(&last), "a client's metadata document cannot be reached");
    DocumentError::Unavailable
}

/// Only 200 is an answer. What may be otherwise in a moment (challenges against robots too) is told apart from what will not.
fn check_status(status: StatusCode) -> Result<(), DocumentError> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::FORBIDDEN | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            Err(DocumentError::Unavailable)
        }
        status if status.is_server_error() => Err(DocumentError::Unavailable),
        status if status.is_redirection() => Err(DocumentError::Answer(
            "is not there: its host redirects, which is not followed",
        )),
        _ => Err(DocumentError::Answer(
            "is not there: its host does not answer 200",
        )),
    }
}

/// `application/json`, or a type with the suffix `+json` (RFC 6839 section 3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn fresh_for(headers: &HeaderMap) -> Option<u64> {
    let directives = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|directive| directive.trim().parse().ok());
    let mut fresh_for = None;
    for directive in directives {
        match directive {
            CacheDirective::NoStore | CacheDirective::NoCache => return Some(0),
            CacheDirective::MaxAge(seconds) => fresh_for = Some(u64::from(seconds)),
            _ => {}
        }
    }
    let age: u64 = headers
        .get(AGE)
        .and_then(|age| age.to_str().ok()?.parse().ok())
        .unwrap_or_default();
    fresh_for.map(|seconds| seconds.saturating_sub(age))
}

/// The body, unless it is longer than a document may be: then the rest is never read.
async fn read(url: &DocumentUrl, response: &mut Response) -> Result<Vec<u8>, DocumentError> {
    let too_long = DocumentError::Answer("has more than 5 KiB");
    let limit = u64::try_from(DOCUMENT_LIMIT).unwrap_or(u64::MAX);
    if response
        .content_length()
        .is_some_and(|length| length > limit)
    {
        return Err(too_long);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failure(url, &error))?
    {
        if body.len() + chunk.len() > DOCUMENT_LIMIT {
            return Err(too_long);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
