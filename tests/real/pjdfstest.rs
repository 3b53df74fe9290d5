//! The POSIX conformance suite on a mount.

use std::process::Command;

use crate::support::{KilnMount, Scratch, text};

/// Time stamps of the backing file system move every 4 ms (HZ=250) at worst; the tests sleep this long between two.
const CONFIG: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}

[settings]
naptime = 0.02
allow_remount = false

[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

#[test]
fn no_test_fails() {
    let scratch = Scratch::new();
    let config = scratch.join("pjdfstest.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let mount = KilnMount::new(&scratch.brick(), &scratch.mnt());
    let program = std::env::var_os("PJDFSTEST").unwrap_or_else(|| "pjdfstest".into());
    let output = Command::new(program)
        .arg("-c")
        .arg(&config)
        .arg("-p")
        .arg(scratch.mnt())
        .output()
        .expect("pjdfstest; tests/run.sh installs it");
    let said = text(&output);
    let summary = said
        .lines()
        .find(|line| line.starts_with("Summary:"))
        .unwrap_or_else(|| panic!("no summary:\n{said}"));
    println!("{summary}");
    let failed: Vec<_> =
        said.lines().filter(|line| line.trim_end().ends_with("FAILED") || line.contains("error:")).collect();
    assert!(summary.contains(" 0 failed"), "{summary}\n{}\n{said}", failed.join("\n"));
    // Native ext4 passes 383; one test is skipped where the kernel tells no limit of links. A suite that skips everything
    // passes nothing.
    let passed: u32 =
        summary.split(", ").find_map(|part| part.strip_suffix(" passed")?.parse().ok()).unwrap_or(0);
    assert!(passed >= 382, "{summary}");
    mount.stop();
}
