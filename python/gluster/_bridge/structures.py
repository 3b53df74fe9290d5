"""The structures of the class era, with the fields that translators know. They are filled from Kiln's values: nothing
else in the brick has these layouts."""

from __future__ import annotations

from ctypes import (
    POINTER,
    Structure,
    Union,
    c_char_p,
    c_int,
    c_int32,
    c_ubyte,
    c_uint,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)

IA_INVAL = 0
IA_IFREG = 1
IA_IFDIR = 2
IA_IFLNK = 3
IA_IFBLK = 4
IA_IFCHR = 5
IA_IFIFO = 6
IA_IFSOCK = 7


class call_frame_t(Structure):
    """A request on its way. Opaque."""


class xlator_t(Structure):
    """A translator of the graph. Opaque."""


class dict_t(Structure):
    """A dictionary. Opaque; stands for a kiln.Dict."""


class gf_dirent_t(Structure):
    """Directory entries. Opaque; stands for the entries of a reply."""


class iobref_t(Structure):
    """What keeps buffers alive. Opaque."""


class iovec_t(Structure):
    """File data. Opaque; stands for a buffer."""


class statvfs_t(Structure):
    """Space of a file system. Opaque; stands for a kiln.StatFs."""


class dev_t(Structure):
    """A device number. Opaque."""


class rwxperm_t(Structure):
    """What one class of users may do."""

    _fields_ = [("read", c_uint8, 1), ("write", c_uint8, 1), ("execn", c_uint8, 1)]


class ia_prot_t(Structure):
    """Permissions."""

    _fields_ = [
        ("suid", c_uint8, 1),
        ("sgid", c_uint8, 1),
        ("sticky", c_uint8, 1),
        ("owner", rwxperm_t),
        ("group", rwxperm_t),
        ("other", rwxperm_t),
    ]


class iatt_t(Structure):
    """Attributes of an object."""

    _fields_ = [
        ("ia_no", c_uint64),
        ("ia_gfid", c_ubyte * 16),
        ("ia_dev", c_uint64),
        ("ia_type", c_uint),
        ("ia_prot", ia_prot_t),
        ("ia_nlink", c_uint32),
        ("ia_uid", c_uint32),
        ("ia_gid", c_uint32),
        ("ia_rdev", c_uint64),
        ("ia_size", c_uint64),
        ("ia_blksize", c_uint32),
        ("ia_blocks", c_uint64),
        ("ia_atime", c_uint32),
        ("ia_atime_nsec", c_uint32),
        ("ia_mtime", c_uint32),
        ("ia_mtime_nsec", c_uint32),
        ("ia_ctime", c_uint32),
        ("ia_ctime_nsec", c_uint32),
    ]


class list_head(Structure):
    """A list. Never filled."""


list_head._fields_ = [("next", POINTER(list_head)), ("prev", POINTER(list_head))]


class mem_pool(Structure):
    """An allocator. Never filled."""

    _fields_ = [
        ("list", list_head),
        ("hot_count", c_int),
        ("cold_count", c_int),
        ("lock", c_void_p),
        ("padded_sizeof_type", c_uint),
        ("pool", c_void_p),
        ("pool_end", c_void_p),
        ("real_sizeof_type", c_int),
        ("alloc_count", c_uint64),
        ("pool_misses", c_uint64),
        ("max_alloc", c_int),
        ("curr_stdalloc", c_int),
        ("max_stdalloc", c_int),
        ("name", c_char_p),
        ("global_list", list_head),
    ]


class _inode_ctx_key(Union):
    _fields_ = [("key", c_uint64), ("xl_key", POINTER(xlator_t))]


class _inode_ctx_value1(Union):
    _fields_ = [("value1", c_uint64), ("ptr1", c_void_p)]


class _inode_ctx_value2(Union):
    _fields_ = [("value2", c_uint64), ("ptr2", c_void_p)]


class inode_ctx(Structure):
    """What translators keep of an inode. Never filled."""

    _anonymous_ = ["u_key", "u_value1", "u_value2"]
    _fields_ = [("u_key", _inode_ctx_key), ("u_value1", _inode_ctx_value1), ("u_value2", _inode_ctx_value2)]


class fd_ctx(Structure):
    """What translators keep of an open file. Never filled."""

    _anonymous_ = ["u_key", "u_value1"]
    _fields_ = [("u_key", _inode_ctx_key), ("u_value1", _inode_ctx_value1)]


class fd_lk_ctx(Structure):
    """Locks of an open file. Never filled."""

    _fields_ = [("lk_list", list_head), ("ref", c_int), ("lock", c_void_p)]


class inode_table_t(Structure):
    """All inodes. Never filled."""


class inode_t(Structure):
    """An object. ``gfid`` and ``ia_type`` are filled as far as they are known."""

    _fields_ = [
        ("table", POINTER(inode_table_t)),
        ("gfid", c_ubyte * 16),
        ("lock", c_void_p),
        ("nlookup", c_uint64),
        ("fd_count", c_uint32),
        ("ref", c_uint32),
        ("ia_type", c_uint),
        ("fd_list", list_head),
        ("dentry_list", list_head),
        ("hashv", list_head),
        ("listv", list_head),
        ("ctx", POINTER(inode_ctx)),
    ]


inode_table_t._fields_ = [
    ("lock", c_void_p),
    ("hashsize", c_uint64),
    ("name", c_char_p),
    ("root", POINTER(inode_t)),
    ("xl", POINTER(xlator_t)),
    ("lru_limit", c_uint32),
    ("inode_hash", POINTER(list_head)),
    ("name_hash", POINTER(list_head)),
    ("active", list_head),
    ("active_size", c_uint32),
    ("lru", list_head),
    ("lru_size", c_uint32),
    ("purge", list_head),
    ("purge_size", c_uint32),
    ("inode_pool", POINTER(mem_pool)),
    ("dentry_pool", POINTER(mem_pool)),
    ("fd_mem_pool", POINTER(mem_pool)),
]


class fd_t(Structure):
    """An open file or directory. ``pid``, ``flags``, ``inode`` and ``anonymous`` are filled."""

    _fields_ = [
        ("pid", c_uint64),
        ("flags", c_int32),
        ("refcount", c_int32),
        ("inode_list", list_head),
        ("inode", POINTER(inode_t)),
        ("lock", c_void_p),
        ("ctx", POINTER(fd_ctx)),
        ("xl_count", c_int),
        ("lk_ctx", POINTER(fd_lk_ctx)),
        ("anonymous", c_uint),
    ]


class loc_t(Structure):
    """A place: an object, a name in a directory, or both. ``path`` is made up from gfid and name."""

    _fields_ = [
        ("path", c_char_p),
        ("name", c_char_p),
        ("inode", POINTER(inode_t)),
        ("parent", POINTER(inode_t)),
        ("gfid", c_ubyte * 16),
        ("pargfid", c_ubyte * 16),
    ]


class article_loc_t(Structure):
    """``loc_t`` as the article era had it."""

    _fields_ = [
        ("path", c_char_p),
        ("name", c_char_p),
        ("inode", c_void_p),
        ("parent", c_void_p),
        ("gfid", c_uint * 4),
        ("pargfid", c_uint * 4),
    ]
