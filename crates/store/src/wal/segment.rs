//! One file of the log: its name, and the header page that says whose bytes these are and where the file before ends.
//!
//! The page holds two facts, each in two copies in sectors of their own, so that neither a torn page nor a rotten bit
//! takes a fact away: the *identity* (written when the file is made ready) and the *activation* (written with the first
//! group of records). The activation seals the file before it: bytes of that file past the seal do not exist.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kenning_codec::frame::{self, HEADER_LEN, Header, MAGIC};
use kenning_stdx::vfs::File;

/// Version of the segment format.
pub const VERSION: u32 = 1;
/// Where records start.
pub const DATA_START: u64 = 4096;

/// Bytes of the header page that are in use: four sectors.
pub(super) const HEADER_USED: usize = 4 * SECTOR;
const SECTOR: usize = 512;
const KIND_IDENTITY: u16 = 1;
const KIND_ACTIVATION: u16 = 2;
const SUFFIX: &str = ".wal";
const NUMBER_DIGITS: usize = 16;

/// Who a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub number: u64,
    pub creation_id: u64,
    pub capacity: u64,
}

/// Why a segment takes no more records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SealReason {
    /// It was full.
    Full,
    /// A write into it, or a sync of it, failed.
    Failed,
    /// The process that wrote it ended. The last group before the seal may never have been acknowledged.
    Recovered,
}

/// Where a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    pub segment: u64,
    pub at: u64,
    pub reason: SealReason,
}

/// What a segment says once it holds records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Activation {
    /// All records here and later have at least this sequence.
    pub next_sequence: u64,
    /// At most [`SEALS_MAX`], newest segment first.
    pub seals: Vec<Seal>,
}

/// Seals that an activation can carry: what fits into its sector.
pub(super) const SEALS_MAX: usize = (SECTOR - HEADER_LEN - 8) / SEAL_LEN;
const SEAL_LEN: usize = 17;

/// What a header page turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HeaderPage {
    Known(Identity, Option<Activation>),
    UnknownVersion(u32),
    Unreadable,
}

pub(super) fn file_name(number: u64) -> String {
    format!("{number:0NUMBER_DIGITS$x}{SUFFIX}")
}

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(file_name(number))
}

/// The number in a segment's file name; `None` for any other name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (file_name(number) == name).then_some(number)
}

/// The used part of the header page.
pub(super) fn encode_header(identity: Identity, activation: Option<&Activation>) -> Vec<u8> {
    let mut page = Vec::with_capacity(HEADER_USED);
    for _copy in 0..2 {
        append_sector(&mut page, identity, KIND_IDENTITY, &identity_payload(identity));
    }
    if let Some(activation) = activation {
        for _copy in 0..2 {
            append_sector(&mut page, identity, KIND_ACTIVATION, &activation_payload(activation));
        }
    }
    page.resize(HEADER_USED, 0);
    page
}

fn append_sector(page: &mut Vec<u8>, identity: Identity, kind: u16, payload: &[u8]) {
    let sector_end = page.len() + SECTOR;
    let header = Header { sequence: identity.number, owner: identity.creation_id, kind, flags: 0 };
    // Both payloads are some tens of bytes, far from the limit that `encode` checks.
    let _ = frame::encode(header, payload, page);
    page.resize(sector_end, 0);
}

fn identity_payload(identity: Identity) -> Vec<u8> {
    [VERSION.to_le_bytes().as_slice(), &identity.capacity.to_le_bytes()].concat()
}

fn activation_payload(activation: &Activation) -> Vec<u8> {
    let mut payload = activation.next_sequence.to_le_bytes().to_vec();
    for seal in activation.seals.iter().take(SEALS_MAX) {
        payload.extend_from_slice(&seal.segment.to_le_bytes());
        payload.extend_from_slice(&seal.at.to_le_bytes());
        payload.push(match seal.reason {
            SealReason::Full => 1,
            SealReason::Failed => 2,
            SealReason::Recovered => 3,
        });
    }
    payload
}

/// Reads the header page of a file.
pub(super) fn read_header(file: &Arc<dyn File>, number: u64) -> io::Result<HeaderPage> {
    let present = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(HEADER_USED);
    let mut page = vec![0; present];
    file.read_exact_at(&mut page, 0)?;
    page.resize(HEADER_USED, 0);
    Ok(decode_header(&page, number))
}

fn decode_header(page: &[u8], number: u64) -> HeaderPage {
    let sectors: Vec<&[u8]> = page.chunks_exact(SECTOR).collect();
    let (identities, activations) = sectors.split_at(sectors.len() / 2);
    let Some((version, identity)) = identities.iter().find_map(|sector| decode_identity(sector, number))
    else {
        return unreadable(identities);
    };
    if version != VERSION {
        return HeaderPage::UnknownVersion(version);
    }
    let activation = activations.iter().find_map(|sector| decode_activation(sector, identity));
    HeaderPage::Known(identity, activation)
}

/// Two sectors that agree on another layout of frames come from another version, not from damage.
fn unreadable(identities: &[&[u8]]) -> HeaderPage {
    let layout = |sector: &&[u8]| match sector.first_chunk::<4>() {
        Some([a, b, c, version]) if MAGIC.starts_with(&[*a, *b, *c]) => Some(*version),
        _ => None,
    };
    let mut layouts = identities.iter().map(layout);
    match (layouts.next().flatten(), layouts.next().flatten()) {
        (Some(first), Some(second)) if first == second && !MAGIC.ends_with(&[first]) => {
            HeaderPage::UnknownVersion(u32::from(first))
        }
        _ => HeaderPage::Unreadable,
    }
}

fn decode_identity(sector: &[u8], number: u64) -> Option<(u32, Identity)> {
    let frame = frame::decode(sector).ok()?;
    let (version, rest) = frame.payload.split_first_chunk()?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Some((version, Identity { number, creation_id: 0, capacity: 0 }));
    }
    let capacity = u64::from_le_bytes(*rest.first_chunk()?);
    // A file under another file's name is no part of this log.
    let known = frame.header.kind == KIND_IDENTITY && frame.header.sequence == number;
    known.then_some((version, Identity { number, creation_id: frame.header.owner, capacity }))
}

fn decode_activation(sector: &[u8], identity: Identity) -> Option<Activation> {
    let frame = frame::decode(sector).ok()?;
    if frame.header.kind != KIND_ACTIVATION || frame.header.owner != identity.creation_id {
        return None;
    }
    let (next_sequence, seals) = frame.payload.split_first_chunk()?;
    let seals = seals.chunks(SEAL_LEN).map(decode_seal).collect::<Option<_>>()?;
    Some(Activation { next_sequence: u64::from_le_bytes(*next_sequence), seals })
}

fn decode_seal(bytes: &[u8]) -> Option<Seal> {
    let (segment, rest) = bytes.split_first_chunk()?;
    let (at, rest) = rest.split_first_chunk()?;
    let reason = match rest {
        [1] => SealReason::Full,
        [2] => SealReason::Failed,
        [3] => SealReason::Recovered,
        _ => return None,
    };
    Some(Seal { segment: u64::from_le_bytes(*segment), at: u64::from_le_bytes(*at), reason })
}

/// Bytes that a record with a payload of this length takes.
pub(super) fn record_len(payload_len: usize) -> u64 {
    (HEADER_LEN + payload_len) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity = Identity { number: 7, creation_id: 99, capacity: 8192 };

    #[test]
    fn each_fact_survives_the_loss_of_one_copy() {
        for reason in [SealReason::Full, SealReason::Failed, SealReason::Recovered] {
            let seals = vec![Seal { segment: 6, at: 4200, reason }; SEALS_MAX];
            let activation = Activation { next_sequence: 5, seals };
            let page = encode_header(IDENTITY, Some(&activation));
            assert_eq!(page.len(), HEADER_USED);
            for bit in 0..page.len() * 8 {
                let mut flipped = page.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(
                    decode_header(&flipped, 7),
                    HeaderPage::Known(IDENTITY, Some(activation.clone())),
                    "bit {bit}"
                );
            }
        }
        let page = encode_header(IDENTITY, None);
        assert_eq!(decode_header(&page, 7), HeaderPage::Known(IDENTITY, None));
        assert_eq!(decode_header(&page, 8), HeaderPage::Unreadable);
        assert_eq!(decode_header(&[0; HEADER_USED], 7), HeaderPage::Unreadable);
    }

    #[test]
    fn other_versions_are_told_from_damage() {
        let mut page = encode_header(IDENTITY, None);
        page[3] = 2;
        assert_eq!(decode_header(&page, 7), HeaderPage::Known(IDENTITY, None));
        page[SECTOR + 3] = 2;
        assert_eq!(decode_header(&page, 7), HeaderPage::UnknownVersion(2));
        let mut page = Vec::new();
        append_sector(&mut page, IDENTITY, KIND_IDENTITY, &9u32.to_le_bytes());
        page.resize(HEADER_USED, 0);
        assert_eq!(decode_header(&page, 7), HeaderPage::UnknownVersion(9));
    }

    #[test]
    fn names_hold_numbers() {
        assert_eq!(file_name(255), "00000000000000ff.wal");
        assert_eq!(number_of("00000000000000ff.wal"), Some(255));
        for other in ["ff.wal", "00000000000000FF.wal", "00000000000000ff", "x.wal", "+0000000000000ff.wal"] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }
}
