//! `trusted.gfid2path.<hash>`: one extended attribute per name of a non-directory, so that a path can be told from a gfid.
//!
//! The value is `<parent gfid>/<name>` without NUL, the key's suffix the XXH64 (seed 0) of the value in 16 lower-case hex
//! digits. Source: GlusterFS v10.3, `xlators/storage/posix/src/posix-gfid-path.c`; golden vectors in the tests.

use std::ffi::CString;

use xxhash_rust::xxh64::xxh64;

use crate::keys;
use crate::types::{Gfid, Name};

/// Key and value for the name `name` in directory `parent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gfid2Path {
    /// Name of the extended attribute.
    pub key: CString,
    /// Its value.
    pub value: Vec<u8>,
}

impl Gfid2Path {
    /// For one name.
    #[must_use]
    pub fn new(parent: Gfid, name: &Name) -> Self {
        let mut value = Vec::with_capacity(36 + 1 + name.as_bytes().len());
        value.extend_from_slice(&parent.to_text());
        value.push(b'/');
        value.extend_from_slice(name.as_bytes());
        let key = format!("{}{:016x}", keys::GFID2PATH_PREFIX.to_str().unwrap_or_default(), xxh64(&value, 0));
        Self { key: CString::new(key).unwrap_or_default(), value }
    }

    /// Parent and name out of a value; `None` when it is damaged.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<(Gfid, Name)> {
        let (text, rest) = value.split_at_checked(36)?;
        Some((Gfid::from_text(text)?, Name::new(rest.strip_prefix(b"/")?).ok()?))
    }

    /// Whether `key` is the name of such an attribute.
    #[must_use]
    pub fn is_key(key: &[u8]) -> bool {
        key.starts_with(keys::GFID2PATH_PREFIX.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_from_a_stock_brick() {
        for (name, key) in [
            ("ff", "trusted.gfid2path.833011c19abc420d"),
            ("cc", "trusted.gfid2path.603887368cd500c4"),
            ("sl", "trusted.gfid2path.af08f9354878dd7c"),
            ("so", "trusted.gfid2path.5c92ad635897cbdd"),
        ] {
            let name = Name::new(name.as_bytes()).unwrap();
            let attr = Gfid2Path::new(Gfid::ROOT, &name);
            assert_eq!(attr.key.to_str().unwrap(), key);
            assert_eq!(Gfid2Path::parse(&attr.value), Some((Gfid::ROOT, name)));
            assert!(Gfid2Path::is_key(key.as_bytes()));
        }
        assert_eq!(Gfid2Path::parse(b"short"), None);
    }
}
