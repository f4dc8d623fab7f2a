//! One control-plane listener: a thread that reads whole requests from many peers, and a few threads that answer them.

#[path = "server/answering.rs"]
mod answering;
#[path = "server/reading.rs"]
mod reading;

use super::Routes;
use crate::limits;
use crate::metrics::{Home, Registry};
use crate::time::{Clock, Duration};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Bounds of a listener; the defaults are those of [`limits`].
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// From accept to the last byte of the answer.
    pub deadline: Duration,
    /// Connections that may be open at once.
    pub connections: usize,
    /// Whole requests that may wait for a thread.
    pub queue: usize,
    /// Threads that answer.
    pub threads: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            deadline: limits::HANDSHAKE,
            connections: limits::ADMIN_CONNECTIONS,
            queue: limits::ADMIN_QUEUE,
            threads: limits::ADMIN_THREADS,
        }
    }
}

/// A running listener; ends when this is dropped.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    waker: Arc<mio::Waker>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts answering on `listener`, its threads named after `name`. What became of requests is counted under [`Home::Process`].
///
/// # Errors
/// The system gives no poll or no thread.
pub fn serve(
    listener: TcpListener,
    name: &str,
    config: Config,
    routes: Arc<dyn Routes>,
    registry: &Registry,
    clock: Clock,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let poll = mio::Poll::new()?;
    let waker = Arc::new(mio::Waker::new(poll.registry(), reading::WAKER)?);
    let stop = Arc::new(AtomicBool::new(false));
    let (queue, requests) = crossbeam::channel::bounded(config.queue);
    // From here on a failure drops `server`, which stops and joins what has been started.
    let mut server = Server { address, stop: stop.clone(), waker, threads: Vec::new() };
    for number in 0..config.threads.max(1) {
        let (requests, routes, panel) = (requests.clone(), routes.clone(), registry.panel(Home::Process));
        server.spawn(format!("{name}-{number}"), move || answering::run(&requests, &*routes, &panel, clock))?;
    }
    let panel = registry.panel(Home::Process);
    let reader = reading::Reader::new(poll, listener, config, routes, queue, panel, clock, stop)?;
    server.spawn(format!("{name}-reader"), move || reader.run())?;
    tracing::info!(%address, name, "listening");
    Ok(server)
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests that have been read be answered, and waits for the threads.
    pub fn stop(self) {
        drop(self);
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // The reader owns the queue: its end is the others' end.
        let _ = self.waker.wake();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[path = "server/tests.rs"]
mod tests;
