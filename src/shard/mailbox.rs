//! Letters between shards: a connection handed over, a device that has come back elsewhere. Rare, bounded, never waited for.

use super::rules::Rules;
use crate::lanes::Doorbell;
use crate::limits;
use crossbeam::channel::{Receiver, Sender, bounded};
use crossbeam::utils::CachePadded;
use mio::net::TcpStream;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// What shards write to each other.
pub enum Letter {
    /// A fresh connection for you; nothing has been read from it.
    Adopt(TcpStream, SocketAddr),
    /// Rules from now on, and connections that may be open here.
    Rules(Arc<Rules>, usize),
    /// A session of the device with this hash has broken something.
    Strike {
        /// Keyed hash of the Device-Id.
        device: u64,
    },
    /// The device with this hash has opened a connection, the `order`th of the process: drop an older one of it.
    Newer {
        /// Keyed hash of the Device-Id.
        device: u64,
        /// Position in the order of all upgrades.
        order: u64,
    },
}

/// One shard's view of all mailboxes.
pub struct Mail {
    own: usize,
    inbox: Receiver<Letter>,
    others: Vec<(Sender<Letter>, Doorbell)>,
    loads: Arc<[CachePadded<AtomicUsize>]>,
    order: Arc<AtomicU64>,
}

impl Mail {
    /// Mailboxes for shards with these doorbells, one view for each.
    pub fn for_all(bells: &[Doorbell]) -> Vec<Mail> {
        let (senders, inboxes): (Vec<_>, Vec<_>) = bells.iter().map(|_| bounded(limits::MAILBOX)).unzip();
        let loads: Arc<[_]> = bells.iter().map(|_| CachePadded::new(AtomicUsize::new(0))).collect();
        let order = Arc::new(AtomicU64::new(1));
        let view = |(own, inbox)| Mail {
            own,
            inbox,
            others: senders.iter().cloned().zip(bells.iter().cloned()).collect(),
            loads: loads.clone(),
            order: order.clone(),
        };
        inboxes.into_iter().enumerate().map(view).collect()
    }

    /// A view of a shard that is alone.
    pub fn alone() -> Mail {
        let (_, inbox) = bounded(1);
        let loads = [CachePadded::new(AtomicUsize::new(0))].into();
        Mail { own: 0, inbox, others: Vec::new(), loads, order: Arc::new(AtomicU64::new(1)) }
    }

    /// Ways into all mailboxes, for who is no shard.
    pub fn senders(&self) -> Vec<Sender<Letter>> {
        self.others.iter().map(|(sender, _)| sender.clone()).collect()
    }

    /// The next letter for us.
    pub fn receive(&self) -> Option<Letter> {
        self.inbox.try_recv().ok()
    }

    /// Letters that wait for us.
    pub fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// The next position in the order of all upgrades.
    pub fn next_order(&self) -> u64 {
        self.order.fetch_add(1, Relaxed)
    }

    /// Tells all others that a device has a newer connection here; returns how many could not be told.
    pub fn announce(&self, device: u64, order: u64) -> u64 {
        self.tell_others(|| Letter::Newer { device, order })
    }

    /// Sends a letter to all others; returns how many mailboxes were full.
    pub fn tell_others(&self, letter: impl Fn() -> Letter) -> u64 {
        let others = self.others.iter().enumerate().filter(|(i, _)| *i != self.own);
        let mut lost = 0;
        for (_, (sender, bell)) in others {
            match sender.try_send(letter()) {
                Ok(()) => bell.ring(),
                Err(_) => lost += 1,
            }
        }
        lost
    }

    /// Says how many connections we have.
    pub fn publish_load(&self, connections: usize) {
        self.loads[self.own].store(connections, Relaxed);
    }

    /// Hands a connection to the emptiest shard if that is much emptier than we are; gives it back if not.
    pub fn hand_over(&self, own: usize, stream: TcpStream, from: SocketAddr) -> Option<TcpStream> {
        let loads = self.loads.iter().map(|load| load.load(Relaxed)).enumerate();
        let Some((emptiest, load)) = loads.filter(|(i, _)| *i != self.own).min_by_key(|(_, load)| *load) else {
            return Some(stream);
        };
        if own < load + load / 4 + limits::IMBALANCE {
            return Some(stream);
        }
        let (sender, bell) = &self.others[emptiest];
        match sender.try_send(Letter::Adopt(stream, from)) {
            Ok(()) => {
                // Counted at once, or a burst of arrivals would all go there.
                self.loads[emptiest].fetch_add(1, Relaxed);
                bell.ring();
                None
            }
            Err(e) => match e.into_inner() {
                Letter::Adopt(stream, _) => Some(stream),
                Letter::Newer { .. } | Letter::Strike { .. } | Letter::Rules(..) => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> (TcpStream, SocketAddr) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (TcpStream::connect(address).unwrap(), address)
    }

    #[test]
    fn a_much_fuller_shard_hands_over_to_the_emptiest() {
        let bells: Vec<_> = (0..3).map(|_| Doorbell::new(|| ())).collect();
        let all = Mail::for_all(&bells);
        all[1].publish_load(100);
        all[2].publish_load(40);
        let (stream, from) = socket();
        let stream = all[0].hand_over(60, stream, from).expect("60 is not much more than 40");
        assert!(all[0].hand_over(66, stream, from).is_none());
        assert!(matches!(all[2].receive(), Some(Letter::Adopt(_, at)) if at == from));
        assert!(all[1].receive().is_none());
        let (stream, from) = socket();
        assert!(Mail::alone().hand_over(1_000, stream, from).is_some(), "there is nobody else");
    }

    #[test]
    fn everybody_else_is_told_and_a_full_mailbox_is_counted() {
        let bells: Vec<_> = (0..3).map(|_| Doorbell::new(|| ())).collect();
        let all = Mail::for_all(&bells);
        assert_eq!(all[1].announce(7, all[1].next_order()), 0);
        assert!(matches!(all[0].receive(), Some(Letter::Newer { device: 7, order: 1 })));
        assert!(matches!(all[2].receive(), Some(Letter::Newer { device: 7, order: 1 })));
        assert!(all[1].receive().is_none());
        let lost: u64 = (0..limits::MAILBOX as u64 + 5).map(|order| all[0].announce(1, order)).sum();
        assert_eq!(lost, 10);
    }
}
