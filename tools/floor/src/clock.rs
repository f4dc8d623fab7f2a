//! Time: CPU time of this thread, the beat on which the bare server wakes, the core a thread stays on.

use core_affinity::CoreId;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::FromRawFd;
use std::time::Duration;

/// CPU time that the calling thread has used, in user code and in the kernel.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that outlives the call; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A millisecond beat: one blocking read per beat.
pub struct Beat(File);

impl Beat {
    pub fn start() -> io::Result<Beat> {
        // SAFETY: timerfd_create takes no pointer; the flag is valid.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is fresh, open, and owned by nobody else.
        let file = unsafe { File::from_raw_fd(fd) };
        let each = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let spec = libc::itimerspec { it_interval: each, it_value: each };
        // SAFETY: an open descriptor, a valid itimerspec that outlives the call; a null pointer for the old value is allowed.
        let set = unsafe { libc::timerfd_settime(fd, 0, &spec, std::ptr::null_mut()) };
        if set < 0 { Err(io::Error::last_os_error()) } else { Ok(Beat(file)) }
    }

    /// Waits for the next beat; how many have passed since the last time, 1 if we keep up.
    pub fn wait(&mut self) -> io::Result<u64> {
        let mut beats = [0; 8];
        loop {
            match self.0.read(&mut beats) {
                Ok(_) => return Ok(u64::from_ne_bytes(beats)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// The cores for the measured thread and for the other side; `None` where there are fewer than two, and nothing is pinned.
pub fn two_cores() -> Option<(CoreId, CoreId)> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    Some((*cores.first()?, *cores.get(1)?))
}

/// Keeps the calling thread on `core`.
pub fn pin(core: Option<CoreId>) -> bool {
    core.is_some_and(core_affinity::set_for_current)
}
