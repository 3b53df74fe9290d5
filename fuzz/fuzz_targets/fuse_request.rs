//! Any bytes from `/dev/fuse` are a request or refused.
#![no_main]

use kiln_xlators::mount::fuse::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = decode(bytes);
});
