//! A configuration with one of everything, and what is read of it.

mod errors;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::*;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Provider {
    #[default]
    GitHub,
    Local,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Service {
    users: Vec<String>,
    secret: Option<Secret>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tokens {
    lifetime: Seconds,
    strict: bool,
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            lifetime: Seconds::new(3600),
            strict: false,
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    domain: Option<String>,
    port: u16,
    provider: Provider,
    users: Vec<String>,
    jwt_secret: Option<Secret>,
    redis_url: Option<String>,
    tokens: Tokens,
    services: BTreeMap<String, Service>,
}

const SETTINGS: &[Setting] = &[
    Setting::text("DOMAIN", "domain", "The domain of all hosts.")
        .alias(&["BASE_DOMAIN"])
        .required()
        .how("Set it to a name such as example.com.")
        .example("example.com"),
    Setting::integer("PORT", "port", "The public port."),
    Setting::text("PROVIDER", "provider", "Who signs people in."),
    Setting::list("USERS", "users", "Who may come in."),
    Setting::text("JWT_SECRET", "jwt_secret", "Seals the signing keys.")
        .secret()
        .how("Make one with: openssl rand -hex 32"),
    Setting::text("REDIS_URL", "redis_url", "Where Redis is.").secret(),
    Setting::seconds("LIFETIME", "tokens.lifetime", "How long a token lives."),
    Setting::boolean("STRICT", "tokens.strict", "Refuse what is doubtful."),
];

const SECRET: &str = "correct-horse-battery-staple";

const SECTION: Section = Section::Except(&["proxy"]);

fn environment(pairs: &[(&str, &str)]) -> Environment {
    Environment::from_pairs(pairs.iter().copied())
}

/// A directory with a `gateway.toml`.
fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn load_with(pairs: &[(&str, &str)], path: Option<&Path>) -> Result<Loaded<Config>, ConfigError> {
    load(&environment(pairs), path, SECTION, SETTINGS)
}

fn row(loaded: &Loaded<Config>, key: &str) -> Row {
    loaded
        .describe()
        .iter()
        .find(|row| row.key == key)
        .unwrap()
        .clone()
}

#[test]
fn later_sources_win_and_each_value_knows_its_origin() {
    let (_directory, path) =
        file("port = 1000\nusers = ['ann']\n[tokens]\nlifetime = 60\n[proxy]\nanything = 1\n");
    let loaded = load_with(
        &[
            ("BASE_DOMAIN", "example.org"),
            ("PORT", "2000"),
            ("USERS", " bob, ,eve "),
        ],
        Some(&path),
    )
    .unwrap();
    let config = &loaded.config;
    assert_eq!(config.domain.as_deref(), Some("example.org"));
    assert_eq!(config.port, 2000);
    assert_eq!(config.users, ["bob", "eve"]);
    assert_eq!(config.tokens.lifetime, Seconds::new(60));

    let origin = |key| row(&loaded, key).origin;
    assert_eq!(
        origin("domain"),
        Origin::Environment("BASE_DOMAIN".to_owned())
    );
    assert_eq!(origin("port"), Origin::Environment("PORT".to_owned()));
    assert_eq!(origin("tokens.lifetime"), Origin::File(path));
    assert_eq!(origin("tokens.strict"), Origin::Default);
    assert_eq!(row(&loaded, "users").value, "bob,eve");
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let loaded = load_with(
        &[
            ("DOMAIN", "example.com"),
            ("LIFETIME", ""),
            ("JWT_SECRET_FILE", ""),
        ],
        None,
    )
    .unwrap();
    assert_eq!(loaded.config.tokens.lifetime, Seconds::new(3600));
    assert!(loaded.config.jwt_secret.is_none());
}

#[test]
fn booleans_have_the_usual_words() {
    for (word, expected) in [
        ("true", true),
        ("YES", true),
        ("1", true),
        ("off", false),
        ("0", false),
    ] {
        let loaded = load_with(&[("DOMAIN", "d"), ("STRICT", word)], None).unwrap();
        assert_eq!(loaded.config.tokens.strict, expected, "{word}");
    }
}

#[test]
fn a_secret_comes_from_a_file_without_its_line_end() {
    let (_directory, path) = file(&format!("{SECRET}\r\n"));
    let file = path.to_str().unwrap();
    let loaded = load_with(&[("DOMAIN", "d"), ("JWT_SECRET_FILE", file)], None).unwrap();
    assert_eq!(loaded.config.jwt_secret.as_ref().unwrap().expose(), SECRET);
    assert_eq!(row(&loaded, "jwt_secret").origin, Origin::SecretFile(path));
}

#[test]
fn a_list_comes_from_a_file_in_lines_and_may_be_empty() {
    for (text, expected) in [
        ("ann\nbob\n", &["ann", "bob"][..]),
        ("ann, bob", &["ann", "bob"]),
        ("", &[]),
    ] {
        let (_directory, path) = file(text);
        let path = path.to_str().unwrap();
        let loaded = load_with(&[("DOMAIN", "d"), ("USERS_FILE", path)], None).unwrap();
        assert_eq!(loaded.config.users, expected, "{text:?}");
    }
}

#[test]
fn no_output_shows_a_secret() {
    let (_directory, path) = file(&format!(
        "[services.mcp-fetch]\nusers = ['ann']\nsecret = '{SECRET}'\n"
    ));
    let loaded = load_with(
        &[
            ("DOMAIN", "d"),
            ("JWT_SECRET", SECRET),
            ("REDIS_URL", SECRET),
        ],
        Some(&path),
    )
    .unwrap();
    let service = loaded.config.services.get("mcp-fetch").unwrap();
    assert_eq!(service.secret.as_ref().unwrap().expose(), SECRET);
    let shown = format!(
        "{:?}\n{:?}\n{}\n{:?}",
        loaded.config.jwt_secret,
        loaded.describe(),
        loaded.table(),
        environment(&[("A", SECRET)])
    );
    assert!(!shown.contains(SECRET), "{shown}");
    assert_eq!(row(&loaded, "jwt_secret").value, "[hidden]");
    assert_eq!(row(&loaded, "redis_url").value, "[hidden]");
    assert_eq!(row(&loaded, "services.mcp-fetch.secret").value, "[hidden]");
    assert_eq!(row(&loaded, "services.mcp-fetch.users").value, "ann");
    assert!(
        !loaded
            .invalid("jwt_secret", "is too short")
            .to_string()
            .contains(SECRET)
    );
}

#[test]
fn the_table_has_a_line_per_value() {
    let loaded = load_with(&[("DOMAIN", "example.com")], None).unwrap();
    let table = loaded.table();
    let line = |start: &str| {
        let line = table.lines().find(|line| line.starts_with(start)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("VARIABLE"), "VARIABLE KEY VALUE FROM");
    assert_eq!(
        line("DOMAIN"),
        "DOMAIN domain example.com environment variable DOMAIN"
    );
    assert_eq!(
        line("JWT_SECRET"),
        "JWT_SECRET jwt_secret [not set] default"
    );
    assert_eq!(line("LIFETIME"), "LIFETIME tokens.lifetime 3600 default");
}

#[test]
fn a_section_is_read_without_the_rest() {
    let (_directory, path) = file("domain = 1\n[proxy]\nport = 3001\n");
    let proxy = Section::Table("proxy");
    let pairs = environment(&[("DOMAIN", "d")]);
    let loaded: Loaded<Config> = load(&pairs, Some(&path), proxy, SETTINGS).unwrap();
    assert_eq!(loaded.config.port, 3001);
    assert_eq!(row(&loaded, "proxy.port").origin, Origin::File(path));

    let (_directory, path) = file("[proxy]\nprot = 3001\n");
    let error = load::<Config>(&pairs, Some(&path), proxy, SETTINGS).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("unknown key proxy.prot. Known keys there: domain, port"),
        "{error}"
    );

    let (_directory, path) = file("proxy = 1\n");
    let error = load::<Config>(&pairs, Some(&path), proxy, SETTINGS).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("proxy is not a table. Begin the section with a line [proxy]."),
        "{error}"
    );
}

const FILE: &[FileKey] = &[FileKey::new(
    "services.NAME.users",
    Kind::List,
    "who may use it",
)];

#[test]
fn the_reference_says_everything_of_every_setting() {
    let reference = Reference::new::<Config>("test", Section::Table("proxy"), SETTINGS, FILE);
    let described = serde_json::to_value(&reference).unwrap();
    assert_eq!(reference.settings.len(), SETTINGS.len());
    assert_eq!(
        described["settings"][0],
        serde_json::json!({
            "variable": "DOMAIN", "aliases": ["BASE_DOMAIN"], "file_variable": null, "key": "proxy.domain", "kind": "text", "unit": "",
            "default": null, "required": true, "secret": false, "help": "The domain of all hosts.",
            "how_to_get": "Set it to a name such as example.com.", "example": "example.com",
        })
    );
    let of = |variable: &str| {
        let mut settings = described["settings"].as_array().unwrap().iter();
        settings
            .find(|setting| setting["variable"] == variable)
            .unwrap()
    };
    assert_eq!(of("LIFETIME")["default"], "3600");
    assert_eq!(of("LIFETIME")["unit"], "seconds");
    assert_eq!(of("STRICT")["default"], "false");
    assert_eq!(of("JWT_SECRET")["file_variable"], "JWT_SECRET_FILE");
    assert_eq!(of("JWT_SECRET")["default"], serde_json::Value::Null);
    assert_eq!(described["file"][0]["key"], "proxy.services.NAME.users");
    assert_eq!(described["file"][0]["help"], "Who may use it.");
}

#[test]
fn a_key_that_nothing_describes_is_found() {
    let mut config = Config::default();
    config
        .services
        .insert("NAME".to_owned(), Service::default());
    let missing = Reference::missing(&config, SETTINGS, FILE);
    assert_eq!(missing, ["services.NAME.secret"]);
}
