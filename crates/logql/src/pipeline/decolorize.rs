//! `decolorize`: removes ANSI escape sequences.

use std::borrow::Cow;
use std::sync::OnceLock;

use regex::Regex;

/// Control sequences: operating system commands that a bell ends, and the usual ones with parameters and a final
/// letter.
const SEQUENCES: &str = r"[\x{1b}\x{9b}][\[\]()#;?]*(?:(?:(?:[a-zA-Z\d]*(?:;[a-zA-Z\d]*)*)?\x07)|(?:(?:\d{1,4}(?:;\d{0,4})*)?[\dA-PRZcf-ntqry=><~]))";

/// The line without colors and cursor movements.
pub(super) fn run(line: Cow<'_, str>) -> Cow<'_, str> {
    static REGEX: OnceLock<Option<Regex>> = OnceLock::new();
    let Some(regex) = REGEX.get_or_init(|| Regex::new(SEQUENCES).ok()) else { return line };
    if !line.contains(['\x1b', '\u{9b}']) {
        return line;
    }
    Cow::Owned(regex.replace_all(&line, "").into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_vanish() {
        let check = |line: &str, expect: &str| assert_eq!(run(Cow::Borrowed(line)), expect);
        check("sample text", "sample text");
        check("\x1b[0;32mgreen\x1b[0m \x1b[0;31mred\x1b[0m", "green red");
    }
}
