//! Asks the administration API of a running service.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use chassis::config::{ConfigError, Loaded};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

use super::token;
use super::view::Page;
use crate::config::Config;

/// How long an answer may take: a purge looks at everything.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a whole backup may take.
const BACKUP: Duration = Duration::from_secs(3600);

/// A running service.
pub(crate) struct AdminClient {
    http: reqwest::Client,
    base: Url,
    token: Zeroizing<String>,
}

/// Where the private listener of the configured service is. One on every address is asked on the machine itself.
pub(crate) fn private_address(config: &Config) -> anyhow::Result<SocketAddr> {
    let host: IpAddr = config.private.host.parse().with_context(|| {
        format!(
            "PRIVATE_HOST is {:?}, not an IP address",
            config.private.host
        )
    })?;
    let host = match host {
        IpAddr::V4(ip) if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    Ok(SocketAddr::new(host, config.private.port))
}

impl AdminClient {
    /// The service of this configuration, or the one at `url`.
    pub(crate) fn new(loaded: &Loaded<Config>, url: Option<&Url>) -> anyhow::Result<Self> {
        let secret = loaded.config.tokens.secret.as_ref();
        let missing = || -> ConfigError { loaded.missing("tokens.secret") };
        let base = match url {
            Some(url) => url.clone(),
            None => Url::parse(&format!("http://{}", private_address(&loaded.config)?))?,
        };
        Ok(Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(Duration::from_secs(3))
                .timeout(PATIENCE)
                .build()?,
            base,
            token: token::of_secret(secret.ok_or_else(missing)?),
        })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        self.ask(Method::GET, path, &[], None::<&()>).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        self.ask(Method::POST, path, query, None::<&()>).await
    }

    pub(crate) async fn create<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        self.ask(Method::DELETE, path, &[], None::<&()>).await
    }

    /// A list of at most `most` entries, page by page, and whether there are more.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        path: &[&str],
        filter: &[(&str, String)],
        most: usize,
    ) -> anyhow::Result<(Vec<T>, bool)> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let wanted = (most - items.len()).min(500);
            let mut query = filter.to_vec();
            query.push(("limit", wanted.max(1).to_string()));
            query.extend(after.map(|after| ("after", after)));
            let page: Page<T> = self.ask(Method::GET, path, &query, None::<&()>).await?;
            items.extend(page.items);
            after = page.next;
            if after.is_none() || items.len() >= most {
                return Ok((items, after.is_some()));
            }
        }
    }

    /// Everything that is stored, as the lines of a backup: as many pieces as come, however long it takes.
    pub(crate) async fn backup(&self) -> anyhow::Result<reqwest::Response> {
        let request = self.request(Method::GET, &["backup"], &[])?;
        self.send(request.timeout(BACKUP)).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let mut request = self.request(method, path, query)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.send(request).await?;
        answer.json().await.with_context(|| {
            format!(
                "what answers at {} is not this version of mcp-auth",
                self.base
            )
        })
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<RequestBuilder> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => {
                segments.pop_if_empty().push("admin").extend(path);
            }
            Err(()) => bail!("{} is not an http address", self.base),
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self
            .http
            .request(method, url)
            .bearer_auth(self.token.as_str()))
    }

    /// An answer that is a success; or what the service said instead.
    async fn send(&self, request: RequestBuilder) -> anyhow::Result<reqwest::Response> {
        let answer = request.send().await.map_err(|error| {
            let late = if error.is_timeout() { " in time" } else { "" };
            anyhow::anyhow!(
                "no service answers{late} at {} (PRIVATE_HOST, PRIVATE_PORT): is mcp-auth running there? --url names another address",
                self.base
            )
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let said: serde_json::Value = answer.json().await.unwrap_or_default();
        let text = said
            .get("error_description")
            .and_then(serde_json::Value::as_str);
        match (status, text) {
            (StatusCode::UNAUTHORIZED, _) => bail!(
                "the service at {} refuses this configuration's GATEWAY_JWT_SECRET: use the configuration that the service has",
                self.base
            ),
            (_, Some(text)) => bail!("{text}"),
            (_, None) => bail!("the service at {} answered {status}", self.base),
        }
    }
}
