//! [`Allocator`]: keeps freed blocks for the next request.
//!
//! A request allocates and frees a dozen blocks. The standard library's allocator takes a tenth of the module's
//! instructions for that.

#![allow(
    unsafe_code,
    reason = "an allocator returns raw memory; a comment at each block explains why it is sound"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr;
use std::alloc::System;

/// The number of sizes of blocks that are kept: 16, 32, 64 … 2048 bytes.
const SIZES: usize = 8;
const SMALLEST: usize = 16;
const ALIGN: usize = 8;

/// An allocator with a list of free blocks for each size. Larger blocks are those of the standard library.
///
/// Invariant: each block of a list is a block of the standard library with the size of the list and [`ALIGN`], and its
/// first bytes are the pointer to the next one.
pub(crate) struct Allocator {
    free: [Cell<*mut u8>; SIZES],
}

// SAFETY: a module of wasm32-unknown-unknown has one thread, and the tests have an allocator for each thread.
unsafe impl Sync for Allocator {}

impl Allocator {
    pub(crate) const fn new() -> Self {
        Self { free: [const { Cell::new(ptr::null_mut()) }; SIZES] }
    }

    /// Returns the list for a block, and the layout of the blocks in it; `None` if blocks of this size are not kept.
    #[inline]
    fn list(&self, layout: Layout) -> Option<(&Cell<*mut u8>, Layout)> {
        let index = layout.size().saturating_sub(1) / SMALLEST;
        let index = if index == 0 { 0 } else { index.ilog2() as usize + 1 };
        let list = self.free.get(index).filter(|_| layout.align() <= ALIGN)?;
        Some((list, Layout::from_size_align(SMALLEST << index, ALIGN).ok()?))
    }
}

// SAFETY: a block comes from the standard library's allocator, with a layout that `list` derives from the block's own in
// the same way each time, and it is in a list only from `dealloc` to the next `alloc`.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (list, layout) = match self.list(layout) {
            Some((list, layout)) => (list, layout),
            // SAFETY: the caller's promises are those that this call needs.
            None => return unsafe { System.alloc(layout) },
        };
        let block = list.get();
        if block.is_null() {
            // SAFETY: the size of a list is not zero.
            return unsafe { System.alloc(layout) };
        }
        // SAFETY: the block is in the list, so its first bytes are a pointer.
        list.set(unsafe { block.cast::<*mut u8>().read() });
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.list(layout) {
            Some((list, _)) => {
                // SAFETY: nobody else uses the block from now on, and it is large enough for a pointer and aligned.
                unsafe { block.cast::<*mut u8>().write(list.get()) };
                list.set(block);
            }
            // SAFETY: `alloc` took the block from there, with the same layout.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, layout.align()) else { return ptr::null_mut() };
        match (self.list(layout), self.list(new)) {
            // SAFETY: `alloc` took the block from there, with the same layout.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (Some((_, kept)), Some((_, wanted))) if kept == wanted => block,
            _ => {
                // SAFETY: the caller promises that `size` is not zero.
                let moved = unsafe { self.alloc(new) };
                if !moved.is_null() {
                    // SAFETY: both blocks have this many bytes, and they are different blocks. Nobody uses the old one
                    // from now on.
                    unsafe {
                        ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                        self.dealloc(block, layout);
                    }
                }
                moved
            }
        }
    }
}

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: Allocator = Allocator::new();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_block_is_used_again_for_its_size() {
        let allocator = Allocator::new();
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        // SAFETY: no size is zero, and each block is freed with the size with which it was allocated.
        unsafe {
            let [one, other] = [17, 32].map(|size| allocator.alloc(layout(size)));
            allocator.dealloc(one, layout(17));
            allocator.dealloc(other, layout(32));
            let again = [18, 31, 16, 33].map(|size| (size, allocator.alloc(layout(size))));
            assert_eq!([again[0].1, again[1].1], [other, one]);
            for (size, block) in again {
                block.write_bytes(0xff, size);
                System.dealloc(block, allocator.list(layout(size)).unwrap().1);
            }
        }
    }

    #[test]
    fn content_survives_each_change_of_the_size() {
        let allocator = Allocator::new();
        let layout = |size| Layout::from_size_align(size, 1).unwrap();
        // SAFETY: no size is zero, and the block is changed and freed with its last size.
        unsafe {
            let mut size = 10;
            let mut block = allocator.alloc(layout(size));
            block.copy_from(b"0123456789".as_ptr(), 10);
            for new in [16, 17, 2048, 2049, 100_000, 3000, 2048, 40, 10] {
                block = allocator.realloc(block, layout(size), new);
                size = new;
                assert_eq!(core::slice::from_raw_parts(block, 10), b"0123456789");
            }
            allocator.dealloc(block, layout(size));
        }
    }
}
