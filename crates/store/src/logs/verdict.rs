//! What the index of a row group says about a filter, so that rows can be counted without reading a column.

use kenning_model::{Field, Filter, LineSyntax};

use super::group::{Absent, LogGroup, Truth, always_passes, distinct};
use super::index::GramColumn;
use crate::scan::prune::field_of;

/// A value of a column and how many rows have it.
type Listed = (Box<str>, u32);

/// Which rows of a row group pass a filter.
pub(crate) enum Verdict<'a> {
    /// All of them.
    All,
    /// None of them.
    None,
    /// Those of some of the values that a column has: every row has one of them.
    Values(u16, &'a [Listed], Vec<bool>),
    /// The index does not tell.
    Open,
}

impl<'a> Verdict<'a> {
    fn sure(passes: bool) -> Self {
        if passes { Self::All } else { Self::None }
    }

    fn values(column: u16, values: &'a [Listed], passes: Vec<bool>) -> Self {
        match (passes.contains(&true), passes.contains(&false)) {
            (_, false) => Self::All,
            (false, _) => Self::None,
            _ => Self::Values(column, values, passes),
        }
    }

    fn not(self) -> Self {
        match self {
            Self::All => Self::None,
            Self::None => Self::All,
            Self::Values(column, values, passes) => {
                Self::Values(column, values, passes.into_iter().map(|passes| !passes).collect())
            }
            Self::Open => Self::Open,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::All, one) | (one, Self::All) => one,
            (Self::Values(column, values, a), Self::Values(of, _, b)) if column == of => {
                Self::values(column, values, a.into_iter().zip(b).map(|(a, b)| a && b).collect())
            }
            _ => Self::Open,
        }
    }
}

impl<'a> LogGroup<'a> {
    /// What the index says about a filter.
    pub(crate) fn verdict(&self, filter: &Filter) -> Verdict<'a> {
        match filter {
            Filter::All => Verdict::All,
            Filter::And(parts) => parts.iter().fold(Verdict::All, |all, part| match all {
                Verdict::None => Verdict::None,
                all => all.and(self.verdict(part)),
            }),
            Filter::Or(parts) => parts
                .iter()
                .fold(Verdict::All, |none, part| match none {
                    Verdict::None => Verdict::None,
                    none => none.and(self.verdict(part).not()),
                })
                .not(),
            Filter::Not(part) => self.verdict(part).not(),
            leaf => match field_of(leaf) {
                Some(Field::Label(_)) => self.verdict_of_labels(leaf),
                Some(Field::Plain(syntax)) => self.verdict_of_plain(leaf, *syntax),
                Some(field @ Field::Metadata(name)) if !self.index.may_have_metadata(name) => {
                    Verdict::sure(leaf.matches(&Absent(field)))
                }
                Some(field @ Field::Parsed(..)) => self.verdict_of_parsed(leaf, field),
                _ => Verdict::Open,
            },
        }
    }

    fn verdict_of_labels(&self, leaf: &Filter) -> Verdict<'a> {
        let passes = self.streams_passing(leaf);
        if let Some(common) = passes.common() {
            return Verdict::sure(common);
        }
        let mut of_runs = self.group.runs.iter().map(|run| passes.holds(run.stream));
        match of_runs.next() {
            Some(first) if of_runs.all(|passes| passes == first) => Verdict::sure(first),
            _ => Verdict::Open,
        }
    }

    fn has_whole_lines(&self) -> bool {
        self.group.grams.iter().any(|(column, _)| *column == GramColumn::Line)
    }

    fn verdict_of_plain(&self, leaf: &Filter, syntax: LineSyntax) -> Verdict<'a> {
        if self.has_whole_lines() {
            return Verdict::Open;
        }
        let is_plain =
            self.index.templates.iter().map(|template| template.is_plain && template.syntax == syntax);
        match (is_plain.clone().any(|plain| plain), is_plain.clone().all(|plain| plain)) {
            (true, true) => Verdict::sure(leaf.matches(&Truth)),
            // What is not plain has no such field, so that no test of it holds.
            (false, _) => Verdict::None,
            _ => Verdict::Open,
        }
    }

    fn verdict_of_parsed(&self, leaf: &Filter, field: &Field) -> Verdict<'a> {
        let Some(column) = self.only_column(field) else { return Verdict::Open };
        let kind = self.index.columns.get(usize::from(column));
        if kind.is_some_and(|kind| always_passes(leaf, kind)) {
            return Verdict::All;
        }
        match self.all_values(column) {
            Some(values) => {
                let passes = values.iter().map(|(text, _)| leaf.matches(&super::group::Text(text)));
                Verdict::values(column, values, passes.collect())
            }
            None => Verdict::Open,
        }
    }

    /// The column that holds a field of every line of the group; `None` when there is no single one, or some line may
    /// have the field elsewhere.
    fn only_column(&self, field: &Field) -> Option<u16> {
        let Field::Parsed(syntax, name) = field else { return None };
        let has_label = self.labelled(name);
        let is_labelled = || match has_label.common() {
            Some(common) => common,
            None => self.group.runs.iter().any(|run| has_label.holds(run.stream)),
        };
        if self.index.may_have_metadata(name) || self.has_whole_lines() || is_labelled() {
            return None;
        }
        let columns = self.columns_of(*syntax, name);
        match distinct(&columns).as_slice() {
            [column] if columns.iter().all(|of| of == &Some(*column)) => Some(*column),
            _ => None,
        }
    }

    /// The values that all rows of the group have in a column, when they are listed.
    fn all_values(&self, column: u16) -> Option<&'a [Listed]> {
        let group = self.group;
        let values = group.values_of(column)?;
        let rows: u64 = values.iter().map(|(_, rows)| u64::from(*rows)).sum();
        (rows == self.rows as u64).then_some(values)
    }

    /// The values of a field that every line has, when they are listed, and the column that holds them.
    pub(crate) fn listed(&self, field: &Field) -> Option<(u16, &'a [Listed])> {
        let column = self.only_column(field)?;
        Some((column, self.all_values(column)?))
    }
}
