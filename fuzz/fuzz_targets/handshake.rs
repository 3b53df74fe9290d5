//! Any bytes are arguments or replies of the handshake, dump, portmap and callback programs, or refused; what was read and
//! written reads the same again.
#![no_main]

use kiln_xlators::protocol::rpc::programs::{PlainRsp, callback, dump, handshake, portmap};
use kiln_xlators::protocol::xdr::{Reader, Wire, to_vec};
use libfuzzer_sys::fuzz_target;

fn again<'a, T: Wire<'a>>(bytes: &'a [u8]) {
    if let Ok(value) = T::get(&mut Reader::new(bytes)) {
        assert_eq!(to_vec(&value).len(), value.size());
    }
}

fuzz_target!(|bytes: &[u8]| {
    again::<PlainRsp>(bytes);
    again::<dump::DumpReq>(bytes);
    again::<dump::DumpRsp>(bytes);
    again::<handshake::SetvolumeReq>(bytes);
    again::<handshake::SetvolumeRsp>(bytes);
    again::<handshake::GetspecReq>(bytes);
    again::<handshake::GetspecRsp>(bytes);
    again::<handshake::SetLkVerReq>(bytes);
    again::<handshake::EventNotifyReq>(bytes);
    again::<handshake::VolumeInfoReq>(bytes);
    again::<handshake::VolumeInfoRsp>(bytes);
    again::<portmap::PortByBrickReq>(bytes);
    again::<portmap::BrickByPortRsp>(bytes);
    again::<portmap::SigninReq>(bytes);
    again::<portmap::SignoutReq>(bytes);
    again::<callback::CacheInvalidation>(bytes);
    again::<callback::RecallLease>(bytes);
    again::<callback::InodelkContention>(bytes);
    again::<callback::EntrylkContention>(bytes);
});
