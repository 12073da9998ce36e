//! Signs that a child is of no use any more, although it runs.
//!
//! A request that ran out of time is no proof: its tool may just be slow. So the child is asked for a sign of life then, and
//! ended when it gives none; one that goes on giving signs but leaves [`TOO_MANY`] requests in a row unanswered is ended as well.

use std::time::Duration;

use tokio::time::Instant;

use crate::version::Version;

/// So many in a row, with nothing readable between them, and the child is ended.
const TOO_MANY: u32 = 3;

/// What has been held against a child since it last said something readable.
#[derive(Debug, Default)]
pub struct Doubt {
    given_up: u32,
    unreadable: u32,
    /// The number of the ping that has no answer yet, and when it was sent.
    ping: Option<(u64, Instant)>,
}

/// What becomes of a child that is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Goes,
    /// It must be pinged, and [`Doubt::pinged`] told.
    Ping,
    /// It must be ended, for this reason.
    Ends(&'static str),
}

impl Doubt {
    /// It said something readable that is no answer to a ping.
    pub fn spoke(&mut self) {
        *self = Self::default();
    }

    /// A request was given up.
    pub fn gave_up(&mut self) {
        self.given_up += 1;
    }

    /// A line was too long or no text. `true`: it was the last straw.
    pub fn was_unreadable(&mut self) -> bool {
        self.unreadable += 1;
        self.unreadable == TOO_MANY
    }

    /// A ping was sent under this number.
    pub fn pinged(&mut self, number: u64, now: Instant) {
        self.ping = Some((number, now));
    }

    /// It answered the request of this number. `true`: that was the ping, which says that it lives, and nothing of requests.
    pub fn is_ping(&mut self, number: Option<u64>) -> bool {
        let answered = number.is_some() && self.ping.map(|(ping, _)| ping) == number;
        if answered {
            self.ping = None;
            self.unreadable = 0;
        }
        answered
    }

    /// What becomes of it. `just_now`: requests were given up a moment ago; `patience`: the time for the answer to a ping.
    #[must_use]
    pub fn verdict(&self, just_now: bool, patience: Duration, now: Instant) -> Verdict {
        match self.ping {
            _ if self.given_up >= TOO_MANY => Verdict::Ends(HUNG),
            Some((_, sent)) if now.duration_since(sent) >= patience => Verdict::Ends(DEAF),
            None if just_now => Verdict::Ping,
            _ => Verdict::Goes,
        }
    }
}

/// The ping of revisions up to 2025-11-25.
#[must_use]
pub fn ping(number: u64) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"ping"}}"#).into_bytes()
}

/// A request that every server of 2026-07-28 must answer, where there is no ping.
#[must_use]
pub fn discover(number: u64) -> Vec<u8> {
    let params = serde_json::json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": Version::V20260728.as_str(),
        "io.modelcontextprotocol/clientInfo": client_info(),
        "io.modelcontextprotocol/clientCapabilities": {},
    }});
    serde_json::json!({ "jsonrpc": "2.0", "id": number, "method": "server/discover", "params": params })
        .to_string()
        .into_bytes()
}

/// What this bridge says of itself where it is the client.
#[must_use]
pub fn client_info() -> serde_json::Value {
    serde_json::json!({ "name": "mcp-proxy", "version": chassis::build_info::VERSION })
}

/// Why a child is ended that answers nothing.
pub const HUNG: &str =
    "the MCP server answered nothing while three requests ran out of time, so it was ended";
/// Why a child is ended that gives no sign of life.
pub const DEAF: &str = "the MCP server left a request unanswered and a ping, too, so it was ended";
/// Why a child is ended that cannot be understood.
pub const UNREADABLE: &str =
    "the MCP server wrote three lines in a row that were too long or no text, so it was ended";

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn a_ping_without_an_answer_ends_the_child_when_its_time_is_over() {
        let (mut doubt, now) = (Doubt::default(), Instant::now());
        assert_eq!(doubt.verdict(false, PATIENCE, now), Verdict::Goes);
        doubt.gave_up();
        assert_eq!(doubt.verdict(true, PATIENCE, now), Verdict::Ping);
        doubt.pinged(7, now);
        assert_eq!(
            doubt.verdict(true, PATIENCE, now),
            Verdict::Goes,
            "one ping at a time"
        );
        let early = now + PATIENCE - Duration::from_millis(1);
        assert_eq!(doubt.verdict(false, PATIENCE, early), Verdict::Goes);
        assert_eq!(
            doubt.verdict(false, PATIENCE, now + PATIENCE),
            Verdict::Ends(DEAF)
        );
        assert!(!doubt.is_ping(Some(8)) && !doubt.is_ping(None));
        assert!(doubt.is_ping(Some(7)));
        assert_eq!(
            doubt.verdict(false, PATIENCE, now + PATIENCE),
            Verdict::Goes
        );
    }

    #[test]
    fn answers_to_pings_do_not_excuse_three_requests_without_one() {
        let (mut doubt, now) = (Doubt::default(), Instant::now());
        for number in 0..2 {
            doubt.gave_up();
            doubt.pinged(number, now);
            assert!(doubt.is_ping(Some(number)));
        }
        doubt.gave_up();
        assert_eq!(doubt.verdict(true, PATIENCE, now), Verdict::Ends(HUNG));
        doubt.spoke();
        doubt.gave_up();
        assert_eq!(doubt.verdict(true, PATIENCE, now), Verdict::Ping);
    }
}
