//! What the types of the settings do not check.

use std::net::IpAddr;

use chassis::config::{ConfigError, Loaded};

use crate::config::{Config, Sharing};
use crate::senders::Named;
use crate::template::Template;
use crate::tools::rules::Rules;

/// Checks what the types do not.
pub fn validate(loaded: &Loaded<Config>) -> Result<(), ConfigError> {
    let config = &loaded.config;
    if config.command.first().is_none_or(String::is_empty) {
        return Err(loaded.missing("command"));
    }
    for (key, value) in [
        ("host", &config.host),
        ("private_host", &config.private_host),
    ] {
        if value.parse::<IpAddr>().is_err() {
            return Err(loaded.invalid(key, "is not an IP address such as 127.0.0.1 or 0.0.0.0"));
        }
    }
    for (key, value) in [
        ("limits.sessions", config.limits.sessions),
        (
            "limits.sessions_per_subject",
            config.limits.sessions_per_subject,
        ),
        ("limits.leases", config.limits.leases),
        (
            "limits.leases_per_subject",
            config.limits.leases_per_subject,
        ),
        ("limits.in_flight", config.limits.in_flight),
        ("limits.message_bytes", config.limits.message_bytes),
    ] {
        if value == 0 {
            return Err(loaded.invalid(key, "must be at least 1"));
        }
    }
    validate_times(loaded)?;
    for place in &config.replicas {
        if !is_place(place) {
            let wrong = format!("`{place}` is not host:port, such as tasks.mcp-fetch:3000");
            return Err(loaded.invalid("replicas", wrong));
        }
    }
    Named::parse(&config.identity_from)
        .map_err(|wrong| loaded.invalid("identity_from", wrong.to_string()))?;
    if config.limits.shutdown_drain.get() > LONGEST_DRAIN {
        return Err(loaded.invalid("limits.shutdown_drain", "must be at most 20 seconds"));
    }
    rules(loaded)?;
    validate_placeholders(loaded)
}

/// Seconds that anything may take: ten years, which no clock overflows at.
const LONGEST: u64 = 10 * 365 * 24 * 60 * 60;

/// No time is too long to be added to now, and none is nothing where that would end everything at once.
fn validate_times(loaded: &Loaded<Config>) -> Result<(), ConfigError> {
    let limits = &loaded.config.limits;
    for (key, least, time) in [
        ("limits.session_idle", 1, limits.session_idle),
        ("limits.session_life", 1, limits.session_life),
        ("limits.session_left_alone", 0, limits.session_left_alone),
        ("limits.initialize", 1, limits.initialize),
        ("limits.request", 1, limits.request),
        ("limits.request_total", 1, limits.request_total),
        ("limits.ping", 1, limits.ping),
        ("limits.parked", 1, limits.parked),
        ("limits.lease_wait", 0, limits.lease_wait),
        ("limits.stream_life", 0, limits.stream_life),
        ("limits.stream_after", 0, limits.stream_after),
        ("limits.keep_alive", 1, limits.keep_alive),
        ("limits.shutdown_grace", 0, limits.shutdown_grace),
    ] {
        if !(least..=LONGEST).contains(&time.get()) {
            let wrong = format!("must be at least {least} and at most {LONGEST} seconds");
            return Err(loaded.invalid(key, wrong));
        }
    }
    Ok(())
}

/// Seconds that a drain may take: whoever stops the process waits for it and for the requests in flight.
const LONGEST_DRAIN: u64 = 20;

/// A host and a port that is not 0.
fn is_place(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        url::Host::parse(host).is_ok() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

/// The rules for tools.
pub fn rules(loaded: &Loaded<Config>) -> Result<Rules, ConfigError> {
    let Config { tools, rules, .. } = &loaded.config;
    Rules::new(tools, rules).map_err(|wrong| {
        // Which of the two it is decides which line is named.
        let key = match Rules::new(tools, &[]) {
            Ok(_) => "rules",
            Err(_) => "tools",
        };
        loaded.invalid(key, wrong)
    })
}

/// Placeholders of the person are known, and there is a person.
fn validate_placeholders(loaded: &Loaded<Config>) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let texts = config
        .command
        .iter()
        .map(|text| ("command", text.as_str()))
        .chain(
            config
                .env
                .set
                .values()
                .map(|secret| ("env.set", secret.expose())),
        );
    for (key, text) in texts {
        let template = Template::parse(text).map_err(|wrong| loaded.invalid(key, wrong))?;
        if !template.names_person() {
            continue;
        }
        if !config.require_identity {
            let wrong = "has a placeholder of the person, but nobody says who calls: set REQUIRE_IDENTITY=true";
            return Err(loaded.invalid(key, wrong));
        }
        if config.child.sharing == Sharing::Shared {
            let wrong = "has a placeholder of the person, but everybody shares one process: set CHILD_SHARING to session or person";
            return Err(loaded.invalid(key, wrong));
        }
    }
    let first = config.command.first().map(|text| Template::parse(text));
    if matches!(first, Some(Ok(program)) if program.names_person()) {
        return Err(loaded.invalid(
            "command",
            "has a placeholder of the person in the name of the program: only arguments may have one",
        ));
    }
    Ok(())
}
