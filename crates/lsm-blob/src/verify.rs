//! Checking every byte of a blob file, and visiting its values one after the other.

use lsm_io::checksum::Xxh3;
use lsm_io::{Result, SEAL_BYTES, Sealer};

use crate::BlobFile;
use crate::file::read_footer;
use crate::footer::FOOTER_BYTES;
use crate::writer::{FRAME_BYTES, LENGTH_BYTES};

/// What a verified blob file turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Length of the file; every byte was checked.
    pub bytes: u64,
    /// How many values are in it.
    pub values: u64,
    /// How long they are together.
    pub value_bytes: u64,
    /// XXH3 of the whole file, to be compared with what the writer told.
    pub checksum: u64,
}

impl BlobFile {
    /// Reads the whole file, past any mapping, and checks every byte of it.
    ///
    /// # Errors
    /// `Corrupt` with the place of the first damage; `Io` when the file could not be read.
    pub fn verify(&self) -> Result<VerifyReport> {
        let mut hash = Xxh3::new();
        let mut report = VerifyReport::default();
        self.visit_framed(&mut |_, framed| {
            hash.update(framed);
            report.values += 1;
            report.value_bytes += (framed.len() - FRAME_BYTES) as u64;
            Ok(())
        })?;
        let end = self.values_end();
        // Read from the file once more: it may have been damaged since it was opened.
        let (footer, offset) = read_footer(self.file())?;
        if self.footer() != Some(&footer) || offset != end {
            return Err(self.corrupt(end, "footer changed since the file was opened"));
        }
        if (footer.values, footer.value_bytes) != (report.values, report.value_bytes) {
            return Err(self.corrupt(end, "footer counts something else"));
        }
        hash.update(&self.read(end, FOOTER_BYTES)?);
        report.bytes = self.bytes();
        report.checksum = hash.finish();
        Ok(report)
    }

    /// Hands every value with its place to `visit`, in the order in which they were written.
    ///
    /// # Errors
    /// `Corrupt` at the first damage, behind which no value can be found; `Io`; those of `visit`.
    pub fn visit_values(&self, visit: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        self.visit_framed(&mut |offset, framed| {
            visit(offset, &framed[LENGTH_BYTES..framed.len() - SEAL_BYTES])
        })
    }

    fn visit_framed(&self, visit: &mut dyn FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let (end, sealer) = (self.values_end(), Sealer::new(self.identity()));
        let mut offset = 0;
        while offset < end {
            let rest = end - offset;
            if rest < FRAME_BYTES as u64 {
                return Err(self.corrupt(offset, "a value is cut off"));
            }
            let mut length = [0; 4];
            self.file().read_at(offset, &mut length)?;
            let framed = u64::from(u32::from_le_bytes(length)) + FRAME_BYTES as u64;
            // Before anything is allocated by it.
            if framed > rest {
                return Err(self.corrupt(offset, "a value is longer than the file"));
            }
            let bytes = self.read(offset, framed as usize)?;
            if sealer.open(offset, &bytes).is_none() || bytes[..4] != length {
                return Err(self.corrupt(offset, "value checksum does not match"));
            }
            visit(offset, &bytes)?;
            offset += framed;
        }
        Ok(())
    }
}
