//! Good tokens of people who signed in, and others.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use testkit::binaries::mcp_auth;
use testkit::gateway::{PASSWORD, USERNAME};
use testkit::mcp_client::{Granted, McpClient, Registered};
use testkit::person::{Credentials, Person};
use tokio::task::JoinSet;
use url::Url;

/// The hash of the one password, as an operator makes it.
///
/// # Errors
///
/// If `mcp-auth hash-password` fails.
pub fn password_hash() -> Result<String> {
    let mut child = Command::new(mcp_auth())
        .arg("hash-password")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("stdin")?
        .write_all(PASSWORD.as_bytes())?;
    let mut hash = String::new();
    child
        .stdout
        .take()
        .context("stdout")?
        .read_to_string(&mut hash)?;
    ensure!(child.wait()?.success(), "mcp-auth hash-password fails");
    Ok(hash.trim().to_owned())
}

/// A client that found its way to the service behind this Traefik and registered.
///
/// # Errors
///
/// If it is refused.
pub async fn register(public_port: u16, service: &str) -> Result<Registered> {
    let url = Url::parse(&format!("http://{service}.localhost:{public_port}/mcp"))?;
    McpClient::new(url)?.discover().await?.register().await
}

/// A new session of the one person with this client.
///
/// # Errors
///
/// If it is refused.
pub async fn sign_in(client: &Registered) -> Result<Granted> {
    let person = Person::new(Credentials::Local {
        username: USERNAME.to_owned(),
        password: PASSWORD.to_owned(),
    })?;
    client.clone().authorize(&person).await?.token().await
}

/// Access tokens of so many new sessions, so many of each.
///
/// # Errors
///
/// If one is refused.
pub async fn good(client: &Registered, (sign_ins, each): (usize, usize)) -> Result<Vec<String>> {
    let mut refreshing = JoinSet::new();
    for _ in 0..sign_ins {
        let mut granted = sign_in(client).await?;
        refreshing.spawn(async move {
            let mut tokens = vec![granted.tokens.access.clone()];
            while tokens.len() < each {
                granted.refresh().await?;
                tokens.push(granted.tokens.access.clone());
            }
            anyhow::Ok(tokens)
        });
    }
    let mut tokens = Vec::new();
    while let Some(done) = refreshing.join_next().await {
        tokens.extend(done??);
    }
    Ok(tokens)
}

/// Tokens that are made of good ones and count for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// Signed by nobody: one character of the signature is another.
    BadSignature,
    /// The header names a key that there never was.
    UnknownKey,
    /// Not a token at all, of the length of one.
    Garbage,
}

/// The text with another character at that place.
fn altered(text: &str, place: usize) -> String {
    let change = |(number, character)| match character {
        'A' if number == place => 'B',
        _ if number == place => 'A',
        character => character,
    };
    text.chars().enumerate().map(change).collect()
}

/// Makes so many forgeries of each good token, all of them different, each with a signature that does not fit.
///
/// # Errors
///
/// If a good one is not a JWT.
pub fn badly_signed(good: &[String], each: usize) -> Result<Vec<String>> {
    let forge = |(place, token): (usize, &String)| {
        let (signed, signature) = token.rsplit_once('.').context("no signature")?;
        Ok(format!("{signed}.{}", altered(signature, place)))
    };
    let all = (0..each).flat_map(|place| good.iter().map(move |token| (place, token)));
    all.map(forge).collect()
}

/// Makes forgeries of good tokens, one of each.
///
/// # Errors
///
/// If a good one is not a JWT.
pub fn forged(good: &[String], how: Forgery) -> Result<Vec<String>> {
    let forge = |token: &String| {
        let (signed, signature) = token.rsplit_once('.').context("no signature")?;
        let (_, claims) = signed.split_once('.').context("no header")?;
        Ok(match how {
            Forgery::BadSignature => format!("{signed}.{}", altered(signature, 0)),
            // {"typ":"at+jwt","alg":"ES256","kid":"unknown-key-of-the-benchmark"}
            Forgery::UnknownKey => format!(
                "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiIsImtpZCI6InVua25vd24ta2V5LW9mLXRoZS1iZW5jaG1hcmsifQ.{claims}.{signature}"
            ),
            Forgery::Garbage => "x".repeat(token.len() - signature.len()) + signature,
        })
    };
    good.iter().map(forge).collect()
}
