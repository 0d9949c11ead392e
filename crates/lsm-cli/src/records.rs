//! Records as lines of text: `key<TAB>value`, or JSON objects.

use std::io::{self, BufRead, Read};

use lsm_engine::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use serde_json::Value;

use crate::format::{BytesFormat, parse_json};

/// No record needs a longer line: both its halves in hexadecimal digits.
const LINE_BYTES_MAX: u64 = 2 * (MAX_KEY_BYTES + MAX_VALUE_BYTES) as u64 + 2;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LineFormat {
    /// `key<TAB>value`; the value is everything after the first tab
    Tsv,
    /// `{"key": ..., "value": ...}`, as `scan --json` prints it
    Jsonl,
}

/// A key and its value.
pub(crate) type Record = (Vec<u8>, Vec<u8>);

/// Why there is no next record.
#[derive(Debug)]
pub(crate) enum RecordError {
    /// The input could not be read.
    Read(io::Error),
    /// A line is no record; the text names it.
    Line(String),
}

/// Reads records line by line.
#[derive(Debug)]
pub(crate) struct RecordReader<R> {
    input: R,
    line_format: LineFormat,
    bytes_format: BytesFormat,
    line: Vec<u8>,
    line_number: u64,
    bytes_read: u64,
}

impl<R: BufRead> RecordReader<R> {
    pub(crate) fn new(input: R, line_format: LineFormat, bytes_format: BytesFormat) -> Self {
        let line = Vec::new();
        Self { input, line_format, bytes_format, line, line_number: 0, bytes_read: 0 }
    }

    /// Where the lines come from.
    pub(crate) fn input(&self) -> &R {
        &self.input
    }

    /// Bytes of input that the records so far took.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next record; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, RecordError> {
        self.line.clear();
        let mut limited = (&mut self.input).take(LINE_BYTES_MAX);
        let read = limited.read_until(b'\n', &mut self.line).map_err(RecordError::Read)?;
        if read == 0 {
            return Ok(None);
        }
        self.line_number += 1;
        self.bytes_read += read as u64;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        self.parse()
            .map(Some)
            .map_err(|reason| RecordError::Line(format!("line {}: {reason}", self.line_number)))
    }

    fn parse(&self) -> Result<Record, String> {
        let (key, value) = match self.line_format {
            LineFormat::Tsv => self.parse_tsv()?,
            LineFormat::Jsonl => self.parse_json()?,
        };
        if key.len() > MAX_KEY_BYTES {
            return Err(format!("a key of {} bytes; {MAX_KEY_BYTES} are accepted", key.len()));
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(format!(
                "a value of {} bytes; {MAX_VALUE_BYTES} are accepted",
                value.len()
            ));
        }
        Ok((key, value))
    }

    fn parse_tsv(&self) -> Result<Record, String> {
        let tab =
            self.line.iter().position(|byte| *byte == b'\t').ok_or_else(|| {
                format!("{} has no tab; key<TAB>value is accepted", self.excerpt())
            })?;
        let (key, value) = (&self.line[..tab], &self.line[tab + 1..]);
        let key = self.bytes_format.parse(key).map_err(|reason| format!("key {reason}"))?;
        let value = self.bytes_format.parse(value).map_err(|reason| format!("value {reason}"))?;
        Ok((key, value))
    }

    fn parse_json(&self) -> Result<Record, String> {
        let expected = "{\"key\": ..., \"value\": ...} is accepted";
        let object: Value = serde_json::from_slice(&self.line)
            .map_err(|error| format!("{} is not JSON ({error}); {expected}", self.excerpt()))?;
        let field = |name: &str| {
            let field = object
                .get(name)
                .ok_or_else(|| format!("{} has no \"{name}\"; {expected}", self.excerpt()))?;
            parse_json(field).map_err(|reason| format!("\"{name}\" {reason}"))
        };
        Ok((field("key")?, field("value")?))
    }

    /// Enough of the line to find it by.
    fn excerpt(&self) -> String {
        const BYTES: usize = 40;
        let format = BytesFormat { hex: false };
        match self.line.get(..BYTES) {
            Some(beginning) => format!("\"{}...\"", format.show(beginning)),
            None => format!("\"{}\"", format.show(&self.line)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], line_format: LineFormat, hex: bool) -> (Vec<Record>, Option<String>) {
        let mut reader = RecordReader::new(text, line_format, BytesFormat { hex });
        let mut records = Vec::new();
        loop {
            match reader.next() {
                Ok(Some(record)) => records.push(record),
                Ok(None) => return (records, None),
                Err(RecordError::Line(message)) => return (records, Some(message)),
                Err(RecordError::Read(error)) => panic!("{error}"),
            }
        }
    }

    fn record(key: &[u8], value: &[u8]) -> Record {
        (key.to_vec(), value.to_vec())
    }

    #[test]
    fn a_value_is_everything_after_the_first_tab() {
        let (records, error) = read(b"a\t1\n\t\nb\t2\t3\r\nc\tend", LineFormat::Tsv, false);
        assert_eq!(error, None);
        let expected =
            [record(b"a", b"1"), record(b"", b""), record(b"b", b"2\t3\r"), record(b"c", b"end")];
        assert_eq!(records, expected);
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let (records, error) = read(b"a\t1\noops\nb\t2\n", LineFormat::Tsv, false);
        assert_eq!(records.len(), 1);
        assert_eq!(error.unwrap(), "line 2: \"oops\" has no tab; key<TAB>value is accepted");
        let (_, error) = read(b"0g\t00\n", LineFormat::Tsv, true);
        assert!(error.unwrap().starts_with("line 1: key \"0g\" is not hexadecimal"));
        let (_, error) = read(b"{\"key\": 1, \"value\": \"\"}", LineFormat::Jsonl, false);
        assert!(error.unwrap().starts_with("line 1: \"key\" is 1; a string or"));
        let (_, error) = read(b"{\"key\": \"k\"}", LineFormat::Jsonl, false);
        assert!(error.unwrap().contains("has no \"value\""));
    }

    #[test]
    fn json_lines_hold_text_and_bytes() {
        let text = b"{\"key\":\"k\",\"value\":{\"hex\":\"00ff\"}}\n";
        assert_eq!(read(text, LineFormat::Jsonl, false).0, [record(b"k", b"\x00\xFF")]);
    }
}
