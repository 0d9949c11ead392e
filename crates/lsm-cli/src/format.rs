//! Keys and values as people type and read them: as text, as hexadecimal digits, in JSON.

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use serde_json::{Value, json};

use crate::exit::Failure;

/// How a command shows its results, and how it takes keys and values.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct Format {
    /// Print JSON: one object a line, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) bytes: BytesFormat,
}

/// How bytes are typed and printed.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct BytesFormat {
    /// Keys and values, given and printed, are hexadecimal
    #[arg(long)]
    pub(crate) hex: bool,
}

impl BytesFormat {
    /// The bytes that were typed as an argument; `what` names it in the message.
    pub(crate) fn parse_argument(self, what: &str, argument: &OsStr) -> Result<Vec<u8>, Failure> {
        self.parse(argument.as_bytes()).map_err(|reason| Failure::usage(format!("{what} {reason}")))
    }

    /// The bytes that `typed` stands for, or what is wrong with it.
    pub(crate) fn parse(self, typed: &[u8]) -> Result<Vec<u8>, String> {
        if self.hex { parse_hex(typed) } else { Ok(typed.to_vec()) }
    }

    /// Bytes as they are printed for people.
    pub(crate) fn show(self, bytes: &[u8]) -> Shown<'_> {
        Shown { bytes, hex: self.hex }
    }

    /// Bytes as a JSON value.
    pub(crate) fn json(self, bytes: &[u8]) -> Value {
        match std::str::from_utf8(bytes) {
            Ok(text) if !self.hex => json!(text),
            _ => json!({ "hex": Hex(bytes).to_string() }),
        }
    }

    /// Writes what [`json`](Self::json) makes without making it: for results of any number.
    pub(crate) fn write_json(self, out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !self.hex => Ok(serde_json::to_writer(out, text)?),
            _ => write!(out, "{{\"hex\":\"{}\"}}", Hex(bytes)),
        }
    }
}

/// The bytes that a JSON value stands for: the inverse of [`BytesFormat::json`].
pub(crate) fn parse_json(value: &Value) -> Result<Vec<u8>, String> {
    let expected = || format!("is {value}; a string or {{\"hex\": \"00ff\"}} is accepted");
    match value {
        Value::String(text) => Ok(text.clone().into_bytes()),
        Value::Object(fields) if fields.len() == 1 => match fields.get("hex") {
            Some(Value::String(digits)) => parse_hex(digits.as_bytes()),
            _ => Err(expected()),
        },
        _ => Err(expected()),
    }
}

fn parse_hex(digits: &[u8]) -> Result<Vec<u8>, String> {
    let wrong = || {
        let shown = Shown { bytes: digits.get(..64).unwrap_or(digits), hex: false };
        format!("\"{shown}\" is not hexadecimal: an even number of the digits 0-9 a-f is accepted")
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, []) = digits.as_chunks::<2>() else { return Err(wrong()) };
    let byte = |&[high, low]: &[u8; 2]| Some((digit(high)? << 4 | digit(low)?) as u8);
    pairs.iter().map(byte).collect::<Option<_>>().ok_or_else(wrong)
}

/// Bytes as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes as they are printed for people: unambiguous, and harmless to a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    bytes: &'a [u8],
    hex: bool,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.hex {
            return Hex(self.bytes).fmt(f);
        }
        for chunk in self.bytes.utf8_chunks() {
            let mut has_base = false;
            for c in chunk.valid().chars() {
                let is_shown = is_printable(c, has_base);
                match c {
                    '\\' => f.write_str("\\\\")?,
                    c if is_shown => f.write_char(c)?,
                    c => escape(f, c.encode_utf8(&mut [0; 4]).as_bytes())?,
                }
                has_base = is_shown;
            }
            escape(f, chunk.invalid())?;
        }
        Ok(())
    }
}

fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

/// Whether a character is shown as it is. `has_base`: there is one before it that is, to which a
/// combining mark can attach itself.
fn is_printable(c: char, has_base: bool) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // The standard library knows which characters are visible, but tells it only by escaping; and
    // of combining marks it escapes those with which a string begins.
    let mut text = String::from(if has_base { "a" } else { "" });
    text.push(c);
    text.escape_debug().eq(text.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_shown(bytes: &[u8], expected: &str) {
        assert_eq!(BytesFormat { hex: false }.show(bytes).to_string(), expected);
    }

    #[test]
    fn text_is_shown_as_it_is() {
        check_shown(b"user:1 \"Ada\"", "user:1 \"Ada\"");
        check_shown("π Ж 語 e\u{301}".as_bytes(), "π Ж 語 e\u{301}");
    }

    #[test]
    fn what_is_no_printable_text_is_escaped_byte_by_byte() {
        check_shown(b"a\tb\nc\\d\x00\xFF", "a\\x09b\\x0ac\\\\d\\x00\\xff");
        check_shown("\u{202E}".as_bytes(), "\\xe2\\x80\\xae");
        check_shown("\u{301}".as_bytes(), "\\xcc\\x81");
        check_shown("\u{1B}[31m".as_bytes(), "\\x1b[31m");
    }

    #[test]
    fn hexadecimal_digits_are_read_in_pairs() {
        let hex = BytesFormat { hex: true };
        assert_eq!(hex.parse(b"00fF10"), Ok(vec![0, 0xFF, 0x10]));
        assert_eq!(hex.parse(b""), Ok(vec![]));
        assert_eq!(hex.show(&[0, 0xFF]).to_string(), "00ff");
        let message = hex.parse(b"0g").unwrap_err();
        assert!(message.starts_with("\"0g\" is not hexadecimal"), "{message}");
        assert!(hex.parse(b"abc").is_err());
    }

    #[test]
    fn any_bytes_come_back_from_json() {
        for bytes in [&b""[..], b"text \"quoted\"\n", b"\x00\xFF\xFE", "é".as_bytes()] {
            for format in [BytesFormat { hex: false }, BytesFormat { hex: true }] {
                let mut line = Vec::new();
                format.write_json(&mut line, bytes).unwrap();
                let value: Value = serde_json::from_slice(&line).unwrap();
                assert_eq!(value, format.json(bytes));
                assert_eq!(parse_json(&value), Ok(bytes.to_vec()));
            }
        }
    }
}
