//! Lines out of a byte stream, with a limit that holds while reading.

use bytes::{Bytes, BytesMut};

/// Splits what it is fed at line feeds. A line longer than the limit is dropped as it arrives, never gathered.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// Bytes of `buffer` that are known to hold no line feed.
    searched: usize,
    limit: usize,
    /// Bytes of the line that is being dropped, while one is.
    dropping: Option<usize>,
}

/// What [`Lines::next_line`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its line ending.
    Whole(Bytes),
    /// A line of this many bytes was over the limit and is gone.
    TooLong(usize),
}

impl Lines {
    /// Lines of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            searched: 0,
            limit,
            dropping: None,
        }
    }

    /// Where to read into. At least 4 KiB are free; more when a long line is on its way.
    pub fn buffer(&mut self) -> &mut BytesMut {
        let wanted = if self.buffer.len() > 4096 {
            64 * 1024
        } else {
            4096
        };
        if self.buffer.capacity() - self.buffer.len() < wanted / 2 {
            self.buffer.reserve(wanted);
        }
        &mut self.buffer
    }

    /// The next line, if its end has arrived.
    pub fn next_line(&mut self) -> Option<Line> {
        let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
        if let Some(offset) = memchr::memchr(b'\n', unsearched) {
            let mut line = self.buffer.split_to(self.searched + offset + 1);
            self.searched = 0;
            if let Some(dropped) = self.dropping.take() {
                return Some(Line::TooLong(dropped + line.len() - 1));
            }
            line.truncate(line.len() - 1);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if line.len() > self.limit {
                return Some(Line::TooLong(line.len()));
            }
            return Some(Line::Whole(line.freeze()));
        }
        self.searched = self.buffer.len();
        if self.dropping.is_some() || self.buffer.len() > self.limit {
            *self.dropping.get_or_insert(0) += self.buffer.len();
            // A new buffer, so that the memory of the long line goes back.
            self.buffer = BytesMut::new();
            self.searched = 0;
        }
        None
    }

    /// What is left when the stream has ended: a last line without its line feed.
    pub fn rest(&mut self) -> Option<Bytes> {
        self.searched = 0;
        let rest = std::mem::take(&mut self.buffer);
        (self.dropping.take().is_none() && !rest.is_empty()).then(|| rest.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines, input: &[u8], step: usize) -> Vec<Line> {
        let mut found = Vec::new();
        for chunk in input.chunks(step) {
            lines.buffer().extend_from_slice(chunk);
            while let Some(line) = lines.next_line() {
                found.push(line);
            }
        }
        found
    }

    #[test]
    fn one_long_line_costs_only_itself() {
        for step in [1, 3, 7, 1000] {
            let mut lines = Lines::new(8);
            let input = [b"abc\r\n".as_slice(), &[b'x'; 100], b"\n12345678\n\nlast"].concat();
            assert_eq!(
                all(&mut lines, &input, step),
                [
                    Line::Whole(Bytes::from_static(b"abc")),
                    Line::TooLong(100),
                    Line::Whole(Bytes::from_static(b"12345678")),
                    Line::Whole(Bytes::new()),
                ],
                "step {step}"
            );
            assert_eq!(lines.rest(), Some(Bytes::from_static(b"last")));
        }
    }

    #[test]
    fn a_long_line_is_not_gathered() {
        let mut lines = Lines::new(1024);
        for _ in 0..1000 {
            lines.buffer().extend_from_slice(&[b'x'; 4096]);
            assert_eq!(lines.next_line(), None);
            assert!(lines.buffer.len() <= 1024 + 4096);
        }
        assert_eq!(lines.rest(), None);
    }

    proptest::proptest! {
        #[test]
        fn lines_do_not_depend_on_how_they_arrive(
            wanted in proptest::collection::vec("[a-z]{0,20}", 0..20), step in 1_usize..50,
        ) {
            let input: Vec<u8> = wanted.iter().flat_map(|line| line.bytes().chain([b'\n'])).collect();
            let found = all(&mut Lines::new(64), &input, step);
            let wanted: Vec<Line> = wanted.into_iter().map(|line| Line::Whole(Bytes::from(line))).collect();
            proptest::prop_assert_eq!(found, wanted);
        }
    }
}
