//! It never hides a name that exists.

use std::ops::Range;

use crate::testing::LayerSpec;
use crate::testing::conformance::{Plan, Report, agrees_with_brick, conforms, conforms_on_threads};

const LAYERS: &[LayerSpec<'_>] = &[("performance/nl-cache", &[])];

fn play(layers: &[LayerSpec<'_>], seeds: Range<u64>, plan: &Plan) -> Report {
    let report = conforms(layers, seeds, plan).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{report:?}");
    report
}

#[test]
fn no_name_is_hidden() {
    let report = play(LAYERS, 0..1500, &Plan::default());
    assert!(report.spared > 500, "{report:?}");
}

#[test]
fn no_name_is_hidden_on_many_cores() {
    play(LAYERS, 0..200, &Plan { cores: 5, clients: 1, fops: 8, ..Plan::default() });
    play(LAYERS, 200..400, &Plan { cores: 1, clients: 5, fops: 8, ..Plan::default() });
}

#[test]
fn no_name_is_hidden_by_impatient_clients() {
    play(LAYERS, 0..500, &Plan { gives_up: 2, ..Plan::default() });
}

#[test]
fn no_name_is_hidden_in_little_memory() {
    // Room for two names on each core: directories make room for each other all the time.
    let little: &[LayerSpec<'_>] = &[("performance/nl-cache", &[("nl-cache-limit", "1400")])];
    play(little, 0..300, &Plan::default());
}

#[test]
fn no_name_is_hidden_on_real_cores() {
    let plan = Plan { fops: 25, ..Plan::default() };
    let report = conforms_on_threads(LAYERS, 0..30, &plan).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{report:?}");
}

#[test]
fn nothing_is_wrong_over_posix_when_all_is_quiet() {
    let plan = Plan { fops: 20, ..Plan::default() };
    let report = agrees_with_brick(LAYERS, 0..150, &plan).unwrap_or_else(|violation| panic!("{violation}"));
    println!("{report:?}");
}

/// `cargo test --release -p kiln-xlators --lib nl_cache -- --ignored --nocapture`
#[test]
#[ignore = "a minute or two without optimization"]
fn a_hundred_thousand_interleavings() {
    play(LAYERS, 0..100_000, &Plan::default());
}
