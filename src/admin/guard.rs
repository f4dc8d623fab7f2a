//! Who may look at the operator's pages.
//!
//! Loopback alone is no wall: a page in the operator's browser can send requests to it, and by pointing a name of its own at
//! 127.0.0.1 (DNS rebinding) even read the answers. So a request must name us by an address or name that is ours, must not come
//! from another site's page, and off loopback must bring the token.

use super::Request;
use crate::secret::Masked;
use crate::wire::http::{Head, Reply};
use std::net::{IpAddr, SocketAddr};

/// See the file's documentation.
#[derive(Debug)]
pub struct Guard {
    token: Option<Masked>,
    names: Vec<String>,
}

/// What the guard says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// May see everything.
    All,
    /// Brings no token where one is needed: may learn whether we live, nothing more.
    Health,
}

impl Guard {
    /// For a listener at `address`. `names`: host names, besides `localhost` and the address itself, by which it is reached.
    ///
    /// # Errors
    /// A sentence: the address is not on loopback and there is no token.
    pub fn new(address: SocketAddr, token: Option<Masked>, names: Vec<String>) -> Result<Guard, String> {
        let token = token.filter(|token| !token.is_empty());
        if token.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(format!("the admin listener at {address} is off loopback and needs admin.token"));
        }
        Ok(Guard { token, names })
    }

    /// Judges a request.
    ///
    /// # Errors
    /// The reply to send instead.
    pub fn judge(&self, request: &Request<'_>) -> Result<Pass, Reply> {
        self.judge_host(request.head, request.local)?;
        judge_origin(request.head)?;
        Ok(if self.is_token_right(request.head) { Pass::All } else { Pass::Health })
    }

    fn judge_host(&self, head: &Head<'_>, local: SocketAddr) -> Result<(), Reply> {
        let mut hosts = head.headers("host");
        match (hosts.next(), hosts.next()) {
            // A browser always names the host; an old tool that does not is no browser.
            (None, _) if !head.is_11 => Ok(()),
            (Some(host), None) if self.is_ours(host, local.ip().to_canonical()) => Ok(()),
            (Some(_), None) => Err(Reply::new(421, "this Host is not served here\n")),
            _ => Err(Reply::new(400, "exactly one Host is needed\n")),
        }
    }

    /// A name can be pointed anywhere by whoever owns it, so only ours count; an address is what it is.
    fn is_ours(&self, host: &str, local: IpAddr) -> bool {
        let Some(name) = without_port(host) else { return false };
        if let Ok(address) = name.parse::<IpAddr>() {
            let address = address.to_canonical();
            return address.is_loopback() || address == local;
        }
        name.eq_ignore_ascii_case("localhost") || self.names.iter().any(|ours| name.eq_ignore_ascii_case(ours))
    }

    fn is_token_right(&self, head: &Head<'_>) -> bool {
        let Some(token) = &self.token else { return true };
        let given = head.header("authorization").and_then(|value| {
            let (scheme, given) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| given.trim_start())
        });
        given.is_some_and(|given| token.matches(given.as_bytes()))
    }
}

/// A page of another origin, or of none (`null`), has no business here. Nor has one that does not name itself: a browser tells
/// by `Sec-Fetch-Site` where a request comes from, and without asking any page may cause requests whose answers it cannot read,
/// but which cost us a watcher's seat or a profile. Following a link from there is allowed.
fn judge_origin(head: &Head<'_>) -> Result<(), Reply> {
    let host = head.header("host").unwrap_or_default();
    let is_own = |origin: &str| {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    let is_from_elsewhere = head.headers("sec-fetch-site").any(|site| !matches!(site, "same-origin" | "none"));
    let is_link =
        head.header("sec-fetch-mode") == Some("navigate") && head.header("sec-fetch-dest") == Some("document");
    match head.headers("origin").all(is_own) && (!is_from_elsewhere || is_link) {
        true => Ok(()),
        false => Err(Reply::new(403, "not from another site's page\n")),
    }
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`; `None` if it is none of them.
fn without_port(host: &str) -> Option<&str> {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    if let Some(rest) = host.strip_prefix('[') {
        let (name, behind) = rest.split_once(']')?;
        return (behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port)).then_some(name);
    }
    match host.split_once(':') {
        Some((name, port)) => is_port(port).then_some(name),
        None => Some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::parse_head;

    fn judge(guard: &Guard, local: &str, lines: &str) -> Result<Pass, u16> {
        let bytes = format!("GET /metrics HTTP/1.1\r\n{lines}\r\n");
        let (head, _) = parse_head(bytes.as_bytes()).unwrap().unwrap();
        let request =
            Request { head: &head, body: &[], peer: "127.0.0.1:5".parse().unwrap(), local: local.parse().unwrap() };
        guard.judge(&request).map_err(|reply| reply.status)
    }

    fn guard(address: &str, token: Option<&str>) -> Result<Guard, String> {
        Guard::new(address.parse().unwrap(), token.map(Masked::new), vec!["voice.example".into()])
    }

    #[test]
    fn hosts_that_are_ours() {
        let guard = guard("127.0.0.1:8009", None).unwrap();
        let table = [
            ("Host: 127.0.0.1:8009\r\n", Ok(Pass::All)),
            ("Host: localhost:8009\r\n", Ok(Pass::All)),
            ("host: LOCALHOST\r\n", Ok(Pass::All)),
            ("Host: [::1]:8009\r\n", Ok(Pass::All)),
            ("Host: 192.0.2.7:8009\r\n", Ok(Pass::All)),
            ("Host: voice.example\r\n", Ok(Pass::All)),
            ("Host: 192.0.2.8:8009\r\n", Err(421)),
            ("Host: evil.example:8009\r\n", Err(421)),
            ("Host: localhost.evil.example\r\n", Err(421)),
            ("Host: 127.0.0.1.evil.example\r\n", Err(421)),
            ("Host: 127.0.0.1:8009@evil\r\n", Err(421)),
            ("Host: [::1\r\n", Err(421)),
            ("Host: \r\n", Err(421)),
            ("Host: localhost\r\nHost: evil.example\r\n", Err(400)),
            ("", Err(400)),
        ];
        for (lines, expected) in table {
            assert_eq!(judge(&guard, "192.0.2.7:8009", lines), expected, "{lines}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let guard = guard("127.0.0.1:8009", None).unwrap();
        let table = [
            ("http://localhost:8009", Ok(Pass::All)),
            ("http://localhost:3000", Err(403)),
            ("http://evil.example", Err(403)),
            ("null", Err(403)),
            ("", Err(403)),
        ];
        for (origin, expected) in table {
            let lines = format!("Host: localhost:8009\r\nOrigin: {origin}\r\n");
            assert_eq!(judge(&guard, "127.0.0.1:8009", &lines), expected, "{origin}");
        }
    }

    #[test]
    fn requests_that_another_sites_page_causes_are_refused_but_links_may_be_followed() {
        let guard = guard("127.0.0.1:8009", None).unwrap();
        let table = [
            ("same-origin", "cors", "empty", Ok(Pass::All)),
            ("none", "navigate", "document", Ok(Pass::All)),
            ("cross-site", "navigate", "document", Ok(Pass::All)),
            ("cross-site", "navigate", "iframe", Err(403)),
            ("cross-site", "no-cors", "image", Err(403)),
            ("cross-site", "no-cors", "empty", Err(403)),
            ("same-site", "no-cors", "script", Err(403)),
        ];
        for (site, mode, dest, expected) in table {
            let lines = format!(
                "Host: localhost:8009\r\nSec-Fetch-Site: {site}\r\nSec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {dest}\r\n"
            );
            assert_eq!(judge(&guard, "127.0.0.1:8009", &lines), expected, "{site} {mode} {dest}");
        }
    }

    #[test]
    fn off_loopback_there_must_be_a_token_and_it_must_be_right() {
        assert!(guard("127.3.2.1:1", None).is_ok() && guard("[::1]:1", None).is_ok());
        for address in ["0.0.0.0:8009", "192.0.2.7:8009", "[::]:8009"] {
            assert!(guard(address, None).unwrap_err().contains("admin.token"), "{address}");
            assert!(guard(address, Some("")).is_err(), "an empty token is none");
        }
        let guard = guard("0.0.0.0:8009", Some("s3cret")).unwrap();
        let table = [
            ("Authorization: Bearer s3cret\r\n", Ok(Pass::All)),
            ("Authorization: bearer  s3cret\r\n", Ok(Pass::All)),
            ("Authorization: Bearer s3cre\r\n", Ok(Pass::Health)),
            ("Authorization: Basic s3cret\r\n", Ok(Pass::Health)),
            ("Authorization: s3cret\r\n", Ok(Pass::Health)),
            ("", Ok(Pass::Health)),
        ];
        for (lines, expected) in table {
            assert_eq!(
                judge(&guard, "192.0.2.7:8009", &format!("Host: 192.0.2.7:8009\r\n{lines}")),
                expected,
                "{lines}"
            );
        }
        assert!(!format!("{guard:?}").contains("s3cret"));
    }
}
