//! GlusterFS Handshake: who connects to what, and the volfiles of clients. The opaque fields hold a
//! [`LegacyDict`](crate::protocol::xdr::LegacyDict).

use crate::protocol::xdr::wire_structs;

/// Number of the program.
pub const PROGRAM: u32 = 14_398_633;
/// Its version.
pub const VERSION: u32 = 2;

/// Binds the connection to a brick.
pub const SETVOLUME: u32 = 1;
/// Asks for a client's volfile.
pub const GETSPEC: u32 = 2;
/// Answered like the ping of GF-DUMP.
pub const PING: u32 = 3;
/// Agrees on a version of lock recovery that nobody uses.
pub const SET_LK_VER: u32 = 4;
/// Tells the server of an event.
pub const EVENT_NOTIFY: u32 = 5;
/// Asks for the id of a volume.
pub const GET_VOLUME_INFO: u32 = 6;
/// Asks for snapshots.
pub const GET_SNAPSHOT_INFO: u32 = 7;

wire_structs! {
    /// `gf_setvolume_req`
    SetvolumeReq<'a> { dict: &'a [u8] }
    /// `gf_setvolume_rsp`
    SetvolumeRsp<'a> { op_ret: i32, op_errno: i32, dict: &'a [u8] }
    /// `gf_getspec_req`
    GetspecReq<'a> { flags: u32, key: &'a [u8], xdata: &'a [u8] }
    /// `gf_getspec_rsp`; `op_ret` is the length of the volfile
    GetspecRsp<'a> { op_ret: i32, op_errno: i32, spec: &'a [u8], xdata: &'a [u8] }
    /// `gf_set_lk_ver_req`
    SetLkVerReq<'a> { uid: &'a [u8], lk_ver: i32 }
    /// `gf_set_lk_ver_rsp`
    SetLkVerRsp { op_ret: i32, op_errno: i32, lk_ver: i32 }
    /// `gf_event_notify_req`
    EventNotifyReq<'a> { op: i32, dict: &'a [u8] }
    /// `gf_event_notify_rsp`
    EventNotifyRsp<'a> { op_ret: i32, op_errno: i32, dict: &'a [u8] }
    /// `gf_get_volume_info_req` and `gf_getsnap_name_uuid_req`
    VolumeInfoReq<'a> { dict: &'a [u8] }
    /// `gf_get_volume_info_rsp` and `gf_getsnap_name_uuid_rsp`
    VolumeInfoRsp<'a> { op_ret: i32, op_errno: i32, errstr: &'a [u8], dict: &'a [u8] }
}
