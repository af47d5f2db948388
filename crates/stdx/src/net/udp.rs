//! Datagrams as an interface: [`UdpPort`] is the machine's UDP, [`SimPort`] is fed by a test.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;
use tokio::sync::{Mutex, mpsc};

use super::BoxFuture;

/// Receives datagrams and answers them.
pub trait Datagrams: Send + Sync {
    /// The next datagram's length and sender; what does not fit into `buffer` is cut off.
    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>>;
    /// The next datagram that is already there; `WouldBlock` when none is.
    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
    /// Sends a datagram.
    fn send<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>>;
    /// Where it receives.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A UDP socket.
#[derive(Debug)]
pub struct UdpPort(UdpSocket);

impl UdpPort {
    /// Binds `address` and asks for a kernel buffer of `receive_buffer` bytes; the system may give less.
    pub async fn bind(address: SocketAddr, receive_buffer: usize) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        // A smaller buffer than asked for still works, so a refusal is no error.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(receive_buffer);
        Ok(Self(socket))
    }
}

impl Datagrams for UdpPort {
    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(self.0.recv_from(buffer))
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.0.try_recv_from(buffer)
    }

    fn send<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { self.0.send_to(bytes, to).await.map(|_| ()) })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A datagram and its peer.
pub type Datagram = (Vec<u8>, SocketAddr);

/// Datagrams that a test puts in, and those that are answered.
#[derive(Debug)]
pub struct SimPort {
    address: SocketAddr,
    incoming: Mutex<mpsc::Receiver<Datagram>>,
    outgoing: mpsc::Sender<Datagram>,
}

impl SimPort {
    /// A port at `address` with the ends that a test holds: what it sends comes in, what is answered comes out. Both hold
    /// `capacity` datagrams; answers beyond that are lost, as on a network.
    #[must_use]
    pub fn new(
        address: SocketAddr,
        capacity: usize,
    ) -> (Self, mpsc::Sender<Datagram>, mpsc::Receiver<Datagram>) {
        let (feed, incoming) = mpsc::channel(capacity);
        let (outgoing, answers) = mpsc::channel(capacity);
        (Self { address, incoming: Mutex::new(incoming), outgoing }, feed, answers)
    }
}

/// Copies what fits.
fn deliver((bytes, from): Datagram, buffer: &mut [u8]) -> (usize, SocketAddr) {
    let len = bytes.len().min(buffer.len());
    if let (Some(to), Some(bytes)) = (buffer.get_mut(..len), bytes.get(..len)) {
        to.copy_from_slice(bytes);
    }
    (len, from)
}

impl Datagrams for SimPort {
    fn receive<'a>(&'a self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<(usize, SocketAddr)>> {
        Box::pin(async move {
            match self.incoming.lock().await.recv().await {
                Some(datagram) => Ok(deliver(datagram, buffer)),
                // The test has let go: nothing will ever come.
                None => std::future::pending().await,
            }
        })
    }

    fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let next = self.incoming.try_lock().ok().and_then(|mut incoming| incoming.try_recv().ok());
        next.map(|datagram| deliver(datagram, buffer)).ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn send<'a>(&'a self, bytes: &'a [u8], to: SocketAddr) -> BoxFuture<'a, io::Result<()>> {
        let _ = self.outgoing.try_send((bytes.to_vec(), to));
        Box::pin(std::future::ready(Ok(())))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_kinds_carry_datagrams() {
        let any = "127.0.0.1:0".parse().unwrap();
        let (real, peer) =
            (UdpPort::bind(any, 1 << 16).await.unwrap(), UdpPort::bind(any, 1 << 16).await.unwrap());
        peer.send(b"hello", real.local_addr().unwrap()).await.unwrap();
        let (sim, feed, mut answers) = SimPort::new(any, 4);
        feed.send((b"hello".to_vec(), any)).await.unwrap();
        let mut buffer = [0; 4];
        for port in [&real as &dyn Datagrams, &sim] {
            let (len, _) = port.receive(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..len], b"hell");
            assert_eq!(port.try_receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        }
        sim.send(b"x", any).await.unwrap();
        assert_eq!(answers.recv().await, Some((b"x".to_vec(), any)));
    }
}
