//! Record marking: a stream of bytes as records of fragments.

/// Bytes of the mark before each fragment.
pub const MARK: usize = 4;

/// Total length from which on a record closes the connection, in any implementation.
pub const LONGEST: usize = 1 << 30;

/// What stands before a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Whether the record ends with this fragment.
    pub last: bool,
    /// Bytes of the fragment.
    pub len: usize,
}

impl Mark {
    /// Reads one.
    #[must_use]
    pub const fn parse(bytes: [u8; MARK]) -> Self {
        let word = u32::from_be_bytes(bytes);
        Self { last: word >> 31 == 1, len: (word & !(1 << 31)) as usize }
    }

    /// The mark of a record of one fragment of `len` bytes, less than 2 GiB.
    #[must_use]
    pub const fn whole(len: usize) -> [u8; MARK] {
        debug_assert!(len < 1 << 31);
        (len as u32 | 1 << 31).to_be_bytes()
    }
}

/// The record is longer than is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of more than {limit} bytes")]
pub struct TooLong {
    /// What is accepted.
    pub limit: usize,
}

/// The first record of `bytes` when it has one fragment and is there in full: the record without its mark.
#[must_use]
pub fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (mark, rest) = bytes.split_first_chunk::<MARK>()?;
    let mark = Mark::parse(*mark);
    if mark.last { rest.get(..mark.len) } else { None }
}

/// Gathers a record piece by piece. It grows with the bytes that come, never with those that are promised.
#[derive(Debug)]
pub struct Assembler {
    record: Vec<u8>,
    mark: [u8; MARK],
    mark_len: usize,
    /// Missing bytes of the present fragment, once its mark is there.
    missing: Option<(usize, bool)>,
    limit: usize,
}

impl Assembler {
    /// For records of at most `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { record: Vec::new(), mark: [0; MARK], mark_len: 0, missing: None, limit }
    }

    /// Whether nothing of a record is there yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.record.is_empty() && self.mark_len == 0 && self.missing.is_none()
    }

    /// Takes bytes off the front of `bytes`, until the record is complete or nothing is left. True when it is complete: it
    /// is then to be taken by [`Assembler::finish`].
    ///
    /// # Errors
    /// [`TooLong`], as soon as a mark says so.
    pub fn feed(&mut self, bytes: &mut &[u8]) -> Result<bool, TooLong> {
        loop {
            let Some((missing, last)) = self.missing else {
                let take = (MARK - self.mark_len).min(bytes.len());
                let (taken, rest) = bytes.split_at(take);
                self.mark[self.mark_len..self.mark_len + take].copy_from_slice(taken);
                self.mark_len += take;
                *bytes = rest;
                if self.mark_len < MARK {
                    return Ok(false);
                }
                let mark = Mark::parse(self.mark);
                if self.record.len() + mark.len > self.limit {
                    return Err(TooLong { limit: self.limit });
                }
                self.missing = Some((mark.len, mark.last));
                continue;
            };
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.record.extend_from_slice(taken);
            *bytes = rest;
            self.missing = Some((missing - taken.len(), last));
            match (missing == taken.len(), last) {
                (true, true) => return Ok(true),
                (true, false) => {
                    self.missing = None;
                    self.mark_len = 0;
                }
                (false, _) => return Ok(false),
            }
        }
    }

    /// What has come of the record.
    #[must_use]
    pub fn gathered(&self) -> &[u8] {
        &self.record
    }

    /// How many bytes are missing, when the present fragment is the last.
    #[must_use]
    pub fn tail(&self) -> Option<usize> {
        match self.missing {
            Some((missing, true)) => Some(missing),
            _ => None,
        }
    }

    /// The record (as far as it has come); the next one starts from nothing.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        self.mark_len = 0;
        self.missing = None;
        std::mem::take(&mut self.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_records_are_refused_by_their_marks() {
        let mut assembler = Assembler::new(100);
        let bytes = [&[0, 0, 0, 60][..], &[0; 60], &[0, 0, 0, 41]].concat();
        assert_eq!(assembler.feed(&mut &bytes[..]), Err(TooLong { limit: 100 }));
        assert_eq!(Assembler::new(100).feed(&mut &[0xff; 4][..]), Err(TooLong { limit: 100 }));
        assert!(whole(&[0x80, 0, 0, 2, 1]).is_none() && whole(&[0, 0, 0, 1, 1]).is_none());
        assert_eq!(whole(&[0x80, 0, 0, 1, 7, 8]), Some(&[7][..]));
    }

    proptest! {
        /// However records are cut into fragments and the stream into pieces, the same records come out.
        #[test]
        fn records_survive_any_cutting(
            records in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..4), 1..5),
            cuts in prop::collection::vec(1usize..9, 1..50),
        ) {
            let mut stream = Vec::new();
            for fragments in &records {
                for (at, fragment) in fragments.iter().enumerate() {
                    let last = if at + 1 == fragments.len() { 1 << 31 } else { 0 };
                    stream.extend((fragment.len() as u32 | last).to_be_bytes());
                    stream.extend(fragment);
                }
            }
            let mut assembler = Assembler::new(1000);
            let mut found = Vec::new();
            let (mut rest, mut cuts) = (&stream[..], cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (mut piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                rest = after;
                while !piece.is_empty() {
                    if assembler.feed(&mut piece).unwrap() {
                        prop_assert_eq!(assembler.tail(), Some(0));
                        found.push(assembler.finish());
                    }
                }
            }
            prop_assert!(assembler.is_empty());
            let expected: Vec<Vec<u8>> = records.iter().map(|fragments| fragments.concat()).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_bytes_are_harmless(bytes: Vec<u8>) {
            let mut assembler = Assembler::new(64);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                match assembler.feed(&mut rest) {
                    Ok(true) => drop(assembler.finish()),
                    Ok(false) => {}
                    Err(_) => break,
                }
                prop_assert!(assembler.gathered().len() <= 64);
            }
        }
    }
}
