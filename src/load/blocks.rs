//! Blocks that say where they belong, so that what is read can be checked.
//!
//! A block begins with a mark, the file, the offset, the generation (how often it has been written) and a checksum of all of
//! it; the rest is noise that follows from those. A block that is short, torn, old or of another place is told from the right
//! one.

use xxhash_rust::xxh64::xxh64;

/// Smallest block that has room for what is said in it, in bytes.
pub const SMALLEST: usize = 64;

/// What begins each block.
const MARK: [u8; 8] = *b"kilnload";
/// Mark, file, offset, generation, checksum.
const HEAD: usize = 40;
const CHECKSUM: std::ops::Range<usize> = 32..40;

/// Which block it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the file.
    pub file: u64,
    /// Offset in it, in bytes.
    pub offset: u64,
    /// How often it was written before.
    pub generation: u64,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody asked for one.
    #[default]
    Unchecked,
    /// It is the block.
    Right,
    /// It is not.
    Wrong(Wrong),
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Shorter than its head.
    Short,
    /// It does not begin with the mark.
    Unmarked,
    /// The bytes do not fit the checksum: damaged, or parts of two blocks.
    Torn,
    /// A sound block, but another one.
    Other(Stamp),
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Short => write!(f, "it is too short"),
            Self::Unmarked => write!(f, "it was never written by a load"),
            Self::Torn => write!(f, "its checksum does not fit"),
            Self::Other(stamp) => {
                write!(f, "it is generation {} of file {} at {}", stamp.generation, stamp.file, stamp.offset)
            }
        }
    }
}

fn word(block: &[u8], at: usize) -> u64 {
    block.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn checksum(block: &[u8]) -> u64 {
    xxh64(&block[..CHECKSUM.start], xxh64(&block[CHECKSUM.end..], 0))
}

/// Writes a block of at least [`SMALLEST`] bytes.
pub fn fill(block: &mut [u8], stamp: &Stamp) {
    debug_assert!(block.len() >= SMALLEST);
    let mut noise = stamp.file ^ stamp.offset.rotate_left(17) ^ stamp.generation.rotate_left(43);
    for chunk in block[HEAD..].chunks_mut(8) {
        noise = noise.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (noise ^ (noise >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
    }
    block[..8].copy_from_slice(&MARK);
    for (at, word) in [(8, stamp.file), (16, stamp.offset), (24, stamp.generation)] {
        block[at..at + 8].copy_from_slice(&word.to_le_bytes());
    }
    let sum = checksum(block);
    block[CHECKSUM].copy_from_slice(&sum.to_le_bytes());
}

/// Whether `block` is the one that `stamp` names.
pub fn check(block: &[u8], stamp: &Stamp) -> Verdict {
    if block.len() < HEAD {
        return Verdict::Wrong(Wrong::Short);
    }
    if !block.starts_with(&MARK) {
        return Verdict::Wrong(Wrong::Unmarked);
    }
    if word(block, CHECKSUM.start) != checksum(block) {
        return Verdict::Wrong(Wrong::Torn);
    }
    let found = Stamp { file: word(block, 8), offset: word(block, 16), generation: word(block, 24) };
    if found == *stamp { Verdict::Right } else { Verdict::Wrong(Wrong::Other(found)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_told_from_all_others(
            file: u64, offset: u64, generation: u64, len in SMALLEST..9000, at: prop::sample::Index, flip in 1u8..,
        ) {
            let stamp = Stamp { file, offset, generation };
            let mut block = vec![0; len];
            fill(&mut block, &stamp);
            prop_assert_eq!(check(&block, &stamp), Verdict::Right);
            let later = Stamp { generation: generation.wrapping_add(1), ..stamp };
            prop_assert_eq!(check(&block, &later), Verdict::Wrong(Wrong::Other(stamp)));
            prop_assert_ne!(check(&block[..len - 1], &stamp), Verdict::Right);
            block[at.index(len)] ^= flip;
            prop_assert_ne!(check(&block, &stamp), Verdict::Right);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let stamp = Stamp { file: 3, offset: 4096, generation: 2 };
        assert_eq!(check(&[], &stamp), Verdict::Wrong(Wrong::Short));
        assert_eq!(check(&[0; 100], &stamp), Verdict::Wrong(Wrong::Unmarked));
        let (mut first, mut second) = ([0; 512], [0; 512]);
        fill(&mut first, &stamp);
        fill(&mut second, &Stamp { generation: 3, ..stamp });
        let torn = [&first[..256], &second[256..]].concat();
        assert_eq!(check(&torn, &stamp), Verdict::Wrong(Wrong::Torn));
        assert_eq!(Wrong::Other(stamp).to_string(), "it is generation 2 of file 3 at 4096");
    }
}
