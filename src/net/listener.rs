//! One listening socket per shard on one address: the kernel spreads new connections over them (SO_REUSEPORT).

use super::occupant;
use crate::metrics::calls::{Call, made};
use crate::time::{Duration, Instant};
use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::File;
use std::io;
use std::net::SocketAddr;

/// Connections the kernel keeps for us while a pass runs: a power cut's worth of devices that return together.
const BACKLOG: i32 = 4_096;
/// How long accepting rests after the process ran out of file descriptors: long enough not to spin, short enough that a
/// device's connect (10 s) survives it.
pub const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket, and a spare descriptor for the day there are none left.
pub struct Listener {
    socket: TcpListener,
    reserve: Option<File>,
    paused_until: Option<Instant>,
}

/// What came of an attempt to accept.
pub enum Accepted {
    /// A connection.
    Stream(TcpStream, SocketAddr),
    /// Nobody waits.
    Nobody,
    /// No descriptor is left: one who waited was turned away, and accepting rests for [`DESCRIPTOR_PAUSE`].
    NoDescriptor,
    /// This one broke before we had it; there may be others.
    Broken,
}

impl Listener {
    /// Takes the next connection, if there is one.
    pub fn accept(&mut self, now: Instant) -> Accepted {
        if self.paused_until.is_some_and(|until| now < until) {
            return Accepted::Nobody;
        }
        self.paused_until = None;
        made(Call::Accept);
        match self.socket.accept() {
            Ok((stream, from)) => Accepted::Stream(stream, from),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Accepted::Nobody,
            Err(e) if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                self.turn_one_away();
                self.paused_until = Some(now + DESCRIPTOR_PAUSE);
                Accepted::NoDescriptor
            }
            Err(_) => Accepted::Broken,
        }
    }

    /// When accepting goes on after a pause. An edge-triggered reactor would not tell.
    pub fn resumes_at(&self) -> Option<Instant> {
        self.paused_until
    }

    /// The address, with the real port.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// For the reactor.
    pub fn source(&mut self) -> &mut TcpListener {
        &mut self.socket
    }

    /// Uses the spare descriptor to take one connection and hang up, so that the device learns at once.
    fn turn_one_away(&mut self) {
        self.reserve = None;
        drop(self.socket.accept());
        self.reserve = spare();
    }
}

/// Opens `count` listeners on one address. Port 0 picks a free one, the same for all.
pub fn listen(address: SocketAddr, count: usize) -> Result<Vec<Listener>, ListenFault> {
    let fault = |e: io::Error| ListenFault::new(address, e);
    if address.port() != 0 {
        // With SO_REUSEPORT a second server of the same user would share our port unnoticed. A socket without it cannot.
        probe(address).map_err(fault)?;
    }
    let mut at = address;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let listener = open(at).map_err(fault)?;
        at = listener.address().map_err(fault)?;
        all.push(listener);
    }
    Ok(all)
}

fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn open(address: SocketAddr) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Listener { socket: TcpListener::from_std(socket.into()), reserve: spare(), paused_until: None })
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Why we cannot listen; names the address and, where the system tells, who has the port.
#[derive(Debug)]
pub struct ListenFault {
    /// Where we wanted to listen.
    pub address: SocketAddr,
    /// What the system said.
    pub error: io::Error,
    /// The process that has the port, as in "nginx, process 812".
    pub occupant: Option<String>,
}

impl ListenFault {
    /// Asks the system who has the port, if that is why.
    pub fn new(address: SocketAddr, error: io::Error) -> ListenFault {
        let taken = error.kind() == io::ErrorKind::AddrInUse;
        let occupant = if taken { occupant::of_port(address.port()) } else { None };
        ListenFault { address, error, occupant }
    }
}

impl std::fmt::Display for ListenFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let port = self.address.port();
        match (&self.occupant, self.error.kind()) {
            (Some(who), _) => write!(f, "port {port} is in use by {who} (wanted {})", self.address),
            (None, io::ErrorKind::AddrInUse) => write!(f, "port {port} is in use (wanted {})", self.address),
            (None, io::ErrorKind::PermissionDenied) => {
                write!(f, "not allowed to listen on {} (ports below 1024 need a privilege)", self.address)
            }
            (None, _) => write!(f, "cannot listen on {}: {}", self.address, self.error),
        }
    }
}

impl std::error::Error for ListenFault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn listeners_of_one_server_share_a_port() {
        let all = listen(loopback(0), 3).unwrap();
        let ports: Vec<u16> = all.iter().map(|l| l.address().unwrap().port()).collect();
        assert!(ports[0] != 0 && ports.iter().all(|p| *p == ports[0]));
    }

    #[test]
    fn a_second_server_is_told_who_has_the_port() {
        let first = listen(loopback(0), 1).unwrap();
        let taken = first[0].address().unwrap();
        let Err(fault) = listen(taken, 1) else { panic!("the port was shared") };
        let text = fault.to_string();
        assert!(text.contains(&format!("port {} is in use by", taken.port())), "{text}");
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    }

    #[test]
    fn nobody_waits_at_a_fresh_listener() {
        let mut all = listen(loopback(0), 1).unwrap();
        assert!(matches!(all[0].accept(Instant::ZERO), Accepted::Nobody));
        assert!(all[0].resumes_at().is_none());
    }
}
