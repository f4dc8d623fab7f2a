//! Over real loopback sockets. Nothing here waits for a time to pass, but for what a peer would see; deadlines are short where
//! a test is about one.

use super::*;
use crate::admin::live::About;
use crate::admin::{AdminRoutes, DeviceRoutes, Guard, Live, Request};
use crate::format::Lang;
use crate::ids::ShardId;
use crate::metrics::turns::{DeviceTag, TurnRecord};
use crate::metrics::{Counter, Readiness};
use crate::secret::Masked;
use crate::time::{Instant, UnixMs};
use crate::wire::packet::Version;
use crossbeam::channel::{Receiver, Sender, unbounded};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

mod flames;
mod watchers;

struct Stand {
    server: Server,
    registry: Arc<Registry>,
}

impl Stand {
    fn new(config: Config, routes: impl FnOnce(&Arc<Registry>, SocketAddr) -> Arc<dyn Routes>) -> Stand {
        let registry = Arc::new(Registry::new(UnixMs::now()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let routes = routes(&registry, listener.local_addr().unwrap());
        let server = serve(listener, "test", config, routes, &registry, Clock::start()).unwrap();
        Stand { server, registry }
    }

    fn admin(token: Option<&str>, readiness: Readiness) -> Stand {
        Stand::new(Config::default(), |registry, address| {
            let guard = Guard::new(address, token.map(Masked::new), vec![]).unwrap();
            let (registry, clock) = (registry.clone(), Clock::start());
            let live = Live::start(registry.clone(), readiness.clone(), clock, About::default()).unwrap();
            Arc::new(AdminRoutes { guard, registry, readiness, clock, live })
        })
    }

    fn open(&self) -> TcpStream {
        let stream = TcpStream::connect(self.server.address()).unwrap();
        // Far beyond anything expected; a hang becomes a failure.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends `request` and returns all that comes until the end.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.open();
        stream.write_all(request.as_bytes()).unwrap();
        rest(stream)
    }

    fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    fn counted(&self, counter: Counter) -> u64 {
        self.registry.total(counter)
    }
}

fn rest(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn status(answer: &str) -> &str {
    answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("none")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[test]
fn every_page_answers() {
    let readiness = Readiness::default();
    let asr = readiness.part("asr", "loading the model");
    let stand = Stand::admin(None, readiness);
    assert!(body(&stand.get("/")).contains("/stats.json"));
    assert_eq!(body(&stand.get("/healthz")), "ok\n");
    let not_ready = stand.get("/readyz");
    assert_eq!((status(&not_ready), body(&not_ready)), ("503", "not ready\nasr: loading the model\n"));
    asr.ready();
    assert_eq!(status(&stand.get("/readyz?x=1")), "200");
    let metrics = stand.get("/metrics");
    assert!(metrics.contains("Content-Type: text/plain; version=0.0.4"));
    assert!(metrics.contains("voxlane_control_requests_total{result=\"answered\"} "));
    let stats: serde_json::Value = serde_json::from_str(body(&stand.get("/stats.json"))).unwrap();
    assert_eq!(stats["version"], env!("CARGO_PKG_VERSION"));
    assert!(stats["process"]["resident_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn the_last_turns_are_told_newest_first_without_words() {
    let stand = Stand::admin(None, Readiness::default());
    let shards = [0, 1].map(|id| stand.registry.panel(Home::Shard(ShardId(id))));
    for n in 0..60 {
        let turn = TurnRecord { turn: n, device: DeviceTag::new("<b>\"x"), end: "complete", ..TurnRecord::default() };
        shards[n as usize % 2].turns().write(&TurnRecord { began: Instant::from_us(u64::from(n)), ..turn });
    }
    let turns: serde_json::Value = serde_json::from_str(body(&stand.get("/turns.json"))).unwrap();
    let turns = turns.as_array().unwrap();
    assert_eq!((turns.len(), &turns[0]["turn"], &turns[49]["turn"]), (50, &59.into(), &10.into()));
    assert_eq!((&turns[0]["device"], &turns[0]["shard"]), (&"<b>\"x".into(), &1.into()));
    assert_eq!(turns[0]["milestones_ms"], serde_json::json!({}), "none was reached");
}

#[test]
fn head_gets_the_head_of_what_get_would_bring() {
    let stand = Stand::admin(None, Readiness::default());
    let answer = stand.ask("HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((status(&answer), body(&answer)), ("200", ""));
    assert!(answer.contains("Content-Length: 3\r\n"));
}

#[test]
fn what_is_wrong_gets_its_status() {
    let stand = Stand::admin(None, Readiness::default());
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(9_000));
    let many = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(70));
    let table = [
        ("GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("GET /%2e%2e/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi", "405"),
        ("DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", "405"),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", "403"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "400"),
        ("\x16\x03\x01\x02\0\x01\0", "400"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20000\r\n\r\n", "413"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411"),
        (&long, "431"),
        (&many, "431"),
    ];
    for (request, expected) in table {
        let answer = stand.ask(request);
        assert_eq!(status(&answer), expected, "{} … gave {answer}", &request[..request.len().min(80)]);
        assert!(answer.contains("Connection: close\r\n"));
    }
    assert_eq!(status(&stand.get("/healthz")), "200", "the server is as it was");
}

/// The whole of a refused body is still on its way when the answer goes out; a reset would take the answer with it.
#[test]
fn a_refused_upload_hears_why() {
    let stand = Stand::admin(None, Readiness::default());
    let mut stream = stand.open();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000\r\n\r\n").unwrap();
    let _ = stream.write_all(&[b'x'; 40_000]);
    assert_eq!(status(&rest(stream)), "413");
}

#[test]
fn without_the_token_only_health_is_told() {
    let readiness = Readiness::default();
    let _asr = readiness.part("asr", "secret reason");
    let stand = Stand::admin(Some("s3cret"), readiness);
    for path in ["/metrics", "/stats.json", "/turns.json", "/live", "/debug/flamegraph", "/nothing"] {
        let answer = stand.get(path);
        assert_eq!(status(&answer), "401", "{path}");
        assert!(answer.contains("WWW-Authenticate: Bearer\r\n"));
    }
    assert_eq!(status(&stand.get("/healthz")), "200");
    assert_eq!(body(&stand.get("/readyz")), "not ready\n");
    assert!(body(&stand.get("/")).contains("asks for a token"), "the page itself, which knows nothing");
    let with = stand.ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n\r\n");
    assert_eq!(status(&with), "200");
}

#[test]
fn a_request_may_come_in_any_pieces() {
    let stand = Stand::admin(None, Readiness::default());
    let mut stream = stand.open();
    stream.set_nodelay(true).unwrap();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" {
        stream.write_all(std::slice::from_ref(byte)).unwrap();
    }
    assert_eq!(body(&rest(stream)), "ok\n");
    let mut stream = stand.open();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"body").unwrap();
    assert_eq!(status(&rest(stream)), "405");
}

#[test]
fn who_dawdles_is_let_go_and_nobody_waits_for_him() {
    let config = Config { deadline: Duration::from_millis(200), threads: 1, ..Config::default() };
    let stand = Stand::new(config, |_, _| Arc::new(Fixed(vec![b'x'; 3])));
    let silent = stand.open();
    let mut half = stand.open();
    half.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
    let mut body_missing = stand.open();
    body_missing.write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx").unwrap();
    assert_eq!(stand.get("/"), "xxx", "answered while three others dawdle");
    assert_eq!(status(&rest(half)), "408");
    assert_eq!(status(&rest(body_missing)), "408");
    assert_eq!(rest(silent), "");
    assert_eq!(stand.counted(Counter::ControlSlow), 3);
}

#[test]
fn who_does_not_read_his_answer_holds_a_thread_until_the_deadline_only() {
    let config = Config { deadline: Duration::from_millis(200), threads: 1, ..Config::default() };
    let stand = Stand::new(config, |_, _| Arc::new(Fixed(vec![b'x'; 32 << 20])));
    let mut deaf = stand.open();
    deaf.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // The one thread is free again once the count says that the answer was lost.
    while stand.counted(Counter::ControlLost) == 0 {
        std::thread::yield_now();
    }
    drop(deaf);
    assert_eq!(stand.counted(Counter::ControlAnswered), 1);
}

#[test]
fn beyond_the_connections_the_answer_is_503() {
    let stand = Stand::new(Config { connections: 2, ..Config::default() }, |_, _| Arc::new(Fixed(b"ok".to_vec())));
    let held = [stand.open(), stand.open()];
    let answer = rest(stand.open());
    assert_eq!(status(&answer), "503");
    assert!(answer.contains("Retry-After: 1\r\n"));
    assert_eq!(stand.counted(Counter::ControlBusy), 1);
    drop(held);
    // Their places are free as soon as the reader has seen them go.
    while stand.get("/") != "ok" {}
}

#[test]
fn beyond_the_queue_the_answer_is_503_and_what_was_taken_is_answered() {
    let (entered, has_entered) = unbounded();
    let (go, wait) = unbounded();
    let config = Config { queue: 1, threads: 1, ..Config::default() };
    let stand = Stand::new(config, |_, _| Arc::new(Slow { entered, wait }));
    let send = || {
        let mut stream = stand.open();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let answered = send();
    has_entered.recv().unwrap();
    let (second, third) = (send(), send());
    while stand.counted(Counter::ControlBusy) == 0 {
        std::thread::yield_now();
    }
    drop(go);
    let mut answers = [second, third].map(rest);
    answers.sort();
    assert_eq!((status(&answers[0]), &*answers[1]), ("503", "done"));
    assert_eq!(rest(answered), "done");
}

#[test]
fn a_defect_in_a_page_is_a_500_and_the_next_request_is_answered() {
    struct Broken;
    impl Routes for Broken {
        fn answer(&self, request: &Request<'_>, out: &mut Vec<u8>) {
            assert!(request.head.path != "/broken", "planted");
            out.extend_from_slice(b"fine");
        }
    }
    let stand = Stand::new(Config { threads: 1, ..Config::default() }, |_, _| Arc::new(Broken));
    assert_eq!(status(&stand.get("/broken")), "500");
    assert_eq!(stand.get("/"), "fine");
}

#[test]
fn a_stopped_server_answers_what_it_has_and_frees_its_port() {
    let (entered, has_entered) = unbounded();
    let (go, wait) = unbounded();
    let stand = Stand::new(Config::default(), |_, _| Arc::new(Slow { entered, wait }));
    let mut stream = stand.open();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    has_entered.recv().unwrap();
    let address = stand.server.address();
    std::thread::scope(|threads| {
        threads.spawn(|| stand.server.stop());
        drop(go);
        assert_eq!(rest(stream), "done");
    });
    TcpListener::bind(address).unwrap();
}

#[test]
fn a_device_checks_in_and_its_language_is_remembered() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let remembered = heard.clone();
    let stand = Stand::new(Config::default(), |_, _| {
        Arc::new(DeviceRoutes {
            public: None,
            port: 8000,
            is_tls: false,
            path: "/xiaozhi/v1/".into(),
            version: Version::V1,
            tz_offset_min: Box::new(|_| 60),
            token: Box::new(|check_in, _| format!("token-of-{}", check_in.device_id)),
            remember: Box::new(move |device, language| remembered.lock().unwrap().push((device.to_owned(), language))),
        })
    });
    for path in ["/xiaozhi/ota/", "/xiaozhi/ota"] {
        let answer = stand.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: 10.0.0.5:8003\r\nDevice-Id: aa:bb\r\nContent-Length: 20\r\n\r\n{{\"language\":\"zh-CN\"}}"
        ));
        assert_eq!(status(&answer), "200");
        let json: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
        assert_eq!(json["websocket"]["url"], "ws://10.0.0.5:8000/xiaozhi/v1/");
        assert_eq!(json["websocket"]["token"], "token-of-aa:bb");
        assert_eq!(json["server_time"]["timezone_offset"], 60);
    }
    assert_eq!(*heard.lock().unwrap(), vec![("aa:bb".to_owned(), Lang::parse("zh").unwrap()); 2]);
    assert_eq!(status(&stand.ask("POST /xiaozhi/ota/ HTTP/1.1\r\nHost: h\r\n\r\n")), "400");
    assert_eq!(status(&stand.ask("OPTIONS /xiaozhi/ota/ HTTP/1.1\r\nHost: h\r\n\r\n")), "200");
    assert_eq!(status(&stand.get("/healthz")), "200");
    assert_eq!(status(&stand.get("/")), "200");
    assert_eq!(status(&stand.get("/metrics")), "404", "operators' pages are not here");
    assert_eq!(status(&stand.ask("PUT /healthz HTTP/1.1\r\nHost: h\r\n\r\n")), "405");
}

/// Answers everything with the same bytes.
struct Fixed(Vec<u8>);

impl Routes for Fixed {
    fn answer(&self, _: &Request<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

/// Says that it has begun, and waits until it may end.
struct Slow {
    entered: Sender<()>,
    wait: Receiver<()>,
}

impl Routes for Slow {
    fn answer(&self, _: &Request<'_>, out: &mut Vec<u8>) {
        let _ = self.entered.send(());
        let _ = self.wait.recv();
        out.extend_from_slice(b"done");
    }
}
