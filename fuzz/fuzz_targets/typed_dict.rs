//! Any bytes are a dictionary of the 4.x programs or refused; what was read and written reads the same again.
#![no_main]

use kiln_xlators::protocol::xdr::{Reader, Wire, to_vec};
use kiln_xlators::types::Xdata;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(dict) = <Xdata as Wire>::get(&mut Reader::new(bytes)) {
        let wire = to_vec(&dict);
        assert_eq!(wire.len(), dict.size());
        let again = <Xdata as Wire>::get(&mut Reader::new(&wire)).expect("what was written reads");
        assert_eq!(to_vec(&again), wire);
    }
});
