//! Tells a torn end from damage, by what stands behind it.
//!
//! What a power cut leaves behind the last sync may be torn, missing or reordered, so the first bad
//! frame may simply be the end. It is damage if something behind it proves that it was durable: a
//! mark that covers it, or the closing frame, before which everything was made durable.
//!
//! The rest of the segment is searched, and all later ones: a power cut may keep any of their bytes.

use lsm_io::{Error, Result};

use crate::frame::FrameKind;
use crate::frame_reader::FrameReader;
use crate::report::{Cut, RecoveryMode};
use crate::segment::segments_above;

use super::scan::Scan;
use super::{Break, Expected, Replay};

impl Replay<'_> {
    /// Decides whether the log ends at a break, or is damaged there.
    pub(super) fn judge(&mut self, reader: &mut FrameReader, broken: &Break) -> Result<()> {
        let Expected { seq_start, is_exact } = self.expected;
        let mut evidence = Evidence::default();
        let end = broken.end(reader)?;
        evidence.search(reader, broken.offset, end, seq_start)?;
        let number = reader.identity().file_number;
        for later in segments_above(self.fs, self.dir, number)? {
            match self.open(later) {
                Ok(later) => evidence.search(&later, later.offset(), later.offset(), seq_start)?,
                // A segment without a sound identity was not finished, so no frame is in it.
                Err(error) if error.is_corrupt() => {}
                Err(error) => return Err(error),
            }
        }
        if evidence.convicts(is_exact.then_some(seq_start)) {
            let reason = format!("{}; durable data should be here", broken.reason);
            return Err(Error::corrupt(reader.path(), broken.offset, reason));
        }
        if broken.is_blank && evidence.frames == 0 {
            return Ok(());
        }
        if self.mode == RecoveryMode::Absolute {
            return Err(Error::corrupt(reader.path(), broken.offset, broken.reason));
        }
        self.report.cut = Some(Cut {
            segment: number,
            offset: broken.offset,
            bytes_discarded: evidence.bytes,
            frames_discarded: evidence.frames,
            reason: broken.reason.to_owned(),
        });
        Ok(())
    }
}

/// What stands behind a bad frame.
#[derive(Debug, Default)]
struct Evidence {
    /// Whole frames of the log's user.
    frames: u64,
    /// Bytes of segments up to their last whole frames.
    bytes: u64,
    /// The newest mark's word.
    durable_through: Option<u64>,
    is_closed: bool,
    first_seq_start: Option<u64>,
}

impl Evidence {
    /// Looks through a segment from `from` on, for frames that begin with `seq_start_min` at least.
    /// `from` counts as discarded up to `end`, whatever is found.
    fn search(
        &mut self,
        reader: &FrameReader,
        from: u64,
        end: u64,
        seq_start_min: u64,
    ) -> Result<()> {
        let mut scan = Scan::new(reader, from, seq_start_min);
        let mut end = end;
        while let Some(frame) = scan.next()? {
            end = end.max(frame.end());
            self.first_seq_start.get_or_insert(frame.seq_start);
            match frame.kind {
                // A mark of the future was written by nobody.
                FrameKind::MARK if frame.number() >= frame.seq_start => {}
                FrameKind::MARK => {
                    self.durable_through = self.durable_through.max(Some(frame.number()));
                }
                FrameKind::CLOSE => self.is_closed |= frame.number() == 0,
                kind => self.frames += u64::from(kind.takes_seq_no()),
            }
        }
        self.bytes += end - from;
        Ok(())
    }

    /// Whether a frame that should have been there is proven to have been durable. It would have
    /// begun with `seq_start`, where that is known.
    fn convicts(&self, seq_start: Option<u64>) -> bool {
        if self.is_closed {
            return true;
        }
        let Some(durable_through) = self.durable_through else { return false };
        match (seq_start, self.first_seq_start) {
            (Some(seq_start), _) => durable_through >= seq_start,
            // The log's very beginning is gone and nobody knows its number. What is certain is that it
            // lay below the first frame behind it.
            (None, Some(next)) => durable_through + 1 >= next,
            (None, None) => false,
        }
    }
}
