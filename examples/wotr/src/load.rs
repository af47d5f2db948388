//! The clients: a few threads that send events like people do, some of them wrong.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use crate::event::Event;
use crate::{Error, lifetime};

/// Clients at once.
const CLIENTS: usize = 4;
/// Average pause between two events of a client, in milliseconds; together they send about 20 events a second.
const PAUSE_MS: u64 = 200;
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);
const KINDS: [&str; 4] = ["page_view", "click", "purchase", "sign_up"];

/// Sends until told to stop.
pub fn run(api: SocketAddr) -> Result<(), Error> {
    for number in 0..CLIENTS {
        let name = format!("client-{number}");
        std::thread::Builder::new().name(name).spawn(move || client(api))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(lifetime::end());
    runtime.shutdown_background();
    Ok(())
}

fn client(api: SocketAddr) {
    let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
    let agent: ureq::Agent = config.build().into();
    let url = format!("http://{api}/ingest");
    let mut chance = Chance(RandomState::new().build_hasher().finish() | 1);
    loop {
        // Whatever the answer is, a client goes on: refusals and failures are what the telemetry is about.
        let _ = agent.post(&url).header("content-type", "application/json").send(body(&mut chance));
        std::thread::sleep(Duration::from_millis(PAUSE_MS / 2 + chance.below(PAUSE_MS)));
    }
}

/// Mostly good events; of a hundred, three are not events at all and two carry a value that no consumer accepts.
fn body(chance: &mut Chance) -> String {
    let number = chance.next();
    let kind = KINDS.get(chance.below(KINDS.len() as u64) as usize).copied().unwrap_or("click");
    let value = if chance.below(100) < 2 { -1.0 } else { chance.below(10_000) as f64 / 100.0 };
    let note = "x".repeat(chance.below(2_000) as usize);
    let event = Event { id: format!("evt-{number:016x}"), kind: kind.to_owned(), value, note };
    match chance.below(100) {
        0..3 => format!("{{\"id\":\"evt-{number:016x}\",\"kind\":"),
        _ => serde_json::to_string(&event).unwrap_or_default(),
    }
}

/// A xorshift stream; the seed is odd, so it never sticks at zero.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
