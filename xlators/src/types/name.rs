//! One component of a path.

use std::ffi::{CStr, CString};
use std::fmt;

use kiln_uring::Errno;

/// A base name that a directory can hold: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..` (but see
/// [`Name::dot_dot`]).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(CString);

impl Name {
    /// The longest name, in bytes (`NAME_MAX`).
    pub const MAX: usize = 255;

    /// Checks `bytes`.
    ///
    /// # Errors
    /// `ENAMETOOLONG` over 255 bytes; `EINVAL` when empty, with a NUL, `.` or `..`; `EPERM` with a `/` (what
    /// protocol/server of GlusterFS answers).
    pub fn new(bytes: &[u8]) -> Result<Self, Errno> {
        match bytes {
            b"" | b"." | b".." => Err(Errno::INVAL),
            _ if bytes.contains(&b'/') => Err(Errno::PERM),
            _ if bytes.len() > Self::MAX => Err(Errno::NAMETOOLONG),
            _ => CString::new(bytes).map(Self).map_err(|_| Errno::INVAL),
        }
    }

    /// `..`, which [`Name::new`] refuses: only a lookup may ask for the directory above, and never for that of the root.
    #[must_use]
    pub fn dot_dot() -> Self {
        Self(c"..".into())
    }

    /// Whether it is `..`.
    #[must_use]
    pub fn is_dot_dot(&self) -> bool {
        self.0.as_bytes() == b".."
    }

    /// For a system call.
    #[must_use]
    pub fn as_c_str(&self) -> &CStr {
        &self.0
    }

    /// Without the NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_string_lossy().fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_directory_can_hold() {
        for (bytes, errno) in [
            (&b""[..], Errno::INVAL),
            (b".", Errno::INVAL),
            (b"..", Errno::INVAL),
            (b"a/b", Errno::PERM),
            (b"a\0b", Errno::INVAL),
        ] {
            assert_eq!(Name::new(bytes).unwrap_err(), errno, "{bytes:?}");
        }
        assert!(Name::new(&[b'x'; 255]).is_ok());
        assert_eq!(Name::new(&[b'x'; 256]).unwrap_err(), Errno::NAMETOOLONG);
        assert!(Name::new("имя 名前 \u{1F980}".as_bytes()).is_ok());
    }
}
