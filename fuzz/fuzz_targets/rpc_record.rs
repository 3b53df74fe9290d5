//! Any stream is records or refused, and any record is a message or refused; memory stays within the limit.
#![no_main]

use kiln_xlators::protocol::rpc::message::{Call, Reply};
use kiln_xlators::protocol::rpc::record::{Assembler, whole};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let _ = (whole(bytes), Call::parse(bytes), Reply::parse(bytes));
    let mut assembler = Assembler::new(LIMIT);
    let mut rest = bytes;
    while !rest.is_empty() {
        match assembler.feed(&mut rest) {
            Ok(true) => {
                let record = assembler.finish();
                if let Ok(call) = Call::parse(&record) {
                    assert!(call.arguments <= record.len());
                    call.credential.groups.iter().for_each(drop);
                }
            }
            Ok(false) => {}
            Err(_) => break,
        }
        assert!(assembler.gathered().len() <= LIMIT);
    }
});
