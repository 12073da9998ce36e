//! Audit lines of what people remember and end themselves.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use chassis::telemetry::{LogConfig, LogFormat, subscriber};
use serde_json::{Value, json};

use crate::gateway::{Gateway, person};
use crate::{account, remembered};

/// What services in this process have logged since a test asked for it.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

static CAPTURED: LazyLock<Captured> = LazyLock::new(|| {
    let captured = Captured::default();
    let writer = captured.clone();
    let log = LogConfig {
        level: "info".to_owned(),
        format: LogFormat::Json,
    };
    let subscriber = subscriber(&log, false, move || writer.clone(), None).unwrap();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    captured
});

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The audit lines of an event that have this value in this field. Other tests of this process may have lines, too.
fn told(event: &str, field: &str, value: &str) -> Vec<Value> {
    let text = String::from_utf8(CAPTURED.0.lock().unwrap().clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let lines: Vec<Value> = lines
        .filter(|line: &Value| {
            line["target"] == "audit" && line["event"] == event && line[field] == value
        })
        .collect();
    for line in &lines {
        let request = line["span"]["request_id"].as_str();
        assert!(request.is_some_and(|id| !id.is_empty()), "{line}");
    }
    lines
}

#[tokio::test]
async fn what_is_remembered_recalled_and_withdrawn_is_told() {
    LazyLock::force(&CAPTURED);
    let (gateway, provider) = remembered::start().await;
    let client = gateway.web_client().await;
    // Remembered once, and recalled once.
    let ann = remembered::remembered(&gateway, &client).await;
    let [line] = told("consent_remembered", "client", &client.id)
        .try_into()
        .unwrap();
    assert_eq!(line["service"], "mcp-fetch");
    let subject = line["subject"].as_str().unwrap().to_owned();
    assert_eq!(told("login_ok", "subject", &subject).len(), 2);
    let [line] = told("consent_recalled", "client", &client.id)
        .try_into()
        .unwrap();
    assert_eq!(
        (&line["subject"], &line["service"]),
        (&json!(subject), &json!("mcp-fetch"))
    );
    assert!(told("consent_not_recalled", "client", &client.id).is_empty());
    // Somebody else signs in there.
    provider.state().claims = json!({"sub": "2", "preferred_username": "bob"});
    remembered::ask(&gateway, &ann, &client, &[]).await;
    let [line] = told("consent_not_recalled", "client", &client.id)
        .try_into()
        .unwrap();
    assert_eq!(line["service"], "mcp-fetch");
    let withdrawn = gateway
        .admin("DELETE", &["users", &subject, "consents"])
        .await;
    assert_eq!(withdrawn.status, 200, "{withdrawn:?}");
    let [line] = told("consent_withdrawn", "subject", &subject)
        .try_into()
        .unwrap();
    assert!(line["consent"].is_string(), "{line}");
}

#[tokio::test]
async fn what_somebody_ends_at_the_account_is_told() {
    LazyLock::force(&CAPTURED);
    let gateway = Gateway::local(&[]).await;
    let bob = person("bob");
    let client = gateway.web_client().await;
    for _ in 0..2 {
        gateway.connect(&bob, &client).await;
    }
    let page = account::sign_in(&gateway, &bob).await;
    assert!(!told("account_opened", "subject", "local:bob").is_empty());
    let form = page.form("session").unwrap();
    let session = form.value("session").unwrap().to_owned();
    let page = account::person_submits(&bob, &page, &form).await;
    let [line] = told("session_revoked", "session", &session)
        .try_into()
        .unwrap();
    assert_eq!(line["subject"], "local:bob");
    let before = told("person_revoked", "subject", "local:bob").len();
    account::person_submits(&bob, &page, &page.form("everything").unwrap()).await;
    let after = told("person_revoked", "subject", "local:bob");
    assert_eq!(after.len(), before + 1);
    assert!(after.iter().all(|line| line["by"].is_null()), "{after:?}");
}
