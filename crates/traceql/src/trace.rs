//! A whole trace, ready to be asked: its tree and what each span's attributes are.

use std::collections::HashMap;

use kenning_model::{Attributes, Nanos, Span, SpanBatch, SpanId, SpanSource};

use crate::ast::{Attribute, Intrinsic, Scope};
use crate::value::Static;

/// What Tempo answers for the root of a trace whose root span is missing.
const NO_ROOT: &str = "<root span not yet received>";

/// A trace. Spans are named by their place in it.
pub(crate) struct Trace {
    batch: SpanBatch,
    parents: Vec<Option<usize>>,
    children: Vec<u32>,
    /// Left, right and the parent's left number of a walk around the tree; zero for spans that hang on nothing.
    nested: Vec<(i64, i64, i64)>,
    root: Option<usize>,
    start: Nanos,
    end: Nanos,
}

impl Trace {
    pub(crate) fn new(batch: SpanBatch) -> Self {
        let by_id: HashMap<SpanId, usize> = batch
            .spans
            .iter()
            .enumerate()
            .filter(|(_, span)| !span.span_id.is_none())
            .map(|(place, span)| (span.span_id, place))
            .collect();
        let parent =
            |(place, span): (usize, &Span)| by_id.get(&span.parent_span_id).copied().filter(|p| *p != place);
        let parents: Vec<Option<usize>> = batch.spans.iter().enumerate().map(parent).collect();
        let mut children = vec![0; parents.len()];
        for parent in parents.iter().flatten() {
            if let Some(count) = children.get_mut(*parent) {
                *count += 1;
            }
        }
        let root = root_of(&batch.spans, &children);
        let start = batch.spans.iter().map(|span| span.start).min().unwrap_or_default();
        let end = batch.spans.iter().map(|span| span.end).max().unwrap_or_default();
        let nested = nested_sets(&batch.spans, &parents);
        Self { batch, parents, children, nested, root, start, end }
    }

    pub(crate) fn len(&self) -> usize {
        self.batch.spans.len()
    }

    pub(crate) fn span(&self, place: usize) -> Option<&Span> {
        self.batch.spans.get(place)
    }

    fn source(&self, place: usize) -> Option<&SpanSource> {
        self.batch.source_of(self.span(place)?).map(|source| &**source)
    }

    pub(crate) fn parent(&self, place: usize) -> Option<usize> {
        self.parents.get(place).copied().flatten()
    }

    pub(crate) fn start(&self) -> Nanos {
        self.start
    }

    pub(crate) fn end(&self) -> Nanos {
        self.end
    }

    /// The places above a span, its parent first. Ends also where parents form a ring.
    pub(crate) fn ancestors(&self, place: usize) -> impl Iterator<Item = usize> {
        let mut at = place;
        (0..self.len()).map_while(move |_| {
            at = self.parent(at)?;
            Some(at)
        })
    }

    pub(crate) fn root_service(&self) -> String {
        let source = self.root.and_then(|place| self.source(place));
        source.map_or(NO_ROOT, SpanSource::service_name).to_owned()
    }

    pub(crate) fn root_name(&self) -> String {
        self.root.and_then(|place| self.span(place)).map_or(NO_ROOT, |span| &span.name).to_owned()
    }

    /// An attribute's or intrinsic's value.
    pub(crate) fn value(&self, place: usize, attribute: &Attribute) -> Static {
        match attribute {
            Attribute::Named { parent: true, .. } => Static::Nil,
            Attribute::Named { scope, name, .. } => self.named(place, *scope, name),
            Attribute::Intrinsic(intrinsic) => self.intrinsic(place, *intrinsic),
        }
    }

    fn named(&self, place: usize, scope: Scope, name: &str) -> Static {
        let (Some(span), Some(source)) = (self.span(place), self.source(place)) else { return Static::Nil };
        let one = |attributes: &Attributes| attributes.get(name).map(|value| Static::of(&value));
        let events = || many(span.events.iter().filter_map(|event| one(&event.attributes)));
        let links = || many(span.links.iter().filter_map(|link| one(&link.attributes)));
        let resource = || match name {
            "service.name" => Some(Static::Str(source.service_name().to_owned())),
            _ => one(&source.resource),
        };
        let found = match scope {
            Scope::Span => one(&span.attributes),
            Scope::Resource => resource(),
            Scope::Event => events(),
            Scope::Link => links(),
            Scope::Instrumentation => one(&source.scope),
            Scope::Any => one(&span.attributes)
                .or_else(resource)
                .or_else(|| one(&source.scope))
                .or_else(events)
                .or_else(links),
        };
        found.unwrap_or(Static::Nil)
    }

    fn intrinsic(&self, place: usize, intrinsic: Intrinsic) -> Static {
        let (Some(span), Some(source)) = (self.span(place), self.source(place)) else { return Static::Nil };
        let text = |text: &str| Static::Str(text.to_owned());
        let nested = self.nested.get(place).copied().unwrap_or_default();
        match intrinsic {
            Intrinsic::Duration => Static::Duration(span.duration_nanos()),
            Intrinsic::Name => text(&span.name),
            Intrinsic::Status => Static::Status(span.status),
            Intrinsic::StatusMessage => text(&span.status_message),
            Intrinsic::Kind => Static::Kind(span.kind),
            Intrinsic::ChildCount => Static::Int(i64::from(self.children.get(place).copied().unwrap_or(0))),
            Intrinsic::RootService => Static::Str(self.root_service()),
            Intrinsic::RootName => Static::Str(self.root_name()),
            Intrinsic::TraceDuration => Static::Duration(self.end.0.saturating_sub(self.start.0)),
            Intrinsic::NestedSetLeft => Static::Int(nested.0),
            Intrinsic::NestedSetRight => Static::Int(nested.1),
            Intrinsic::NestedSetParent => Static::Int(nested.2),
            Intrinsic::InstrumentationName => text(&source.scope_name),
            Intrinsic::InstrumentationVersion => text(&source.scope_version),
            Intrinsic::TraceId => text(&span.trace_id.to_string()),
            Intrinsic::SpanId => text(&span.span_id.to_string()),
            Intrinsic::ParentId if span.parent_span_id.is_none() => text(""),
            Intrinsic::ParentId => text(&span.parent_span_id.to_string()),
            Intrinsic::Parent => Static::Nil,
            _ => self.of_events_and_links(span, intrinsic),
        }
    }

    fn of_events_and_links(&self, span: &Span, intrinsic: Intrinsic) -> Static {
        let events = span.events.iter();
        let links = span.links.iter();
        let found = match intrinsic {
            Intrinsic::EventName => many(events.map(|event| Static::Str(event.name.clone()))),
            Intrinsic::EventTimeSinceStart => {
                many(events.map(|event| Static::Duration(event.time.0.saturating_sub(span.start.0))))
            }
            Intrinsic::LinkTraceId => many(links.map(|link| Static::Str(link.trace_id.to_string()))),
            Intrinsic::LinkSpanId => many(links.map(|link| Static::Str(link.span_id.to_string()))),
            _ => None,
        };
        found.unwrap_or(Static::Nil)
    }
}

/// One value as such, several as a list.
fn many(values: impl Iterator<Item = Static>) -> Option<Static> {
    let mut values: Vec<Static> = values.collect();
    if values.len() > 1 { Some(Static::Array(values)) } else { values.pop() }
}

/// The span without a parent that started first; of several the one with the most children, then the longest.
fn root_of(spans: &[Span], children: &[u32]) -> Option<usize> {
    let roots = spans.iter().enumerate().filter(|(_, span)| span.parent_span_id.is_none());
    let rank = |(place, span): &(usize, &Span)| {
        let children = children.get(*place).copied().unwrap_or(0);
        (span.start, std::cmp::Reverse(children), std::cmp::Reverse(span.duration_nanos()), *place)
    };
    roots.min_by_key(rank).map(|(place, _)| place)
}

/// Numbers spans in the order of a walk down from the roots and up again. A root's parent is -1.
fn nested_sets(spans: &[Span], parents: &[Option<usize>]) -> Vec<(i64, i64, i64)> {
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); spans.len()];
    for (place, parent) in parents.iter().enumerate() {
        if let Some(list) = parent.and_then(|parent| below.get_mut(parent)) {
            list.push(place);
        }
    }
    let mut numbers = vec![(0, 0, 0); spans.len()];
    let mut next = 0;
    let roots = spans.iter().enumerate().filter(|(_, s)| s.parent_span_id.is_none() && !s.span_id.is_none());
    // Entries are visited twice: on the way down and, once everything below is done, on the way up.
    let mut todo: Vec<(usize, i64, bool)> = roots.map(|(place, _)| (place, -1, false)).collect();
    todo.reverse();
    while let Some((place, parent_left, is_done)) = todo.pop() {
        next += 1;
        let Some(number) = numbers.get_mut(place) else { continue };
        if is_done {
            number.1 = next;
            continue;
        }
        (number.0, number.2) = (next, parent_left);
        todo.push((place, parent_left, true));
        let left = next;
        todo.extend(below.get(place).into_iter().flatten().rev().map(|child| (*child, left, false)));
    }
    numbers
}
