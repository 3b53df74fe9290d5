//! Handles: the second name that every object has, `.glusterfs/xx/yy/<gfid>`, by which it is found without its path.
//!
//! | object | its handle |
//! | --- | --- |
//! | anything but a directory | a hard link of the object itself (of the symbolic link itself, too) |
//! | a directory | a symbolic link `../../<p0>/<p1>/<parent gfid>/<name>` with link count 1 |
//! | the root | a symbolic link `../../..` |
//!
//! Source: GlusterFS v10.3, `xlators/storage/posix/src/posix-handle.c`.

use std::ffi::{CStr, CString};

use crate::types::{Gfid, Name};

/// Bytes of `xx/yy/<gfid>`.
const LEN: usize = 3 + 3 + 36;

/// Path of a handle relative to `.glusterfs`, on the stack.
#[derive(Clone, Copy)]
pub struct HandlePath([u8; LEN + 1]);

impl HandlePath {
    /// The handle of `gfid`.
    #[must_use]
    pub fn new(gfid: Gfid) -> Self {
        let text = gfid.to_text();
        let mut path = [0; LEN + 1];
        path[0..2].copy_from_slice(&text[0..2]);
        path[2] = b'/';
        path[3..5].copy_from_slice(&text[2..4]);
        path[5] = b'/';
        path[6..LEN].copy_from_slice(&text);
        Self(path)
    }

    /// For a system call.
    #[must_use]
    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.0).unwrap_or_default()
    }

    /// The directory that holds the handle: `xx/yy`.
    #[must_use]
    pub fn leaf_dir(&self) -> CString {
        CString::new(&self.0[..5]).unwrap_or_default()
    }

    /// The first-level directory: `xx`.
    #[must_use]
    pub fn first_dir(&self) -> CString {
        CString::new(&self.0[..2]).unwrap_or_default()
    }
}

impl std::fmt::Debug for HandlePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_c_str().fmt(f)
    }
}

/// The gfid as the name of a file (in `unlink/`, `landfill/`, `xx/yy/`).
#[must_use]
pub fn gfid_name(gfid: Gfid) -> CString {
    CString::new(gfid.to_text()).unwrap_or_default()
}

/// Target of the root's handle.
pub const ROOT_TARGET: &CStr = c"../../..";

/// Target of a directory's handle.
#[must_use]
pub fn directory_target(parent: Gfid, name: &Name) -> CString {
    let text = parent.to_text();
    let mut target = Vec::with_capacity(6 + 6 + 36 + 1 + name.as_bytes().len());
    target.extend_from_slice(b"../../");
    target.extend_from_slice(&text[0..2]);
    target.push(b'/');
    target.extend_from_slice(&text[2..4]);
    target.push(b'/');
    target.extend_from_slice(&text);
    target.push(b'/');
    target.extend_from_slice(name.as_bytes());
    CString::new(target).unwrap_or_default()
}

/// Parent and name out of a directory handle's target; `None` when it has not the exact form, that is, when it is no
/// directory's handle or was damaged.
#[must_use]
pub fn parse_directory_target(target: &[u8]) -> Option<(Gfid, Name)> {
    let rest = target.strip_prefix(b"../../")?;
    let (fan, rest) = rest.split_at_checked(6)?;
    let (text, rest) = rest.split_at_checked(36)?;
    let name = rest.strip_prefix(b"/")?;
    let parent = Gfid::from_text(text)?;
    let canonical = parent.to_text();
    let fits = text == canonical
        && fan[..2] == text[..2]
        && fan[2] == b'/'
        && fan[3..5] == text[2..4]
        && fan[5] == b'/';
    if fits { Some((parent, Name::new(name).ok()?)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        let gfid: Gfid = "5b0f4ad7-3c1e-4d52-9c5c-0a1b2c3d4e5f".parse().unwrap();
        assert_eq!(HandlePath::new(gfid).as_c_str(), c"5b/0f/5b0f4ad7-3c1e-4d52-9c5c-0a1b2c3d4e5f");
        assert_eq!(HandlePath::new(gfid).leaf_dir().as_c_str(), c"5b/0f");
        assert_eq!(
            directory_target(Gfid::ROOT, &Name::new(b"a b").unwrap()).as_c_str(),
            c"../../00/00/00000000-0000-0000-0000-000000000001/a b"
        );
    }

    #[test]
    fn damaged_targets_are_refused() {
        for target in [
            &b"../../.."[..],
            b"../../00/00/00000000-0000-0000-0000-000000000001/",
            b"../../00/01/00000000-0000-0000-0000-000000000001/a",
            b"../../00/00/00000000-0000-0000-0000-000000000001/..",
            b"../../00/00/00000000-0000-0000-0000-000000000001/a/b",
            b"/etc/passwd",
            b"",
        ] {
            assert!(parse_directory_target(target).is_none(), "{:?}", String::from_utf8_lossy(target));
        }
    }

    proptest! {
        #[test]
        fn targets_round_trip(parent: [u8; 16], name in "[^/\0]{1,60}") {
            prop_assume!(name != "." && name != "..");
            let name = Name::new(name.as_bytes()).unwrap();
            let parent = Gfid::from_bytes(parent);
            let target = directory_target(parent, &name);
            prop_assert_eq!(parse_directory_target(target.as_bytes()), Some((parent, name)));
        }

        #[test]
        fn any_target_is_parsed_or_refused(target: Vec<u8>) {
            let _ = parse_directory_target(&target);
        }
    }
}
