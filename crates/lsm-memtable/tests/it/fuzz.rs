//! Arbitrary bytes as histories: the kept ones, those close to them, and noise.

use lsm_memtable::fuzz::fuzz_history;

use crate::support::Rng;

/// Histories worth keeping; see the test that describes them.
const CORPUS: [&[u8]; 3] = [
    include_bytes!("../corpus/versions.history"),
    include_bytes!("../corpus/prefixes.history"),
    include_bytes!("../corpus/frozen.history"),
];

/// What the corpus says, as [`fuzz_history`] reads it: the capacity in units of 256 bytes, then an
/// operation a line.
const DESCRIBED: [&[&[u8]]; 3] = [
    // Versions of few keys in many pieces; one cursor from early on, read while more come.
    &[
        &[0xFF],
        &[0x74, 0x08, b'k', 200],     // 200 versions of 32 keys
        &[0x07],                      // a cursor
        &[0xEC, 0x08, b'k', 0x80],    // seek the middle of time, 14 steps on
        &[0x74, 0x08, b'k', 250],     // 250 more
        &[0xFE, 0xFF, 0xFE],          // 16 steps on, back, and on again
        &[0x09, 0x10, b'k', 3, 0x20], // one key long ago
    ],
    // The prefix gets shorter: keys of the whole stem, of less and less of it, the empty key.
    &[
        &[0xFF],
        &[0x14, 0x17, 9, 9, 100],
        &[0x07],
        &[0x14, 0x0E, 0xFF, 40],
        &[0x14, 0x0C, 0x00, 40],
        &[0x14, 0x0A, 0xFF, 40],
        &[0x00, 0x00],
        &[0x00, 0x18, 0xFF, 0xFF, 0xFF],
        &[0xFA],
        &[0x07],
        &[0xFB],
        &[0xFD, 0x0C, 0x00, 0xFF],
        &[0xFC, 0x09, 0x75, 0xFF],
    ],
    // Frozen with an unsorted tail, merged under a cursor; nothing is taken afterwards.
    &[
        &[0x40],
        &[0x14, 0x07, 90],
        &[0x03, 0x0F, 5],
        &[0x07],
        &[0x06],
        &[0xFA],
        &[0x05],
        &[0x00, 0x08, b'z'],
        &[0xFE, 0xFF],
        &[0x07],
        &[0xFB],
        &[0x08, 0x0F, 5],
    ],
];

#[test]
fn the_corpus_is_what_its_description_says() {
    for (kept, described) in CORPUS.iter().zip(DESCRIBED) {
        assert_eq!(*kept, described.concat());
    }
}

#[test]
fn kept_histories_and_their_neighbours_agree_with_a_map() {
    let mut rng = Rng(1);
    for history in CORPUS {
        fuzz_history(history);
        for _ in 0..300 {
            let mut mutated = history.to_vec();
            for _ in 0..=rng.below(4) {
                let at = rng.below(mutated.len());
                match rng.below(3) {
                    0 => mutated[at] = rng.next() as u8,
                    1 => mutated.insert(at, rng.next() as u8),
                    _ => drop(mutated.remove(at)),
                }
            }
            fuzz_history(&mutated);
        }
    }
}

#[test]
fn histories_of_noise_agree_with_a_map() {
    let mut rng = Rng(2);
    for length in 0..400 {
        let noise: Vec<u8> = (0..length).map(|_| rng.next() as u8).collect();
        fuzz_history(&noise);
    }
}
