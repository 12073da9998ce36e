//! The command line: what is wrong with it is one clear line, and the subcommands say what they are asked.

use testkit::process::{Command, Logs};
use testkit::wait::PATIENCE;

use crate::bridge::scripted;

/// Runs it until it ends and has said `said`: exit status, and what it said until then.
async fn run(variables: &[(&str, &str)], arguments: &[&str], said: &str) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let logs = Logs::default();
    let mut command = Command::new("mcp-proxy", env!("CARGO_BIN_EXE_mcp-proxy"))
        .current_dir(&directory)
        .env("PRIVATE_PORT", "0")
        .args(arguments);
    for (name, value) in variables {
        command = command.env(name, value);
    }
    let mut process = command.start(&logs).unwrap();
    let status = process.wait(PATIENCE).await.unwrap();
    if !said.is_empty() {
        let heard = logs.wait_for(said).await;
        heard.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    }
    (status.code(), logs.text())
}

#[tokio::test]
async fn nonsense_is_answered_with_what_to_do() {
    for (variables, arguments, status, said) in [
        (&[][..], &[][..], 1, "mcp-proxy -- mcp-server-fetch"),
        (&[], &["mcp-server-fetch"], 2, "goes after `--`"),
        (&[], &["--prot", "1", "--", "cat"], 2, "--port"),
        (&[], &["--port", "99999", "--", "cat"], 2, "0..=65535"),
        (
            &[],
            &["--host", "foo", "--", "cat"],
            2,
            "'foo' for '--host <HOST>'",
        ),
        (&[("HOST", "foo")], &["--", "cat"], 1, "HOST"),
        (&[("PORT", "http")], &["--", "cat"], 1, "PORT"),
        (
            &[("MAX_SESSIONS", "0")],
            &["--", "cat"],
            1,
            "must be at least 1",
        ),
        // Comments without a pause between them, and a time that no clock has.
        (&[("KEEP_ALIVE", "0")], &["--", "cat"], 1, "KEEP_ALIVE"),
        (
            &[("REQUEST_TIMEOUT", "99999999999")],
            &["--", "cat"],
            1,
            "at most 315360000 seconds",
        ),
        (
            &[("CHILD_SHARING", "all")],
            &["--", "cat"],
            1,
            "CHILD_SHARING",
        ),
        (&[], &["--config", "none.toml", "--", "cat"], 1, "none.toml"),
        (&[], &["exec-child"], 127, "this subcommand is internal"),
    ] {
        let (code, text) = run(variables, arguments, said).await;
        assert_eq!(code, Some(status), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[tokio::test]
async fn config_shows_each_value_with_its_origin_and_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    std::fs::write(
        &file,
        "[proxy]\nallowed_hosts = [\"mcp.example.com\"]\n[proxy.env.set]\nTOKEN = \"not to be shown\"\n",
    )
    .unwrap();
    let variables = [("MAX_SESSIONS", "7")];
    let arguments = ["config", "--config", file.to_str().unwrap()];
    let (code, text) = run(&variables, &arguments, "LOG_FORMAT").await;
    assert_eq!(code, Some(0), "{text}");
    for (name, words) in [
        ("MAX_SESSIONS", &["7", "environment"][..]),
        ("ALLOWED_HOSTS", &["mcp.example.com", "gateway.toml"]),
        ("PORT", &["3000", "default"]),
    ] {
        let line = text
            .lines()
            .find(|line| line.split_whitespace().any(|word| word == name))
            .unwrap_or_else(|| panic!("{name} in {text}"));
        for word in words {
            assert!(line.contains(word), "{word} in {line}");
        }
    }
    assert!(!text.contains("not to be shown"), "{text}");
}

#[tokio::test]
async fn healthcheck_says_whether_the_service_is_ready() {
    for (flags, ready, said) in [
        (&[][..], true, ""),
        (&["--exit", "9"][..], false, "not ready"),
    ] {
        let setup = scripted(flags);
        let bridge = if ready {
            setup.ready().await
        } else {
            setup.start().await
        };
        let port = bridge.private.port().to_string();
        let (code, text) = run(&[("PRIVATE_PORT", &port)], &["healthcheck"], said).await;
        assert_eq!(code, Some(i32::from(!ready)), "{text}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let (code, text) = run(&[("PRIVATE_PORT", &port)], &["healthcheck"], "refused").await;
    assert_eq!(code, Some(1));
    assert_eq!(text.matches("refused").count(), 1, "{text}");
}
