//! What the load tells its parent, in records of one length through a pipe.
//!
//! A record is shorter than the pipe's atomic write, so that records of several threads never mix,
//! and what was written into the pipe can still be read when the writer is dead: an acknowledgement
//! counts from the moment at which the load handed it over.

use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::fd::AsFd;

use lsm_engine::Durability;

const RECORD_BYTES: usize = 24;

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The database is open, and `n` commits of the writer were found in it.
    Found,
    /// Commit `n` of the writer was acknowledged at this durability.
    Acknowledged(Durability),
    /// `n` snapshots more were read twice, and read the same.
    SnapshotsRead,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// What is told.
    pub told: Told,
    /// Of which writer.
    pub writer: u8,
    /// Its commit.
    pub n: u64,
    /// The commit's place in the one order.
    pub seq_no: u64,
}

impl Acknowledgement {
    fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        record[0] = match self.told {
            Told::Found => 1,
            Told::Acknowledged(Durability::Memory) => 2,
            Told::Acknowledged(Durability::Os) => 3,
            Told::Acknowledged(Durability::Disk) => 4,
            Told::SnapshotsRead => 5,
        };
        record[1] = self.writer;
        record[8..16].copy_from_slice(&self.n.to_le_bytes());
        record[16..].copy_from_slice(&self.seq_no.to_le_bytes());
        record
    }

    fn decode(record: &[u8; RECORD_BYTES]) -> io::Result<Self> {
        let told = match record[0] {
            1 => Told::Found,
            2 => Told::Acknowledged(Durability::Memory),
            3 => Told::Acknowledged(Durability::Os),
            4 => Told::Acknowledged(Durability::Disk),
            5 => Told::SnapshotsRead,
            other => {
                return Err(io::Error::other(format!(
                    "the load told {other}, which means nothing"
                )));
            }
        };
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&record[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        Ok(Self { told, writer: record[1], n: number(8), seq_no: number(16) })
    }
}

/// The load's end of the pipe: its standard output.
#[derive(Debug)]
pub struct Teller(File);

impl Teller {
    /// Takes the standard output, past its buffer.
    ///
    /// # Errors
    /// Where the descriptor cannot be had.
    pub fn on_stdout() -> io::Result<Self> {
        Ok(Self(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }

    /// Hands a record over.
    ///
    /// # Errors
    /// When nobody listens any more.
    pub fn tell(&self, told: Told, writer: u8, n: u64, seq_no: u64) -> io::Result<()> {
        (&self.0).write_all(&Acknowledgement { told, writer, n, seq_no }.encode())
    }
}

/// Reads records until the pipe ends, and hands each to `heard`.
///
/// # Errors
/// What the pipe says, and bytes that are no record.
pub fn listen(pipe: impl Read, mut heard: impl FnMut(Acknowledgement)) -> io::Result<()> {
    let mut pipe = io::BufReader::new(pipe);
    let mut record = [0; RECORD_BYTES];
    while !pipe.fill_buf()?.is_empty() {
        pipe.read_exact(&mut record)?;
        heard(Acknowledgement::decode(&record)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_the_same() {
        let told = [
            Told::Found,
            Told::Acknowledged(Durability::Memory),
            Told::Acknowledged(Durability::Os),
            Told::Acknowledged(Durability::Disk),
            Told::SnapshotsRead,
        ];
        let records =
            told.map(|told| Acknowledgement { told, writer: 3, n: 1 << 40, seq_no: u64::MAX - 1 });
        let bytes = records.map(|record| record.encode()).concat();
        let mut heard = Vec::new();
        listen(&bytes[..], |record| heard.push(record)).unwrap();
        assert_eq!(heard, records);
    }

    #[test]
    fn a_record_that_is_cut_off_or_unknown_is_refused() {
        assert!(listen(&[1; 30][..], drop).is_err());
        assert!(listen(&[9; RECORD_BYTES][..], drop).is_err());
    }
}
