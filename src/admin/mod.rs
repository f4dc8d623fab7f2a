//! Control-plane HTTP: where a device checks in, and where an operator looks.
//!
//! ```text
//! peers ──> reactor thread: reads whole requests, many at once ──queue──> a few threads: answer, write, close
//! ```
//! A peer that sends slowly costs a slot of the reactor until its deadline and never a thread; beyond the slots and beyond the
//! queue the answer is 503. One request a connection: nobody who talks to this has more to say. Only who asks for [`live`] news
//! stays, with a thread that all who stay share.
//!
//! Two listeners use it: [`DeviceRoutes`] for devices (OTA check-in), [`AdminRoutes`] for operators, on loopback unless a token
//! is set. Neighbours: `wire` reads and writes HTTP; `metrics` holds what is shown. Never here: anything about a conversation.

pub mod device;
mod flame;
pub mod guard;
pub mod live;
pub mod operator;
pub mod page;
pub mod server;

pub use device::DeviceRoutes;
pub use guard::Guard;
pub use live::Live;
pub use operator::AdminRoutes;
pub use server::{Config, Server, serve};

use crate::limits;
use crate::time::Instant;
use crate::wire::http::{Head, Line, Reply, TEXT, respond_to};
use std::net::{SocketAddr, TcpStream};

/// One whole request.
pub struct Request<'a> {
    /// Its head.
    pub head: &'a Head<'a>,
    /// Its body.
    pub body: &'a [u8],
    /// Who asks.
    pub peer: SocketAddr,
    /// The address by which we were asked.
    pub local: SocketAddr,
}

/// Takes a connection over whose answer goes on.
pub type Keep = Box<dyn FnOnce(TcpStream) + Send>;

/// What a listener answers. Called by several threads at once; may take a while, but other requests then wait.
pub trait Routes: Send + Sync + 'static {
    /// Appends the whole answer to `out`.
    fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>);

    /// As [`Routes::answer`]; but where the answer goes on, `out` gets its beginning, and what is returned takes the connection
    /// over once that is written.
    fn begin(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Option<Keep> {
        self.answer(request, out);
        None
    }

    /// Bytes of body that this request may have; more is refused with 413.
    fn body_max(&self, _head: &Head<'_>) -> usize {
        limits::BODY_BYTES
    }

    /// Called about once a second.
    fn tick(&self, _now: Instant) {}
}

impl Request<'_> {
    /// Appends an answer; a HEAD gets its head alone.
    fn respond(&self, status: u16, content_type: &str, lines: &[Line<'_>], body: &[u8], out: &mut Vec<u8>) {
        respond_to(self.head.method, status, content_type, lines, body, out);
    }

    /// Appends a short text.
    fn say(&self, status: u16, lines: &[Line<'_>], text: &str, out: &mut Vec<u8>) {
        self.respond(status, TEXT, lines, text.as_bytes(), out);
    }

    /// Appends one of the fixed answers.
    fn reply(&self, reply: Reply, out: &mut Vec<u8>) {
        self.say(reply.status, reply.lines, reply.text, out);
    }

    /// Whether the method only reads.
    fn is_read(&self) -> bool {
        matches!(self.head.method, "GET" | "HEAD")
    }
}

const NOT_FOUND: Reply = Reply::new(404, "not found\n");
const READ_ONLY: Reply = Reply::new(405, "GET or HEAD\n").with(&[("Allow", "GET, HEAD")]);
