//! The REST API for the operator's own token: who is a member of what.
//!
//! Sources: REST API "Get a user using their ID", "Get organization membership for a user", "Get team membership for a user".

use actix_web::http::header::AUTHORIZATION;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::authorize::complain;
use super::{ORG_TOKEN, Shared, State, User};

pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/user/{id}", web::get().to(user))
        .route(
            "/orgs/{organization}/memberships/{login}",
            web::get().to(of_organization),
        )
        .route(
            "/orgs/{organization}/teams/{slug}/memberships/{login}",
            web::get().to(of_team),
        );
}

async fn user(shared: web::Data<Shared>, request: HttpRequest, id: web::Path<u64>) -> HttpResponse {
    answer(&mut shared.lock(), &request, |state| {
        let user = state.users.iter().find(|user| user.id == *id)?;
        Some(json!({"login": user.login, "id": user.id, "type": "User"}))
    })
}

async fn of_organization(
    shared: web::Data<Shared>,
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> HttpResponse {
    let (organization, login) = path.into_inner();
    answer(&mut shared.lock(), &request, |state| {
        let user = state.user(&login)?;
        let is_member = user
            .organizations
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&organization));
        is_member.then(|| membership(user))
    })
}

async fn of_team(
    shared: web::Data<Shared>,
    request: HttpRequest,
    path: web::Path<(String, String, String)>,
) -> HttpResponse {
    let (organization, slug, login) = path.into_inner();
    answer(&mut shared.lock(), &request, |state| {
        let user = state.user(&login)?;
        let is_member = user.teams.iter().any(|(of, team)| {
            of.eq_ignore_ascii_case(&organization) && team.eq_ignore_ascii_case(&slug)
        });
        // A team's answer does not say whose membership it is.
        is_member.then(|| json!({"state": "active", "role": "member"}))
    })
}

fn membership(user: &User) -> serde_json::Value {
    json!({"state": "active", "role": "member", "user": {"login": user.login, "id": user.id}})
}

fn answer(
    state: &mut State,
    request: &HttpRequest,
    find: impl Fn(&State) -> Option<serde_json::Value>,
) -> HttpResponse {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    if given != Some(ORG_TOKEN) {
        complain(state, "api: members asked without the operator's token");
        return HttpResponse::Forbidden().json(json!({"message": "Must have admin rights"}));
    }
    match find(state) {
        Some(found) => HttpResponse::Ok().json(found),
        None => HttpResponse::NotFound().json(json!({"message": "Not Found", "status": "404"})),
    }
}
