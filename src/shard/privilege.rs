//! What only some systems allow, for deployments that count microseconds: a real-time class for shards, memory that stays.
//! Each is off by default; a refusal is told with its cure, and the server goes on without.

use std::fmt;
use std::io;

/// What the system refused.
#[derive(Debug)]
pub enum Refusal {
    /// The real-time class.
    RealTime(io::Error),
    /// Locked memory.
    Memory(io::Error),
    /// Locked memory: a limit would make later allocations fail.
    MemoryLimit,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::RealTime(error) => {
                write!(f, "shards.realtime: refused ({error}); give CAP_SYS_NICE, or LimitRTPRIO= in the systemd unit")
            }
            Refusal::Memory(error) => write!(f, "shards.lock_memory: refused ({error}); give CAP_IPC_LOCK"),
            Refusal::MemoryLimit => write!(
                f,
                "shards.lock_memory: the limit of locked memory is not unlimited; set LimitMEMLOCK=infinity in the systemd \
                 unit, or `ulimit -l unlimited`"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// Puts the calling thread into SCHED_FIFO at `priority`, 1 to 99; threads that it starts do not inherit it.
///
/// # Errors
/// [`Refusal::RealTime`]: not allowed, or no such priority. The thread stays as it was.
pub fn real_time(priority: u8) -> Result<(), Refusal> {
    let wanted = libc::sched_param { sched_priority: i32::from(priority) };
    // SAFETY: 0 is the calling thread, and the parameter lives until the call is over.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &wanted) };
    if result == 0 { Ok(()) } else { Err(Refusal::RealTime(io::Error::last_os_error())) }
}

/// Keeps pages of this process in memory from their first touch on. Untouched ones are not made resident: lanes and stacks
/// reserve far more than they use.
///
/// # Errors
/// [`Refusal`]; then nothing is locked. A finite limit is refused as such, since it would fail allocations hours later.
pub fn lock_memory() -> Result<(), Refusal> {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: plain system calls; the limits live until each is over.
    let is_unlimited = unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let is_known = libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) == 0;
        (is_known && limit.rlim_cur == libc::RLIM_INFINITY) || libc::setrlimit(libc::RLIMIT_MEMLOCK, &unlimited) == 0
    };
    if !is_unlimited {
        return Err(Refusal::MemoryLimit);
    }
    // SAFETY: a plain system call without pointers.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    if result == 0 { Ok(()) } else { Err(Refusal::Memory(io::Error::last_os_error())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_becomes_real_time_or_stays_as_it_was_and_is_told_why() {
        let outcome = std::thread::spawn(|| {
            let outcome = real_time(1);
            // SAFETY: a plain system call; 0 is the calling thread.
            (outcome, unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK)
        });
        match outcome.join().unwrap() {
            (Ok(()), class) => assert_eq!(class, libc::SCHED_FIFO),
            (Err(refusal), class) => {
                assert_eq!(class, libc::SCHED_OTHER);
                assert!(refusal.to_string().contains("CAP_SYS_NICE"), "{refusal}");
            }
        }
    }

    #[test]
    fn no_such_priority_is_refused() {
        let refused = std::thread::spawn(|| real_time(100).is_err()).join().unwrap();
        assert!(refused);
    }
}
