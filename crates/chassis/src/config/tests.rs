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

/// The error of a configuration, which is always one line and never shows the secret.
fn error(pairs: &[(&str, &str)], text: &str) -> String {
    let (_directory, path) = file(text);
    let mut all = vec![("DOMAIN", "example.com")];
    all.extend_from_slice(pairs);
    let error = load_with(&all, Some(&path)).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(!error.contains(SECRET), "{error}");
    error.replace(&path.display().to_string(), "gateway.toml")
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

#[test]
fn a_missing_value_says_how_to_get_it() {
    let error = load_with(&[], None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "DOMAIN (domain in gateway.toml) is not set. Set it to a name such as example.com."
    );
    let loaded = load_with(&[("DOMAIN", "d")], None).unwrap();
    assert_eq!(
        loaded.missing("jwt_secret").to_string(),
        "JWT_SECRET (jwt_secret in gateway.toml) is not set. Make one with: openssl rand -hex 32."
    );
}

#[test]
fn a_check_of_the_service_names_value_and_origin() {
    let loaded = load_with(&[("DOMAIN", "a b\nc")], None).unwrap();
    assert_eq!(
        loaded.invalid("domain", "is not a host name").to_string(),
        "DOMAIN (domain in gateway.toml) is \"a b\\nc\" (environment variable DOMAIN), which is not a host name. \
         Set it to a name such as example.com."
    );
    let loaded = load_with(&[("DOMAIN", "d"), ("JWT_SECRET", SECRET)], None).unwrap();
    assert_eq!(
        loaded
            .invalid("jwt_secret", "is shorter than 32 bytes")
            .to_string(),
        "JWT_SECRET (jwt_secret in gateway.toml) is [hidden] (environment variable JWT_SECRET), \
         which is shorter than 32 bytes. Make one with: openssl rand -hex 32."
    );
}

#[test]
fn malformed_variables_are_explained() {
    assert_eq!(
        error(&[("LIFETIME", "1h")], ""),
        "LIFETIME (tokens.lifetime in gateway.toml) is \"1h\" (environment variable LIFETIME), \
         which is not a whole number of seconds. How long a token lives."
    );
    assert_eq!(
        error(&[("STRICT", "maybe")], ""),
        "STRICT (tokens.strict in gateway.toml) is \"maybe\" (environment variable STRICT), \
         which is neither true nor false. Refuse what is doubtful."
    );
    assert_eq!(
        error(&[("PORT", "http")], ""),
        "PORT (port in gateway.toml) is \"http\" (environment variable PORT), \
         which is not a whole number. The public port."
    );
    assert_eq!(
        error(&[("PORT", "70000")], ""),
        "PORT (port in gateway.toml) is \"70000\" (environment variable PORT), \
         which is not a whole number from 0 to 65535. The public port."
    );
    assert_eq!(
        error(&[("PROVIDER", "gitlab")], ""),
        "PROVIDER (provider in gateway.toml) is \"gitlab\" (environment variable PROVIDER), \
         which is not one of github, local. Who signs people in."
    );
}

#[test]
fn two_names_of_one_setting_must_agree() {
    assert_eq!(
        error(&[("BASE_DOMAIN", "example.org")], ""),
        "DOMAIN and BASE_DOMAIN are two names of one setting and differ. Keep DOMAIN, remove BASE_DOMAIN."
    );
    assert!(load_with(&[("DOMAIN", "d"), ("BASE_DOMAIN", "d")], None).is_ok());
}

#[test]
fn a_secret_has_one_source() {
    assert_eq!(
        error(
            &[
                ("JWT_SECRET", SECRET),
                ("JWT_SECRET_FILE", "/run/secrets/jwt")
            ],
            ""
        ),
        "JWT_SECRET and JWT_SECRET_FILE are both set. Keep one of them."
    );
}

#[test]
fn a_secret_file_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let absent = directory.path().join("absent");
    let absent = absent.to_str().unwrap();
    assert_eq!(
        error(&[("JWT_SECRET_FILE", absent)], ""),
        format!(
            "JWT_SECRET_FILE names {absent}, which cannot be read: No such file or directory (os error 2). \
             Put the value of JWT_SECRET into that file, and nothing else."
        )
    );
    let (_directory, empty) = file("\n");
    assert!(error(&[("JWT_SECRET_FILE", empty.to_str().unwrap())], "").contains("which is empty."));
    let (_directory, huge) = file(&"x".repeat(70_000));
    assert!(
        error(&[("JWT_SECRET_FILE", huge.to_str().unwrap())], "")
            .contains("holds 70000 bytes (at most 65536)")
    );
}

#[test]
fn the_file_is_held_to_its_form() {
    assert_eq!(
        error(&[], "domian = 'x'\n"),
        "configuration file gateway.toml: unknown key domian. \
         Known keys there: domain, port, provider, users, jwt_secret, redis_url, tokens, services."
    );
    assert_eq!(
        error(&[], "[services.mcp-fetch]\nuser = ['ann']\n"),
        "configuration file gateway.toml: unknown key services.mcp-fetch.user. Known keys there: users, secret."
    );
    assert_eq!(
        error(&[], "[tokens]\nlifetime = '1h'\n"),
        "LIFETIME (tokens.lifetime in gateway.toml) is \"1h\" (file gateway.toml), \
         which is not a whole number from 0. How long a token lives."
    );
    assert_eq!(
        error(&[], "[services.mcp-fetch]\nusers = 'ann'\n"),
        "services.mcp-fetch.users in gateway.toml is \"ann\" (file gateway.toml), \
         which is not a list in brackets. See the configuration reference."
    );
}

#[test]
fn text_that_is_not_toml_is_refused_without_quoting_it() {
    let error = error(&[], &format!("port = 1\njwt_secret = '{SECRET}\n"));
    assert!(
        error.starts_with("configuration file gateway.toml: TOML parse error at line 2, column"),
        "{error}"
    );
    assert!(
        error.ends_with("Correct that line; the format is TOML."),
        "{error}"
    );
}

#[test]
fn a_secret_of_the_wrong_type_is_not_shown() {
    // 4711 stands for a secret that looks like a number.
    let in_table = error(&[], "jwt_secret = 4711\n");
    assert_eq!(
        in_table,
        "JWT_SECRET (jwt_secret in gateway.toml) is [hidden] (file gateway.toml), which is not a secret in quotes. \
         Make one with: openssl rand -hex 32."
    );
    let elsewhere = error(&[], "[services.mcp-fetch]\nsecret = 4711\n");
    assert!(
        elsewhere.starts_with("services.mcp-fetch.secret in gateway.toml is [hidden]"),
        "{elsewhere}"
    );
    assert!(!elsewhere.contains("4711"), "{elsewhere}");
}

#[test]
fn pasted_output_of_the_config_command_is_no_secret() {
    assert!(error(&[("JWT_SECRET", "[hidden]")], "").contains("is not a secret in quotes"));
}

#[test]
fn a_variable_that_is_not_text_is_refused() {
    let message = ConfigError::NotText {
        variable: "DOMAIN".to_owned(),
    };
    assert_eq!(
        message.to_string(),
        "DOMAIN holds bytes that are not UTF-8. Set it to plain text."
    );
}

#[test]
fn a_named_file_must_be_there() {
    let (_directory, path) = file("");
    let named = path.to_str().unwrap();
    let found = find_file(&environment(&[(CONFIG_VARIABLE, named)]), None).unwrap();
    assert_eq!(found, Some(path.clone()));
    let absent = Path::new("/nowhere/gateway.toml");
    let error = find_file(&environment(&[(CONFIG_VARIABLE, named)]), Some(absent)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "configuration file /nowhere/gateway.toml: there is no such file. \
         Name an existing file with --config or GATEWAY_CONFIG."
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
