//! Whole bricks: what is counted, what is refused, what is not concluded.

use std::ffi::CString;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use kiln_uring::Errno;
use kiln_uring::sim::{Call, Sim};
use kiln_uring::sys::{How, OpenFlags};

use super::bench::{Bench, handle, missing, on_both};
use crate::storage::posix::boot::BootError;
use crate::storage::posix::check::{CheckError, CheckOptions, Kind, Phase, check, check_path};
use crate::storage::posix::testkit::{Kit, gfid, gfid_n};

/// Something of everything.
fn furnish(bench: &Bench) {
    bench.dir("d", gfid(1));
    bench.file("d/f", gfid(2));
    bench.hard_link("d/f", "one");
    bench.hard_link("d/f", "d/two");
    bench.symlink(c"/nowhere", "s");
    bench.dress("s", gfid(3));
    bench.hard_link("s", "d/s2");
    bench.mknod("fifo", libc::S_IFIFO | 0o600);
    bench.dress("fifo", gfid(4));
    bench.mknod("sock", libc::S_IFSOCK | 0o600);
    bench.dress("sock", gfid(5));
    bench.mknod("dev", libc::S_IFCHR | 0o600);
    bench.dress("dev", gfid(6));
    bench.dir("d/.glusterfs", gfid(7));
    bench.file("d/.glusterfs/.glusterfs", gfid(8));
    for (n, name) in ["new\nline", "имя", "-dash", "🦀", &"n".repeat(255)].into_iter().enumerate() {
        bench.file(&format!("d/{name}"), gfid_n(n as u64 + 1));
    }
}

#[test]
fn everything_is_counted_and_nothing_is_wrong() {
    on_both(|bench| {
        furnish(bench);
        let mut phases = Vec::new();
        let report = check(&bench.sys, &bench.path, &CheckOptions::default(), &mut |progress| {
            phases.push((progress.phase, progress.total));
        })
        .unwrap();
        assert_eq!(report.findings, [], "{report}");
        assert_eq!((report.objects, report.directories, report.files, report.other), (14, 3, 7, 4));
        assert_eq!((report.names, report.handles), (14, 14));
        assert!(report.to_string().ends_with("clean"), "{report}");
        assert_eq!(phases, [(Phase::Names, 14), (Phase::Rest, 0)]);
    });
}

#[test]
fn a_brick_without_housekeeping_gets_all_of_it() {
    on_both(|bench| {
        furnish(bench);
        let text = CString::new(".glusterfs").unwrap();
        remove_tree(bench, ".glusterfs");
        assert!(bench.sys.stat_at(bench.root.fd(), &text).is_err());
        let report = bench.check();
        assert_eq!((report.found(), report.findings[0].kind), (1, Kind::Housekeeping), "{report}");
        let report = bench.repair();
        assert!(report.is_clean(), "{report}");
        bench.assert_clean();
    });
}

fn remove_tree(bench: &Bench, path: &str) {
    let text = CString::new(path).unwrap();
    let fd = bench.sys.openat2(bench.root.fd(), &text, How::new(OpenFlags::DIRECTORY)).unwrap();
    let records = bench.sys.read_dir(fd, 0, 1 << 20).unwrap();
    bench.sys.close(fd);
    for record in records {
        let name = record.name.to_str().unwrap();
        if name == "." || name == ".." {
            continue;
        }
        let below = format!("{path}/{name}");
        if bench.stat(&below).unwrap().is_dir() { remove_tree(bench, &below) } else { bench.unlink(&below) }
    }
    bench.rmdir(path);
}

#[test]
fn a_backup_without_attributes_becomes_a_brick_again() {
    on_both(|bench| {
        bench.mkdir("a", 0o755);
        bench.mkdir("a/b", 0o755);
        bench.mknod("a/b/c", libc::S_IFREG | 0o644);
        bench.link("a/b/c", "a/d");
        let report = bench.repair();
        assert!(report.is_clean(), "{report}");
        let no_gfid = report.tallies[&Kind::NoGfid];
        assert_eq!((no_gfid.found, no_gfid.repaired), (3, 3), "{report}");
        bench.assert_clean();
        assert_eq!(bench.stat("a/d").unwrap().nlink, 3);
    });
}

#[test]
fn deep_trees_need_no_more_descriptors() {
    let bench = Bench::memory();
    let mut path = String::from("d0");
    bench.dir(&path, gfid_n(9000));
    for depth in 1..300_u64 {
        path.push_str("/d");
        bench.dir(&path, gfid_n(depth));
        if depth % 50 == 0 {
            bench.file(&format!("{path}x"), gfid_n(1000 + depth));
            bench.dir(&format!("{path}y"), gfid_n(2000 + depth));
            bench.file(&format!("{path}y/z"), gfid_n(3000 + depth));
        }
    }
    let report = bench.check();
    assert_eq!((report.findings.len(), report.directories), (0, 306), "{report}");
}

#[test]
fn what_is_thrown_away_is_only_noted() {
    on_both(|bench| {
        bench.dir("d", gfid(1));
        bench.dir("d/e", gfid(2));
        bench.file("d/e/f", gfid(3));
        bench.hard_link("d/e/f", "kept");
        bench.file("d/g", gfid(4));
        bench.unlink(&handle(gfid(1)));
        bench.rename("d", &format!(".glusterfs/landfill/{}", gfid(1)));
        let report = bench.repair();
        assert_eq!((report.found(), report.thrown_away), (0, 4), "{report}");
        assert_eq!(report.findings[0].kind, Kind::Landfill);
        assert!(bench.stat(&handle(gfid(2))).is_some() && bench.stat(&handle(gfid(4))).is_some());
    });
}

#[test]
fn quarantined_objects_have_one_link_more() {
    on_both(|bench| {
        bench.file("f", gfid(1));
        bench.mkdir(".glusterfs/quarantine", 0o700);
        bench.link("f", &format!(".glusterfs/quarantine/{}", gfid(1)));
        bench.assert_clean();
    });
}

#[test]
fn hundreds_of_names_need_no_paths() {
    let bench = Bench::memory();
    bench.file("f", gfid(1));
    for n in 0..520 {
        bench.link("f", &format!("l{n}"));
    }
    bench.assert_clean();
}

#[test]
fn what_is_no_brick_is_refused() {
    on_both(|bench| {
        bench.file("f", gfid(1));
        bench.dir("d", gfid(2));
        let boot = |path: &Path| match check_path(&bench.sys, path, true) {
            Err(CheckError::Boot(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(boot(missing()), BootError::Missing(missing().into()));
        assert_eq!(boot(&bench.path.join("f")), BootError::NotADirectory(bench.path.join("f")));
        let inside = bench.path.join("d");
        assert_eq!(boot(&inside), BootError::NotARoot { path: inside.clone(), found: gfid(2) });
        bench.mkdir("plain", 0o755);
        let plain = bench.path.join("plain");
        assert_eq!(check_path(&bench.sys, &plain, true), Err(CheckError::NotABrick(plain)));
    });
}

#[test]
fn a_brick_in_service_is_refused() {
    let kit = Kit::new(1);
    let sys: Arc<dyn kiln_uring::Sys> = kit.fs.clone().unwrap();
    let refused = check_path(&sys, Path::new("/brick"), false).unwrap_err();
    assert!(matches!(refused, CheckError::Boot(BootError::InUse { .. })), "{refused}");
}

#[test]
fn nothing_is_concluded_from_names_that_were_not_seen() {
    let bench = Bench::memory();
    bench.dir("a", gfid(1));
    bench.dir("a/b", gfid(2));
    bench.file("a/b/f", gfid(3));
    bench.hard_link("a/b/f", "g");
    let sim = Sim::with_sys(1, Arc::clone(&bench.sys));
    let kernel: Arc<dyn kiln_uring::Sys> = sim.kernel().clone();
    // Without a fault first, to learn how many listings there are.
    assert_eq!(check_path(&kernel, &bench.path, true).unwrap().found(), 0);
    for nth in 1..=20 {
        for call in
            [Call::Openat2, Call::ReadDir, Call::StatAt, Call::Getxattr, Call::Listxattr, Call::ReadlinkAt]
        {
            sim.kernel().fail_nth(call, nth, Errno::IO);
            if let Ok(report) = check_path(&kernel, &bench.path, true) {
                assert_eq!(report.repaired(), 0, "{call:?} {nth}: {report}");
            }
        }
    }
    bench.assert_clean();
}

#[test]
fn a_repair_that_fails_says_so() {
    let bench = Bench::memory();
    bench.file("f", gfid(1));
    bench.unlink(&handle(gfid(1)));
    let sim = Sim::with_sys(1, Arc::clone(&bench.sys));
    sim.kernel().fail_nth(Call::LinkAt, 1, Errno::NOSPC);
    let kernel: Arc<dyn kiln_uring::Sys> = sim.kernel().clone();
    let report = check_path(&kernel, &bench.path, true).unwrap();
    assert!(!report.is_clean() && report.findings[0].what.contains("cannot be mended"), "{report}");
}

#[test]
fn a_file_system_mounted_inside_is_noticed() {
    let bench = Bench::real();
    bench.dir("m", gfid(1));
    bench.file("m/f", gfid(2));
    let at = bench.path.join("m");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "kiln-test"]).arg(&at).status().unwrap();
    assert!(mounted.success());
    let report = bench.repair();
    assert!(Command::new("umount").arg(&at).status().unwrap().success());
    let kinds: Vec<_> = report.findings.iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [Kind::OtherFileSystem], "{report}");
    bench.assert_clean();
}

#[test]
fn an_unclean_end_is_noted() {
    on_both(|bench| {
        bench.mknod(".glusterfs/kiln-intents", libc::S_IFREG | 0o600);
        let report = bench.check();
        assert_eq!((report.found(), report.findings[0].kind), (0, Kind::NotStopped));
        assert!(report.is_clean());
    });
}

#[test]
fn the_report_is_json_too() {
    let bench = Bench::memory();
    bench.file("f", gfid(1));
    bench.unlink(&handle(gfid(1)));
    let json = serde_json::to_value(bench.check()).unwrap();
    assert_eq!(json["findings"][0]["kind"], "no-handle");
    assert_eq!(json["findings"][0]["gfid"], gfid(1).to_string());
    assert_eq!(json["tallies"]["no-handle"]["found"], 1);
    assert!(json["seconds"].is_f64());
}
