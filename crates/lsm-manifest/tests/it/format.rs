//! The bytes are those of docs/formats/manifest.md.

use expect_test::expect;

use crate::{create, disk, start};

#[test]
fn the_example_of_the_format_page_is_what_is_written() {
    let fs = disk(0);
    let mut manifest = start(&fs.shared()).expect("starts");
    manifest.append(create(0, "users")).expect("appends");
    manifest.close().expect("closes");
    let bytes = fs.read_file("db/000001.manifest");
    let lines = bytes.chunks(16).enumerate().map(|(line, chunk)| {
        let hex: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}  {}\n", line * 16, hex.join(" "))
    });
    expect![[r#"
        0000  c2 57 e8 20 34 00 00 00 04 00 00 00 00 00 00 00
        0010  00 00 00 00 00 00 00 00 6c 73 6d 66 72 61 6d 65
        0020  01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
        0030  00 00 00 00 db 00 00 00 00 00 00 00 00 00 00 00
        0040  00 00 00 00 01 00 00 00 00 00 00 00 f5 fc b1 64
        0050  18 00 00 00 40 00 00 00 00 00 00 00 00 00 00 00
        0060  01 00 00 00 06 01 00 0c 01 01 07 01 01 08 01 00
        0070  09 01 00 0a 01 00 0b 01 00 81 01 00 fd 15 a5 34
        0080  20 00 00 00 41 00 00 00 01 00 00 00 00 00 00 00
        0090  01 00 00 00 01 1e 00 05 75 73 65 72 73 15 63 6f
        00a0  6d 70 61 63 74 69 6f 6e 3a 20 6c 65 76 65 6c 65
        00b0  64 28 29 00
    "#]]
    .assert_eq(&lines.collect::<String>());
    let current = String::from_utf8(fs.read_file("db/CURRENT")).expect("text");
    expect![[r#"
        lsm 1
        manifest 000001.manifest
        closed 180
        crc32 ff517db0
    "#]]
    .assert_eq(&current);
}
