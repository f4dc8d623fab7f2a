//! One blocking HTTP client for all services, whose calls can be taken back.
//!
//! ureq does the talking; what is ours is underneath (`line`, `lookup`): a call's socket is known while it waits, so a cancel
//! shuts it down and the worker is back at once, and every wait ends at the instant its caller names, not at a fixed pause.
//! A request is sent a second time only if a kept connection turned out to be dead before any byte of an answer came.
//!
//! ```text
//!   send --> lookup --> line (TCP, watched) --> TLS --> Exchange: status, then the body piece by piece
//! ```

mod line;
mod lookup;

use super::Call;
use crate::limits;
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Duration, Instant, UnixMs};
use line::{Tracked, Watch};
use lookup::Lookup;
use std::io::Read;
use std::sync::Arc;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::multipart::Form;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};
use ureq::{Agent, BodyReader, Proxy};

/// The client. Clones share its idle connections; make one for the process.
#[derive(Clone, Debug)]
pub struct HttpClient {
    agent: Agent,
}

/// How the client reaches services.
#[derive(Clone, Debug, Default)]
pub struct HttpConfig {
    /// Go through the proxy that `HTTPS_PROXY` and the like name. Off by default, since services are mostly near.
    pub proxy_from_environment: bool,
    /// Certificates, as PEM, of the authorities to trust instead of the web's, which are compiled in: for a service of one's own.
    pub authorities: Option<Vec<u8>>,
}

fn roots(authorities: &Option<Vec<u8>>) -> Result<RootCerts, Fault> {
    let Some(pem) = authorities else { return Ok(RootCerts::WebPki) };
    let refused = |what| Fault::new(Cause::Refused, what);
    let mut certs = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(cert) = item.map_err(|_| refused("a certificate authority's PEM is damaged"))? {
            certs.push(cert);
        }
    }
    if certs.is_empty() {
        return Err(refused("no certificate of an authority in the PEM"));
    }
    Ok(RootCerts::from(certs))
}

/// What is sent.
#[derive(Clone, Copy)]
pub struct Request<'a, 'c> {
    /// The whole address.
    pub url: &'a str,
    /// The bearer key, if the service wants one.
    pub key: Option<&'a str>,
    /// The body.
    pub content: Content<'c>,
}

/// The body of a request, in a form that can be sent twice.
#[derive(Clone, Copy)]
pub enum Content<'a> {
    /// None: a GET.
    Nothing,
    /// JSON in a POST.
    Json(&'a [u8]),
    /// A multipart form in a POST.
    Form(&'a dyn Fn() -> Result<Form<'a>, Fault>),
}

/// How long to wait for something, and its name in the fault if it does not come.
#[derive(Clone, Copy, Debug)]
pub struct Until {
    /// The instant.
    pub by: Instant,
    /// What is waited for, as in "first token".
    pub what: &'static str,
}

impl HttpClient {
    /// A client for the process.
    ///
    /// # Errors
    /// Refused: there is no certificate in `authorities`, or a damaged one.
    pub fn new(config: &HttpConfig) -> Result<HttpClient, Fault> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls =
            TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(roots(&config.authorities)?);
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .proxy(if config.proxy_from_environment { Proxy::try_from_env() } else { None })
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("voxlane/", env!("CARGO_PKG_VERSION")))
            .input_buffer_size(limits::SERVICE_BUFFER_BYTES)
            .output_buffer_size(limits::SERVICE_BUFFER_BYTES)
            .max_response_header_size(limits::SERVICE_BUFFER_BYTES)
            .max_idle_connections(limits::SERVICE_IDLE)
            .max_idle_connections_per_host(limits::SERVICE_IDLE_PER_HOST)
            .max_idle_age(limits::SERVICE_IDLE_AGE)
            .timeout_connect(Some(limits::SERVICE_SETUP))
            .build();
        let connector = ().chain(ConnectProxyConnector::default()).chain(Tracked).chain(RustlsConnector::default());
        Ok(HttpClient { agent: Agent::with_parts(config, connector, Lookup::default()) })
    }

    /// Sends `request` and waits for the head of the answer, which has a 2xx status.
    ///
    /// # Errors
    /// Cancelled; Timeout, naming what `until` waits for; Refused, Overload or Unavailable as the status says; Unavailable
    /// without a connection; Malformed if what answers does not speak HTTP.
    pub fn send(&self, request: &Request<'_, '_>, call: &Call, until: Until) -> Result<Exchange, Fault> {
        let watch = Arc::new(Watch::new(call.clock, call.deadline));
        let hooked = watch.clone();
        if !call.cancel.on_cancel(move || hooked.cancel()) {
            return Err(Fault::new(Cause::Internal, "more attempts than places for cancel hooks"));
        }
        let first = self.attempt(request, &watch, until);
        let answer = match first {
            Err(error) if watch.was_stale() && is_loss(&error) => self.attempt(request, &watch, until),
            other => other,
        };
        let response = answer.map_err(|error| fault_of(error, &watch, until.what))?;
        let (head, body) = response.into_parts();
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let mut exchange = Exchange {
            content_type: header("content-type").to_ascii_lowercase(),
            body: Some(body.into_with_config().limit(u64::MAX).reader()),
            watch,
        };
        if head.status.is_success() {
            return Ok(exchange);
        }
        let retry_after = retry_after(&header("retry-after"), UnixMs::now());
        if head.status.is_server_error() {
            exchange.watch.spoil();
        }
        let now = call.clock.now();
        let reason = exchange.reason(until.by.min(now + limits::SERVICE_TAIL));
        Err(refusal(head.status.as_u16(), retry_after, &reason))
    }

    fn attempt(
        &self,
        request: &Request<'_, '_>,
        watch: &Arc<Watch>,
        until: Until,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        watch.begin(until.by);
        let _on_this_thread = watch.enter();
        let bearer = request.key.map(|key| format!("Bearer {key}"));
        if let Content::Nothing = request.content {
            let mut get = self.agent.get(request.url);
            if let Some(bearer) = &bearer {
                get = get.header("authorization", bearer);
            }
            return get.call();
        }
        let mut post = self.agent.post(request.url);
        if let Some(bearer) = &bearer {
            post = post.header("authorization", bearer);
        }
        match request.content {
            Content::Json(body) => post.content_type("application/json").send(body),
            Content::Form(form) => post.send(form().map_err(|fault| ureq::Error::Other(fault.into()))?),
            Content::Nothing => Err(ureq::Error::ConnectionFailed),
        }
    }
}

/// An answer whose body is still coming. Dropped before its end, the connection is closed.
pub struct Exchange {
    content_type: String,
    body: Option<BodyReader<'static>>,
    watch: Arc<Watch>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Exchange({})", self.content_type)
    }
}

impl Exchange {
    /// The media type in lower case, with its parameters; empty if the service names none.
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Reads what has come of the body, waiting for it until `until`; 0 at its end.
    ///
    /// # Errors
    /// Cancelled, Timeout, Unavailable (the connection broke), Malformed (not HTTP any more).
    pub fn read(&mut self, into: &mut [u8], until: Until) -> Result<usize, Fault> {
        let Some(body) = &mut self.body else { return Ok(0) };
        self.watch.begin(until.by);
        let read = {
            let _on_this_thread = self.watch.enter();
            body.read(into)
        };
        // A shut socket looks like the end of a body that has no length.
        if self.watch.is_cancelled() {
            self.close();
            return Err(Fault::cancelled());
        }
        match read {
            Ok(0) => {
                self.close();
                Ok(0)
            }
            Ok(n) => Ok(n),
            Err(error) => {
                self.close();
                Err(fault_of(ureq::Error::from(error), &self.watch, until.what))
            }
        }
    }

    /// Reads the rest of the body, at most `most` bytes.
    ///
    /// # Errors
    /// As [`Exchange::read`]; Malformed if there is more.
    pub fn collect(&mut self, most: usize, until: Until) -> Result<Vec<u8>, Fault> {
        let mut all = Vec::new();
        let mut piece = [0; 4_096];
        loop {
            let read = self.read(&mut piece, until)?;
            if read == 0 {
                return Ok(all);
            }
            if all.len() + read > most {
                return Err(Fault::new(Cause::Malformed, format!("answer of more than {most} bytes")));
            }
            all.extend_from_slice(&piece[..read]);
        }
    }

    /// Reads the formal end of a body that has said all, so that its connection can be used again. Waits for it briefly.
    pub fn finish(mut self, now: Instant) {
        let until = Until { by: now + limits::SERVICE_END, what: "end of the answer" };
        let mut piece = [0; 1_024];
        for _ in 0..8 {
            if !matches!(self.read(&mut piece, until), Ok(n) if n > 0) {
                return;
            }
        }
    }

    /// The reason in a refusal's body.
    fn reason(&mut self, by: Instant) -> String {
        let until = Until { by, what: "refusal" };
        self.collect(limits::SERVICE_REFUSAL_BYTES, until).map_or_else(|_| String::new(), |body| error_word(&body))
    }

    fn close(&mut self) {
        let _on_this_thread = self.watch.enter();
        self.body = None;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.close();
        self.watch.leave();
    }
}

/// The machine-readable word of an error in the style of OpenAI, as in `rate_limit_exceeded`. Never the message: that may hold
/// what the user said, or a part of the key.
pub fn error_word(body: &[u8]) -> String {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return String::new() };
    let error = value.get("error").unwrap_or(&value);
    ["code", "type"]
        .iter()
        .filter_map(|&key| error.get(key)?.as_str())
        .find(|word| is_plain(word))
        .unwrap_or("")
        .to_owned()
}

fn is_plain(word: &str) -> bool {
    (1..=40).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b'0'..=b'9'))
}

/// What an HTTP status other than 2xx means; `retry_after` is how long the service wants to be left alone.
pub fn refusal(status: u16, retry_after: Option<Duration>, word: &str) -> Fault {
    let cause = match status {
        408 | 504 => Cause::Timeout,
        429 => Cause::Overload,
        503 if retry_after.is_some() => Cause::Overload,
        500.. => Cause::Unavailable,
        _ => Cause::Refused,
    };
    let mut detail = format!("HTTP {status}");
    if !word.is_empty() {
        detail = format!("{detail} {word}");
    }
    if let Some(pause) = retry_after {
        detail = format!("{detail}, retry after {} s", pause.as_secs());
    }
    // What a refusal that stays a refusal says of later is of no use.
    let pause = retry_after.filter(|_| cause != Cause::Refused);
    Fault::new(cause, detail).wait(pause)
}

/// The value of `Retry-After`: seconds, or a date (RFC 9110, 10.2.3) seen from `now`; one that has passed is no pause. Rounded up
/// to whole seconds, at most [`limits::RETRY_AFTER`].
fn retry_after(value: &str, now: UnixMs) -> Option<Duration> {
    let value = value.trim();
    let secs = match value.parse::<u64>() {
        Ok(secs) => secs,
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp().as_millisecond();
            u64::try_from(date).ok()?.saturating_sub(now.0).div_ceil(1_000)
        }
    };
    Some(Duration::from_secs(secs).min(limits::RETRY_AFTER))
}

/// Whether the connection was lost, as opposed to refused, slow or wrong.
fn is_loss(error: &ureq::Error) -> bool {
    use std::io::ErrorKind as Kind;
    let ureq::Error::Io(error) = error else { return false };
    matches!(error.kind(), Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe | Kind::NotConnected)
}

fn fault_of(error: ureq::Error, watch: &Watch, what: &str) -> Fault {
    use std::io::ErrorKind as Kind;
    if watch.is_cancelled() {
        return Fault::cancelled();
    }
    let fault = Fault::new;
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => Fault::timeout("connect"),
        ureq::Error::Timeout(_) => Fault::timeout(what),
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => tls(error),
            None if matches!(error.kind(), Kind::TimedOut | Kind::WouldBlock) => Fault::timeout(what),
            None => fault(Cause::Unavailable, format!("{what}: {}", error.kind())),
        },
        ureq::Error::Rustls(error) => tls(&error),
        ureq::Error::HostNotFound => fault(Cause::Unavailable, "host not found".to_owned()),
        ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => {
            fault(Cause::Unavailable, "no connection".to_owned())
        }
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) | ureq::Error::BodyStalled => {
            fault(Cause::Malformed, format!("{what}: not HTTP"))
        }
        ureq::Error::Http(_) | ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl | ureq::Error::Tls(_) => {
            fault(Cause::Refused, "bad address or header".to_owned())
        }
        ureq::Error::Other(error) => match error.downcast::<Fault>() {
            Ok(fault) => *fault,
            Err(_) => fault(Cause::Internal, "HTTP client".to_owned()),
        },
        _ => fault(Cause::Internal, "HTTP client".to_owned()),
    }
}

/// A certificate that does not hold stays so: trying again is of no use.
fn tls(error: &rustls::Error) -> Fault {
    match error {
        rustls::Error::InvalidCertificate(_) => Fault::new(Cause::Refused, "certificate not accepted"),
        _ => Fault::new(Cause::Unavailable, "TLS handshake failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_told_in_seconds_or_as_a_date() {
        // Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own example.
        let now = UnixMs(784_111_777_000);
        let pause = |value| retry_after(value, now).map(|pause| pause.as_secs());
        assert_eq!(pause(" 120 "), Some(120));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:47 GMT"), Some(10));
        assert_eq!(pause("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "it has passed");
        assert_eq!(pause("999999999999"), Some(limits::RETRY_AFTER.as_secs()));
        assert_eq!([pause(""), pause("soon"), pause("-5"), pause("1.5")], [None; 4]);
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:38 GMT", UnixMs(now.0 + 1)), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_refusal_says_by_its_status_what_it_is_and_how_long() {
        let of = |status, secs: Option<u64>| {
            let fault = refusal(status, secs.map(Duration::from_secs), "");
            (fault.cause, fault.retry_after.map(|pause| pause.as_secs()))
        };
        assert_eq!(of(429, Some(7)), (Cause::Overload, Some(7)));
        assert_eq!(of(429, None), (Cause::Overload, None));
        assert_eq!(of(503, Some(2)), (Cause::Overload, Some(2)));
        assert_eq!(of(503, None), (Cause::Unavailable, None));
        assert_eq!(of(504, None), (Cause::Timeout, None));
        assert_eq!(of(401, Some(9)), (Cause::Refused, None));
    }
}
