//! GlusterFS 4.x v1: the file operations. All structs are those of `glusterfs4-xdr.x`, with `kind` for `type`.

use kiln_uring::sys::StatFs;

use crate::protocol::xdr::{
    DirEntry, DirEntryPlus, Lease, LockEntry, Reader, Wire, XdrError, to_vec, wire_structs,
};
use crate::types::{Flock, Gfid, Iatt, Xdata};

/// Number of the program.
pub const PROGRAM: u32 = 1_298_437;
/// Its version.
pub const VERSION: u32 = 400;

/// `fd` of a request: nobody has opened the object.
pub const ANONYMOUS_FD: i64 = -2;

/// Bytes of a [`ReadRsp`] without its dictionary: also failed reads are that long.
pub const READ_RSP: usize = 172;

wire_structs! {
    /// `gfx_stat_req`
    StatReq { gfid: Gfid, xdata: Xdata }
    /// `gfx_readlink_req`
    ReadlinkReq { gfid: Gfid, size: u32, xdata: Xdata }
    /// `gfx_mknod_req`
    MknodReq<'a> { pargfid: Gfid, dev: u64, mode: u32, umask: u32, bname: &'a [u8], xdata: Xdata }
    /// `gfx_mkdir_req`
    MkdirReq<'a> { pargfid: Gfid, mode: u32, umask: u32, bname: &'a [u8], xdata: Xdata }
    /// `gfx_unlink_req`
    UnlinkReq<'a> { pargfid: Gfid, bname: &'a [u8], xflags: u32, xdata: Xdata }
    /// `gfx_rmdir_req`
    RmdirReq<'a> { pargfid: Gfid, xflags: i32, bname: &'a [u8], xdata: Xdata }
    /// `gfx_symlink_req`
    SymlinkReq<'a> { pargfid: Gfid, bname: &'a [u8], umask: u32, linkname: &'a [u8], xdata: Xdata }
    /// `gfx_rename_req`
    RenameReq<'a> { oldgfid: Gfid, newgfid: Gfid, oldbname: &'a [u8], newbname: &'a [u8], xdata: Xdata }
    /// `gfx_link_req`
    LinkReq<'a> { oldgfid: Gfid, newgfid: Gfid, newbname: &'a [u8], xdata: Xdata }
    /// `gfx_truncate_req`
    TruncateReq { gfid: Gfid, offset: u64, xdata: Xdata }
    /// `gfx_open_req`
    OpenReq { gfid: Gfid, flags: u32, xdata: Xdata }
    /// `gfx_read_req`
    ReadReq { gfid: Gfid, fd: i64, offset: u64, size: u32, flag: u32, xdata: Xdata }
    /// `gfx_write_req`
    WriteReq { gfid: Gfid, fd: i64, offset: u64, size: u32, flag: u32, xdata: Xdata }
    /// `gfx_statfs_req`
    StatfsReq { gfid: Gfid, xdata: Xdata }
    /// `gfx_flush_req`
    FlushReq { gfid: Gfid, fd: i64, xdata: Xdata }
    /// `gfx_fsync_req`
    FsyncReq { gfid: Gfid, fd: i64, data: u32, xdata: Xdata }
    /// `gfx_setxattr_req`
    SetxattrReq { gfid: Gfid, flags: u32, dict: Xdata, xdata: Xdata }
    /// `gfx_getxattr_req`
    GetxattrReq<'a> { gfid: Gfid, namelen: u32, name: &'a [u8], xdata: Xdata }
    /// `gfx_removexattr_req`
    RemovexattrReq<'a> { gfid: Gfid, name: &'a [u8], xdata: Xdata }
    /// `gfx_opendir_req`
    OpendirReq { gfid: Gfid, xdata: Xdata }
    /// `gfx_fsyncdir_req`
    FsyncdirReq { gfid: Gfid, fd: i64, data: i32, xdata: Xdata }
    /// `gfx_access_req`
    AccessReq { gfid: Gfid, mask: u32, xdata: Xdata }
    /// `gfx_create_req`
    CreateReq<'a> { pargfid: Gfid, flags: u32, mode: u32, umask: u32, bname: &'a [u8], xdata: Xdata }
    /// `gfx_ftruncate_req`
    FtruncateReq { gfid: Gfid, fd: i64, offset: u64, xdata: Xdata }
    /// `gfx_fstat_req`
    FstatReq { gfid: Gfid, fd: i64, xdata: Xdata }
    /// `gfx_lk_req`
    LkReq { gfid: Gfid, fd: i64, cmd: u32, kind: u32, flock: Flock, xdata: Xdata }
    /// `gfx_lookup_req`
    LookupReq<'a> { gfid: Gfid, pargfid: Gfid, flags: u32, bname: &'a [u8], xdata: Xdata }
    /// `gfx_readdir_req`
    ReaddirReq { gfid: Gfid, fd: i64, offset: u64, size: u32, xdata: Xdata }
    /// `gfx_inodelk_req`
    InodelkReq<'a> { gfid: Gfid, cmd: u32, kind: u32, flock: Flock, volume: &'a [u8], xdata: Xdata }
    /// `gfx_finodelk_req`
    FinodelkReq<'a> { gfid: Gfid, fd: i64, cmd: u32, kind: u32, flock: Flock, volume: &'a [u8], xdata: Xdata }
    /// `gfx_entrylk_req`
    EntrylkReq<'a> { gfid: Gfid, cmd: u32, kind: u32, namelen: u64, name: &'a [u8], volume: &'a [u8], xdata: Xdata }
    /// `gfx_fentrylk_req`
    FentrylkReq<'a> { gfid: Gfid, fd: i64, cmd: u32, kind: u32, namelen: u64, name: &'a [u8], volume: &'a [u8], xdata: Xdata }
    /// `gfx_xattrop_req`
    XattropReq { gfid: Gfid, flags: u32, dict: Xdata, xdata: Xdata }
    /// `gfx_fxattrop_req`
    FxattropReq { gfid: Gfid, fd: i64, flags: u32, dict: Xdata, xdata: Xdata }
    /// `gfx_fgetxattr_req`
    FgetxattrReq<'a> { gfid: Gfid, fd: i64, namelen: u32, name: &'a [u8], xdata: Xdata }
    /// `gfx_fsetxattr_req`
    FsetxattrReq { gfid: Gfid, fd: i64, flags: u32, dict: Xdata, xdata: Xdata }
    /// `gfx_rchecksum_req`
    RchecksumReq { gfid: Gfid, fd: i64, offset: u64, len: u32, flags: u32, xdata: Xdata }
    /// `gfx_setattr_req`
    SetattrReq { gfid: Gfid, stbuf: Iatt, valid: i32, xdata: Xdata }
    /// `gfx_fsetattr_req`
    FsetattrReq { gfid: Gfid, fd: i64, stbuf: Iatt, valid: i32, xdata: Xdata }
    /// `gfx_readdirp_req`
    ReaddirpReq { gfid: Gfid, fd: i64, offset: u64, size: u32, xdata: Xdata }
    /// `gfx_release_req`
    ReleaseReq { gfid: Gfid, fd: i64, xdata: Xdata }
    /// `gfx_releasedir_req`
    ReleasedirReq { gfid: Gfid, fd: i64, xdata: Xdata }
    /// `gfx_fremovexattr_req`
    FremovexattrReq<'a> { gfid: Gfid, fd: i64, name: &'a [u8], xdata: Xdata }
    /// `gfx_fallocate_req`
    FallocateReq { gfid: Gfid, fd: i64, flags: u32, offset: u64, size: u64, xdata: Xdata }
    /// `gfx_discard_req`
    DiscardReq { gfid: Gfid, fd: i64, offset: u64, size: u64, xdata: Xdata }
    /// `gfx_zerofill_req`
    ZerofillReq { gfid: Gfid, fd: i64, offset: u64, size: u64, xdata: Xdata }
    /// `gfx_ipc_req`
    IpcReq { op: i32, xdata: Xdata }
    /// `gfx_seek_req`
    SeekReq { gfid: Gfid, fd: i64, offset: u64, what: i32, xdata: Xdata }
    /// `gfx_lease_req`
    LeaseReq { gfid: Gfid, lease: Lease, xdata: Xdata }
    /// `gfx_getactivelk_req`
    GetactivelkReq { gfid: Gfid, xdata: Xdata }
    /// `gfx_setactivelk_req`
    SetactivelkReq<'a> { gfid: Gfid, request: Vec<LockEntry<'a>>, xdata: Xdata }
    /// `gfx_icreate_req`
    IcreateReq { gfid: Gfid, mode: u32, xdata: Xdata }
    /// `gfx_namelink_req`
    NamelinkReq<'a> { pargfid: Gfid, bname: &'a [u8], xdata: Xdata }
    /// `gfx_put_req`
    PutReq<'a> { pargfid: Gfid, bname: &'a [u8], mode: u32, umask: u32, flag: u32, offset: u64, size: u32, xattr: Xdata, xdata: Xdata }
    /// `gfx_copy_file_range_req`
    CopyFileRangeReq { gfid1: Gfid, gfid2: Gfid, fd_in: i64, fd_out: i64, off_in: u64, off_out: u64, size: u32, flag: u32, xdata: Xdata }
}

wire_structs! {
    /// `gfx_common_rsp`
    CommonRsp { op_ret: i32, op_errno: i32, xdata: Xdata }
    /// `gfx_common_iatt_rsp`
    AttrRsp { op_ret: i32, op_errno: i32, xdata: Xdata, stat: Iatt }
    /// `gfx_readlink_rsp`
    ReadlinkRsp<'a> { op_ret: i32, op_errno: i32, xdata: Xdata, stat: Iatt, path: &'a [u8] }
    /// `gfx_common_3iatt_rsp`
    MadeRsp { op_ret: i32, op_errno: i32, xdata: Xdata, stat: Iatt, preparent: Iatt, postparent: Iatt }
    /// `gfx_common_2iatt_rsp`
    ChangedRsp { op_ret: i32, op_errno: i32, xdata: Xdata, prestat: Iatt, poststat: Iatt }
    /// `gfx_rename_rsp`
    RenameRsp {
        op_ret: i32, op_errno: i32, xdata: Xdata,
        stat: Iatt, preoldparent: Iatt, postoldparent: Iatt, prenewparent: Iatt, postnewparent: Iatt,
    }
    /// `gfx_open_rsp`
    OpenRsp { op_ret: i32, op_errno: i32, xdata: Xdata, fd: i64 }
    /// `gfx_read_rsp`; the bytes follow it without padding
    ReadRsp { op_ret: i32, op_errno: i32, stat: Iatt, size: u32, xdata: Xdata }
    /// `gfx_statfs_rsp`
    StatfsRsp { op_ret: i32, op_errno: i32, xdata: Xdata, statfs: StatFs }
    /// `gfx_common_dict_rsp`
    DictRsp { op_ret: i32, op_errno: i32, xdata: Xdata, dict: Xdata, prestat: Iatt, poststat: Iatt }
    /// `gfx_create_rsp`
    CreateRsp {
        op_ret: i32, op_errno: i32, xdata: Xdata, stat: Iatt, fd: u64, preparent: Iatt, postparent: Iatt,
    }
    /// `gfx_lk_rsp`
    LkRsp { op_ret: i32, op_errno: i32, xdata: Xdata, flock: Flock }
    /// `gfx_readdir_rsp`
    ReaddirRsp<'a> { op_ret: i32, op_errno: i32, xdata: Xdata, entries: Vec<DirEntry<'a>> }
    /// `gfx_rchecksum_rsp`
    RchecksumRsp<'a> { op_ret: i32, op_errno: i32, xdata: Xdata, flags: u32, weak: u32, strong: &'a [u8] }
    /// `gfx_readdirp_rsp`
    ReaddirpRsp<'a> { op_ret: i32, op_errno: i32, xdata: Xdata, entries: Vec<DirEntryPlus<'a>> }
    /// `gfx_seek_rsp`
    SeekRsp { op_ret: i32, op_errno: i32, xdata: Xdata, offset: u64 }
    /// `gfx_lease_rsp`
    LeaseRsp { op_ret: i32, op_errno: i32, xdata: Xdata, lease: Lease }
    /// `gfx_getactivelk_rsp`
    GetactivelkRsp<'a> { op_ret: i32, op_errno: i32, xdata: Xdata, locks: Vec<LockEntry<'a>> }
}

/// Calls `$callback` with all procedures: number, GlusterFS's name, request, reply.
macro_rules! for_each_procedure {
    ($callback:ident) => {
        $callback! {
            1 STAT StatReq AttrRsp,
            2 READLINK ReadlinkReq ReadlinkRsp,
            3 MKNOD MknodReq MadeRsp,
            4 MKDIR MkdirReq MadeRsp,
            5 UNLINK UnlinkReq ChangedRsp,
            6 RMDIR RmdirReq ChangedRsp,
            7 SYMLINK SymlinkReq MadeRsp,
            8 RENAME RenameReq RenameRsp,
            9 LINK LinkReq MadeRsp,
            10 TRUNCATE TruncateReq ChangedRsp,
            11 OPEN OpenReq OpenRsp,
            12 READ ReadReq ReadRsp,
            13 WRITE WriteReq ChangedRsp,
            14 STATFS StatfsReq StatfsRsp,
            15 FLUSH FlushReq CommonRsp,
            16 FSYNC FsyncReq ChangedRsp,
            17 SETXATTR SetxattrReq CommonRsp,
            18 GETXATTR GetxattrReq DictRsp,
            19 REMOVEXATTR RemovexattrReq CommonRsp,
            20 OPENDIR OpendirReq OpenRsp,
            21 FSYNCDIR FsyncdirReq CommonRsp,
            22 ACCESS AccessReq CommonRsp,
            23 CREATE CreateReq CreateRsp,
            24 FTRUNCATE FtruncateReq ChangedRsp,
            25 FSTAT FstatReq AttrRsp,
            26 LK LkReq LkRsp,
            27 LOOKUP LookupReq ChangedRsp,
            28 READDIR ReaddirReq ReaddirRsp,
            29 INODELK InodelkReq CommonRsp,
            30 FINODELK FinodelkReq CommonRsp,
            31 ENTRYLK EntrylkReq CommonRsp,
            32 FENTRYLK FentrylkReq CommonRsp,
            33 XATTROP XattropReq DictRsp,
            34 FXATTROP FxattropReq DictRsp,
            35 FGETXATTR FgetxattrReq DictRsp,
            36 FSETXATTR FsetxattrReq CommonRsp,
            37 RCHECKSUM RchecksumReq RchecksumRsp,
            38 SETATTR SetattrReq ChangedRsp,
            39 FSETATTR FsetattrReq ChangedRsp,
            40 READDIRP ReaddirpReq ReaddirpRsp,
            41 RELEASE ReleaseReq CommonRsp,
            42 RELEASEDIR ReleasedirReq CommonRsp,
            43 FREMOVEXATTR FremovexattrReq CommonRsp,
            44 FALLOCATE FallocateReq ChangedRsp,
            45 DISCARD DiscardReq ChangedRsp,
            46 ZEROFILL ZerofillReq ChangedRsp,
            47 IPC IpcReq CommonRsp,
            48 SEEK SeekReq SeekRsp,
            50 LEASE LeaseReq LeaseRsp,
            51 GETACTIVELK GetactivelkReq GetactivelkRsp,
            52 SETACTIVELK SetactivelkReq CommonRsp,
            53 ICREATE IcreateReq AttrRsp,
            54 NAMELINK NamelinkReq ChangedRsp,
            55 PUT PutReq MadeRsp,
            56 COPY_FILE_RANGE CopyFileRangeReq MadeRsp,
        }
    };
}

macro_rules! tables {
    ($($number:literal $name:ident $request:ident $reply:ident,)*) => {
        /// Numbers of the procedures.
        #[allow(missing_docs, reason = "the names are GlusterFS's")]
        pub mod procedure {
            $(pub const $name: u32 = $number;)*
        }

        /// GlusterFS's name of a procedure.
        #[must_use]
        pub const fn name_of(number: u32) -> Option<&'static str> {
            match number {
                $($number => Some(stringify!($name)),)*
                _ => None,
            }
        }

        /// Reads the arguments of a procedure and writes them again; also says how many bytes were read. For tests and
        /// tools; `None` for a number without procedure.
        #[must_use]
        pub fn rewrite_request(number: u32, bytes: &[u8]) -> Option<Result<(Vec<u8>, usize), XdrError>> {
            match number {
                $($number => Some(rewrite::<$request>(bytes)),)*
                _ => None,
            }
        }

        /// The same for a reply.
        #[must_use]
        pub fn rewrite_reply(number: u32, bytes: &[u8]) -> Option<Result<(Vec<u8>, usize), XdrError>> {
            match number {
                $($number => Some(rewrite::<$reply>(bytes)),)*
                _ => None,
            }
        }
    };
}

for_each_procedure!(tables);

fn rewrite<'a, T: Wire<'a>>(bytes: &'a [u8]) -> Result<(Vec<u8>, usize), XdrError> {
    let mut from = Reader::new(bytes);
    let value = T::get(&mut from)?;
    Ok((to_vec(&value), from.position()))
}

/// Most procedures have a number below this.
pub const PROCEDURES: u32 = 57;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::dict::Value;
    use crate::types::{Dict, IaType};
    use proptest::prelude::*;

    #[test]
    fn empty_replies_have_the_sizes_of_the_reference() {
        let expected = [
            (1, 168),
            (2, 172),
            (3, 464),
            (13, 316),
            (8, 760),
            (11, 28),
            (12, READ_RSP),
            (14, 108),
            (18, 328),
            (23, 472),
            (26, 60),
            (28, 24),
            (37, 32),
            (40, 24),
            (47, 20),
            (48, 28),
            (50, 48),
            (51, 24),
        ];
        for (number, size) in expected {
            // A lock's owner is an empty string of four bytes more than the table of the reference counts.
            let size = if number == 26 { 52 } else { size };
            let (wire, read) = rewrite_reply(number, &[0; 1000]).unwrap().unwrap();
            assert_eq!((wire.len(), read), (size, size), "{number}");
        }
        assert_eq!(rewrite_request(13, &[0; 1000]).unwrap().unwrap().1, 52);
        assert_eq!((0..PROCEDURES).filter(|number| name_of(*number).is_some()).count(), 55);
    }

    proptest! {
        /// Whatever decodes is written so that it decodes to the same again.
        #[test]
        fn any_bytes_decode_or_not(number in 0..PROCEDURES, bytes in prop::collection::vec(
            prop_oneof![4 => Just(0u8), 1 => Just(1u8), 1 => any::<u8>()], 0..600)) {
            for rewrite in [rewrite_request, rewrite_reply] {
                if let Some(Ok((wire, read))) = rewrite(number, &bytes) {
                    prop_assert!(read <= bytes.len());
                    let (again, size) = rewrite(number, &wire).unwrap().unwrap();
                    prop_assert_eq!(size, wire.len());
                    prop_assert_eq!(again, wire);
                }
            }
        }

        #[test]
        fn entries_round_trip(names in prop::collection::vec("[^/\0]{1,30}", 0..10), size: u64) {
            let entries = names.iter().map(|name| DirEntryPlus {
                ino: 5, offset: 9, len: name.len() as u32, kind: 8, name: name.as_bytes(),
                stat: Iatt { size, kind: IaType::Regular, ..Iatt::default() },
                dict: Xdata::new(Dict::from_iter([(c"user.a", Value::Uint(size))])),
            }).collect();
            let sent = ReaddirpRsp { op_ret: names.len() as i32, op_errno: 2, xdata: Xdata::NONE, entries };
            let wire = to_vec(&sent);
            prop_assert_eq!(wire.len(), sent.size());
            prop_assert_eq!(ReaddirpRsp::get(&mut Reader::new(&wire)).unwrap(), sent);
        }
    }
}
