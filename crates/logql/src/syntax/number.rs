//! How far a number goes: Go's literals, as its `text/scanner` reads them. What the number means is read later, and
//! may fail then.

/// Length of the number at the start of `text` and what is wrong with it. The mistakes are those of Go's scanner.
pub(super) fn scan(text: &str) -> (usize, Option<String>) {
    let mut scan = Scan { bytes: text.as_bytes(), at: 0, digits: false, separators: false, mistake: None };
    scan.number();
    (scan.at, scan.mistake)
}

/// The notations that a prefix tells.
#[derive(Clone, Copy, PartialEq)]
enum Base {
    Decimal,
    /// A leading zero alone; decimal after all when a point or an exponent follows.
    LeadingZero,
    Hex,
    Octal,
    Binary,
}

impl Base {
    const fn literal(self) -> &'static str {
        match self {
            Self::Decimal => "decimal literal",
            Self::LeadingZero | Self::Octal => "octal literal",
            Self::Hex => "hexadecimal literal",
            Self::Binary => "binary literal",
        }
    }

    const fn digit_max(self) -> u8 {
        match self {
            Self::Binary => b'1',
            Self::LeadingZero | Self::Octal => b'7',
            Self::Decimal | Self::Hex => b'9',
        }
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    digits: bool,
    separators: bool,
    mistake: Option<String>,
}

impl Scan<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn lower(&self) -> u8 {
        self.peek().to_ascii_lowercase()
    }

    fn wrong(&mut self, mistake: impl Into<String>) {
        if self.mistake.is_none() {
            self.mistake = Some(mistake.into());
        }
    }

    fn number(&mut self) {
        let base = self.prefix();
        let invalid = self.run(base);
        let fractional = self.peek() == b'.';
        if fractional {
            self.at += 1;
            if matches!(base, Base::Octal | Base::Binary) {
                self.wrong(format!("invalid radix point in {}", base.literal()));
            }
            self.run(base);
        }
        if !self.digits {
            self.wrong(format!("{} has no digits", base.literal()));
        }
        let exponent = self.exponent(base);
        if base == Base::Hex && fractional && !exponent {
            self.wrong("hexadecimal mantissa requires a 'p' exponent");
        }
        if let Some(digit) = invalid.filter(|_| !fractional && !exponent) {
            self.wrong(format!("invalid digit '{}' in {}", char::from(digit), base.literal()));
        }
        if self.separators && !self.separators_separate() {
            self.wrong("'_' must separate successive digits");
        }
    }

    fn prefix(&mut self) -> Base {
        if self.peek() != b'0' {
            return Base::Decimal;
        }
        self.at += 1;
        let base = match self.lower() {
            b'x' => Base::Hex,
            b'o' => Base::Octal,
            b'b' if matches!(self.bytes.get(self.at + 1), Some(b'0' | b'1')) => Base::Binary,
            _ => {
                self.digits = true;
                return Base::LeadingZero;
            }
        };
        self.at += 1;
        base
    }

    /// Digits and separators; the first digit that the base does not have.
    fn run(&mut self, base: Base) -> Option<u8> {
        let mut invalid = None;
        loop {
            let byte = self.peek();
            let is_digit = byte.is_ascii_digit() || base == Base::Hex && byte.is_ascii_hexdigit();
            match byte {
                b'_' => self.separators = true,
                _ if is_digit => self.digits = true,
                _ => return invalid,
            }
            if byte.is_ascii_digit() && byte > base.digit_max() {
                invalid = invalid.or(Some(byte));
            }
            self.at += 1;
        }
    }

    /// `e` behind decimal numbers, `p` behind hexadecimal ones.
    fn exponent(&mut self, base: Base) -> bool {
        let letter = self.peek();
        match (letter.to_ascii_lowercase(), base) {
            (b'p', Base::Hex) => {}
            (b'e', Base::Decimal | Base::LeadingZero) => {}
            (b'e', Base::Octal | Base::Binary) => {
                self.wrong(format!("'{}' exponent requires decimal mantissa", char::from(letter)));
            }
            _ => return false,
        }
        self.at += 1;
        self.at += usize::from(matches!(self.peek(), b'+' | b'-'));
        let before = std::mem::replace(&mut self.digits, false);
        self.run(Base::Decimal);
        if !self.digits {
            self.wrong("exponent has no digits");
        }
        self.digits |= before;
        true
    }

    /// True when each separator stands between digits; a prefix counts as one.
    fn separators_separate(&self) -> bool {
        let text = self.bytes.get(..self.at).unwrap_or(&[]);
        let hex = matches!(text, [b'0', b'x' | b'X', ..]);
        let prefixed = matches!(text, [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..]);
        let is_digit = |byte: u8| byte.is_ascii_digit() || hex && byte.is_ascii_hexdigit();
        let (mut before, body) = (prefixed, text.get(if prefixed { 2 } else { 0 }..).unwrap_or(&[]));
        for (index, byte) in body.iter().enumerate() {
            let after = body.get(index + 1).copied().is_some_and(is_digit);
            if *byte == b'_' && !(before && after) {
                return false;
            }
            before = is_digit(*byte);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (text, len) in [
            ("12", 2),
            ("1.5.5", 3),
            ("1.", 2),
            (".5e-3x", 5),
            ("0x1Fp-2", 7),
            ("0b01", 4),
            ("0B", 1),
            ("0o17", 4),
            ("1_000", 5),
            ("5m", 1),
            ("09.5", 4),
        ] {
            assert_eq!(scan(text), (len, None), "{text}");
        }
    }

    #[test]
    fn mistakes() {
        for (text, mistake) in [
            ("09", "invalid digit '9' in octal literal"),
            ("0x", "hexadecimal literal has no digits"),
            ("0x1.8", "hexadecimal mantissa requires a 'p' exponent"),
            ("1e", "exponent has no digits"),
            ("1__0", "'_' must separate successive digits"),
            ("0b1.1", "invalid radix point in binary literal"),
            ("0o1e1", "'e' exponent requires decimal mantissa"),
        ] {
            assert_eq!(scan(text).1.as_deref(), Some(mistake), "{text}");
        }
    }
}
