//! How far will it scale? What decides on 4 to 64 shards and cannot be measured on two cores: how evenly connections are spread.
//!
//!     cargo bench --bench scaling             # table
//!     cargo bench --bench scaling -- --json   # one JSON object
//!
//! *Kernel* is measured: so many listeners on one port as the server opens them, connections over loopback, who got how many.
//! *Handed over* and *talkers* are simulated with the server's own hand-over ([`Mail::hand_over`]), connections being dealt as
//! the kernel was seen to deal them: evenly at random. The column that counts is the fullest shard over the mean: where it is full
//! the others have still room, so a server of N cores carries N times one core's conversations, divided by it.
//!
//! That nothing else grows with the number of shards is no matter of measuring: `tests/scaling.rs` looks at what they share.

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::time::Duration;
use voxlane::lanes::Doorbell;
use voxlane::limits;
use voxlane::net::listener::{Accepted, Listener, listen};
use voxlane::shard::mailbox::{Letter, Mail};
use voxlane::time::Instant;

const SHARDS: [usize; 6] = [2, 4, 8, 16, 32, 64];
/// Connections per shard: idle ones and those that talk; about one in six talks, which fills a core.
const CONNECTIONS: usize = 3_000;
const TALKERS: usize = 500;
/// Connections that are really made per listener: enough to tell the kernel's hash from an uneven one.
const REAL: usize = 150;

fn main() {
    let is_json = std::env::args().any(|argument| argument == "--json");
    let rows: Vec<Row> = SHARDS.iter().map(|shards| Row::of(*shards)).collect();
    if is_json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        println!("{}", serde_json::json!({ "schema": 1, "connections_per_shard": CONNECTIONS, "rows": rows }));
        return;
    }
    println!("fullest shard over the mean; chi2/df is about 1 where the kernel deals evenly at random");
    println!("shards  kernel ({REAL} each)  chi2/df  at random  handed over  hand-overs  talkers  cores' worth");
    for row in &rows {
        println!(
            "{:>6} {:>18.3} {:>8.2} {:>10.3} {:>12.3} {:>10.2}% {:>8.3} {:>13.1}",
            row.shards,
            row.kernel,
            row.chi2,
            row.random,
            row.handed,
            row.letters * 100.0,
            row.talkers,
            row.shards as f64 / row.talkers
        );
    }
}

struct Row {
    shards: usize,
    /// Fullest over mean as the kernel dealt, and how that compares with chance.
    kernel: f64,
    chi2: f64,
    /// The same by dice, with [`CONNECTIONS`], without and with hand-over; the share that was handed over.
    random: f64,
    handed: f64,
    letters: f64,
    /// Of those that talk.
    talkers: f64,
}

impl Row {
    fn of(shards: usize) -> Row {
        let dealt = kernel(shards);
        let mean = dealt.iter().sum::<usize>() as f64 / shards as f64;
        let chi2 = dealt.iter().map(|n| (*n as f64 - mean).powi(2) / mean).sum::<f64>() / (shards - 1) as f64;
        let mut dice = Dice(0x5eed);
        let mut plain = vec![0; shards];
        (0..shards * CONNECTIONS).for_each(|_| plain[dice.below(shards)] += 1);
        let (handed, letters) = hand_over(shards, &mut dice);
        // Who talks is not for the server to choose: anybody of those that are connected.
        let mut owners: Vec<usize> = handed.iter().enumerate().flat_map(|(shard, n)| vec![shard; *n]).collect();
        let mut talkers = vec![0; shards];
        for _ in 0..shards * TALKERS {
            let at = dice.below(owners.len());
            talkers[owners.swap_remove(at)] += 1;
        }
        Row {
            shards,
            kernel: fullest(&dealt),
            chi2,
            random: fullest(&plain),
            handed: fullest(&handed),
            letters: letters as f64 / (shards * CONNECTIONS) as f64,
            talkers: fullest(&talkers),
        }
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "shards": self.shards, "kernel": self.kernel, "chi2_per_df": self.chi2, "random": self.random,
            "handed_over": self.handed, "hand_over_share": self.letters, "talkers": self.talkers,
            "cores_worth": self.shards as f64 / self.talkers,
        })
    }
}

fn fullest(counts: &[usize]) -> f64 {
    let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
    counts.iter().copied().max().unwrap_or(0) as f64 / mean
}

/// How many connections each listener was given. A connection is closed as soon as it was seen, without lingering: neither
/// descriptors nor ports are used up.
fn kernel(shards: usize) -> Vec<usize> {
    let mut listeners = listen(SocketAddr::from(([127, 0, 0, 1], 0)), shards).expect("a port");
    let at = listeners[0].address().expect("an address");
    let mut dealt = vec![0; shards];
    let mut clients = Vec::new();
    for n in 0..shards * REAL {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_linger(Some(Duration::ZERO)).expect("no lingering");
        // Devices have addresses of their own.
        let from = [127, 0, 1 + (n / 200 % 200) as u8, 1 + (n % 200) as u8];
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of loopback");
        socket.connect(&at.into()).expect("the listener's queue has room");
        clients.push(socket);
        if clients.len() == 200 {
            count(&mut listeners, &mut dealt);
            clients.clear();
        }
    }
    count(&mut listeners, &mut dealt);
    assert_eq!(dealt.iter().sum::<usize>(), shards * REAL, "every connection came somewhere");
    dealt
}

fn count(listeners: &mut [Listener], dealt: &mut [usize]) {
    for (listener, dealt) in listeners.iter_mut().zip(dealt) {
        while let Accepted::Stream(..) = listener.accept(Instant::ZERO) {
            *dealt += 1;
        }
    }
}

/// Connections arrive in bursts as large as a shard accepts in a pass, then all publish their loads; afterwards as many leave and
/// come again, at random. One real socket travels through all letters. Returns the counts, and the letters of the arrival.
fn hand_over(shards: usize, dice: &mut Dice) -> (Vec<usize>, usize) {
    let bells: Vec<_> = (0..shards).map(|_| Doorbell::new(|| ())).collect();
    let mails = Mail::for_all(&bells);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut stream = Some(TcpStream::connect(address).expect("a socket"));
    let mut counts = vec![0; shards];
    let (mut letters, mut letters_of_arrival) = (0, 0);
    let arrivals = shards * CONNECTIONS;
    for n in 0..2 * arrivals {
        if n >= arrivals {
            // One of those that are there leaves.
            let mut at = dice.below(counts.iter().sum());
            let shard = counts.iter().position(|n| {
                let is_here = at < *n;
                at = at.saturating_sub(*n);
                is_here
            });
            counts[shard.expect("somebody is there")] -= 1;
        }
        let own = dice.below(shards);
        match mails[own].hand_over(counts[own], stream.take().expect("the one socket"), address) {
            Some(back) => {
                stream = Some(back);
                counts[own] += 1;
            }
            None => {
                letters += 1;
                let taken = mails.iter().enumerate().find_map(|(shard, mail)| match mail.receive() {
                    Some(Letter::Adopt(back, _)) => Some((shard, back)),
                    _ => None,
                });
                let (shard, back) = taken.expect("a letter that was sent");
                stream = Some(back);
                counts[shard] += 1;
            }
        }
        if n % (limits::ACCEPTS_PER_PASS * shards) == 0 {
            mails.iter().zip(&counts).for_each(|(mail, count)| mail.publish_load(*count));
        }
        if n + 1 == arrivals {
            letters_of_arrival = letters;
        }
    }
    (counts, letters_of_arrival)
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 32) as usize * n) >> 32
    }
}
