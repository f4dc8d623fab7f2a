//! The live page in a real browser, while devices talk. Without a Chromium these tests are skipped, and say so.
//!
//!     VOXLANE_SCREENSHOTS=/some/folder cargo test --test page        # keeps pictures, to be looked at

#[path = "support/browser.rs"]
mod browser;
mod support;

use browser::Browser;
use support::{Client, Rig};
use voxlane::ids::ShardId;
use voxlane::metrics::turns::DeviceTag;
use voxlane::metrics::{Home, TurnRecord};
use voxlane::time::Instant;

/// A name that would run a script in a page that takes it for markup. No device gets in with it; the page must not rely on that.
const EVIL: &str = "<img src=x onerror=p=1>";

/// Three devices that have had a turn each; they stay.
fn talk(rig: &Rig) -> Vec<Client> {
    let names = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"];
    let talk = |name: &str| {
        let mut client = Client::connect_as(rig.device, name, |_| {}).expect("upgrade");
        let format = serde_json::json!({ "format": "pcm", "sample_rate": 16_000, "channels": 1, "frame_duration": 60 });
        client.hello(serde_json::json!({ "audio_params": format }));
        client.listen("start", "manual");
        client.utterance(600);
        client.listen("stop", "");
        client.until("tts:stop");
        client
    };
    names.into_iter().map(talk).collect()
}

#[test]
fn it_opens_and_moves_while_devices_talk() {
    let Some(mut browser) = Browser::start() else { return };
    let rig = Rig::with(&[("llm.script", r#"["Yes."]"#)]);
    browser.look(1_440, 1_000, "light");
    browser.open(&format!("http://{}/", rig.admin));
    browser.until("document.getElementById('state')?.textContent === 'live'");
    browser.until("document.querySelectorAll('#shards .shard').length === 1");
    browser.until("document.querySelector('#first-chart canvas')");
    assert_eq!(browser.eval("document.getElementById('devices').textContent"), "0");
    let _devices = talk(&rig);
    browser.until("document.querySelectorAll('#turns button.turn').length === 3");
    browser.until("document.getElementById('devices').textContent === '3'");
    browser.until("document.querySelectorAll('#stages tbody tr').length === 6");
    browser.until("document.getElementById('p95').textContent !== '–'");
    browser.until("Number.parseFloat(document.getElementById('on-time').textContent) > 0");
    let pools = browser.eval("[...document.querySelectorAll('.pool .chip')].map(chip => chip.textContent).join()");
    assert_eq!(pools, "3 ok,3 ok,3 ok");

    // What a device calls itself is text and nothing else.
    let server = rig.server.as_ref().expect("it runs");
    let other = server.registry().panel(Home::Shard(ShardId(1)));
    let device = DeviceTag::new(EVIL);
    other.turns().write(&TurnRecord {
        device,
        turn: 1,
        began: Instant::from_ms(1),
        end: "complete",
        ..TurnRecord::default()
    });
    browser.until("document.querySelectorAll('button.turn').length === 4");
    let names = browser.eval("[...document.querySelectorAll('button.turn .device')].map(e => e.textContent).join('|')");
    assert_eq!(names, format!("{EVIL}|02:00:00:00:00:03|02:00:00:00:00:02|02:00:00:00:00:01"));
    browser.eval("document.querySelector('button.turn').click()");
    assert_eq!(browser.eval("document.images.length + document.querySelectorAll('#turns script').length"), 0);
    assert_eq!(browser.eval("typeof p"), "undefined");
    browser.eval("document.querySelector('button.turn').click()");

    // A click opens the waterfall, and the list stands still.
    browser.eval("document.querySelectorAll('button.turn')[1].click()");
    assert_eq!(browser.eval("document.querySelectorAll('.fall .step').length"), 6);
    browser.picture("light");
    drop(talk(&rig));
    browser.until("document.getElementById('resume').textContent === '3 new: go on'");
    browser.eval("document.getElementById('resume').click()");
    browser.until("document.querySelectorAll('button.turn').length === 7");

    for (name, width, scheme) in [("dark", 1_440, "dark"), ("tablet", 820, "light"), ("phone", 390, "dark")] {
        browser.look(width, 900, scheme);
        browser.until(&format!("document.documentElement.scrollWidth <= {width}"));
        browser.picture(name);
    }
    assert_eq!(browser.complaints, [""; 0], "the console is silent");
    let ours = format!("http://{}/", rig.admin);
    let foreign: Vec<&String> =
        browser.asked.iter().filter(|url| !url.starts_with(&ours) && !url.starts_with("data:image/svg")).collect();
    assert!(foreign.is_empty() && browser.asked.len() >= 8, "{foreign:?} of {:?}", browser.asked);

    // The server goes: the page says so, and goes on trying.
    drop(rig);
    browser.until("document.getElementById('state').className === 'pill bad'");
}

#[test]
fn it_shows_who_stands_in_for_whom() {
    let Some(mut browser) = Browser::start() else { return };
    let rig = Rig::with(&[("llm.script", r#"["!fail"]"#), ("llm.backups", r#"["scripted script=Ok."]"#)]);
    browser.look(1_440, 1_000, "light");
    browser.open(&format!("http://{}/", rig.admin));
    browser.until("document.querySelectorAll('.pool').length === 3");
    let pill = |i: usize| format!("document.querySelectorAll('.pool .pill')[{i}].textContent");
    let mut devices = talk(&rig);
    browser.until(&format!("{} === 'on the backup'", pill(1)));
    for _ in 0..4 {
        devices[0].detect("tell me");
        devices[0].until("tts:stop");
    }
    browser.until("[...document.querySelectorAll('.pool')[1].querySelectorAll('li')].some(li => li.textContent === 'scripted left to recover')");
    browser.until(&format!("{} === 'healthy'", pill(2)));
}

#[test]
fn it_asks_for_the_token_and_keeps_it_for_the_tab() {
    let Some(mut browser) = Browser::start() else { return };
    let rig = Rig::with(&[("admin.token", "\"correct horse battery\"")]);
    let page = format!("http://{}/", rig.admin);
    browser.open(&page);
    browser.until("document.getElementById('ask')?.hidden === false");
    assert_eq!(browser.eval("document.getElementById('board').hidden"), true);
    let give = |browser: &mut Browser, token: &str| {
        browser.eval(&format!("document.getElementById('token').value = '{token}'"));
        browser.eval("document.querySelector('#ask button').click()");
    };
    give(&mut browser, "wrong");
    browser.until("document.getElementById('wrong').hidden === false");
    give(&mut browser, "correct horse battery");
    browser.until("document.getElementById('state').textContent === 'live'");
    browser.until("document.querySelectorAll('.shard').length === 1");
    browser.open(&page);
    browser.until("document.getElementById('state')?.textContent === 'live'");
    assert_eq!(browser.eval("document.getElementById('ask').hidden"), true);
    let is_told = browser.asked.iter().any(|url| url.contains("correct"));
    assert!(!is_told, "the token stands in no address: {:?}", browser.asked);
}
