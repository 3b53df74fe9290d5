//! The same scenes on the real kernel, where the tests may: as root, on a file system that keeps `trusted.*` attributes.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use kiln_uring::Linux;
use kiln_uring::sys::{Sys, XattrFlags, XattrTarget};

use super::state;
use crate::storage::posix::check::check_path;
use crate::storage::posix::testkit::*;
use crate::types::Gfid;

const ROOT: Gfid = Gfid::ROOT;

/// Directories for bricks: on tmpfs, and on whatever holds temporary files.
fn beds() -> Vec<tempfile::TempDir> {
    let sys = Linux::new();
    let usable = |dir: &Path| {
        let path = CString::new(dir.as_os_str().as_bytes()).unwrap();
        let target = XattrTarget::At(libc::AT_FDCWD, &path);
        sys.setxattr(target, c"trusted.kiln-test", b"1", XattrFlags::empty()).is_ok()
    };
    [Path::new("/dev/shm"), &std::env::temp_dir()]
        .into_iter()
        .filter_map(|place| tempfile::tempdir_in(place).ok())
        .filter(|dir| usable(dir.path()))
        .collect()
}

#[test]
fn everything_once_and_the_check_is_clean() {
    for bed in beds() {
        let path = bed.path().to_str().unwrap();
        let kit = Kit::on(1, Linux::new(), path, &[]);
        let mut fds = Vec::new();
        kit.run(async |client| {
            let client = client.user(1001, 1002).at(1_000_000);
            client.mkdir(mkdir(ROOT, "d", gfid(1))).await.unwrap();
            let req = create(gfid(1), "имя", gfid(2));
            fds.push(Arc::clone(&req.fd));
            let made = client.create(req).await.unwrap();
            assert_eq!((made.iatt.uid, made.iatt.gid, made.iatt.nlink), (1001, 1002, 1));
            client.link(link(gfid(2), ROOT, "second")).await.unwrap();
            client.symlink(symlink("d", ROOT, "s", gfid(3))).await.unwrap();
            client.mknod(mknod(ROOT, "p", gfid(4), libc::S_IFIFO | 0o600, 0)).await.unwrap();
            client.mknod(mknod(ROOT, "n", gfid(5), libc::S_IFREG | 0o4711, 0)).await.unwrap();
            assert_eq!(client.find("n").await.unwrap().iatt.prot, 0o4711);
            client.rename(rename((ROOT, "n"), (ROOT, "second"))).await.unwrap();
            client.mkdir(mkdir(gfid(1), "e", gfid(6))).await.unwrap();
            client.rename(rename((gfid(1), "e"), (ROOT, "f"))).await.unwrap();
            client.unlink(unlink(gfid(1), "имя")).await.unwrap();
            client.rename(rename((ROOT, "s"), (gfid(6), "s"))).await.unwrap();
            client.rmdir(rmdir(ROOT, "d")).await.unwrap();
            assert_eq!(client.find("f/s").await.unwrap().iatt.gfid, gfid(3));
        });
        let brick = kit.brick();
        assert_eq!(brick.handle_links(gfid(2)), 0, "it is parked");
        drop((fds, brick));
        kit.stop();
        let sys: Arc<dyn Sys> = Linux::new();
        // The next start empties `unlink/`.
        Kit::on(2, Arc::clone(&sys), path, &[]).stop();
        let report = check_path(&sys, bed.path(), false).unwrap();
        assert!(report.is_clean(), "{path}: {:#?}\n{:#?}", report.findings, state::of(&sys, path));
        assert_eq!((report.directories, report.names), (2, 3));
    }
}

#[test]
fn a_killed_process_is_cleaned_up_after() {
    for bed in beds() {
        let path = bed.path().to_str().unwrap();
        let sys: Arc<dyn Sys> = Linux::new();
        let kit = Kit::on(1, Arc::clone(&sys), path, &[]);
        kit.run(async |client| {
            client.mkdir(mkdir(ROOT, "d", gfid(1))).await.unwrap();
            client.mknod(mknod(ROOT, "f", gfid(2), libc::S_IFREG | 0o600, 0)).await.unwrap();
        });
        // In the middle of a rename of `d`, and of an unlink of `f`.
        let brick = kit.brick();
        let (d, e, f) = (name("d"), name("e"), name("f"));
        use crate::storage::posix::intents::Operation;
        let names = [Some((ROOT, &d)), Some((ROOT, &e))];
        std::mem::forget(brick.intents.fill(Operation::Rename, [gfid(1), Gfid::NULL], names));
        std::mem::forget(brick.intents.fill(
            Operation::Unlink,
            [gfid(2), Gfid::NULL],
            [Some((ROOT, &f)), None],
        ));
        let root = brick.root.fd();
        sys.rename_at(root, c"d", root, c"e", kiln_uring::RenameFlags::empty()).unwrap();
        sys.unlink_at(root, c"f", kiln_uring::AtFlags::empty()).unwrap();
        drop((kit, brick));
        let report = check_path(&sys, bed.path(), false).unwrap();
        assert!(!report.is_clean());
        let kit = Kit::on(2, Arc::clone(&sys), path, &[]);
        assert_eq!(kit.brick().parent_of_dir(gfid(1)).unwrap(), (ROOT, name("e")));
        kit.stop();
        let report = check_path(&sys, bed.path(), false).unwrap();
        assert!(report.is_clean(), "{path}: {:#?}", report.findings);
    }
}
