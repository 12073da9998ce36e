//! The event streams of one session: one per POST that needed one, and the one opened by GET.
//!
//! An event goes to exactly one stream (MCP 2025-11-25, streamable HTTP, "Multiple Connections"). It is remembered there
//! whether or not anybody reads it now, within the budget of [`Replay`].

use std::collections::HashMap;

use crate::replay::{EventId, Replay, STANDALONE};
use crate::sse::{self, Inlet, Outlet};

/// The streams of one session.
#[derive(Debug)]
pub struct Streams {
    table: HashMap<u64, Stream>,
    replay: Replay,
    /// Bytes that may wait for one reader.
    outlet_limit: usize,
    /// Does the client know events without data? (MCP 2025-11-25)
    pub priming: bool,
}

#[derive(Debug, Default)]
struct Stream {
    outlet: Option<Outlet>,
    /// Place of the last event.
    place: u64,
    /// Place of the last event that was handed to a reader.
    delivered: u64,
    /// How many of its events are remembered.
    remembered: usize,
    /// Nothing more will come.
    finished: bool,
}

impl Stream {
    fn hand_over(&mut self, chunk: bytes::Bytes, place: u64) {
        if let Some(outlet) = &self.outlet {
            if outlet.send(chunk).is_ok() {
                self.delivered = place;
            } else {
                // A lost or slow reader loses its stream and may resume it; the child never waits for it.
                self.outlet = None;
            }
        }
    }
}

impl Streams {
    /// `replay_limit`: bytes of events remembered; `outlet_limit`: bytes that may wait for one reader.
    #[must_use]
    pub fn new(replay_limit: usize, outlet_limit: usize) -> Self {
        let table = HashMap::from([(STANDALONE, Stream::default())]);
        Self {
            table,
            replay: Replay::new(replay_limit),
            outlet_limit,
            priming: false,
        }
    }

    /// Opens the stream of a POST.
    pub fn open(&mut self, stream: u64) -> Inlet {
        self.table.insert(stream, Stream::default());
        self.attach(EventId { stream, place: 0 })
    }

    /// Gives a stream a new reader, which gets what came after `last`. The reader before it, if any, is let go.
    fn attach(&mut self, last: EventId) -> Inlet {
        let (outlet, inlet) = sse::channel(self.outlet_limit);
        let Some(stream) = self.table.get_mut(&last.stream) else {
            return inlet;
        };
        stream.outlet = Some(outlet);
        if self.priming {
            stream.hand_over(sse::priming(&last.to_string()), last.place);
        }
        for event in self.replay.after(last) {
            // The budget of the replay is below that of a reader, so all of it fits.
            stream.hand_over(event.clone(), stream.place);
        }
        if stream.finished {
            stream.outlet = None;
        }
        inlet
    }

    /// Sends a message on a stream.
    pub fn emit(&mut self, stream: u64, message: &[u8]) {
        let Some(entry) = self.table.get_mut(&stream) else {
            return;
        };
        entry.place += 1;
        let id = EventId {
            stream,
            place: entry.place,
        };
        let event = sse::event(Some(&id.to_string()), message);
        entry.hand_over(event.clone(), id.place);
        if event.len() <= self.replay.limit() {
            entry.remembered += 1;
        }
        for forgotten in self.replay.push(id, event) {
            if let Some(stream) = self.table.get_mut(&forgotten) {
                stream.remembered -= 1;
            }
            self.forget_if_done(forgotten);
        }
    }

    /// Ends a stream after what was sent. It can be resumed while its events are remembered.
    pub fn finish(&mut self, stream: u64) {
        if let Some(entry) = self.table.get_mut(&stream) {
            entry.finished = true;
            entry.outlet = None;
        }
        self.forget_if_done(stream);
    }

    fn forget_if_done(&mut self, stream: u64) {
        if self
            .table
            .get(&stream)
            .is_some_and(|entry| entry.finished && entry.remembered == 0)
        {
            self.table.remove(&stream);
        }
    }

    /// Is somebody reading this stream?
    #[must_use]
    pub fn has_reader(&self, stream: u64) -> bool {
        self.table
            .get(&stream)
            .and_then(|entry| entry.outlet.as_ref())
            .is_some_and(|outlet| !outlet.is_gone())
    }

    /// Opens the standalone stream: begins with what nobody has read yet.
    pub fn listen(&mut self) -> Inlet {
        let place = self
            .table
            .get(&STANDALONE)
            .map_or(0, |stream| stream.delivered);
        self.attach(EventId {
            stream: STANDALONE,
            place,
        })
    }

    /// Goes on with the stream of an event after that event; `None` when there is no such event.
    pub fn resume(&mut self, last: EventId) -> Option<Inlet> {
        let known = self
            .table
            .get(&last.stream)
            .is_some_and(|stream| last.place <= stream.place);
        known.then(|| self.attach(last))
    }

    /// Ends the standalone stream's connection cleanly; the client may come back.
    pub fn end_standalone(&mut self) {
        if let Some(stream) = self.table.get_mut(&STANDALONE)
            && let Some(outlet) = stream.outlet.take()
            && self.priming
        {
            // A full or lost stream needs no farewell.
            let _ = outlet.send(sse::retry());
        }
    }

    /// Ends every stream.
    pub fn clear(&mut self) {
        self.table.clear();
        self.table.insert(STANDALONE, Stream::default());
        self.replay = Replay::new(self.replay.limit());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_oneof};

    /// Streams of the model besides the standalone one.
    const STREAMS: u64 = 3;
    /// A limit that no reader reaches.
    const ROOMY: usize = 1 << 20;

    /// What may happen to the streams of a session.
    #[derive(Clone, Debug)]
    enum Step {
        /// A message for a stream, this long.
        Emit(u64, usize),
        /// The reader of a stream gets what waits, all but the last so many, and its connection breaks.
        Break(u64, usize),
        /// Its client comes back.
        Resume(u64),
        /// Nothing more will come.
        Finish(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let stream = 0..=STREAMS;
        let step = prop_oneof![
            6 => (stream.clone(), 0_usize..60).prop_map(|(stream, long)| Step::Emit(stream, long)),
            2 => (stream.clone(), 0_usize..4).prop_map(|(stream, lost)| Step::Break(stream, lost)),
            2 => stream.prop_map(Step::Resume),
            1 => (1..=STREAMS).prop_map(Step::Finish),
        ];
        vec(step, 0..150)
    }

    /// One client, and what it should have been sent.
    #[derive(Default)]
    struct Client {
        inlet: Option<Inlet>,
        /// Every event of the stream, as it was sent.
        sent: Vec<String>,
        /// Places of the events that arrived, as far as it knows.
        arrived: Vec<u64>,
        finished: bool,
    }

    /// The place of an event, and whether it is a message.
    fn read(event: &[u8], stream: u64) -> (u64, bool) {
        let text = std::str::from_utf8(event).unwrap();
        let id = text
            .lines()
            .find_map(|line| line.strip_prefix("id: "))
            .unwrap();
        let id: EventId = id.parse().unwrap();
        assert_eq!(id.stream, stream, "an event of another stream: {text}");
        (id.place, !text.contains("data: \n"))
    }

    impl Client {
        /// Reads what waits, without the last so many, and checks it.
        fn read(&mut self, stream: u64, lost: usize) {
            let Some(inlet) = &self.inlet else { return };
            let mut events = inlet.take_all();
            events.truncate(events.len().saturating_sub(lost));
            for event in events {
                let (place, is_message) = read(&event, stream);
                if is_message {
                    let sent = &self.sent[usize::try_from(place - 1).unwrap()];
                    assert_eq!(std::str::from_utf8(&event).unwrap(), sent);
                    self.arrived.push(place);
                }
            }
        }
    }

    /// What the budget still holds: the newest events of all streams.
    fn remembered(order: &[(u64, u64, usize)], limit: usize) -> &[(u64, u64, usize)] {
        let mut bytes = 0;
        let kept = order.iter().rev().take_while(|(_, _, length)| {
            bytes += length;
            bytes <= limit
        });
        &order[order.len() - kept.count()..]
    }

    proptest::proptest! {
        #[test]
        fn a_client_that_comes_back_misses_nothing_that_is_remembered_and_gets_nothing_twice(
            steps in steps(), limit in 100_usize..2000, priming in any::<bool>(),
        ) {
            let mut streams = Streams::new(limit, ROOMY);
            streams.priming = priming;
            let mut clients: Vec<Client> = (0..=STREAMS).map(|_| Client::default()).collect();
            let mut order = Vec::new();
            clients[0].inlet = Some(streams.listen());
            for stream in 1..=STREAMS {
                clients[usize::try_from(stream).unwrap()].inlet = Some(streams.open(stream));
            }
            for step in steps {
                match step {
                    Step::Emit(stream, long) => {
                        let client = &mut clients[usize::try_from(stream).unwrap()];
                        if client.finished {
                            continue;
                        }
                        let place = client.sent.len() as u64 + 1;
                        let message = format!("{{\"n\":\"{}\"}}", "x".repeat(long));
                        streams.emit(stream, message.as_bytes());
                        let event = format!("id: {stream}-{place}\ndata: {message}\n\n");
                        order.push((stream, place, event.len()));
                        client.sent.push(event);
                    }
                    Step::Break(stream, lost) => {
                        let client = &mut clients[usize::try_from(stream).unwrap()];
                        client.read(stream, lost);
                        client.inlet = None;
                    }
                    Step::Resume(stream) => {
                        let client = &mut clients[usize::try_from(stream).unwrap()];
                        client.read(stream, 0);
                        let last = client.arrived.last().copied().unwrap_or(0);
                        client.inlet = streams.resume(EventId { stream, place: last });
                        let due: Vec<u64> = remembered(&order, limit)
                            .iter()
                            .filter(|(of, place, _)| *of == stream && *place > last)
                            .map(|(_, place, _)| *place)
                            .collect();
                        let before = client.arrived.len();
                        client.read(stream, 0);
                        proptest::prop_assert_eq!(&client.arrived[before..], due);
                        // A stream that is over and forgotten is as unknown as none.
                        proptest::prop_assert!(client.inlet.is_some() || client.finished);
                    }
                    Step::Finish(stream) => {
                        clients[usize::try_from(stream).unwrap()].finished = true;
                        streams.finish(stream);
                    }
                }
            }
            for (stream, client) in (0..).zip(&mut clients) {
                client.read(stream, 0);
                proptest::prop_assert!(client.arrived.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }
    }
}
