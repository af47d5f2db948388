//! Connections as an interface: listeners, outgoing connections and byte streams.
//!
//! Receivers, scrapers and exporters take a [`Net`] as an argument. [`TcpNet`] is the machine's TCP; [`sim::SimNet`] joins
//! both ends in memory and can delay, cut off and reset them on command. Datagrams are in [`udp`]. Absent: TLS and
//! HTTP (built on these streams), and timeouts (the caller's business, with its own limits).

pub mod sim;
pub mod udp;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A future that owns or borrows what it needs for `'a`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A connection's bytes, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection of any kind.
pub type BoxStream = Box<dyn Stream>;

/// A network to listen on and to connect through.
pub trait Net: Send + Sync + 'static {
    /// Listens on `address`; port 0 picks a free one, which [`Listener::local_addr`] tells.
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>>;
    /// Connects to `target`, written `host:port`, where `host` is a name or an address (IPv6 in brackets), or [`UNIX`] and
    /// the path of a socket.
    fn connect<'a>(&'a self, target: &'a str) -> BoxFuture<'a, io::Result<BoxStream>>;
}

/// Waits for connections.
pub trait Listener: Send + Sync {
    /// The next connection and who opened it. An error concerns that one connection; the listener can go on.
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>>;
    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Before the path of a Unix socket in the target of [`Net::connect`].
pub const UNIX: &str = "unix:";

/// The machine's TCP, and its Unix sockets for connections that it makes.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpNet;

impl Net for TcpNet {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Listener>>> {
        Box::pin(async move { Ok(Box::new(TcpListener::bind(address).await?) as Box<dyn Listener>) })
    }

    fn connect<'a>(&'a self, target: &'a str) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            #[cfg(unix)]
            if let Some(path) = target.strip_prefix(UNIX) {
                return Ok(Box::new(tokio::net::UnixStream::connect(path).await?) as BoxStream);
            }
            Ok(boxed(TcpStream::connect(target).await?))
        })
    }
}

impl Listener for TcpListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(BoxStream, SocketAddr)>> {
        Box::pin(async move {
            let (stream, peer) = TcpListener::accept(self).await?;
            Ok((boxed(stream), peer))
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

fn boxed(stream: TcpStream) -> BoxStream {
    // Small replies must not wait for the peer's delayed acknowledgement. A socket that is gone already says so on
    // its first read.
    let _ = stream.set_nodelay(true);
    Box::new(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn tcp_carries_bytes_both_ways() {
        let listener = TcpNet.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (mut stream, peer) = listener.accept().await.unwrap();
            assert!(peer.ip().is_loopback());
            let mut buf = [0; 4];
            stream.read_exact(&mut buf).await.unwrap();
            stream.write_all(&buf).await.unwrap();
        });
        let mut stream = TcpNet.connect(&target).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "ping");
        server.await.unwrap();
        assert!(TcpNet.connect(&target).await.is_err());
    }
}
