//! The templates of one stream and level, and how a line finds its own.

use std::collections::HashMap;

use kenning_model::keyed::{Prehashed, keyed_hash, keyed_pair};

use crate::counts::Counts;
use crate::message::Message;
use crate::shape::{Shape, Word};

/// Share of a line's words of text that a template must have to take it. Measured on the loghub sets of the corpus:
/// at 0.5 lines with long equal headers fall together (mean grouping accuracy 0.60), above 0.8 names stay apart.
const AGREEMENT: f64 = 0.7;
/// Different first words that a shape may have before newcomers share one leaf: beyond it the first word is data.
const FIRST_WORDS_MAX: usize = 64;
/// Templates that a line is compared with at most, the latest first.
const COMPARED_MAX: usize = 32;

/// A hole as LogQL writes it.
pub(crate) const HOLE: &str = "<_>";

/// Two holes side by side are one.
fn push_hole(out: &mut String) {
    if !out.ends_with(HOLE) {
        out.push_str(HOLE);
    }
}

/// Appends text of lines. What a pattern would read as a capture (`<name>`) cannot be written in one, so it is a hole.
fn push_literal(out: &mut String, mut text: &str) {
    while let Some((before, after)) = split_at_capture(text) {
        out.push_str(before);
        push_hole(out);
        text = after;
    }
    out.push_str(text);
}

/// What stands before and after the first `<name>` of a text.
fn split_at_capture(text: &str) -> Option<(&str, &str)> {
    let starts = text.match_indices('<');
    starts.into_iter().find_map(|(start, _)| {
        let inner = text.get(start + 1..)?;
        let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
        let is_name = inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let after = inner.get(end..)?.strip_prefix('>')?;
        is_name.then_some((text.get(..start)?, after))
    })
}

/// One template.
#[derive(Debug)]
pub(crate) struct Template {
    before: &'static str,
    after: &'static str,
    words: Vec<Option<Box<str>>>,
    separators: Box<[Box<str>]>,
    pub(crate) counts: Counts,
    pub(crate) total: u64,
    /// First and last bucket it was seen in.
    pub(crate) first: i32,
    pub(crate) last: i32,
}

impl Template {
    fn of(message: Message<'_>, shape: &Shape<'_>, bucket: i32) -> Self {
        let own = |word: &Word<'_>| match word {
            Word::Text(text) => Some((*text).into()),
            Word::Hole => None,
        };
        Self {
            before: message.before,
            after: message.after,
            words: shape.words.iter().map(own).collect(),
            separators: shape.separators.iter().map(|text| (*text).into()).collect(),
            counts: Counts::default(),
            total: 0,
            first: bucket,
            last: bucket,
        }
    }

    /// Words of text that are the same, of a line of the same shape; none when separators differ after all. Holes are
    /// no evidence for either side, but a hole of the template that was learnt from lines takes any word.
    fn agreement(&self, message: Message<'_>, shape: &Shape<'_>) -> Option<usize> {
        let same_shape = self.words.len() == shape.words.len()
            && self.before == message.before
            && self.separators.iter().map(|text| &**text).eq(shape.separators.iter().copied());
        let alike = |(own, word): &(&Option<Box<str>>, &Word<'_>)| match word {
            Word::Text(text) => own.as_deref() == Some(*text),
            Word::Hole => false,
        };
        same_shape.then(|| self.words.iter().zip(&shape.words).filter(alike).count())
    }

    /// Makes holes where the line differs.
    fn widen(&mut self, shape: &Shape<'_>) {
        for (own, word) in self.words.iter_mut().zip(&shape.words) {
            if own.is_some() && own.as_deref().map(Word::Text) != Some(*word) {
                *own = None;
            }
        }
    }

    /// The template as a LogQL pattern.
    pub(crate) fn text(&self) -> String {
        let mut out = String::from(self.before);
        let mut literal = String::new();
        for (index, separator) in self.separators.iter().enumerate() {
            literal.push_str(separator);
            match self.words.get(index) {
                Some(Some(word)) => literal.push_str(word),
                Some(None) => {
                    push_literal(&mut out, &literal);
                    literal.clear();
                    push_hole(&mut out);
                }
                None => {}
            }
        }
        push_literal(&mut out, &literal);
        match self.after {
            HOLE => push_hole(&mut out),
            after => out.push_str(after),
        }
        out
    }

    /// Bytes held, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let words: usize = self.words.iter().flatten().map(|word| word.len()).sum();
        let separators: usize = self.separators.iter().map(|text| text.len()).sum();
        size_of::<Self>()
            + 64
            + words
            + separators
            + 16 * (self.words.len() + self.separators.len())
            + 8 * self.counts.len()
    }
}

/// The templates of one stream and level.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) templates: Vec<Template>,
    /// Leaves: indices into `templates`, the latest last.
    leaves: HashMap<u64, Vec<u32>, Prehashed>,
    /// How many first words each shape has had.
    first_words: HashMap<u64, usize, Prehashed>,
}

impl Tree {
    /// Counts a line; gives the template's index and whether it is a new one.
    pub(crate) fn add(
        &mut self,
        message: Message<'_>,
        shape: &Shape<'_>,
        bucket: i32,
        weight: u32,
    ) -> (usize, bool) {
        let leaf = self.leaf_of(message, shape);
        let (index, is_new) = match self.closest(leaf, message, shape) {
            Some(index) => (index, false),
            None => (self.plant(leaf, message, shape, bucket), true),
        };
        if let Some(template) = self.templates.get_mut(index) {
            template.widen(shape);
            template.counts.add(bucket, weight);
            template.total = template.total.saturating_add(u64::from(weight));
            template.first = template.first.min(bucket);
            template.last = template.last.max(bucket);
        }
        (index, is_new)
    }

    fn leaf_of(&mut self, message: Message<'_>, shape: &Shape<'_>) -> u64 {
        let start = keyed_hash(message.before.as_bytes());
        let fold = |hash, text: &&str| keyed_pair(hash, keyed_hash(text.as_bytes()));
        let node = shape.separators.iter().fold(start, fold);
        let own = match shape.words.first() {
            Some(Word::Text(text)) => keyed_pair(node, keyed_hash(text.as_bytes())),
            Some(Word::Hole) => keyed_pair(node, 1),
            None => keyed_pair(node, 0),
        };
        if self.leaves.contains_key(&own) {
            return own;
        }
        let count = self.first_words.entry(node).or_default();
        if *count < FIRST_WORDS_MAX {
            *count += 1;
            return own;
        }
        node
    }

    fn closest(&self, leaf: u64, message: Message<'_>, shape: &Shape<'_>) -> Option<usize> {
        let candidates = self.leaves.get(&leaf)?.iter().rev().take(COMPARED_MAX);
        let (agreed, index) = candidates
            .filter_map(|index| {
                Some((self.templates.get(*index as usize)?.agreement(message, shape)?, *index))
            })
            .max_by_key(|(agreed, index)| (*agreed, std::cmp::Reverse(*index)))?;
        let texts = shape.words.iter().filter(|word| **word != Word::Hole).count();
        (agreed as f64 >= AGREEMENT * texts as f64).then_some(index as usize)
    }

    fn plant(&mut self, leaf: u64, message: Message<'_>, shape: &Shape<'_>, bucket: i32) -> usize {
        let index = self.templates.len();
        self.templates.push(Template::of(message, shape, bucket));
        self.leaves.entry(leaf).or_default().push(index as u32);
        index
    }

    /// Keeps the templates that `keep` says; gives how many went.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Template) -> bool) -> usize {
        let before = self.templates.len();
        let mut moved = Vec::with_capacity(before);
        let mut next = 0;
        self.templates.retain(|template| {
            let stays = keep(template);
            moved.push(stays.then_some(next));
            next += u32::from(stays);
            stays
        });
        self.leaves.retain(|_, indices| {
            *indices = indices.iter().filter_map(|index| *moved.get(*index as usize)?).collect();
            !indices.is_empty()
        });
        if self.leaves.is_empty() {
            self.first_words.clear();
        }
        before - self.templates.len()
    }

    /// Bytes held, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.templates.iter().map(Template::bytes).sum::<usize>()
            + 64 * (self.leaves.len() + self.first_words.len())
            + size_of::<Self>()
    }
}
