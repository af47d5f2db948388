//! What a filter says about rows before they are read.

use kenning_model::{Compare, Field, Filter, LabelSet, Literal, METRIC_NAME, TraceId};

/// False when no row with these labels can pass, whatever else is in it.
pub(crate) fn may_match(filter: &Filter, labels: &LabelSet) -> bool {
    match filter {
        Filter::All => true,
        Filter::And(parts) => parts.iter().all(|part| may_match(part, labels)),
        Filter::Or(parts) => parts.iter().any(|part| may_match(part, labels)),
        Filter::Not(part) => !only_labels(part) || !part.matches(labels),
        leaf => !matches!(field_of(leaf), Some(Field::Label(_))) || leaf.matches(labels),
    }
}

/// True when a filter looks at labels alone.
pub(crate) fn only_labels(filter: &Filter) -> bool {
    match filter {
        Filter::All => true,
        Filter::And(parts) | Filter::Or(parts) => parts.iter().all(only_labels),
        Filter::Not(part) => only_labels(part),
        leaf => matches!(field_of(leaf), Some(Field::Label(_))),
    }
}

/// The field that a filter without parts looks at.
pub(crate) fn field_of(filter: &Filter) -> Option<&Field> {
    match filter {
        Filter::Compare(field, ..)
        | Filter::OneOf(field, _)
        | Filter::Matches(field, _)
        | Filter::Contains(field, _)
        | Filter::Number(field, ..)
        | Filter::Exists(field) => Some(field),
        Filter::All | Filter::And(_) | Filter::Or(_) | Filter::Not(_) => None,
    }
}

/// A filter of series, taken apart into what looks at the metric's name alone and the rest: names are few, so that the
/// first is asked once per metric.
pub(crate) struct SeriesFilter<'a> {
    name: Vec<&'a Filter>,
    /// The metrics of all selectors, where these are joined by `or`.
    metrics: Option<Vec<&'a str>>,
    rest: Vec<&'a Filter>,
}

impl<'a> SeriesFilter<'a> {
    pub(crate) fn new(filter: &'a Filter) -> Self {
        let (mut name, mut rest, mut open) = (Vec::new(), Vec::new(), vec![filter]);
        while let Some(filter) = open.pop() {
            match filter {
                Filter::And(parts) => open.extend(parts),
                Filter::Or(parts) if parts.len() == 1 => open.extend(parts),
                part if only_name(part) => name.push(part),
                part => rest.push(part),
            }
        }
        let metrics = if name.is_empty() { required_metrics(filter) } else { None };
        Self { name, metrics, rest }
    }

    /// False when no series of the metric that these labels are of can pass.
    pub(crate) fn passes_name(&self, labels: &LabelSet) -> bool {
        self.name.iter().all(|part| part.matches(labels))
            && self.metrics.as_ref().is_none_or(|metrics| metrics.contains(&labels.metric_name()))
    }

    /// True when the labels pass, given that their metric does.
    pub(crate) fn passes_rest(&self, labels: &LabelSet) -> bool {
        self.rest.iter().all(|part| part.matches(labels))
    }
}

fn only_name(filter: &Filter) -> bool {
    match filter {
        Filter::All => true,
        Filter::And(parts) | Filter::Or(parts) => parts.iter().all(only_name),
        Filter::Not(part) => only_name(part),
        leaf => matches!(field_of(leaf), Some(Field::Label(name)) if **name == *METRIC_NAME),
    }
}

/// True when some part of the filter looks at a field that passes `test`.
pub(crate) fn looks_at(filter: &Filter, test: &impl Fn(&Field) -> bool) -> bool {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => parts.iter().any(|part| looks_at(part, test)),
        Filter::Not(part) => looks_at(part, test),
        leaf => field_of(leaf).is_some_and(test),
    }
}

/// The texts one of which a row's field must equal to pass; `None` when the filter does not say.
pub(crate) fn required<'a>(filter: &'a Filter, field: &Field) -> Option<Vec<&'a str>> {
    match filter {
        Filter::Compare(of, Compare::Eq, Literal::Str(text)) if of == field => Some(vec![text]),
        Filter::OneOf(of, texts) if of == field => Some(texts.iter().map(|text| &**text).collect()),
        Filter::And(parts) => parts.iter().find_map(|part| required(part, field)),
        Filter::Or(parts) => {
            let lists = parts.iter().map(|part| required(part, field)).collect::<Option<Vec<_>>>()?;
            Some(lists.concat())
        }
        _ => None,
    }
}

/// The traces one of which a row must belong to.
pub(crate) fn required_traces(filter: &Filter) -> Option<Vec<TraceId>> {
    let texts = required(filter, &Field::TraceId)?;
    // Ids compare as their canonical text; any other spelling equals no row's.
    let canonical =
        |text: &&str| TraceId::from_hex(text).filter(|id| id.to_string() == **text && !id.is_none());
    Some(texts.iter().filter_map(canonical).collect())
}

/// The metrics one of which a series must be of.
pub(crate) fn required_metrics(filter: &Filter) -> Option<Vec<&str>> {
    required(filter, &Field::Label(METRIC_NAME.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kenning_model::Record;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn filter() -> impl Strategy<Value = Filter> {
        let field = prop_oneof![
            "[ab]".prop_map(|name| Field::Label(name.into())),
            Just(Field::Line),
            Just(Field::TraceId)
        ];
        let leaf = prop_oneof![
            Just(Filter::All),
            (field.clone(), "[xy]?").prop_map(|(field, text)| Filter::eq(field, &text)),
            (field.clone(), vec("[xy]".prop_map(|t| t.into()), 0..3))
                .prop_map(|(f, texts)| Filter::OneOf(f, texts)),
            field.prop_map(Filter::Exists),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..3).prop_map(Filter::And),
                vec(inner.clone(), 0..3).prop_map(Filter::Or),
                inner.prop_map(|part| Filter::Not(Box::new(part))),
            ]
        })
    }

    /// A row with two labels and a line.
    struct Row(LabelSet, String);

    impl Record for Row {
        fn any(&self, field: &Field, test: &mut dyn FnMut(kenning_model::ValueRef<'_>) -> bool) -> bool {
            match field {
                Field::Line => test(kenning_model::ValueRef::Str(&self.1)),
                _ => self.0.any(field, test),
            }
        }
    }

    proptest! {
        #[test]
        fn pruning_never_loses_a_row(filter in filter(), a in "[xy]?", b in "[xy]?", line in "[xy]?") {
            let row = Row(LabelSet::from_pairs([("a", &a), ("b", &b)]), line);
            let split = SeriesFilter::new(&filter);
            let passes = split.passes_name(&row.0) && split.passes_rest(&row.0);
            prop_assert!(looks_at(&filter, &|field| !matches!(field, Field::Label(_))) || passes == filter.matches(&row));
            if filter.matches(&row) {
                prop_assert!(may_match(&filter, &row.0));
                for name in ["a", "b"] {
                    let field = Field::Label(name.into());
                    let texts = required(&filter, &field);
                    prop_assert!(texts.is_none_or(|texts| texts.contains(&row.0.get(name))));
                }
                prop_assert!(required_traces(&filter).is_none());
            }
        }
    }
}
