//! What is said of a configuration that is wrong: one line, with the value, where it stands and what to do, and no secret.

use super::*;

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
