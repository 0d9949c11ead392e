//! What the files of a database are called.

/// The kinds of files in a database's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// `NNNNNN.log`: a segment of the log.
    Log,
    /// `NNNNNN.sst`: a table.
    Table,
    /// `NNNNNN.blob`: large values.
    Blob,
    /// `NNNNNN.manifest`: edits.
    Manifest,
    /// `CURRENT`: the manifest's name.
    Current,
    /// `LOCK`: held by the process that writes.
    Lock,
    /// `RESERVE`: space kept for when the disk is full.
    Reserve,
    /// `*.tmp`: something unfinished.
    Temp,
    /// Not a file of a database.
    Other,
}

/// The name of a file; `number` matters only to numbered kinds.
pub fn file_name(kind: FileKind, number: u64) -> String {
    match kind {
        FileKind::Log => format!("{number:06}.log"),
        FileKind::Table => format!("{number:06}.sst"),
        FileKind::Blob => format!("{number:06}.blob"),
        FileKind::Manifest => format!("{number:06}.manifest"),
        FileKind::Current => "CURRENT".into(),
        FileKind::Lock => "LOCK".into(),
        FileKind::Reserve => "RESERVE".into(),
        FileKind::Temp => format!("{number:06}.tmp"),
        FileKind::Other => String::new(),
    }
}

/// The kind and number that a name tells; 0 where the kind has no number.
pub fn parse_file_name(name: &str) -> (FileKind, u64) {
    match name {
        "CURRENT" => return (FileKind::Current, 0),
        "LOCK" => return (FileKind::Lock, 0),
        "RESERVE" => return (FileKind::Reserve, 0),
        _ => {}
    }
    let Some((stem, extension)) = name.rsplit_once('.') else { return (FileKind::Other, 0) };
    if extension == "tmp" {
        return (FileKind::Temp, stem.parse().unwrap_or(0));
    }
    let kind = match extension {
        "log" => FileKind::Log,
        "sst" => FileKind::Table,
        "blob" => FileKind::Blob,
        "manifest" => FileKind::Manifest,
        _ => return (FileKind::Other, 0),
    };
    // Only the one spelling that `file_name` writes: no sign, no missing zeros.
    match stem.parse() {
        Ok(number) if file_name(kind, number) == name => (kind, number),
        _ => (FileKind::Other, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for kind in [FileKind::Log, FileKind::Table, FileKind::Blob, FileKind::Manifest] {
            for number in [0, 7, 999_999, 1_000_000, u64::MAX] {
                assert_eq!(parse_file_name(&file_name(kind, number)), (kind, number));
            }
        }
        assert_eq!(parse_file_name("CURRENT"), (FileKind::Current, 0));
        assert_eq!(parse_file_name("CURRENT.tmp"), (FileKind::Temp, 0));
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in
            ["", "a", "7.log", "+00007.log", "000007.LOG", "000007.sst.bak", ".sst", "-1.sst"]
        {
            assert_eq!(parse_file_name(name).0, FileKind::Other, "{name}");
        }
    }
}
