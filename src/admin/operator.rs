//! What an operator asks: metrics, statistics, health.

use super::guard::{Guard, Pass};
use super::{NOT_FOUND, READ_ONLY, Request, Routes};
use crate::metrics::exposition::{self, prometheus};
use crate::metrics::process::Usage;
use crate::metrics::stats::stats;
use crate::metrics::{Readiness, Registry};
use crate::time::{Instant, UnixMs};
use crate::wire::http::{JSON, Line, Reply};
use std::sync::Arc;

/// Routes of the admin listener. Reads only; whoever passes the [`Guard`] sees all.
pub struct AdminRoutes {
    /// Who may look.
    pub guard: Guard,
    /// What there is to see.
    pub registry: Arc<Registry>,
    /// Whether the server can work.
    pub readiness: Readiness,
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
        let is_known = matches!(path, "/" | "/metrics" | "/stats.json" | "/healthz" | "/readyz");
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
            _ => request.say(200, LINES, INDEX, out),
        }
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
