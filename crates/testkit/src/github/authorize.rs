//! The page a browser comes to, and the way back.

use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, web};
use serde::Deserialize;
use url::Url;

use super::{Approval, CLIENT_ID, Grant, Shared, State};

/// The parameters of the authorization request; the form of the page carries them on.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Query {
    client_id: Option<String>,
    redirect_uri: Option<String>,
    state: Option<String>,
    scope: Option<String>,
    code_challenge: Option<String>,
    code_challenge_method: Option<String>,
}

/// What the person sends from the page.
#[derive(Debug, Deserialize)]
pub(super) struct Decision {
    query: String,
    login: String,
    authorize: u8,
}

/// A request that passed every check.
struct Checked {
    redirect_uri: String,
    state: String,
    scope: String,
    code_challenge: String,
}

/// `GET /login/oauth/authorize`.
pub(super) async fn page(
    shared: web::Data<Shared>,
    query: web::Query<Query>,
    request: actix_web::HttpRequest,
) -> HttpResponse {
    let mut state = shared.lock();
    let checked = match check(&mut state, query.into_inner()) {
        Ok(checked) => checked,
        Err(answer) => return *answer,
    };
    match state.approval.clone() {
        Approval::Automatic(login) => approve(&mut state, &login, checked),
        Approval::Asked => HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .body(form(request.query_string())),
    }
}

/// `POST /login/oauth/authorize`: the decision.
pub(super) async fn decide(
    shared: web::Data<Shared>,
    decision: web::Form<Decision>,
) -> HttpResponse {
    let mut state = shared.lock();
    let Ok(query) = serde_urlencoded::from_str::<Query>(&decision.query) else {
        return refuse(&mut state, "the form lost its request");
    };
    let checked = match check(&mut state, query) {
        Ok(checked) => checked,
        Err(answer) => return *answer,
    };
    if decision.authorize == 1 {
        approve(&mut state, &decision.login, checked)
    } else {
        redirect(
            &checked.redirect_uri,
            &[
                ("error", "access_denied"),
                (
                    "error_description",
                    "The user has denied your application access.",
                ),
                (
                    "error_uri",
                    "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-authorization-request-errors/#access-denied",
                ),
                ("state", &checked.state),
            ],
        )
    }
}

fn check(state: &mut State, query: Query) -> Result<Checked, Box<HttpResponse>> {
    if query.client_id.as_deref() != Some(CLIENT_ID) {
        complain(state, "authorize: unknown client_id");
        return Err(Box::new(
            HttpResponse::NotFound().body("404: This is not the web page you are looking for."),
        ));
    }
    let Some(given_state) = query.state.filter(|state| state.len() >= 16) else {
        return Err(Box::new(refuse(
            state,
            "authorize: no state that cannot be guessed",
        )));
    };
    let registered = state.callback.to_string();
    if query.redirect_uri.as_deref() != Some(registered.as_str()) {
        complain(
            state,
            &format!(
                "authorize: redirect_uri is {:?}, registered is {registered}",
                query.redirect_uri
            ),
        );
        // GitHub tells the registered callback, not the one it was given.
        return Err(Box::new(redirect(
            &registered,
            &[
                ("error", "redirect_uri_mismatch"),
                (
                    "error_description",
                    "The redirect_uri MUST match the registered callback URL for this application.",
                ),
                (
                    "error_uri",
                    "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-authorization-request-errors/#redirect-uri-mismatch",
                ),
                ("state", &given_state),
            ],
        )));
    }
    let challenge = query.code_challenge.unwrap_or_default();
    if query.code_challenge_method.as_deref() != Some("S256") || challenge.len() != 43 {
        return Err(Box::new(refuse(state, "authorize: no S256 code_challenge")));
    }
    Ok(Checked {
        redirect_uri: registered,
        state: given_state,
        scope: query.scope.unwrap_or_default(),
        code_challenge: challenge,
    })
}

fn approve(state: &mut State, login: &str, checked: Checked) -> HttpResponse {
    if state.user(login).is_none() {
        return refuse(state, &format!("authorize: nobody is called {login}"));
    }
    let code = state.issue("code");
    let answer = redirect(
        &checked.redirect_uri,
        &[("code", &code), ("state", &checked.state)],
    );
    state.codes.insert(
        code,
        Grant {
            login: login.to_owned(),
            redirect_uri: checked.redirect_uri,
            code_challenge: checked.code_challenge,
            scope: checked.scope,
        },
    );
    answer
}

fn redirect(to: &str, parameters: &[(&str, &str)]) -> HttpResponse {
    match Url::parse_with_params(to, parameters) {
        Ok(url) => HttpResponse::Found()
            .insert_header((LOCATION, url.to_string()))
            .finish(),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

fn refuse(state: &mut State, complaint: &str) -> HttpResponse {
    complain(state, complaint);
    HttpResponse::BadRequest().body(complaint.to_owned())
}

pub(super) fn complain(state: &mut State, complaint: &str) {
    state.complaints.push(complaint.to_owned());
}

fn form(query: &str) -> String {
    // The only foreign text is the query string, which holds no quote: a URL has them percent-encoded.
    let query = query.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        r#"<!doctype html><title>Authorize application</title>
<form method="post" action="/login/oauth/authorize">
<input type="hidden" name="query" value="{query}">
<label>Username <input name="login" autocomplete="username"></label>
<button name="authorize" value="1">Authorize</button>
<button name="authorize" value="0">Cancel</button>
</form>"#
    )
}
