//! Allocations by thread: the global allocator of the program counts in a thread-local cell (two additions, about 1 ns beside
//! the 20 ns that an allocation takes).
//!
//! The program `voxlane` uses [`Counting`]; a program that does not, such as a bench, has zeros everywhere.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread has asked of the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Blocks, a block that was made larger or smaller included.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

thread_local! {
    // No destructor and a constant beginning: so the cell may be used by an allocator, and at a thread's very end.
    static MADE: Cell<Made> = const { Cell::new(Made { count: 0, bytes: 0 }) };
}

/// All that the calling thread has ever asked for.
#[inline]
pub fn of_this_thread() -> Made {
    MADE.with(Cell::get)
}

#[inline]
fn made(bytes: usize) {
    MADE.with(|cell| {
        let Made { count, bytes: before } = cell.get();
        cell.set(Made { count: count.wrapping_add(1), bytes: before.wrapping_add(bytes as u64) });
    });
}

/// An allocator that counts by thread what it passes on.
pub struct Counting<A = System>(pub A);

// SAFETY: every call goes to the inner allocator unchanged; counting touches only a thread-local cell without a destructor.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    // SAFETY: as the trait demands of the caller; passed on unchanged.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        made(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { self.0.alloc(layout) }
    }

    // SAFETY: as above.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from a call of this allocator, that is from the inner one.
        unsafe { self.0.dealloc(at, layout) }
    }

    // SAFETY: as above.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        made(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    // SAFETY: as above.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        made(size);
        // SAFETY: as in `dealloc`, and the caller's promises are passed on.
        unsafe { self.0.realloc(at, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_through_is_counted_by_thread() {
        let allocator = Counting(System);
        let layout = Layout::from_size_align(48, 8).unwrap();
        let before = of_this_thread();
        // SAFETY: the layout has a size, the block is given back with the layout it has by then, and is not used after.
        unsafe {
            let block = allocator.alloc(layout);
            let larger = allocator.realloc(block, layout, 96);
            allocator.dealloc(larger, Layout::from_size_align(96, 8).unwrap());
        }
        let after = of_this_thread();
        assert_eq!((after.count - before.count, after.bytes - before.bytes), (2, 48 + 96));
        assert_eq!(std::thread::spawn(of_this_thread).join().unwrap(), Made::default());
    }
}
