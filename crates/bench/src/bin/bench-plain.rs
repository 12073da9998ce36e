//! What actix-web takes by itself: a POST handler that reads the body and answers the echo call in it, without any child, and a
//! GET handler that says yes to everybody.
//!
//!     bench-plain ADDRESS_FILE

use actix_web::http::header::ContentType;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpResponse, HttpServer};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
}

#[derive(Default, Deserialize)]
struct Arguments<'a> {
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

async fn post(body: Bytes) -> HttpResponse {
    let Ok(request) = serde_json::from_slice::<Request<'_>>(&body) else {
        return HttpResponse::BadRequest().finish();
    };
    let Some(id) = request.id else {
        return HttpResponse::Accepted().finish();
    };
    let text = request.params.arguments.text.map_or("\"\"", RawValue::get);
    HttpResponse::Ok()
        .content_type(ContentType::json())
        .body(format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":{text}}}]}}}}"#
        ))
}

async fn yes() -> HttpResponse {
    HttpResponse::Ok().finish()
}

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let file = std::env::args().nth(1);
    let server = HttpServer::new(|| {
        App::new()
            .service(
                web::resource("/mcp")
                    .route(web::post().to(post))
                    .route(web::get().to(yes)),
            )
            .route("/verify", web::get().to(yes))
            .route("/health", web::get().to(yes))
    })
    .bind("127.0.0.1:0")?;
    if let (Some(file), Some(address)) = (file, server.addrs().first()) {
        std::fs::write(file, format!("public={address}\n"))?;
    }
    server.run().await?;
    Ok(())
}
