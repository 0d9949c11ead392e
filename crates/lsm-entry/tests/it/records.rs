//! Batches, encoded and read back.

use lsm_entry::{
    KEYSPACE_SELECTOR, MAX_KEY_BYTES, Malformed, RECORD_HEADER_BYTES, Record, Records, Tag,
    encode_entry, encode_keyspace,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// What a test puts into a batch.
#[derive(Clone, Debug)]
enum Item {
    Keyspace(u32),
    Entry(Tag, Vec<u8>, Vec<u8>),
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let tags = prop::sample::select(vec![
        Tag::PUT,
        Tag::DELETE,
        Tag::MERGE,
        Tag::RANGE_DELETE,
        Tag::PUT.with_blob(),
    ]);
    let entry = (tags, vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..200))
        .prop_map(|(tag, key, value)| Item::Entry(tag, key, value));
    let expiring = (vec(any::<u8>(), 0..40), vec(any::<u8>(), 8..20))
        .prop_map(|(key, value)| Item::Entry(Tag::PUT.with_expiry(), key, value));
    vec(prop_oneof![any::<u32>().prop_map(Item::Keyspace), entry, expiring], 0..20)
}

fn encoded(items: &[Item]) -> Vec<u8> {
    let mut payload = Vec::new();
    for item in items {
        match item {
            Item::Keyspace(id) => encode_keyspace(&mut payload, *id),
            Item::Entry(tag, key, value) => encode_entry(&mut payload, *tag, key, value),
        }
    }
    payload
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_read_back(items in items()) {
        let payload = encoded(&items);
        let expected = items.iter().map(|item| Ok(match item {
            Item::Keyspace(id) => Record::Keyspace(*id),
            Item::Entry(tag, key, value) => Record::Entry { tag: *tag, key, value },
        }));
        prop_assert!(Records::new(&payload).eq(expected));
    }

    #[test]
    fn a_cut_payload_yields_what_is_whole_and_then_one_error(items in items(), cut in any::<prop::sample::Index>()) {
        let payload = encoded(&items);
        let cut = cut.index(payload.len() + 1);
        let records: Vec<_> = Records::new(&payload[..cut]).collect();
        let whole = records.iter().take_while(|record| record.is_ok()).count();
        prop_assert!(records.len() - whole <= 1, "nothing follows an error");
        prop_assert_eq!(encoded(&items[..whole]).len() == cut, whole == records.len());
    }
}

#[track_caller]
fn check_refused(kind: u8, key: &[u8], value: &[u8], reason: &str) {
    let mut payload = Vec::new();
    encode_entry(&mut payload, Tag::PUT, b"key", b"value");
    let offset = payload.len();
    encode_entry(&mut payload, Tag::PUT, key, value);
    payload[offset + RECORD_HEADER_BYTES - 1] = kind;
    let Malformed { offset: at, reason: why } = Records::new(&payload)
        .find_map(Result::err)
        .unwrap_or_else(|| panic!("a record of type {kind:#x} was accepted"));
    assert_eq!((at, why), (offset, reason));
}

#[test]
fn a_record_that_says_nonsense_is_refused_with_its_place() {
    check_refused(0x05, b"k", b"", "unknown record type");
    check_refused(0x3E, b"k", b"", "unknown record type");
    check_refused(0x7F, b"k", b"12345678", "unknown record type");
    check_refused(KEYSPACE_SELECTOR, b"12345", b"", "a keyspace selector has another shape");
    check_refused(KEYSPACE_SELECTOR, b"1234", b"v", "a keyspace selector has another shape");
    let expiring = Tag::PUT.with_expiry().as_byte();
    check_refused(expiring, b"k", b"1234567", "a value is too short for its expiry time");
    let key = vec![b'k'; MAX_KEY_BYTES + 1];
    check_refused(1, &key, b"", "a key is longer than any may be");
}

#[test]
fn an_error_names_the_byte_at_which_the_record_begins() {
    let error = Records::new(b"\0\0\0\0\0\0\0\0\x05").find_map(Result::err).expect("refused");
    assert_eq!(error.to_string(), "unknown record type at byte 0 of the payload");
}
