//! What a blob file promises: what was written is read back, and whatever else is there is an error.

use std::path::Path;

use lsm_blob::{BlobFile, BlobSummary, BlobWriter, ReadMode};
use lsm_io::{Fs, Identity, OpenMode, Result, SharedFile, SimFs};

const IDENTITY: Identity = Identity { database_id: 0x11, file_number: 7 };
const MODES: [ReadMode; 2] = [ReadMode::Mapped, ReadMode::Read];

fn values() -> Vec<Vec<u8>> {
    [0_usize, 1, 5, 300].iter().map(|&bytes| (0..bytes).map(|n| n as u8).collect()).collect()
}

/// A file of the values, and where they are.
fn written(fs: &SimFs, values: &[Vec<u8>]) -> (SharedFile, BlobSummary, Vec<u64>) {
    let file = fs.open(Path::new("000007.blob"), OpenMode::CreateNew).expect("created");
    let mut writer = BlobWriter::new(SharedFile::clone(&file), IDENTITY);
    let places = values.iter().map(|value| writer.add(value).expect("added")).collect();
    (file, writer.finish().expect("finished"), places)
}

fn file_of(bytes: &[u8]) -> SharedFile {
    let file = SimFs::new(0).open(Path::new("000007.blob"), OpenMode::CreateNew).expect("created");
    file.write_at(0, bytes).expect("written");
    file
}

fn bytes_of(file: &SharedFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len().expect("length") as usize];
    file.read_at(0, &mut bytes).expect("read");
    bytes
}

/// Every value as a reader in `mode` finds it, and that every byte of the file is right.
fn read_all(
    file: &SharedFile,
    mode: ReadMode,
    summary: BlobSummary,
    places: &[u64],
    values: &[Vec<u8>],
) -> Result<Vec<Vec<u8>>> {
    let file = BlobFile::open(SharedFile::clone(file), IDENTITY, summary.bytes, mode)?;
    let verified = file.verify()?;
    assert_eq!(verified.checksum, summary.checksum);
    assert_eq!((verified.values, verified.value_bytes), (summary.values, summary.value_bytes));
    let places = places.iter().zip(values);
    places.map(|(at, value)| Ok(file.get(*at, value.len() as u32)?.to_vec())).collect()
}

#[test]
fn what_was_written_is_read_back() {
    let (file, summary, places) = written(&SimFs::new(0), &values());
    for mode in MODES {
        assert_eq!(read_all(&file, mode, summary, &places, &values()).expect("read"), values());
    }
    assert_eq!(summary.value_bytes, 306);
}

#[test]
fn a_file_is_laid_out_as_the_format_page_says() {
    let (file, summary, places) = written(&SimFs::new(0), &[b"large".to_vec()]);
    let bytes = bytes_of(&file);
    assert_eq!(places, [0]);
    assert_eq!(summary.bytes, 97);
    assert_eq!(bytes[..9], *b"\x05\0\0\0large");
    assert_eq!(bytes[17..29], *b"LSMBLOBS\x01\0\0\0");
    let page = include_str!("../../../../docs/formats/blob.md");
    let rows = bytes.chunks(16).enumerate().map(|(number, row)| {
        let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}  {}\n", number * 16, hex.join(" "))
    });
    let rows: String = rows.collect();
    assert!(page.contains(&rows), "the page does not show these bytes:\n{rows}");
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (file, summary, places) = written(&SimFs::new(0), &values());
    let whole = bytes_of(&file);
    let check = |bytes: &[u8], what: &str| {
        for mode in MODES {
            let read = read_all(&file_of(bytes), mode, summary, &places, &values());
            assert!(read.is_err_and(|error| error.is_corrupt()), "{what}");
        }
    };
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        check(&damaged, &format!("bit {bit}"));
    }
    for cut in 0..whole.len() {
        check(&whole[..cut], &format!("cut at {cut}"));
    }
}

#[test]
fn damage_to_one_value_leaves_the_others_readable() {
    let (file, summary, places) = written(&SimFs::new(0), &values());
    let mut damaged = bytes_of(&file);
    damaged[places[2] as usize + 4] ^= 1;
    for mode in MODES {
        let file = BlobFile::open(file_of(&damaged), IDENTITY, summary.bytes, mode).expect("opens");
        let error = file.get(places[2], 5).expect_err("damaged");
        let place = places[2];
        assert_eq!(
            error.to_string(),
            format!("000007.blob at byte {place}: value checksum does not match")
        );
        assert_eq!(file.get(places[3], 300).expect("whole")[..], values()[3]);
    }
    let cut = file_of(&damaged[..damaged.len() - 10]);
    let file = BlobFile::open_damaged(cut, IDENTITY).expect("opens");
    assert_eq!(file.get(places[3], 300).expect("whole")[..], values()[3]);
}

#[test]
fn a_place_of_another_file_holds_nothing_here() {
    let (file, summary, places) = written(&SimFs::new(0), &values());
    let open = |identity| {
        BlobFile::open(SharedFile::clone(&file), identity, summary.bytes, ReadMode::Read)
    };
    let other = Identity { file_number: 8, ..IDENTITY };
    assert!(open(other).expect_err("refused").to_string().contains("another blob file"));
    let file = open(IDENTITY).expect("opens");
    for (offset, bytes) in [(places[3], 299), (places[3] + 1, 299), (1 << 40, 1), (u64::MAX, 1)] {
        assert!(
            file.get(offset, bytes).is_err_and(|error| error.is_corrupt()),
            "{offset}, {bytes}"
        );
    }
}

#[test]
fn arbitrary_bytes_are_survived() {
    let (file, ..) = written(&SimFs::new(0), &values());
    let whole = bytes_of(&file);
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] = damaged[at].wrapping_add(0x7F);
        lsm_blob::fuzz::fuzz_blob(&damaged);
        lsm_blob::fuzz::fuzz_sealed_blob(&damaged);
    }
}
