//! The page about options is what the options say of themselves.

use std::fmt::Write as _;

use expect_test::expect_file;
use lsm_engine::{KeyspaceOptions, OptionRow, Options};

const OPENING: &str = "\
# Options

Every option, its default, and what it does. The page is written by a test from the doc comments of
`Options` and `KeyspaceOptions` (`UPDATE_EXPECT=1 cargo test -p lsm-engine --all-features --test it
-- options`); `lsm options --db DIR` prints the same with the values of a database, and names what looks
unwise among them, as `Options::lint()` does.

A byte count that is *derived* follows from other options. The default of `memory_bytes` is that of a
machine with 2 GiB or more; where memory is shorter, see [memory](memory.md).
";

fn write_rows(page: &mut String, title: &str, rows: &[OptionRow]) {
    write!(page, "\n## {title}\n\n| option | default | does |\n|---|---|---|\n")
        .expect("text grows");
    for row in rows {
        let default = row.value.replace('|', "\\\\|");
        writeln!(page, "| `{}` | {default} | {} |", row.name, row.does).expect("text grows");
    }
}

#[test]
fn the_page_lists_every_option() {
    // The one default that differs between machines.
    let options = Options { memory_bytes: 512 << 20, ..Options::default() };
    let mut page = OPENING.to_owned();
    write_rows(&mut page, "Of a database", &options.rows());
    write_rows(&mut page, "Of a keyspace", &KeyspaceOptions::default().rows());
    expect_file!["../../../../docs/operations/options.md"].assert_eq(&page);
}
