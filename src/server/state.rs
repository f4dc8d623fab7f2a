//! What is kept on disk: the folder of `state.dir`, and in it the secret from which device tokens are made. A secret that is
//! lost invalidates every token that devices hold, so it is made once and kept (protocol.md 6.1).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Bytes of a new secret, before they are written as hexadecimal digits.
const SECRET_BYTES: usize = 32;

/// The kept secret; made at the first call, readable by its owner only.
pub fn secret(dir: &Path) -> io::Result<String> {
    let path = dir.join("secret");
    match read(&path)? {
        Some(secret) => Ok(secret),
        None => make(dir, &path),
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= SECRET_BYTES => Ok(Some(text.trim().to_owned())),
        Ok(_) => {
            Err(io::Error::other(format!("{} is shorter than a secret; remove it to have one made", path.display())))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

/// Writes a new one beside its place and links it in: two servers that start at once end up with the same secret, and a
/// power-cut leaves either none or a whole one.
fn make(dir: &Path, path: &Path) -> io::Result<String> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(named)?;
    let (mut bytes, mut draft) = ([0; SECRET_BYTES], [0; 4]);
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    getrandom::fill(&mut draft).map_err(io::Error::other)?;
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let secret = hex(&bytes);
    let draft = dir.join(format!("secret.{}", hex(&draft)));
    let written = write(&draft, &secret).and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match written {
        Ok(()) => File::open(dir).and_then(|d| d.sync_all()).map_err(named).map(|()| secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| io::Error::other(format!("{} vanished", path.display())))
        }
        Err(error) => Err(named(error)),
    }
}

fn write(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{secret}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("voxlane-state-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn a_secret_is_made_once_and_kept() {
        let dir = folder("once");
        let first = secret(&dir).unwrap();
        assert_eq!(first.len(), 2 * SECRET_BYTES);
        assert_eq!(secret(&dir).unwrap(), first);
        assert_eq!(fs::metadata(dir.join("secret")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn servers_that_start_at_once_agree() {
        let dir = folder("race");
        let secrets: Vec<String> = std::thread::scope(|scope| {
            let tasks: Vec<_> =
                (0..4).map(|_| scope.spawn(|| make(&dir, &dir.join("secret")).unwrap_or_default())).collect();
            tasks.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let kept = secret(&dir).unwrap();
        assert!(secrets.iter().all(|s| *s == kept || s.is_empty()), "{secrets:?}");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_damaged_secret_is_refused_not_replaced() {
        let dir = folder("short");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("secret"), "abc").unwrap();
        assert!(secret(&dir).unwrap_err().to_string().contains("remove it"));
        fs::remove_dir_all(dir).unwrap();
    }
}
