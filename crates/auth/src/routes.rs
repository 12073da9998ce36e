//! The whole route table.

use actix_web::guard::{self, Guard};
use actix_web::middleware::from_fn;
use actix_web::web::{self, ServiceConfig};
use chassis::telemetry;

use crate::endpoints::{self, Endpoint};
use crate::http::{
    account, admin, authorize, callback, consent, device, error, introspect, jwks, login, metadata,
    outcome, own_host, pages, register, registration, revoke, token, verify,
};

/// Largest form and JSON body that is read, in bytes.
pub(crate) const BODY_LIMIT: usize = 16 * 1024;

/// What Traefik reaches. `/verify` has no router there.
pub(crate) fn public(config: &mut ServiceConfig) {
    config
        .app_data(web::PayloadConfig::new(BODY_LIMIT))
        // Asked by Traefik for every request to a service.
        .service(resource("/verify").route(web::get().to(verify::verify)))
        // Discovery, on every host and in every form that clients try.
        .service(get("/.well-known/oauth-protected-resource").with(metadata::resource_root))
        .service(get("/.well-known/oauth-protected-resource/mcp").with(metadata::resource_mcp))
        .configure(server_metadata)
        .service(get("/jwks").with(jwks::jwks))
        // Clients.
        .service(resource("/register").route(web::post().to(register::register)))
        .service(
            resource("/register/{client_id}")
                .route(web::get().to(registration::read))
                .route(web::put().to(registration::replace))
                .route(web::delete().to(registration::delete)),
        )
        .service(resource("/token").route(web::post().to(token::token)))
        .service(resource("/revoke").route(web::post().to(revoke::revoke)))
        .service(resource("/introspect").route(web::post().to(introspect::introspect)))
        .service(resource("/device_authorization").route(web::post().to(device::ask)))
        .configure(people)
        .service(get("/assets/style.css").with(pages::style))
        .service(get("/health").with(metadata::health))
        .default_service(web::to(error::not_found));
}

/// What only the private listener has, beside health and metrics. Everything needs the administration token.
pub(crate) fn private(config: &mut ServiceConfig) {
    let admin = web::scope("/admin")
        .wrap(from_fn(admin::guard))
        // As on the public listener: audit lines name the request, and so does the answer. Not for health and metrics, which
        // are asked all the time.
        .wrap(from_fn(telemetry::name_answer))
        .wrap(telemetry::request_logger())
        .app_data(web::QueryConfig::default().error_handler(admin::bad_query))
        .service(read("/stats").with(admin::stats))
        .service(read("/backup").with(admin::backup))
        .service(administration("/purge").route(web::post().to(admin::purge)))
        .service(read("/keys").with(admin::keys))
        .service(administration("/keys/rotate").route(web::post().to(admin::rotate_keys)))
        .service(administration("/keys/compromised").route(web::post().to(admin::replace_keys)))
        .service(
            administration("/clients")
                .route(web::get().to(admin::clients))
                .route(web::post().to(admin::create_client)),
        )
        .service(
            // The id of a client that is known by its document is a URL.
            administration("/clients/{id:.+}")
                .route(web::get().to(admin::client))
                .route(web::delete().to(admin::delete_client)),
        )
        .service(read("/sessions").with(admin::sessions))
        .service(
            administration("/sessions/{id}")
                .route(web::get().to(admin::session))
                .route(web::delete().to(admin::revoke_session)),
        )
        .service(read("/users").with(admin::users))
        .service(administration("/users/revoke").route(web::post().to(admin::revoke_everybody)))
        .service(
            administration("/users/{subject}/revoke").route(web::post().to(admin::revoke_user)),
        )
        .service(
            administration("/users/{subject}/pins").route(web::delete().to(admin::forget_pins)),
        )
        .service(
            administration("/users/{subject}/consents")
                .route(web::get().to(admin::consents))
                .route(web::delete().to(admin::forget_consents)),
        )
        .service(
            administration("/users/{subject}/consents/{id}")
                .route(web::delete().to(admin::forget_consent)),
        )
        .service(read("/users/{subject}").with(admin::user))
        .default_service(web::to(error::not_found));
    config.service(admin);
}

/// Pages and forms.
fn people(config: &mut ServiceConfig) {
    let mut own = |resource: actix_web::Resource| {
        config.service(resource.wrap(from_fn(own_host::only)));
    };
    own(get("/authorize").with(authorize::authorize));
    own(post("/consent", consent::consent));
    own(resource("/login")
        .route(web::get().to(login::form))
        .route(web::post().to(login::submit)));
    own(resource("/device")
        .route(web::get().to(device::form))
        .route(web::post().to(device::submit)));
    own(get("/callback").with(callback::callback));
    own(get("/success").with(outcome::success));
    own(get("/error").with(outcome::error));
    own(get("/account").with(account::show));
    own(post("/account/sign-in", account::sign_in));
    own(post("/account/revoke", account::revoke));
    own(post("/account/forget", account::forget));
    own(post("/account/revoke-all", account::revoke_all));
    own(post("/account/sign-out", account::sign_out));
}

fn server_metadata(config: &mut ServiceConfig) {
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp",
        "/mcp/.well-known/oauth-authorization-server",
    ] {
        config.service(get(path).with(metadata::server));
    }
    for path in [
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/mcp",
        "/mcp/.well-known/openid-configuration",
    ] {
        config.service(get(path).with(metadata::openid));
    }
}

/// A path of the public listener with the methods that its table says; others get 405 with `Allow` (RFC 9110 section 15.5.6).
fn resource(path: &str) -> actix_web::Resource {
    listed(endpoints::PUBLIC, path, path)
}

/// The same for a path below `/admin`.
fn administration(path: &str) -> actix_web::Resource {
    listed(endpoints::ADMINISTRATION, path, &format!("/admin{path}"))
}

fn listed(table: &'static [Endpoint], path: &str, listed_as: &str) -> actix_web::Resource {
    let endpoint = table.iter().find(|endpoint| endpoint.path == listed_as);
    debug_assert!(endpoint.is_some(), "{listed_as} is not in endpoints.rs");
    let methods = endpoint.map_or(&[][..], |endpoint| endpoint.methods);
    web::resource(path.to_owned()).default_service(web::to(move || {
        std::future::ready(error::method_not_allowed(methods))
    }))
}

/// POST of a form.
fn post<F, Args>(path: &str, handler: F) -> actix_web::Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    resource(path).route(web::post().to(handler))
}

/// GET, and HEAD like it.
struct Get(actix_web::Resource);

fn get(path: &str) -> Get {
    Get(resource(path))
}

/// The same for a path below `/admin`.
fn read(path: &str) -> Get {
    Get(administration(path))
}

impl Get {
    fn with<F, Args>(self, handler: F) -> actix_web::Resource
    where
        F: actix_web::Handler<Args>,
        Args: actix_web::FromRequest + 'static,
        F::Output: actix_web::Responder + 'static,
    {
        self.0
            .route(web::route().guard(is_get_or_head()).to(handler))
    }
}

fn is_get_or_head() -> impl Guard {
    guard::Any(guard::Get()).or(guard::Head())
}
