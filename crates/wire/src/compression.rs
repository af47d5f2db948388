//! Content encodings, decompressed under guard.
//!
//! Promises: a declared length is compared with the limit before memory is asked for; the output is counted while it
//! is made; beyond the first MiB it may not exceed 200 times the input; one layer only (the result is never looked at
//! again). Absent: brotli, dictionaries.

use std::borrow::Cow;
use std::io::Read;

use crate::error::DecodeError;

/// Expansion allowed once [`RATIO_FREE_BYTES`] have come out.
const RATIO_MAX: usize = 200;
/// Output that no ratio is asked of.
const RATIO_FREE_BYTES: usize = 1 << 20;
/// Bytes per step of the counted reading.
const STEP_BYTES: usize = 64 * 1024;
/// Largest window a zstd frame may ask for: 2^23 bytes, the most that RFC 8878 tells decoders to support.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952; several members in a row are one body.
    Gzip,
    /// RFC 1950 (what HTTP calls `deflate`); raw RFC 1951 is accepted too, since clients send it.
    Deflate,
    /// RFC 8878.
    Zstd,
    /// The snappy block format, as remote write and Loki's protobuf push use it.
    Snappy,
    /// The snappy framing format.
    SnappyFramed,
}

impl Encoding {
    /// The encoding of a `Content-Encoding` header. `snappy` means the block format there.
    pub fn from_header(header: &str) -> Result<Self, DecodeError> {
        match header.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            "snappy" => Ok(Self::Snappy),
            "x-snappy-framed" => Ok(Self::SnappyFramed),
            other => Err(DecodeError::Unsupported {
                what: format!(
                    "content encoding {other:?} is not known; send one of gzip, deflate, zstd, snappy, identity"
                ),
            }),
        }
    }
}

/// The body as it was before compression, at most `max_decoded` bytes.
pub fn decompress(
    encoding: Encoding,
    bytes: &[u8],
    max_decoded: usize,
) -> Result<Cow<'_, [u8]>, DecodeError> {
    if encoding == Encoding::Identity {
        return unpacked(bytes, max_decoded).map(Cow::Borrowed);
    }
    let mut out = Vec::new();
    let len = decompress_into(encoding, bytes, max_decoded, &mut out)?.len();
    out.truncate(len);
    Ok(Cow::Owned(out))
}

/// As [`decompress`], into a buffer that was used before, whose contents do not matter: memory that is not asked for
/// anew need not be cleared. Gives the body, which is `bytes` themselves when they are not compressed.
pub fn decompress_into<'b>(
    encoding: Encoding,
    bytes: &'b [u8],
    max_decoded: usize,
    buffer: &'b mut Vec<u8>,
) -> Result<&'b [u8], DecodeError> {
    let input = bytes.len();
    let mut counted = |reader: &mut dyn Read, codec| counted(reader, codec, input, max_decoded, buffer);
    match encoding {
        Encoding::Identity => return unpacked(bytes, max_decoded),
        Encoding::Gzip => counted(&mut flate2::read::MultiGzDecoder::new(bytes), "gzip")?,
        Encoding::Deflate if looks_like_zlib(bytes) => {
            counted(&mut flate2::read::ZlibDecoder::new(bytes), "deflate")?;
        }
        Encoding::Deflate => counted(&mut flate2::read::DeflateDecoder::new(bytes), "deflate")?,
        Encoding::Zstd => counted(&mut zstd_reader(bytes, max_decoded)?, "zstd")?,
        Encoding::Snappy => return snappy_block(bytes, max_decoded, buffer),
        Encoding::SnappyFramed => counted(&mut snap::read::FrameDecoder::new(bytes), "snappy")?,
    }
    Ok(buffer)
}

fn unpacked(bytes: &[u8], max: usize) -> Result<&[u8], DecodeError> {
    if bytes.len() > max { Err(too_large(max)) } else { Ok(bytes) }
}

fn too_large(limit: usize) -> DecodeError {
    DecodeError::TooLarge { what: "the decompressed body is too large; send smaller batches", limit }
}

fn corrupt(codec: &'static str, detail: impl std::fmt::Display) -> DecodeError {
    DecodeError::Malformed { at: 0, what: format!("the {codec} body is corrupt: {detail}") }
}

/// RFC 1950 section 2.2: method 8, and a header that is a multiple of 31.
fn looks_like_zlib(bytes: &[u8]) -> bool {
    match bytes {
        [cmf, flags, ..] => cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flags)) % 31 == 0,
        _ => true,
    }
}

/// The most that an input of this size may become.
fn ceiling(input: usize, max: usize) -> usize {
    max.min(input.saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES))
}

fn counted(
    reader: &mut dyn Read,
    codec: &'static str,
    input: usize,
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let allowed = ceiling(input, max);
    out.clear();
    out.reserve(allowed.min(input.saturating_mul(4)));
    let mut step = vec![0u8; STEP_BYTES];
    loop {
        let read = reader.read(&mut step).map_err(|error| corrupt(codec, error))?;
        if read == 0 {
            return Ok(());
        }
        if out.len() + read > allowed {
            return Err(too_large(allowed));
        }
        out.extend_from_slice(step.get(..read).unwrap_or_default());
    }
}

fn zstd_reader(bytes: &[u8], max: usize) -> Result<zstd::stream::read::Decoder<'static, &[u8]>, DecodeError> {
    let declared = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten();
    if declared.is_some_and(|size| size > ceiling(bytes.len(), max) as u64) {
        return Err(too_large(ceiling(bytes.len(), max)));
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(|e| corrupt("zstd", e))?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|e| corrupt("zstd", e))?;
    Ok(decoder)
}

fn snappy_block<'b>(bytes: &[u8], max: usize, out: &'b mut Vec<u8>) -> Result<&'b [u8], DecodeError> {
    let declared = snap::raw::decompress_len(bytes).map_err(|e| corrupt("snappy", e))?;
    if declared > ceiling(bytes.len(), max) {
        return Err(too_large(ceiling(bytes.len(), max)));
    }
    // Only what is longer than before is cleared; the decoder writes over all of it.
    out.resize(declared, 0);
    let len = snap::raw::Decoder::new().decompress(bytes, out).map_err(|e| corrupt("snappy", e))?;
    Ok(out.get(..len).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const CODECS: [Encoding; 5] =
        [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Snappy, Encoding::SnappyFramed];

    fn compress(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::new(6);
        match encoding {
            Encoding::Identity => bytes.to_vec(),
            Encoding::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), level);
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), level);
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap()
            }
            Encoding::Zstd => zstd::bulk::compress(bytes, 3).unwrap(),
            Encoding::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            Encoding::SnappyFramed => {
                let mut writer = snap::write::FrameEncoder::new(Vec::new());
                writer.write_all(bytes).unwrap();
                writer.into_inner().unwrap()
            }
        }
    }

    #[test]
    fn every_codec_gives_back_what_went_in() {
        for encoding in CODECS {
            for text in [
                Vec::new(),
                b"hello".to_vec(),
                (0..200_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect(),
            ] {
                let packed = compress(encoding, &text);
                assert_eq!(
                    decompress(encoding, &packed, 1 << 20).as_deref(),
                    Ok(text.as_slice()),
                    "{encoding:?}"
                );
                for used in [0, 10, 1 << 20] {
                    let mut buffer = vec![9; used];
                    let again = decompress_into(encoding, &packed, 1 << 20, &mut buffer);
                    assert_eq!(again, Ok(text.as_slice()), "{encoding:?} into {used}");
                }
            }
        }
    }

    #[test]
    fn the_limit_is_exact() {
        for encoding in CODECS.into_iter().chain([Encoding::Identity]) {
            let packed = compress(encoding, &[7u8; 1000]);
            assert!(decompress(encoding, &packed, 1000).is_ok(), "{encoding:?}");
            assert!(matches!(
                decompress(encoding, &packed, 999),
                Err(DecodeError::TooLarge { limit: 999, .. })
            ));
        }
    }

    #[test]
    fn bombs_are_stopped_by_ratio() {
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let packed = compress(encoding, &vec![0u8; 64 << 20]);
            let error = decompress(encoding, &packed, 64 << 20).unwrap_err();
            assert!(matches!(error, DecodeError::TooLarge { limit, .. } if limit < 64 << 20), "{encoding:?}");
        }
    }

    #[test]
    fn declared_lengths_are_checked_before_memory_is_asked_for() {
        let snappy = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        assert!(matches!(decompress(Encoding::Snappy, &snappy, 16 << 20), Err(DecodeError::TooLarge { .. })));
        // A zstd frame header that declares 2^62 bytes, and one that asks for a window of 2^41.
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x40];
        assert!(matches!(decompress(Encoding::Zstd, &zstd, 16 << 20), Err(DecodeError::TooLarge { .. })));
        let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0, 0];
        assert!(matches!(decompress(Encoding::Zstd, &window, 16 << 20), Err(DecodeError::Malformed { .. })));
    }

    #[test]
    fn cut_or_foreign_bytes_are_refused() {
        for encoding in CODECS {
            let packed =
                compress(encoding, &(0..50_000u32).map(|i| ((i * 7) >> 3) as u8).collect::<Vec<_>>());
            // Snappy frames end at every chunk, so only cuts inside one show.
            let cuts = [packed.len() / 3, packed.len() - 1];
            for cut in cuts {
                assert!(decompress(encoding, &packed[..cut], 1 << 20).is_err(), "{encoding:?} at {cut}");
            }
            assert!(
                decompress(encoding, b"\xfe\xfeplain text, not packed", 1 << 20).is_err(),
                "{encoding:?}"
            );
        }
    }

    #[test]
    fn headers() {
        assert_eq!(Encoding::from_header(" GZIP "), Ok(Encoding::Gzip));
        assert_eq!(Encoding::from_header(""), Ok(Encoding::Identity));
        for bad in ["br", "gzip, gzip", "zstd,gzip"] {
            assert!(matches!(Encoding::from_header(bad), Err(DecodeError::Unsupported { .. })), "{bad}");
        }
    }
}
