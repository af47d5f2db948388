//! Counts active series and streams of one tenant, in bounded memory, to refuse new ones beyond the limit.
//!
//! Active means: seen in the current or the previous window of [`WINDOW`], so for one to two windows. A series is
//! remembered by a 64-bit keyed hash: of half a million series, the chance that any two collide is one in 10^8, and
//! the harm is one series not counted.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use kenning_model::LabelSet;
use kenning_model::keyed::keyed_pair;

use crate::bucket::Bucket;
use crate::culprit::{Blame, Culprits};
use crate::room::{self, Room};

/// Half of the time after which a silent series is no longer active.
pub const WINDOW: Duration = Duration::from_secs(30 * 60);

/// Series remembered per tenant when the number of series itself is not limited. Beyond it new series are let in
/// uncounted: about 64 MiB of memory are the bound then.
pub const TRACKED_MAX: usize = 2_000_000;

const HOUR_SECONDS: f64 = 3600.0;

/// What may be new.
#[derive(Clone, Copy, Debug, Default)]
pub struct Caps {
    /// Active members in all.
    pub total: Option<usize>,
    /// Active members of one group (a metric's name).
    pub per_group: Option<usize>,
    /// New members per hour.
    pub new_per_hour: Option<u64>,
}

/// Which limit a new member broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// [`Caps::total`] and its value.
    Total(usize),
    /// [`Caps::per_group`] and its value.
    PerGroup(usize),
    /// [`Caps::new_per_hour`] and its value.
    NewPerHour(u64),
    /// The memory of active members of all tenants, and its bytes.
    Memory(usize),
}

impl Full {
    /// The setting that holds the limit, below `limits.ingest` (`memory`: below `limits`); `total` is the one of
    /// [`Full::Total`].
    pub const fn setting(self, total: &'static str) -> &'static str {
        match self {
            Self::Total(_) => total,
            Self::PerGroup(_) => "series_per_metric",
            Self::NewPerHour(_) => "new_series_per_hour",
            Self::Memory(_) => "memory",
        }
    }
}

/// The active members.
#[derive(Debug)]
pub struct Active {
    caps: Caps,
    /// Begins every hash, so that nobody outside can make up series that collide.
    secret: u64,
    current: HashMap<u64, u64, BuildHasherDefault<Identity>>,
    previous: HashMap<u64, u64, BuildHasherDefault<Identity>>,
    groups: HashMap<u64, usize, BuildHasherDefault<Identity>>,
    churn: Option<Bucket>,
    culprits: Culprits,
    rotate_at: Duration,
    /// The number of the current window.
    window: u64,
    /// What all members of all tenants share.
    room: Arc<Room>,
    /// Bytes taken of it by members of the current and of the previous window.
    current_bytes: usize,
    previous_bytes: usize,
}

impl Active {
    /// Nobody is active yet. `secret` keys the hashes; what is admitted does not depend on it.
    pub fn new(caps: Caps, secret: u64, now: Duration) -> Self {
        let churn = caps.new_per_hour.map(|n| Bucket::new(n as f64 / HOUR_SECONDS, n as f64, now));
        Self {
            caps,
            secret,
            current: HashMap::default(),
            previous: HashMap::default(),
            groups: HashMap::default(),
            churn,
            culprits: Culprits::default(),
            rotate_at: now + WINDOW,
            window: 0,
            room: Arc::default(),
            current_bytes: 0,
            previous_bytes: 0,
        }
    }

    /// The same with a share in a room, before anybody was admitted.
    #[must_use]
    pub fn sharing(self, room: Arc<Room>) -> Self {
        Self { room, ..self }
    }

    /// The number of the window at `now`: members that were all seen in it stay so as long as it is the current one.
    pub fn window(&mut self, now: Duration) -> u64 {
        self.rotate(now);
        self.window
    }

    /// Members seen within the last one to two windows.
    pub fn len(&self) -> usize {
        self.current.len() + self.previous.len()
    }

    /// True when all of these were seen in the current window: they were admitted, and nothing changes by seeing them
    /// again.
    pub fn all_current<'a>(
        &mut self,
        members: impl IntoIterator<Item = &'a LabelSet>,
        now: Duration,
    ) -> bool {
        self.rotate(now);
        let mark = self.mark();
        members.into_iter().all(|member| {
            // Series that come again and again bear the mark, so that they are looked up once in a window.
            if member.mark() == mark {
                return true;
            }
            let known = self.current.contains_key(&self.member_key(member));
            if known {
                member.set_mark(mark);
            }
            known
        })
    }

    /// A number that stands for this window of these members and for nothing else.
    fn mark(&self) -> u64 {
        keyed_pair(self.secret, self.window) | 1
    }

    /// Marks a member as seen. A new one is refused when a limit is reached; members already active never are.
    pub fn admit(&mut self, member: &LabelSet, group: &str, now: Duration) -> Result<(), Full> {
        self.rotate(now);
        let key = self.member_key(member);
        if self.current.contains_key(&key) {
            return Ok(());
        }
        let bytes = room::cost_of(member);
        if let Some(group) = self.previous.remove(&key) {
            self.current.insert(key, group);
            self.previous_bytes = self.previous_bytes.saturating_sub(bytes);
            self.current_bytes += bytes;
            return Ok(());
        }
        self.admit_new(key, self.keyed_hash(group), bytes, now)
    }

    /// Who is to blame for a member that was refused just now.
    pub fn blame(&mut self, member: &LabelSet, group: &str, now: Duration) -> Blame {
        self.culprits.blame(member, group, now)
    }

    fn admit_new(&mut self, key: u64, group: u64, bytes: usize, now: Duration) -> Result<(), Full> {
        let (active, in_group) = (self.len(), self.groups.get(&group).copied().unwrap_or(0));
        match self.caps {
            Caps { total: Some(cap), .. } if active >= cap => return Err(Full::Total(cap)),
            Caps { per_group: Some(cap), .. } if in_group >= cap => return Err(Full::PerGroup(cap)),
            _ => {}
        }
        // Those beyond what is remembered take no room, as nobody would give it back.
        let is_tracked = self.caps.total.is_some() || active < TRACKED_MAX;
        if is_tracked && !self.room.take(bytes) {
            return Err(Full::Memory(self.room.max()));
        }
        if let (Some(churn), Some(cap)) = (&mut self.churn, self.caps.new_per_hour)
            && churn.charge(1, now).is_err()
        {
            if is_tracked {
                self.room.give_back(bytes);
            }
            return Err(Full::NewPerHour(cap));
        }
        if is_tracked {
            self.current.insert(key, group);
            self.groups.insert(group, in_group + 1);
            self.current_bytes += bytes;
        }
        Ok(())
    }

    /// A set's own hash is under a key of this process already.
    fn member_key(&self, member: &LabelSet) -> u64 {
        member.keyed_hash() ^ self.secret
    }

    fn keyed_hash<T: Hash + ?Sized>(&self, value: &T) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.secret);
        value.hash(&mut hasher);
        hasher.finish()
    }

    fn rotate(&mut self, now: Duration) {
        if now < self.rotate_at {
            return;
        }
        let silent_for_two = now >= self.rotate_at + WINDOW;
        for _ in 0..=usize::from(silent_for_two) {
            let gone = std::mem::replace(&mut self.previous, std::mem::take(&mut self.current));
            self.forget(gone.into_values());
            let bytes = std::mem::replace(&mut self.previous_bytes, std::mem::take(&mut self.current_bytes));
            self.room.give_back(bytes);
        }
        self.rotate_at = now + WINDOW;
        self.window += 1;
    }

    fn forget(&mut self, groups: impl Iterator<Item = u64>) {
        for group in groups {
            if let Some(count) = self.groups.get_mut(&group) {
                *count -= 1;
                if *count == 0 {
                    self.groups.remove(&group);
                }
            }
        }
    }
}

/// The keys are keyed hashes already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(n: usize) -> LabelSet {
        LabelSet::from_pairs([("n", n.to_string())])
    }

    fn admitted(active: &mut Active, members: std::ops::Range<usize>, group: &str, now: Duration) -> usize {
        members.filter(|n| active.admit(&series(*n), group, now).is_ok()).count()
    }

    #[test]
    fn only_new_members_are_refused() {
        let caps = Caps { total: Some(10), ..Caps::default() };
        let mut active = Active::new(caps, 7, Duration::ZERO);
        assert_eq!(admitted(&mut active, 0..8, "m", Duration::ZERO), 8);
        assert_eq!(admitted(&mut active, 0..100, "m", Duration::ZERO), 10);
        assert_eq!(active.admit(&series(50), "m", Duration::ZERO), Err(Full::Total(10)));
        assert_eq!(active.len(), 10);
    }

    #[test]
    fn groups_have_a_limit_of_their_own() {
        let caps = Caps { per_group: Some(3), ..Caps::default() };
        let mut active = Active::new(caps, 7, Duration::ZERO);
        assert_eq!(admitted(&mut active, 0..10, "a", Duration::ZERO), 3);
        assert_eq!(admitted(&mut active, 10..20, "b", Duration::ZERO), 3);
    }

    #[test]
    fn silent_members_make_room_after_two_windows() {
        let caps = Caps { total: Some(4), per_group: Some(4), ..Caps::default() };
        let mut active = Active::new(caps, 7, Duration::ZERO);
        assert_eq!(admitted(&mut active, 0..4, "a", Duration::ZERO), 4);
        assert_eq!(admitted(&mut active, 0..1, "a", WINDOW), 1);
        assert_eq!(active.len(), 4);
        assert_eq!(admitted(&mut active, 4..10, "a", 2 * WINDOW), 3);
        assert_eq!(admitted(&mut active, 20..30, "a", 9 * WINDOW), 4);
    }

    #[test]
    fn marks_say_no_more_than_the_window_does() {
        let now = Duration::ZERO;
        let mut one = Active::new(Caps::default(), 7, now);
        let mut other = Active::new(Caps::default(), 8, now);
        let member = series(1);
        assert!(!one.all_current([&member], now));
        assert_eq!(one.admit(&member, "a", now), Ok(()));
        assert!(one.all_current([&member], now) && one.all_current([&member], now));
        assert!(!other.all_current([&member], now), "another tenant's");
        assert!(!one.all_current([&member], WINDOW), "the next window");
    }

    #[test]
    fn all_share_one_room_and_leave_it() {
        let room = Arc::new(Room::new(10 * room::cost_of(&series(1))));
        let open = || Active::new(Caps::default(), 7, Duration::ZERO).sharing(Arc::clone(&room));
        let (mut one, mut other) = (open(), open());
        assert_eq!(admitted(&mut one, 0..7, "a", Duration::ZERO), 7);
        assert_eq!(admitted(&mut other, 0..7, "a", Duration::ZERO), 3);
        // Those who are in stay in, and moving on to another window costs nothing.
        assert_eq!(admitted(&mut one, 0..9, "a", WINDOW), 7);
        assert_eq!(one.admit(&series(8), "a", WINDOW), Err(Full::Memory(room.max())));
        assert_eq!(room.taken(), room.max());
        // The other's are silent for two windows.
        assert_eq!(admitted(&mut other, 7..8, "a", WINDOW), 0);
        assert_eq!(admitted(&mut one, 0..7, "a", 2 * WINDOW), 7);
        assert_eq!(admitted(&mut other, 0..2, "a", 3 * WINDOW), 2);
        assert_eq!(admitted(&mut other, 2..9, "a", 9 * WINDOW), 3);
        assert_eq!(admitted(&mut one, 0..9, "a", 9 * WINDOW), 7);
    }

    #[test]
    fn a_member_over_the_rate_takes_no_room() {
        let room = Arc::new(Room::default());
        let caps = Caps { new_per_hour: Some(5), ..Caps::default() };
        let mut active = Active::new(caps, 7, Duration::ZERO).sharing(Arc::clone(&room));
        assert_eq!(admitted(&mut active, 0..9, "a", Duration::ZERO), 5);
        assert_eq!(room.taken(), 5 * room::cost_of(&series(1)));
    }

    #[test]
    fn churn_is_limited_per_hour() {
        let caps = Caps { new_per_hour: Some(60), ..Caps::default() };
        let mut active = Active::new(caps, 7, Duration::ZERO);
        assert_eq!(admitted(&mut active, 0..100, "a", Duration::ZERO), 60);
        assert_eq!(active.admit(&series(61), "a", Duration::ZERO), Err(Full::NewPerHour(60)));
        assert_eq!(admitted(&mut active, 100..200, "a", Duration::from_secs(600)), 10);
    }
}
