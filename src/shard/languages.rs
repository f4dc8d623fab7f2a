//! Which language a device checked in with: told by whoever answers its OTA request, asked by the shard that it comes to.
//!
//! A table shared without a lock, bounded and lossy: a newer device may take an older one's cell, and the older then has no
//! hint. A hint is all it is.

use crate::format::Lang;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Cells, 512 KiB in all: devices that check in and connect within the same minutes.
const CELLS: usize = 65_536;

/// The table. A cell holds 48 bits of the device's keyed hash and the language's two letters.
pub struct DeviceLanguages {
    cells: Box<[AtomicU64]>,
    hash: RandomState,
}

impl Default for DeviceLanguages {
    fn default() -> DeviceLanguages {
        DeviceLanguages { cells: (0..CELLS).map(|_| AtomicU64::new(0)).collect(), hash: RandomState::new() }
    }
}

impl DeviceLanguages {
    /// Remembers.
    pub fn note(&self, device_id: &str, language: Lang) {
        let hash = self.hash.hash_one(device_id);
        let &[a, b] = language.code().as_bytes() else { return };
        self.cell(hash).store(hash & !0xffff | u64::from(a) << 8 | u64::from(b), Relaxed);
    }

    /// Recalls.
    pub fn of(&self, device_id: &str) -> Option<Lang> {
        let hash = self.hash.hash_one(device_id);
        let cell = self.cell(hash).load(Relaxed);
        if cell & !0xffff != hash & !0xffff {
            return None;
        }
        Lang::parse(std::str::from_utf8(&[(cell >> 8) as u8, cell as u8]).ok()?)
    }

    fn cell(&self, hash: u64) -> &AtomicU64 {
        &self.cells[(hash >> 16) as usize % CELLS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_keeps_its_language_and_lends_it_to_nobody() {
        let table = DeviceLanguages::default();
        table.note("aa:bb", Lang::ZH);
        assert_eq!(table.of("aa:bb"), Some(Lang::ZH));
        table.note("aa:bb", Lang::EN);
        assert_eq!(table.of("aa:bb"), Some(Lang::EN));
        assert_eq!((0..10_000).filter(|i| table.of(&format!("device-{i}")).is_some()).count(), 0);
    }
}
