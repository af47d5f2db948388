//! Metrics: declared once as typed items, cheap to update from many threads, listed in a link-time table.
//!
//! ```
//! kenning::metrics! {
//!     /// Messages processed, by outcome.
//!     pub static PROCESSED: Counter { status: &'static str } = "consumer_messages_processed_total";
//!     /// Messages not yet consumed.
//!     pub static LAG: Gauge { topic: String, partition: u32 } = "consumer_lag";
//!     /// Time to process one message, in seconds.
//!     pub static SECONDS: Histogram = "consumer_processing_duration_seconds", buckets: [0.01, 0.1, 1.0];
//! }
//!
//! PROCESSED.with("success").inc();
//! LAG.with(("orders", 3_u32)).set(17.0);
//! SECONDS.observe(0.25);
//! ```
//!
//! Names, labels and buckets are checked by the compiler. A doc comment is the metric's help. `String` labels accept
//! `&str`. One label is passed as it is, several as a tuple.
//!
//! Promises: an update of a counter or histogram takes no lock and shares no cache line with other threads' updates
//! (up to 16 threads at once; a gauge is one number, because the last write must win); a metric has at most [`LABEL_SETS_MAX`] label sets, observations beyond are counted in
//! `kenning_sdk_dropped_total{signal="metrics",reason="cardinality"}`; values are never lost when threads end.
//! Absent: removal of label sets, summaries, native histograms, push over OTLP.

mod cells;
mod exposition;
mod labels;
pub(crate) mod process;
mod registry;

pub use cells::{CounterHandle, GaugeHandle, HistogramHandle, HistogramTimer};
pub(crate) use exposition::render;
pub use exposition::{Exposition, negotiate};
pub use labels::{Accepts, LabelValue, Labels};
pub use registry::LABEL_SETS_MAX;

pub(crate) use registry::{Family, Scope, conflicts, declarations, enter_scope, snapshot_all};

/// What other modules of the SDK need to show metrics that are not declared items.
pub(crate) mod snapshot_parts {
    pub(crate) use super::cells::Reading;
    pub(crate) use super::registry::{FamilySnapshot, ScopeGuard};
}

use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::Instant;

use cells::Cells;

/// Bounds in seconds that suit the latency of network services: 5 ms to 10 s.
pub const DEFAULT_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

impl Kind {
    /// The name in both exposition formats.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// What a metric is declared to be: one entry of the telemetry contract.
#[derive(Debug)]
pub struct Declaration {
    /// Full name, for counters with `_total`.
    pub name: &'static str,
    /// The doc comment.
    pub help: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Label names in the order of the label type.
    pub labels: &'static [&'static str],
    /// Upper bounds, ascending, without `+Inf`; empty for other kinds than histograms.
    pub buckets: &'static [f64],
    /// The declaring module.
    pub module: &'static str,
}

impl Declaration {
    /// Checks a declaration at compile time.
    #[doc(hidden)]
    #[must_use]
    pub const fn checked(self) -> Self {
        assert!(is_metric_name(self.name), "a metric name matches [a-zA-Z_:][a-zA-Z0-9_:]*");
        let total = ends_with(self.name, "_total");
        assert!(total || !matches!(self.kind, Kind::Counter), "a counter's name ends in `_total`");
        let mut index = 0;
        while index < self.labels.len() {
            assert!(is_label_name(self.labels[index]), "a label name is no `le` and starts with no `__`");
            index += 1;
        }
        let mut index = 1;
        while index < self.buckets.len() {
            assert!(self.buckets[index - 1] < self.buckets[index], "buckets are in ascending order");
            index += 1;
        }
        assert!(self.buckets.len() <= BUCKETS_MAX, "a histogram has at most 64 buckets");
        let last = self.buckets.len();
        assert!(last == 0 || self.buckets[last - 1].is_finite(), "the bucket +Inf is implied");
        self
    }
}

/// Buckets of one histogram, `+Inf` not counted.
pub const BUCKETS_MAX: usize = 64;

const fn is_name_byte(byte: u8, first: bool) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || (!first && byte.is_ascii_digit())
}

const fn is_metric_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        if !is_name_byte(bytes[index], index == 0) && bytes[index] != b':' {
            return false;
        }
        index += 1;
    }
    !bytes.is_empty()
}

const fn is_label_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        if !is_name_byte(bytes[index], index == 0) {
            return false;
        }
        index += 1;
    }
    let reserved = bytes.len() >= 2 && bytes[0] == b'_' && bytes[1] == b'_';
    let le = bytes.len() == 2 && bytes[0] == b'l' && bytes[1] == b'e';
    !bytes.is_empty() && !reserved && !le
}

const fn ends_with(text: &str, suffix: &str) -> bool {
    let (text, suffix) = (text.as_bytes(), suffix.as_bytes());
    if text.len() <= suffix.len() {
        return false;
    }
    let mut index = 0;
    while index < suffix.len() {
        if text[text.len() - suffix.len() + index] != suffix[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// An entry of the link-time table.
#[doc(hidden)]
pub struct Registered {
    pub declaration: &'static Declaration,
    pub family: &'static OnceLock<Family>,
}

inventory::collect!(Registered);

/// What the three kinds have in common: a declaration and its lazily made cells.
#[doc(hidden)]
#[derive(Debug)]
pub struct Item {
    pub declaration: &'static Declaration,
    pub family: &'static OnceLock<Family>,
}

impl Item {
    fn cells(&self, labels: &impl labels::WriteLabels) -> Option<&'static Cells> {
        registry::resolve(self, labels)
    }
}

macro_rules! metric_kind {
    ($(#[$doc:meta])* $name:ident, $handle:ident) => {
        $(#[$doc])*
        ///
        /// Made by [`metrics!`](crate::metrics!); `L` is the type of its labels.
        #[derive(Debug)]
        pub struct $name<L: Labels = ()> {
            item: Item,
            labels: PhantomData<fn(L)>,
        }

        impl<L: Labels> $name<L> {
            #[doc(hidden)]
            pub const fn new(declaration: &'static Declaration, family: &'static OnceLock<Family>) -> Self {
                Self { item: Item { declaration, family }, labels: PhantomData }
            }

            /// What was declared.
            pub fn declaration(&self) -> &'static Declaration {
                self.item.declaration
            }

            /// The cells of one label set: a look-up in this thread's cache. Keep the handle where even that matters.
            pub fn with(&self, labels: impl Accepts<L>) -> $handle {
                $handle::new(self.item.cells(&labels))
            }
        }
    };
}

metric_kind! {
    /// A number that only goes up, for instance requests handled.
    Counter, CounterHandle
}
metric_kind! {
    /// A number that goes up and down, for instance a queue's depth.
    Gauge, GaugeHandle
}
metric_kind! {
    /// A distribution, for instance of latencies. Observations inside of a sampled span leave an exemplar.
    Histogram, HistogramHandle
}

impl Counter<()> {
    /// Adds one.
    pub fn inc(&self) {
        self.with(()).inc();
    }

    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.with(()).add(amount);
    }
}

impl Gauge<()> {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.with(()).set(value);
    }

    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: f64) {
        self.with(()).add(amount);
    }

    /// Asks `callback` at each scrape instead of keeping a value. The first callback stays.
    pub fn observe_with(&self, callback: impl Fn() -> f64 + Send + Sync + 'static) {
        registry::family_of(&self.item, |family| family.set_callback(Box::new(callback)));
    }
}

impl Histogram<()> {
    /// Counts one observation.
    pub fn observe(&self, value: f64) {
        self.with(()).observe(value);
    }

    /// Observes the seconds until the returned timer is dropped.
    pub fn start_timer(&self) -> HistogramTimer {
        self.with(()).start_timer()
    }
}

/// The current instant, for timers.
fn now() -> Instant {
    Instant::now()
}

/// Declares metrics; see the module [`kenning::metrics`](mod@crate::metrics).
///
/// ```compile_fail
/// kenning::metrics! {
///     /// A counter without `_total` does not compile.
///     static BAD: Counter = "requests";
/// }
/// ```
#[macro_export]
macro_rules! metrics {
    ($(
        $(#[doc = $help:literal])+
        $vis:vis static $item:ident : $kind:ident $({ $($label:ident : $type:ty),+ $(,)? })? = $name:literal
        $(, buckets: $buckets:expr)? ;
    )*) => {$(
        $(#[doc = $help])+
        $vis static $item: $crate::metrics::$kind<$crate::metrics!(@labels $($($type),+)?)> = {
            static DECLARATION: $crate::metrics::Declaration = $crate::metrics::Declaration {
                name: $name,
                help: concat!($($help),+),
                kind: $crate::metrics::Kind::$kind,
                labels: &[$($(stringify!($label)),+)?],
                buckets: $crate::metrics!(@buckets $kind $($buckets)?),
                module: module_path!(),
            }
            .checked();
            static FAMILY: ::std::sync::OnceLock<$crate::metrics::FamilyCell> = ::std::sync::OnceLock::new();
            $crate::private::inventory::submit! {
                $crate::metrics::Registered { declaration: &DECLARATION, family: &FAMILY }
            }
            $crate::metrics::$kind::new(&DECLARATION, &FAMILY)
        };
    )*};
    (@labels) => { () };
    (@labels $type:ty) => { $type };
    (@labels $($type:ty),+) => { ($($type),+) };
    (@buckets Histogram) => { $crate::metrics::DEFAULT_BUCKETS };
    (@buckets Histogram $buckets:expr) => { &$buckets };
    (@buckets $kind:ident) => { &[] };
}

#[doc(hidden)]
pub use registry::Family as FamilyCell;

/// The metrics as a scraper asking with this `Accept` header gets them: body and content type.
///
/// Shows the declared metrics of this process, health checks, the SDK's own counters, process metrics and
/// `target_info`.
pub fn scrape(accept: Option<&str>) -> (String, &'static str) {
    let format = negotiate(accept);
    (render(&snapshot_all(), format), format.content_type())
}
