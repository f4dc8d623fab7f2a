//! The three interfaces against a server that is as bad as real ones are.

mod connection;
mod conversation;
mod secure;
mod speech;

use super::Service;
use crate::job::Cancel;
use crate::providers::Call;
use crate::providers::http::{HttpClient, HttpConfig};
use crate::providers::stub::Stub;
use crate::time::{Clock, Duration};

/// Long enough for anything that is meant to succeed, on the busiest machine.
const LONG: u64 = 20_000;
/// Short, for what is meant not to come.
const SHORT: u64 = 500;

fn call(ms: u64) -> Call {
    let clock = Clock::start();
    Call { clock, deadline: clock.now() + Duration::from_millis(ms), cancel: Cancel::new(), ticket: Default::default() }
}

fn client() -> HttpClient {
    HttpClient::new(&HttpConfig::default()).unwrap()
}

fn service(stub: &Stub) -> Service {
    Service { client: client(), base_url: stub.url(), model: "m-1".to_owned(), api_key: Some("canary-key".to_owned()) }
}
