//! Finds where a closer look pays: the places of a text at which one of many literals stands.
//!
//! Every place is asked one question: is the hash of the four bytes there set in a table of 64 Ki bits? That costs about
//! a nanosecond for two bytes and depends on nothing before it. Only where it is set are literals compared.

use super::text::starts_at;

/// Length of what is hashed.
const GRAM: usize = 4;
/// What follows a literal of three bytes, since a gram has four.
const AFTER_SHORT: &[u8] = b"=:\"'\\ >_-.]%1234567890";

/// A literal and what to do where it stands.
#[derive(Clone, Debug)]
pub(super) struct Trigger<A> {
    /// Compared without regard to ASCII case; at least three bytes.
    pub(super) literal: Box<[u8]>,
    /// Where in the literal its rarest four bytes are.
    pub(super) gram_at: usize,
    /// What may follow a literal of three bytes.
    pub(super) follows: &'static [u8],
    /// What to do.
    pub(super) action: A,
}

impl<A> Trigger<A> {
    pub(super) fn new(literal: &str, gram_at: usize, action: A) -> Self {
        Self { literal: literal.as_bytes().into(), gram_at, follows: AFTER_SHORT, action }
    }
}

/// The table.
#[derive(Clone, Debug)]
pub(super) struct Filter<A> {
    bits: Box<[u64; 1024]>,
    /// Folded gram and trigger, sorted.
    grams: Vec<(u32, u16)>,
    triggers: Vec<Trigger<A>>,
}

impl<A: Copy> Filter<A> {
    pub(super) fn new(triggers: Vec<Trigger<A>>) -> Self {
        let mut grams = Vec::new();
        for (number, trigger) in (0u16..).zip(&triggers) {
            let gram = trigger.literal.get(trigger.gram_at..).unwrap_or_default();
            match gram.first_chunk::<GRAM>() {
                Some(gram) => grams.push((fold(*gram), number)),
                None => {
                    if let Some([a, b, c]) = gram.first_chunk::<3>() {
                        grams.extend(trigger.follows.iter().map(|d| (fold([*a, *b, *c, *d]), number)));
                    }
                }
            }
        }
        grams.sort_unstable();
        grams.dedup();
        let mut bits = Box::new([0u64; 1024]);
        for (gram, _) in &grams {
            let (word, bit) = place(*gram);
            if let Some(word) = bits.get_mut(word) {
                *word |= 1 << bit;
            }
        }
        Self { bits, grams, triggers }
    }

    /// Hands `see` every place where a literal stands, in order of its rarest bytes: where it begins, its length, and
    /// what to do.
    pub(super) fn find(&self, text: &[u8], mut see: impl FnMut(usize, usize, A)) {
        for (at, gram) in text.array_windows::<GRAM>().enumerate() {
            let gram = fold(*gram);
            let (word, bit) = place(gram);
            if self.bits.get(word).is_some_and(|word| word >> bit & 1 != 0) {
                self.compare(text, at, gram, &mut see);
            }
        }
    }

    #[cold]
    fn compare(&self, text: &[u8], at: usize, gram: u32, see: &mut impl FnMut(usize, usize, A)) {
        let first = self.grams.partition_point(|(one, _)| *one < gram);
        let same = self.grams.get(first..).unwrap_or_default().iter().take_while(|(one, _)| *one == gram);
        for trigger in same.filter_map(|(_, number)| self.triggers.get(usize::from(*number))) {
            let Some(start) = at.checked_sub(trigger.gram_at) else { continue };
            if starts_at(text, start, &trigger.literal) {
                see(start, trigger.literal.len(), trigger.action);
            }
        }
    }
}

/// Upper and lower case alike; some other bytes too, which comparing sorts out.
const fn fold(gram: [u8; GRAM]) -> u32 {
    u32::from_le_bytes(gram) | 0x2020_2020
}

const fn place(gram: u32) -> (usize, u32) {
    let hash = gram.wrapping_mul(0x9e37_79b1) >> 16;
    ((hash >> 6) as usize, hash & 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_found_wherever_they_stand() {
        let words = [("password", 2), ("toke", 0), ("key", 0), ("-----begin", 4)];
        let triggers = words.iter().map(|(word, at)| Trigger::new(word, *at, *word));
        let filter = Filter::new(triggers.collect());
        let found = |text: &str| {
            let mut found = Vec::new();
            filter.find(text.as_bytes(), |at, len, word| found.push((at, len, word)));
            found
        };
        assert_eq!(found("a PassWord, keyed tokens"), [(2, 8, "password"), (18, 4, "toke")]);
        assert_eq!(found("key=1 my_KEY"), [(0, 3, "key")]);
        assert_eq!(found("-----BEGIN"), [(0, 10, "-----begin")]);
        assert_eq!(found("assword"), []);
        assert_eq!(found(""), []);
    }
}
