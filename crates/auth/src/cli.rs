//! The command line of `mcp-auth`.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use chassis::config::{Environment, Loaded};
use chassis::shutdown::Shutdown;
use clap::{Parser, Subcommand};
use oauth::SystemEntropy;
use oauth::secret::{ClientSecret, Plain};

use crate::app::App;
use crate::config::Config;
use crate::idp::local::hash_password;
use crate::policy::{Source, Watch};
use crate::settings::Settings;

/// The OAuth 2.1 authorization server of the MCP OAuth Gateway.
#[derive(Debug, Parser)]
#[command(name = "mcp-auth", version = chassis::build_info::VERSION)]
struct Arguments {
    /// The configuration file [default: ./gateway.toml if it is there].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the addresses to this file once the service listens.
    #[arg(long, global = true, value_name = "FILE")]
    address_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service (the default).
    Serve,
    /// Ask the running service whether it is ready; exit code 0 if it is.
    Healthcheck,
    /// Print every setting, its value and where it comes from; secrets are hidden.
    Config,
    /// Read a password from standard input and print the hash for `LOCAL_USERS`.
    HashPassword,
    /// Make a secret for a client of `[operator_clients.NAME]` and print it with its hash.
    NewClientSecret,
}

/// Runs what the command line asks for.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mcp-auth: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command.as_ref().unwrap_or(&Command::Serve) {
        Command::Serve => serve(arguments),
        Command::Healthcheck => healthcheck(arguments),
        Command::Config => {
            print(&load(arguments, &source(arguments))?.table());
            Ok(ExitCode::SUCCESS)
        }
        Command::HashPassword => {
            let mut password = String::new();
            std::io::stdin().read_to_string(&mut password)?;
            print(&hash_password(password.trim_end_matches(['\r', '\n']))?);
            Ok(ExitCode::SUCCESS)
        }
        Command::NewClientSecret => {
            let secret = Plain::<ClientSecret>::generate(&SystemEntropy);
            let hash = serde_json::to_string(&secret.hash())?;
            // The secret alone is for the client; the line below it is for gateway.toml.
            print(&format!(
                "client_secret = {:?}\nsecret_hash = {hash}",
                secret.expose()
            ));
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the answer of a command belongs on standard output"
)]
fn print(text: &str) {
    println!("{}", text.trim_end());
}

fn source(arguments: &Arguments) -> Source {
    Source::new(Environment::from_process(), arguments.config.clone())
}

fn load(arguments: &Arguments, source: &Source) -> anyhow::Result<Loaded<Config>> {
    let mut loaded = source.load()?;
    if let Some(file) = &arguments.address_file {
        loaded.config.address_file = Some(file.clone());
    }
    Ok(loaded)
}

fn serve(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let source = source(arguments);
    let watch = Watch::new(source.clone());
    let loaded = load(arguments, &source)?;
    let settings = Settings::check(&loaded, source.environment())?;
    chassis::telemetry::init(&loaded.config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let app = App::build(settings).await?;
        app.following(watch).run(Shutdown::new()).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn healthcheck(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let private = load(arguments, &source(arguments))?.config.private;
    let host: IpAddr = private.host.parse()?;
    // A listener on every address is asked on the machine itself.
    let host = if host.is_unspecified() {
        IpAddr::from([127, 0, 0, 1])
    } else {
        host
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(chassis::health::healthcheck(SocketAddr::new(
        host,
        private.port,
    )))?;
    Ok(ExitCode::SUCCESS)
}
