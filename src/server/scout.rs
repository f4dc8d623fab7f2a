//! Asks each service once, at start, whether it is there. A service that is not keeps nothing from starting: turns apologise
//! until it is. But whoever reads the log learns it before the first device does.
//!
//! The voice is not asked here: it is tried by speaking our own phrases.

use crate::job::Cancel;
use crate::limits;
use crate::providers::Call;
use crate::resilience::fault::Fault;
use crate::time::Clock;
use std::io;
use std::thread::{Builder, JoinHandle};

/// Asks a service; the answer is a line for people.
pub type Ask = Box<dyn FnOnce(&Call) -> Result<String, Fault> + Send>;

/// A question to one service.
pub struct Question {
    /// The stage it works for.
    pub stage: &'static str,
    /// The question.
    pub ask: Ask,
}

/// The thread that asks.
pub struct Scout {
    cancels: Vec<Cancel>,
    thread: JoinHandle<()>,
}

/// Asks one after the other, each for [`limits::SERVICE_PROBE`] at most; what they say goes to the log.
///
/// # Errors
/// The system gives no thread.
pub fn send_out(questions: Vec<Question>, clock: Clock) -> io::Result<Scout> {
    let cancels: Vec<Cancel> = questions.iter().map(|_| Cancel::new()).collect();
    let each = questions.into_iter().zip(cancels.clone());
    let thread = Builder::new().name("scout".to_owned()).spawn(move || {
        for (Question { stage, ask }, cancel) in each {
            let call =
                Call { clock, deadline: clock.now() + limits::SERVICE_PROBE, cancel, ticket: Default::default() };
            match ask(&call) {
                Ok(line) => tracing::info!(stage, "the service {line}"),
                Err(_) if call.cancel.is_cancelled() => {}
                Err(fault) => {
                    tracing::warn!(stage, %fault, "the service cannot be reached; turns will apologise until it can");
                }
            }
        }
    })?;
    Ok(Scout { cancels, thread })
}

impl Scout {
    /// Breaks off what is being asked, and waits for the thread.
    pub fn recall(self) {
        self.cancels.iter().for_each(Cancel::cancel);
        let _ = self.thread.join();
    }
}
