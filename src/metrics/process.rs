//! What the process itself uses, from `/proc/self`.

use crate::time::Duration;

/// CPU, memory and threads; each `None` where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// User and system time of all threads, those that have ended included.
    pub cpu: Option<Duration>,
    /// Resident memory, bytes.
    pub resident_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl Usage {
    /// Reads it.
    pub fn read() -> Usage {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Usage::parse(&stat, system(libc::_SC_CLK_TCK), system(libc::_SC_PAGESIZE))
    }

    /// From the line of `/proc/self/stat` (proc(5)), clock ticks per second, and bytes of a page.
    fn parse(stat: &str, ticks: Option<u64>, page: Option<u64>) -> Usage {
        // The second field is the program's name in brackets and may hold anything; counting starts behind it, at field 3.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let field = |number: usize| fields.split_ascii_whitespace().nth(number - 3)?.parse::<u64>().ok();
        let cpu = || {
            let ticks_used = field(14)?.checked_add(field(15)?)?;
            Some(Duration::from_secs_f64(ticks_used as f64 / ticks? as f64))
        };
        Usage {
            cpu: cpu(),
            resident_bytes: field(24).zip(page).and_then(|(pages, bytes)| pages.checked_mul(bytes)),
            threads: field(20),
        }
    }
}

/// A positive constant of the system.
fn system(name: libc::c_int) -> Option<u64> {
    // SAFETY: takes a number, returns a number, touches no memory of ours; an unknown name gives -1.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).ok().filter(|value| *value > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_a_name_that_holds_brackets() {
        let stat = "42 (vox) lane) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 7 0 1234 104857600 2560 18446744073709551615";
        let usage = Usage::parse(stat, Some(100), Some(4_096));
        assert_eq!(usage.cpu, Some(Duration::from_secs(2)));
        assert_eq!((usage.resident_bytes, usage.threads), (Some(2_560 * 4_096), Some(7)));
    }

    #[test]
    fn what_is_not_told_is_not_invented() {
        assert_eq!(Usage::parse("", Some(100), Some(4_096)), Usage::default());
        assert_eq!(Usage::parse("1 (x) S 2", None, None), Usage::default());
    }

    #[test]
    fn this_process_uses_memory_and_a_thread() {
        let usage = Usage::read();
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(usage.threads.is_some_and(|n| n >= 1));
        assert!(usage.cpu.is_some());
    }
}
