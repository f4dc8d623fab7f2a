//! A thread that answers whole requests.

use crate::admin::{Keep, Request, Routes};
use crate::metrics::{Counter, Panel};
use crate::time::{Clock, Instant};
use crate::wire::http::{Reply, parse_head};
use crossbeam::channel::Receiver;
use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A request whose bytes are all here.
pub struct Whole {
    /// To answer on; not blocking yet.
    pub stream: TcpStream,
    /// Who asks.
    pub peer: SocketAddr,
    /// By which address.
    pub local: SocketAddr,
    /// Head and body, and perhaps bytes nobody asked for.
    pub bytes: Vec<u8>,
    /// Length of the body.
    pub body_len: usize,
    /// When the answer must be out.
    pub deadline: Instant,
}

/// Answers until the reader is gone and the queue is empty.
pub fn run(requests: &Receiver<Whole>, routes: &dyn Routes, panel: &Panel, clock: Clock) {
    let mut out = Vec::new();
    for whole in requests {
        out.clear();
        // A defect in one page must not take the others away.
        let keep = catch_unwind(AssertUnwindSafe(|| answer(&whole, routes, &mut out))).unwrap_or_else(|_| {
            tracing::error!(peer = %whole.peer, "control plane: a defect in answering");
            out.clear();
            Reply::new(500, "a defect of ours; it is in the log\n").emit(&mut out);
            None
        });
        panel.count(Counter::ControlAnswered);
        let written = write(&whole, &out, clock);
        let ended = match (written, keep) {
            (Ok(()), Some(keep)) => {
                keep(whole.stream);
                Ok(())
            }
            (Ok(()), None) => whole.stream.shutdown(Shutdown::Write),
            (lost, _) => lost,
        };
        if ended.is_err() {
            panel.count(Counter::ControlLost);
        }
        // A scrape of many shards may be large; the next answers need not hold its memory.
        out.shrink_to(64 * 1024);
    }
}

fn answer(whole: &Whole, routes: &dyn Routes, out: &mut Vec<u8>) -> Option<Keep> {
    let Ok(Some((head, len))) = parse_head(&whole.bytes) else {
        Reply::new(400, "not an HTTP request\n").emit(out);
        return None;
    };
    let body = whole.bytes.get(len..len + whole.body_len).unwrap_or_default();
    routes.begin(&Request { head: &head, body, peer: whole.peer, local: whole.local }, out)
}

/// Writes all of it by the deadline, however slowly the peer reads.
fn write(whole: &Whole, mut bytes: &[u8], clock: Clock) -> io::Result<()> {
    let mut stream = &whole.stream;
    stream.set_nonblocking(false)?;
    while !bytes.is_empty() {
        let left = whole.deadline.until(clock.now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
