//! The command line of `mcp-auth`.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use chassis::config::{Environment, Loaded, Reference};
use chassis::shutdown::Shutdown;
use clap::{CommandFactory as _, Parser, Subcommand};
use oauth::secret::{ClientSecret, Plain};
use oauth::{Clock as _, SystemClock, SystemEntropy};
use otlp::Traces;
use store::RedisOptions;
use url::Url;

use crate::admin::client::{AdminClient, private_address};
use crate::admin::commands::{self, Admin, Manner};
use crate::app::App;
use crate::config::{Config, FILE_KEYS, SECTION, SETTINGS};
use crate::doctor::Doctor;
use crate::idp::local::hash_password;
use crate::policy::{Source, Watch};
use crate::settings::{self, Settings};
use crate::transfer;

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
    #[command(flatten)]
    manner: Manner,
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
    Config {
        /// Print what can be set, with defaults and a sentence each, as JSON; nothing is read.
        #[arg(long)]
        reference: bool,
    },
    /// Read a password from standard input and print the hash for `LOCAL_USERS`.
    HashPassword,
    /// Make a secret for a client of `[operator_clients.NAME]` and print it with its hash.
    NewClientSecret,
    /// Write everything that is stored to a file. A store file that is in use is asked for from the service that uses it.
    Backup {
        /// The file, made with mode 0600; - is standard output.
        file: PathBuf,
    },
    /// Store what is in a backup. Stop the service first.
    Restore {
        /// The file; - is standard input.
        file: PathBuf,
        /// Only check the backup and tell what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Remove all that is in the store first; without it a store that is not empty is left alone.
        #[arg(long)]
        clear: bool,
    },
    /// Take over the clients of the Python gateway from its Redis, which is only read.
    Import {
        /// Its Redis [default: `REDIS_URL`]; the password is the one in it, else that of `REDIS_PASSWORD`.
        #[arg(long, value_name = "URL")]
        from: Option<String>,
        /// Only tell what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    #[command(flatten)]
    Admin(Admin),
    /// Walk the installation the way clients do, and say what they would trip over; exit code 1 if anything is broken.
    Doctor(Doctor),
}

/// The command line.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
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
        command @ (Command::Backup { .. } | Command::Restore { .. } | Command::Import { .. }) => {
            transfer(arguments, command)
        }
        Command::Serve => serve(arguments),
        Command::Admin(command) => administer(arguments, command),
        Command::Doctor(doctor) => examine(arguments, doctor),
        Command::Healthcheck => healthcheck(arguments),
        Command::Config { reference: true } => {
            print(&serde_json::to_string_pretty(&reference())?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Config { reference: false } => {
            let source = source(arguments);
            let loaded = load(arguments, &source)?;
            print(&loaded.table());
            // What `serve` would refuse is said here too, below the table that shows where it came from.
            Settings::check(&loaded, source.environment())?;
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

/// Every setting in words.
#[must_use]
pub fn reference() -> Reference {
    Reference::new::<Config>("mcp-auth", SECTION, SETTINGS, FILE_KEYS)
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let traces = Traces::from_environment("mcp-auth", source.environment(), runtime.handle())?;
    chassis::telemetry::init(&loaded.config.log, traces.as_ref().map(Traces::layer))?;
    if let Err(error) = chassis::open_files::allow_most() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    let requests = traces.as_ref().map(Traces::traced);
    let ended = runtime.block_on(async {
        let app = App::build(settings).await?;
        let app = app.following(watch).traced(requests);
        app.run(Shutdown::new()).await
    });
    if let Some(traces) = traces {
        traces.finish();
    }
    ended.map(|()| ExitCode::SUCCESS)
}

/// The commands about the store as a whole.
fn transfer(arguments: &Arguments, command: &Command) -> anyhow::Result<ExitCode> {
    let source = source(arguments);
    let loaded = load(arguments, &source)?;
    let settings = settings::store(&loaded)?;
    let now = SystemClock.now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match command {
            Command::Backup { file } => {
                let service = || AdminClient::new(&loaded, arguments.manner.url.as_ref());
                transfer::backup(settings, service, file, now).await?;
            }
            Command::Restore {
                file,
                dry_run,
                clear,
            } => {
                let options = transfer::Options {
                    dry_run: *dry_run,
                    clear: *clear,
                };
                let tokens = &loaded.config.tokens;
                let secrets = transfer::Secrets {
                    newest: tokens.secret.as_ref(),
                    previous: tokens.previous_secret.as_ref(),
                };
                print(&transfer::restore(settings, file, secrets, options, now).await?);
            }
            Command::Import { from, dry_run } => {
                let redis = &loaded.config.redis;
                let url = from.as_ref().unwrap_or(&redis.url);
                let has_own = Url::parse(url).is_ok_and(|url| url.password().is_some());
                let password = redis.password.as_ref().filter(|_| !has_own);
                let from = RedisOptions {
                    password: password.map(|it| it.expose().to_owned()),
                    ..RedisOptions::new(url)
                };
                let service = Settings::check(&loaded, source.environment())?;
                let terms = transfer::Terms {
                    offered_scopes: service.rules.offered_scopes(),
                    client_lifetime: loaded.config.clients.lifetime.get(),
                    dry_run: *dry_run,
                };
                print(&transfer::import(settings, &from, &terms, now).await?);
            }
            _ => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn healthcheck(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let private = private_address(&load(arguments, &source(arguments))?.config)?;
    waiting()?.block_on(chassis::health::healthcheck(private))?;
    Ok(ExitCode::SUCCESS)
}

fn administer(arguments: &Arguments, command: &Admin) -> anyhow::Result<ExitCode> {
    let loaded = load(arguments, &source(arguments))?;
    let service = AdminClient::new(&loaded, arguments.manner.url.as_ref())?;
    print(&waiting()?.block_on(commands::run(command, &service, &arguments.manner))?);
    Ok(ExitCode::SUCCESS)
}

fn examine(arguments: &Arguments, doctor: &Doctor) -> anyhow::Result<ExitCode> {
    let source = source(arguments);
    let loaded = load(arguments, &source)?;
    let settings = Settings::check(&loaded, source.environment())?;
    let service = match &arguments.manner.url {
        Some(url) => url.clone(),
        None => Url::parse(&format!("http://{}", private_address(&loaded.config)?))?,
    };
    let report = waiting()?.block_on(doctor.examine(&loaded, &settings, &service))?;
    if arguments.manner.json {
        print(&serde_json::to_string_pretty(&report)?);
    } else {
        print(&report.to_string());
    }
    Ok(if report.is_well() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// For commands that only wait for answers.
fn waiting() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}
