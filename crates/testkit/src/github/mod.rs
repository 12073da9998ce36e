//! A fake GitHub over HTTP that is at least as strict as the real one.
//!
//! It checks the client id, the registered callback, the client secret, the PKCE verifier and the single use of codes, and
//! answers errors as GitHub does (the token endpoint says **200** with an error body). Where GitHub is lax (no `state`, no PKCE)
//! it refuses, because our service must send both.
//!
//! Sources: GitHub documentation, "Authorizing OAuth apps", "Troubleshooting OAuth app access token request errors", REST API
//! "Users", "Organizations", "Teams".

mod api;
mod authorize;
mod members;
mod token;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context as _, Result};
use url::Url;

/// The client id of the OAuth app that is registered at the fake.
pub const CLIENT_ID: &str = "Ov23liTestKitGateway";

/// Its client secret.
pub const CLIENT_SECRET: &str = "3f1c9a7e5b2d4860f1e2d3c4b5a69788796a5b4c";

/// A token of the operator that may read organisations.
pub const ORG_TOKEN: &str = "ghp_OperatorTestKit0123456789abcdefghijkl";

/// A person with an account.
#[derive(Debug, Clone)]
pub struct User {
    /// The number that never changes.
    pub id: u64,
    /// The name that can.
    pub login: String,
    /// Organisations the person is a member of.
    pub organizations: Vec<String>,
    /// Teams the person is in, as organisation and team slug.
    pub teams: Vec<(String, String)>,
    /// Numbers of organisations and teams that differ from the usual one.
    pub numbers: HashMap<String, u32>,
}

impl User {
    /// Somebody in no organisation.
    #[must_use]
    pub fn new(id: u64, login: &str) -> Self {
        Self {
            id,
            login: login.to_owned(),
            organizations: Vec::new(),
            teams: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// Says which number an organisation or team has, in place of the one that follows from its name: a name that others
    /// have taken over.
    #[must_use]
    pub fn numbered(mut self, name: &str, number: u32) -> Self {
        self.numbers.insert(name.to_owned(), number);
        self
    }

    /// Adds a membership.
    #[must_use]
    pub fn in_organization(mut self, name: &str) -> Self {
        self.organizations.push(name.to_owned());
        self
    }

    /// Adds a team, and the membership in its organisation.
    #[must_use]
    pub fn in_team(mut self, organization: &str, slug: &str) -> Self {
        self.teams.push((organization.to_owned(), slug.to_owned()));
        if !self.organizations.iter().any(|name| name == organization) {
            self.organizations.push(organization.to_owned());
        }
        self
    }
}

/// What happens when a browser comes to the authorization page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// The person of this login is signed in and has approved the app before: GitHub redirects at once.
    Automatic(String),
    /// The person sees a page with a form and decides.
    Asked,
}

/// How the fake behaves as a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It answers.
    Well,
    /// Every answer is a 500 with an HTML page.
    Failing,
    /// Every answer is a refusal that says when to come again, as for a rate limit.
    Limited {
        /// 403 or 429.
        status: u16,
        /// `Retry-After`.
        seconds: u64,
    },
    /// Every answer comes this much later.
    Slow(Duration),
}

#[derive(Debug)]
struct Grant {
    login: String,
    redirect_uri: String,
    code_challenge: String,
    scope: String,
}

#[derive(Debug)]
struct AccessToken {
    login: String,
    scope: String,
}

#[derive(Debug)]
struct State {
    callback: Url,
    users: Vec<User>,
    approval: Approval,
    condition: Condition,
    codes: HashMap<String, Grant>,
    tokens: HashMap<String, AccessToken>,
    issued: u64,
    complaints: Vec<String>,
    calls: Vec<String>,
}

impl State {
    /// A value that nobody guesses by accident and that is easily found in a log.
    fn issue(&mut self, prefix: &str) -> String {
        self.issued += 1;
        format!(
            "{prefix}_{:08x}TestKit{:016x}",
            std::process::id(),
            self.issued
        )
    }

    fn user(&self, login: &str) -> Option<&User> {
        self.users.iter().find(|user| user.login == login)
    }
}

/// The state as the handlers share it.
#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running fake GitHub; it stops when it is dropped.
#[derive(Debug)]
pub struct GitHub {
    address: SocketAddr,
    shared: Shared,
    server: Option<ServerHandle>,
}

impl GitHub {
    /// Starts on a free port, with one OAuth app whose callback is `callback` and with these accounts.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    pub fn start(callback: &Url, users: impl IntoIterator<Item = User>) -> Result<Self> {
        let shared = Shared(Arc::new(Mutex::new(State {
            callback: callback.clone(),
            users: users.into_iter().collect(),
            approval: Approval::Asked,
            condition: Condition::Well,
            codes: HashMap::new(),
            tokens: HashMap::new(),
            issued: 0,
            complaints: Vec::new(),
            calls: Vec::new(),
        })));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("fake GitHub")?;
        let address = listener.local_addr()?;
        let server = Some(serve(listener, shared.clone())?);
        Ok(Self {
            address,
            shared,
            server,
        })
    }

    /// What stands for `https://github.com`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What stands for `https://api.github.com`.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// Says what a browser meets on the authorization page from now on.
    pub fn set_approval(&self, approval: Approval) {
        self.shared.lock().approval = approval;
    }

    /// Says how the machine behaves from now on.
    pub fn set_condition(&self, condition: Condition) {
        self.shared.lock().condition = condition;
    }

    /// Adds an account, or replaces the one of the same number (a renamed person keeps the number).
    pub fn set_user(&self, user: User) {
        let mut state = self.shared.lock();
        state.users.retain(|known| known.id != user.id);
        state.users.push(user);
    }

    /// The callback that the OAuth app has registered, changed: a gateway that is not known under its own address.
    pub fn set_callback(&self, callback: &Url) {
        self.shared.lock().callback = callback.clone();
    }

    /// Everything that was wrong in what we sent, in words. Empty after a correct sign-in.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.shared.lock().complaints.clone()
    }

    /// The requests so far, as method and path.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.shared.lock().calls.clone()
    }

    /// The secrets that went over the wire: codes and access tokens. A log must contain none of them.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let state = self.shared.lock();
        let mut secrets: Vec<String> = state.tokens.keys().cloned().collect();
        secrets.extend(state.codes.keys().cloned());
        secrets.push(CLIENT_SECRET.to_owned());
        secrets.push(ORG_TOKEN.to_owned());
        secrets
    }

    /// Closes the port: connections are refused.
    pub async fn go_down(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop(false).await;
        }
    }

    /// Opens the same port again.
    ///
    /// # Errors
    ///
    /// If somebody else has taken it.
    pub fn come_back(&mut self) -> Result<()> {
        if self.server.is_none() {
            let listener = TcpListener::bind(self.address).context("fake GitHub, again")?;
            self.server = Some(serve(listener, self.shared.clone())?);
        }
        Ok(())
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // The command is sent when `stop` is called; nobody needs to wait for the end.
            drop(server.stop(false));
        }
    }
}

fn serve(listener: TcpListener, shared: Shared) -> Result<ServerHandle> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(shared.clone()))
            .wrap(from_fn(behave))
            .route("/login/oauth/authorize", web::get().to(authorize::page))
            .route("/login/oauth/authorize", web::post().to(authorize::decide))
            .route("/login/oauth/access_token", web::post().to(token::redeem))
            .service(
                web::scope("/api")
                    .route("/user", web::get().to(api::user))
                    .route("/user/orgs", web::get().to(api::organizations))
                    .route("/user/teams", web::get().to(api::teams))
                    .configure(members::routes),
            )
            .default_service(web::to(|| async {
                HttpResponse::NotFound().json(serde_json::json!({"message": "Not Found"}))
            }))
    })
    .workers(1)
    .disable_signals()
    .listen(listener)
    .context("fake GitHub")?
    .run();
    let handle = server.handle();
    tokio::spawn(server);
    Ok(handle)
}

/// Notes the call, then lets the machine be slow or fail as it was told.
async fn behave(
    request: actix_web::dev::ServiceRequest,
    next: Next<impl actix_web::body::MessageBody + 'static>,
) -> actix_web::Result<actix_web::dev::ServiceResponse<actix_web::body::BoxBody>> {
    let condition = match request.app_data::<web::Data<Shared>>() {
        Some(shared) => {
            let mut state = shared.lock();
            let call = format!("{} {}", request.method(), request.path());
            state.calls.push(call);
            state.condition
        }
        None => Condition::Well,
    };
    match condition {
        Condition::Well => {}
        Condition::Slow(delay) => tokio::time::sleep(delay).await,
        Condition::Limited { status, seconds } => {
            let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
            let answer = HttpResponse::build(status)
                .insert_header(("Retry-After", seconds))
                .json(serde_json::json!({"message": "You have exceeded a secondary rate limit."}));
            return Ok(request.into_response(answer));
        }
        Condition::Failing => {
            let answer = HttpResponse::InternalServerError()
                .content_type("text/html")
                .body("<h1>Whoa there!</h1>");
            return Ok(request.into_response(answer));
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}
