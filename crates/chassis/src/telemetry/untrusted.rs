use std::fmt;

/// Characters of a text that are shown.
const LIMIT: usize = 256;

/// Text that somebody else chose, made fit for a log line or an error. See [`untrusted`].
#[derive(Clone, Copy)]
pub struct Untrusted<'a>(&'a str);

/// Shows text that a client or an operator chose: control characters (line breaks and ANSI sequences among them), characters
/// that change the direction of writing and Unicode line ends are escaped, and the text is cut at 256 characters.
///
/// ```
/// let name = "x\nERROR forged";
/// assert_eq!(chassis::telemetry::untrusted(name).to_string(), "x\\nERROR forged");
/// ```
#[must_use]
pub fn untrusted(text: &str) -> Untrusted<'_> {
    Untrusted(text)
}

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;

        let mut characters = self.0.chars();
        for character in characters.by_ref().take(LIMIT) {
            if is_misleading(character) {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        if characters.next().is_some() {
            f.write_char('…')?;
        }
        Ok(())
    }
}

impl fmt::Debug for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Whether a character could make a line look like something it is not.
fn is_misleading(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061c}'                   // Arabic letter mark
            | '\u{200b}'..='\u{200f}'    // zero-width characters and marks of direction
            | '\u{2028}'..='\u{202e}'    // line and paragraph separators, embeddings and overrides
            | '\u{2066}'..='\u{2069}'    // isolates
            | '\u{feff}'                 // byte order mark
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_ansi_and_direction_overrides_are_escaped() {
        let text = "a\r\nb\u{1b}[31mc\u{9b}d\u{202e}e\u{2028}f\0";
        assert_eq!(
            untrusted(text).to_string(),
            "a\\r\\nb\\u{1b}[31mc\\u{9b}d\\u{202e}e\\u{2028}f\\u{0}"
        );
    }

    #[test]
    fn readable_text_of_any_script_stays() {
        assert_eq!(
            untrusted("Grüße, 世界 \"x\" \\").to_string(),
            "Grüße, 世界 \"x\" \\"
        );
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        assert_eq!(untrusted(&"ä".repeat(256)).to_string(), "ä".repeat(256));
        assert_eq!(
            untrusted(&"ä".repeat(257)).to_string(),
            format!("{}…", "ä".repeat(256))
        );
    }
}
