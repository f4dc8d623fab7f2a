//! Names to addresses, without ever waiting past a call's deadline and without asking again for every request.
//!
//! The system's resolver blocks for as long as it likes and cannot be interrupted, so it runs on a thread of its own, one per
//! name at most; who waits for its answer may give up. An answer serves for a while, and longer while there is no new one.

use super::line::current;
use crate::limits;
use crate::time::{Duration, Instant};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

/// The resolver. Names come from the configuration, so the table stays as small as that.
#[derive(Debug, Default)]
pub struct Lookup {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<HashMap<(String, u16), Name>>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct Name {
    /// What is known, and since when.
    known: Option<(Vec<SocketAddr>, Instant)>,
    /// A thread is asking.
    asking: bool,
    /// Lookups that came to an end; a waiter sees by it that its own has.
    answers: u64,
}

/// How often a waiter looks whether its call was taken back.
const LOOK: Duration = Duration::from_millis(20);

/// Addresses kept of one name.
const ADDRESSES: usize = 8;

impl Resolver for Lookup {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let bad = || Error::BadUri("no host".to_owned());
        let host = uri.host().ok_or_else(bad)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let found = match literal {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => self.ask(host, port, *timeout.after)?,
        };
        let mut addrs = self.empty();
        found.into_iter().take(ADDRESSES).for_each(|addr| addrs.push(addr));
        if addrs.is_empty() { Err(Error::HostNotFound) } else { Ok(addrs) }
    }
}

impl Lookup {
    fn ask(&self, host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Error> {
        let watch = current().ok_or(Error::ConnectionFailed)?;
        let now = || watch.now();
        let by = now() + limit.min(watch.left());
        let key = (host.to_owned(), port);
        let mut names = self.shared.names.lock();
        let name = names.entry(key.clone()).or_default();
        if let Some((addrs, since)) = &name.known
            && now().since(*since) < limits::SERVICE_NAME
        {
            return Ok(addrs.clone());
        }
        let before = name.answers;
        if !name.asking {
            name.asking = self.spawn(key.clone(), now());
        }
        loop {
            let name = names.entry(key.clone()).or_default();
            let ended = name.answers != before || !name.asking;
            let late = now() >= by;
            if ended || late {
                // An old answer is better than none.
                let known = name.known.as_ref().map(|(addrs, _)| addrs.clone());
                return known.ok_or(if ended { Error::HostNotFound } else { Error::Timeout(Timeout::Resolve) });
            }
            watch.check()?;
            self.shared.answered.wait_for(&mut names, by.until(now()).min(LOOK));
        }
    }

    /// Starts a thread that asks the system; `false` if there is none to be had.
    fn spawn(&self, key: (String, u16), now: Instant) -> bool {
        let shared = self.shared.clone();
        let work = move || {
            let found = (key.0.as_str(), key.1).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
            let mut names = shared.names.lock();
            let name = names.entry(key).or_default();
            if !found.is_empty() {
                name.known = Some((found, now));
            }
            name.asking = false;
            name.answers += 1;
            drop(names);
            shared.answered.notify_all();
        };
        std::thread::Builder::new().name("lookup".to_owned()).spawn(work).is_ok()
    }
}
