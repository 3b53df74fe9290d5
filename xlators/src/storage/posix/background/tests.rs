//! The brick left to itself.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::sim::Call as Syscall;
use kiln_uring::sys::{How, OpenFlags, XattrFlags, XattrTarget};
use kiln_uring::{Errno, File};

use super::{health, janitor};
use crate::fd::Fd;
use crate::fop::request;
use crate::keys;
use crate::storage::posix::Brick;
use crate::storage::posix::data::tests::{plant, plant_in};
use crate::storage::posix::handle::{HandlePath, directory_target, gfid_name};
use crate::storage::posix::testkit::{Kit, gfid, gfid_n, name};
use crate::types::{Gfid, Loc, Xdata};

fn look(gfid: Gfid) -> request::Stat {
    request::Stat { loc: Loc::object(gfid), xdata: Xdata::NONE }
}

#[test]
fn the_health_check_leaves_its_stamp_and_the_brick_alone() {
    let kit = Kit::new(1);
    let brick = kit.brick();
    kit.run(async |client| {
        client.graph.start();
        client.core().sleep(Duration::from_secs(65)).await;
        assert_eq!(client.graph.failure(), None);
        let stamp = brick.sys.stat_at(brick.dot.fd(), c"health_check").unwrap();
        assert_eq!((stamp.size, stamp.mode & 0o777), (31, 0o644));
        client.stat(look(Gfid::ROOT)).await.unwrap();
        client.graph.fini().await;
    });
}

#[test]
fn a_dead_disk_stops_the_brick() {
    let kit = Kit::new(2);
    plant(&kit.brick(), "f", gfid(1));
    kit.run(async |client| {
        client.graph.start();
        let fd = Fd::file(gfid(1), 0, 1);
        let open =
            request::Open { loc: Loc::object(gfid(1)), flags: 0, fd: Arc::clone(&fd), xdata: Xdata::NONE };
        client.open(open).await.unwrap();
        client.core().sleep(Duration::from_secs(10)).await;
        kit.sim.kernel().fail_some(Syscall::Fsync, 1000, Errno::IO);
        client.core().sleep(Duration::from_secs(30)).await;
        let reason = client.graph.failure().expect("the brick has failed");
        assert!(reason.contains("/brick") && reason.contains("sync"), "{reason}");
        assert_eq!(client.stat(look(Gfid::ROOT)).await.unwrap_err().errno, Errno::NOTCONN);
        assert_eq!(client.find("f").await.unwrap_err(), Errno::NOTCONN);
        let read = request::Readv { fd, size: 1, offset: 0, flags: 0, xdata: Xdata::NONE };
        assert_eq!(client.readv(read).await.unwrap_err().errno, Errno::NOTCONN);
        let statfs = request::Statfs { loc: Loc::object(Gfid::ROOT), xdata: Xdata::NONE };
        assert_eq!(client.statfs(statfs).await.unwrap_err().errno, Errno::NOTCONN);
        client.graph.fini().await;
    });
}

#[test]
fn a_full_disk_is_not_a_dead_one() {
    let kit = Kit::new(3);
    let brick = kit.brick();
    for errno in [Errno::NOSPC, Errno::AGAIN] {
        kit.sim.kernel().fail_nth(Syscall::Pwrite, 1, errno);
        assert_eq!(health::check(&brick), Ok(()));
    }
    kit.sim.kernel().fail_nth(Syscall::Pread, 1, Errno::IO);
    assert!(health::check(&brick).unwrap_err().contains("read"));
    let (from, to) = (c"/brick", c"/elsewhere");
    brick.sys.rename_at(libc::AT_FDCWD, from, libc::AT_FDCWD, to, kiln_uring::RenameFlags::empty()).unwrap();
    assert!(health::check(&brick).unwrap_err().contains("cannot reach"));
}

#[test]
fn no_health_check_when_it_is_off() {
    let kit = Kit::with_options(4, &[("health-check-interval", "0")]);
    kit.run(async |client| {
        client.graph.start();
        kit.sim.kernel().fail_some(Syscall::Fsync, 1000, Errno::IO);
        client.core().sleep(Duration::from_secs(600)).await;
        assert_eq!(client.graph.failure(), None);
        client.graph.fini().await;
    });
}

#[test]
fn the_reserve_is_noticed_and_so_is_its_end() {
    let kit = Kit::with_options(5, &[("reserve", "50")]);
    let (brick, fs) = (kit.brick(), kit.fs.clone().unwrap());
    fs.set_capacity(10_000, 10_000);
    plant(&brick, "f", gfid(1));
    let handle = HandlePath::new(gfid(1));
    let file = brick.sys.openat2(brick.dot.fd(), handle.as_c_str(), How::new(OpenFlags::RDWR)).unwrap();
    let file = File::new(Arc::clone(&brick.sys), file);
    kit.run(async |client| {
        client.graph.start();
        client.core().sleep(Duration::from_secs(6)).await;
        assert!(!brick.is_full());
        brick.sys.fallocate(file.fd(), 0, 0, 6000 * 4096).unwrap();
        client.core().sleep(Duration::from_secs(6)).await;
        assert!(brick.is_full());
        brick.sys.ftruncate(file.fd(), 0).unwrap();
        client.core().sleep(Duration::from_secs(6)).await;
        assert!(!brick.is_full());
        client.graph.fini().await;
    });
}

/// A directory with its gfid and handle.
fn plant_dir(brick: &Brick, parent: &File, parent_gfid: Gfid, text: &str, gfid: Gfid) -> Arc<File> {
    let (sys, cname) = (&brick.sys, CString::new(text).unwrap());
    sys.mkdir_at(parent.fd(), &cname, 0o755).unwrap();
    sys.setxattr(XattrTarget::At(parent.fd(), &cname), keys::GFID, gfid.as_bytes(), XattrFlags::CREATE)
        .unwrap();
    let handle = HandlePath::new(gfid);
    let _ = sys.mkdir_at(brick.dot.fd(), &handle.leaf_dir(), 0o700);
    sys.symlink_at(&directory_target(parent_gfid, &name(text)), brick.dot.fd(), handle.as_c_str()).unwrap();
    brick.open_subdir(parent, &name(text)).unwrap()
}

fn is_empty(brick: &Brick) -> bool {
    let records = brick.sys.read_dir(brick.landfill_dir.fd(), 0, 4096).unwrap();
    records.iter().all(|record| matches!(record.name.to_bytes(), b"." | b".."))
}

#[test]
fn landfill_is_emptied_with_all_handles() {
    let kit = Kit::new(6);
    let brick = kit.brick();
    let top = plant_dir(&brick, &brick.landfill_dir, Gfid::ROOT, "thrown-away", gfid(200));
    let mut dir = (Arc::clone(&top), gfid(200));
    // Deeper than one walk goes, so that it must be cut into pieces.
    for depth in 0..150 {
        let id = gfid_n(depth);
        dir = (plant_dir(&brick, &dir.0, dir.1, "down", id), id);
        plant_in(&brick, &dir.0, "file", gfid_n(1000 + depth));
    }
    for n in 0..700 {
        plant_in(&brick, &top, &format!("f{n}"), gfid_n(2000 + n));
    }
    // One has a name elsewhere, one is open.
    brick.sys.link_at(top.fd(), c"f1", brick.root.fd(), c"kept").unwrap();
    brick.opens.opened(gfid_n(2002), false);
    kit.run(async |client| {
        client.graph.start();
        client.core().sleep(Duration::from_secs(15)).await;
        client.graph.fini().await;
    });
    assert!(is_empty(&brick));
    assert_eq!(brick.handle_links(gfid_n(2001)), 2, "the file with another name keeps its handle");
    assert_eq!(brick.handle_links(gfid_n(2002)), 0);
    assert!(
        brick.sys.stat_at(brick.unlink_dir.fd(), &gfid_name(gfid_n(2002))).is_ok(),
        "the open file is parked"
    );
    for n in (0..150).chain(1000..1150).chain([2000]).chain(2003..2700) {
        assert_eq!(brick.stat_handle(gfid_n(n)).unwrap_err(), Errno::NOENT, "{n}");
    }
}

#[test]
fn a_step_is_bounded_and_a_failure_does_not_stop_the_rest() {
    let kit = Kit::new(7);
    let brick = kit.brick();
    for n in 0..20 {
        plant_in(&brick, &brick.landfill_dir, &format!("f{n}"), gfid_n(n));
    }
    let step = janitor::purge(&brick, 5);
    assert_eq!((step.more, step.failed), (true, None));
    kit.sim.kernel().fail_nth(Syscall::UnlinkAt, 1, Errno::IO);
    let step = janitor::purge(&brick, 100);
    assert_eq!((step.more, step.failed), (false, Some(Errno::IO)));
    assert!(!is_empty(&brick));
    assert_eq!(janitor::purge(&brick, 100), janitor::Step { more: false, failed: None });
    assert!(is_empty(&brick));
}

#[test]
fn landfill_is_kept_when_asked() {
    let kit = Kit::with_options(8, &[("disable-landfill-purge", "on")]);
    let brick = kit.brick();
    plant_in(&brick, &brick.landfill_dir, "f", gfid(1));
    kit.run(async |client| {
        client.graph.start();
        client.core().sleep(Duration::from_secs(60)).await;
        client.graph.fini().await;
    });
    assert!(!is_empty(&brick));
}
