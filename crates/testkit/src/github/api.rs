//! The REST API: who the token is for.

use actix_web::http::header::{AUTHORIZATION, USER_AGENT};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::json;

use super::authorize::complain;
use super::{Shared, State, User};

/// Which page of a list is asked for. GitHub's default is 30 rows, at most 100.
#[derive(Debug, Deserialize)]
pub(super) struct Paging {
    per_page: Option<usize>,
    page: Option<usize>,
}

impl Paging {
    fn select(&self, rows: Vec<serde_json::Value>) -> Vec<serde_json::Value> {
        let size = self.per_page.unwrap_or(30).clamp(1, 100);
        let page = self.page.unwrap_or(1).max(1);
        rows.into_iter()
            .skip((page - 1) * size)
            .take(size)
            .collect()
    }
}

/// `GET /user`.
pub(super) async fn user(shared: web::Data<Shared>, request: HttpRequest) -> HttpResponse {
    match caller(&mut shared.lock(), &request) {
        Ok((user, _)) => HttpResponse::Ok().json(json!({
            "login": user.login,
            "id": user.id,
            "node_id": format!("U_{}", user.id),
            "name": null,
            "email": null,
            "type": "User",
            "site_admin": false,
        })),
        Err(answer) => *answer,
    }
}

/// `GET /user/orgs`: needs `read:org` (or `user`), else the list is empty.
pub(super) async fn organizations(
    shared: web::Data<Shared>,
    request: HttpRequest,
    paging: web::Query<Paging>,
) -> HttpResponse {
    match caller(&mut shared.lock(), &request) {
        Ok((user, scope)) => {
            let rows = if may_read_organizations(&scope) {
                user.organizations
                    .iter()
                    .map(|name| json!({"login": name, "id": number(&user, name)}))
                    .collect()
            } else {
                Vec::new()
            };
            HttpResponse::Ok().json(paging.select(rows))
        }
        Err(answer) => *answer,
    }
}

/// `GET /user/teams`: needs `read:org`, else 403.
pub(super) async fn teams(
    shared: web::Data<Shared>,
    request: HttpRequest,
    paging: web::Query<Paging>,
) -> HttpResponse {
    match caller(&mut shared.lock(), &request) {
        Ok((user, scope)) if may_read_organizations(&scope) => {
            let rows = user
                .teams
                .iter()
                .map(|(organization, slug)| {
                    json!({
                        "id": number(&user, slug),
                        "name": slug,
                        "slug": slug,
                        "organization": {"login": organization, "id": number(&user, organization)},
                    })
                })
                .collect();
            HttpResponse::Ok().json(paging.select(rows))
        }
        Ok(_) => HttpResponse::Forbidden().json(json!({
            "message": "Your token has not been granted the required scopes to execute this query.",
            "status": "403",
        })),
        Err(answer) => *answer,
    }
}

/// The account of the bearer token and the token's scope.
fn caller(state: &mut State, request: &HttpRequest) -> Result<(User, String), Box<HttpResponse>> {
    if !request.headers().contains_key(USER_AGENT) {
        complain(state, "api: no User-Agent");
        return Err(Box::new(HttpResponse::Forbidden().body(
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header",
        )));
    }
    let Some(header) = request.headers().get(AUTHORIZATION) else {
        complain(state, "api: no Authorization");
        return Err(Box::new(unauthorized("Requires authentication")));
    };
    let token = header.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        (scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token"))
            .then_some(token)
    });
    let found = token.and_then(|token| {
        let known = state.tokens.get(token)?;
        Some((state.user(&known.login)?.clone(), known.scope.clone()))
    });
    found.ok_or_else(|| {
        complain(state, "api: bad token");
        Box::new(unauthorized("Bad credentials"))
    })
}

fn unauthorized(message: &str) -> HttpResponse {
    HttpResponse::Unauthorized().json(json!({
        "message": message,
        "documentation_url": "https://docs.github.com/rest",
        "status": "401",
    }))
}

fn may_read_organizations(scope: &str) -> bool {
    scope
        .split([' ', ','])
        .any(|scope| matches!(scope, "read:org" | "write:org" | "admin:org" | "user"))
}

/// A number for a name that is the same each time, unless the account says otherwise.
fn number(user: &User, name: &str) -> u32 {
    let usual = || {
        name.bytes().fold(7, |number: u32, byte| {
            number.wrapping_mul(31).wrapping_add(u32::from(byte))
        })
    };
    user.numbers.get(name).copied().unwrap_or_else(usual)
}
