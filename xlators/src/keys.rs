//! Names of extended attributes and of xdata keys that more than one layer speaks of. Sources: GlusterFS's `glusterfs.h` and
//! `dict` users, v10.3.

use std::ffi::CStr;

macro_rules! keys {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal;)*) => {
        $($(#[doc = $doc])+ pub const $name: &CStr = $text;)*
    };
}

keys! {
    /// The object's id: 16 bytes, on everything.
    GFID = c"trusted.gfid";
    /// Prefix of one xattr per name of a non-directory; the suffix is the XXH64 of the value `<parent gfid>/<name>`.
    GFID2PATH_PREFIX = c"trusted.gfid2path.";
    /// The client's times, 57 bytes.
    MDATA = c"trusted.glusterfs.mdata";
    /// The volume that a brick belongs to: 16 bytes, on the brick's root.
    VOLUME_ID = c"trusted.glusterfs.volume-id";
    /// Prefix of the per-parent link counters.
    PGFID_PREFIX = c"trusted.pgfid.";
    /// POSIX ACL, kernel's binary form.
    ACL_ACCESS = c"system.posix_acl_access";
    /// Default POSIX ACL of a directory, kernel's binary form.
    ACL_DEFAULT = c"system.posix_acl_default";
    /// A distribute link file's target.
    DHT_LINKTO = c"trusted.glusterfs.dht.linkto";
    /// Writes during a migration.
    PROTECT_WRITES = c"trusted.glusterfs.protect.writes";

    /// The gfid that a new object shall have.
    GFID_REQ = c"gfid-req";
    /// An operation of GlusterFS itself.
    INTERNAL_FOP = c"glusterfs-internal-fop";
    /// Whole content of a small file.
    CONTENT = c"glusterfs.content";
    /// Ask for an unlinked file that is still open.
    UNLINKED_LOOKUP = c"unlinked-lookup";
    /// The caller's umask, overriding the argument.
    UMASK = c"umask";
    /// The caller's mode, overriding the argument.
    MODE = c"mode";
}
