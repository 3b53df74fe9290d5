//! Any bytes are arguments or a reply of a fop or refused; what was read and written reads the same again.
#![no_main]

use kiln_xlators::protocol::rpc::programs::fops::{PROCEDURES, rewrite_reply, rewrite_request};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let number = u32::from(*first) % PROCEDURES;
    for rewrite in [rewrite_request, rewrite_reply] {
        if let Some(Ok((wire, read))) = rewrite(number, body) {
            assert!(read <= body.len());
            let (again, size) =
                rewrite(number, &wire).expect("the same number").expect("what was written reads");
            assert_eq!((size, again), (wire.len(), wire));
        }
    }
});
