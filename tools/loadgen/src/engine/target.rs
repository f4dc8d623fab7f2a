//! Where devices connect.

use super::trust::{Tls, Trust};
use std::net::{SocketAddr, ToSocketAddrs};

/// A server.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Host and port as written.
    pub host: String,
    /// With a leading slash.
    pub path: String,
    /// Without `Bearer`; empty for none.
    pub token: String,
    /// Of `wss://`.
    pub tls: Option<Tls>,
}

impl Target {
    /// From `ws://host:port/path` or `wss://`. Only loopback unless the person says that the host is theirs.
    pub fn parse(url: &str, is_own_host: bool) -> Result<Target, String> {
        let (rest, is_secure) = match url.split_once("://") {
            Some(("ws", rest)) => (rest, false),
            Some(("wss", rest)) => (rest, true),
            Some((scheme, _)) => return Err(format!("{url}: devices connect to ws:// or wss://, not {scheme}://")),
            None => return Err(format!("{url}: write it as ws://127.0.0.1:8000/xiaozhi/v1/")),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(format!("{url}: the host is missing"));
        }
        let has_port = host.rsplit(']').next().is_some_and(|h| h.contains(':'));
        let with_port = match (has_port, is_secure) {
            (true, _) => host.to_owned(),
            (false, false) => format!("{host}:80"),
            (false, true) => format!("{host}:443"),
        };
        let address = with_port
            .to_socket_addrs()
            .map_err(|e| format!("{url}: {e}"))?
            .next()
            .ok_or_else(|| format!("{url}: the host has no address"))?;
        if !is_own_host && !address.ip().is_loopback() {
            return Err(format!("{url} is not this machine; --i-own-this-host says that you may load it"));
        }
        let tls = is_secure.then(|| Tls::new(name(host), &Trust::Public)).transpose();
        let tls = tls.map_err(|what| format!("{url}: {what}"))?;
        Ok(Target { address, host: host.to_owned(), path: format!("/{path}"), token: String::new(), tls })
    }

    /// The same, its certificate judged otherwise.
    pub fn trusting(self, trust: &Trust) -> Result<Target, String> {
        match (&self.tls, trust) {
            (_, Trust::Public) => Ok(self),
            (None, _) => {
                Err(format!("{}: --ca and --insecure are for wss://, this server shows no certificate", self.url()))
            }
            (Some(_), trust) => Ok(Target { tls: Some(Tls::new(name(&self.host), trust)?), ..self }),
        }
    }

    /// As written.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.host, self.path)
    }
}

/// The host without its port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_strangers_are_not_loaded() {
        let t = Target::parse("ws://127.0.0.1:8000/xiaozhi/v1/", false).unwrap();
        assert_eq!(
            (t.address.port(), t.path.as_str(), t.url().as_str()),
            (8000, "/xiaozhi/v1/", "ws://127.0.0.1:8000/xiaozhi/v1/")
        );
        assert_eq!(Target::parse("ws://[::1]", false).unwrap().address.port(), 80);
        assert!(Target::parse("ws://192.0.2.1:8000/", false).unwrap_err().contains("--i-own-this-host"));
        assert!(Target::parse("ws://192.0.2.1:8000/", true).is_ok());
        let t = Target::parse("wss://[::1]/x", false).unwrap();
        assert_eq!((t.address.port(), t.url().as_str()), (443, "wss://[::1]/x"));
        assert_eq!((name("[::1]:4"), name("[::1]"), name("a:4"), name("a")), ("[::1]", "[::1]", "a", "a"));
        for wrong in ["http://127.0.0.1/", "127.0.0.1:8000", "ws:///x", "wss:///x", "wss://a b/"] {
            assert!(Target::parse(wrong, false).unwrap_err().starts_with(wrong), "{wrong}");
        }
    }
}
