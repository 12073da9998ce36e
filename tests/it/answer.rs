//! How an answer is written down for a snapshot.

use anyhow::Result;
use reqwest::RequestBuilder;

/// Headers that a client acts on; the others are the business of the tests of each service.
const SHOWN: [&str; 6] = [
    "content-type",
    "www-authenticate",
    "cache-control",
    "location",
    "allow",
    "retry-after",
];

/// Sends a request and writes down status, headers and body; the port of this run becomes `PORT`.
pub(crate) async fn of(request: RequestBuilder, port: u16) -> Result<String> {
    let response = request.send().await?;
    let mut lines = vec![response.status().to_string()];
    for name in SHOWN {
        for value in response.headers().get_all(name) {
            lines.push(format!("{name}: {}", value.to_str()?));
        }
    }
    let body = response.text().await?;
    lines.push(String::new());
    lines.push(body);
    Ok(lines
        .join("\n")
        .trim_end()
        .replace(&port.to_string(), "PORT"))
}
