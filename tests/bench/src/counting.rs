//! The allocator of the benchmarks: mimalloc, with a count of the bytes that this thread has asked for and not given back.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    static IN_USE: Cell<i64> = const { Cell::new(0) };
}

/// As asked for; mimalloc rounds up to its sizes, by an eighth at most for small ones.
#[must_use]
pub fn in_use() -> i64 {
    IN_USE.with(Cell::get)
}

fn count(bytes: usize, sign: i64) {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    // A thread that ends has no count any more.
    IN_USE.try_with(|count| count.set(count.get().wrapping_add(sign.wrapping_mul(bytes)))).ok();
}

/// To be named as the global allocator.
#[derive(Clone, Copy, Debug)]
pub struct Counting;

#[expect(unsafe_code, reason = "an allocator that hands every call on as it is")]
// SAFETY: every call goes to mimalloc with the arguments that the caller vouches for; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as the caller.
        unsafe { MiMalloc.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as the caller.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as the caller.
        unsafe { MiMalloc.dealloc(ptr, layout) }
    }
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: as the caller.
        unsafe { MiMalloc.realloc(ptr, layout, size) }
    }
}
