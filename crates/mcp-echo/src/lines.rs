use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// A longer line is not read as a message. The same limit as the proxy's default.
pub(crate) const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its end.
    Whole(Vec<u8>),
    /// A line beyond the limit; it was skipped.
    TooLong,
    /// Nothing more comes.
    End,
}

/// Reads the next line, of at most `limit` bytes. Memory is bounded while reading, not after.
pub(crate) async fn next<R: AsyncBufRead + Unpin>(input: &mut R, limit: u64) -> io::Result<Line> {
    let mut line = Vec::new();
    (&mut *input)
        .take(limit + 1)
        .read_until(b'\n', &mut line)
        .await?;
    if line.is_empty() {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if u64::try_from(line.len()).is_ok_and(|length| length > limit) {
        skip(input).await?;
        return Ok(Line::TooLong);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Line::Whole(line))
}

/// Throws away the rest of a line.
async fn skip<R: AsyncBufRead + Unpin>(input: &mut R) -> io::Result<()> {
    loop {
        let available = input.fill_buf().await?;
        if available.is_empty() {
            return Ok(());
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(available.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(mut input: &[u8], limit: u64) -> Vec<Line> {
        let mut lines = Vec::new();
        loop {
            match next(&mut input, limit).await.unwrap() {
                Line::End => return lines,
                line => lines.push(line),
            }
        }
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn lines_end_with_a_line_feed_or_with_the_input() {
        assert_eq!(
            all(b"a\r\n\nb", 10).await,
            [whole("a"), whole(""), whole("b")]
        );
    }

    #[tokio::test]
    async fn a_line_of_exactly_the_limit_is_read_and_a_longer_one_skipped() {
        assert_eq!(
            all(b"12345\n123456\nok\n", 5).await,
            [whole("12345"), Line::TooLong, whole("ok")]
        );
        assert_eq!(all(b"12345678", 5).await, [Line::TooLong]);
    }
}
