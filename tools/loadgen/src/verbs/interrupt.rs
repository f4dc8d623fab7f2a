//! Ctrl-C, and SIGTERM: the first ends the run early, and what there is is told; the second ends the process at once.

use crate::INTERRUPTED;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::sync::Arc;
use std::thread::JoinHandle;
use voxlane_load::engine::Live;
use voxlane_load::screen;

/// In force until it is dropped.
pub struct Interrupt {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Interrupt {
    /// From now on a signal stops what `live` belongs to.
    pub fn of(live: &Arc<Live>) -> Result<Interrupt, String> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| format!("signals: {e}"))?;
        let (handle, live) = (signals.handle(), live.clone());
        let thread = std::thread::spawn(move || {
            for _ in signals.forever() {
                if live.is_stopped() {
                    screen::restore();
                    std::process::exit(INTERRUPTED.into());
                }
                live.stop();
            }
        });
        Ok(Interrupt { handle, thread: Some(thread) })
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
