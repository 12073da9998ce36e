//! Requests as clients send them: no redirect followed, no cookie kept, what comes back looked at as it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use oauth::Sites;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HOST;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use url::{Position, Url};

/// How long an answer may take; clients are not more patient.
const PATIENCE: Duration = Duration::from_secs(10);
/// More of an answer is not looked at, in bytes.
const LONGEST: usize = 256 * 1024;

/// Leads every name to one address. A port in a URL counts before the one here.
struct Always(SocketAddr);

impl Resolve for Always {
    fn resolve(&self, _: Name) -> Resolving {
        let address = self.0;
        Box::pin(async move { Ok(Box::new(std::iter::once(address)) as Addrs) })
    }
}

/// Whether a URL is one of this server's. Not only its beginning: `ISSUER@elsewhere` leads elsewhere.
pub(super) fn is_below(url: &str, issuer: &str) -> bool {
    url.strip_prefix(issuer)
        .is_some_and(|path| path.starts_with('/'))
}

/// Sends them.
pub(super) struct Prober {
    http: Client,
    connect: Option<SocketAddr>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(super) body: String,
}

impl Answer {
    /// A header that is there once; several of one name are joined by commas, as HTTP means it.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let values = self.headers.get_all(name).iter();
        let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }

    /// Whether a header with a comma-separated list has this entry.
    pub(super) fn lists(&self, name: &str, entry: &str) -> bool {
        self.header(name).is_some_and(|list| {
            let mut entries = list.split(',').map(str::trim);
            entries.any(|listed| listed == "*" || listed.eq_ignore_ascii_case(entry))
        })
    }

    /// What it is, in a few words.
    pub(super) fn shown(&self) -> String {
        let kind = self.header("content-type").unwrap_or_default();
        match self.header("location") {
            Some(to) => format!("{} to {to}", self.status),
            None if kind.is_empty() => format!("{}", self.status),
            None => format!("{} ({kind})", self.status),
        }
    }

    /// The JSON object of an answer with this status.
    pub(super) fn json(&self, status: u16) -> Result<Value, String> {
        let is_json = self
            .header("content-type")
            .is_some_and(|kind| kind.split(';').next().map(str::trim) == Some("application/json"));
        if self.status != status || !is_json {
            return Err(format!("answers {}, not {status} with JSON", self.shown()));
        }
        let value: Value = serde_json::from_str(&self.body)
            .map_err(|_| "answers what is called JSON and is none".to_owned())?;
        if value.is_object() {
            Ok(value)
        } else {
            Err("answers JSON that is no object".to_owned())
        }
    }
}

/// Plain HTTP to an address, whatever port the URL has (the stack on a laptop publishes another one than Traefik listens on
/// inside): the URL to ask, and the `Host` to name.
fn at(address: SocketAddr, url: &str) -> Option<(Url, String)> {
    let mut url = Url::parse(url).ok().filter(|url| url.scheme() == "http")?;
    let host = url[Position::BeforeHost..Position::AfterPort].to_owned();
    url.set_ip_host(address.ip()).ok()?;
    url.set_port(Some(address.port())).ok()?;
    Some((url, host))
}

impl Prober {
    pub(super) fn new(sites: &Sites, connect: Option<SocketAddr>) -> anyhow::Result<Self> {
        let mut builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(PATIENCE)
            .user_agent(concat!("mcp-auth-doctor/", env!("CARGO_PKG_VERSION")));
        let issuer = sites.issuer();
        let is_local = Url::parse(&issuer)?
            .host_str()
            .is_some_and(|host| host.ends_with(".localhost"));
        if let Some(address) = connect {
            builder = builder.dns_resolver(Arc::new(Always(address)));
        } else if is_local {
            // Many systems do not resolve names below localhost (RFC 6761 section 6.3), browsers do.
            let here = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
            builder = builder.dns_resolver(Arc::new(Always(here)));
        }
        Ok(Self {
            http: builder.build()?,
            connect,
        })
    }

    pub(super) fn request(&self, method: Method, url: &str) -> RequestBuilder {
        match self.connect.and_then(|address| at(address, url)) {
            Some((url, host)) => self.http.request(method, url).header(HOST, host),
            None => self.http.request(method, url),
        }
    }

    pub(super) async fn get(&self, url: &str) -> Result<Answer, String> {
        self.send(self.request(Method::GET, url)).await
    }

    /// Sends a request. What goes wrong on the way is told in words.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, String> {
        let mut response = request.send().await.map_err(|error| why(&error))?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| why(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > LONGEST {
                return Err(format!("answers more than {LONGEST} bytes"));
            }
        }
        Ok(Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// The innermost reason says the most.
fn why(error: &reqwest::Error) -> String {
    let mut reason: &dyn std::error::Error = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    let reason = reason.to_string();
    if error.is_timeout() {
        return format!("does not answer within {} s", PATIENCE.as_secs());
    }
    if reason.to_lowercase().contains("certificate") {
        return format!(
            "shows a certificate that is not accepted ({reason}): expired, for another name, or its chain is incomplete"
        );
    }
    format!("cannot be asked: {reason}")
}
