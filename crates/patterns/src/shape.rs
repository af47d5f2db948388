//! A line taken apart: words, and what stands between them.

/// What stands between words. Dots, slashes, hyphens and underscores belong to words, so that paths, addresses and
/// identifiers stay whole.
fn is_separator(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'\t'
            | b'\r'
            | b'\n'
            | b'='
            | b','
            | b':'
            | b';'
            | b'"'
            | b'\''
            | b'('
            | b')'
            | b'['
            | b']'
            | b'{'
            | b'}'
            | b'<'
            | b'>'
            | b'|'
            | b'&'
            | b'?'
            | b'!'
            | b'`'
            | b'*'
            | b'#'
    )
}

/// A word of a line or of a template: its text, or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Word<'a> {
    /// The same in all lines so far.
    Text(&'a str),
    /// Differs from line to line.
    Hole,
}

/// A line as separator, word, separator, word, ..., separator.
#[derive(Debug, Default)]
pub(crate) struct Shape<'a> {
    pub(crate) words: Vec<Word<'a>>,
    /// One more than words.
    pub(crate) separators: Vec<&'a str>,
}

impl<'a> Shape<'a> {
    /// Takes a line apart, into the vectors of a shape used before. At most `words_max` words; the rest is one hole.
    pub(crate) fn of(mut self, line: &'a str, words_max: usize) -> Self {
        self.words.clear();
        self.separators.clear();
        let bytes = line.as_bytes();
        let mut at = 0;
        loop {
            let word = run(bytes, at, false);
            let end = run(bytes, word, true);
            let separator = line.get(at..word).unwrap_or("");
            if word == bytes.len() {
                self.separators.push(separator);
                return self;
            }
            if self.words.len() >= words_max {
                self.separators.push(separator);
                self.words.push(Word::Hole);
                self.separators.push("");
                return self;
            }
            self.push(separator, line.get(word..end).unwrap_or(""));
            at = end;
        }
    }

    /// Appends a word. `12:30:45` and the like are one hole, however many parts they have.
    fn push(&mut self, separator: &'a str, text: &'a str) {
        let word = if is_variable(text) { Word::Hole } else { Word::Text(text) };
        let joins = word == Word::Hole
            && self.words.last() == Some(&Word::Hole)
            && matches!(separator, ":" | "," | "::" | "=");
        if !joins {
            self.separators.push(separator);
            self.words.push(word);
        }
    }
}

/// End of the run of words (`word`) or separators from `at` on. Separators are ASCII, so the ends are boundaries of
/// characters.
fn run(bytes: &[u8], at: usize, word: bool) -> usize {
    let rest = bytes.get(at..).unwrap_or(&[]);
    at + rest.iter().position(|byte| is_separator(*byte) == word).unwrap_or(rest.len())
}

/// Numbers, amounts with a unit, hashes, addresses, ids with many digits: what differs from line to line.
fn is_variable(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    if digits == 0 {
        return is_letters_of_hex(word) || is_part_of_a_date(word);
    }
    let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
    let starts_as_number =
        word.trim_start_matches(['-', '+', '.', '/', '$']).starts_with(|c: char| c.is_ascii_digit());
    // `jk2_init`, `v1` and `HTTP2` are names; `blk_3886504` and `node-17-a` are not.
    starts_as_number
        || digits >= 2 && (digits * 2 >= letters || digits >= 4)
        || word.contains('/') && digits >= 2
}

/// Eight or more hexadecimal letters without a digit are a hash by bad luck; no English word of that length is made of
/// them alone.
fn is_letters_of_hex(word: &str) -> bool {
    word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Names of days and months as the usual time formats write them.
fn is_part_of_a_date(word: &str) -> bool {
    const NAMES: [&str; 19] = [
        "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul",
        "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    word.len() == 3 && NAMES.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str, words_max: usize) -> String {
        let shape = Shape::default().of(line, words_max);
        let mut out = String::new();
        for (index, separator) in shape.separators.iter().enumerate() {
            out.push_str(separator);
            match shape.words.get(index) {
                Some(Word::Text(text)) => out.push_str(text),
                Some(Word::Hole) => out.push('_'),
                None => {}
            }
        }
        out
    }

    #[test]
    fn words_and_holes() {
        let check = |line: &str, expect: &str| assert_eq!(shown(line, 100), expect, "{line}");
        check("", "");
        check("   ", "   ");
        check("took 123ms", "took _");
        check("jk2_init() Found child 6725 in slot 10", "jk2_init() Found child _ in slot _");
        check("from 10.0.0.1:8080 at 12:30:45,123", "from _ at _");
        check("level=info caller=main.go:12 id=deadbeef", "level=info caller=main.go:_ id=_");
        check("block blk_-6952295868487656571 ends", "block _ ends");
        check("GET /api/v1/users HTTP/1.1", "GET /api/v1/users _");
        check("größe 7 ☃ ok", "größe _ ☃ ok");
        check("a  b\tc ", "a  b\tc ");
    }

    #[test]
    fn the_rest_of_a_long_line_is_a_hole() {
        assert_eq!(shown("a b c d e", 2), "a b _");
        assert_eq!(shown("a b", 2), "a b");
    }
}
