//! Reading a manifest: the state that its edits add up to.

use std::path::Path;

use lsm_io::{Error, Result, SharedFs};
use lsm_wal::{FRAME_HEADER_BYTES, FrameReader, FrameRef, FrameStep};

use crate::codec::decode;
use crate::current::Current;
use crate::file_name::{FileKind, file_name};
use crate::manifest::{EDIT, SNAPSHOT};
use crate::state::ManifestState;

/// What reading a manifest found.
#[derive(Clone, Debug)]
pub struct ManifestRead {
    /// What its edits add up to.
    pub state: ManifestState,
    /// The manifest's file number.
    pub number: u64,
    /// The database was closed, and the manifest is as it was then.
    pub closed_cleanly: bool,
    /// Features without which nobody may write to the database, and that this program does not
    /// know, one bit each.
    pub unknown_features_to_write: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Where it ends in bytes that are no edit, if it does: an edit that a crash cut short.
    pub cut: Option<u64>,
}

/// Reads the manifest that `CURRENT` names.
pub(crate) fn read(fs: &SharedFs, dir: &Path) -> Result<ManifestRead> {
    read_named(fs, dir, Current::read(fs, dir)?, true)
}

/// Reads the manifest with this number as far as it is whole, whatever `CURRENT` names.
pub(crate) fn read_number(fs: &SharedFs, dir: &Path, number: u64) -> Result<ManifestRead> {
    read_named(fs, dir, Current { number, closed_bytes: None }, false)
}

/// `is_strict`: what stands behind damage is damage as well, and not only unread.
fn read_named(
    fs: &SharedFs,
    dir: &Path,
    current: Current,
    is_strict: bool,
) -> Result<ManifestRead> {
    let path = dir.join(file_name(FileKind::Manifest, current.number));
    let reader = FrameReader::open(fs, &path, None);
    let mut reader = reader.map_err(|error| match error.io_kind() {
        Some(std::io::ErrorKind::NotFound) => {
            Error::corrupt(&path, 0, "CURRENT names this manifest, which is not there")
        }
        _ => error,
    })?;
    let found = reader.identity().file_number;
    if found != current.number {
        let reason = format!("the file is manifest {found} under another name");
        return Err(Error::corrupt(&path, 0, reason));
    }
    let mut state = ManifestState::new(reader.identity().database_id);
    let file_bytes = reader.file_bytes();
    let mut is_first = true;
    let cut = loop {
        match reader.next()? {
            FrameStep::Frame(frame) => {
                take(&mut state, &frame, is_first, &path)?;
                is_first = false;
            }
            FrameStep::End { offset } if offset == file_bytes => break None,
            FrameStep::End { offset } | FrameStep::Bad { offset, .. } => break Some(offset),
        }
    };
    // Each edit is durable before the next one is written, so only the last one may be torn.
    if is_strict
        && let Some(offset) = cut
        && let Some(behind) = reader.frame_behind(state.edit_number + 1)?
    {
        let reason = format!("no edit, although a later one stands whole at byte {behind}");
        return Err(Error::corrupt(&path, offset, reason));
    }
    if is_first {
        // The snapshot is synced before CURRENT names the manifest.
        let offset = cut.unwrap_or(file_bytes);
        return Err(Error::corrupt(&path, offset, "the manifest has no snapshot"));
    }
    let end = reader.offset();
    if let Some(closed_bytes) = current.closed_bytes
        && (end != closed_bytes || cut.is_some())
    {
        let reason = format!("when it was closed the manifest had {closed_bytes} bytes of edits");
        return Err(Error::corrupt(&path, end, reason));
    }
    Ok(ManifestRead {
        state,
        number: current.number,
        closed_cleanly: current.closed_bytes.is_some(),
        unknown_features_to_write: reader.unknown_features_to_write(),
        bytes: end,
        cut,
    })
}

fn take(
    state: &mut ManifestState,
    frame: &FrameRef<'_>,
    is_first: bool,
    path: &Path,
) -> Result<()> {
    let wanted = if is_first { SNAPSHOT } else { EDIT };
    if frame.kind != wanted || frame.count != 1 {
        return Err(Error::corrupt(path, frame.offset, "a frame that does not belong here"));
    }
    if !is_first && frame.seq_start != state.edit_number + 1 {
        let reason = format!("edit {} follows edit {}", frame.seq_start, state.edit_number);
        return Err(Error::corrupt(path, frame.offset, reason));
    }
    let payload_offset = frame.offset + FRAME_HEADER_BYTES as u64;
    let edit = decode(frame.payload).map_err(|malformed| malformed.at(path, payload_offset))?;
    state.apply(&edit).map_err(|error| Error::corrupt(path, frame.offset, error.to_string()))?;
    state.edit_number = frame.seq_start;
    Ok(())
}
