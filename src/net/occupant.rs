//! Who has a port? Asked once, when we cannot have it.

use std::fs;

/// The process that listens on a TCP port, as in "nginx, process 812"; `None` when the system does not tell us.
pub fn of_port(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| listening_inode(table, port))?;
    let wanted = format!("socket:[{inode}]");
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if holds(pid, &wanted) {
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Some(format!("{}, process {pid}", command.trim()));
        }
    }
    None
}

fn holds(pid: u32, wanted: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.to_str() == Some(wanted)))
}

/// The socket's inode from the kernel's table: columns `sl local_address rem_address st … inode`, state 0A is listening.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    let text = fs::read_to_string(table).ok()?;
    text.lines().skip(1).find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let local = columns.get(1)?.rsplit(':').next()?;
        let listening = *columns.get(3)? == "0A";
        let same = u16::from_str_radix(local, 16) == Ok(port);
        if listening && same { columns.get(9)?.parse().ok() } else { None }
    })
}
