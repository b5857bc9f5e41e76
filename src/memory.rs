//! Memory for zlib states, where glibc would not give it back.
//!
//! A state is one piece of up to 400 KiB, aligned to a cache line. glibc looks for such a piece with room to align it in, so
//! the place of a state that was freed does not hold the next one; in a process that runs long, with connections that fall
//! asleep and wake, the heap grows by the places between (figures in `docs/measurements.md`). And once a large piece was
//! freed, glibc takes all up to its size from the heap, in the whole process. So each state is a mapping of its own here,
//! which the system has back as soon as it is freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

/// What zlib-rs aligns its states to, and nothing else in this crate asks for.
const ALIGNMENT_OF_STATES: usize = 64;
/// Below this a mapping of its own would be waste; a decompressor takes 48 KiB.
const LEAST: usize = 32 * 1024;

/// The system's allocator, but for zlib states.
pub struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn is_mapped(layout: Layout) -> bool {
    layout.align() == ALIGNMENT_OF_STATES && layout.size() >= LEAST
}

fn map(size: usize) -> *mut u8 {
    // SAFETY: a mapping at a place of the kernel's choice touches no memory that is in use.
    let place = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if place == libc::MAP_FAILED {
        return ptr::null_mut();
    }
    place.cast()
}

// SAFETY: a mapping is as large as asked for, aligned to a page, which is more than a cache line, and nobody else's until
// it is freed. Whether a piece is a mapping depends on its layout alone, and that is the same when it is freed.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if is_mapped(layout) {
            return map(layout.size());
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if is_mapped(layout) {
            // The kernel hands out zeros.
            return map(layout.size());
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if is_mapped(layout) {
            // SAFETY: `alloc` mapped so much there, and the caller has no use for it any more.
            unsafe { libc::munmap(place.cast(), layout.size()) };
            return;
        }
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
            return ptr::null_mut();
        };
        if !is_mapped(layout) && !is_mapped(wanted) {
            // SAFETY: as the caller promises.
            return unsafe { System.realloc(place, layout, size) };
        }
        // SAFETY: both pieces are at least as long as what is copied, and apart from each other; the old one is freed with
        // the layout it was made with.
        unsafe {
            let moved = self.alloc(wanted);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(place, moved, size.min(layout.size()));
                self.dealloc(place, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, ALIGNMENT_OF_STATES).unwrap()
    }

    #[test]
    fn a_state_has_pages_of_its_own_and_they_are_zeros() {
        for size in [LEAST, 48 * 1024, 371_713] {
            // SAFETY: the layout is not empty; what is written and freed was just made.
            unsafe {
                let place = std::alloc::alloc_zeroed(layout(size));
                assert!(!place.is_null());
                assert_eq!(place.addr() % PAGE, 0);
                let bytes = std::slice::from_raw_parts_mut(place, size);
                assert!(bytes.iter().all(|byte| *byte == 0));
                bytes.fill(1);
                std::alloc::dealloc(place, layout(size));
            }
        }
    }

    #[test]
    fn a_piece_that_grows_or_shrinks_over_the_bound_keeps_its_contents() {
        let sizes = [100, LEAST - 1, LEAST, 10 * LEAST, LEAST, 200];
        // SAFETY: no layout is empty, each is the one the piece has, and only what was written is read.
        unsafe {
            let mut place = std::alloc::alloc(layout(sizes[0]));
            for index in 0..100 {
                place.add(index).write(u8::try_from(index).unwrap());
            }
            for pair in sizes.windows(2) {
                place = std::alloc::realloc(place, layout(pair[0]), pair[1]);
                assert!(!place.is_null());
                let kept = std::slice::from_raw_parts(place, 100);
                assert!(kept.iter().copied().eq(0..100), "{pair:?}");
            }
            std::alloc::dealloc(place, layout(200));
        }
    }
}
