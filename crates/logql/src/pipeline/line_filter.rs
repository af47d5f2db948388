//! `|= "text"`, `|~ "regex"`, `|> "pattern"`, `|= ip("range")` and their negations.

use kenning_model::Pattern as Regex;
use memchr::memmem::Finder;

use super::ip::IpMatcher;
use crate::pattern::Pattern;
use crate::syntax::ast::{LineFilter, LineOp, LineOperand};

/// Filters that must all pass.
#[derive(Debug)]
pub(super) struct LineFilters(Vec<AnyOf>);

#[derive(Debug)]
struct AnyOf {
    negated: bool,
    tests: Vec<Test>,
}

#[derive(Debug)]
enum Test {
    Contains(Box<Finder<'static>>),
    Matches(Regex),
    Pattern(Pattern),
    Ip(IpMatcher),
}

impl LineFilters {
    pub(super) fn new(filters: &[LineFilter]) -> Result<Self, String> {
        filters.iter().map(AnyOf::new).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn passes(&self, line: &str) -> bool {
        self.0.iter().all(|filter| filter.tests.iter().any(|test| test.holds(line)) != filter.negated)
    }
}

impl AnyOf {
    fn new(filter: &LineFilter) -> Result<Self, String> {
        let tests = filter.operands.iter().map(|operand| Test::new(filter.op, operand));
        Ok(Self { negated: !filter.op.is_positive(), tests: tests.collect::<Result<_, _>>()? })
    }
}

impl Test {
    fn new(op: LineOp, operand: &LineOperand) -> Result<Self, String> {
        match (op, operand) {
            (LineOp::Contains | LineOp::NotContains, LineOperand::Text(text)) => {
                Ok(Self::Contains(Box::new(Finder::new(text.as_bytes()).into_owned())))
            }
            (LineOp::Matches | LineOp::NotMatches, LineOperand::Text(text)) => {
                Regex::anywhere(text).map(Self::Matches).map_err(|error| error.to_string())
            }
            (LineOp::Pattern | LineOp::NotPattern, LineOperand::Text(text)) => {
                Pattern::for_filter(text).map(Self::Pattern)
            }
            (LineOp::Contains | LineOp::NotContains, LineOperand::Ip(range)) => {
                IpMatcher::new(range).map(Self::Ip)
            }
            (_, LineOperand::Ip(_)) => Err("ip: invalid operation".to_owned()),
        }
    }

    fn holds(&self, line: &str) -> bool {
        match self {
            Self::Contains(finder) => finder.find(line.as_bytes()).is_some(),
            Self::Matches(regex) => regex.is_match(line),
            Self::Pattern(pattern) => pattern.is_match(line),
            Self::Ip(ip) => ip.is_in(line),
        }
    }
}
