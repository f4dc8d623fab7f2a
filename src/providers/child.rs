//! Programs that speak: a child process that is given text on its standard input and answers with bytes on its standard output.
//!
//! It gets no shell, no argument made of user text, a process group of its own, and no more time than the call has. A cancel
//! kills the group at once; whatever happens, the child is reaped before the call returns.

use super::{Call, Flow};
use crate::limits;
use crate::resilience::fault::{Cause, Fault};
use crate::time::{Duration, Instant};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

/// A program to be run.
pub struct Program<'a> {
    /// Its name or path.
    pub name: &'a str,
    /// Its arguments, from the configuration or fixed; never from a user.
    pub arguments: &'a [&'a str],
    /// What to say when it is not there: the package to install.
    pub cure: &'a str,
}

/// Ends children of one call when the call is taken back. One for all children that a call runs one after another.
pub struct Leash {
    pid: Arc<AtomicI32>,
}

/// No child runs.
const NONE: i32 = 0;
/// The cancelling thread is about to kill; the pid must not be reaped before it has.
const KILLING: i32 = -1;
/// It has.
const KILLED: i32 = -2;

impl Leash {
    /// A leash whose other end is the call's cancel.
    pub fn new(call: &Call) -> Leash {
        let pid = Arc::new(AtomicI32::new(NONE));
        let held = pid.clone();
        call.cancel.on_cancel(move || {
            let running = held.load(Ordering::SeqCst);
            // The exchange keeps the worker from reaping, so the number cannot name another process meanwhile.
            if running > 0 && held.compare_exchange(running, KILLING, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                kill_group(running);
                held.store(KILLED, Ordering::SeqCst);
            }
        });
        Leash { pid }
    }

    fn holds(&self, pid: i32) {
        self.pid.store(pid, Ordering::SeqCst);
    }

    /// From here on the child may be reaped.
    fn lets_go(&self, pid: i32) {
        if self.pid.compare_exchange(pid, NONE, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return;
        }
        while self.pid.load(Ordering::SeqCst) == KILLING {
            std::hint::spin_loop(); // for the length of one system call
        }
        self.pid.store(NONE, Ordering::SeqCst);
    }
}

/// Runs the program once: `input` in, its output piece by piece to `on_bytes`. The first piece must have come at `first_by`.
///
/// # Errors
/// `Unavailable` if it does not start or exits with a failure, `Timeout`, `Cancelled`.
pub fn run(
    program: &Program<'_>,
    input: &[u8],
    call: &Call,
    leash: &Leash,
    first_by: Instant,
    on_bytes: &mut dyn FnMut(&[u8]) -> Flow,
) -> Result<(), Fault> {
    let mut child = start(program)?;
    let pid = child.id() as i32;
    leash.holds(pid);
    // The cancel may have come before the leash held anything.
    let outcome = match call.cancel.is_cancelled() {
        true => Err(Fault::cancelled()),
        false => talk(&mut child, input, call, first_by, on_bytes),
    };
    leash.lets_go(pid);
    let ended = end(&mut child, pid, outcome.is_ok());
    if call.cancel.is_cancelled() {
        return Err(Fault::cancelled());
    }
    match (outcome?, ended) {
        (Talked::Stopped, _) => Ok(()),
        (Talked::ToTheEnd(_), Ok(status)) if status.success() => Ok(()),
        (Talked::ToTheEnd(complaint), Ok(status)) => {
            let said = String::from_utf8_lossy(&complaint);
            Err(Fault::new(Cause::Unavailable, format!("{} ended with {status}: {}", program.name, said.trim())))
        }
        (_, Err(error)) => Err(Fault::new(Cause::Internal, format!("{}: {error}", program.name))),
    }
}

fn start(program: &Program<'_>) -> Result<Child, Fault> {
    let child = Command::new(program.name)
        .args(program.arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn();
    child.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            Fault::new(Cause::Unavailable, format!("{} is not installed: {}", program.name, program.cure))
        }
        _ => Fault::new(Cause::Unavailable, format!("{} does not start: {error}", program.name)),
    })
}

enum Talked {
    /// We had enough.
    Stopped,
    /// It had no more to say; the end of what it complained of.
    ToTheEnd(Vec<u8>),
}

fn talk(
    child: &mut Child,
    input: &[u8],
    call: &Call,
    first_by: Instant,
    on_bytes: &mut dyn FnMut(&[u8]) -> Flow,
) -> Result<Talked, Fault> {
    let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Fault::new(Cause::Internal, "the child has no pipes"));
    };
    // A pipe holds 64 KiB and a sentence is below 1 KiB, so this does not wait; a child that does not read is no failure yet.
    debug_assert!(input.len() <= limits::CHILD_INPUT_BYTES);
    let _ = stdin.write_all(&input[..input.len().min(limits::CHILD_INPUT_BYTES)]);
    drop(stdin);
    let mut ears = Ears { stdout: Some(&mut stdout), stderr: Some(&mut stderr), complaint: Vec::new() };
    let mut limit = first_by.min(call.deadline);
    let mut what = "first byte of audio";
    let mut buffer = [0; limits::CHILD_READ_BYTES];
    while ears.is_open() {
        let Some(len) = ears.hear(call.left_until(limit), &mut buffer)? else {
            return Err(Fault::timeout(what));
        };
        if call.cancel.is_cancelled() {
            return Err(Fault::cancelled());
        }
        if len > 0 {
            (limit, what) = (call.deadline, "audio");
            if on_bytes(&buffer[..len]) == Flow::Stop {
                return Ok(Talked::Stopped);
            }
        }
        if call.left_until(limit).is_zero() && ears.is_open() {
            return Err(Fault::timeout(what));
        }
    }
    Ok(Talked::ToTheEnd(ears.complaint))
}

/// The two pipes of a child, heard together.
struct Ears<'a> {
    stdout: Option<&'a mut ChildStdout>,
    stderr: Option<&'a mut ChildStderr>,
    complaint: Vec<u8>,
}

impl Ears<'_> {
    fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Waits for one of the pipes; `None` when time is up. Returns how many bytes of standard output are in `buffer`.
    fn hear(&mut self, wait: Duration, buffer: &mut [u8]) -> Result<Option<usize>, Fault> {
        let fd = |raw: Option<RawFd>| libc::pollfd { fd: raw.unwrap_or(-1), events: libc::POLLIN, revents: 0 };
        let out = fd(self.stdout.as_ref().map(|p| p.as_raw_fd()));
        let err = fd(self.stderr.as_ref().map(|p| p.as_raw_fd()));
        let mut both = [out, err];
        let ms = wait.as_millis().min(60_000) as libc::c_int + 1;
        // SAFETY: `both` is a valid array of two entries for the length of the call.
        match unsafe { libc::poll(both.as_mut_ptr(), 2, ms) } {
            0 => return Ok(None),
            n if n < 0 && std::io::Error::last_os_error().kind() == ErrorKind::Interrupted => return Ok(Some(0)),
            n if n < 0 => return Err(Fault::new(Cause::Internal, "poll on a child's pipes failed")),
            _ => {}
        }
        if both[1].revents != 0 {
            let mut words = [0; 256];
            match self.stderr.as_mut().map_or(Ok(0), |pipe| pipe.read(&mut words)) {
                Ok(len) if len > 0 => {
                    self.complaint.extend_from_slice(&words[..len]);
                    let surplus = self.complaint.len().saturating_sub(limits::CHILD_COMPLAINT_BYTES);
                    self.complaint.drain(..surplus);
                }
                _ => self.stderr = None,
            }
        }
        if both[0].revents != 0 {
            match self.stdout.as_mut().map_or(Ok(0), |pipe| pipe.read(buffer)) {
                Ok(len) if len > 0 => return Ok(Some(len)),
                _ => self.stdout = None,
            }
        }
        Ok(Some(0))
    }
}

/// Reaps the child. One that has said all gets a moment to end by itself; all others are killed, and their children with them.
fn end(child: &mut Child, pid: i32, is_done: bool) -> std::io::Result<ExitStatus> {
    if is_done && let Some(status) = wait_a_moment(child, pid)? {
        return Ok(status);
    }
    kill_group(pid);
    child.wait()
}

fn wait_a_moment(child: &mut Child, pid: i32) -> std::io::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    // SAFETY: a plain system call; `pid` is a child of ours that is not reaped, so the descriptor is that child's.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if raw < 0 {
        return Ok(None);
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else has it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(raw as RawFd) };
    let mut exit = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `exit` is one valid entry for the length of the call.
    unsafe { libc::poll(&mut exit, 1, limits::CHILD_EXIT.as_millis() as libc::c_int) };
    child.try_wait()
}

fn kill_group(pid: i32) {
    // SAFETY: a plain system call. `pid` is a child of ours that is not reaped, and leads the group of that number.
    unsafe { libc::kill(-pid, libc::SIGKILL) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Cancel;
    use crate::time::Clock;

    /// For what is meant to succeed, on the busiest machine.
    const LONG: u64 = 60_000;

    fn call(ms: u64) -> Call {
        let clock = Clock::start();
        Call {
            clock,
            deadline: clock.now() + Duration::from_millis(ms),
            cancel: Cancel::new(),
            ticket: Default::default(),
        }
    }

    fn shell(script: &str, input: &str, call: &Call) -> (Result<(), Fault>, String) {
        let program = Program { name: "sh", arguments: &["-c", script], cure: "install a shell" };
        let mut heard = Vec::new();
        let result = run(&program, input.as_bytes(), call, &Leash::new(call), call.deadline, &mut |bytes| {
            heard.extend_from_slice(bytes);
            Flow::Continue
        });
        (result, String::from_utf8_lossy(&heard).into_owned())
    }

    #[test]
    fn text_goes_in_and_bytes_come_out() {
        assert_eq!(shell("cat; echo done", "héllo ", &call(LONG)), (Ok(()), "héllo done\n".to_owned()));
        let (result, heard) = shell("head -c 300000 /dev/zero", "", &call(LONG));
        assert_eq!((result, heard.len()), (Ok(()), 300_000));
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let (result, _) = shell("echo no voice >&2; exit 3", "", &call(LONG));
        let fault = result.unwrap_err();
        assert_eq!(fault.cause, Cause::Unavailable);
        assert!(fault.detail.contains("no voice") && fault.detail.contains('3'), "{fault}");
    }

    #[test]
    fn a_missing_program_names_the_cure() {
        let program = Program { name: "no-such-program-7", arguments: &[], cure: "apt-get install it" };
        let call = call(1_000);
        let fault = run(&program, b"", &call, &Leash::new(&call), call.deadline, &mut |_| Flow::Continue).unwrap_err();
        assert_eq!(fault.cause, Cause::Unavailable);
        assert!(fault.detail.contains("apt-get install it"));
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children_at_the_deadline() {
        let (result, _) = shell("sleep 60 & sleep 60", "", &call(100));
        assert_eq!(result.unwrap_err().cause, Cause::Timeout);
        // It says something, then hangs.
        let (result, heard) = shell("echo hi; sleep 60", "", &call(3_000));
        assert_eq!((result.unwrap_err().cause, heard.as_str()), (Cause::Timeout, "hi\n"));
    }

    #[test]
    fn a_cancel_ends_it_at_once() {
        let call = call(60_000);
        let cancel = call.cancel.clone();
        let (result, _) = std::thread::scope(|scope| {
            let talk = scope.spawn(|| {
                let program = Program { name: "sh", arguments: &["-c", "echo hi; sleep 60"], cure: "" };
                let mut count = 0;
                let result = run(&program, b"", &call, &Leash::new(&call), call.deadline, &mut |_| {
                    cancel.cancel();
                    count += 1;
                    Flow::Continue
                });
                (result, count)
            });
            talk.join().unwrap()
        });
        assert_eq!(result.unwrap_err().cause, Cause::Cancelled);
        let (result, _) = shell("sleep 60", "", &call);
        assert_eq!(result.unwrap_err().cause, Cause::Cancelled, "a cancel that came before");
    }

    #[test]
    fn enough_is_enough() {
        let program = Program { name: "sh", arguments: &["-c", "yes"], cure: "" };
        let call = call(LONG);
        let result = run(&program, b"", &call, &Leash::new(&call), call.deadline, &mut |_| Flow::Stop);
        assert_eq!(result, Ok(()));
    }
}
