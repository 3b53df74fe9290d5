//! `dict_serialize`: the older dictionary, inside of opaque fields. All values are bytes; numbers are text.

use super::XdrError;

/// Most pairs of one dictionary.
const MAX_PAIRS: usize = 1024;

/// Pairs of key and value, as they lie in the message. Text values end with a NUL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegacyDict {
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl LegacyDict {
    /// No pairs.
    #[must_use]
    pub const fn new() -> Self {
        Self { pairs: Vec::new() }
    }

    /// Reads one. No bytes at all are a dictionary without pairs.
    ///
    /// # Errors
    /// See [`XdrError`]; lengths that reach past the end or below zero make all of it invalid.
    pub fn parse(bytes: &[u8]) -> Result<Self, XdrError> {
        if bytes.is_empty() {
            return Ok(Self::new());
        }
        let (count, mut rest) = length(bytes)?;
        if count > MAX_PAIRS {
            return Err(XdrError::Many);
        }
        let mut dict = Self::new();
        for _ in 0..count {
            let (key_len, after) = length(rest)?;
            let (value_len, after) = length(after)?;
            let (key, after) = after.split_at_checked(key_len).ok_or(XdrError::Short)?;
            let (_nul, after) = after.split_first().ok_or(XdrError::Short)?;
            let (value, after) = after.split_at_checked(value_len).ok_or(XdrError::Short)?;
            dict.set(key, value.to_vec());
            rest = after;
        }
        Ok(dict)
    }

    /// The bytes of it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let length = |len: usize, out: &mut Vec<u8>| out.extend((len as u32).to_be_bytes());
        length(self.pairs.len(), &mut out);
        for (key, value) in &self.pairs {
            length(key.len(), &mut out);
            length(value.len(), &mut out);
            out.extend(key);
            out.push(0);
            out.extend(value);
        }
        out
    }

    /// Sets `key` to these very bytes.
    pub fn set(&mut self, key: &[u8], value: Vec<u8>) {
        match self.pairs.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.pairs.push((key.to_vec(), value)),
        }
    }

    /// Sets `key` to text.
    pub fn set_text(&mut self, key: &str, text: &str) {
        self.set(key.as_bytes(), [text.as_bytes(), b"\0"].concat());
    }

    /// The bytes of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.pairs.iter().find(|(known, _)| known == key.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// The text of `key`, up to its NUL; `None` when it is not UTF-8.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        let value = self.get(key)?;
        std::str::from_utf8(value.split(|byte| *byte == 0).next().unwrap_or_default()).ok()
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pairs.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

/// A length of at least zero, and what follows.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), XdrError> {
    let (word, rest) = bytes.split_first_chunk::<4>().ok_or(XdrError::Short)?;
    let number = i32::from_be_bytes(*word);
    usize::try_from(number).map(|number| (number, rest)).map_err(|_| XdrError::Value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_reference() {
        let mut dict = LegacyDict::new();
        dict.set_text("fops-version", "1298437");
        let expected = b"\0\0\0\x01\0\0\0\x0c\0\0\0\x08fops-version\x001298437\0";
        assert_eq!(dict.to_bytes(), expected);
        assert_eq!(LegacyDict::parse(expected).unwrap().text("fops-version"), Some("1298437"));
    }

    #[test]
    fn lies_are_refused() {
        for bad in [
            &b"\0\0\0"[..],
            b"\x7f\xff\xff\xff",
            b"\xff\xff\xff\xff",
            b"\0\0\0\x01\0\0\0\x05\0\0\0\0abc",
            b"\0\0\0\x01\xff\xff\xff\xff\0\0\0\0abc",
        ] {
            assert!(LegacyDict::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(pairs in prop::collection::vec(("[a-z]{1,8}", any::<Vec<u8>>()), 0..8)) {
            let mut dict = LegacyDict::new();
            for (key, value) in pairs {
                dict.set(key.as_bytes(), value);
            }
            prop_assert_eq!(LegacyDict::parse(&dict.to_bytes()).unwrap(), dict);
        }

        #[test]
        fn any_bytes_are_one_or_refused(bytes: Vec<u8>) {
            let _ = LegacyDict::parse(&bytes);
        }
    }
}
