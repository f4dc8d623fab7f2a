//! What a starting server says of itself: addresses, cores, providers, and the URL to put into the device.

use super::Server;
use crate::config::Config;
use crate::session::record::Durability;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The text, a few lines.
pub fn banner(config: &Config, server: &Server) -> String {
    let at = server.addresses();
    let mut out = format!("voxlane {}\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(out, "  {name:9} {text}");
    };
    let scheme = if config.listen.tls.is_some() { "wss" } else { "ws" };
    line("devices", &format!("{scheme}://{}{}", reachable(at.device), config.listen.path));
    line("check-in", &format!("http://{}/xiaozhi/ota/    <- the OTA URL to put into the device", reachable(at.http)));
    line("admin", &format!("http://{}/    <- the live page, for a browser; /metrics, /stats.json", at.admin));
    line("shards", &server.pinning());
    for (stage, provider) in server.providers() {
        line(stage, &provider);
    }
    let memory = config.memory.path.display();
    let memory = match config.memory.durability {
        Durability::None => "none: nothing is remembered".to_owned(),
        Durability::Interval => format!("{memory}, written once a second"),
        Durability::Turn => format!("{memory}, on the disk with each turn"),
    };
    line("memory", &memory);
    line(
        "auth",
        if config.auth.token { "token: devices on the allow list" } else { "open: anybody who reaches the port" },
    );
    out
}

/// An address a device can use: for a wildcard the one this machine has towards its network.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    SocketAddr::new(outward().unwrap_or(IpAddr::from([127, 0, 0, 1])), address.port())
}

/// Asks the routing table by connecting a datagram socket; nothing is sent (192.0.2.1 is the documentation address of RFC 5737).
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}
