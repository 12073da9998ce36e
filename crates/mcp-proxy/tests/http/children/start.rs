//! What a child is started with: its command line and environment, its place among processes, and its limits.

use serde_json::{Value, json};
use testkit::wait::PATIENCE;

use crate::bridge::{around, scripted, tool};
use crate::people::person;

#[tokio::test]
async fn a_child_gets_no_variable_that_is_not_listed() {
    let bridge = scripted(&[])
        .with("GATEWAY_JWT_SECRET", "not yours")
        .with("REDIS_PASSWORD", "not yours")
        .with("GITHUB_TOKEN", "yours")
        .with("MCP_ENV", "GITHUB_TOKEN,NOT_SET")
        .with_file("[proxy.env.set]\nSET = \"value\"\n")
        .start()
        .await;
    let session = bridge.open("2025-11-25").await;
    let environment = bridge.tool(&session, "environment", json!({})).await;
    let environment: Value = serde_json::from_str(&environment).unwrap();
    let mut names: Vec<&str> = environment
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    names.retain(|name| !["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR"].contains(name));
    assert_eq!(names, ["GITHUB_TOKEN", "SET"]);
    assert_eq!(environment["SET"], "value");
}

#[tokio::test]
async fn the_command_line_is_that_of_the_configuration_and_no_shell_reads_it() {
    let arguments = [
        "$(touch made)",
        "; touch made",
        "a b",
        "*",
        "\"",
        "`touch made`",
    ];
    let bridge = scripted(&[&["--ignored"], &arguments[..]].concat())
        .start()
        .await;
    let session = bridge.open("2025-11-25").await;
    // What a request says changes nothing of it.
    let body = tool(1, "arguments", json!({ "--flag": "; touch made" }));
    let call = bridge.post(&body).session(&session);
    let call = call
        .header("x-argument", "--flag")
        .header("mcp-name", "--flag");
    let answer = call.send().await.message().await;
    let seen = answer["result"]["content"][0]["text"].as_str().unwrap();
    let seen: Value = serde_json::from_str(seen).unwrap();
    assert_eq!(seen.as_array().unwrap()[1..], arguments.map(|it| json!(it)));
    assert!(!bridge.has_file("made"));
}

#[tokio::test]
async fn a_child_leads_its_own_group_and_inherits_nothing_but_its_pipes() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    let descriptors = |process: &str| {
        let entries = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let links = entries.filter_map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            // The one that reads the directory is gone by now.
            Some((name, std::fs::read_link(entry.path()).ok()?))
        });
        links.collect::<std::collections::BTreeMap<_, _>>()
    };
    let mut seen = descriptors(&pid);
    // What whoever ran this test left open goes through the bridge as well; it is nothing of the bridge.
    for (name, link) in descriptors("self") {
        if !["0", "1", "2"].contains(&&*name) && seen.get(&name) == Some(&link) {
            seen.remove(&name);
        }
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), ["0", "1", "2"], "{seen:?}");
    assert!(
        seen.values()
            .all(|link| link.to_string_lossy().starts_with("pipe:")),
        "{seen:?}"
    );
    // Field 5 of proc_pid_stat(5), the third after the name in brackets.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let group = stat.rsplit_once(") ").unwrap().1.split(' ').nth(2).unwrap();
    assert_eq!(group, pid);
}

#[tokio::test]
async fn arguments_and_variables_name_the_person_in_one_component_of_a_path() {
    for flags in [&[][..], &["--modern"][..]] {
        let flags = [
            flags,
            &["--ignored", "/data/{user.id}/{user.login}", "{user.login}"],
        ]
        .concat();
        let bridge = scripted(&flags)
            .with("REQUIRE_IDENTITY", "true")
            .with("HOME_OF_PERSON", "/home/{user.login}")
            .with("LANG", "{user.id} is text here")
            .with("MCP_ENV", "HOME_OF_PERSON")
            .with_file("[proxy.env.set]\nPERSON = \"{user.id}\"\n")
            .ready()
            .await;
        for (who, id, login) in [
            (
                person("github|1", "../anna", "a", ""),
                "github%7C1",
                "%2E.%2Fanna",
            ),
            (person("github|2", "-ben", "a", ""), "github%7C2", "%2Dben"),
        ] {
            let ask = async |name: &str| {
                let mut answer = if flags.contains(&"--modern") {
                    let call = crate::eras::modern(&bridge, 1, name, json!({}));
                    call.headers(&who).send().await
                } else {
                    let session = bridge.open_as("2025-11-25", &who).await;
                    let call = bridge.post(&tool(1, name, json!({}))).session(&session);
                    call.headers(&who).send().await
                };
                let text = answer.message().await["result"]["content"][0]["text"].clone();
                serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap()
            };
            let arguments = ask("arguments").await;
            let arguments = arguments.as_array().unwrap();
            assert_eq!(
                arguments[arguments.len() - 2..],
                [json!(format!("/data/{id}/{login}")), json!(login)]
            );
            let environment = ask("environment").await;
            assert_eq!(environment["HOME_OF_PERSON"], format!("/home/{login}"));
            assert_eq!(environment["PERSON"], id);
            assert_eq!(environment["LANG"], "{user.id} is text here");
        }
    }
}

#[tokio::test]
async fn a_placeholder_that_nobody_can_fill_stops_the_bridge_with_one_clear_line() {
    for (argument, identity, said) in [
        ("{user.id}", "false", "set REQUIRE_IDENTITY=true"),
        (
            "{user.mail}",
            "true",
            "unknown placeholder at `{user.mail}`",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let logs = testkit::process::Logs::default();
        let setup = scripted(&["--ignored", argument]).with("REQUIRE_IDENTITY", identity);
        let (command, _) = setup.command(&directory);
        let mut process = command.start(&logs).unwrap();
        assert_eq!(process.wait(PATIENCE).await.unwrap().code(), Some(1));
        logs.wait_for(said).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_child_may_use_is_limited_by_the_system() {
    let bridge = scripted(&[])
        .with("CHILD_MEMORY_BYTES", "268435456")
        .with("CHILD_OPEN_FILES", "100")
        .with("CHILD_PROCESSES", "4000")
        .with("CHILD_CPU_SECONDS", "60")
        .start()
        .await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    for (name, soft) in [
        ("Max data size", "268435456"),
        ("Max open files", "100"),
        ("Max processes", "4000"),
        ("Max cpu time", "60"),
        ("Max core file size", "0"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let mut values = line.trim_start_matches(name).split_whitespace();
        assert_eq!(
            (values.next(), values.next()),
            (Some(soft), Some(soft)),
            "{line}"
        );
    }
    // It is the child that is over the limit, and nobody else.
    let other = bridge.open("2025-11-25").await;
    let call = bridge.post(&tool(1, "allocate", json!({ "bytes": 1_u64 << 30 })));
    let answer = call.session(&session).send().await.message().await;
    assert_eq!(answer["error"]["code"], -32603, "{answer}");
    bridge.tool(&other, "echo", json!({})).await;
}

#[tokio::test]
async fn a_missing_command_stops_the_bridge_with_one_clear_line() {
    for (command, said) in [
        (
            "no-such-command",
            "the command `no-such-command` was not found on the PATH",
        ),
        (
            "./no/such/file",
            "the command `./no/such/file` is not an executable file",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let logs = testkit::process::Logs::default();
        let (command, _) = around(&[command]).command(&directory);
        let mut process = command.start(&logs).unwrap();
        let status = process.wait(PATIENCE).await.unwrap();
        assert_eq!(status.code(), Some(1));
        logs.wait_for(said).await.unwrap();
    }
}
