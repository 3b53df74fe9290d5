//! GlusterFS's programs.

pub mod callback;
pub mod dump;
pub mod fops;
pub mod handshake;
pub mod portmap;

use crate::protocol::xdr::wire_structs;

wire_structs! {
    /// `gf_common_rsp`: how most calls of the older programs are answered, a ping among them
    PlainRsp<'a> { op_ret: i32, op_errno: i32, xdata: &'a [u8] }
}
