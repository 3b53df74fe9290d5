//! Damage of every kind is found, what a lookup or a start would mend is mended, and nothing else is touched.

use std::ffi::CString;
use std::sync::Arc;

use kiln_uring::sim::MemFs;
use kiln_uring::sys::{AtFlags, File, How, OpenFlags, Sys, XattrFlags, XattrTarget};

use super::{CheckError, CheckReport, What, check_path};
use crate::keys;
use crate::storage::posix::boot::BootError;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::testkit::*;
use crate::types::Gfid;

const ROOT: Gfid = Gfid::ROOT;

/// A brick with `d/` (1), `d/f` (2), also named `g`, and `s` (3), stopped.
fn brick() -> (Arc<MemFs>, Arc<dyn Sys>, File) {
    let kit = Kit::new(1);
    kit.run(async |client| {
        client.mkdir(mkdir(ROOT, "d", gfid(1))).await.unwrap();
        client.mknod(mknod(gfid(1), "f", gfid(2), libc::S_IFREG | 0o600, 0)).await.unwrap();
        client.link(link(gfid(2), ROOT, "g")).await.unwrap();
        client.symlink(symlink("x", ROOT, "s", gfid(3))).await.unwrap();
    });
    let fs = Arc::clone(kit.fs.as_ref().unwrap());
    kit.stop();
    let sys: Arc<dyn Sys> = fs.clone();
    let fd = sys.openat2(libc::AT_FDCWD, c"/brick", How::new(OpenFlags::DIRECTORY)).unwrap();
    let root = File::new(Arc::clone(&sys), fd);
    (fs, sys, root)
}

fn handle(gfid: Gfid) -> CString {
    CString::new(format!(".glusterfs/{}", HandlePath::new(gfid).as_c_str().to_str().unwrap())).unwrap()
}

fn run(sys: &Arc<dyn Sys>, repair: bool) -> CheckReport {
    check_path(sys, BRICK.as_ref(), repair).unwrap()
}

#[test]
fn a_whole_brick_is_clean() {
    let (_fs, sys, _root) = brick();
    let report = run(&sys, false);
    assert_eq!(report.findings, []);
    // The root counts as a directory and has a handle.
    assert_eq!((report.directories, report.names, report.handles), (2, 3, 4));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["names"], 3);
}

/// Some damage: how it is done, what is found, and whether a repair mends it.
type Damage = (fn(&Arc<dyn Sys>, i32), &'static [What], bool);

#[test]
fn damage_is_found_and_mended() {
    const NONE: AtFlags = AtFlags::empty();
    let table: &[Damage] = &[
        (
            |sys, root| sys.unlink_at(root, &handle(gfid(2)), NONE).unwrap(),
            &[What::NoHandle, What::NoHandle],
            true,
        ),
        (
            |sys, root| sys.unlink_at(root, &handle(gfid(1)), NONE).unwrap(),
            &[What::WrongDirectoryHandle],
            true,
        ),
        (
            |sys, root| {
                let to = kiln_uring::RenameFlags::empty();
                sys.rename_at(root, c"d", root, c"moved", to).unwrap();
            },
            &[What::WrongDirectoryHandle, What::DanglingHandle],
            true,
        ),
        (|sys, root| sys.unlink_at(root, c"s", NONE).unwrap(), &[What::OrphanHandle], true),
        (|sys, root| sys.unlink_at(root, c"g", NONE).unwrap(), &[What::StalePath], true),
        (|sys, root| sys.link_at(root, c"g", root, c"h").unwrap(), &[What::NoPath], true),
        (
            |sys, root| {
                sys.unlink_at(root, c"d/f", NONE).unwrap();
                sys.unlink_at(root, c"d", AtFlags::REMOVEDIR).unwrap();
            },
            &[What::StalePath, What::DanglingHandle],
            true,
        ),
        (|sys, root| sys.mknod_at(root, c"new", libc::S_IFREG | 0o600, 0).unwrap(), &[What::NoGfid], false),
        (
            |sys, root| {
                let target = XattrTarget::At(root, c"s");
                sys.setxattr(target, keys::GFID, b"short", XattrFlags::REPLACE).unwrap();
            },
            &[What::BadGfid, What::HandleOfAnother],
            false,
        ),
        (
            |sys, root| {
                sys.mknod_at(root, c"twin", libc::S_IFREG | 0o600, 0).unwrap();
                let target = XattrTarget::At(root, c"twin");
                sys.setxattr(target, keys::GFID, gfid(2).as_bytes(), XattrFlags::CREATE).unwrap();
            },
            &[What::HandleOfAnother],
            false,
        ),
        (
            |sys, root| sys.mknod_at(root, c".glusterfs/01/01/what", libc::S_IFREG, 0).unwrap(),
            &[What::NotAHandle],
            false,
        ),
        (
            |sys, root| sys.mknod_at(root, c".glusterfs/unlink/x", libc::S_IFREG, 0).unwrap(),
            &[What::Parked],
            true,
        ),
        (
            |sys, root| {
                sys.mkdir_at(root, c".glusterfs/kiln-temp", 0o700).unwrap();
                sys.mkdir_at(root, c".glusterfs/kiln-temp/x", 0o700).unwrap();
            },
            &[What::Leftover],
            true,
        ),
        (
            |sys, root| sys.link_at(root, c"g", root, c".glusterfs/landfill/hidden").unwrap(),
            &[What::LinksElsewhere],
            false,
        ),
        (|sys, root| sys.unlink_at(root, &handle(ROOT), NONE).unwrap(), &[What::BadRoot], true),
    ];
    for (number, (damage, wanted, mended)) in table.iter().enumerate() {
        let (fs, sys, root) = brick();
        damage(&sys, root.fd());
        let report = run(&sys, false);
        let found: Vec<What> = report.findings.iter().map(|finding| finding.what).collect();
        assert_eq!(found, *wanted, "{number}: {:#?}", report.findings);
        assert_eq!(report.repaired, 0, "{number}");
        let report = run(&sys, true);
        assert_eq!(report.is_clean(), *mended, "{number}: {:#?}", report.findings);
        assert_eq!(run(&sys, false).is_clean(), *mended, "{number}: {:#?}", run(&sys, false).findings);
        assert!(fs.is_consistent());
    }
}

#[test]
fn what_is_no_brick_or_in_use_is_not_checked() {
    let fs = MemFs::new();
    let sys: Arc<dyn Sys> = fs.clone();
    let error = check_path(&sys, "/nothing".as_ref(), false).unwrap_err();
    assert!(matches!(error, CheckError::Open(BootError::Missing(_))), "{error}");
    fs.mkdir_at(libc::AT_FDCWD, c"/plain", 0o755).unwrap();
    let error = check_path(&sys, "/plain".as_ref(), false).unwrap_err();
    assert!(matches!(error, CheckError::Open(BootError::Io { .. })), "{error}");
    let kit = Kit::new(1);
    let sys: Arc<dyn Sys> = kit.fs.clone().unwrap();
    let error = check_path(&sys, BRICK.as_ref(), false).unwrap_err();
    assert!(matches!(error, CheckError::Open(BootError::InUse { .. })), "{error}");
}

#[test]
fn deep_and_wide_trees_are_walked_with_one_descriptor() {
    let kit = Kit::new(1);
    let fs = Arc::clone(kit.fs.as_ref().unwrap());
    kit.run(async |client| {
        let mut parent = ROOT;
        for n in 1..=60 {
            client.mkdir(mkdir(parent, "down", gfid_n(n))).await.unwrap();
            parent = gfid_n(n);
            for side in 0..3 {
                let id = gfid_n(n * 100 + 1000 + side);
                client.mknod(mknod(parent, &format!("f{side}"), id, libc::S_IFREG, 0)).await.unwrap();
            }
        }
        for n in 0..1500 {
            client.mkdir(mkdir(ROOT, &format!("wide{n}"), gfid_n(100_000 + n))).await.unwrap();
        }
    });
    kit.stop();
    let sys: Arc<dyn Sys> = fs.clone();
    let report = run(&sys, false);
    assert_eq!(report.findings, []);
    assert_eq!((report.directories, report.names), (1 + 60 + 1500, 180));
    assert_eq!(fs.open_files(), 0);
}
