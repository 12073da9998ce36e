//! A web page on this machine, for `fetch` to fetch.

use actix_web::{HttpResponse, web};
use anyhow::Result;
use url::Url;

use crate::served::Served;

/// The sentence that stands on the page and nowhere else.
pub const SENTENCE: &str = "The lighthouse keeper counts forty-two herons at dawn.";

/// A running site; it stops when it is dropped.
#[derive(Debug)]
pub struct Site {
    served: Served,
}

impl Site {
    /// Starts on a free port. `robots.txt` allows everything.
    ///
    /// # Errors
    ///
    /// If no port can be bound.
    pub fn start() -> Result<Self> {
        let served = Served::start("the site", |_| {
            |config: &mut web::ServiceConfig| {
                config
                    .route("/page", web::get().to(page))
                    .route("/note.txt", web::get().to(note))
                    .route("/robots.txt", web::get().to(robots));
            }
        });
        Ok(Self { served: served? })
    }

    /// The page with [`SENTENCE`], as HTML: the fetch server makes Markdown of it, which takes it a second or two.
    ///
    /// # Errors
    ///
    /// Never: an address makes a URL.
    pub fn page(&self) -> Result<Url> {
        Ok(Url::parse(&format!("http://{}/page", self.served.address))?)
    }

    /// [`SENTENCE`] as plain text.
    ///
    /// # Errors
    ///
    /// Never: an address makes a URL.
    pub fn note(&self) -> Result<Url> {
        Ok(Url::parse(&format!(
            "http://{}/note.txt",
            self.served.address
        ))?)
    }
}

async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .body(format!(
            "<!doctype html><title>Log book</title><article><h1>Log book</h1><p>{SENTENCE}</p></article>"
        ))
}

async fn note() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body(SENTENCE)
}

async fn robots() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain")
        .body("User-agent: *\nAllow: /\n")
}
