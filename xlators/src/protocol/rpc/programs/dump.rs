//! GF-DUMP: which programs there are, and the ping.

use crate::protocol::xdr::wire_structs;

/// Number of the program.
pub const PROGRAM: u32 = 123_451_501;
/// Its version.
pub const VERSION: u32 = 1;

/// Lists the programs.
pub const DUMP: u32 = 1;
/// Is anybody there? Answered with [`super::PlainRsp`].
pub const PING: u32 = 2;

wire_structs! {
    /// `gf_dump_req`
    DumpReq { gfs_id: u64 }
    /// `gf_prog_detail` without its link
    Program<'a> { name: &'a [u8], number: u64, version: u64 }
    /// `gf_dump_rsp`
    DumpRsp<'a> { gfs_id: u64, op_ret: i32, op_errno: i32, programs: Vec<Program<'a>> }
}
