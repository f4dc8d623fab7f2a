//! What a shard goes by: plain data, filled from the configuration, one immutable copy for all shards.

use crate::audio::endpoint::EndpointRules;
use crate::audio::vad::Engine;
use crate::session;
use crate::time::{Duration, UnixMs};
use crate::wire::ota::CheckIn;
use crate::wire::packet::Version;
use crate::wire::token::{self, Keys, Standing};
use crate::wire::upgrade;
use std::fmt;
use std::sync::Arc;

/// How a shard treats connections. [`Rules::default`] is an open server with a server's defaults.
pub struct Rules {
    /// The WebSocket's path, and whether a device must name itself.
    pub upgrade: upgrade::Rules,
    /// Who may come in.
    pub access: Access,
    /// Where devices reach us, if the configuration says: `host`, `host:port`, or a whole URL.
    pub public: Option<Box<str>>,
    /// Port that devices are told; 0 stands for the one we listen on.
    pub port: u16,
    /// Binary framing that devices are told to use.
    pub version: Version,
    /// TLS on the device port.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Local time minus UTC at that instant, minutes.
    pub tz_offset_min: Box<dyn Fn(UnixMs) -> i32 + Send + Sync>,
    /// Open connections, all shards together.
    pub connections: usize,
    /// Open connections of one address, all shards together; 0 is no limit.
    pub connections_per_address: usize,
    /// Refuse connections and turns that would not be served in time.
    pub sheds: bool,
    /// How long sessions may take to end when the server stops.
    pub drain: Duration,
    /// Pin shards to cores.
    pub pin: bool,
    /// How long a shard looks before it sleeps, and how long before a deadline it gets up; zero: it sleeps at once.
    pub spin: Duration,
    /// Real-time priority of shards, 1 to 99; 0: none.
    pub realtime: u8,
    /// The voice detector.
    pub engine: Engine,
    /// Utterances go to recognition as the packets that the device sent, where it sends Opus.
    pub relay: bool,
    /// Where utterances begin and end.
    pub endpoint: EndpointRules,
    /// How sessions behave.
    pub session: Arc<session::Rules>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            upgrade: upgrade::Rules::default(),
            access: Access::Open,
            public: None,
            port: 0,
            version: Version::V1,
            tls: None,
            tz_offset_min: Box::new(|_| 0),
            connections: 20_000,
            connections_per_address: 0,
            sheds: true,
            drain: Duration::from_secs(25),
            pin: true,
            spin: Duration::ZERO,
            realtime: 0,
            engine: Engine::default(),
            relay: false,
            endpoint: EndpointRules::default(),
            session: Arc::new(session::Rules::default()),
        }
    }
}

/// Who may come in.
pub enum Access {
    /// Anybody.
    Open,
    /// Devices with a token of ours.
    Token {
        /// What tokens are signed with.
        keys: Keys,
        /// Device ids that get a token when they check in; compared without case.
        allow: Vec<Box<str>>,
    },
}

impl Access {
    /// The token for a device that checks in; empty for none.
    pub fn issue(&self, check_in: &CheckIn, now: UnixMs) -> String {
        match self {
            Access::Token { keys, allow } if allow.iter().any(|id| id.eq_ignore_ascii_case(&check_in.device_id)) => {
                token::issue(keys, check_in.client_id.as_deref().unwrap_or(""), &check_in.device_id, now.secs())
            }
            _ => String::new(),
        }
    }

    /// Whether these ids may come in with this token. The ids as sent.
    pub fn judge(&self, token: Option<&str>, client_id: &str, device_id: &str, now: UnixMs) -> Verdict {
        let Access::Token { keys, .. } = self else { return Verdict::Welcome };
        let Some(token) = token else { return Verdict::Refused };
        match token::verify(keys, token, client_id, device_id, now.secs()) {
            Ok(Standing::Valid) => Verdict::Welcome,
            Ok(Standing::Grace) => Verdict::Grace,
            Err(_) => Verdict::Refused,
        }
    }
}

/// Without the keys.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Open => "Open",
            Access::Token { .. } => "Token",
        })
    }
}

/// What [`Access::judge`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Come in.
    Welcome,
    /// Come in; the token is old, and the next check-in should bring a new one.
    Grace,
    /// 401.
    Refused,
}
