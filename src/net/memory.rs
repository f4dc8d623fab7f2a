//! A connection without a socket: two byte queues in memory, for tests under virtual time. Its far end plays the device.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Our end of the pipe; a [`super::Stream`] wraps it.
pub struct Pipe(Arc<Mutex<Both>>);

/// The device's end.
#[derive(Clone)]
pub struct Far(Arc<Mutex<Both>>);

struct Both {
    to_us: VecDeque<u8>,
    to_them: Vec<u8>,
    room: usize,
    closed_by_them: bool,
    closed_by_us: bool,
    writes: u32,
}

/// A fresh pipe.
pub fn pair() -> (Pipe, Far) {
    let both = Both {
        to_us: VecDeque::new(),
        to_them: Vec::new(),
        room: usize::MAX,
        closed_by_them: false,
        closed_by_us: false,
        writes: 0,
    };
    let shared = Arc::new(Mutex::new(both));
    (Pipe(shared.clone()), Far(shared))
}

impl Pipe {
    /// As a socket's read: what is there, `WouldBlock` if nothing, 0 after the far end has closed.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut both = self.0.lock();
        if both.to_us.is_empty() {
            return if both.closed_by_them { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let n = into.len().min(both.to_us.len());
        let (front, back) = both.to_us.as_slices();
        let split = front.len().min(n);
        into[..split].copy_from_slice(&front[..split]);
        into[split..n].copy_from_slice(&back[..n - split]);
        both.to_us.drain(..n);
        Ok(n)
    }

    /// As a socket's write: as much as the far end has room for.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut both = self.0.lock();
        if both.closed_by_them {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = bytes.len().min(both.room);
        if n == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        both.writes += 1;
        both.room = both.room.saturating_sub(n);
        both.to_them.extend_from_slice(&bytes[..n]);
        Ok(n)
    }

    /// Nothing more comes from us.
    pub fn shutdown(&mut self) {
        self.0.lock().closed_by_us = true;
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl Far {
    /// Sends bytes to the server.
    pub fn send(&self, bytes: &[u8]) {
        self.0.lock().to_us.extend(bytes);
    }

    /// Takes what the server has written.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().to_them)
    }

    /// Forgets what the server has written but keeps the memory for it; returns how many bytes it was.
    pub fn discard(&self) -> usize {
        let mut both = self.0.lock();
        let bytes = both.to_them.len();
        both.to_them.clear();
        bytes
    }

    /// From now on this many more bytes fit: a device that stops reading.
    pub fn set_room(&self, bytes: usize) {
        self.0.lock().room = bytes;
    }

    /// Hangs up.
    pub fn close(&self) {
        self.0.lock().closed_by_them = true;
    }

    /// Whether the server has hung up.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed_by_us
    }

    /// How many writes the server has made.
    pub fn writes(&self) -> u32 {
        self.0.lock().writes
    }

    /// Bytes the server has not read yet.
    pub fn unread(&self) -> usize {
        self.0.lock().to_us.len()
    }
}
