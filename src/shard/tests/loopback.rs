//! Threads and sockets: the same shard as in a server, with tungstenite's client as the device.

use crate::audio::phrase::Phrasebook;
use crate::audio::vad::Engine;
use crate::metrics::{Counter, Panel};
use crate::net::tls;
use crate::shard::{Common, Crew, DeviceLanguages, Handle, Rules, lay};
use crate::time::{Clock, Duration};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

struct Running {
    handle: Handle,
    panels: Vec<Arc<Panel>>,
}

/// Shards without workers: sessions open, and every turn finds its pool full.
fn start(shards: usize, rules: Rules) -> Running {
    let site = lay(SocketAddr::from(([127, 0, 0, 1], 0)), shards).unwrap();
    let rules = Rules { engine: Engine::Level, pin: false, ..rules };
    let common = Common::new(rules, Arc::new(Phrasebook::default()), Arc::new(DeviceLanguages::default()));
    let panels: Vec<_> = (0..shards).map(|_| Arc::new(Panel::default())).collect();
    let crews = panels.iter().map(|panel| Crew { pools: Vec::new(), memory: None, panel: panel.clone() }).collect();
    Running { handle: site.start(common, Clock::start(), crews).unwrap(), panels }
}

impl Running {
    fn count(&self, counter: Counter) -> u64 {
        self.panels.iter().map(|panel| panel.counter(counter)).sum()
    }

    fn socket(&self) -> TcpStream {
        let socket = TcpStream::connect(self.handle.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket
    }

    fn device(&self, id: &str) -> WebSocket<TcpStream> {
        let mut request = format!("ws://{}/xiaozhi/v1/", self.handle.address()).into_client_request().unwrap();
        request.headers_mut().insert("Device-Id", id.parse().unwrap());
        let (mut client, answer) = tungstenite::client(request, self.socket()).unwrap();
        assert_eq!(answer.status(), 101);
        client.send(Message::text(r#"{"type":"hello","transport":"websocket"}"#)).unwrap();
        let hello = client.read().unwrap().into_text().unwrap();
        assert!(hello.contains(r#""transport":"websocket""#), "{hello}");
        client
    }
}

#[test]
fn a_device_talks_to_a_running_shard() {
    let running = start(1, Rules::default());
    let mut client = running.device("aa:bb");
    client.send(Message::text(r#"{"type":"ping"}"#)).unwrap();
    assert!(client.read().unwrap().into_text().unwrap().contains("pong"));
    client.close(None).unwrap();
    assert!(matches!(client.read(), Ok(Message::Close(_))));
    let mut plain = running.socket();
    plain.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
}

#[test]
fn a_drained_server_says_1001_and_its_threads_end() {
    let running = start(2, Rules::default());
    let mut clients: Vec<_> = (0..6).map(|i| running.device(&format!("aa:{i}"))).collect();
    assert_eq!(running.count(Counter::Upgraded), 6);
    running.handle.drain(Duration::from_secs(10), false);
    for client in &mut clients {
        match client.read().unwrap() {
            Message::Close(Some(close)) => assert_eq!(u16::from(close.code), 1001),
            other => panic!("{other:?}"),
        }
    }
    drop(clients);
    assert!(running.handle.join());
}

#[test]
fn the_newer_connection_of_a_device_wins_on_whichever_shard_it_is() {
    let running = start(2, Rules::default());
    let mut clients: Vec<_> = (0..12).map(|_| running.device("aa:bb")).collect();
    let mut last = clients.pop().unwrap();
    for client in &mut clients {
        let end = client.read();
        assert!(matches!(&end, Err(tungstenite::Error::Protocol(_) | tungstenite::Error::Io(_))), "{end:?}");
    }
    last.send(Message::text(r#"{"type":"ping"}"#)).unwrap();
    assert!(last.read().unwrap().into_text().unwrap().contains("pong"));
    assert_eq!(running.count(Counter::Replaced), 11);
}

#[test]
fn a_device_may_come_over_tls() {
    let files = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let config = tls::server_config(&files.join("server.pem"), &files.join("server-key.pem")).unwrap();
    let running = start(1, Rules { tls: Some(config), ..Rules::default() });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(files.join("authority.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
    let session = rustls::ClientConnection::new(client, "localhost".try_into().unwrap()).unwrap();
    let stream = rustls::StreamOwned::new(session, running.socket());
    let mut request = "ws://localhost/xiaozhi/v1/".into_client_request().unwrap();
    request.headers_mut().insert("Device-Id", "aa:bb".parse().unwrap());
    let (mut device, _) = tungstenite::client(request, stream).unwrap();
    device.send(Message::text(r#"{"type":"hello"}"#)).unwrap();
    assert!(device.read().unwrap().into_text().unwrap().contains("hello"));
    // A message of many records and socket buffers, answered behind it.
    let long = format!(r#"{{"type":"text?","pad":"{}"}}"#, "x".repeat(60_000));
    device.send(Message::text(long)).unwrap();
    for _ in 0..200 {
        device.send(Message::text(r#"{"type":"ping"}"#)).unwrap();
        assert!(device.read().unwrap().into_text().unwrap().contains("pong"));
    }
    device.close(None).unwrap();
    assert!(matches!(device.read(), Ok(Message::Close(_))));
}

#[test]
fn plain_words_to_a_tls_port_end_the_connection() {
    let files = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    let config = tls::server_config(&files.join("server.pem"), &files.join("server-key.pem")).unwrap();
    let running = start(1, Rules { tls: Some(config), ..Rules::default() });
    let mut plain = running.socket();
    plain.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
