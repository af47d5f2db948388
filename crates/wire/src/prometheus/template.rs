//! A target's document with blanks for its values.
//!
//! Most scrapes bring the last document again but for its values. The texts around the values are kept one behind the
//! other, so that a scrape is one comparison of memory with memory and one number after the other, without a look at what
//! is known of any series. The first line that differs, carries a stamp or is odd in any other way ends this, and the
//! ordinary reading goes on from there.

use kenning_model::{LabelSet, MetricBatch, Millis, Sample, UNKNOWN_START};

use super::builder::WrittenExemplar;
use super::cursor::Cursor;
use super::warm::start_of;
use super::{Exposition, openmetrics};

/// What a line of the template is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blank {
    /// A comment, line feed included.
    Comment,
    /// A series up to its value; it is kept.
    Kept,
    /// A series up to its value that relabelling drops.
    Dropped,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    /// Where its text ends, and that of the next begins.
    end: usize,
    blank: Blank,
}

/// The texts of a document in order.
#[derive(Debug, Default)]
pub(super) struct Template {
    text: Vec<u8>,
    lines: Vec<Line>,
    /// The label sets of the kept series, in order.
    series: Vec<LabelSet>,
    /// Samples whose counters began when another sample says.
    starts: Vec<(u32, u32)>,
}

/// How far a document is that of the template.
#[derive(Debug, Default)]
pub(super) struct Match {
    /// Lines that are.
    pub lines: usize,
    /// Samples among them.
    pub samples: usize,
    /// Samples that are stored.
    pub kept: usize,
}

impl Template {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn push_comment(&mut self, text: &[u8]) {
        self.push(text, Blank::Comment);
    }

    pub fn push_series(&mut self, text: &[u8], labels: Option<&LabelSet>) {
        self.series.extend(labels.cloned());
        self.push(text, if labels.is_some() { Blank::Kept } else { Blank::Dropped });
    }

    fn push(&mut self, text: &[u8], blank: Blank) {
        self.text.extend_from_slice(text);
        self.lines.push(Line { end: self.text.len(), blank });
    }

    /// True when the document ends where a template's last line did.
    pub fn is_end(rest: &[u8], format: Exposition) -> bool {
        match format {
            Exposition::OpenMetrics => rest == b"# EOF\n" || rest == b"# EOF",
            _ => rest.iter().all(|byte| *byte == b'\n'),
        }
    }

    /// Series that are kept, so far.
    pub fn series(&self) -> u32 {
        self.series.len() as u32
    }

    /// Pairs of samples: the second tells when the counter of the first began.
    pub fn set_starts(&mut self, starts: Vec<(u32, u32)>) {
        self.starts = starts;
    }

    /// Gives the samples of a whole document their starts.
    pub fn tell_starts(&self, batch: &mut MetricBatch) {
        if self.starts.is_empty() {
            return;
        }
        let MetricBatch { samples, starts, .. } = batch;
        starts.resize(samples.len(), UNKNOWN_START);
        for (sample, teller) in &self.starts {
            let told = samples.get(*teller as usize).and_then(|teller| start_of(teller.value));
            if let (Some(told), Some(start)) = (told, starts.get_mut(*sample as usize)) {
                *start = told;
            }
        }
    }

    /// Lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Reads as many lines as are those of the template; `cursor` is left where the first begins that is not. Samples go
    /// into `batch`, whose series are those of the template as far as it got; exemplars go to `exemplar`.
    pub fn read<'d>(
        &self,
        cursor: &mut Cursor<'d>,
        format: Exposition,
        time: Millis,
        batch: &mut MetricBatch,
        mut exemplar: impl FnMut(&mut MetricBatch, u32, &WrittenExemplar<'d>),
    ) -> Match {
        let mut found = Match::default();
        let mut start = 0;
        for line in &self.lines {
            let text = self.text.get(start..line.end).unwrap_or_default();
            start = line.end;
            if format == Exposition::Text {
                while cursor.eat(b"\n") {}
            }
            let here = *cursor;
            if !cursor.eat(text) {
                break;
            }
            if !matches!(line.blank, Blank::Comment) {
                let Some((value, written)) = value(cursor, format) else {
                    *cursor = here;
                    break;
                };
                found.samples += 1;
                if matches!(line.blank, Blank::Kept) {
                    let series = found.kept as u32;
                    found.kept += 1;
                    batch.push_sample(Sample { series, time, value }, UNKNOWN_START);
                    written.iter().for_each(|written| exemplar(batch, series, written));
                }
            }
            found.lines += 1;
        }
        batch.series.extend(self.series.iter().take(found.kept).cloned());
        found
    }
}

/// What follows a series on its line: one blank, a number, perhaps an exemplar. `None` for anything else.
fn value<'d>(cursor: &mut Cursor<'d>, format: Exposition) -> Option<(f64, Option<WrittenExemplar<'d>>)> {
    if !cursor.eat(b" ") {
        return None;
    }
    let token = cursor.strict_token();
    let value = cursor.float(token).ok()?;
    let ends_here = format == Exposition::Text && cursor.is_empty();
    if ends_here || cursor.eat(b"\n") {
        return Some((value, None));
    }
    // Stamps, and the odd spellings of the text form, are for the ordinary reading.
    if format != Exposition::OpenMetrics {
        return None;
    }
    match openmetrics::tail(cursor) {
        Ok((None, exemplar)) => Some((value, exemplar)),
        _ => None,
    }
}
