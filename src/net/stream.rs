//! A device's byte stream: plain, encrypted, or in memory. Sixteen bytes; never waits.

use super::memory::Pipe;
use super::tls::TlsStream;
use crate::limits;
use crate::metrics::calls::{Call, made, made_n};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// Where bytes come from and go to.
pub enum Stream {
    /// A socket.
    Plain(TcpStream),
    /// A socket with TLS over it; boxed, as few servers terminate TLS themselves.
    Tls(Box<TlsStream>),
    /// Two queues in memory.
    Memory(Box<Pipe>),
}

impl Stream {
    /// Sets a fresh socket up: packets leave at once, little waits in the kernel where nobody can take it back, and a peer
    /// that acknowledges nothing is given up.
    pub fn prepare(socket: &TcpStream) -> io::Result<()> {
        let options = SockRef::from(socket);
        made_n(Call::Socket, 3);
        options.set_tcp_nodelay(true)?;
        options.set_send_buffer_size(limits::SOCKET_SEND_BYTES)?;
        #[cfg(target_os = "linux")]
        options.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(())
    }

    /// Asks the reactor to report on this stream under `token`. Edge-triggered, once for its life.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        made(Call::Register);
        match self {
            Stream::Plain(socket) => registry.register(socket, token, both),
            Stream::Tls(tls) => registry.register(tls.socket(), token, both),
            Stream::Memory(_) => Ok(()),
        }
    }

    /// Reads what is there, once. Fewer bytes than `into` holds means that no more are there now; 0 is the end.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => uninterrupted(|| {
                made(Call::Read);
                socket.read(into)
            }),
            Stream::Tls(tls) => tls.read(into),
            Stream::Memory(pipe) => pipe.read(into),
        }
    }

    /// Writes once, as much as goes now.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => uninterrupted(|| {
                made(Call::Write);
                socket.write(bytes)
            }),
            Stream::Tls(tls) => tls.write(bytes),
            Stream::Memory(pipe) => pipe.write(bytes),
        }
    }

    /// The socket takes bytes again: what the TLS layer holds back (a handshake, a cut record) goes out.
    pub fn handle_writable(&mut self) -> io::Result<()> {
        match self {
            Stream::Tls(tls) => tls.push_out(),
            Stream::Plain(_) | Stream::Memory(_) => Ok(()),
        }
    }

    /// The other end's address; `None` in memory, or when it has gone.
    pub fn peer(&self) -> Option<SocketAddr> {
        made(Call::Socket);
        self.socket().and_then(|socket| socket.peer_addr().ok())
    }

    /// Our own address on this connection.
    pub fn local(&self) -> Option<SocketAddr> {
        made(Call::Socket);
        self.socket().and_then(|socket| socket.local_addr().ok())
    }

    fn socket(&self) -> Option<&TcpStream> {
        match self {
            Stream::Plain(socket) => Some(socket),
            Stream::Tls(tls) => Some(tls.get_ref()),
            Stream::Memory(_) => None,
        }
    }

    /// Nothing more comes from us.
    pub fn shutdown(&mut self) {
        made(Call::Socket);
        match self {
            Stream::Plain(socket) => drop(socket.shutdown(Shutdown::Write)),
            Stream::Tls(tls) => tls.shutdown(),
            Stream::Memory(pipe) => pipe.shutdown(),
        }
    }
}

/// Unacknowledged data for this long: the peer is gone. As long as the silence we allow (decision 10).
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = limits::SILENT_PEER;

/// A signal that interrupts a call is no news.
pub(super) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
