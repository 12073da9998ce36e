//! What a session sent last on its streams, so that a client that lost a connection can go on where it stopped.
//!
//! MCP 2025-11-25, streamable HTTP, "Resumability and Redelivery": an event id names its stream, and only that stream is
//! replayed.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

/// The stream opened by GET, which belongs to no call.
pub const STANDALONE: u64 = 0;

/// The id of an event: which stream, and its place there. Unique within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    /// The stream, [`STANDALONE`] or that of a POST.
    pub stream: u64,
    /// Its place in the stream, from 1; 0 is the place before the first.
    pub place: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.stream, self.place)
    }
}

/// The text is not an event id of ours.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAnEventId;

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        let (stream, place) = text.split_once('-').ok_or(NotAnEventId)?;
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain
                .then(|| text.parse().ok())
                .flatten()
                .ok_or(NotAnEventId)
        };
        Ok(Self {
            stream: number(stream)?,
            place: number(place)?,
        })
    }
}

/// The last events of a session, oldest first, within a budget of bytes.
#[derive(Debug)]
pub struct Replay {
    events: VecDeque<(EventId, Bytes)>,
    bytes: usize,
    limit: usize,
}

impl Replay {
    /// Remembers events of at most `limit` bytes together.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    /// Remembers an event and forgets the oldest ones beyond the budget. An event over the whole budget is not kept.
    /// Answers the streams that lost an event.
    pub fn push(&mut self, id: EventId, event: Bytes) -> Vec<u64> {
        let mut forgotten = Vec::new();
        if event.len() > self.limit {
            return forgotten;
        }
        self.bytes += event.len();
        self.events.push_back((id, event));
        while self.bytes > self.limit
            && let Some((id, event)) = self.events.pop_front()
        {
            self.bytes -= event.len();
            forgotten.push(id.stream);
        }
        forgotten
    }

    /// The remembered events of one stream after a place.
    pub fn after(&self, last: EventId) -> impl Iterator<Item = &Bytes> {
        self.events
            .iter()
            .filter(move |(id, _)| id.stream == last.stream && id.place > last.place)
            .map(|(_, event)| event)
    }

    /// The budget in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_are_read_strictly() {
        assert_eq!(
            "12-3".parse(),
            Ok(EventId {
                stream: 12,
                place: 3
            })
        );
        for wrong in [
            "",
            "12",
            "12-",
            "-3",
            "+1-2",
            "1-2-3",
            "a-b",
            " 1-2",
            "99999999999999999999-1",
        ] {
            assert_eq!(wrong.parse::<EventId>(), Err(NotAnEventId), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn one_stream_is_replayed_in_order_and_within_the_budget(
            streams in proptest::collection::vec(0_u64..4, 0..200), limit in 1_usize..400, from in 0_u64..4, place in 0_u64..50,
        ) {
            let mut replay = Replay::new(limit);
            let mut places = [0_u64; 4];
            for stream in streams {
                let index = usize::try_from(stream).unwrap();
                places[index] += 1;
                let id = EventId { stream, place: places[index] };
                replay.push(id, Bytes::from(id.to_string()));
                proptest::prop_assert!(replay.bytes <= limit);
            }
            let replayed: Vec<EventId> = replay
                .after(EventId { stream: from, place })
                .map(|event| std::str::from_utf8(event).unwrap().parse().unwrap())
                .collect();
            proptest::prop_assert!(replayed.iter().all(|id| id.stream == from && id.place > place));
            proptest::prop_assert!(replayed.windows(2).all(|pair| pair[0].place + 1 == pair[1].place));
        }
    }
}
