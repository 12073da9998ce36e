//! A running `mcp-auth` with its settings, and the requests that Traefik would pass on.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use oauth::{Clock, ManualClock};
use reqwest::header::HOST;
use tempfile::TempDir;
use testkit::network::http_client;
use testkit::process::{self, Command, Logs, Process};
use testkit::redis::RedisServer;

use crate::answer::{Answer, answer};

/// The authorization server's host.
pub(crate) const AUTH: &str = "auth.localhost:8080";
/// A service's host.
pub(crate) const FETCH: &str = "mcp-fetch.localhost:8080";
/// Another service's host.
pub(crate) const ECHO: &str = "mcp-echo.localhost:8080";
/// The issuer.
pub(crate) const ISSUER: &str = "http://auth.localhost:8080";
/// The resource that most tests ask for.
pub(crate) const RESOURCE: &str = "http://mcp-fetch.localhost:8080/mcp";
/// The other one.
pub(crate) const OTHER_RESOURCE: &str = "http://mcp-echo.localhost:8080/mcp";
/// Who may sign in.
pub(crate) const USERNAME: &str = "ada";
/// Ada's password.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// The secret that seals the keys.
pub(crate) const JWT_SECRET: &str = "0123456789-abcdefghijklmnopqrstuvwxyz";

/// A running service.
pub(crate) struct Auth {
    pub(crate) logs: Logs,
    pub(crate) public: SocketAddr,
    pub(crate) private: SocketAddr,
    http: reqwest::Client,
    /// `None` when it runs in the test's own process.
    process: Option<Process>,
    instance: Option<auth::testing::Service>,
    settings: Vec<(String, String)>,
    directory: TempDir,
}

impl Auth {
    /// Starts with a store in memory and Ada as the one person.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with other settings; an empty value takes one away.
    pub(crate) async fn start_with(changes: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let settings = settings(changes);
        Self::start_in(directory, settings).await
    }

    /// Starts with its store in this Redis, and with other settings.
    pub(crate) async fn start_on(redis: &RedisServer, changes: &[(&str, &str)]) -> Self {
        let url = redis.url();
        Self::start_with(&[&in_redis(&url), changes].concat()).await
    }

    /// The same with a `gateway.toml`.
    pub(crate) async fn start_with_file(changes: &[(&str, &str)], file: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("gateway.toml"), file).unwrap();
        Self::start_in(directory, settings(changes)).await
    }

    /// Puts another `gateway.toml` in place of the one that is there.
    pub(crate) fn write_file(&self, file: &str) {
        let path = self.directory().join("gateway.toml");
        std::fs::write(path, file).unwrap();
    }

    /// Starts as from a shell in which only so many files may be open at first.
    pub(crate) async fn start_with_few_files(files: usize) -> Self {
        let program = Command::new("auth", "sh")
            .args(["-c", "ulimit -Sn \"$1\" && exec \"$0\""])
            .args([env!("CARGO_BIN_EXE_mcp-auth"), &files.to_string()]);
        Self::start_program(program, tempfile::tempdir().unwrap(), settings(&[])).await
    }

    async fn start_in(directory: TempDir, settings: Vec<(String, String)>) -> Self {
        let program = Command::new("auth", env!("CARGO_BIN_EXE_mcp-auth"));
        Self::start_program(program, directory, settings).await
    }

    async fn start_program(
        program: Command,
        directory: TempDir,
        settings: Vec<(String, String)>,
    ) -> Self {
        let logs = Logs::default();
        let address_file = directory.path().join("address");
        // The file of an earlier start would be taken for this one's.
        let _ = std::fs::remove_file(&address_file);
        let mut process = settings
            .iter()
            .fold(program, |program, (name, value)| program.env(name, value))
            .current_dir(directory.path())
            .env("ADDRESS_FILE", &address_file)
            .start(&logs)
            .unwrap();
        let public = process::address(&mut process, &address_file, "public")
            .await
            .unwrap();
        let private = process::address(&mut process, &address_file, "private")
            .await
            .unwrap();
        Self {
            logs,
            public,
            private,
            http: http_client().unwrap(),
            process: Some(process),
            instance: None,
            settings,
            directory,
        }
    }

    /// `kill -9`, and a new start on the same store.
    pub(crate) async fn kill_and_start(self) -> Self {
        self.kill_and_start_with(&[]).await
    }

    /// The same with other settings.
    pub(crate) async fn kill_and_start_with(mut self, changes: &[(&str, &str)]) -> Self {
        self.process.unwrap().kill().await.unwrap();
        change(&mut self.settings, changes);
        Self::start_in(self.directory, self.settings).await
    }

    /// Starts within this process, on a clock that the test turns.
    pub(crate) async fn start_at(clock: &Arc<ManualClock>, changes: &[(&str, &str)]) -> Self {
        let settings = settings(changes);
        let given: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let instance = auth::testing::start_at(&given, Arc::clone(clock) as Arc<dyn Clock>)
            .await
            .unwrap();
        Self {
            logs: Logs::default(),
            public: instance.address,
            private: instance.private,
            http: http_client().unwrap(),
            process: None,
            instance: Some(instance),
            settings,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// What an instance does each half minute.
    pub(crate) async fn keep_keys_up(&self) {
        let instance = self.instance.as_ref().unwrap();
        instance.keep_keys_up().await.unwrap();
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.process.as_mut().unwrap().kill().await.unwrap();
    }

    /// SIGTERM, and how it ended.
    pub(crate) async fn stop(&mut self) -> std::process::ExitStatus {
        let process = self.process.as_mut().unwrap();
        process.signal(process::Signal::TERM).unwrap();
        process.wait(testkit::wait::PATIENCE).await.unwrap()
    }

    /// Where it keeps its files.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A request that names `host`.
    pub(crate) fn request(&self, method: &str, host: &str, path: &str) -> reqwest::RequestBuilder {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        self.http
            .request(method, format!("http://{}{path}", self.public))
            .header(HOST, host)
    }

    /// `GET`
    pub(crate) async fn get(&self, host: &str, path: &str) -> Answer {
        answer(self.request("GET", host, path)).await
    }

    /// `POST` of a form to the authorization server.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        answer(self.request("POST", AUTH, path).form(form)).await
    }

    /// What Traefik asks before a request to `service`.
    pub(crate) fn verification(&self, service: &str) -> reqwest::RequestBuilder {
        let path = format!("/verify?resource={service}");
        self.request("GET", "auth:8000", &path)
            .header("X-Forwarded-Host", format!("{service}.localhost:8080"))
    }

    /// SIGHUP.
    pub(crate) fn hang_up(&self) {
        let process = self.process.as_ref().unwrap();
        process.signal(rustix::process::Signal::HUP).unwrap();
    }

    /// The same with a token for `mcp-fetch`.
    pub(crate) async fn verify(&self, access_token: &str) -> Answer {
        answer(self.verification("mcp-fetch").bearer_auth(access_token)).await
    }
}

/// The settings of a store in a Redis with the password of the tests.
pub(crate) fn in_redis(url: &str) -> [(&str, &str); 3] {
    [
        ("STORE", "redis"),
        ("REDIS_URL", url),
        ("REDIS_PASSWORD", RedisServer::PASSWORD),
    ]
}

/// Every setting of a service with a store in memory, with changes.
pub(crate) fn settings(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut settings: Vec<(String, String)> = [
        ("DOMAIN", "localhost"),
        ("PUBLIC_SCHEME", "http"),
        ("PUBLIC_PORT", "8080"),
        ("MCP_SERVICES", "mcp-fetch,mcp-echo"),
        ("PORT", "0"),
        ("PRIVATE_PORT", "0"),
        ("STORE", "memory"),
        ("IDENTITY_PROVIDER", "local"),
        ("LOCAL_USERS", &format!("{USERNAME}:{}", cheap_hash())),
        ("GATEWAY_JWT_SECRET", JWT_SECRET),
        ("LOG_FORMAT", "json"),
        // The tests come from one address; limits.rs takes these away.
        ("LIMIT_REGISTER", "0"),
        ("LIMIT_AUTHORIZE", "0"),
        ("LIMIT_SIGN_IN", "0"),
        ("LIMIT_TOKEN", "0"),
        ("LIMIT_TOKEN_FAILURES", "0"),
        ("LIMIT_REVOKE", "0"),
        ("LIMIT_ADDRESS", "0"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    change(&mut settings, changes);
    settings
}

fn change(settings: &mut Vec<(String, String)>, changes: &[(&str, &str)]) {
    for (name, value) in changes {
        settings.retain(|(known, _)| known != name);
        if !value.is_empty() {
            settings.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
}

/// Argon2id with the least work it allows: the tests sign in a hundred times.
pub(crate) fn cheap_hash() -> String {
    let params = Params::new(Params::MIN_M_COST, 1, 1, None).unwrap();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(PASSWORD.as_bytes())
        .unwrap()
        .to_string()
}

/// Runs a command of `mcp-auth` to its end with exactly these settings.
pub(crate) fn run(
    arguments: &[&str],
    settings: &[(String, String)],
    directory: &Path,
    input: &str,
) -> Output {
    use std::io::Write as _;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_mcp-auth"))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().cloned())
        .current_dir(directory)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}
