"""The types of handler functions by name: ``@lookup_fop_t`` of August 2012, ``@OpLookup.fop_type`` of October 2012."""

from .halves import FunctionType, Op

lookup_fop_t = FunctionType("lookup", "fop")
lookup_cbk_t = FunctionType("lookup", "cbk")
create_fop_t = FunctionType("create", "fop")
create_cbk_t = FunctionType("create", "cbk")
open_fop_t = FunctionType("open", "fop")
open_cbk_t = FunctionType("open", "cbk")
readv_fop_t = FunctionType("readv", "fop")
readv_cbk_t = FunctionType("readv", "cbk")
writev_fop_t = FunctionType("writev", "fop")
writev_cbk_t = FunctionType("writev", "cbk")
opendir_fop_t = FunctionType("opendir", "fop")
opendir_cbk_t = FunctionType("opendir", "cbk")
readdir_fop_t = FunctionType("readdir", "fop")
readdir_cbk_t = FunctionType("readdir", "cbk")
readdirp_fop_t = FunctionType("readdirp", "fop")
readdirp_cbk_t = FunctionType("readdirp", "cbk")
stat_fop_t = FunctionType("stat", "fop")
stat_cbk_t = FunctionType("stat", "cbk")
fstat_fop_t = FunctionType("fstat", "fop")
fstat_cbk_t = FunctionType("fstat", "cbk")
statfs_fop_t = FunctionType("statfs", "fop")
statfs_cbk_t = FunctionType("statfs", "cbk")
setxattr_fop_t = FunctionType("setxattr", "fop")
setxattr_cbk_t = FunctionType("setxattr", "cbk")
getxattr_fop_t = FunctionType("getxattr", "fop")
getxattr_cbk_t = FunctionType("getxattr", "cbk")
fsetxattr_fop_t = FunctionType("fsetxattr", "fop")
fsetxattr_cbk_t = FunctionType("fsetxattr", "cbk")
fgetxattr_fop_t = FunctionType("fgetxattr", "fop")
fgetxattr_cbk_t = FunctionType("fgetxattr", "cbk")
removexattr_fop_t = FunctionType("removexattr", "fop")
removexattr_cbk_t = FunctionType("removexattr", "cbk")
fremovexattr_fop_t = FunctionType("fremovexattr", "fop")
fremovexattr_cbk_t = FunctionType("fremovexattr", "cbk")
link_fop_t = FunctionType("link", "fop")
link_cbk_t = FunctionType("link", "cbk")
symlink_fop_t = FunctionType("symlink", "fop")
symlink_cbk_t = FunctionType("symlink", "cbk")
unlink_fop_t = FunctionType("unlink", "fop")
unlink_cbk_t = FunctionType("unlink", "cbk")
readlink_fop_t = FunctionType("readlink", "fop")
readlink_cbk_t = FunctionType("readlink", "cbk")
mkdir_fop_t = FunctionType("mkdir", "fop")
mkdir_cbk_t = FunctionType("mkdir", "cbk")
rmdir_fop_t = FunctionType("rmdir", "fop")
rmdir_cbk_t = FunctionType("rmdir", "cbk")
mknod_fop_t = FunctionType("mknod", "fop")
mknod_cbk_t = FunctionType("mknod", "cbk")
rename_fop_t = FunctionType("rename", "fop")
rename_cbk_t = FunctionType("rename", "cbk")
put_fop_t = FunctionType("put", "fop")
put_cbk_t = FunctionType("put", "cbk")
namelink_fop_t = FunctionType("namelink", "fop")
namelink_cbk_t = FunctionType("namelink", "cbk")

OpLookup = Op(lookup_fop_t, lookup_cbk_t)
OpCreate = Op(create_fop_t, create_cbk_t)
OpOpen = Op(open_fop_t, open_cbk_t)
OpReadv = Op(readv_fop_t, readv_cbk_t)
OpWritev = Op(writev_fop_t, writev_cbk_t)
OpOpendir = Op(opendir_fop_t, opendir_cbk_t)
OpReaddir = Op(readdir_fop_t, readdir_cbk_t)
OpReaddirp = Op(readdirp_fop_t, readdirp_cbk_t)
OpStat = Op(stat_fop_t, stat_cbk_t)
OpFstat = Op(fstat_fop_t, fstat_cbk_t)
OpStatfs = Op(statfs_fop_t, statfs_cbk_t)
OpSetxattr = Op(setxattr_fop_t, setxattr_cbk_t)
OpGetxattr = Op(getxattr_fop_t, getxattr_cbk_t)
OpFsetxattr = Op(fsetxattr_fop_t, fsetxattr_cbk_t)
OpFgetxattr = Op(fgetxattr_fop_t, fgetxattr_cbk_t)
OpRemovexattr = Op(removexattr_fop_t, removexattr_cbk_t)
OpFremovexattr = Op(fremovexattr_fop_t, fremovexattr_cbk_t)
OpLink = Op(link_fop_t, link_cbk_t)
OpSymlink = Op(symlink_fop_t, symlink_cbk_t)
OpUnlink = Op(unlink_fop_t, unlink_cbk_t)
OpReadlink = Op(readlink_fop_t, readlink_cbk_t)
OpMkdir = Op(mkdir_fop_t, mkdir_cbk_t)
OpRmdir = Op(rmdir_fop_t, rmdir_cbk_t)
OpMknod = Op(mknod_fop_t, mknod_cbk_t)
OpRename = Op(rename_fop_t, rename_cbk_t)
OpPut = Op(put_fop_t, put_cbk_t)
OpNamelink = Op(namelink_fop_t, namelink_cbk_t)

__all__ = [
    "lookup_fop_t",
    "lookup_cbk_t",
    "create_fop_t",
    "create_cbk_t",
    "open_fop_t",
    "open_cbk_t",
    "readv_fop_t",
    "readv_cbk_t",
    "writev_fop_t",
    "writev_cbk_t",
    "opendir_fop_t",
    "opendir_cbk_t",
    "readdir_fop_t",
    "readdir_cbk_t",
    "readdirp_fop_t",
    "readdirp_cbk_t",
    "stat_fop_t",
    "stat_cbk_t",
    "fstat_fop_t",
    "fstat_cbk_t",
    "statfs_fop_t",
    "statfs_cbk_t",
    "setxattr_fop_t",
    "setxattr_cbk_t",
    "getxattr_fop_t",
    "getxattr_cbk_t",
    "fsetxattr_fop_t",
    "fsetxattr_cbk_t",
    "fgetxattr_fop_t",
    "fgetxattr_cbk_t",
    "removexattr_fop_t",
    "removexattr_cbk_t",
    "fremovexattr_fop_t",
    "fremovexattr_cbk_t",
    "link_fop_t",
    "link_cbk_t",
    "symlink_fop_t",
    "symlink_cbk_t",
    "unlink_fop_t",
    "unlink_cbk_t",
    "readlink_fop_t",
    "readlink_cbk_t",
    "mkdir_fop_t",
    "mkdir_cbk_t",
    "rmdir_fop_t",
    "rmdir_cbk_t",
    "mknod_fop_t",
    "mknod_cbk_t",
    "rename_fop_t",
    "rename_cbk_t",
    "put_fop_t",
    "put_cbk_t",
    "namelink_fop_t",
    "namelink_cbk_t",
    "OpLookup",
    "OpCreate",
    "OpOpen",
    "OpReadv",
    "OpWritev",
    "OpOpendir",
    "OpReaddir",
    "OpReaddirp",
    "OpStat",
    "OpFstat",
    "OpStatfs",
    "OpSetxattr",
    "OpGetxattr",
    "OpFsetxattr",
    "OpFgetxattr",
    "OpRemovexattr",
    "OpFremovexattr",
    "OpLink",
    "OpSymlink",
    "OpUnlink",
    "OpReadlink",
    "OpMkdir",
    "OpRmdir",
    "OpMknod",
    "OpRename",
    "OpPut",
    "OpNamelink",
]
