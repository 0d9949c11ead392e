//! No input makes a reader take much memory. A program of its own, for it counts all allocations of
//! the process, and nothing may run beside it.

use lsm_sim::fuzz::{TARGETS, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// The most that a reader may take for inputs of a few KiB: its caches and buffers, and the largest
/// block that a table may hold.
const BYTES_MAX: usize = 64 << 20;
/// Targets that open whole databases: slow, and with files that the others read too.
const WHOLE_DATABASES: [&str; 3] = ["damage", "hostile", "ops"];

#[track_caller]
fn check_bounded(target: &Target, input: &[u8], what: &str) {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    (target.run)(input);
    let taken = ALLOCATED.peak_usage().saturating_sub(before);
    assert!(taken < BYTES_MAX, "{} takes {taken} bytes for {what}", target.name);
}

/// A compressed block of a few KiB that decodes to 256 MiB, and says so, or less, or the most that
/// can be said.
fn bombs() -> Vec<Vec<u8>> {
    let decoded_bytes = 256_usize << 20;
    let compressed = zstd::bulk::compress(&vec![0; decoded_bytes], 1).expect("compresses");
    assert!(compressed.len() < 64 << 10, "{} bytes are no bomb", compressed.len());
    let claims = [decoded_bytes as u32, 4096, 4 << 20, u32::MAX];
    claims.map(|claim| [&claim.to_le_bytes()[..], &compressed].concat()).into()
}

#[test]
fn no_input_makes_a_reader_take_much_memory() {
    for target in TARGETS {
        for (path, input) in target.corpus().expect("is in the repository") {
            check_bounded(target, &input, &path.display().to_string());
            if WHOLE_DATABASES.contains(&target.name) {
                continue;
            }
            // Every length, count and offset there may be says the most that can be said.
            for at in 0..input.len() {
                for width in [1, 4, 8] {
                    let mut lying = input.clone();
                    let end = lying.len().min(at + width);
                    lying[at..end].fill(0xFF);
                    check_bounded(target, &lying, &format!("{} from byte {at}", path.display()));
                }
            }
        }
        for length in [1, 9, 24, 64, 4096] {
            check_bounded(target, &vec![0xFF; length], "nothing but the highest bytes");
        }
    }
    for (number, bomb) in bombs().iter().enumerate() {
        for target in TARGETS.iter().filter(|target| target.name == "block") {
            check_bounded(target, bomb, &format!("bomb {number}"));
        }
    }
}
