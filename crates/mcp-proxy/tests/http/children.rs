//! Children that misbehave: each costs itself, never the bridge or another session.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::wait::{self, PATIENCE};

use crate::bridge::{around, initialize, scripted, stubborn, tool};

/// Waits until a process is gone; a zombie is not.
pub(crate) async fn gone(pid: &str) {
    let path = format!("/proc/{pid}");
    wait::until_true(&format!("the end of process {pid}"), PATIENCE, || {
        !std::path::Path::new(&path).exists()
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_child_that_dies_fails_every_call_at_once_and_its_session_is_gone() {
    let bridge = scripted(&[]).start().await;
    let (session, other) = (
        bridge.open("2025-11-25").await,
        bridge.open("2025-11-25").await,
    );
    let waiting = bridge
        .post(&tool("held", "hold", json!({})))
        .session(&session)
        .send();
    let dying = async {
        bridge.tool(&session, "echo", json!({})).await;
        let start = Instant::now();
        let answer = bridge
            .post(&tool("last", "exit", json!({ "status": 7 })))
            .session(&session)
            .send()
            .await
            .message()
            .await;
        (answer, start.elapsed())
    };
    let (mut waiting, (dying, took)) = tokio::join!(waiting, dying);
    for (answer, id) in [(waiting.message().await, "held"), (dying, "last")] {
        assert_eq!(
            (&answer["id"], &answer["error"]["code"]),
            (&json!(id), &json!(-32603))
        );
        let message = answer["error"]["message"].as_str().unwrap();
        assert_eq!(message, "the MCP server process ended with exit status 7");
    }
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(
        bridge
            .post(&tool(1, "echo", json!({})))
            .session(&session)
            .send()
            .await
            .status,
        404
    );
    bridge.tool(&other, "echo", json!({})).await;
    bridge.open("2025-11-25").await;
}

#[tokio::test]
async fn a_child_killed_by_a_signal_says_so() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let answer = bridge
        .post(&tool(1, "abort", json!({})))
        .session(&session)
        .send()
        .await
        .message()
        .await;
    assert_eq!(
        answer["error"]["message"],
        "the MCP server process was killed by signal 6"
    );
}

#[tokio::test]
async fn garbage_on_stdout_costs_one_log_line_each() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    assert_eq!(
        bridge.tool(&session, "garbage", json!({})).await,
        "after the garbage"
    );
    assert_eq!(
        bridge
            .tool(&session, "echo", json!({}))
            .await
            .matches("echo")
            .count(),
        1
    );
    assert!(bridge.logs.contain("it is not UTF-8"));
    assert!(
        bridge
            .logs
            .contain("skipped a line of the MCP server's stdout")
    );
}

#[tokio::test]
async fn an_over_long_line_is_dropped_without_being_gathered() {
    let bridge = scripted(&[])
        .with("MAX_MESSAGE_BYTES", "65536")
        .start()
        .await;
    let session = bridge.open("2025-11-25").await;
    let memory = || {
        let statm =
            std::fs::read_to_string(format!("/proc/{}/statm", bridge.process.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let before = memory();
    assert_eq!(
        bridge
            .tool(&session, "long_line", json!({ "bytes": 64 << 20 }))
            .await,
        "after the long line"
    );
    assert!(memory() < before + (16 << 20), "{before} -> {}", memory());
    assert!(bridge.logs.contain("dropped an over-long line"));
    bridge.tool(&session, "echo", json!({})).await;
}

#[tokio::test]
async fn ten_mebibytes_go_both_ways() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    assert_eq!(
        bridge
            .tool(&session, "big", json!({ "bytes": 10 << 20 }))
            .await
            .len(),
        10 << 20
    );
    let text = "y".repeat(7 << 20);
    let echoed = bridge.tool(&session, "echo", json!({ "text": text })).await;
    let echoed: Value = serde_json::from_str(&echoed).unwrap();
    assert_eq!(
        echoed["params"]["arguments"]["text"]
            .as_str()
            .unwrap()
            .len(),
        text.len()
    );
}

#[tokio::test]
async fn a_flood_on_stderr_is_drained_and_bounded_in_the_log() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    assert_eq!(
        bridge
            .tool(&session, "stderr", json!({ "lines": 50_000 }))
            .await,
        "after the flood"
    );
    let lines = bridge.logs.text().matches("eeeeeeeeee\"").count();
    assert!((1..5000).contains(&lines), "{lines} lines were logged");
}

#[tokio::test]
async fn a_child_that_ignores_everything_is_killed() {
    let bridge = stubborn(&["--ignore-eof"]).start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    let start = Instant::now();
    bridge
        .call(reqwest::Method::DELETE)
        .session(&session)
        .send()
        .await;
    gone(&pid).await;
    assert!(
        start.elapsed() >= Duration::from_secs(6),
        "it was given time: {:?}",
        start.elapsed()
    );
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn grandchildren_end_with_the_group() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let grandchild = bridge.tool(&session, "fork", json!({})).await;
    bridge
        .call(reqwest::Method::DELETE)
        .session(&session)
        .send()
        .await;
    gone(&grandchild).await;
}

#[tokio::test]
async fn a_grandchild_that_holds_stdout_does_not_hide_the_end_of_the_child() {
    let bridge = scripted(&[]).start().await;
    let session = bridge.open("2025-11-25").await;
    let held = bridge
        .post(&tool("held", "hold", json!({})))
        .session(&session)
        .send();
    let fork = async {
        bridge.tool(&session, "echo", json!({})).await;
        bridge.tool(&session, "fork", json!({ "exit": true })).await
    };
    let start = Instant::now();
    let (mut held, grandchild) = tokio::join!(held, fork);
    let answer = held.message().await;
    assert_eq!(
        answer["error"]["message"],
        "the MCP server process ended with exit status 3"
    );
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
    gone(&grandchild).await;
}

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

const ANNA: [(&str, &str); 4] = [
    ("x-auth-subject", "github|1"),
    ("x-auth-login", "../anna"),
    ("x-auth-client", "a"),
    ("x-auth-scope", ""),
];
const BEN: [(&str, &str); 4] = [
    ("x-auth-subject", "github|2"),
    ("x-auth-login", "-ben"),
    ("x-auth-client", "a"),
    ("x-auth-scope", ""),
];

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
            (&ANNA, "github%7C1", "%2E.%2Fanna"),
            (&BEN, "github%7C2", "%2Dben"),
        ] {
            let ask = async |name: &str| {
                let mut answer = if flags.contains(&"--modern") {
                    let call = crate::eras::modern(&bridge, 1, name, json!({}));
                    call.headers(who).send().await
                } else {
                    let session = bridge.open_as("2025-11-25", who).await;
                    let call = bridge.post(&tool(1, name, json!({}))).session(&session);
                    call.headers(who).send().await
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

#[tokio::test]
async fn a_person_may_end_a_call_of_theirs_without_pausing_others() {
    let bridge = scripted(&[]).ready().await;
    for _ in 0..8 {
        let session = bridge.open("2025-11-25").await;
        let call = bridge
            .post(&tool(1, "exit", json!({ "status": 1 })))
            .session(&session);
        assert_eq!(call.send().await.message().await["error"]["code"], -32603);
    }
    bridge.open("2025-11-25").await;
}

#[tokio::test]
async fn an_unanswered_initialize_ends_its_child() {
    let directory = tempfile::tempdir().unwrap();
    let pids = directory.path().join("pids");
    let bridge = scripted(&["--silent", "--announce", pids.to_str().unwrap()])
        .with_file("[proxy.limits]\ninitialize = 1\n")
        .start()
        .await;
    let mut answer = bridge.post(&initialize("2025-11-25")).send().await;
    assert_eq!(answer.status, 504);
    let body = answer.json().await;
    assert_eq!(
        (&body["id"], &body["error"]["code"]),
        (&json!("init"), &json!(-32603))
    );
    for pid in std::fs::read_to_string(&pids).unwrap().lines().take(2) {
        gone(pid).await;
    }
}

#[tokio::test]
async fn children_die_with_a_killed_bridge() {
    let mut bridge = stubborn(&["--ignore-eof"]).start().await;
    let session = bridge.open("2025-11-25").await;
    let pid = bridge.tool(&session, "pid", json!({})).await;
    bridge.process.kill().await.unwrap();
    gone(&pid).await;
}
