//! The test is tested: it lets a correct cache pass and catches each part that is left out.

use super::*;

const NAIVE: &str = "testing/naive-cache";

#[test]
fn no_cache_conforms() {
    let report = conforms(&[], 0..300, &Plan::default()).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(report.absent > 1000 && report.lookups > report.absent + 1000, "{report:?}");
    assert!(report.spared == 0, "{report:?}");
}

#[test]
fn a_correct_cache_conforms() {
    let report = conforms(&[(NAIVE, &[])], 0..1000, &Plan::default())
        .unwrap_or_else(|violation| panic!("{violation}"));
    assert!(report.spared > 500, "{report:?}");
}

#[test]
fn a_seed_is_one_history() {
    let layers: &[LayerSpec<'_>] = &[(NAIVE, &[("fence", "off")])];
    let first = conforms(layers, 0..100_000, &Plan::default()).unwrap_err();
    let again = conforms(layers, first.seed..first.seed + 1, &Plan::default()).unwrap_err();
    assert_eq!(first.to_string(), again.to_string());
}

#[test]
fn whatever_part_is_missing_is_noticed() {
    for part in NAIVE_TYPE.options.iter().map(|part| part.name) {
        let found = conforms(&[(NAIVE, &[(part, "off")])], 0..20_000, &Plan::default());
        let violation = found.expect_err(part);
        assert!(violation.to_string().contains("lookup"), "{violation}");
        println!("without {part}: {}", violation.to_string().lines().next().unwrap_or_default());
    }
}

#[test]
fn real_cores_play_it_too() {
    let plan = Plan { fops: 20, ..Plan::default() };
    let report =
        conforms_on_threads(&[(NAIVE, &[])], 0..20, &plan).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(report.histories, 20);
}

#[test]
fn over_posix_a_forgetful_cache_is_noticed_too() {
    let plan = Plan { fops: 20, ..Plan::default() };
    agrees_with_brick(&[], 0..20, &plan).unwrap_or_else(|violation| panic!("{violation}"));
    for part in ["rename", "link", "shared"] {
        let found = agrees_with_brick(&[(NAIVE, &[(part, "off")])], 0..1000, &plan);
        println!("without {part}: {}", found.expect_err(part).reason);
    }
}
