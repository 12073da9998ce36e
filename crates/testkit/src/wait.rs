//! Waiting for something to become true: by asking again until a deadline, never by sleeping and hoping.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a story waits for a process or a server before it says that it did not come.
///
/// Generous on purpose: two cores may be running Node, Python and Traefik at once. It is only ever used up by a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(15);

/// Asks `question` until it answers something, at most for `limit`.
///
/// # Errors
///
/// After `limit`: `what` was awaited in vain.
pub async fn until<T, Question, Answer>(
    what: &str,
    limit: Duration,
    mut question: Question,
) -> Result<T>
where
    Question: FnMut() -> Answer,
    Answer: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = question().await {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain for {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// As [`until`], for a question that needs no waiting itself.
///
/// # Errors
///
/// After `limit`: `what` was awaited in vain.
pub async fn until_true(
    what: &str,
    limit: Duration,
    mut question: impl FnMut() -> bool,
) -> Result<()> {
    until(what, limit, || {
        let answer = question().then_some(());
        async move { answer }
    })
    .await
}
