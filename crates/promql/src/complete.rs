//! What may stand at a place of an unfinished query, and what a word of it means: for editors.
//!
//! Works on text that does not parse, since queries do not while they are typed: a scanner walks to the cursor and keeps
//! the brackets that are open. It knows the language, not the data: names of metrics and labels are the caller's to look
//! up, and [`Expect`] says with which selector.

use crate::syntax::{Aggregator, Signature};
use crate::text::quote;

/// What may stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// First byte of the word under the cursor, which a choice replaces.
    pub from: usize,
    /// End of that word.
    pub to: usize,
    /// What is wanted there; empty inside of comments, numbers and texts that are free.
    pub expects: Vec<Expect>,
}

/// Something that may stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A function or an aggregation: [`crate::SIGNATURES`], [`Aggregator::ALL`]; told by [`help`].
    Functions,
    /// The name of a metric.
    Metrics,
    /// The name of a label of the series that pass `selector` (`None`: of any).
    Labels {
        /// A selector that parses, to be given as `match[]`.
        selector: Option<String>,
    },
    /// A value of a label, without quotes.
    Values {
        /// The label.
        label: String,
        /// As for labels.
        selector: Option<String>,
    },
    /// One of these words or signs.
    Words(&'static [&'static str]),
    /// A duration such as `5m`.
    Durations,
}

const MATCH_OPERATORS: &[&str] = &["=", "!=", "=~", "!~"];
const AFTER_VECTOR: &[&str] = &[
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "==",
    "!=",
    ">",
    "<",
    ">=",
    "<=",
    "and",
    "or",
    "unless",
    "atan2",
    "offset",
    "@",
    "anchored",
    "smoothed",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "fill",
    "fill_left",
    "fill_right",
];
const AFTER_AT: &[&str] = &["start()", "end()"];
/// Words that a list of labels in parentheses follows.
const GROUPING: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];

/// A bracket that is open at the cursor.
enum Open {
    /// Of a call or of nothing.
    Paren,
    /// Of a list of labels.
    Grouping,
    /// Of matchers; where the selector begins, and its name.
    Brace {
        metric: String,
        matchers: String,
    },
    Bracket,
}

/// What stands before the cursor.
#[derive(Default)]
struct Scan {
    open: Vec<Open>,
    /// The last word or sign before the word at the cursor.
    last: String,
    /// The last name of a metric seen outside of braces, for lists of labels.
    metric: String,
    /// The label whose value is being written, and where its text begins.
    label: String,
    text_from: Option<usize>,
    in_comment: bool,
}

/// What may stand at a byte of the text. Offsets beyond the end or inside of a character move back to a border.
#[must_use]
pub fn complete(text: &str, offset: usize) -> Completion {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let (before, after) = text.split_at(offset);
    let scan = scan(before);
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
    let from = match scan.text_from {
        Some(from) => from,
        None => before.trim_end_matches(is_word).len(),
    };
    let to = match scan.text_from {
        // A text ends at its quote; an unfinished one at the end of the line.
        Some(_) => offset + after.find(['"', '\'', '`', '\n']).unwrap_or(after.len()),
        None => offset + after.find(|c| !is_word(c)).unwrap_or(after.len()),
    };
    let expects = if scan.in_comment { Vec::new() } else { scan.expects() };
    Completion { from, to, expects }
}

impl Scan {
    fn expects(&self) -> Vec<Expect> {
        let labels = || {
            let selector = (!self.metric.is_empty()).then(|| format!("{{__name__={}}}", quote(&self.metric)));
            vec![Expect::Labels { selector }]
        };
        match self.open.last() {
            Some(Open::Brace { metric, matchers }) => self.in_braces(metric, matchers),
            Some(Open::Grouping) => labels(),
            Some(Open::Bracket) => vec![Expect::Durations],
            _ if self.text_from.is_some() => Vec::new(),
            _ if self.last == "@" => vec![Expect::Words(AFTER_AT)],
            _ if self.last == "offset" => vec![Expect::Durations],
            _ if self.is_after_operand() => vec![Expect::Words(AFTER_VECTOR)],
            _ => vec![Expect::Functions, Expect::Metrics],
        }
    }

    /// True when something complete stands before, so that an operator may follow.
    fn is_after_operand(&self) -> bool {
        let word = self.last.as_str();
        let is_name = word.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':'));
        let is_operator = ["and", "or", "unless", "atan2", "bool"].contains(&word);
        (is_name && !is_operator) || matches!(word, ")" | "}" | "]" | "\"")
    }

    fn in_braces(&self, metric: &str, matchers: &str) -> Vec<Expect> {
        let name = (!metric.is_empty()).then(|| format!("__name__={}", quote(metric)));
        let all: Vec<_> =
            name.into_iter().chain((!matchers.is_empty()).then(|| matchers.to_owned())).collect();
        let selector = (!all.is_empty()).then(|| format!("{{{}}}", all.join(",")));
        match (self.text_from, self.last.as_str()) {
            (Some(_), "=" | "!=" | "=~" | "!~") => {
                vec![Expect::Values { label: self.label.clone(), selector }]
            }
            // A quoted word in place of a label is a metric's or a label's name.
            (Some(_), _) => vec![Expect::Metrics, Expect::Labels { selector }],
            (None, "{" | ",") => vec![Expect::Labels { selector }],
            (None, "=" | "!=" | "=~" | "!~") => Vec::new(),
            (None, "\"") => Vec::new(),
            (None, _) => vec![Expect::Words(MATCH_OPERATORS)],
        }
    }
}

/// Walks to the end of the text before the cursor. The word that touches the end is left to the caller.
fn scan(before: &str) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    while let Some(c) = before.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = before.get(at..).unwrap_or("");
        let len = match c {
            '#' => rest.find('\n').unwrap_or_else(|| {
                scan.in_comment = true;
                rest.len()
            }),
            '"' | '\'' | '`' => scan.text(rest, at, c),
            _ if c.is_alphanumeric() || matches!(c, '_' | ':') => scan.word(rest),
            _ if c.is_whitespace() => c.len_utf8(),
            _ => scan.sign(rest, c),
        };
        at += len.max(c.len_utf8());
    }
    scan
}

impl Scan {
    fn text(&mut self, rest: &str, at: usize, quote: char) -> usize {
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' if quote != '`' => escaped = true,
                _ if c == quote => {
                    let matcher = rest.get(..i + 1).map(|text| format!("{}{}{text}", self.label, self.last));
                    let is_value = matches!(self.last.as_str(), "=" | "!=" | "=~" | "!~");
                    if let (Some(Open::Brace { matchers, .. }), Some(matcher), true) =
                        (self.open.last_mut(), matcher, is_value)
                    {
                        if !matchers.is_empty() {
                            matchers.push(',');
                        }
                        matchers.push_str(&matcher);
                    }
                    self.last = "\"".to_owned();
                    return i + 1;
                }
                _ => {}
            }
        }
        self.text_from = Some(at + 1);
        rest.len()
    }

    fn word(&mut self, rest: &str) -> usize {
        let len = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | ':'))).unwrap_or(rest.len());
        if len == rest.len() {
            return len;
        }
        let word = rest.get(..len).unwrap_or("");
        let in_brackets =
            matches!(self.open.last(), Some(Open::Brace { .. } | Open::Grouping | Open::Bracket));
        if in_brackets {
            word.clone_into(&mut self.label);
        } else if !is_known(word) && !word.starts_with(|c: char| c.is_ascii_digit()) {
            word.clone_into(&mut self.metric);
        }
        word.clone_into(&mut self.last);
        len
    }

    fn sign(&mut self, rest: &str, c: char) -> usize {
        let two = ["=~", "!~", "!=", "==", ">=", "<="].into_iter().find(|sign| rest.starts_with(sign));
        match c {
            '(' if GROUPING.contains(&self.last.to_ascii_lowercase().as_str()) => {
                self.open.push(Open::Grouping)
            }
            '(' => self.open.push(Open::Paren),
            '{' => {
                let is_name = !is_known(&self.last) && self.last == self.metric;
                let metric = if is_name { self.metric.clone() } else { String::new() };
                self.open.push(Open::Brace { metric, matchers: String::new() });
            }
            '[' => self.open.push(Open::Bracket),
            ')' | '}' | ']' => {
                self.open.pop();
            }
            _ => {}
        }
        let sign = two.map_or_else(|| c.to_string(), str::to_owned);
        let len = sign.len();
        self.last = sign;
        len
    }
}

/// True for words of the language.
fn is_known(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    Signature::find(word).is_some()
        || Aggregator::ALL.iter().any(|aggregator| aggregator.as_str() == lower)
        || AFTER_VECTOR.contains(&lower.as_str())
}

/// What a word of a query is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hover {
    /// First byte of the word.
    pub from: usize,
    /// End of the word.
    pub to: usize,
    /// How it is called, such as `rate(range vector) instant vector`.
    pub signature: String,
    /// What it does, in a line.
    pub help: &'static str,
}

/// Help on the function or aggregation at a byte of the text.
#[must_use]
pub fn hover(text: &str, offset: usize) -> Option<Hover> {
    let Completion { from, to, .. } = complete(text, offset);
    let word = text.get(from..to)?;
    let (signature, help) = help(word)?;
    Some(Hover { from, to, signature, help })
}

/// How a function or aggregation is called, and what it does.
#[must_use]
pub fn help(name: &str) -> Option<(String, &'static str)> {
    let told = HELP.iter().find(|(known, _)| *known == name).map(|(_, help)| *help)?;
    let Some(signature) = Signature::find(name) else {
        let param = match name {
            "topk" | "bottomk" | "limitk" | "limit_ratio" | "quantile" => "scalar, ",
            "count_values" => "string, ",
            _ => "",
        };
        return Some((format!("{name} [by|without (labels)] ({param}instant vector) instant vector"), told));
    };
    let mut args: Vec<String> = signature.args.iter().map(|arg| arg.documented().to_owned()).collect();
    if let Some(last) = args.last_mut().filter(|_| signature.variadic != 0) {
        *last = if signature.variadic < 0 { format!("[{last} ...]") } else { format!("[{last}]") };
    }
    Some((format!("{name}({}) {}", args.join(", "), signature.returns.documented()), told))
}

/// Every function and aggregation in a line.
const HELP: &[(&str, &str)] = &[
    ("abs", "The value without its sign."),
    ("absent", "1 where the vector is empty, nothing where it is not."),
    ("absent_over_time", "1 where the range holds no sample at all, nothing elsewhere."),
    ("acos", "Arc cosine, in radians."),
    ("acosh", "Inverse hyperbolic cosine."),
    ("asin", "Arc sine, in radians."),
    ("asinh", "Inverse hyperbolic sine."),
    ("atan", "Arc tangent, in radians."),
    ("atanh", "Inverse hyperbolic tangent."),
    ("avg", "The mean over the series of each group."),
    ("avg_over_time", "The mean of the samples in the range."),
    ("bottomk", "The k series with the least values of each group."),
    ("ceil", "The next whole number upwards."),
    ("changes", "How often the value changed in the range."),
    ("clamp", "The value, kept between a least and a greatest one."),
    ("clamp_max", "The value, but at most so much."),
    ("clamp_min", "The value, but at least so much."),
    ("cos", "Cosine of radians."),
    ("cosh", "Hyperbolic cosine."),
    ("count", "The number of series in each group."),
    ("count_over_time", "The number of samples in the range."),
    ("count_values", "How many series of each group have each value; the value becomes a label."),
    ("day_of_month", "1 to 31, of a time in seconds, in UTC."),
    ("day_of_week", "0 (Sunday) to 6, of a time in seconds, in UTC."),
    ("day_of_year", "1 to 366, of a time in seconds, in UTC."),
    ("days_in_month", "28 to 31, of a time in seconds, in UTC."),
    ("deg", "Radians to degrees."),
    ("delta", "How much a gauge changed over the range, extrapolated to its borders."),
    ("deriv", "Slope per second of the line that fits the samples best; for gauges."),
    ("double_exponential_smoothing", "The value smoothed with a factor for the level and one for the trend."),
    ("end", "Time of the last instant of the query, in seconds."),
    ("exp", "e to the power of the value."),
    ("first_over_time", "The earliest sample in the range."),
    ("floor", "The next whole number downwards."),
    ("group", "1 for each group that has a series."),
    ("histogram_avg", "Mean of the observations in a native histogram."),
    ("histogram_count", "Number of observations in a native histogram."),
    ("histogram_fraction", "Share of observations between two bounds."),
    (
        "histogram_quantile",
        "The value below which the given share of observations lies, by buckets or native histograms.",
    ),
    ("histogram_quantiles", "Several quantiles of a histogram at once, told apart by a label."),
    ("histogram_stddev", "Estimated standard deviation of the observations in a native histogram."),
    ("histogram_stdvar", "Estimated variance of the observations in a native histogram."),
    ("histogram_sum", "Sum of the observations in a native histogram."),
    ("hour", "0 to 23, of a time in seconds, in UTC."),
    ("idelta", "Difference of the last two samples in the range; for gauges."),
    ("increase", "How much a counter grew over the range, resets made up for, extrapolated to its borders."),
    ("info", "Adds the labels of matching info series such as target_info."),
    ("irate", "Growth per second between the last two samples in the range; for counters."),
    ("label_join", "Sets a label to the values of others, joined by a separator."),
    ("label_replace", "Sets a label from another one by a regular expression."),
    ("last_over_time", "The latest sample in the range."),
    ("limit_ratio", "A share of the series of each group, the same ones at every instant."),
    ("limitk", "Any k series of each group."),
    ("ln", "Natural logarithm."),
    ("log10", "Logarithm to base ten."),
    ("log2", "Logarithm to base two."),
    ("mad_over_time", "Median of the distances from the median, over the range."),
    ("max", "The greatest value of each group."),
    ("max_of", "The greater of two scalars."),
    ("max_over_time", "The greatest value in the range."),
    ("min", "The least value of each group."),
    ("min_of", "The lesser of two scalars."),
    ("min_over_time", "The least value in the range."),
    ("minute", "0 to 59, of a time in seconds, in UTC."),
    ("month", "1 to 12, of a time in seconds, in UTC."),
    ("pi", "The number pi."),
    ("predict_linear", "Where the line that fits the samples best will be in so many seconds; for gauges."),
    ("present_over_time", "1 for every series with a sample in the range."),
    ("quantile", "The value below which the given share of the series of each group lies."),
    ("quantile_over_time", "The value below which the given share of the samples in the range lies."),
    ("rad", "Degrees to radians."),
    ("range", "Width of the query's range, in seconds."),
    (
        "rate",
        "Growth per second of a counter over the range, resets made up for, extrapolated to its borders.",
    ),
    ("resets", "How often a counter began anew in the range."),
    ("round", "The nearest whole number, or multiple of the second argument."),
    ("scalar", "The value of the only series; NaN where there are none or several."),
    ("sgn", "1, 0 or -1 by the sign of the value."),
    ("sin", "Sine of radians."),
    ("sinh", "Hyperbolic sine."),
    ("sort", "Series by value, the least first; instant queries only."),
    ("sort_by_label", "Series by the values of labels; instant queries only."),
    ("sort_by_label_desc", "Series by the values of labels, backwards; instant queries only."),
    ("sort_desc", "Series by value, the greatest first; instant queries only."),
    ("sqrt", "Square root."),
    ("start", "Time of the first instant of the query, in seconds."),
    ("start_timestamp", "When the counter behind each sample began, in seconds; 0 when nobody told."),
    ("stddev", "Standard deviation over the series of each group."),
    ("stddev_over_time", "Standard deviation of the samples in the range."),
    ("stdvar", "Variance over the series of each group."),
    ("stdvar_over_time", "Variance of the samples in the range."),
    ("step", "Distance between the instants of the query, in seconds."),
    ("sum", "The sum over the series of each group."),
    ("sum_over_time", "The sum of the samples in the range."),
    ("tan", "Tangent of radians."),
    ("tanh", "Hyperbolic tangent."),
    ("time", "The instant of evaluation, in seconds since 1970."),
    ("timestamp", "When each sample was taken, in seconds since 1970."),
    ("topk", "The k series with the greatest values of each group."),
    ("ts_of_first_over_time", "When the earliest sample in the range was taken, in seconds."),
    ("ts_of_last_over_time", "When the latest sample in the range was taken, in seconds."),
    ("ts_of_max_over_time", "When the greatest value in the range was taken last, in seconds."),
    ("ts_of_min_over_time", "When the least value in the range was taken last, in seconds."),
    ("vector", "The scalar as a vector with one series without labels."),
    ("year", "The year of a time in seconds, in UTC."),
];

/// True when every function and aggregation is told about.
#[cfg(test)]
fn is_all_told() -> bool {
    let functions = crate::SIGNATURES.iter().map(|signature| signature.name);
    let aggregators = Aggregator::ALL.iter().map(|aggregator| aggregator.as_str());
    functions.chain(aggregators).all(|name| help(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `|` is the cursor; the word that a choice replaces and what is wanted.
    fn check(marked: &str, word: &str, expects: &[Expect]) {
        let offset = marked.find('|').unwrap();
        let text = marked.replacen('|', "", 1);
        let found = complete(&text, offset);
        assert_eq!(&text[found.from..found.to], word, "{marked}");
        assert_eq!(found.expects, expects, "{marked}");
    }

    fn labels(selector: &str) -> Expect {
        Expect::Labels { selector: Some(selector.to_owned()).filter(|text| !text.is_empty()) }
    }

    fn values(label: &str, selector: &str) -> Expect {
        let selector = Some(selector.to_owned()).filter(|text| !text.is_empty());
        Expect::Values { label: label.to_owned(), selector }
    }

    #[test]
    fn places_expect_what_may_stand_there() {
        let start = [Expect::Functions, Expect::Metrics];
        check("|", "", &start);
        check("ra|", "ra", &start);
        check("sum(ra|te", "rate", &start);
        check("a + |", "", &start);
        check("a and |", "", &start);
        check("a |", "", &[Expect::Words(AFTER_VECTOR)]);
        check("a{} o|", "o", &[Expect::Words(AFTER_VECTOR)]);
        check("up{|", "", &[labels("{__name__=\"up\"}")]);
        check("up{jo|}", "jo", &[labels("{__name__=\"up\"}")]);
        check("{|", "", &[labels("")]);
        check("up{job |", "", &[Expect::Words(MATCH_OPERATORS)]);
        check("up{job=|", "", &[]);
        check("up{job=\"ap|i\"}", "api", &[values("job", "{__name__=\"up\"}")]);
        check("up{a=\"b\",job=~'|", "", &[values("job", "{__name__=\"up\",a=\"b\"}")]);
        check("up{a=\"}|", "}", &[values("a", "{__name__=\"up\"}")]);
        check("sum by (|", "", &[labels("")]);
        check("sum(rate(x[5m])) by (j|", "j", &[labels("{__name__=\"x\"}")]);
        check("x[|", "", &[Expect::Durations]);
        check("x[5|m]", "5m", &[Expect::Durations]);
        check("x offset |", "", &[Expect::Durations]);
        check("x @ |", "", &[Expect::Words(AFTER_AT)]);
        check("x # no|te", "note", &[]);
        check("x # note\n+ |", "", &start);
    }

    #[test]
    fn words_are_explained() {
        assert!(is_all_told());
        let rate = hover("sum(rate(x[5m]))", 6).unwrap();
        assert_eq!(
            (rate.from, rate.to, rate.signature.as_str()),
            (4, 8, "rate(range vector) instant vector")
        );
        assert_eq!(hover("round(x)", 2).unwrap().signature, "round(instant vector, [scalar]) instant vector");
        let topk = hover("topk(3, x)", 1).unwrap();
        assert_eq!(topk.signature, "topk [by|without (labels)] (scalar, instant vector) instant vector");
        assert_eq!(hover("x", 0), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_and_place_will_do(text in "[a-z{}()\\[\\]\"'`=~!,@#é \\\\\n]{0,30}", offset in 0usize..40) {
            let found = complete(&text, offset);
            proptest::prop_assert!(text.get(found.from..found.to).is_some());
        }
    }
}
