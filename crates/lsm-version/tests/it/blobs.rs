//! Blob files live and are counted by the tables that refer to them.

use lsm_version::{BlobRecord, Version, VersionEdit};

use crate::support::{add, place, referring, remove};

/// What of each blob file counts: its number, how many tables refer to it, and to how many bytes.
fn counted(version: &Version) -> Vec<(u64, u64, u64)> {
    let counted =
        |blob: &lsm_version::BlobUse| (blob.record.number, blob.tables, blob.live.value_bytes);
    version.blobs().map(counted).collect()
}

#[test]
fn a_blob_file_lives_as_long_as_a_table_refers_to_it() {
    let refer = |number, bounds, bytes| (place(1, 5), referring(number, bounds, bytes));
    let blob = BlobRecord { number: 9, values: 3, value_bytes: 100, ..BlobRecord::default() };
    let first = VersionEdit {
        blobs: vec![blob.into()],
        ..add(&[refer(1, ["a", "b"], 60), refer(2, ["c", "d"], 30)])
    };
    let version = Version::empty().apply(&first).expect("fits");
    assert_eq!(counted(&version), [(9, 2, 90)]);
    let version = version.apply(&remove(&[(place(1, 5), 1)])).expect("fits");
    assert_eq!(counted(&version), [(9, 1, 30)]);
    // Another table takes the place of the last one, in one edit.
    let replaced =
        VersionEdit { removed: vec![(place(1, 5), 2)], ..add(&[refer(3, ["c", "c"], 20)]) };
    let version = version.apply(&replaced).expect("fits");
    assert_eq!(counted(&version), [(9, 1, 20)]);
    assert_eq!(version.blob(9).map(lsm_version::BlobUse::garbage_bytes), Some(80));
    assert_eq!(version.as_edit().blobs.len(), 1);
    let version = version.apply(&remove(&[(place(1, 5), 3)])).expect("fits");
    assert_eq!(counted(&version), []);
}
