//! What an operator asks: metrics, statistics, health.

use super::flame;
use super::guard::{Guard, Pass};
use super::live::Live;
use super::{Keep, NOT_FOUND, READ_ONLY, Request, Routes, page};
use crate::limits;
use crate::metrics::exposition::{self, prometheus};
use crate::metrics::process::Usage;
use crate::metrics::stats::stats;
use crate::metrics::{Readiness, Registry, turns};
use crate::time::{Clock, Instant, UnixMs};
use crate::wire::http::{EVENTS, JSON, Line, Reply, respond_endless};
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
    /// The pulse.
    pub live: Live,
}

/// Nothing here may be kept, guessed at, or shown inside another page.
const LINES: &[Line<'static>] =
    &[("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY")];
const NEEDS_TOKEN: Reply =
    Reply::new(401, "a token is needed: Authorization: Bearer …\n").with(&[("WWW-Authenticate", "Bearer")]);
const FULL: Reply =
    Reply::new(503, "all seats for watchers are taken: close another live page\n").with(&[("Retry-After", "5")]);

impl Routes for AdminRoutes {
    fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        let pass = match self.guard.judge(request) {
            Ok(pass) => pass,
            Err(reply) => return request.reply(reply, out),
        };
        let path = request.head.path;
        let part = page::part(path);
        let is_known = matches!(path, "/metrics" | "/stats.json" | "/turns.json" | "/live" | "/healthz" | "/readyz")
            || path == flame::PATH
            || part.is_some();
        // The page itself holds nothing; it asks for the token.
        let is_open = matches!(path, "/healthz" | "/readyz") || part.is_some();
        match (is_known, request.is_read()) {
            // Without the token nobody learns which pages there are.
            _ if pass == Pass::Health && !is_open => request.reply(NEEDS_TOKEN, out),
            (false, _) => request.reply(NOT_FOUND, out),
            (true, false) => request.reply(READ_ONLY, out),
            (true, true) => self.page(path, pass, request, out),
        }
    }

    fn begin(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Option<Keep> {
        let path = request.head.path;
        let goes_on = matches!(path, "/live" | flame::PATH) && request.head.method == "GET";
        if !goes_on || self.guard.judge(request) != Ok(Pass::All) {
            self.answer(request, out);
            return None;
        }
        if path == flame::PATH {
            return flame::begin(request, LINES, out);
        }
        let seat = self.live.seat();
        match &seat {
            Some(_) => respond_endless(EVENTS, LINES, out),
            None => request.reply(FULL, out),
        }
        seat
    }

    fn tick(&self, now: Instant) {
        self.registry.sample(now);
    }
}

impl AdminRoutes {
    fn page(&self, path: &str, pass: Pass, request: &Request<'_>, out: &mut Vec<u8>) {
        if let Some(part) = page::part(path) {
            return request.respond(200, part.content_type, page::LINES, part.text.as_bytes(), out);
        }
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
                let last = self.registry.turns(limits::TURNS_SHOWN);
                let json = Value::from(turns::all_to_json(&last, self.clock.now(), UnixMs::now()));
                request.respond(200, JSON, LINES, format!("{json}\n").as_bytes(), out);
            }
            flame::PATH => request.say(200, LINES, "", out),
            // A HEAD of `/live`: the only page that is left, and one without a length.
            _ => respond_endless(EVENTS, LINES, out),
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
