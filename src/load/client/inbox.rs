//! What has come from the peer: records, found one after the other in a large buffer.

use kiln_xlators::protocol::rpc::record::{Assembler, MARK, Mark, TooLong};

/// Longest record that is taken: far more than any reply to what is asked for.
const LONGEST: usize = 64 << 20;

/// See the [module](self).
pub struct Inbox {
    bytes: Vec<u8>,
    /// The first byte that is not yet taken.
    start: usize,
    /// Behind the last byte that has come.
    end: usize,
    /// Puts records together that come in several fragments, which is rare.
    fragments: Assembler,
    /// The last of them, while it is looked at.
    joined: Vec<u8>,
}

impl Inbox {
    /// With room for `capacity` bytes, which grows when a record needs more.
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity.max(MARK)],
            start: 0,
            end: 0,
            fragments: Assembler::new(LONGEST),
            joined: Vec::new(),
        }
    }

    /// The buffer, to be filled from the given place on; [`Inbox::put_back`] takes it back.
    pub fn lend(&mut self) -> (Vec<u8>, usize) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let waiting = self.end - self.start;
        let needed = self.record_len().unwrap_or(0).clamp(MARK, LONGEST);
        // Less room than for half of the buffer would make many small reads.
        if self.start > 0
            && self.bytes.len() - self.end < (self.bytes.len() / 2).max(needed - waiting.min(needed))
        {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, waiting);
        }
        if self.bytes.len() < needed || self.end == self.bytes.len() {
            let len = needed.max(self.bytes.len() + self.bytes.len() / 2);
            self.bytes.resize(len, 0);
        }
        (std::mem::take(&mut self.bytes), self.end)
    }

    /// Takes the buffer back with `came` more bytes in it.
    pub fn put_back(&mut self, bytes: Vec<u8>, came: usize) {
        self.bytes = bytes;
        self.end = (self.end + came).min(self.bytes.len());
    }

    /// Bytes that the fragment at the front takes with its mark, once the mark is there.
    fn record_len(&self) -> Option<usize> {
        if !self.fragments.is_empty() {
            return None;
        }
        let mark = self.bytes.get(self.start..self.end)?.first_chunk::<MARK>()?;
        Some(MARK + Mark::parse(*mark).len)
    }

    /// The next record, if all of it has come.
    ///
    /// # Errors
    /// A record that is longer than any reply.
    pub fn next(&mut self) -> Result<Option<&[u8]>, TooLong> {
        if !self.fragments.is_empty() {
            return self.join();
        }
        let waiting = &self.bytes[self.start..self.end];
        let Some(mark) = waiting.first_chunk::<MARK>() else { return Ok(None) };
        let mark = Mark::parse(*mark);
        if !mark.last {
            return self.join();
        }
        if mark.len > LONGEST {
            return Err(TooLong { limit: LONGEST });
        }
        let whole = MARK + mark.len;
        if waiting.len() < whole {
            return Ok(None);
        }
        let at = self.start + MARK;
        self.start += whole;
        Ok(Some(&self.bytes[at..at + mark.len]))
    }

    fn join(&mut self) -> Result<Option<&[u8]>, TooLong> {
        let mut rest = &self.bytes[self.start..self.end];
        let complete = self.fragments.feed(&mut rest)?;
        self.start = self.end - rest.len();
        if !complete {
            return Ok(None);
        }
        self.joined = self.fragments.finish();
        Ok(Some(&self.joined))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However the stream is cut, and records into fragments: the same records come out.
        #[test]
        fn records_survive_any_cutting(
            records in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 1..3), 1..9),
            cuts in prop::collection::vec(1usize..70, 1..20),
            capacity in 4usize..100,
        ) {
            let mut stream = Vec::new();
            for fragments in &records {
                for (at, fragment) in fragments.iter().enumerate() {
                    let last = if at + 1 == fragments.len() { 1 << 31 } else { 0 };
                    stream.extend((fragment.len() as u32 | last).to_be_bytes());
                    stream.extend(fragment);
                }
            }
            let mut inbox = Inbox::new(capacity);
            let (mut rest, mut found) = (&stream[..], Vec::new());
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (mut buffer, at) = inbox.lend();
                prop_assert!(at < buffer.len());
                let came = cuts.next().unwrap().min(rest.len()).min(buffer.len() - at);
                buffer[at..at + came].copy_from_slice(&rest[..came]);
                rest = &rest[came..];
                inbox.put_back(buffer, came);
                while let Some(record) = inbox.next().unwrap() {
                    found.push(record.to_vec());
                }
            }
            let expected: Vec<Vec<u8>> = records.iter().map(|fragments| fragments.concat()).collect();
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn what_no_reply_can_be_is_refused() {
        let mut inbox = Inbox::new(64);
        let (mut buffer, _) = inbox.lend();
        buffer[..4].copy_from_slice(&[0xff; 4]);
        inbox.put_back(buffer, 4);
        assert!(inbox.next().is_err());
    }
}
