//! Which object a fop is about.

use std::fmt;

use super::{Gfid, Name};

/// A location: an object by its gfid, an entry by parent and name, or both.
///
/// With a parent and a name the entry is meant, whatever `gfid` says (it is then only a hint). Without a name the object
/// itself is meant and `gfid` must be known.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Loc {
    /// The object, null when the caller does not know it.
    pub gfid: Gfid,
    /// The directory that holds `name`; null without one.
    pub parent: Gfid,
    /// The entry's name.
    pub name: Option<Name>,
}

impl Loc {
    /// The object itself.
    #[must_use]
    pub const fn object(gfid: Gfid) -> Self {
        Self { gfid, parent: Gfid::NULL, name: None }
    }

    /// The entry `name` of directory `parent`.
    #[must_use]
    pub const fn entry(parent: Gfid, name: Name) -> Self {
        Self { gfid: Gfid::NULL, parent, name: Some(name) }
    }

    /// The entry with what is believed to be its gfid.
    #[must_use]
    pub const fn known_entry(gfid: Gfid, parent: Gfid, name: Name) -> Self {
        Self { gfid, parent, name: Some(name) }
    }

    /// Whether it is the volume's root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.name.is_none() && self.gfid.is_root()
    }
}

impl fmt::Display for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "<gfid:{}>/{name}", self.parent),
            None if self.gfid.is_root() => f.write_str("/"),
            None => write!(f, "<gfid:{}>", self.gfid),
        }
    }
}

impl fmt::Debug for Loc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
