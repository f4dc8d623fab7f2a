//! Where devices connect.

use std::net::{SocketAddr, ToSocketAddrs};

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Host and port as written.
    pub host: String,
    /// With a leading slash.
    pub path: String,
    /// Without `Bearer`; empty for none.
    pub token: String,
}

impl Target {
    /// From `ws://host:port/path`. Only loopback unless the person says that the host is theirs.
    pub fn parse(url: &str, is_own_host: bool) -> Result<Target, String> {
        let rest = match url.split_once("://") {
            Some(("ws", rest)) => rest,
            Some(("wss", _)) => {
                return Err(format!("{url}: wss is not spoken here; put the load on the plain port, ws://"));
            }
            Some((scheme, _)) => return Err(format!("{url}: devices connect to ws://, not {scheme}://")),
            None => return Err(format!("{url}: write it as ws://127.0.0.1:8000/xiaozhi/v1/")),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(format!("{url}: the host is missing"));
        }
        let with_port = if host.rsplit(']').next().is_some_and(|h| h.contains(':')) {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let address = with_port
            .to_socket_addrs()
            .map_err(|e| format!("{url}: {e}"))?
            .next()
            .ok_or_else(|| format!("{url}: the host has no address"))?;
        if !is_own_host && !address.ip().is_loopback() {
            return Err(format!("{url} is not this machine; --i-own-this-host says that you may load it"));
        }
        Ok(Target { address, host: host.to_owned(), path: format!("/{path}"), token: String::new() })
    }

    /// As written.
    pub fn url(&self) -> String {
        format!("ws://{}{}", self.host, self.path)
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
        for wrong in ["http://127.0.0.1/", "127.0.0.1:8000", "ws:///x", "wss://127.0.0.1/"] {
            assert!(Target::parse(wrong, false).unwrap_err().starts_with(wrong), "{wrong}");
        }
    }
}
