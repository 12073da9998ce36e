//! A front that passes requests on to another server and gets one thing wrong, as a misconfigured reverse proxy does.

use std::net::SocketAddr;
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use anyhow::Result;

use crate::network;
use crate::served::Served;

/// What goes back to the client.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// A page, as many proxies answer by themselves.
    #[must_use]
    pub fn page(status: u16) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), "text/html".to_owned())],
            body: "<!doctype html><title>no</title>".to_owned(),
        }
    }

    /// A redirect.
    #[must_use]
    pub fn redirect(to: &str) -> Self {
        Self {
            status: 307,
            headers: vec![("location".to_owned(), to.to_owned())],
            body: String::new(),
        }
    }
}

type Fault = dyn Fn(&str, &str, Reply) -> Reply + Send + Sync;

struct State {
    upstream: SocketAddr,
    port: u16,
    http: reqwest::Client,
    fault: Arc<Fault>,
}

/// A running front; it stops when it is dropped. Its port takes the place of the upstream's in everything that is passed on.
#[derive(Debug)]
pub struct Misconfigured {
    /// Its port on 127.0.0.1.
    pub port: u16,
    _served: Served,
}

impl Misconfigured {
    /// Starts on a free port. `fault` gets method, path and the right reply, and answers with what goes back.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    pub fn start(
        upstream: SocketAddr,
        fault: impl Fn(&str, &str, Reply) -> Reply + Send + Sync + 'static,
    ) -> Result<Self> {
        let http = network::http_client()?;
        let served = Served::start("the front", |address| {
            let state = Data::new(State {
                upstream,
                port: address.port(),
                http,
                fault: Arc::new(fault),
            });
            move |config: &mut web::ServiceConfig| {
                config
                    .app_data(state.clone())
                    .default_service(web::to(pass_on));
            }
        })?;
        Ok(Self {
            port: served.address.port(),
            _served: served,
        })
    }
}

async fn pass_on(request: HttpRequest, body: Bytes, state: Data<State>) -> HttpResponse {
    let reply = ask(&request, body, &state).await.unwrap_or(Reply {
        status: 502,
        headers: Vec::new(),
        body: String::new(),
    });
    let reply = (state.fault)(request.method().as_str(), request.path(), reply);
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut answer = HttpResponse::build(status);
    for (name, value) in &reply.headers {
        answer.append_header((name.as_str(), value.as_str()));
    }
    answer.body(reply.body)
}

async fn ask(request: &HttpRequest, body: Bytes, state: &State) -> Result<Reply> {
    let (ours, theirs) = (
        format!(":{}", state.port),
        format!(":{}", state.upstream.port()),
    );
    let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes())?;
    let mut passed = state.http.request(
        method,
        format!("http://{}{}", state.upstream, request.uri()),
    );
    for (name, value) in request.headers() {
        if name != "content-length" && name != "transfer-encoding" {
            let value = value.to_str()?.replace(&ours, &theirs);
            passed = passed.header(name.as_str(), value);
        }
    }
    let body = String::from_utf8_lossy(&body).replace(&ours, &theirs);
    if !body.is_empty() {
        passed = passed.body(body);
    }
    let response = passed.send().await?;
    let status = response.status().as_u16();
    let mut headers = Vec::new();
    for (name, value) in response.headers() {
        let is_of_connection = ["content-length", "transfer-encoding", "connection", "date"];
        if !is_of_connection.contains(&name.as_str()) {
            headers.push((name.to_string(), value.to_str()?.replace(&theirs, &ours)));
        }
    }
    Ok(Reply {
        status,
        headers,
        body: response.text().await?.replace(&theirs, &ours),
    })
}
