use tracing_subscriber::EnvFilter;

use super::LOG_LEVEL;
use crate::config::ConfigError;

/// The targets of our own log lines: crates, and the short targets that they use.
const OWN_TARGETS: [&str; 9] = [
    "auth",
    "mcp_auth",
    "mcp_proxy",
    "oauth",
    "store",
    "chassis",
    "http",
    "audit",
    "child",
];

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Reads the text of `LOG_LEVEL`.
pub(super) fn filter(text: &str) -> Result<EnvFilter, ConfigError> {
    let refuse = |wrong: String| ConfigError::Invalid {
        name: format!("{} ({} in gateway.toml)", LOG_LEVEL.variable, LOG_LEVEL.key),
        value: Some(text.to_owned()),
        origin: "configuration".to_owned(),
        wrong,
        remedy: LOG_LEVEL.how_to_get.to_owned(),
    };
    // EnvFilter takes a lone word that is no level for the name of a target, and would log that at trace and nothing else.
    let lone_words = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.contains(['=', '[']));
    for word in lone_words {
        if !LEVELS.contains(&word.to_ascii_lowercase().as_str()) {
            return Err(refuse("is not a log level".to_owned()));
        }
    }
    EnvFilter::builder()
        .parse(expanded(text))
        .map_err(|error| refuse(format!("cannot be read: {error}")))
}

/// What `info` means: actix's server tells of each worker's start and end, and its dispatcher calls it an error when a
/// client sends what is no HTTP, which anybody can do at will.
const QUIETER: &str = "info,actix_server=warn,actix_http::h1::dispatcher=off";

/// A level alone is for our own crates. Libraries stay at `info`, because below it HTTP and TLS libraries print headers, which hold
/// tokens. Whoever needs more names it: `info,actix_http=trace`.
fn expanded(text: &str) -> String {
    let level = text.trim().to_ascii_lowercase();
    match level.as_str() {
        "info" => QUIETER.to_owned(),
        "debug" | "trace" => OWN_TARGETS
            .iter()
            .fold(QUIETER.to_owned(), |filter, target| {
                format!("{filter},{target}={level}")
            }),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused_in_one_line() {
        let error = filter("verbose").unwrap_err().to_string();
        assert_eq!(
            error,
            "LOG_LEVEL (log.level in gateway.toml) is \"verbose\" (configuration), which is not a log level. \
             Use one of error, warn, info, debug, trace, or a list such as \"info,mcp_proxy=debug\"."
        );
    }

    #[test]
    fn a_malformed_list_is_refused() {
        let error = filter("info,mcp_proxy=loud").unwrap_err().to_string();
        assert!(error.starts_with("LOG_LEVEL"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn debug_alone_leaves_libraries_at_info() {
        let filter = filter("DEBUG").unwrap().to_string();
        assert!(filter.contains("mcp_proxy=debug"), "{filter}");
        assert!(filter.split(',').any(|part| part == "info"), "{filter}");
        assert!(!filter.split(',').any(|part| part == "debug"), "{filter}");
    }

    #[test]
    fn a_list_is_taken_as_it_is() {
        let filter = filter("warn,actix_http=trace").unwrap().to_string();
        assert!(filter.contains("actix_http=trace"), "{filter}");
        assert!(!filter.contains("mcp_proxy"), "{filter}");
    }
}
