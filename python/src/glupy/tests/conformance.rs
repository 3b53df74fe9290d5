//! The example caches against [`kiln_xlators::testing::conformance`]: none hides a name that exists, under any
//! interleaving; glupy's own demonstration does, and is found out.

use std::ops::Range;

use kiln_xlators::testing::conformance::{Plan, Report, Violation, conforms};

use super::{examples, find, python_here};

/// The correct ones: folder and module.
const CORRECT: [(&str, &str); 4] = [
    (".", "negative"),
    (".", "negative_batch"),
    ("glupy", "negative_correct"),
    ("article", "negative_correct"),
];

/// Those that cannot see every fop that makes a name.
const DEMONSTRATIONS: [(&str, &str); 2] = [("glupy", "negative"), ("article", "negative")];

fn play(folder: &str, module: &str, seeds: Range<u64>) -> Result<Report, Box<Violation>> {
    python_here();
    let path = format!("{}:{}", examples(folder).display(), examples(".").display());
    let options = [("module-name", module), ("search-path", path.as_str())];
    // Whether a directory is gone, these caches leave to the layers below.
    let plan = Plan { find, strict_parents: false, ..Plan::default() };
    conforms(&[("features/glupy", &options)], seeds, &plan)
}

/// Insists on a cache that works and hides nothing.
fn hides_nothing(folder: &str, module: &str, seeds: Range<u64>) {
    let report =
        play(folder, module, seeds).unwrap_or_else(|violation| panic!("{folder}/{module}: {violation}"));
    println!("{folder}/{module}: {report:?}");
    assert!(report.spared > 0, "{folder}/{module} never answered: {report:?}");
}

#[test]
fn no_cache_hides_a_name() {
    for (folder, module) in CORRECT {
        hides_nothing(folder, module, 0..60);
    }
}

#[test]
fn the_demonstrations_are_found_out() {
    for (folder, module) in DEMONSTRATIONS {
        let violation = play(folder, module, 0..300).expect_err("it sees only `create`");
        assert!(violation.reason.contains("the name was there all the time"), "{violation}");
    }
}

/// `cargo test --release -p kiln-python --lib hundred_thousand -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes; for a release build"]
fn no_cache_hides_a_name_in_a_hundred_thousand_interleavings() {
    std::thread::scope(|scope| {
        for (folder, module) in CORRECT {
            scope.spawn(move || hides_nothing(folder, module, 0..100_000));
        }
    });
}
