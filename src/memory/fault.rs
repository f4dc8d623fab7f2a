//! Why there is no memory.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the log cannot be used.
#[derive(Debug)]
pub enum StoreFault {
    /// What lies there is not ours; it was not touched.
    Foreign {
        /// Where.
        path: PathBuf,
        /// How one sees it.
        why: String,
    },
    /// A newer version wrote it; it was not touched.
    Newer {
        /// Where.
        path: PathBuf,
        /// The version of its layout.
        schema: u32,
    },
    /// It is sealed by a key that we have not; it was not touched.
    Sealed {
        /// Where.
        path: PathBuf,
        /// We have another one.
        has_key: bool,
    },
    /// Another server writes it.
    Taken(PathBuf),
    /// The system refuses.
    Io {
        /// What was touched.
        path: PathBuf,
        /// How.
        error: io::Error,
    },
}

impl StoreFault {
    pub(super) fn io(path: &Path, error: io::Error) -> StoreFault {
        StoreFault::Io { path: path.to_owned(), error }
    }

    pub(super) fn foreign(path: &Path, why: &str) -> StoreFault {
        StoreFault::Foreign { path: path.to_owned(), why: why.to_owned() }
    }

    /// Whether the disk does not let us write (read-only, full, not ours) or has failed: one can serve without.
    pub fn is_of_the_disk(&self) -> bool {
        matches!(self, StoreFault::Io { .. })
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreFault::Foreign { path, why } => {
                write!(
                    f,
                    "{} is no memory of voxlane ({why}); it was not touched. Choose another memory.path",
                    path.display()
                )
            }
            StoreFault::Newer { path, schema } => write!(
                f,
                "{} was written by a newer voxlane (layout {schema}, this one knows {}); it was not touched. Use that version, or \
                 another memory.path",
                path.display(),
                super::segment::SCHEMA
            ),
            StoreFault::Sealed { path, has_key } => write!(
                f,
                "{} is sealed {}; it was not touched. Give the key it was written with (memory.key), or another memory.path",
                path.display(),
                if *has_key { "by another memory.key" } else { "by a memory.key" }
            ),
            StoreFault::Taken(path) => write!(
                f,
                "another server writes the memory in {}; stop it, or give this one a memory.path of its own",
                path.display()
            ),
            StoreFault::Io { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for StoreFault {}
