//! The one table of names of extended attributes that are hidden, refused, or treated otherwise. A name that is not in
//! it is passed on to the kernel in both directions.
//!
//! Source: GlusterFS v10.3, `posix-helpers.c` and `posix-inode-fd-ops.c`. The rules for listings hold for geo-replication's names
//! whoever asks, as in stock; only asking for one by its name is allowed to the process of geo-replication.

use std::ffi::CStr;

use kiln_uring::Errno;

use super::fnmatch::fnmatch;
use super::virtual_keys;
use crate::keys;

/// The process id of geo-replication (`GF_CLIENT_PID_GSYNCD`).
const GEO_REPLICATION: i32 = -1;

#[derive(Clone, Copy, Debug)]
enum Names {
    Is(&'static CStr),
    Starts(&'static CStr),
    Like(&'static CStr),
}

impl Names {
    fn contains(self, name: &CStr) -> bool {
        match self {
            Self::Is(one) => one == name,
            Self::Starts(prefix) => name.to_bytes().starts_with(prefix.to_bytes()),
            Self::Like(pattern) => fnmatch(pattern.to_bytes(), name.to_bytes()),
        }
    }
}

/// Who sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Everybody.
    All,
    /// GlusterFS's internal clients (negative process ids).
    Internal,
    /// The process of geo-replication.
    GeoReplication,
    /// Nobody.
    Nobody,
}

impl Seen {
    const fn by(self, pid: i32) -> bool {
        match self {
            Self::All => true,
            Self::Internal => pid < 0,
            Self::GeoReplication => pid == GEO_REPLICATION,
            Self::Nobody => false,
        }
    }
}

/// What setting it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSet {
    /// The kernel decides.
    Store,
    /// Nothing, successfully.
    Drop,
    /// Fails.
    Refuse(Errno),
    /// Times are merged into what is there.
    MergeTimes,
    /// Sets an ACL that is given as text.
    AclText,
    /// Stored, but not on distribute's link files.
    Acl,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    names: Names,
    /// getxattr by name.
    get: Seen,
    /// getxattr of all.
    list: Seen,
    /// `list-xattr` of a lookup.
    copy: Seen,
    set: OnSet,
    /// The errno that removing fails with.
    remove: Option<Errno>,
}

impl Rule {
    const fn new(names: Names) -> Self {
        Self { names, get: Seen::All, list: Seen::All, copy: Seen::All, set: OnSet::Store, remove: None }
    }
}

use Names::{Is, Like, Starts};

const fn identity(name: &'static CStr) -> Rule {
    Rule {
        get: Seen::All, // but see `is_withheld`
        list: Seen::Nobody,
        copy: Seen::Nobody,
        set: OnSet::Drop,
        remove: Some(Errno::PERM),
        ..Rule::new(Is(name))
    }
}

const fn geo_replication(pattern: &'static CStr) -> Rule {
    Rule { get: Seen::GeoReplication, list: Seen::Nobody, copy: Seen::Nobody, ..Rule::new(Like(pattern)) }
}

const fn set_only(names: Names, set: OnSet) -> Rule {
    Rule { set, ..Rule::new(names) }
}

const RULES: &[Rule] = &[
    identity(keys::GFID),
    identity(keys::VOLUME_ID),
    Rule {
        get: Seen::Nobody,
        list: Seen::Nobody,
        copy: Seen::Nobody,
        set: OnSet::Refuse(Errno::OPNOTSUPP),
        remove: Some(Errno::NODATA),
        ..Rule::new(Starts(keys::GFID2PATH_PREFIX))
    },
    // Self-heal copies it, and merges what it copies.
    Rule { get: Seen::Internal, list: Seen::Internal, set: OnSet::MergeTimes, ..Rule::new(Is(keys::MDATA)) },
    Rule { copy: Seen::Nobody, ..Rule::new(Is(keys::SELINUX)) },
    set_only(Is(keys::ACL_ACCESS), OnSet::Acl),
    set_only(Is(keys::ACL_TEXT), OnSet::AclText),
    set_only(Is(keys::ACL_TEXT_DEFAULT), OnSet::AclText),
    set_only(Is(keys::IO_STATS_DUMP), OnSet::Drop),
    set_only(Is(keys::PATHINFO), OnSet::Refuse(Errno::ACCESS)),
    set_only(Is(keys::PATHINFO_USER), OnSet::Refuse(Errno::ACCESS)),
    set_only(Starts(keys::INTERNAL_CTX_PREFIX), OnSet::Drop),
    set_only(Starts(keys::FORCE_REPLACE_PREFIX), OnSet::Drop),
    geo_replication(c"*.glusterfs.*.stime"),
    geo_replication(c"*.glusterfs.*.xtime"),
    geo_replication(c"*.glusterfs.*.entry_stime"),
    geo_replication(c"*.glusterfs.volume-mark.*"),
    geo_replication(c"*.glusterfs.lockinfo"),
    Rule { copy: Seen::Nobody, ..Rule::new(Like(c"trusted.glusterfs.quota.*")) },
];

fn rule(name: &CStr) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.names.contains(name))
}

/// Whether process `pid` may ask for it by name; others are told that there is none.
#[must_use]
pub fn may_get(name: &CStr, pid: i32) -> bool {
    rule(name).is_none_or(|rule| rule.get.by(pid))
}

/// Whether a getxattr that asks for it by name succeeds without an answer, as stock's does.
#[must_use]
pub fn is_withheld(name: &CStr) -> bool {
    name == keys::GFID || name == keys::VOLUME_ID
}

/// Whether it is in the list that process `pid` gets.
#[must_use]
pub fn is_listed(name: &CStr, pid: i32) -> bool {
    rule(name).is_none_or(|rule| rule.list.by(pid))
}

/// Whether `list-xattr` of a lookup tells it.
#[must_use]
pub fn is_copied(name: &CStr) -> bool {
    rule(name).is_none_or(|rule| rule.copy == Seen::All)
}

/// What setting it does.
#[must_use]
pub fn on_set(name: &CStr) -> OnSet {
    rule(name).map_or(OnSet::Store, |rule| rule.set)
}

/// Whether process `pid` may remove it.
///
/// # Errors
/// What removing it fails with.
pub fn check_remove(name: &CStr, pid: i32) -> Result<(), Errno> {
    match rule(name) {
        Some(Rule { remove: Some(errno), .. }) => Err(*errno),
        Some(rule) if !rule.get.by(pid) && rule.get == Seen::Internal => Err(Errno::NODATA),
        _ => Ok(()),
    }
}

/// Whether an xattrop may work on it: what says who an object is changes in no arithmetic way.
///
/// # Errors
/// `EPERM`, and `EOPNOTSUPP` for what is no stored attribute.
pub fn check_xattrop(name: &CStr) -> Result<(), Errno> {
    if virtual_keys::find(name).is_some() {
        return Err(Errno::OPNOTSUPP);
    }
    match on_set(name) {
        OnSet::Store => Ok(()),
        _ => Err(Errno::PERM),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_what() {
        // (name, asked by name with pid 1, -6, -1, listed for pid 1, -6, list-xattr)
        for (name, get, listed, copied) in [
            (c"user.a", [true, true, true], [true, true], true),
            (c"trusted.gfid", [true, true, true], [false, false], false),
            (c"trusted.glusterfs.volume-id", [true, true, true], [false, false], false),
            (c"trusted.gfid2path.0011223344556677", [false, false, false], [false, false], false),
            (c"trusted.glusterfs.mdata", [false, true, true], [false, true], true),
            (c"security.selinux", [true, true, true], [true, true], false),
            (c"trusted.glusterfs.quota.size.1", [true, true, true], [true, true], false),
            (c"trusted.glusterfs.0a0b.xtime", [false, false, true], [false, false], false),
            (c"trusted.glusterfs.0a0b.entry_stime", [false, false, true], [false, false], false),
            (c"trusted.glusterfs.dht", [true, true, true], [true, true], true),
            (c"trusted.afr.vol-client-0", [true, true, true], [true, true], true),
        ] {
            assert_eq!([1, -6, -1].map(|pid| may_get(name, pid)), get, "{name:?}");
            assert_eq!([1, -6].map(|pid| is_listed(name, pid)), listed, "{name:?}");
            assert_eq!(is_copied(name), copied, "{name:?}");
        }
    }

    #[test]
    fn who_may_change_what() {
        assert_eq!(on_set(c"trusted.gfid"), OnSet::Drop);
        assert_eq!(on_set(c"trusted.gfid2path.x"), OnSet::Refuse(Errno::OPNOTSUPP));
        assert_eq!(on_set(c"glusterfs.pathinfo"), OnSet::Refuse(Errno::ACCESS));
        assert_eq!(on_set(c"system.posix_acl_default"), OnSet::Store);
        assert_eq!(check_remove(c"trusted.glusterfs.volume-id", -6), Err(Errno::PERM));
        assert_eq!(check_remove(c"trusted.gfid2path.x", 1), Err(Errno::NODATA));
        assert_eq!(check_remove(c"trusted.glusterfs.mdata", 1), Err(Errno::NODATA));
        assert_eq!(check_remove(c"trusted.glusterfs.mdata", -6), Ok(()));
        assert_eq!(check_remove(c"trusted.glusterfs.0a0b.xtime", 1), Ok(()));
        assert_eq!(check_xattrop(c"trusted.gfid"), Err(Errno::PERM));
        assert_eq!(check_xattrop(c"glusterfs.gfid2path"), Err(Errno::OPNOTSUPP));
        assert_eq!(check_xattrop(c"trusted.ec.version"), Ok(()));
    }
}
