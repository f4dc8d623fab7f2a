//! What is remembered, over loopback: a device that comes back goes on in its dialogue, also when the server was killed.

#[path = "support/mod.rs"]
mod support;

#[path = "support/process.rs"]
mod process;

use process::Served;
use serde_json::{Value, json};
use std::net::SocketAddr;
use support::services::Place;
use support::{Client, Got, Rig, configuration_text, fresh_id};

/// Connects as this device and says hello.
fn device(address: SocketAddr, id: &str) -> Client {
    let mut client = Client::connect_as(address, id, |_| {}).expect("upgrade");
    client.hello(json!({}));
    client
}

/// One typed turn; what its `tts stop` says.
fn turn(client: &mut Client, text: &str) -> Value {
    client.send(json!({"type": "text", "text": text}));
    match client.until("tts:stop").pop() {
        Some(Got::Json(stop)) => stop,
        other => panic!("{other:?}"),
    }
}

/// What the model was given beside the instructions, in its last question.
fn window(services: &support::services::Services) -> Vec<String> {
    let asked = services.asked("completions");
    let messages = asked.last().expect("a question").json()["messages"].clone();
    let said = |message: &Value| message["content"].as_str().unwrap_or("").to_owned();
    messages.as_array().unwrap().iter().skip(1).map(said).collect()
}

#[test]
fn a_killed_server_goes_on_in_the_same_dialogue() {
    let place = Place::new();
    let url = format!("{:?}", place.url());
    let services = place.open(&[], &["Hello Ada.", "You are Ada."]);
    let llm = [("llm.provider", r#""openai""#), ("llm.base_url", url.as_str()), ("llm.model", r#""m""#)];
    let (text, state) = configuration_text(&llm);
    let id = fresh_id();

    let mut served = Served::start(&text, &state);
    let mut client = device(served.device, &id);
    let stop = turn(&mut client, "my name is Ada");
    let is_durable = stop.get("durable").is_none();
    served.kill();

    let served = Served::start(&text, &state);
    let mut client = device(served.device, &id);
    // A question in the same instant as the hello is answered without the dialogue; people take their time.
    if is_durable {
        served.metric_reaches("voxlane_memory_recalled_total", "", 1.0);
        client.is_alive();
    }
    turn(&mut client, "who am I?");
    // A disk that was too slow for `tts stop` has promised nothing.
    if is_durable {
        assert_eq!(window(&services), ["my name is Ada", "Hello Ada.", "who am I?"]);
    }
    let mut stranger = device(served.device, &fresh_id());
    turn(&mut stranger, "and who am I?");
    assert_eq!(window(&services), ["and who am I?"], "nobody is told what another has said");

    let exported = served.voxlane(&["memory", "export", "--device", &id]);
    let turns: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let last = turns.last().expect("a turn");
    assert_eq!((&last["user"], &last["complete"]), (&json!("who am I?"), &json!(true)));
    assert!(last["turn"].as_u64() > Some(0) && last["at"].as_str().is_some(), "{last}");
    let erased = served.voxlane(&["memory", "erase", "--device", &id]);
    assert!(erased.starts_with("erased"), "{erased}");
    assert_eq!(served.voxlane(&["memory", "export", "--device", &id]), "");
    drop(served);
    let _ = std::fs::remove_dir_all(state);
}

#[test]
fn without_a_memory_nothing_is_kept() {
    let rig = Rig::with(&[("memory.durability", r#""none""#)]);
    let id = fresh_id();
    let stop = turn(&mut device(rig.device, &id), "hello");
    assert!(stop.get("durable").is_none(), "nothing was promised: {stop}");
    let memory = rig.state().join("memory");
    assert!(!memory.exists());
}

#[test]
fn a_folder_that_cannot_be_written_costs_the_promise_and_no_conversation() {
    let (text, state) = configuration_text(&[]);
    std::fs::create_dir_all(&state).unwrap();
    // Not even root can make a folder with such a name.
    let path = state.join("x".repeat(300));
    let text = text + &format!("[memory]\npath = {path:?}\n");
    let served = Served::start(&text, &state);
    let stop = turn(&mut device(served.device, &fresh_id()), "hello");
    assert_eq!(stop["durable"], json!(false));
    assert_eq!(served.metric("voxlane_memory_failing", ""), 1.0);
    assert!(served.metric("voxlane_memory_not_durable_total", "") >= 1.0);
    drop(served);
    let _ = std::fs::remove_dir_all(state);
}

#[test]
fn two_servers_on_one_memory_and_a_foreign_folder_are_refused() {
    let rig = Rig::new();
    let memory = rig.state().join("memory");
    let refusal = |memory: &std::path::Path| {
        let (config, _) = support::configuration(&[("memory.path", &format!("{memory:?}"))]);
        let refused = voxlane::server::Server::start(&config).err().map(|fault| fault.to_string());
        refused.unwrap_or_else(|| panic!("{memory:?}: it started"))
    };
    assert!(refusal(&memory).contains("another server writes the memory"), "{}", refusal(&memory));
    let foreign = rig.state().join("foreign");
    std::fs::create_dir_all(&foreign).unwrap();
    std::fs::write(foreign.join("letter.txt"), "dear").unwrap();
    assert!(refusal(&foreign).contains("it was not touched"), "{}", refusal(&foreign));
    assert_eq!(std::fs::read_dir(&foreign).unwrap().count(), 1);
}
