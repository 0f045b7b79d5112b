//! Counts what a benchmark takes from the allocator.
#![allow(unsafe_code, reason = "a global allocator cannot be had without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

struct Counting;

static TAKEN: AtomicU64 = AtomicU64::new(0);
static HELD: AtomicI64 = AtomicI64::new(0);

// SAFETY: everything is the system allocator's; the counter has no part in it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Relaxed);
        HELD.fetch_add(bytes(layout.size()), Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(bytes(layout.size()), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.fetch_add(1, Relaxed);
        HELD.fetch_add(bytes(size) - bytes(layout.size()), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// No object is larger than `i64` can say.
const fn bytes(size: usize) -> i64 {
    size as i64
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How often memory was asked for since the process began.
pub fn allocations() -> u64 {
    TAKEN.load(Relaxed)
}

/// Bytes that were asked for and not given back yet.
pub fn held() -> i64 {
    HELD.load(Relaxed)
}
