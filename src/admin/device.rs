//! What devices ask over plain HTTP: the check-in, and whether we are there.

use super::{NOT_FOUND, READ_ONLY, Request, Routes};
use crate::format::Lang;
use crate::time::UnixMs;
use crate::wire::ota::{self, CheckIn, OtaContext};
use crate::wire::packet::Version;

/// Makes the token of a device at that time; empty for none.
pub type TokenOf = Box<dyn Fn(&CheckIn, UnixMs) -> String + Send + Sync>;
/// Is told the language of a device, by its id.
pub type Remember = Box<dyn Fn(&str, Lang) + Send + Sync>;

/// Routes of the device-facing HTTP listener, and what a check-in's answer needs (see [`OtaContext`]).
pub struct DeviceRoutes {
    /// Where devices reach us, if the configuration says.
    pub public: Option<String>,
    /// Port of the WebSocket.
    pub port: u16,
    /// The WebSocket speaks TLS.
    pub is_tls: bool,
    /// Path of the WebSocket.
    pub path: String,
    /// Binary framing the device shall use.
    pub version: Version,
    /// Local time minus UTC at that instant, minutes.
    pub tz_offset_min: Box<dyn Fn(UnixMs) -> i32 + Send + Sync>,
    /// The token for a device; empty for none.
    pub token: TokenOf,
    /// Told of each check-in that names a language: device id, language.
    pub remember: Remember,
}

impl Routes for DeviceRoutes {
    fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        if ota::is_ours(request.head) {
            return self.check_in(request, out);
        }
        match request.head.path {
            "/" | "/healthz" if !request.is_read() => request.reply(READ_ONLY, out),
            "/" => request.say(200, &[], &format!("voxlane: devices check in at {}\n", ota::PATH), out),
            "/healthz" => request.say(200, &[], "ok\n", out),
            _ => request.reply(NOT_FOUND, out),
        }
    }
}

impl DeviceRoutes {
    fn check_in(&self, request: &Request<'_>, out: &mut Vec<u8>) {
        let now = UnixMs::now();
        let context = OtaContext {
            public: self.public.as_deref(),
            local_host: &request.local.ip().to_canonical().to_string(),
            port: self.port,
            is_tls: self.is_tls,
            path: &self.path,
            version: self.version,
            now,
            tz_offset_min: (self.tz_offset_min)(now),
            token: &|check_in| (self.token)(check_in, now),
        };
        let Some(answer) = ota::answer(request.head, request.body, &context) else {
            return request.reply(NOT_FOUND, out);
        };
        out.extend_from_slice(&answer.bytes);
        let Some(check_in) = answer.check_in else { return };
        if let Some(language) = check_in.language {
            (self.remember)(&check_in.device_id, language);
        }
        tracing::info!(
            device = &*check_in.device_id,
            firmware = &*check_in.firmware,
            board = &*check_in.board,
            language = check_in.language.as_ref().map(Lang::code),
            peer = %request.peer.ip(),
            "device checked in"
        );
    }
}
