"""glupy's API of the article era: ``from gluster import *``, then decorated functions at the module's level.

``class xlator`` registers them in its constructor: ``dl.set_lookup_fop(xl, lookup_fop)``. Each function must pass its
request on with ``dl.wind_X`` or answer it with ``dl.unwind_X``, exactly once.
"""

from ._bridge.article_types import *  # noqa: F403
from ._bridge.article_types import __all__ as _type_names
from ._bridge.ctypes_names import *  # noqa: F403
from ._bridge.ctypes_names import __all__ as _ctypes_names
from ._bridge.library import Library
from ._bridge.structures import (
    IA_IFBLK,
    IA_IFCHR,
    IA_IFDIR,
    IA_IFIFO,
    IA_IFLNK,
    IA_IFREG,
    IA_IFSOCK,
    IA_INVAL,
    call_frame_t,
    dev_t,
    dict_t,
    fd_ctx,
    fd_lk_ctx,
    fd_t,
    gf_dirent_t,
    ia_prot_t,
    iatt_t,
    inode_ctx,
    inode_t,
    inode_table_t,
    iobref_t,
    iovec_t,
    list_head,
    mem_pool,
    rwxperm_t,
    statvfs_t,
    xlator_t,
)
from ._bridge.structures import article_loc_t as loc_t

__all__ = [
    "dl",
    "loc_t",
    "IA_IFBLK",
    "IA_IFCHR",
    "IA_IFDIR",
    "IA_IFIFO",
    "IA_IFLNK",
    "IA_IFREG",
    "IA_IFSOCK",
    "IA_INVAL",
    "call_frame_t",
    "dev_t",
    "dict_t",
    "fd_ctx",
    "fd_lk_ctx",
    "fd_t",
    "gf_dirent_t",
    "ia_prot_t",
    "iatt_t",
    "inode_ctx",
    "inode_t",
    "inode_table_t",
    "iobref_t",
    "iovec_t",
    "list_head",
    "mem_pool",
    "rwxperm_t",
    "statvfs_t",
    "xlator_t",
]
__all__ += _type_names
__all__ += _ctypes_names

dl = Library(loc_t)
"""The functions of the host."""
