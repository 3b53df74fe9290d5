//! Each kind of damage: found, mended where that is promised, and then gone.

use super::bench::{Bench, handle, on_both};
use crate::keys;
use crate::storage::posix::check::{CheckOptions, Kind};
use crate::storage::posix::testkit::gfid;
use crate::types::Gfid;

/// A directory with two files, one of which has a second name.
fn furnish(bench: &Bench) {
    bench.dir("d", gfid(1));
    bench.dir("d/e", gfid(2));
    bench.file("d/f", gfid(3));
    bench.file("g", gfid(4));
    bench.hard_link("g", "d/e/h");
    bench.assert_clean();
}

/// The damage is found as `kinds`, at these paths, and mended.
#[track_caller]
fn mended(damage: impl Fn(&Bench), kinds: &[(Kind, &str)]) {
    on_both(|bench| {
        furnish(bench);
        damage(bench);
        assert_found(bench, kinds);
        let report = bench.repair();
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.repaired(), kinds.len() as u64, "{report}");
        bench.assert_clean();
    });
}

/// The damage is found as `kinds` and stays.
#[track_caller]
fn told(damage: impl Fn(&Bench), kinds: &[(Kind, &str)]) {
    on_both(|bench| {
        furnish(bench);
        damage(bench);
        assert_found(bench, kinds);
        assert!(!bench.repair().is_clean());
        assert_found(bench, kinds);
    });
}

#[track_caller]
fn assert_found(bench: &Bench, kinds: &[(Kind, &str)]) {
    let report = bench.check();
    let mut found: Vec<(Kind, &str)> = report.findings.iter().map(|f| (f.kind, f.path.as_str())).collect();
    found.sort();
    let mut kinds = kinds.to_vec();
    kinds.sort();
    assert_eq!(found, kinds, "{report}");
    assert_eq!(report.repaired(), 0);
}

#[test]
fn an_entry_without_gfid_gets_one() {
    mended(|bench| bench.mknod("d/new", libc::S_IFREG | 0o600), &[(Kind::NoGfid, "d/new")]);
    mended(|bench| bench.symlink(c"x", "new"), &[(Kind::NoGfid, "new")]);
    mended(|bench| bench.mkdir("d/e/new", 0o700), &[(Kind::NoGfid, "d/e/new")]);
}

#[test]
fn gfids_that_are_none() {
    told(
        |bench| {
            bench.mkdir("short", 0o755);
            bench.set("short", keys::GFID, b"short");
            bench.mkdir("null", 0o755);
            bench.set("null", keys::GFID, &[0; 16]);
            bench.mkdir("long", 0o755);
            bench.set("long", keys::GFID, &[1; 17]);
        },
        &[(Kind::BadGfid, "short"), (Kind::BadGfid, "null"), (Kind::BadGfid, "long")],
    );
}

#[test]
fn two_files_with_one_gfid_are_told_of() {
    on_both(|bench| {
        furnish(bench);
        bench.mknod("copy", libc::S_IFREG | 0o644);
        bench.set("copy", keys::GFID, gfid(3).as_bytes());
        bench.add_path("copy");
        let report = bench.repair();
        let kinds: Vec<_> = report.findings.iter().map(|f| (f.kind, f.repaired)).collect();
        assert_eq!(kinds, [(Kind::Duplicate, false)], "{report}");
        assert!(report.findings[0].what.contains("inode"), "{report}");
    });
}

#[test]
fn two_directories_with_one_gfid_are_told_of() {
    on_both(|bench| {
        furnish(bench);
        bench.mkdir("copy", 0o755);
        bench.set("copy", keys::GFID, gfid(1).as_bytes());
        let before = bench.readlink(&handle(gfid(1)));
        let report = bench.repair();
        let kinds: Vec<_> = report.findings.iter().map(|f| (f.kind, f.repaired)).collect();
        assert_eq!(kinds, [(Kind::Duplicate, false)], "{report}");
        assert_eq!(bench.readlink(&handle(gfid(1))), before, "nobody knows which is right");
    });
}

#[test]
fn a_directory_with_the_gfid_of_a_file_or_of_the_root() {
    on_both(|bench| {
        furnish(bench);
        bench.mkdir("as-file", 0o755);
        bench.set("as-file", keys::GFID, gfid(3).as_bytes());
        bench.mkdir("as-root", 0o755);
        bench.set("as-root", keys::GFID, Gfid::ROOT.as_bytes());
        let report = bench.repair();
        let duplicates = report.findings.iter().filter(|f| f.kind == Kind::Duplicate && !f.repaired).count();
        assert_eq!((duplicates, report.findings.len()), (2, 2), "{report}");
        assert!(bench.stat(&handle(gfid(3))).unwrap().is_file());
    });
}

#[test]
fn missing_handles_are_made() {
    mended(|bench| bench.unlink(&handle(gfid(3))), &[(Kind::NoHandle, "d/f")]);
    mended(|bench| bench.unlink(&handle(gfid(2))), &[(Kind::NoHandle, "d/e")]);
    mended(
        |bench| {
            bench.unlink(&handle(gfid(3)));
            bench.rmdir(".glusterfs/03/03");
            bench.rmdir(".glusterfs/03");
        },
        &[(Kind::NoHandle, "d/f")],
    );
}

#[test]
fn a_missing_handle_of_a_file_with_two_names_is_one_finding() {
    on_both(|bench| {
        furnish(bench);
        bench.unlink(&handle(gfid(4)));
        let report = bench.check();
        assert_eq!(report.findings.len(), 1, "{report}");
        assert!(bench.repair().is_clean());
        bench.assert_clean();
        assert_eq!(bench.stat("g").unwrap().nlink, 3);
    });
}

#[test]
fn a_directory_handle_that_leads_elsewhere_is_rewritten() {
    // As after a rename behind the brick's back.
    mended(|bench| bench.rename("d/e", "moved"), &[(Kind::WrongHandle, "moved")]);
    mended(
        |bench| {
            bench.unlink(&handle(gfid(2)));
            bench.symlink(c"../../../../../../etc", &handle(gfid(2)));
        },
        &[(Kind::WrongHandle, "d/e")],
    );
    mended(
        |bench| {
            bench.unlink(&handle(gfid(2)));
            bench.mknod(&handle(gfid(2)), libc::S_IFREG | 0o600);
        },
        &[(Kind::WrongHandle, "d/e")],
    );
}

#[test]
fn a_file_handle_that_is_another_object_is_replaced() {
    // As after a restore that made the file anew.
    mended(
        |bench| {
            bench.unlink("d/f");
            bench.mknod("d/f", libc::S_IFREG | 0o644);
            bench.set("d/f", keys::GFID, gfid(3).as_bytes());
            bench.add_path("d/f");
        },
        &[(Kind::WrongHandle, "d/f")],
    );
    mended(
        |bench| {
            bench.unlink(&handle(gfid(3)));
            bench.symlink(c"../../00/00/00000000-0000-0000-0000-000000000001/x", &handle(gfid(3)));
        },
        &[(Kind::WrongHandle, "d/f")],
    );
}

#[test]
fn a_link_of_one_object_in_the_place_of_the_handle_of_another() {
    on_both(|bench| {
        furnish(bench);
        bench.unlink(&handle(gfid(3)));
        bench.link("g", &handle(gfid(3)));
        let report = bench.check();
        let kinds: Vec<_> = report.findings.iter().map(|f| f.kind).collect();
        assert_eq!(kinds.len(), 2, "{report}");
        assert!(kinds.contains(&Kind::WrongHandle) && kinds.contains(&Kind::Links), "{report}");
        let report = bench.repair();
        assert!(report.is_clean(), "{report}");
        bench.assert_clean();
    });
}

#[test]
fn paths_are_set_where_they_are_missing() {
    mended(|bench| bench.remove("d/f", &bench.path_of("d/f").key), &[(Kind::NoPath, "d/f")]);
    mended(|bench| bench.remove("g", &bench.path_of("d/e/h").key), &[(Kind::NoPath, "d/e/h")]);
}

#[test]
fn a_path_with_a_wrong_value_is_set_anew() {
    mended(|bench| bench.set("d/f", &bench.path_of("d/f").key, b"nonsense"), &[(Kind::WrongPath, "d/f")]);
    mended(|bench| bench.set("d/f", &bench.path_of("d/f").key, &[b'x'; 900]), &[(Kind::WrongPath, "d/f")]);
}

#[test]
fn stale_paths_are_removed() {
    let stale = |path: &'static str| {
        move |bench: &Bench| {
            let old = crate::storage::posix::gfid2path::Gfid2Path::new(
                gfid(1),
                &crate::storage::posix::testkit::name("old"),
            );
            bench.set(path, &old.key, &old.value);
        }
    };
    mended(stale("d/f"), &[(Kind::StalePath, &handle(gfid(3)))]);
    mended(stale("g"), &[(Kind::StalePath, &handle(gfid(4)))]);
    // A key that no value has.
    mended(|bench| bench.set("d/f", c"trusted.gfid2path.zz", b"x"), &[(Kind::StalePath, &handle(gfid(3)))]);
}

#[test]
fn a_renamed_file_has_one_path_too_few_and_one_too_many() {
    mended(|bench| bench.rename("d/f", "f"), &[(Kind::NoPath, "f"), (Kind::StalePath, &handle(gfid(3)))]);
}

#[test]
fn a_brick_without_paths_is_fine_when_told_so() {
    on_both(|bench| {
        furnish(bench);
        bench.remove("d/f", &bench.path_of("d/f").key);
        bench.set("g", c"trusted.gfid2path.0123456789abcdef", b"x");
        assert_eq!(bench.check().found(), 2);
        let report = bench.check_with(&CheckOptions { repair: true, gfid2path: false }).unwrap();
        assert_eq!(report.found(), 0, "{report}");
        assert_eq!(bench.check().found(), 2, "and nothing is changed");
    });
}

#[test]
fn orphan_handles_are_removed() {
    mended(|bench| bench.unlink("d/f"), &[(Kind::OrphanHandle, &handle(gfid(3)))]);
    mended(
        |bench| {
            // A symbolic link of a user, not to be taken for a directory's handle.
            bench.symlink(c"/x", "s");
            bench.dress("s", gfid(9));
            bench.unlink("s");
        },
        &[(Kind::OrphanHandle, &handle(gfid(9)))],
    );
}

#[test]
fn dangling_directory_handles_are_removed() {
    mended(
        |bench| {
            bench.dir("d/e/x", gfid(9));
            bench.rmdir("d/e/x");
        },
        &[(Kind::DanglingHandle, &handle(gfid(9)))],
    );
}

#[test]
fn strangers_among_the_handles_are_told_of() {
    let wrong_fan_out = format!(".glusterfs/01/02/{}", gfid(1));
    told(
        |bench| {
            bench.mknod(".glusterfs/01/01/core", libc::S_IFREG | 0o600);
            bench.mkdir(".glusterfs/01/xyz", 0o700);
            bench.mknod(".glusterfs/01/ab", libc::S_IFREG | 0o600);
            bench.mkdir(".glusterfs/01/02", 0o700);
            bench.symlink(c"../../..", &wrong_fan_out);
            bench.fan_out(gfid(8));
            bench.mkdir(&handle(gfid(8)), 0o700);
            bench.mknod(".glusterfs/07", libc::S_IFREG | 0o600);
        },
        &[
            (Kind::Junk, ".glusterfs/01/01/core"),
            (Kind::Junk, ".glusterfs/01/xyz"),
            (Kind::Junk, ".glusterfs/01/ab"),
            (Kind::Junk, &wrong_fan_out),
            (Kind::Junk, &handle(gfid(8))),
            (Kind::Junk, ".glusterfs/07"),
        ],
    );
}

#[test]
fn links_from_elsewhere_are_told_of() {
    told(
        |bench| {
            bench.link("d/f", ".glusterfs/indices/stray");
            bench.link("g", ".glusterfs/indices/stray2");
            bench.unlink("g");
            bench.unlink("d/e/h");
        },
        &[(Kind::Links, &handle(gfid(3))), (Kind::Links, &handle(gfid(4)))],
    );
}

#[test]
fn parked_files_and_leftovers_are_removed() {
    let parked = format!(".glusterfs/unlink/{}", gfid(3));
    mended(
        |bench| {
            bench.rename(&handle(gfid(3)), &parked);
            bench.unlink("d/f");
        },
        &[(Kind::Parked, &parked)],
    );
    mended(
        |bench| {
            bench.mkdir(".glusterfs/kiln-temp", 0o700);
            bench.mkdir(".glusterfs/kiln-temp/x", 0o700);
            bench.symlink(c"y", ".glusterfs/kiln-temp/y");
        },
        &[(Kind::Leftover, ".glusterfs/kiln-temp/x"), (Kind::Leftover, ".glusterfs/kiln-temp/y")],
    );
}

#[test]
fn an_unfinished_unlink_leaves_nothing() {
    // Name gone, handle and parked link still there.
    on_both(|bench| {
        furnish(bench);
        bench.link(&handle(gfid(3)), &format!(".glusterfs/unlink/{}", gfid(3)));
        bench.unlink("d/f");
        assert_eq!(bench.check().found(), 1);
        assert!(bench.repair().is_clean());
        bench.assert_clean();
        assert!(bench.stat(&handle(gfid(3))).is_none());
    });
}

#[test]
fn the_root_gets_its_gfid_and_handle_back() {
    mended(|bench| bench.remove("", keys::GFID), &[(Kind::Root, ".")]);
    mended(|bench| bench.set("", keys::GFID, b"none"), &[(Kind::Root, ".")]);
    mended(|bench| bench.unlink(&handle(Gfid::ROOT)), &[(Kind::Root, &handle(Gfid::ROOT))]);
    mended(
        |bench| {
            bench.unlink(&handle(Gfid::ROOT));
            bench.symlink(c"../..", &handle(Gfid::ROOT));
        },
        &[(Kind::Root, &handle(Gfid::ROOT))],
    );
}

#[test]
fn others_are_kept_out_of_the_handles() {
    mended(
        |bench| bench.sys.chmod_at(bench.root.fd(), c".glusterfs", 0o755).unwrap(),
        &[(Kind::Mode, ".glusterfs")],
    );
}
