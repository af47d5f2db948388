//! Caps on open connections, shared by all listeners.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts open connections in all and per address. Cloning shares the counts.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: Option<usize>,
    per_address_max: Option<usize>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place taken; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Default for Connections {
    /// 4096 in all, 256 per address.
    fn default() -> Self {
        Self::new(Some(4096), Some(256))
    }
}

impl Connections {
    /// Caps in all and per address; `None` lifts one.
    #[must_use]
    pub fn new(max: Option<usize>, per_address_max: Option<usize>) -> Self {
        Self(Arc::new(Shared { max, per_address_max, open: Mutex::default() }))
    }

    /// Takes a place, or names the cap that is reached.
    pub(super) fn admit(&self, address: IpAddr) -> Result<Slot, &'static str> {
        let address = network(address);
        let mut open = self.0.lock();
        if self.0.max.is_some_and(|max| open.total >= max) {
            return Err("too_many");
        }
        let here = open.by_address.get(&address).copied().unwrap_or(0);
        if self.0.per_address_max.is_some_and(|max| here >= max) {
            return Err("too_many_of_address");
        }
        open.by_address.insert(address, here + 1);
        open.total += 1;
        Ok(Slot { shared: self.0.clone(), address })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.shared.lock();
        open.total = open.total.saturating_sub(1);
        if let Some(here) = open.by_address.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// One subscriber usually holds a whole IPv6 /64, so that is counted as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back() {
        let connections = Connections::new(Some(3), Some(2));
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = connections.admit(ip("10.0.0.1")).unwrap();
        let _second = connections.admit(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(connections.admit(ip("10.0.0.1")).unwrap_err(), "too_many_of_address");
        let _third = connections.admit(ip("2001:db8::1")).unwrap();
        assert_eq!(connections.admit(ip("10.0.0.2")).unwrap_err(), "too_many");
        drop(first);
        let _fourth = connections.admit(ip("2001:db8::2")).unwrap();
        assert_eq!(connections.admit(ip("2001:db8::3")).unwrap_err(), "too_many");
    }
}
