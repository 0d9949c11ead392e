//! What a fuzzer may feed: arbitrary bytes in, no panic out.

use crate::bytes::ByteReader;

/// Reads arbitrary bytes as arbitrary numbers and slices: the first byte of each step chooses which.
/// Panics only if the reader loses count.
pub fn fuzz_byte_reader(data: &[u8]) {
    let mut reader = ByteReader::new(data);
    while let Ok(choice) = reader.u8() {
        let read = match choice % 8 {
            0 => reader.u16().map(u64::from),
            1 => reader.u32().map(u64::from),
            2 => reader.u64(),
            3 => reader.u128().map(|number| number as u64),
            4 => reader.varint(),
            5 => reader.slice(usize::from(choice)).map(|slice| slice.len() as u64),
            6 => reader.array::<3>().map(|array| u64::from(array[0])),
            _ => reader.len_slice().map(|slice| slice.len() as u64),
        };
        if let Err(malformed) = read {
            assert!(malformed.offset <= data.len());
        }
        assert_eq!(reader.offset() + reader.remaining(), data.len());
        assert_eq!(reader.rest(), &data[reader.offset()..]);
    }
    assert!(reader.is_empty());
}
