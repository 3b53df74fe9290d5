//! Any bytes are a volfile or refused; what was read and printed reads the same again.
#![no_main]

use kiln_xlators::volfile::{parse, read_bytes, show};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (volfile, report) = read_bytes("fuzz", bytes);
    let _ = (report.to_string(), show::text(&volfile), show::dot(&volfile), show::svg(&volfile));
    if !report.has_errors() {
        let text = volfile.to_string();
        let (again, _) = parse(&text);
        assert_eq!(again.to_string(), text);
    }
});
