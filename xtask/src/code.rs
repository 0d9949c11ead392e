//! Rust source with comments and literals blanked out, so that a rule about code does not trip over
//! a sentence about code.

/// `source` with every comment, string and character literal replaced by spaces. Line breaks stay,
/// so lines keep their numbers.
pub(crate) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let skipped = length_of_non_code(bytes, at);
        if skipped == 0 {
            code.push(bytes[at]);
            at += 1;
        } else {
            let end = (at + skipped).min(bytes.len());
            code.extend(bytes[at..end].iter().map(|&b| if b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    String::from_utf8_lossy(&code).into_owned()
}

/// The lines of `source` that are code for users: without comments and literals, and without what
/// follows the `#[cfg(test)]` that opens the tests at the end of a file. Numbered from one.
pub(crate) fn shipped_lines(source: &str) -> Vec<(usize, String)> {
    let code = code_only(source);
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut after_test_attribute = false;
    for (index, line) in code.lines().enumerate() {
        let trimmed = line.trim_start();
        let opens_module = trimmed.starts_with("mod ") || trimmed.starts_with("pub(crate) mod ");
        if after_test_attribute && opens_module && trimmed.contains('{') {
            break;
        }
        if !trimmed.is_empty() {
            // Further attributes may stand between `#[cfg(test)]` and the module.
            let attribute = trimmed.starts_with("#[");
            after_test_attribute =
                trimmed.starts_with("#[cfg(test)]") || (after_test_attribute && attribute);
        }
        lines.push((index + 1, line.to_owned()));
    }
    lines
}

/// How many bytes from `at` belong to a comment or literal that begins there; 0 if none does.
fn length_of_non_code(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => string(rest),
        [b'r', b'"' | b'#', ..] if !continues_a_name(bytes, at) => raw_string(rest),
        [b'\'', ..] => character(rest),
        _ => 0,
    }
}

fn continues_a_name(bytes: &[u8], at: usize) -> bool {
    // In `br"..."` the `b` before is part of the literal, not of a name.
    let before = match &bytes[..at] {
        [head @ .., b'b' | b'c'] => head,
        head => head,
    };
    before.last().is_some_and(|&b| b.is_ascii_alphanumeric() || b == b'_')
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&b| b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0; // A raw identifier, `r#type`.
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    let body = 2 + hashes;
    let found = rest[body..].windows(end.len()).position(|window| window == end);
    found.map_or(rest.len(), |position| body + position + end.len())
}

fn character(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', _, ..] => {
            let close = rest[3..].iter().position(|&b| b == b'\'');
            close.map_or(0, |position| position + 4)
        }
        [_, first, ..] => {
            // A literal closes right after one character; a lifetime does not close.
            let width = match first {
                0xF0.. => 4,
                0xE0.. => 3,
                0xC0.. => 2,
                _ => 1,
            };
            if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_code(source: &str, expected: &str) {
        let code = code_only(source);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected);
        assert_eq!(code.lines().count(), source.lines().count(), "lines keep their numbers");
    }

    #[test]
    fn comments_and_literals_are_blanked() {
        check_code("a // b\nc /* d /* e */ f */ g", "a c g");
        check_code(r#"x("// \" no", 1)"#, "x( , 1)");
        check_code(r##"y(r#"a "quoted" b"#, br"c")"##, "y( , b )");
        check_code(r"let c = '\''; let d = '/'; let e = 'ß';", "let c = ; let d = ; let e = ;");
    }

    #[test]
    fn lifetimes_and_raw_names_are_code() {
        check_code("fn f<'a>(x: &'a str, r#type: u8)", "fn f<'a>(x: &'a str, r#type: u8)");
    }

    #[test]
    fn what_never_ends_is_blanked_to_the_end() {
        check_code("a /* b", "a");
        check_code("a \"b", "a");
        check_code("a r#\"b", "a");
    }

    #[test]
    fn the_tests_at_the_end_of_a_file_are_not_shipped() {
        let source =
            "use a;\n#[cfg(test)]\nfn helper() {}\n\n#[cfg(test)]\nmod tests {\n use b;\n}";
        let shipped = shipped_lines(source);
        assert!(shipped.iter().any(|(_, line)| line.contains("helper")));
        assert!(!shipped.iter().any(|(_, line)| line.contains("use b")));
        assert_eq!(shipped[0], (1, "use a;".to_owned()));
    }
}
