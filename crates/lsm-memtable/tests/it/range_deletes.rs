//! Range deletes beside the entries that they cover.

use std::sync::Arc;

use lsm_entry::{Entry, MAX_SEQ_NO, SeqNo, Tag, key_hash};
use lsm_memtable::{Memtable, MemtableOptions};

fn memtable() -> Arc<Memtable> {
    Arc::new(Memtable::new(MemtableOptions::default()))
}

fn range_delete<'a>(lower: &'a [u8], upper: &'a [u8], seq_no: SeqNo) -> Entry<'a> {
    Entry { key: lower, seq_no, tag: Tag::RANGE_DELETE, value: upper }
}

fn insert(memtable: &Memtable, entry: Entry<'_>) {
    memtable.writer().insert(entry, key_hash(entry.key));
}

#[test]
fn a_range_delete_covers_what_came_before_it_within_its_bounds() {
    let memtable = memtable();
    assert!(memtable.range_deletes().is_none());
    insert(&memtable, Entry::put(b"b", 1, b"old"));
    insert(&memtable, range_delete(b"a", b"c", 2));
    insert(&memtable, range_delete(b"m", b"", 3));
    assert_eq!(memtable.cover(b"b", MAX_SEQ_NO), 2);
    assert_eq!(memtable.cover(b"b", 1), 0, "a reader before it");
    assert_eq!(memtable.cover(b"c", MAX_SEQ_NO), 0, "the upper bound is not covered");
    assert_eq!(memtable.cover(&[0xFF; 100], MAX_SEQ_NO), 3, "an empty upper bound is no end");
    assert_eq!((memtable.entries(), memtable.seq_no_range()), (3, Some((1, 3))));
}

#[test]
fn a_memtable_of_range_deletes_alone_is_not_empty() {
    let memtable = memtable();
    insert(&memtable, range_delete(b"a", b"c", 7));
    assert!(!memtable.is_empty());
    assert_eq!(memtable.seq_no_range(), Some((7, 7)));
    memtable.freeze();
    assert_eq!(memtable.cover(b"b", MAX_SEQ_NO), 7);
}

#[test]
fn a_batch_of_range_deletes_is_published_as_one() {
    let memtable = memtable();
    let mut writer = memtable.writer();
    writer.insert(range_delete(b"a", b"c", 1), key_hash(b"a"));
    writer.insert(Entry::put(b"b", 2, b""), key_hash(b"b"));
    writer.insert(range_delete(b"d", b"e", 3), key_hash(b"d"));
    assert_eq!(memtable.cover(b"d", MAX_SEQ_NO), 0, "the writer is still at it");
    drop(writer);
    let fragments = memtable.range_deletes().expect("there are some");
    let hides_all = |key: &[u8]| fragments.find(key).expect("covered").hides_all(MAX_SEQ_NO);
    assert!(!hides_all(b"b"), "a put of the same batch came after");
    assert!(hides_all(b"d"));
}

#[test]
fn a_memtable_takes_so_many_range_deletes_and_no_more() {
    let memtable = memtable();
    let mut seq_no = 0;
    while memtable.has_room(1, 8) {
        seq_no += 1;
        let (lower, upper) = (format!("{seq_no:04}"), format!("{:04}", seq_no + 1));
        insert(&memtable, range_delete(lower.as_bytes(), upper.as_bytes(), seq_no));
        assert!(seq_no <= 5000, "each of them costs as many pointers as there are");
    }
    assert!(seq_no >= 1000);
    assert!(memtable.allocated_bytes() > 1000 * 50, "they are accounted for");
}
