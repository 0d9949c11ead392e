//! The kept inputs, and blind changes of them: what can be done where libFuzzer cannot be built.

use std::time::{Duration, Instant};

use lsm_workload::Rng;

use super::Target;

/// Runs of one target without a guide.
#[derive(Clone, Copy, Debug)]
pub struct Blind {
    /// How many changes are tried at most.
    pub changes: u64,
    /// How long to go on at most.
    pub duration: Duration,
    /// Decides the changes.
    pub seed: u64,
}

impl Blind {
    /// Runs the kept inputs, then changes of them until the time is up; returns how many. A panic of
    /// the target comes through, after its input was printed.
    ///
    /// # Errors
    /// Names the kept input that could not be read.
    pub fn run(&self, target: &Target) -> Result<u64, String> {
        let began = Instant::now();
        let corpus = target.corpus()?;
        let mut runs = 0;
        for (_, input) in &corpus {
            attempt(target, input);
            runs += 1;
        }
        let mut rng = Rng::new(self.seed);
        let kept = runs;
        while runs - kept < self.changes && began.elapsed() < self.duration && !corpus.is_empty() {
            let mut input = rng.pick(&corpus).1.clone();
            change(&mut input, &mut rng);
            attempt(target, &input);
            runs += 1;
        }
        Ok(runs)
    }
}

fn attempt(target: &Target, input: &[u8]) {
    let run = std::panic::AssertUnwindSafe(|| (target.run)(input));
    if let Err(panic) = std::panic::catch_unwind(run) {
        eprintln!("target {} fails on \"{}\"", target.name, input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

/// A few bytes are others, missing or new, favouring values that stand for something.
fn change(input: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(4) {
        let at = rng.below(input.len() as u64 + 1) as usize;
        let byte = *rng.pick(&[0, 1, 0x7F, 0x80, 0xFF, rng.clone().next_u64() as u8]);
        match rng.below(5) {
            0 => input.insert(at, byte),
            1 if at < input.len() => drop(input.remove(at)),
            2 if rng.chance(0.1) => input.truncate(at),
            _ if at < input.len() => {
                input[at] = if rng.chance(0.5) { byte } else { input[at] ^ (1 << rng.below(8)) };
            }
            _ => input.push(byte),
        }
    }
}
