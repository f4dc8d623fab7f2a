//! What an operator asks: metrics, statistics, health.

use super::guard::{Guard, Pass};
use super::{NOT_FOUND, READ_ONLY, Request, Routes};
use crate::limits;
use crate::metrics::exposition::{self, prometheus};
use crate::metrics::process::Usage;
use crate::metrics::stats::stats;
use crate::metrics::turns::{self, TurnRecord};
use crate::metrics::{Readiness, Registry};
use crate::time::{Clock, Instant, UnixMs};
use crate::wire::http::{JSON, Line, Reply};
use serde_json::Value;
use std::sync::Arc;

/// Routes of the admin listener. Reads only; whoever passes the [`Guard`] sees all.
pub struct AdminRoutes {
    /// Who may look.
    pub guard: Guard,
    /// What there is to see.
    pub registry: Arc<Registry>,
    /// Whether the server can work.
    pub readiness: Readiness,
    /// What time it is for the shards.
    pub clock: Clock,
}

/// Nothing here may be kept, guessed at, or shown inside another page.
const LINES: &[Line<'static>] =
    &[("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY")];
const NEEDS_TOKEN: Reply =
    Reply::new(401, "a token is needed: Authorization: Bearer …\n").with(&[("WWW-Authenticate", "Bearer")]);
const INDEX: &str = "\
voxlane, for operators

/metrics     everything that is counted, as Prometheus text
/stats.json  the same merged, with percentiles, and rates of the last minute
/turns.json  the last 50 turns with their timelines, without what was said
/healthz     200 while the process lives
/readyz      200 once every part can do its work; until then 503 and why
";

impl Routes for AdminRoutes {
    fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        let pass = match self.guard.judge(request) {
            Ok(pass) => pass,
            Err(reply) => return request.reply(reply, out),
        };
        let path = request.head.path;
        let is_known = matches!(path, "/" | "/metrics" | "/stats.json" | "/turns.json" | "/healthz" | "/readyz");
        let is_open = matches!(path, "/healthz" | "/readyz");
        match (is_known, request.is_read()) {
            // Without the token nobody learns which pages there are.
            _ if pass == Pass::Health && !is_open => request.reply(NEEDS_TOKEN, out),
            (false, _) => request.reply(NOT_FOUND, out),
            (true, false) => request.reply(READ_ONLY, out),
            (true, true) => self.page(path, pass, request, out),
        }
    }

    fn tick(&self, now: Instant) {
        self.registry.sample(now);
    }
}

impl AdminRoutes {
    fn page(&self, path: &str, pass: Pass, request: &Request<'_>, out: &mut Vec<u8>) {
        match path {
            "/healthz" => request.say(200, LINES, "ok\n", out),
            "/readyz" => self.ready(pass, request, out),
            "/metrics" => {
                let text = prometheus(&self.registry, &Usage::read());
                request.respond(200, exposition::CONTENT_TYPE, LINES, text.as_bytes(), out);
            }
            "/stats.json" => {
                let json = stats(&self.registry, &Usage::read(), UnixMs::now());
                request.respond(200, JSON, LINES, format!("{json}\n").as_bytes(), out);
            }
            "/turns.json" => {
                let json = self.turns();
                request.respond(200, JSON, LINES, format!("{json}\n").as_bytes(), out);
            }
            _ => request.say(200, LINES, INDEX, out),
        }
    }

    fn turns(&self) -> Value {
        let (now, wall) = (self.clock.now(), UnixMs::now());
        let at = |turn: &TurnRecord| UnixMs(wall.0.saturating_sub(now.since(turn.ended()).as_millis() as u64));
        let turns = self.registry.turns(limits::TURNS_SHOWN);
        turns.iter().map(|(shard, turn)| turns::to_json(*shard, turn, at(turn))).collect()
    }

    fn ready(&self, pass: Pass, request: &Request<'_>, out: &mut Vec<u8>) {
        let missing = self.readiness.missing();
        if missing.is_empty() {
            return request.say(200, LINES, "ready\n", out);
        }
        let mut text = "not ready\n".to_owned();
        if pass == Pass::All {
            missing.iter().for_each(|(part, reason)| text.push_str(&format!("{part}: {reason}\n")));
        }
        request.say(503, LINES, &text, out);
    }
}
