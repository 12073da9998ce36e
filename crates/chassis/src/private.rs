//! The private listener: health and metrics, never routed to the outside.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use actix_web::dev::Server;
use actix_web::http::header;
use actix_web::web::{self, ServiceConfig};
use actix_web::{App, HttpResponse, HttpServer};

use crate::health::Readiness;
use crate::metrics::{self, Metrics};

/// Where the private listener is unless configured: this machine only.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9000);

/// What every private listener answers, and what it is for.
pub const ENDPOINTS: [(&str, &str); 3] = [
    ("/health/live", "200 while the process runs."),
    (
        "/health/ready",
        "200 or 503, with the checks as JSON; `healthcheck` asks for it.",
    ),
    (
        "/metrics",
        "The metrics, in the text format of OpenMetrics.",
    ),
];

/// What the private listener shows.
#[derive(Clone, Debug)]
pub struct Private {
    /// Answers `/health/ready`.
    pub readiness: Readiness,
    /// Answers `/metrics`.
    pub metrics: Metrics,
}

impl Private {
    /// Adds `/health/live` (200 while the process runs), `/health/ready` (200 or 503, with the checks as JSON) and `/metrics`.
    pub fn routes(&self, config: &mut ServiceConfig) {
        config
            .app_data(web::Data::new(self.clone()))
            .route("/health/live", web::get().to(live))
            .route("/health/ready", web::get().to(ready))
            .route("/metrics", web::get().to(text));
    }
}

async fn live() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body("alive\n")
}

async fn ready(private: web::Data<Private>) -> HttpResponse {
    let report = private.readiness.report().await;
    let mut answer = if report.ready {
        HttpResponse::Ok()
    } else {
        HttpResponse::ServiceUnavailable()
    };
    answer
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(report)
}

async fn text(private: web::Data<Private>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(metrics::CONTENT_TYPE)
        .body(private.metrics.encode())
}

/// Serves [`Private::routes`] and whatever `more` adds (administration), with one worker. Signals are left to
/// [`crate::shutdown::Shutdown`]; end it with `server.handle().stop(true)`.
pub fn serve<F>(listener: TcpListener, private: Private, more: F) -> io::Result<Server>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let server = HttpServer::new(move || {
        App::new()
            .configure(|config| private.routes(config))
            .configure(more.clone())
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?;
    Ok(server.run())
}

#[cfg(test)]
mod tests {
    use crate::health::healthcheck;
    use crate::listen;

    use super::*;

    #[actix_web::test]
    async fn the_healthcheck_client_reads_what_the_listener_says() {
        let private = Private {
            readiness: Readiness::new(),
            metrics: Metrics::new("test"),
        };
        let latch = private.readiness.latch("child");
        let listener = listen::bind("private", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = serve(listener, private, |config| {
            config.route("/admin", web::get().to(HttpResponse::NoContent));
        })
        .unwrap();
        let handle = server.handle();
        let running = actix_web::rt::spawn(server);

        let error = healthcheck(address).await.unwrap_err().to_string();
        assert_eq!(
            error,
            r#"not ready: {"ready":false,"checks":[{"name":"child","problem":"starting"}]}"#
        );
        latch.ready();
        healthcheck(address).await.unwrap();

        handle.stop(true).await;
        running.await.unwrap().unwrap();
    }

    #[actix_web::test]
    async fn live_and_metrics_answer_whatever_readiness_says() {
        let private = Private {
            readiness: Readiness::new(),
            metrics: Metrics::new("test"),
        };
        let _latch = private.readiness.latch("child");
        let app =
            actix_web::test::init_service(App::new().configure(|config| private.routes(config)))
                .await;
        let get = |path: &str| actix_web::test::TestRequest::get().uri(path).to_request();
        let live = actix_web::test::call_service(&app, get("/health/live")).await;
        assert_eq!(live.status(), 200);
        let ready = actix_web::test::call_service(&app, get("/health/ready")).await;
        assert_eq!(ready.status(), 503);
        let metrics = actix_web::test::call_service(&app, get("/metrics")).await;
        assert_eq!(
            metrics.headers().get("content-type").unwrap(),
            metrics::CONTENT_TYPE
        );
        let text = actix_web::test::read_body(metrics).await;
        assert!(String::from_utf8_lossy(&text).contains("process_resident_memory_bytes"));
    }
}
