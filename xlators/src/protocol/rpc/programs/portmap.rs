//! Gluster Portmap: which port a brick has.

use crate::protocol::xdr::wire_structs;

/// Number of the program.
pub const PROGRAM: u32 = 34_123_456;
/// Its version.
pub const VERSION: u32 = 1;

/// From a brick to its port.
pub const PORT_BY_BRICK: u32 = 1;

wire_structs! {
    /// `pmap_port_by_brick_req`
    PortByBrickReq<'a> { brick: &'a [u8] }
    /// `pmap_port_by_brick_rsp`; `status` 1 means that it runs
    PortByBrickRsp { op_ret: i32, op_errno: i32, status: i32, port: i32 }
    /// `pmap_brick_by_port_req`
    BrickByPortReq { port: i32 }
    /// `pmap_brick_by_port_rsp`
    BrickByPortRsp<'a> { op_ret: i32, op_errno: i32, status: i32, brick: &'a [u8] }
    /// `pmap_signin_req`
    SigninReq<'a> { brick: &'a [u8], port: i32, pid: i32 }
    /// `pmap_signin_rsp` and `pmap_signout_rsp`
    SigninRsp { op_ret: i32, op_errno: i32 }
    /// `pmap_signout_req`
    SignoutReq<'a> { brick: &'a [u8], port: i32, rdma_port: i32 }
}
