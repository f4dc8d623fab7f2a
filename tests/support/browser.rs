//! A headless Chromium, spoken to by its DevTools protocol over a WebSocket.

use super::support::PATIENCE;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;
use tungstenite::{Message, WebSocket};

/// Names under which it is known.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser with one page; ends when dropped.
pub struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    profile: PathBuf,
    page: String,
    last: u64,
    /// What the console said, exceptions and refused loads included.
    pub complaints: Vec<String>,
    /// Every address that was asked for.
    pub asked: Vec<String>,
}

impl Browser {
    /// Starts one, with an empty page; `None` where there is none, and says so.
    pub fn start() -> Option<Browser> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let profile = std::env::temp_dir().join(format!("voxlane-browser-{}-{number}", std::process::id()));
        let command = |name: &str| {
            Command::new(name)
                .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
                .args(["--no-first-run", "--disable-background-networking", "--remote-debugging-port=0"])
                .arg(format!("--user-data-dir={}", profile.display()))
                .arg("about:blank")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .ok()
        };
        let Some(mut child) = NAMES.iter().find_map(|name| command(name)) else {
            eprintln!("skipped: none of {NAMES:?} is installed (Debian: apt-get install chromium)");
            return None;
        };
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let url = lines.find_map(|line| Some(line.ok()?.split_once("listening on ")?.1.to_owned())).expect("it starts");
        // It goes on to complain; nobody who is not read is to block.
        std::thread::spawn(move || lines.for_each(drop));
        let address = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).expect("an address");
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let (socket, _) = tungstenite::client(url.as_str(), stream).expect("upgrade");
        let (page, complaints, asked) = (String::new(), Vec::new(), Vec::new());
        let mut browser = Browser { child, socket, profile, page, last: 0, complaints, asked };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let session = browser.call("Target.attachToTarget", json!({ "targetId": target["targetId"], "flatten": true }));
        browser.page = session["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Goes to an address.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// The window's size, and light or dark.
    pub fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", scheme);
    }

    /// What an expression is.
    pub fn eval(&mut self, expression: &str) -> Value {
        let answer = self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }));
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true; the page may be another one meanwhile.
    pub fn until(&mut self, expression: &str) {
        let begin = Instant::now();
        loop {
            let frame = "new Promise(done => setTimeout(done, 50))";
            let soon = format!("{frame}.then(() => Boolean({expression}))");
            let ask = json!({ "expression": soon, "returnByValue": true, "awaitPromise": true });
            if self.call("Runtime.evaluate", ask)["result"]["value"] == true {
                return;
            }
            let complaints = &self.complaints;
            assert!(begin.elapsed() < PATIENCE, "waited in vain for: {expression}\nthe console: {complaints:#?}");
        }
    }

    /// Keeps a picture in the folder that `VOXLANE_SCREENSHOTS` names, if it does.
    pub fn picture(&mut self, name: &str) {
        use base64::Engine;
        let Some(folder) = std::env::var_os("VOXLANE_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png", "captureBeyondViewport": true }));
        let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().expect("a picture"));
        let at = PathBuf::from(folder).join(format!("{name}.png"));
        std::fs::write(&at, bytes.expect("base64")).unwrap_or_else(|error| panic!("{}: {error}", at.display()));
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if !self.page.is_empty() {
            message["sessionId"] = json!(self.page);
        }
        self.socket.send(Message::text(message.to_string())).expect("send");
        loop {
            let Ok(Message::Text(text)) = self.socket.read() else { panic!("the browser is gone: {method}") };
            let got: Value = serde_json::from_str(&text).expect("JSON");
            if got["id"] == self.last {
                assert!(got["error"].is_null(), "{method}: {got}");
                return got["result"].clone();
            }
            self.note(&got);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Log.entryAdded") => self.complaints.push(params["entry"].to_string()),
            Some("Runtime.consoleAPICalled") => self.complaints.push(params["args"].to_string()),
            Some("Network.requestWillBeSent") => {
                self.asked.push(params["request"]["url"].as_str().unwrap_or("?").to_owned());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let close = json!({ "id": 0, "method": "Browser.close" });
        let _ = self.socket.send(Message::text(close.to_string()));
        // Its end closes the socket; if it does not come, its end is made.
        while self.socket.read().is_ok() {}
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
