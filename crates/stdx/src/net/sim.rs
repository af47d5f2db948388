//! A network in memory: listeners by address, and wires that can be slow, cut off or reset on command.
//!
//! Faults are set for a listener's address and concern its present and future connections, in both directions: a
//! latency for every chunk of bytes, a partition (nothing arrives and nothing fails, until it heals), a reset (both
//! ends fail with `ConnectionReset`). Time is tokio's, so a test with a paused clock waits for nothing.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::time::Sleep;

use super::{BoxFuture, BoxStream, Listener, Net};

/// Bytes in flight per direction before a writer waits.
const WIRE_CAPACITY: usize = 64 << 10;

/// Connections waiting to be accepted before a connector is refused.
const BACKLOG: usize = 128;

/// Where ports are picked from when none is asked for, and those of connecting ends.
const FIRST_PICKED_PORT: u16 = 40_000;

/// A network in memory. Clones are the same network.
#[derive(Clone, Debug, Default)]
pub struct SimNet {
    hub: Arc<Mutex<Hub>>,
}

#[derive(Debug, Default)]
struct Hub {
    doors: BTreeMap<SocketAddr, mpsc::Sender<(BoxedWire, SocketAddr)>>,
    links: BTreeMap<SocketAddr, Arc<Link>>,
    picked: u16,
}

type BoxedWire = Box<SimStream>;

impl Hub {
    fn pick_port(&mut self) -> u16 {
        let port = FIRST_PICKED_PORT + self.picked;
        self.picked = (self.picked + 1) % (u16::MAX - FIRST_PICKED_PORT);
        port
    }

    fn link(&mut self, address: SocketAddr) -> Arc<Link> {
        Arc::clone(self.links.entry(address).or_default())
    }
}

impl SimNet {
    /// A network without listeners and faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Delays every chunk written to or from the listener at `address`.
    pub fn set_latency(&self, address: SocketAddr, latency: Duration) {
        self.hub().link(address).change(|weather| weather.latency = latency);
    }

    /// Cuts the listener at `address` off, or heals the cut. While cut off, connecting and bytes wait.
    pub fn set_partitioned(&self, address: SocketAddr, partitioned: bool) {
        self.hub().link(address).change(|weather| weather.partitioned = partitioned);
    }

    /// Breaks all present connections of the listener at `address`; new ones are possible.
    pub fn reset(&self, address: SocketAddr) {
        self.hub().link(address).change(|weather| weather.resets += 1);
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins a new pair of wires and leaves one at the listener's door.
    fn join(&self, address: SocketAddr) -> io::Result<BoxStream> {
        let mut hub = self.hub();
        let door = hub.doors.get(&address).cloned().ok_or(io::ErrorKind::ConnectionRefused)?;
        let link = hub.link(address);
        let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), hub.pick_port());
        let (near, far) = tokio::io::duplex(WIRE_CAPACITY);
        let far = Box::new(SimStream::new(far, Arc::clone(&link)));
        door.try_send((far, peer)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(Box::new(SimStream::new(near, link)))
    }
}

impl Net for SimNet {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let mut hub = self.hub();
            let port = if address.port() == 0 { hub.pick_port() } else { address.port() };
            let address = SocketAddr::new(address.ip(), port);
            // A listener that was dropped has closed its door.
            if hub.doors.get(&address).is_some_and(|door| !door.is_closed()) {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            let (door, waiting) = mpsc::channel(BACKLOG);
            hub.doors.insert(address, door);
            Ok(Box::new(SimListener { address, waiting: AsyncMutex::new(waiting) }) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, target: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let target = target.replace("localhost:", "127.0.0.1:");
            let address = target.parse().map_err(|_| io::Error::from(io::ErrorKind::HostUnreachable))?;
            let link = self.hub().link(address);
            let latency = std::future::poll_fn(|cx| link.poll_open(cx)).await;
            tokio::time::sleep(latency).await;
            self.join(address)
        })
    }
}

struct SimListener {
    address: SocketAddr,
    waiting: AsyncMutex<mpsc::Receiver<(BoxedWire, SocketAddr)>>,
}

impl Listener for SimListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async move {
            let next = self.waiting.lock().await.recv().await;
            let (wire, peer) = next.ok_or(io::ErrorKind::NotConnected)?;
            Ok((wire as BoxStream, peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    latency: Duration,
    partitioned: bool,
    resets: u64,
}

/// What all connections of one listener share: the weather, and who waits for it to change.
#[derive(Debug, Default)]
struct Link {
    state: Mutex<(Weather, Vec<Waker>)>,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, (Weather, Vec<Waker>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Weather)) {
        let mut state = self.state();
        change(&mut state.0);
        state.1.drain(..).for_each(Waker::wake);
    }

    /// Leaves the waker to be called at the next change; one entry per task.
    fn watch(state: &mut (Weather, Vec<Waker>), cx: &Context<'_>) {
        if !state.1.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.1.push(cx.waker().clone());
        }
    }

    /// Ready with the latency once the link is not partitioned.
    fn poll_open(&self, cx: &Context<'_>) -> Poll<Duration> {
        let mut state = self.state();
        if !state.0.partitioned {
            return Poll::Ready(state.0.latency);
        }
        Self::watch(&mut state, cx);
        Poll::Pending
    }
}

/// One end of a connection.
#[derive(Debug)]
struct SimStream {
    wire: DuplexStream,
    link: Arc<Link>,
    resets_at_start: u64,
    /// The chunk being written has to wait for this before it is on the wire.
    delay: Option<Pin<Box<Sleep>>>,
}

impl SimStream {
    fn new(wire: DuplexStream, link: Arc<Link>) -> Self {
        let resets_at_start = link.state().0.resets;
        Self { wire, link, resets_at_start, delay: None }
    }

    /// Ready with the latency when bytes may move; also leaves the waker, since a reset must wake whoever waits for the
    /// wire itself.
    fn poll_weather(&self, cx: &Context<'_>) -> Poll<io::Result<Duration>> {
        let mut state = self.link.state();
        if state.0.resets != self.resets_at_start {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Link::watch(&mut state, cx);
        if state.0.partitioned { Poll::Pending } else { Poll::Ready(Ok(state.0.latency)) }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_weather(cx))?;
        Pin::new(&mut self.wire).poll_read(cx, buf)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let latency = ready!(self.poll_weather(cx))?;
        if !latency.is_zero() {
            let delay = self.delay.get_or_insert_with(|| Box::pin(tokio::time::sleep(latency)));
            ready!(delay.as_mut().poll(cx));
        }
        let written = ready!(Pin::new(&mut self.wire).poll_write(cx, bytes));
        self.delay = None;
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_weather(cx))?;
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, timeout};

    const WAIT: Duration = Duration::from_secs(60);

    async fn pair(net: &SimNet) -> (SocketAddr, BoxStream, BoxStream) {
        let listener = net.bind("10.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let near = net.connect(&address.to_string()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (address, near, far)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_arrive_after_the_latency() {
        let net = SimNet::new();
        let (address, mut near, mut far) = pair(&net).await;
        net.set_latency(address, Duration::from_secs(3));
        let start = Instant::now();
        near.write_all(b"ping").await.unwrap();
        let mut buf = [0; 4];
        far.read_exact(&mut buf).await.unwrap();
        assert_eq!((&buf, start.elapsed().as_secs()), (b"ping", 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_holds_bytes_until_it_heals() {
        let net = SimNet::new();
        let (address, mut near, mut far) = pair(&net).await;
        near.write_all(b"before").await.unwrap();
        net.set_partitioned(address, true);
        let mut buf = [0; 6];
        assert!(timeout(WAIT, far.read_exact(&mut buf)).await.is_err());
        assert!(timeout(WAIT, near.write_all(b"x")).await.is_err());
        assert!(timeout(WAIT, net.connect(&address.to_string())).await.is_err());
        let healer = net.clone();
        tokio::spawn(async move {
            tokio::time::sleep(WAIT).await;
            healer.set_partitioned(address, false);
        });
        far.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"before");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_breaks_waiting_readers_and_later_writers() {
        let net = SimNet::new();
        let (address, mut near, mut far) = pair(&net).await;
        let reader = tokio::spawn(async move { far.read_u8().await.unwrap_err().kind() });
        tokio::task::yield_now().await;
        net.reset(address);
        assert_eq!(reader.await.unwrap(), io::ErrorKind::ConnectionReset);
        assert_eq!(near.write_u8(1).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn addresses_are_taken_once_and_refuse_when_nobody_listens() {
        let net = SimNet::new();
        let refused = net.connect("127.0.0.1:9").await.err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        let listener = net.bind(address).await.unwrap();
        assert_eq!(net.bind(address).await.err().unwrap().kind(), io::ErrorKind::AddrInUse);
        assert!(net.connect("localhost:80").await.is_ok());
        drop(listener);
        assert!(net.connect("localhost:80").await.is_err());
        assert!(net.bind(address).await.is_ok());
    }
}
