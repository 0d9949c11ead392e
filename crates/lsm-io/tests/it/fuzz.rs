//! Bytes from anywhere: what was encoded is read back, and nothing makes the reader panic.

use lsm_io::Identity;
use lsm_io::bytes::{ByteReader, put_slice, put_u64, put_varint};
use lsm_io::fuzz::fuzz_byte_reader;
use proptest::prelude::*;

use crate::rng::Rng;

proptest! {
    #[test]
    fn numbers_and_slices_are_read_back(
        items in prop::collection::vec((any::<u64>(), 0_u32..64, any::<Vec<u8>>()), 0..20),
    ) {
        let mut out = Vec::new();
        for (number, shift, slice) in &items {
            put_varint(&mut out, number >> shift);
            put_u64(&mut out, *number);
            put_slice(&mut out, slice);
        }
        let mut reader = ByteReader::new(&out);
        for (number, shift, slice) in &items {
            prop_assert_eq!(reader.varint(), Ok(number >> shift));
            prop_assert_eq!(reader.u64(), Ok(*number));
            prop_assert_eq!(reader.len_slice(), Ok(&slice[..]));
        }
        prop_assert!(reader.is_empty());
    }

    #[test]
    fn a_varint_that_is_accepted_is_the_one_that_would_be_written(
        bytes in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let mut reader = ByteReader::new(&bytes);
        if let Ok(number) = reader.varint() {
            let mut out = Vec::new();
            put_varint(&mut out, number);
            prop_assert_eq!(&bytes[..reader.offset()], &out[..]);
        }
    }
}

#[test]
fn no_input_makes_the_reader_panic() {
    const CORPUS: [&[u8]; 6] = [
        b"",
        b"\x07\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x04\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
        b"\x04\x80\x00",
        b"\x05abcde\x0dabcdefghijklm",
        b"\x03short",
    ];
    CORPUS.into_iter().for_each(fuzz_byte_reader);
    let mut rng = Rng::new(1);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..rng.below(64)).map(|_| rng.below(256) as u8).collect();
        fuzz_byte_reader(&bytes);
    }
}

#[test]
fn identities_have_a_fixed_form_and_a_salt_of_their_own() {
    let identity = Identity { database_id: 0x0102, file_number: 7 };
    let mut expected = [0; Identity::BYTES];
    (expected[0], expected[1], expected[16]) = (2, 1, 7);
    assert_eq!(identity.to_bytes(), expected);
    assert_eq!(Identity::from_bytes(&expected), identity);
    assert_eq!(Identity::default().salt(), 0);
    assert_ne!(identity.salt(), Identity { file_number: 8, ..identity }.salt());
}
