//! Writes JSON answers straight into bytes.
//!
//! Query answers are large and regular; building a tree of values first would cost more than computing them. Text is
//! escaped by `serde_json`, so only the punctuation lives here.

/// A JSON document in the making. Commas are set by the writer; brackets are balanced by closures.
#[derive(Debug, Default)]
pub struct Json {
    out: Vec<u8>,
    /// Whether the innermost open bracket already holds something.
    comma: bool,
}

impl Json {
    /// An empty document.
    pub fn new() -> Self {
        Self::default()
    }

    /// A document that is one object.
    pub fn build(fill: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut json = Self::new();
        json.object(fill);
        json.out
    }

    /// The bytes written so far.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn separate(&mut self) {
        if std::mem::replace(&mut self.comma, true) {
            self.out.push(b',');
        }
    }

    fn bracket(&mut self, open: u8, close: u8, fill: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push(open);
        self.comma = false;
        fill(self);
        self.out.push(close);
        self.comma = true;
    }

    /// `{`, to be followed by keys and [`Self::close_object`]; for objects that are finished elsewhere.
    pub fn open_object(&mut self) {
        self.separate();
        self.out.push(b'{');
        self.comma = false;
    }

    /// The `}` of [`Self::open_object`].
    pub fn close_object(&mut self) {
        self.out.push(b'}');
        self.comma = true;
    }

    /// Makes room for so many bytes more, so that a long answer is not copied as it grows.
    pub fn reserve(&mut self, bytes: usize) {
        self.out.reserve(bytes);
    }

    /// `{...}`
    pub fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.bracket(b'{', b'}', fill);
    }

    /// `[...]`
    pub fn array(&mut self, fill: impl FnOnce(&mut Self)) {
        self.bracket(b'[', b']', fill);
    }

    /// `"key":`, to be followed by one value.
    pub fn key(&mut self, key: &str) -> &mut Self {
        self.text(key);
        self.out.push(b':');
        self.comma = false;
        self
    }

    /// `"text"`
    pub fn text(&mut self, text: &str) {
        if text.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\') {
            return self.plain_text_with(|out| out.extend_from_slice(text.as_bytes()));
        }
        self.separate();
        // Writing text into a vector cannot fail; an empty pair of quotes keeps the document whole if it ever did.
        if serde_json::to_writer(&mut self.out, text).is_err() {
            self.out.extend_from_slice(b"\"\"");
        }
    }

    /// A value that already is JSON: a number, `true`, `null`.
    pub fn raw(&mut self, json: &str) {
        self.separate();
        self.out.extend_from_slice(json.as_bytes());
    }

    /// A value that `write` puts down as JSON.
    pub fn raw_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.separate();
        write(&mut self.out);
    }

    /// `"text"` of what `write` puts down, which must need no escapes: digits, signs, letters.
    pub fn plain_text_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.separate();
        self.out.push(b'"');
        write(&mut self.out);
        self.out.push(b'"');
    }

    /// An integer.
    pub fn int(&mut self, number: i64) {
        self.raw(&number.to_string());
    }

    /// A double; `null` where JSON has no number for it.
    pub fn number(&mut self, number: f64) {
        if number.is_finite() { self.raw(&number.to_string()) } else { self.raw("null") }
    }

    /// A truth value.
    pub fn bool(&mut self, flag: bool) {
        self.raw(if flag { "true" } else { "false" });
    }

    /// A list of texts.
    pub fn texts<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>) {
        self.array(|json| texts.into_iter().for_each(|text| json.text(text.as_ref())));
    }

    /// An object of texts.
    pub fn pairs<K: AsRef<str>, V: AsRef<str>>(&mut self, pairs: impl IntoIterator<Item = (K, V)>) {
        self.object(|json| {
            for (key, value) in pairs {
                json.key(key.as_ref()).text(value.as_ref());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_and_brackets_balance() {
        let bytes = Json::build(|json| {
            json.key("a").array(|json| {
                json.int(1);
                json.object(|_| ());
                json.number(f64::NAN);
            });
            json.key("b\"").pairs([("k", "v\n")]);
            json.key("c").texts(["x", "y"]);
            json.key("d").bool(true);
        });
        let expect = r#"{"a":[1,{},null],"b\"":{"k":"v\n"},"c":["x","y"],"d":true}"#;
        assert_eq!(String::from_utf8_lossy(&bytes), expect);
        assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
    }
}
