//! rchecksum: a weak and a strong sum of a block, by which self-heal finds out what differs.

use std::sync::Arc;

use kiln_uring::sys::ReadFlags;
use kiln_uring::{Class, Errno, File, SysResult, Warmth};
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::{Brick, Posix};
use crate::types::{Value, Xdata};

/// Bytes read at once.
const STEP: usize = 256 << 10;

impl Posix {
    pub(in crate::storage::posix) async fn serve_rchecksum(
        &self,
        req: request::Rchecksum,
    ) -> FopResult<reply::Rchecksum> {
        let file = self.fd_file(&req.fd).await?;
        let asks_for_zeros = req.xdata.contains(keys::CHECK_ZERO_FILLED);
        let job = move |brick: &Arc<Brick>| -> FopResult<reply::Rchecksum> {
            let fips = brick.settings().fips_mode_rchecksum;
            let sums = Sums::of_file(brick, &file, req.offset, u64::from(req.len), fips)?;
            let mut xdata = Xdata::NONE;
            if fips {
                xdata.make().set(keys::FIPS_MODE_RCHECKSUM, Value::Int(1));
            }
            if asks_for_zeros {
                xdata.make().set(keys::BUF_HAS_ZEROES, Value::Uint(u64::from(sums.only_zeros)));
            }
            Ok(reply::Rchecksum { weak: sums.weak.value(), strong: sums.strong.value(), xdata })
        };
        self.run(Class::Scan, Warmth::Cold, job).await
    }
}

/// Adler-32 that starts at 0 instead of 1, as GlusterFS has it.
#[derive(Clone, Copy, Default)]
struct Weak {
    a: u32,
    b: u32,
}

impl Weak {
    const PRIME: u32 = 65_521;
    /// Most bytes whose sums stay below 2^32 without a reduction (as in zlib).
    const RUN: usize = 5_552;

    fn add(&mut self, bytes: &[u8]) {
        for run in bytes.chunks(Self::RUN) {
            for &byte in run {
                self.a += u32::from(byte);
                self.b += self.a;
            }
            self.a %= Self::PRIME;
            self.b %= Self::PRIME;
        }
    }

    const fn value(self) -> u32 {
        self.b << 16 | self.a
    }
}

/// The strong sum: SHA-256, or MD5 in the first half.
enum Strong {
    Sha(Sha256),
    Md5(Md5),
}

impl Strong {
    fn new(fips: bool) -> Self {
        if fips { Self::Sha(Sha256::new()) } else { Self::Md5(Md5::new()) }
    }

    fn add(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha(sha) => sha.update(bytes),
            Self::Md5(md5) => md5.update(bytes),
        }
    }

    fn value(self) -> [u8; 32] {
        let mut value = [0; 32];
        match self {
            Self::Sha(sha) => value.copy_from_slice(&sha.finalize()),
            Self::Md5(md5) => value[..16].copy_from_slice(&md5.finalize()),
        }
        value
    }
}

struct Sums {
    weak: Weak,
    strong: Strong,
    only_zeros: bool,
}

impl Sums {
    fn new(fips: bool) -> Self {
        Self { weak: Weak::default(), strong: Strong::new(fips), only_zeros: true }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.weak.add(bytes);
        self.strong.add(bytes);
        self.only_zeros &= bytes.iter().all(|byte| *byte == 0);
    }

    /// The sums of at most `len` bytes; fewer at the end of the file.
    fn of_file(brick: &Brick, file: &File, offset: u64, len: u64, fips: bool) -> SysResult<Self> {
        let mut sums = Self::new(fips);
        let mut room = vec![0; usize::try_from(len).unwrap_or(STEP).min(STEP)];
        let mut done = 0;
        while done < len {
            let take = usize::try_from(len - done).unwrap_or(STEP).min(STEP);
            let at = offset.checked_add(done).ok_or(Errno::INVAL)?;
            let count = brick.sys.pread(file.fd(), &mut room[..take], at, ReadFlags::empty())?;
            if count == 0 {
                break;
            }
            sums.add(&room[..count]);
            done += count as u64;
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sums(bytes: &[u8], fips: bool) -> (u32, [u8; 32], bool) {
        let mut sums = Sums::new(fips);
        sums.add(bytes);
        (sums.weak.value(), sums.strong.value(), sums.only_zeros)
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn vectors() {
        // zlib.adler32(b"Wikipedia", 0), hashlib.sha256, hashlib.md5
        let (weak, strong, zeros) = sums(b"Wikipedia", true);
        assert_eq!(weak, 0x11dd0397);
        assert_eq!(hex(&strong), "d38b38a2dd476e045c299e8ee5d6466834456d97bd592a71746b423a6a05f386");
        assert!(!zeros);
        let (_, strong, zeros) = sums(&[0; 5000], false);
        assert!(zeros);
        assert_eq!(hex(&strong), "6bf95a48f366bdf8af3a198c7b723c7700000000000000000000000000000000");
    }

    #[test]
    fn long_blocks_are_reduced_in_time() {
        let (weak, ..) = sums(&[0xff; 300_000], true);
        assert_eq!(weak, reference(&[0xff; 300_000]));
    }

    fn reference(bytes: &[u8]) -> u32 {
        let (mut a, mut b) = (0_u64, 0_u64);
        for &byte in bytes {
            a = (a + u64::from(byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        (b << 16 | a) as u32
    }

    proptest! {
        #[test]
        fn pieces_give_the_same(bytes in prop::collection::vec(any::<u8>(), 0..20_000), at: prop::sample::Index, fips: bool) {
            let at = at.index(bytes.len() + 1);
            let mut pieces = Sums::new(fips);
            pieces.add(&bytes[..at]);
            pieces.add(&bytes[at..]);
            prop_assert_eq!(pieces.weak.value(), reference(&bytes));
            prop_assert_eq!((pieces.weak.value(), pieces.strong.value(), pieces.only_zeros), sums(&bytes, fips));
        }
    }
}
