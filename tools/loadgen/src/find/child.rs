//! A server of our own, as a process: started on cores of its own with free ports, asked where it listens, ended and removed
//! when dropped.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A running server. Its folder holds configuration, state and what it complained of.
pub struct Server {
    child: Child,
    folder: PathBuf,
    /// Where devices connect, as it printed it: `ws://127.0.0.1:40123/xiaozhi/v1/`.
    pub url: String,
    /// Its admin listener.
    pub admin: SocketAddr,
}

/// What to start, and how.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The server's program.
    pub program: PathBuf,
    /// The text of its configuration file.
    pub config: String,
    /// Variables of its environment that override the file; no others that concern it are passed on.
    pub variables: Vec<(String, String)>,
    /// The cores it is kept to; none: wherever the system puts it.
    pub cores: Vec<usize>,
}

/// From the start to the last line of the banner: a debug build in a busy machine needs some seconds.
const START: Duration = Duration::from_secs(30);
/// From the banner until it says that it is ready: its own phrases are being spoken.
const READY: Duration = Duration::from_secs(30);
/// From the signal to the end: a drain of 1 s, as configured, and some patience.
const END: Duration = Duration::from_secs(15);
/// Most of an answer of the admin listener that is read.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

impl Server {
    /// Starts it and waits until it is ready.
    pub fn start(launch: &Launch) -> Result<Server, String> {
        let folder = new_folder().map_err(|e| format!("no temporary folder: {e}"))?;
        let started = Server::spawn(launch, &folder);
        let server = started.inspect_err(|_| drop(fs::remove_dir_all(&folder)))?;
        server.wait_ready()?;
        Ok(server)
    }

    fn spawn(launch: &Launch, folder: &Path) -> Result<Server, String> {
        let file = folder.join("voxlane.toml");
        let io = |e: io::Error| format!("{}: {e}", folder.display());
        fs::write(&file, &launch.config).map_err(io)?;
        let complaints = fs::File::create(folder.join("log")).map_err(io)?;
        let mut command = Command::new(&launch.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("VOXLANE_")) {
            command.env_remove(name);
        }
        command.arg("serve").arg("--config").arg(&file).current_dir(folder).env("XDG_STATE_HOME", folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(complaints);
        command.envs(launch.variables.iter().cloned());
        let cores = launch.cores.clone();
        // A group of its own: Ctrl-C is for us, who end it when all has been told.
        command.process_group(0);
        // SAFETY: between fork and exec the closure only makes system calls on memory that is already there.
        unsafe {
            command.pre_exec(move || {
                // However we end, it ends as well.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                keep_to(&cores)
            })
        };
        let mut child = command.spawn().map_err(|e| format!("{} does not start: {e}", launch.program.display()))?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output of the server")?).lines();
        match read_banner(lines.map_while(Result::ok)) {
            Some((url, admin)) => Ok(Server { child, folder: folder.to_owned(), url, admin }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("the server does not start: {}", last_words(folder)))
            }
        }
    }

    fn wait_ready(&self) -> Result<(), String> {
        let until = Instant::now() + READY;
        loop {
            match get(self.admin, "/readyz") {
                Ok((200, _)) => return Ok(()),
                _ if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
                Ok((status, body)) => {
                    return Err(format!("the server is not ready: /readyz says {status}: {}", body.trim()));
                }
                Err(e) => return Err(format!("the server is not ready: {e}: {}", last_words(&self.folder))),
            }
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs; else its last words.
    pub fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("the server ended ({status}): {}", last_words(&self.folder))),
            Err(e) => Err(format!("the server cannot be watched: {e}")),
        }
    }

    /// Its `/stats.json`.
    pub fn stats(&self) -> Result<serde_json::Value, String> {
        let (status, body) = get(self.admin, "/stats.json")?;
        if status != 200 {
            return Err(format!("/stats.json says {status}"));
        }
        serde_json::from_str(&body).map_err(|e| format!("/stats.json: {e}"))
    }

    /// Address of its statistics.
    pub fn stats_url(&self) -> String {
        format!("http://{}/stats.json", self.admin)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SAFETY: the call takes two numbers; the process is our child and has not been waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        let until = Instant::now() + END;
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Confines the calling thread, and those it starts, to these cores; to none is no confinement.
pub fn keep_to(cores: &[usize]) -> io::Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    // SAFETY: a set of bits; all zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &core in cores.iter().filter(|core| **core < 8 * size_of::<libc::cpu_set_t>()) {
        // SAFETY: the bit lies within the set, as filtered.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: a system call on the calling thread (0) with a set of the size given.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The cores that this process may use.
pub fn allowed_cores() -> Vec<usize> {
    // SAFETY: a set of bits; all zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a system call on the calling thread (0) with a set of the size given.
    if unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) } != 0 {
        return Vec::new();
    }
    // SAFETY: every bit asked for lies within the set.
    (0..8 * size_of::<libc::cpu_set_t>()).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect()
}

/// The two addresses that matter. What comes after them is read and forgotten, so that the server never waits for us.
fn read_banner(lines: impl Iterator<Item = String> + Send + 'static) -> Option<(String, SocketAddr)> {
    let (tell, told) = channel();
    std::thread::spawn(move || lines.for_each(|line| drop(tell.send(line))));
    let until = Instant::now() + START;
    let (mut url, mut admin) = (None, None);
    loop {
        let line = match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        let mut words = line.split_whitespace();
        match words.next() {
            Some("devices") => url = words.next().map(str::to_owned),
            Some("admin") => admin = words.next().and_then(host_port),
            _ => {}
        }
        if let (Some(url), Some(admin)) = (&url, admin) {
            return Some((url.clone(), admin));
        }
    }
}

fn host_port(url: &str) -> Option<SocketAddr> {
    url.split("//").nth(1)?.split('/').next()?.parse().ok()
}

fn last_words(folder: &Path) -> String {
    let text = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" / ")
}

fn new_folder() -> io::Result<PathBuf> {
    let mut number = 0_u32;
    loop {
        let folder = std::env::temp_dir().join(format!("voxlane-load-{}-{number}", std::process::id()));
        match fs::create_dir(&folder) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && number < 10_000 => number += 1,
            done => return done.map(|()| folder),
        }
    }
}

/// One question to an admin listener: status and body.
pub fn get(at: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let answer = || -> io::Result<String> {
        let mut socket = TcpStream::connect_timeout(&at, Duration::from_secs(2))?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        // In one write: servers may read half a head as all of it.
        socket.write_all(format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").as_bytes())?;
        let mut text = Vec::new();
        socket.take(ANSWER_BYTES_MAX).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = answer().map_err(|e| format!("http://{at}{path}: {e}"))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("http://{at}{path}: no answer"))?;
    let status = head.split_whitespace().nth(1).and_then(|s| s.parse().ok());
    Ok((status.ok_or_else(|| format!("http://{at}{path}: not HTTP"))?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_tells_both_addresses() {
        let text = "voxlane 0.1.0\n  devices   ws://127.0.0.1:4001/xiaozhi/v1/\n  check-in  http://127.0.0.1:4002/x\n  \
                    admin     http://127.0.0.1:4003/ (metrics)\n  shards    1";
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let (url, admin) = read_banner(lines.into_iter()).unwrap();
        assert_eq!((url.as_str(), admin.port()), ("ws://127.0.0.1:4001/xiaozhi/v1/", 4003));
        assert!(read_banner(["voxlane".to_owned()].into_iter()).is_none());
    }

    fn refusal(program: &str, cores: &[usize]) -> String {
        let launch =
            Launch { program: program.into(), config: String::new(), variables: Vec::new(), cores: cores.to_vec() };
        Server::start(&launch).err().unwrap()
    }

    #[test]
    fn a_program_that_ends_at_once_is_told_with_its_last_words() {
        assert!(refusal("/bin/false", &[]).starts_with("the server does not start"));
        assert!(refusal("/nowhere/voxlane", &[]).contains("/nowhere/voxlane does not start"));
    }

    #[test]
    fn a_core_that_is_not_there_is_refused() {
        assert!(refusal("/bin/true", &[900]).contains("does not start"));
    }
}
