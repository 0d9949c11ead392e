//! A long file is sent to the disk while it is written.
//!
//! A sync at its end would wait for all of it, and pages that wait to be written are memory that cannot be
//! given back. So whenever a file has grown by another [`STEP_BYTES`], the system is asked to begin with
//! these, and nobody waits.
#![allow(unsafe_code)] // One of the few files that may: the standard library has no such call.

use std::fs::File;
use std::ops::Range;

/// Long enough that little is sent which is removed before anybody syncs it, and few calls are made.
const STEP_BYTES: u64 = 16 << 20;

/// Takes note of bytes that were written to `file`.
#[inline]
pub(crate) fn follow(file: &File, written: Range<u64>) {
    let steps = filled_steps(&written);
    if !steps.is_empty() {
        begin(file, steps);
    }
}

/// The steps in which these bytes end, or that they fill.
#[inline]
fn filled_steps(written: &Range<u64>) -> Range<u64> {
    written.start / STEP_BYTES * STEP_BYTES..written.end / STEP_BYTES * STEP_BYTES
}

/// Begins to write a part of `file` to the disk. A hint: whether it is there, a sync says.
#[cfg(target_os = "linux")]
fn begin(file: &File, part: Range<u64>) {
    use std::os::fd::AsRawFd;

    let length = part.end - part.start;
    let (Ok(offset), Ok(length)) =
        (libc::off64_t::try_from(part.start), libc::off64_t::try_from(length))
    else {
        return;
    };
    // SAFETY: the descriptor is open, and the call touches no memory of ours. It waits for nothing that was
    // begun before, so it takes no error away from the sync that will be told of it.
    unsafe {
        libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE);
    }
}

/// Elsewhere there is no such call.
#[cfg(not(target_os = "linux"))]
fn begin(_: &File, _: Range<u64>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_one_behind_the_other_send_each_step_once() {
        for piece in [1 << 20, 3 << 20, 5_000_001, STEP_BYTES, 40 << 20] {
            let (mut at, mut sent) = (0, 0);
            while at < 10 * STEP_BYTES {
                let steps = filled_steps(&(at..at + piece));
                if !steps.is_empty() {
                    assert_eq!(steps.start, sent, "pieces of {piece} bytes");
                    sent = steps.end;
                }
                at += piece;
            }
            assert_eq!(sent, at / STEP_BYTES * STEP_BYTES, "pieces of {piece} bytes");
        }
    }

    #[test]
    fn writes_within_a_step_send_nothing() {
        assert!(filled_steps(&(0..0)).is_empty());
        assert!(filled_steps(&(STEP_BYTES..2 * STEP_BYTES - 1)).is_empty());
    }
}
