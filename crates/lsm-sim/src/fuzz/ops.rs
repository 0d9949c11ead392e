//! Arbitrary bytes as a history: each operation is drawn from four of them, crashes among them, so
//! that leaving bytes out or copying them does the same to whole operations.

use lsm_workload::Rng;

use crate::draw::Mix;
use crate::history::History;

/// Longer histories would make each run slow.
const OPS_MAX: usize = 60;

/// Plays the history that `data` describes, and holds every answer against a map.
pub fn fuzz_ops(data: &[u8]) {
    let Some((seed, ops)) = data.split_first() else { return };
    let draw = |chunk: &[u8]| {
        let chunk = [chunk[0], chunk[1], chunk[2], chunk[3]];
        Mix::Short.draw_after(&mut Rng::new(u64::from(u32::from_le_bytes(chunk))), None)
    };
    let ops = ops.chunks_exact(4).take(OPS_MAX).map(draw).collect();
    let history = History { ops, ..History::random(u64::from(*seed), 0) };
    if let Err(wrong) = history.run() {
        panic!("{wrong}\n\n{}", history.to_text());
    }
}
