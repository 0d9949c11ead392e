//! What happened in the one order and is no entry, as the log tells it to followers.
//!
//! A note says when; whether it came to be, the manifest says. Format: docs/formats/log.md

use lsm_entry::SeqNo;
use lsm_io::Malformed;
use lsm_io::bytes::{ByteReader, put_slice, put_varint};
use lsm_wal::{FrameKind, hash_payload};

use crate::commit::Order;
use crate::error::Result;
use crate::shared::Shared;

/// Kinds of notes; a reader passes over those it does not know.
mod kind {
    pub(super) const RESERVED: u64 = 1;
    pub(super) const INGEST: u64 = 2;
    pub(super) const VOID: u64 = 3;
}

/// The payload of a frame of kind `NOTE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// The number is taken and nothing happened: what is being written for an ingest bears it.
    Reserved,
    /// Tables became part of a keyspace, if the manifest says so.
    Ingest(IngestNote),
    /// The ingest at this number did not happen.
    Void(SeqNo),
}

/// What an ingest brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IngestNote {
    pub(crate) keyspace: u32,
    pub(crate) entries: u64,
    /// The smallest and the largest key.
    pub(crate) lower: Vec<u8>,
    pub(crate) upper: Vec<u8>,
}

impl Note {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Reserved => put_varint(&mut out, kind::RESERVED),
            Self::Ingest(ingest) => {
                put_varint(&mut out, kind::INGEST);
                put_varint(&mut out, u64::from(ingest.keyspace));
                put_varint(&mut out, ingest.entries);
                put_slice(&mut out, &ingest.lower);
                put_slice(&mut out, &ingest.upper);
            }
            Self::Void(seq_no) => {
                put_varint(&mut out, kind::VOID);
                put_varint(&mut out, *seq_no);
            }
        }
        out
    }

    /// `None`: something that a later version knows.
    pub(crate) fn decode(payload: &[u8]) -> std::result::Result<Option<Self>, Malformed> {
        let mut reader = ByteReader::new(payload);
        let note = match reader.varint()? {
            kind::RESERVED => Self::Reserved,
            kind::INGEST => {
                let malformed = reader.malformed("a keyspace number beyond 32 bits");
                Self::Ingest(IngestNote {
                    keyspace: u32::try_from(reader.varint()?).map_err(|_| malformed)?,
                    entries: reader.varint()?,
                    lower: reader.len_slice()?.to_vec(),
                    upper: reader.len_slice()?.to_vec(),
                })
            }
            kind::VOID => Self::Void(reader.varint()?),
            _ => return Ok(None),
        };
        reader.expect_end("a note that is longer than it should be")?;
        Ok(Some(note))
    }
}

impl Shared {
    /// Appends a note to the log, where it takes the next sequence number, which is returned. Whoever
    /// calls this says how the number becomes visible.
    ///
    /// # Errors
    /// Those of a new segment, if one is needed; nothing was appended then.
    pub(crate) fn append_note(&self, order: &mut Order, note: &Note) -> Result<SeqNo> {
        let payload = note.encode();
        if !order.log().fits(payload.len()) {
            let segment = self.with_reserve(|| self.take_segment(payload.len()))?;
            self.rotate(order, segment)?;
        }
        let seq_no = order.log().next_seq_no();
        order.log().append(FrameKind::NOTE, seq_no, 1, &payload, hash_payload(&payload));
        Ok(seq_no)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_as_it_was_and_half_of_it_not_at_all() {
        let (lower, upper) = (b"a".to_vec(), vec![0xFF; 300]);
        let ingest = IngestNote { keyspace: 7, entries: 1 << 40, lower, upper };
        for note in [Note::Reserved, Note::Ingest(ingest), Note::Void(1 << 50)] {
            let bytes = note.encode();
            assert_eq!(Note::decode(&bytes), Ok(Some(note)));
            for end in 0..bytes.len() {
                assert!(Note::decode(&bytes[..end]).is_err(), "{end} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn a_note_of_a_later_version_is_passed_over() {
        assert_eq!(Note::decode(&[99, 1, 2, 3]), Ok(None));
    }
}
