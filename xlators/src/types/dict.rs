//! GlusterFS's dictionaries: the xattrs of a fop, and the requests and answers that ride along as *xdata*.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::fmt;

use kiln_uring::sys::Timespec;

use super::{Gfid, Iatt};

/// A key: a C string, because most keys are names of extended attributes.
pub type Key = Cow<'static, CStr>;

/// Three times with whether each is meant: the value of the key `set-ctime-mdata`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MdataTimes {
    /// Change of the inode.
    pub ctime: Timespec,
    /// Change of the data.
    pub mtime: Timespec,
    /// Access.
    pub atime: Timespec,
}

/// A typed value. The variants are the type codes of the 4.x wire protocol.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any signed integer.
    Int(i64),
    /// Any unsigned integer.
    Uint(u64),
    /// Floating point.
    Double(f64),
    /// Text without NUL.
    Str(String),
    /// Bytes: the value of an extended attribute.
    Bin(Vec<u8>),
    /// A gfid.
    Gfid(Gfid),
    /// Attributes.
    Iatt(Box<Iatt>),
    /// Times for `trusted.glusterfs.mdata`.
    Mdata(Box<MdataTimes>),
}

impl Value {
    /// Any integer type as signed; text is parsed as stock does. `None` for everything else.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Uint(value) => i64::try_from(*value).ok(),
            Self::Str(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Any integer type as unsigned; text is parsed as stock does. `None` for everything else.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(value) => u64::try_from(*value).ok(),
            Self::Uint(value) => Some(*value),
            Self::Str(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// A gfid, which clients send both as gfid and as 16 bytes.
    #[must_use]
    pub fn as_gfid(&self) -> Option<Gfid> {
        match self {
            Self::Gfid(gfid) => Some(*gfid),
            Self::Bin(bytes) => Gfid::from_slice(bytes),
            _ => None,
        }
    }

    /// The bytes that go into an extended attribute: strings without NUL, binaries and gfids as they are; `None` for the
    /// types that no xattr holds.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Str(text) => Some(text.as_bytes()),
            Self::Bin(bytes) => Some(bytes),
            Self::Gfid(gfid) => Some(gfid.as_bytes()),
            _ => None,
        }
    }

    /// Text, also when it came as bytes (with or without a NUL at the end).
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            Self::Bin(bytes) => std::str::from_utf8(bytes.strip_suffix(b"\0").unwrap_or(bytes)).ok(),
            _ => None,
        }
    }
}

/// Keys with typed values, in the order of their insertion. Dictionaries are small (a handful of keys), so a search walks
/// the list.
#[derive(Clone, Default, PartialEq)]
pub struct Dict(Vec<(Key, Value)>);

impl Dict {
    /// No keys.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &CStr) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known.as_ref() == key).map(|(_, value)| value)
    }

    /// Whether `key` is there.
    #[must_use]
    pub fn contains(&self, key: &CStr) -> bool {
        self.get(key).is_some()
    }

    /// Whether `key` is there with a value that is true (a non-zero number, or text that says so).
    #[must_use]
    pub fn is_set(&self, key: &CStr) -> bool {
        match self.get(key) {
            Some(Value::Str(text)) => !matches!(text.as_str(), "" | "0" | "no" | "off" | "false" | "disable"),
            Some(value) => value.as_i64().is_none_or(|number| number != 0),
            None => false,
        }
    }

    /// Sets `key`, replacing what it held.
    pub fn set(&mut self, key: impl Into<Key>, value: Value) {
        let key = key.into();
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    /// Removes `key` and returns what it held.
    pub fn remove(&mut self, key: &CStr) -> Option<Value> {
        let at = self.0.iter().position(|(known, _)| known.as_ref() == key)?;
        Some(self.0.remove(at).1)
    }

    /// Keeps the pairs for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&CStr, &Value) -> bool) {
        self.0.retain(|(key, value)| keep(key, value));
    }

    /// All pairs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&CStr, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(key, value)| (key.to_string_lossy(), value))).finish()
    }
}

impl<K: Into<Key>> FromIterator<(K, Value)> for Dict {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(pairs: I) -> Self {
        let mut dict = Self::new();
        for (key, value) in pairs {
            dict.set(key, value);
        }
        dict
    }
}

impl IntoIterator for Dict {
    type Item = (Key, Value);
    type IntoIter = std::vec::IntoIter<(Key, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The extra dictionary of a request or a reply; mostly there is none.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Xdata(Option<Box<Dict>>);

impl Xdata {
    /// No dictionary.
    pub const NONE: Self = Self(None);

    /// A dictionary, possibly empty (which differs from none on the wire).
    #[must_use]
    pub fn new(dict: Dict) -> Self {
        Self(Some(Box::new(dict)))
    }

    /// The dictionary, if there is one.
    #[must_use]
    pub fn dict(&self) -> Option<&Dict> {
        self.0.as_deref()
    }

    /// The dictionary itself, if there is one.
    #[must_use]
    pub fn into_dict(self) -> Option<Dict> {
        self.0.map(|dict| *dict)
    }

    /// The dictionary, made when there was none.
    pub fn make(&mut self) -> &mut Dict {
        self.0.get_or_insert_default()
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &CStr) -> Option<&Value> {
        self.dict()?.get(key)
    }

    /// See [`Dict::is_set`].
    #[must_use]
    pub fn is_set(&self, key: &CStr) -> bool {
        self.dict().is_some_and(|dict| dict.is_set(key))
    }

    /// Whether `key` is there at all.
    #[must_use]
    pub fn contains(&self, key: &CStr) -> bool {
        self.get(key).is_some()
    }

    /// Whether there is no dictionary.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Removes `key`; the dictionary stays, even when it becomes empty.
    pub fn remove(&mut self, key: &CStr) -> Option<Value> {
        self.0.as_deref_mut()?.remove(key)
    }
}

impl From<Dict> for Xdata {
    fn from(dict: Dict) -> Self {
        Self::new(dict)
    }
}

/// A key from bytes that came from outside.
///
/// # Errors
/// `EINVAL` when empty or with a NUL inside, `ERANGE` over 255 bytes (`XATTR_NAME_MAX`), as the kernel answers.
pub fn key_from_bytes(bytes: &[u8]) -> Result<Key, kiln_uring::Errno> {
    match bytes.len() {
        0 => Err(kiln_uring::Errno::INVAL),
        1..=255 => CString::new(bytes).map(Cow::Owned).map_err(|_| kiln_uring::Errno::INVAL),
        _ => Err(kiln_uring::Errno::RANGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_in_any_type() {
        assert_eq!(Value::Str("42".into()).as_u64(), Some(42));
        assert_eq!(Value::Int(-1).as_u64(), None);
        assert_eq!(Value::Uint(u64::MAX).as_i64(), None);
        assert_eq!(Value::Bin(vec![1; 16]).as_gfid(), Gfid::from_slice(&[1; 16]));
    }

    #[test]
    fn setting_replaces_and_order_stays() {
        let mut dict: Dict = [(c"a", Value::Int(1)), (c"b", Value::Int(2))]
            .into_iter()
            .map(|(k, v)| (Key::Borrowed(k), v))
            .collect();
        dict.set(c"a", Value::Int(3));
        assert_eq!(dict.iter().map(|(key, _)| key).collect::<Vec<_>>(), [c"a", c"b"]);
        assert_eq!(dict.get(c"a"), Some(&Value::Int(3)));
        assert!(dict.is_set(c"a") && !dict.is_set(c"c"));
        assert_eq!(dict.remove(c"a"), Some(Value::Int(3)));
        assert!(!dict.contains(c"a"));
    }
}
