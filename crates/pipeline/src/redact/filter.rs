//! Finds where a closer look pays: the places of a text at which one of many literals stands.
//!
//! Every second place is asked one question: is the hash of the three bytes there set in a table of 64 Ki bits? Of the
//! four bytes that tell a literal, the first three or the last three stand at such a place, and both are in the table.
//! That costs about a nanosecond for four bytes and depends on nothing before it. Only where it is set are the four bytes
//! themselves looked up, in a table like it, and only where they are in that are literals compared.

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

/// The tables.
#[derive(Clone, Debug)]
pub(super) struct Filter<A> {
    /// The first and the last three bytes of all grams.
    near: Bits,
    bits: Bits,
    /// By hash, then by gram.
    grams: Vec<Gram>,
    /// Where the grams begin whose hash has this upper byte.
    starts: Vec<u32>,
    triggers: Vec<Trigger<A>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Gram {
    hash: u16,
    folded: u32,
    trigger: u16,
}

/// A set of hashes.
#[derive(Clone, Debug)]
struct Bits(Box<[u64; 1024]>);

impl Bits {
    fn of(hashes: impl Iterator<Item = u16>) -> Self {
        let mut bits = Box::new([0u64; 1024]);
        for hash in hashes {
            if let Some(word) = bits.get_mut(usize::from(hash >> 6)) {
                *word |= 1 << (hash & 63);
            }
        }
        Self(bits)
    }

    #[inline]
    fn has(&self, hash: u16) -> bool {
        self.0.get(usize::from(hash >> 6)).is_some_and(|word| word >> (hash & 63) & 1 != 0)
    }
}

impl<A: Copy> Filter<A> {
    pub(super) fn new(triggers: Vec<Trigger<A>>) -> Self {
        let mut grams = Vec::new();
        for (number, trigger) in (0u16..).zip(&triggers) {
            let gram = |gram: [u8; GRAM]| {
                let folded = fold(gram);
                Gram { hash: hash(folded), folded, trigger: number }
            };
            let rare = trigger.literal.get(trigger.gram_at..).unwrap_or_default();
            match rare.first_chunk::<GRAM>() {
                Some(rare) => grams.push(gram(*rare)),
                None => {
                    if let Some([a, b, c]) = rare.first_chunk::<3>() {
                        grams.extend(trigger.follows.iter().map(|d| gram([*a, *b, *c, *d])));
                    }
                }
            }
        }
        grams.sort_unstable();
        grams.dedup();
        let near = |gram: &Gram| [hash(gram.folded & THREE), hash(gram.folded >> 8)];
        let begins = |byte: u16| grams.partition_point(|gram| gram.hash >> 8 < byte) as u32;
        Self {
            near: Bits::of(grams.iter().flat_map(near)),
            bits: Bits::of(grams.iter().map(|gram| gram.hash)),
            starts: (0..=256).map(begins).collect(),
            grams,
            triggers,
        }
    }

    /// Hands `see` every place where a literal stands, in order of its rarest bytes: where it begins, its length, and
    /// what to do.
    pub(super) fn find(&self, text: &[u8], mut see: impl FnMut(usize, usize, A)) {
        let mut at = 0;
        while let Some(window) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let window = u64::from_le_bytes(*window);
            let is_near = |shift: u32| self.near.has(hash((window >> shift) as u32 & THREE | CASE & THREE));
            let near = [is_near(0), is_near(16), is_near(32)];
            if near != [false; 3] {
                for place in (at..).step_by(2).zip(near).filter_map(|(place, near)| near.then_some(place)) {
                    self.look_around(text, place, &mut see);
                }
            }
            at += 6;
        }
        (at..text.len()).step_by(2).for_each(|place| self.look_around(text, place, &mut see));
    }

    /// Looks at the grams whose last or first three bytes begin at a place.
    fn look_around(&self, text: &[u8], place: usize, see: &mut impl FnMut(usize, usize, A)) {
        for at in [place.checked_sub(1), Some(place)].into_iter().flatten() {
            let Some(gram) = text.get(at..).and_then(|rest| rest.first_chunk::<GRAM>()) else { continue };
            let folded = fold(*gram);
            if self.bits.has(hash(folded)) {
                self.compare(text, at, folded, see);
            }
        }
    }

    #[cold]
    fn compare(&self, text: &[u8], at: usize, folded: u32, see: &mut impl FnMut(usize, usize, A)) {
        let byte = usize::from(hash(folded) >> 8);
        let bounds = self.starts.get(byte).zip(self.starts.get(byte + 1));
        let near = bounds.and_then(|(start, end)| self.grams.get(*start as usize..*end as usize));
        for gram in near.unwrap_or_default().iter().filter(|gram| gram.folded == folded) {
            let Some(trigger) = self.triggers.get(usize::from(gram.trigger)) else { continue };
            let Some(start) = at.checked_sub(trigger.gram_at) else { continue };
            if starts_at(text, start, &trigger.literal) {
                see(start, trigger.literal.len(), trigger.action);
            }
        }
    }
}

/// The bit that tells upper from lower case, of each byte.
const CASE: u32 = 0x2020_2020;
/// Three bytes.
const THREE: u32 = 0x00ff_ffff;

/// Upper and lower case alike; some other bytes too, which comparing sorts out.
const fn fold(gram: [u8; GRAM]) -> u32 {
    u32::from_le_bytes(gram) | CASE
}

const fn hash(folded: u32) -> u16 {
    (folded.wrapping_mul(0x9e37_79b1) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn what_is_found_is_what_stands_there(
            words in vec("[a-c]{3,5}", 1..6),
            text in "[a-cA ]{0,40}",
        ) {
            let gram_at = |word: &str| word.len().saturating_sub(4);
            let trigger = |word: &String| Trigger { follows: b" abc", ..Trigger::new(word, gram_at(word), ()) };
            let filter = Filter::new(words.iter().map(trigger).collect());
            let mut found = Vec::new();
            filter.find(text.as_bytes(), |at, len, ()| found.push((at, len)));
            let mut expect = Vec::new();
            for (at, gram) in text.as_bytes().windows(GRAM).enumerate() {
                for word in &words {
                    let rare = word.as_bytes().get(gram_at(word)..).unwrap_or_default();
                    let stands = gram.to_ascii_lowercase().starts_with(rare);
                    let start = at.checked_sub(gram_at(word)).filter(|_| stands);
                    if let Some(start) = start.filter(|start| starts_at(text.as_bytes(), *start, word.as_bytes())) {
                        expect.push((start, word.len()));
                    }
                }
            }
            // Words that stand at one place come in the order of their own.
            found.sort_unstable();
            expect.sort_unstable();
            prop_assert_eq!(found, expect);
        }
    }
}
