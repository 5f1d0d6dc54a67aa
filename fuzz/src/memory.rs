//! An allocator that ends the process when a reader asks for more than its input can justify.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What a reader may take whatever it reads.
const BASE: usize = 64 << 20;
/// And for each byte of its input.
const FACTOR: usize = 20;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn take(bytes: usize) {
    let in_use = IN_USE.fetch_add(bytes, Relaxed) + bytes;
    let limit = LIMIT.load(Relaxed);
    if in_use > limit {
        // What is written below must not come here again.
        LIMIT.store(usize::MAX, Relaxed);
        eprintln!("too much memory: {bytes} more bytes make {in_use}, and {limit} are allowed");
        std::process::abort();
    }
}

// SAFETY: every call is handed on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        take(size);
        IN_USE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs a reader on an input of so many bytes.
pub(crate) fn bounded<T>(bytes: usize, read: impl FnOnce() -> T) -> T {
    LIMIT.store(IN_USE.load(Relaxed) + BASE + FACTOR * bytes, Relaxed);
    let read = read();
    LIMIT.store(usize::MAX, Relaxed);
    read
}
