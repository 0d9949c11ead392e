//! Arbitrary bytes, and sound bytes with one wrong, never panic.

use lsm_manifest::fuzz::{fuzz_current, fuzz_edit};

#[test]
fn fuzz_edits_and_current() {
    let mut state = 7u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % below
    };
    // One create, one table edit, numbers: the tags and shapes that the decoder knows.
    let sound: &[u8] = &[
        1, 8, 0, 1, b'u', 2, b'o', b'p', 0, 0, 5, 2, 0, 9, 6, 1, 3, 7, 1, 4, 8, 1, 5, 4, 3, 0, 0,
        0, 129, 1, 2, b'x', b'y',
    ];
    fuzz_edit(sound);
    for _ in 0..100_000 {
        let mut bytes = sound.to_vec();
        for _ in 0..1 + random(4) {
            let index = random(bytes.len() as u64) as usize;
            bytes[index] = random(256) as u8;
        }
        bytes.truncate(random(bytes.len() as u64 + 1) as usize);
        fuzz_edit(&bytes);
        fuzz_current(&bytes);
    }
}
