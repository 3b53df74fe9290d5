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
    /// SELinux label, under the name that clients use.
    SELINUX = c"security.selinux";

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
    /// An object without a gfid is fine for this lookup.
    GFIDLESS_LOOKUP = c"gfidless-lookup";
    /// All extended attributes of the object.
    LIST_XATTR = c"list-xattr";
    /// Size of a regular file.
    GET_SIZE = c"get-size";
    /// Locks of names in the directory; answered by features/locks.
    ENTRYLK_COUNT = c"glusterfs.entrylk-count";
    /// Locks of the inode; answered by features/locks.
    INODELK_COUNT = c"glusterfs.inodelk-count";
    /// Locks of the inode in one domain; answered by features/locks.
    INODELK_DOM_COUNT = c"glusterfs.inodelk-dom-count";
    /// POSIX locks; answered by features/locks.
    POSIXLK_COUNT = c"glusterfs.posixlk-count";
    /// A lock of the name in the parent; answered by features/locks.
    PARENT_ENTRYLK = c"glusterfs.parent-entrylk";
    /// Ask for the locks in each domain that a key with [`INODELK_DOM_PREFIX`] names.
    MULTI_DOM_LK_COUNT = c"glusterfs.multi-dom-lk-cnt-req";
    /// Prefix of keys that end in a domain.
    INODELK_DOM_PREFIX = c"glusterfs.inodelk-dom-prefix:";
    /// Of an lk: 1 for a lock that binds all, 0 for an advisory one.
    LK_MODE = c"glusterfs.lk.lkmode";
    /// On files that only holders of locks may read and write.
    ENFORCE_MANDATORY_LOCK = c"trusted.glusterfs.enforce-mandatory-lock";
    /// Of a lock request: what the client calls itself.
    CONNECTION_ID = c"connection-id";
    /// Virtual attribute of a descriptor: its locks, to be taken over by another descriptor.
    LOCKINFO = c"trusted.glusterfs.lockinfo";
    /// Prefix of virtual attributes: clears locks.
    CLEAR_LOCKS_PREFIX = c"glusterfs.clrlk";
    /// Prefix of virtual attributes: ends waits of the caller's own process.
    INTERRUPT_LOCKS_PREFIX = c"glusterfs.intrlk";
    /// Virtual attribute of setxattr: no lock of the object changes from now on.
    META_LOCK = c"glusterfs.lock-migration-meta-lock";
    /// Virtual attribute of setxattr: locks change again.
    META_UNLOCK = c"glusterfs.lock-migration-meta-unlock";
    /// With [`META_UNLOCK`]: the locks have moved to another brick.
    META_STATUS = c"status";
    /// Echoed by attribute fops; unlink and rename answer with `gf_response_link_count`.
    REQUEST_LINK_COUNT = c"gf_request_link_count";
    /// Attributes after the fop.
    IATT_IN_XATTR = c"dht-get-iatt-in-xattr";
    /// Mode after the fop.
    MODE_IN_XATTR = c"dht-get-mode-in-xattr";
    /// Attributes before the fop.
    PRESTAT = c"virt-gf-prestat";
    /// Attributes after the fop.
    POSTSTAT = c"virt-gf-poststat";
    /// Sync before the reply.
    DURABLE_OP = c"trusted.glusterfs.durable-op";
    /// The setxattr tells all of the object's `user.*` attributes and ACLs: others go.
    SYNC_BACKEND_XATTRS = c"sync_backend_xattrs";

    /// Virtual attribute of setxattr: times to make or to merge into `trusted.glusterfs.mdata`.
    SET_CTIME_MDATA = c"set-ctime-mdata";
    /// Virtual attribute that debug/io-stats acts upon.
    IO_STATS_DUMP = c"trusted.io-stats-dump";
    /// Virtual attribute: brick, host and path of an object.
    PATHINFO = c"trusted.glusterfs.pathinfo";
    /// The same for unprivileged users.
    PATHINFO_USER = c"glusterfs.pathinfo";
    /// Virtual attribute: the id of the server.
    NODE_UUID = c"trusted.glusterfs.node-uuid";
    /// Virtual attribute: the ids of all servers that have the object.
    LIST_NODE_UUIDS = c"trusted.glusterfs.list-node-uuids";
    /// Virtual attribute: the object's path.
    GFID_TO_PATH = c"glusterfs.gfid2path";
    /// Virtual attribute: all paths of the object. (The two names are the wrong way round in GlusterFS, too.)
    GFID_TO_ALL_PATHS = c"glusterfs.gfidtopath";
    /// Virtual attribute, and key of requests: the object's path from the directories' handles.
    ANCESTRY_PATH = c"glusterfs.ancestry.path";
    /// Prefix of virtual attributes of a directory: the spelling of a name that is known but for its case.
    REAL_FILENAME_PREFIX = c"glusterfs.get_real_filename:";
    /// Virtual attribute, and key of requests: POSIX ACL as text.
    ACL_TEXT = c"glusterfs.posix.acl";
    /// The same for the default ACL of a directory.
    ACL_TEXT_DEFAULT = c"glusterfs.posix.default_acl";
    /// Prefix of the virtual attributes of features/index.
    XATTROP_INDEX_PREFIX = c"glusterfs.xattrop_";
    /// Prefix of keys that translators send to each other.
    INTERNAL_CTX_PREFIX = c"glusterfs.internal-ctx";
    /// Prefix of keys that allow a fop to replace its target.
    FORCE_REPLACE_PREFIX = c"force-replace";

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
    /// The answer to it.
    RESPONSE_LINK_COUNT = c"gf_response_link_count";
    /// Ask for the blocks of what is removed; the answer has the same key.
    FILE_BLOCK_COUNT = c"gf_get_file_block_count";
}
