//! The counts that the code had when somebody last agreed to them, with the conditions under which
//! they were made, in a file that a person can read and a change can show.

use crate::instructions::conditions::Conditions;
use crate::{Result, workspace};

/// Where the record lies.
const PATH: &str = "benches/instructions/counts.txt";

/// How many instructions an operation takes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Count {
    pub(crate) name: String,
    pub(crate) instructions: f64,
}

/// What is on record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) conditions: Conditions,
    pub(crate) counts: Vec<Count>,
}

impl Record {
    /// Reads it; nothing is on record where there is no file.
    pub(crate) fn read() -> Result<Self> {
        let path = workspace::root().join(PATH);
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("could not read {}: {error}", path.display()).into()),
        }
    }

    /// Replaces the file; where it lies.
    pub(crate) fn write(&self) -> Result<&'static str> {
        std::fs::write(workspace::root().join(PATH), self.text())
            .map_err(|error| format!("could not write {PATH}: {error}"))?;
        Ok(PATH)
    }

    /// The instructions that `name` is known to take.
    pub(crate) fn count_of(&self, name: &str) -> Option<f64> {
        self.counts.iter().find(|count| count.name == name).map(|count| count.instructions)
    }

    /// Conditions are `name: value`, counts `name instructions`.
    fn parse(text: &str) -> Result<Self> {
        let mut record = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            if let Some((name, value)) = line.split_once(": ") {
                record.conditions.0.insert(name.to_owned(), value.trim().to_owned());
                continue;
            }
            let mut words = line.split_whitespace();
            let count = words.next().zip(words.next().and_then(|word| word.parse::<f64>().ok()));
            match count {
                Some((name, instructions)) if instructions > 0.0 => {
                    record.counts.push(Count { name: name.to_owned(), instructions });
                }
                _ => return Err(format!("{PATH}: `{line}` is no count").into()),
            }
        }
        Ok(record)
    }

    fn text(&self) -> String {
        let mut text =
            "# Instructions an operation takes; `cargo xtask instructions --update` writes this.\n\n"
                .to_owned();
        for (name, value) in &self.conditions.0 {
            text += &format!("{name}: {value}\n");
        }
        text.push('\n');
        for count in &self.counts {
            text += &format!("{:<20}{:>10.1}\n", count.name, count.instructions);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let text = "compiler: rustc 1.95.0\ntarget: here\n\nget-table 1681.3\nput 4423.7\n";
        let record = Record::parse(text).unwrap();
        assert_eq!(record.count_of("put"), Some(4423.7));
        assert_eq!(record.conditions.0["compiler"], "rustc 1.95.0");
        assert_eq!(Record::parse(&record.text()).unwrap(), record);
    }

    #[test]
    fn a_line_that_is_no_count_is_shown() {
        let error = Record::parse("put many\n").unwrap_err();
        assert_eq!(error.to_string(), format!("{PATH}: `put many` is no count"));
        assert!(Record::parse("put 0\n").is_err(), "nothing could be compared with it");
    }
}
