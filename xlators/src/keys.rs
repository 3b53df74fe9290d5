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

    /// Of a write: is it at the end of the file?
    WRITE_IS_APPEND = c"glusterfs.write-is-append";
    /// Of a write: the attributes before and after enclose nothing else.
    WRITE_UPDATE_ATOMIC = c"glusterfs.write-update-atomic";
    /// Of a write: not to a file that is protected by [`PROTECT_WRITES`].
    AVOID_OVERWRITE = c"glusterfs.avoid.overwrite";
    /// How many descriptors are open on the object.
    OPEN_FD_COUNT = c"glusterfs.open-fd-count";
    /// The same without anonymous ones.
    OPEN_ACTIVE_FD_COUNT = c"glusterfs.open-active-fd-count";
    /// Of an fsync: it may wait for others.
    BATCH_FSYNC = c"batch-fsync";
    /// Of a checksum: is the block all zeros?
    CHECK_ZERO_FILLED = c"check-zero-filled";
    /// The answer to [`CHECK_ZERO_FILLED`].
    BUF_HAS_ZEROES = c"buf-has-zeroes";
    /// The strong checksum is SHA-256.
    FIPS_MODE_RCHECKSUM = c"fips-mode-rchecksum";
    /// Of a readdirp: leave directories out.
    FILTER_DIRECTORIES = c"readdir-filter-directories";
    /// Of a readdirp: the directory's ancestors instead of its entries.
    ANCESTRY_DENTRY = c"glusterfs.ancestry.dentry";

    /// Names the parent's attribute that must be as the request has it.
    PREOP_PARENT_KEY = c"glusterfs.preop.parent.key";
    /// Tells that it was not.
    PREOP_CHECK_FAILED = c"glusterfs.preop.check.failed";
    /// An unlink fails when the file is open.
    DONT_UNLINK_OPEN = c"dont-unlink-for-open-fd";
    /// An unlink fails unless it is a distribute link file.
    UNLINK_ONLY_LINKTO = c"unlink-only-if-dht-linkto-file";
    /// A distribute link file in the way is replaced.
    FORCE_REPLACE = c"force-replace";
    /// Links of the object before an unlink or of a rename's victim.
    LINK_COUNT = c"get-link-count";
    /// Ask for the links of what is removed.
    REQUEST_LINK_COUNT = c"gf_request_link_count";
    /// The answer to it.
    RESPONSE_LINK_COUNT = c"gf_response_link_count";
    /// Ask for the blocks of what is removed; the answer has the same key.
    FILE_BLOCK_COUNT = c"gf_get_file_block_count";
    /// Ask for the attributes of the object; the answer has the same key.
    IATT_IN_XATTR = c"dht-get-iatt-in-xattr";
    /// A lookup of an entry without gfid may succeed with a null one.
    GFIDLESS_LOOKUP = c"gfidless-lookup";
}
