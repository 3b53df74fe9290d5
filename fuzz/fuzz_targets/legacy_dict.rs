//! Any bytes are a dictionary of the older kind or refused; what was read and written reads the same again.
#![no_main]

use kiln_xlators::protocol::xdr::LegacyDict;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(dict) = LegacyDict::parse(bytes) {
        assert_eq!(LegacyDict::parse(&dict.to_bytes()), Ok(dict));
    }
});
