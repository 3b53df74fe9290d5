"""Shows every operation with its arguments and its result on standard error. In the class era's style.

The counterpart in Python of GlusterFS's debug/trace: it has both halves of every operation of glupy but
`fremovexattr`, and reads the fields of nearly every structure.
"""

import sys
from time import gmtime, strftime
from uuid import UUID

from gluster.glupy import *

dl.get_id.restype = c_long
dl.get_id.argtypes = [POINTER(call_frame_t)]
dl.get_rootunique.restype = c_uint64
dl.get_rootunique.argtypes = [POINTER(call_frame_t)]


def gfid_text(gfid):
    return str(UUID(bytes=bytes(gfid)))


def time_text(seconds, nanoseconds):
    return "%s.%09d" % (strftime("%Y-%m-%d %H:%M:%S", gmtime(seconds)), nanoseconds)


def mode_text(buf):
    prot = buf.contents.ia_prot
    text = ""
    for who in (prot.owner, prot.group, prot.other):
        text += ("r" if who.read else "-") + ("w" if who.write else "-") + ("x" if who.execn else "-")
    flags = [name for name in ("suid", "sgid", "sticky") if getattr(prot, name)]
    return text + "".join("+" + flag for flag in flags)


def loc_text(loc):
    place = loc.contents
    return "(path=%s, gfid=%s, name=%s)" % (place.path, gfid_text(place.gfid), place.name)


def fd_text(fd):
    if not fd:
        return "NULL"
    file = fd.contents
    return "(gfid=%s, flags=0%o, pid=%d)" % (gfid_text(file.inode.contents.gfid), file.flags, file.pid)


def iatt_text(buf):
    if not buf:
        return "NULL"
    iatt = buf.contents
    return "(gfid=%s, ino=%d, type=%d, mode=%s, nlink=%d, uid=%d, gid=%d, size=%d, blocks=%d, mtime=%s)" % (
        gfid_text(iatt.ia_gfid),
        iatt.ia_no,
        iatt.ia_type,
        mode_text(buf),
        iatt.ia_nlink,
        iatt.ia_uid,
        iatt.ia_gid,
        iatt.ia_size,
        iatt.ia_blocks,
        time_text(iatt.ia_mtime, iatt.ia_mtime_nsec),
    )


def inode_text(inode):
    return gfid_text(inode.contents.gfid) if inode else "NULL"


def show(frame, half, text):
    print("%d %d %s: %s" % (dl.get_rootunique(frame), dl.get_id(frame), half, text), file=sys.stderr)


class xlator(Translator):
    def __init__(self, c_this):
        Translator.__init__(self, c_this)

    def lookup_fop(self, frame, this, loc, xdata):
        show(frame, "lookup_fop", "loc=%s" % (loc_text(loc),))
        dl.wind_lookup(frame, POINTER(xlator_t)(), loc, xdata)
        return 0

    def lookup_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent):
        text = "op_ret=%d, op_errno=%d, inode=%s, buf=%s, postparent=%s" % (
            op_ret,
            op_errno,
            inode_text(inode),
            iatt_text(buf),
            iatt_text(postparent),
        )
        show(frame, "lookup_cbk", text)
        dl.unwind_lookup(frame, cookie, this, op_ret, op_errno, inode, buf, xdata, postparent)
        return 0

    def create_fop(self, frame, this, loc, flags, mode, umask, fd, xdata):
        text = "loc=%s, flags=0%o, mode=0%o, umask=0%o, fd=%s" % (
            loc_text(loc),
            flags,
            mode,
            umask,
            fd_text(fd),
        )
        show(frame, "create_fop", text)
        dl.wind_create(frame, POINTER(xlator_t)(), loc, flags, mode, umask, fd, xdata)
        return 0

    def create_cbk(self, frame, cookie, this, op_ret, op_errno, fd, inode, buf, preparent, postparent, xdata):
        text = "op_ret=%d, op_errno=%d, fd=%s, inode=%s, buf=%s, preparent=%s, postparent=%s" % (
            op_ret,
            op_errno,
            fd_text(fd),
            inode_text(inode),
            iatt_text(buf),
            iatt_text(preparent),
            iatt_text(postparent),
        )
        show(frame, "create_cbk", text)
        dl.unwind_create(frame, cookie, this, op_ret, op_errno, fd, inode, buf, preparent, postparent, xdata)
        return 0

    def open_fop(self, frame, this, loc, flags, fd, xdata):
        show(frame, "open_fop", "loc=%s, flags=0%o, fd=%s" % (loc_text(loc), flags, fd_text(fd)))
        dl.wind_open(frame, POINTER(xlator_t)(), loc, flags, fd, xdata)
        return 0

    def open_cbk(self, frame, cookie, this, op_ret, op_errno, fd, xdata):
        show(frame, "open_cbk", "op_ret=%d, op_errno=%d, fd=%s" % (op_ret, op_errno, fd_text(fd)))
        dl.unwind_open(frame, cookie, this, op_ret, op_errno, fd, xdata)
        return 0

    def readv_fop(self, frame, this, fd, size, offset, flags, xdata):
        show(frame, "readv_fop", "fd=%s, size=%d, offset=%d, flags=0%o" % (fd_text(fd), size, offset, flags))
        dl.wind_readv(frame, POINTER(xlator_t)(), fd, size, offset, flags, xdata)
        return 0

    def readv_cbk(self, frame, cookie, this, op_ret, op_errno, vector, count, stbuf, iobref, xdata):
        text = "op_ret=%d, op_errno=%d, count=%d, stbuf=%s" % (
            op_ret,
            op_errno,
            count,
            iatt_text(stbuf),
        )
        show(frame, "readv_cbk", text)
        dl.unwind_readv(frame, cookie, this, op_ret, op_errno, vector, count, stbuf, iobref, xdata)
        return 0

    def writev_fop(self, frame, this, fd, vector, count, offset, flags, iobref, xdata):
        show(frame, "writev_fop", "fd=%s, count=%d, offset=%d, flags=0%o" % (fd_text(fd), count, offset, flags))
        dl.wind_writev(frame, POINTER(xlator_t)(), fd, vector, count, offset, flags, iobref, xdata)
        return 0

    def writev_cbk(self, frame, cookie, this, op_ret, op_errno, prebuf, postbuf, xdata):
        text = "op_ret=%d, op_errno=%d, prebuf=%s, postbuf=%s" % (
            op_ret,
            op_errno,
            iatt_text(prebuf),
            iatt_text(postbuf),
        )
        show(frame, "writev_cbk", text)
        dl.unwind_writev(frame, cookie, this, op_ret, op_errno, prebuf, postbuf, xdata)
        return 0

    def opendir_fop(self, frame, this, loc, fd, xdata):
        show(frame, "opendir_fop", "loc=%s, fd=%s" % (loc_text(loc), fd_text(fd)))
        dl.wind_opendir(frame, POINTER(xlator_t)(), loc, fd, xdata)
        return 0

    def opendir_cbk(self, frame, cookie, this, op_ret, op_errno, fd, xdata):
        show(frame, "opendir_cbk", "op_ret=%d, op_errno=%d, fd=%s" % (op_ret, op_errno, fd_text(fd)))
        dl.unwind_opendir(frame, cookie, this, op_ret, op_errno, fd, xdata)
        return 0

    def readdir_fop(self, frame, this, fd, size, offset, xdata):
        show(frame, "readdir_fop", "fd=%s, size=%d, offset=%d" % (fd_text(fd), size, offset))
        dl.wind_readdir(frame, POINTER(xlator_t)(), fd, size, offset, xdata)
        return 0

    def readdir_cbk(self, frame, cookie, this, op_ret, op_errno, entries, xdata):
        show(frame, "readdir_cbk", "op_ret=%d, op_errno=%d" % (op_ret, op_errno))
        dl.unwind_readdir(frame, cookie, this, op_ret, op_errno, entries, xdata)
        return 0

    def readdirp_fop(self, frame, this, fd, size, offset, xdata):
        show(frame, "readdirp_fop", "fd=%s, size=%d, offset=%d" % (fd_text(fd), size, offset))
        dl.wind_readdirp(frame, POINTER(xlator_t)(), fd, size, offset, xdata)
        return 0

    def readdirp_cbk(self, frame, cookie, this, op_ret, op_errno, entries, xdata):
        show(frame, "readdirp_cbk", "op_ret=%d, op_errno=%d" % (op_ret, op_errno))
        dl.unwind_readdirp(frame, cookie, this, op_ret, op_errno, entries, xdata)
        return 0

    def stat_fop(self, frame, this, loc, xdata):
        show(frame, "stat_fop", "loc=%s" % (loc_text(loc),))
        dl.wind_stat(frame, POINTER(xlator_t)(), loc, xdata)
        return 0

    def stat_cbk(self, frame, cookie, this, op_ret, op_errno, buf, xdata):
        show(frame, "stat_cbk", "op_ret=%d, op_errno=%d, buf=%s" % (op_ret, op_errno, iatt_text(buf)))
        dl.unwind_stat(frame, cookie, this, op_ret, op_errno, buf, xdata)
        return 0

    def fstat_fop(self, frame, this, fd, xdata):
        show(frame, "fstat_fop", "fd=%s" % (fd_text(fd),))
        dl.wind_fstat(frame, POINTER(xlator_t)(), fd, xdata)
        return 0

    def fstat_cbk(self, frame, cookie, this, op_ret, op_errno, buf, xdata):
        show(frame, "fstat_cbk", "op_ret=%d, op_errno=%d, buf=%s" % (op_ret, op_errno, iatt_text(buf)))
        dl.unwind_fstat(frame, cookie, this, op_ret, op_errno, buf, xdata)
        return 0

    def statfs_fop(self, frame, this, loc, xdata):
        show(frame, "statfs_fop", "loc=%s" % (loc_text(loc),))
        dl.wind_statfs(frame, POINTER(xlator_t)(), loc, xdata)
        return 0

    def statfs_cbk(self, frame, cookie, this, op_ret, op_errno, buf, xdata):
        show(frame, "statfs_cbk", "op_ret=%d, op_errno=%d" % (op_ret, op_errno))
        dl.unwind_statfs(frame, cookie, this, op_ret, op_errno, buf, xdata)
        return 0

    def setxattr_fop(self, frame, this, loc, dictionary, flags, xdata):
        show(frame, "setxattr_fop", "loc=%s, flags=0%o" % (loc_text(loc), flags))
        dl.wind_setxattr(frame, POINTER(xlator_t)(), loc, dictionary, flags, xdata)
        return 0

    def setxattr_cbk(self, frame, cookie, this, op_ret, op_errno, xdata):
        show(frame, "setxattr_cbk", "op_ret=%d, op_errno=%d" % (op_ret, op_errno))
        dl.unwind_setxattr(frame, cookie, this, op_ret, op_errno, xdata)
        return 0

    def getxattr_fop(self, frame, this, loc, name, xdata):
        show(frame, "getxattr_fop", "loc=%s, name=%s" % (loc_text(loc), name))
        dl.wind_getxattr(frame, POINTER(xlator_t)(), loc, name, xdata)
        return 0

    def getxattr_cbk(self, frame, cookie, this, op_ret, op_errno, dictionary, xdata):
        show(frame, "getxattr_cbk", "op_ret=%d, op_errno=%d" % (op_ret, op_errno))
        dl.unwind_getxattr(frame, cookie, this, op_ret, op_errno, dictionary, xdata)
        return 0

    def fsetxattr_fop(self, frame, this, fd, dictionary, flags, xdata):
        show(frame, "fsetxattr_fop", "fd=%s, flags=0%o" % (fd_text(fd), flags))
        dl.wind_fsetxattr(frame, POINTER(xlator_t)(), fd, dictionary, flags, xdata)
        return 0

    def fsetxattr_cbk(self, frame, cookie, this, op_ret, op_errno, xdata):
        show(frame, "fsetxattr_cbk", "op_ret=%d, op_errno=%d" % (op_ret, op_errno))
        dl.unwind_fsetxattr(frame, cookie, this, op_ret, op_errno, xdata)
        return 0

    def fgetxattr_fop(self, frame, this, fd, name, xdata):
        show(frame, "fgetxattr_fop", "fd=%s, name=%s" % (fd_text(fd), name))
        dl.wind_fgetxattr(frame, POINTER(xlator_t)(), fd, name, xdata)
        return 0

    def fgetxattr_cbk(self, frame, cookie, this, op_ret, op_errno, dictionary, xdata):
        show(frame, "fgetxattr_cbk", "op_ret=%d, op_errno=%d" % (op_ret, op_errno))
        dl.unwind_fgetxattr(frame, cookie, this, op_ret, op_errno, dictionary, xdata)
        return 0

    def removexattr_fop(self, frame, this, loc, name, xdata):
        show(frame, "removexattr_fop", "loc=%s, name=%s" % (loc_text(loc), name))
        dl.wind_removexattr(frame, POINTER(xlator_t)(), loc, name, xdata)
        return 0

    def removexattr_cbk(self, frame, cookie, this, op_ret, op_errno, xdata):
        show(frame, "removexattr_cbk", "op_ret=%d, op_errno=%d" % (op_ret, op_errno))
        dl.unwind_removexattr(frame, cookie, this, op_ret, op_errno, xdata)
        return 0

    def link_fop(self, frame, this, oldloc, newloc, xdata):
        show(frame, "link_fop", "oldloc=%s, newloc=%s" % (loc_text(oldloc), loc_text(newloc)))
        dl.wind_link(frame, POINTER(xlator_t)(), oldloc, newloc, xdata)
        return 0

    def link_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
        text = "op_ret=%d, op_errno=%d, inode=%s, buf=%s, preparent=%s, postparent=%s" % (
            op_ret,
            op_errno,
            inode_text(inode),
            iatt_text(buf),
            iatt_text(preparent),
            iatt_text(postparent),
        )
        show(frame, "link_cbk", text)
        dl.unwind_link(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
        return 0

    def symlink_fop(self, frame, this, linkname, loc, umask, xdata):
        show(frame, "symlink_fop", "linkname=%s, loc=%s, umask=0%o" % (linkname, loc_text(loc), umask))
        dl.wind_symlink(frame, POINTER(xlator_t)(), linkname, loc, umask, xdata)
        return 0

    def symlink_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
        text = "op_ret=%d, op_errno=%d, inode=%s, buf=%s, preparent=%s, postparent=%s" % (
            op_ret,
            op_errno,
            inode_text(inode),
            iatt_text(buf),
            iatt_text(preparent),
            iatt_text(postparent),
        )
        show(frame, "symlink_cbk", text)
        dl.unwind_symlink(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
        return 0

    def unlink_fop(self, frame, this, loc, xflags, xdata):
        show(frame, "unlink_fop", "loc=%s, xflags=%d" % (loc_text(loc), xflags))
        dl.wind_unlink(frame, POINTER(xlator_t)(), loc, xflags, xdata)
        return 0

    def unlink_cbk(self, frame, cookie, this, op_ret, op_errno, preparent, postparent, xdata):
        text = "op_ret=%d, op_errno=%d, preparent=%s, postparent=%s" % (
            op_ret,
            op_errno,
            iatt_text(preparent),
            iatt_text(postparent),
        )
        show(frame, "unlink_cbk", text)
        dl.unwind_unlink(frame, cookie, this, op_ret, op_errno, preparent, postparent, xdata)
        return 0

    def readlink_fop(self, frame, this, loc, size, xdata):
        show(frame, "readlink_fop", "loc=%s, size=%d" % (loc_text(loc), size))
        dl.wind_readlink(frame, POINTER(xlator_t)(), loc, size, xdata)
        return 0

    def readlink_cbk(self, frame, cookie, this, op_ret, op_errno, path, buf, xdata):
        text = "op_ret=%d, op_errno=%d, path=%s, buf=%s" % (
            op_ret,
            op_errno,
            path,
            iatt_text(buf),
        )
        show(frame, "readlink_cbk", text)
        dl.unwind_readlink(frame, cookie, this, op_ret, op_errno, path, buf, xdata)
        return 0

    def mkdir_fop(self, frame, this, loc, mode, umask, xdata):
        show(frame, "mkdir_fop", "loc=%s, mode=0%o, umask=0%o" % (loc_text(loc), mode, umask))
        dl.wind_mkdir(frame, POINTER(xlator_t)(), loc, mode, umask, xdata)
        return 0

    def mkdir_cbk(self, frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata):
        text = "op_ret=%d, op_errno=%d, inode=%s, buf=%s, preparent=%s, postparent=%s" % (
            op_ret,
            op_errno,
            inode_text(inode),
            iatt_text(buf),
            iatt_text(preparent),
            iatt_text(postparent),
        )
        show(frame, "mkdir_cbk", text)
        dl.unwind_mkdir(frame, cookie, this, op_ret, op_errno, inode, buf, preparent, postparent, xdata)
        return 0

    def rmdir_fop(self, frame, this, loc, xflags, xdata):
        show(frame, "rmdir_fop", "loc=%s, xflags=%d" % (loc_text(loc), xflags))
        dl.wind_rmdir(frame, POINTER(xlator_t)(), loc, xflags, xdata)
        return 0

    def rmdir_cbk(self, frame, cookie, this, op_ret, op_errno, preparent, postparent, xdata):
        text = "op_ret=%d, op_errno=%d, preparent=%s, postparent=%s" % (
            op_ret,
            op_errno,
            iatt_text(preparent),
            iatt_text(postparent),
        )
        show(frame, "rmdir_cbk", text)
        dl.unwind_rmdir(frame, cookie, this, op_ret, op_errno, preparent, postparent, xdata)
        return 0
