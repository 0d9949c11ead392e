//! Compressing a block, and bringing it back with a bound on what it may become.

use lsm_io::{Malformed, bytes::put_u32};

use crate::{Compression, block::BlockLayout};

/// How one block is stored. A table says in its features which of these occur in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Method {
    Plain = 0,
    Lz4 = 1,
    Zstd = 2,
}

impl Method {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Plain),
            1 => Some(Self::Lz4),
            2 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The word for it in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Values above this are stored as they are: decoding one would cost its whole length in memory
/// for each reader, and so compressed blocks stay below [`DECODED_BYTES_MAX`].
pub(crate) const COMPRESSED_VALUE_BYTES_MAX: usize = 1 << 20;
/// What any table's blocks may decode to.
const DECODED_BYTES_MAX: u64 = 4 << 20;
/// What a block may hold besides the largest entry of its table.
const DECODED_BYTES_BESIDE_ENTRY: u64 = 64 << 10;
/// A block that decodes to more than [`DECODED_BYTES_FREE`] grows by no more than this factor.
const RATIO_MAX: u64 = 256;
const DECODED_BYTES_FREE: u64 = 64 << 10;

/// Whether a block stored in `stored_bytes` may say that it decodes to `decoded_bytes`; asked
/// before memory is set aside for it.
fn is_allowed(stored_bytes: u64, decoded_bytes: u64, largest_entry_bytes: u64) -> bool {
    let bound = largest_entry_bytes.saturating_add(DECODED_BYTES_BESIDE_ENTRY);
    decoded_bytes <= DECODED_BYTES_MAX.max(bound)
        && decoded_bytes <= DECODED_BYTES_FREE.max(stored_bytes.saturating_mul(RATIO_MAX))
}

/// Compresses blocks for one table.
pub(crate) struct Compressor {
    method: Method,
    #[cfg(feature = "zstd")]
    zstd: Option<zstd::bulk::Compressor<'static>>,
    out: Vec<u8>,
}

impl Compressor {
    /// `None` where nothing is to be compressed.
    pub(crate) fn new(compression: Compression) -> Option<Self> {
        match compression {
            Compression::None => None,
            Compression::Lz4 => Some(Self {
                method: Method::Lz4,
                #[cfg(feature = "zstd")]
                zstd: None,
                out: Vec::new(),
            }),
            #[cfg(feature = "zstd")]
            Compression::Zstd(level) => {
                let range = zstd::compression_level_range();
                let level = level.clamp(*range.start(), *range.end());
                // Without memory for its tables, blocks are stored as they are.
                let compressor = zstd::bulk::Compressor::new(level).ok()?;
                Some(Self { method: Method::Zstd, zstd: Some(compressor), out: Vec::new() })
            }
        }
    }

    /// The stored form of a block whose body (all but the digests) this is: the body's length,
    /// then the compressed body. `None` if that saves less than an eighth of `plain_bytes`.
    pub(crate) fn compress(&mut self, body: &[u8], plain_bytes: usize) -> Option<(Method, &[u8])> {
        self.out.clear();
        put_u32(&mut self.out, u32::try_from(body.len()).ok()?);
        match self.method {
            Method::Plain => return None,
            Method::Lz4 => {
                let start = self.out.len();
                let bound = lz4_flex::block::get_maximum_output_size(body.len());
                self.out.resize(start + bound, 0);
                let written = lz4_flex::block::compress_into(body, &mut self.out[start..]).ok()?;
                self.out.truncate(start + written);
            }
            #[cfg(feature = "zstd")]
            Method::Zstd => {
                let compressed = self.zstd.as_mut()?.compress(body).ok()?;
                self.out.extend_from_slice(&compressed);
            }
            #[cfg(not(feature = "zstd"))]
            Method::Zstd => return None,
        }
        let is_worth_it = self.out.len() + plain_bytes / 8 <= plain_bytes;
        let fits = is_allowed(self.out.len() as u64, body.len() as u64, 0);
        (is_worth_it && fits).then_some((self.method, self.out.as_slice()))
    }
}

/// Brings a compressed block back, digests and all, its entries checked. It takes over `memory`,
/// whatever that holds, and gets `tail_bytes` of it for the digests at once.
pub(crate) fn decompress(
    method: Method,
    stored: &[u8],
    largest_entry_bytes: u64,
    memory: Vec<u8>,
    tail_bytes: usize,
) -> Result<(Vec<u8>, BlockLayout), Malformed> {
    let malformed = |offset, reason| Malformed { offset, reason };
    let Some((length, compressed)) = stored.split_first_chunk::<4>() else {
        return Err(malformed(0, "compressed block ends inside its length"));
    };
    let body_bytes = u32::from_le_bytes(*length);
    if !is_allowed(stored.len() as u64, u64::from(body_bytes), largest_entry_bytes) {
        return Err(malformed(0, "compressed block claims to decode to more than is allowed"));
    }
    let mut bytes = memory;
    bytes.reserve_exact((body_bytes as usize + tail_bytes).saturating_sub(bytes.len()));
    bytes.resize(body_bytes as usize, 0);
    let decoded = match method {
        Method::Plain => return Err(malformed(0, "plain block is not compressed")),
        Method::Lz4 => lz4_flex::block::decompress_into(compressed, &mut bytes).ok(),
        Method::Zstd => decompress_zstd(compressed, &mut bytes),
    };
    if decoded != Some(bytes.len()) {
        return Err(malformed(4, "compressed block does not decode"));
    }
    let layout = BlockLayout::complete(&mut bytes)?;
    Ok((bytes, layout))
}

/// Fills `out`; gives how much was written, or `None` if the input is no such stream.
#[cfg(feature = "zstd")]
fn decompress_zstd(compressed: &[u8], out: &mut [u8]) -> Option<usize> {
    use std::cell::RefCell;
    thread_local! {
        // A decoder's tables take a tenth of a megabyte: made once for each thread that reads.
        static DECODER: RefCell<Option<zstd::bulk::Decompressor<'static>>> =
            const { RefCell::new(None) };
    }
    DECODER.with_borrow_mut(|decoder| {
        if decoder.is_none() {
            *decoder = zstd::bulk::Decompressor::new().ok();
        }
        decoder.as_mut()?.decompress_to_buffer(compressed, out).ok()
    })
}

/// A build without zstd refuses such tables when they are opened, so this is not reached.
#[cfg(not(feature = "zstd"))]
fn decompress_zstd(_compressed: &[u8], _out: &mut [u8]) -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use lsm_entry::{Entry, key_hash};

    use super::*;
    use crate::block::{BlockBuilder, BlockView};

    fn compressions() -> Vec<Compression> {
        vec![
            Compression::Lz4,
            #[cfg(feature = "zstd")]
            Compression::Zstd(1),
        ]
    }

    fn block(values: usize) -> (Vec<u8>, usize) {
        let mut builder = BlockBuilder::default();
        for n in 0..values {
            let key = format!("key{n:05}");
            builder
                .push(&Entry::put(key.as_bytes(), n as u64, &[b'v'; 90]), key_hash(key.as_bytes()));
        }
        let mut bytes = Vec::new();
        let (_, body_bytes) = builder.finish(&mut bytes);
        (bytes, body_bytes)
    }

    #[test]
    fn what_was_compressed_comes_back_with_its_digests() {
        let (plain, body_bytes) = block(60);
        for compression in compressions() {
            let mut compressor = Compressor::new(compression).expect("compresses");
            let (method, stored) =
                compressor.compress(&plain[..body_bytes], plain.len()).expect("shrinks");
            let (bytes, layout) = decompress(method, stored, 100, Vec::new(), 0).expect("decodes");
            assert_eq!(bytes, plain, "{compression}");
            let (memory, tail) = (vec![7; 9], layout.tail_bytes());
            let again = decompress(method, stored, 100, memory, tail).expect("decodes").0;
            assert_eq!(again, plain, "whatever its memory held");
            assert_eq!(again.capacity(), plain.len(), "set aside at once");
            let last = BlockView::new(&bytes, &layout).last_key();
            assert_eq!(last, b"key00059");
        }
    }

    #[test]
    fn damage_is_refused_and_claims_are_bounded() {
        let (plain, body_bytes) = block(60);
        for compression in compressions() {
            let mut compressor = Compressor::new(compression).expect("compresses");
            let (method, stored) =
                compressor.compress(&plain[..body_bytes], plain.len()).expect("shrinks");
            for cut in 0..stored.len() {
                assert!(
                    decompress(method, &stored[..cut], 100, Vec::new(), 0).is_err(),
                    "{compression} {cut}"
                );
            }
            let mut liar = stored.to_vec();
            liar[..4].copy_from_slice(&(1_u32 << 31).to_le_bytes());
            let refusal = decompress(method, &liar, 100, Vec::new(), 0).expect_err("refused");
            assert!(refusal.reason.contains("more than is allowed"), "{refusal}");
        }
        assert!(is_allowed(100, 64 << 10, 0), "a small block may shrink as much as it can");
        assert!(!is_allowed(100, (64 << 10) + 1, 0));
        assert!(is_allowed(1 << 20, 4 << 20, 0));
        assert!(!is_allowed(1 << 20, (4 << 20) + 1, 0));
        assert!(is_allowed(1 << 20, 5 << 20, 5 << 20));
    }

    #[test]
    fn a_block_that_does_not_shrink_is_left_alone() {
        let noise: Vec<u8> =
            (0_u64..512).flat_map(|n| key_hash(&n.to_le_bytes()).to_le_bytes()).collect();
        for compression in compressions() {
            let mut compressor = Compressor::new(compression).expect("compresses");
            assert!(compressor.compress(&noise, noise.len()).is_none(), "{compression}");
        }
    }
}
