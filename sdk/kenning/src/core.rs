//! What a running SDK consists of; shared by the subscriber, the exporter and the guard.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use crate::clock::Clock;
use crate::config::{Config, Exporter};
use crate::drops::{Ledger, Reason, Signal};
use crate::exception::BacktraceBudget;
use crate::fields::EventFields;
use crate::filter::Filter;
use crate::ids::IdSource;
use crate::logline::{LineStyle, Record, Sink};
use crate::outbox::{Bell, Outbox};
use crate::spans::SpanTable;

/// One running SDK.
#[derive(Debug)]
pub(crate) struct Core {
    /// Tells the spans of several cores of one process apart (tests run many).
    pub(crate) instance: u32,
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) ids: IdSource,
    pub(crate) filter: RwLock<Arc<Filter>>,
    pub(crate) spans: SpanTable,
    pub(crate) style: LineStyle,
    pub(crate) sink: Sink,
    /// Absent when spans go nowhere.
    pub(crate) spans_out: Option<Outbox>,
    /// Absent when log records go to standard output only.
    pub(crate) logs_out: Option<Outbox>,
    pub(crate) backtraces: BacktraceBudget,
    pub(crate) bell: Arc<Bell>,
    pub(crate) ledger: Arc<Ledger>,
    /// When the SDK last said something about itself, so that it never floods.
    last_notice_mono_nanos: Mutex<Option<u64>>,
}

/// The rims of a core: what differs between production and tests.
pub(crate) struct Rims {
    pub(crate) clock: Clock,
    pub(crate) ids: IdSource,
    pub(crate) sink: Sink,
    pub(crate) outbox_bytes_max: usize,
    pub(crate) backtraces_disabled: bool,
}

/// The SDK's own notices keep this distance.
const NOTICE_INTERVAL_NANOS: u64 = 30_000_000_000;

impl Core {
    pub(crate) fn new(config: Config, rims: Rims) -> Arc<Self> {
        static INSTANCES: AtomicU32 = AtomicU32::new(1);
        let (bell, ledger) = (Arc::<Bell>::default(), Arc::<Ledger>::default());
        let outbox = |signal, exporter| {
            let wanted = exporter != Exporter::None;
            wanted.then(|| Outbox::new(signal, rims.outbox_bytes_max, bell.clone(), ledger.clone()))
        };
        Arc::new(Self {
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            clock: rims.clock,
            ids: rims.ids,
            filter: RwLock::new(Arc::new(config.filter.clone())),
            spans: SpanTable::default(),
            style: LineStyle::new(&config),
            sink: rims.sink,
            spans_out: outbox(Signal::Spans, config.traces),
            // Console means standard output, where the lines are already.
            logs_out: if config.logs == Exporter::Otlp { outbox(Signal::Logs, config.logs) } else { None },
            backtraces: BacktraceBudget::new(rims.backtraces_disabled),
            bell,
            ledger,
            last_notice_mono_nanos: Mutex::new(None),
            config,
        })
    }

    pub(crate) fn filter(&self) -> Arc<Filter> {
        self.filter.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(crate) fn set_filter(&self, filter: Filter) {
        *self.filter.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(filter);
    }

    pub(crate) fn write_line(&self, line: &[u8]) {
        if !self.sink.write(line) {
            self.ledger.drop_items(Signal::Logs, Reason::Write, 1);
        }
    }

    /// A line about the SDK itself, at most one per [`NOTICE_INTERVAL_NANOS`]; never exported, so that trouble
    /// with the exporter does not feed the exporter.
    pub(crate) fn notice(&self, message: &str) {
        let now = self.clock.mono_nanos();
        {
            let mut last = crate::sync::lock(&self.last_notice_mono_nanos);
            if last.is_some_and(|last| now.saturating_sub(last) < NOTICE_INTERVAL_NANOS) {
                return;
            }
            *last = Some(now);
        }
        self.final_notice(message);
    }

    /// As [`Core::notice`], whenever the last one was.
    pub(crate) fn final_notice(&self, message: &str) {
        let fields = EventFields { message: message.to_owned(), ..EventFields::default() };
        let record = Record {
            unix_nanos: self.clock.unix_nanos(),
            level: &tracing_core::Level::WARN,
            target: "kenning",
            event_name: "",
            fields: &fields,
            scoped_line: b"",
            scoped_attributes: b"",
            ids: None,
            sampled: false,
        };
        let mut line = Vec::new();
        self.style.write(&mut line, &record);
        self.write_line(&line);
    }
}
