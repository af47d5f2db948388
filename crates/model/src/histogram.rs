//! Native histograms, in the one form that every signal path shares: float counts, absolute per bucket.

/// What is known about a counter reset between a histogram and the one before it in its series.
/// Definition: Prometheus `prompb.Histogram.ResetHint`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterReset {
    /// Nothing is known; compare the counts.
    #[default]
    Unknown,
    /// This histogram starts a new count.
    Yes,
    /// This histogram continues the count.
    No,
    /// A gauge histogram, where resets have no meaning.
    Gauge,
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BucketSpan {
    /// Index distance: from zero for the first span, from the end of the span before for the others.
    pub offset: i32,
    /// Number of consecutive buckets.
    pub length: u32,
}

/// A native histogram at one instant. Definition: Prometheus native histograms specification.
///
/// Integer histograms are converted on receipt: counts below 2^53 are exact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// See [`CounterReset`].
    pub reset: CounterReset,
    /// Resolution: bucket boundaries are powers of `2^(2^-schema)`, -4 to 8; -53 for custom boundaries.
    pub schema: i32,
    /// Width of the zero bucket: observations with `|v| <= zero_threshold`.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations, NaN ones included.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Where the positive buckets lie.
    pub positive_spans: Vec<BucketSpan>,
    /// Absolute count of each positive bucket.
    pub positive: Vec<f64>,
    /// Where the negative buckets lie.
    pub negative_spans: Vec<BucketSpan>,
    /// Absolute count of each negative bucket.
    pub negative: Vec<f64>,
    /// Upper boundaries of custom buckets (schema -53), ascending, without `+Inf`.
    pub custom_bounds: Vec<f64>,
}

impl Histogram {
    /// The schema that marks custom bucket boundaries.
    pub const CUSTOM_BUCKETS: i32 = -53;

    /// Bytes this value holds, for memory accounting.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + 8 * (self.positive.len() + self.negative.len() + self.custom_bounds.len())
            + size_of::<BucketSpan>() * (self.positive_spans.len() + self.negative_spans.len())
    }
}
