//! The scrub of a brick in service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kiln_uring::sim::Call;
use kiln_uring::sys::{RenameFlags, Sys, XattrFlags, XattrTarget};
use kiln_uring::{AtFlags, Errno};

use crate::storage::posix::Brick;
use crate::storage::posix::check::check_path;
use crate::storage::posix::check::scrub::{self, Scrub, Summary};
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::intents::Operation;
use crate::storage::posix::testkit::*;
use crate::types::Gfid;

const ROOT: Gfid = Gfid::ROOT;

fn mkfile(parent: Gfid, name: &str, id: Gfid) -> crate::fop::request::Mknod {
    mknod(parent, name, id, libc::S_IFREG | 0o644, 0)
}

/// `a/b/c` and a file in each, and a symbolic link.
fn furnished(seed: u64) -> Kit {
    let kit = Kit::new(seed);
    kit.run(async |client| {
        client.mkdir(mkdir(ROOT, "a", gfid(1))).await.unwrap();
        client.mkdir(mkdir(gfid(1), "b", gfid(2))).await.unwrap();
        client.mkdir(mkdir(gfid(2), "c", gfid(3))).await.unwrap();
        for (n, parent) in [(11, ROOT), (12, gfid(1)), (13, gfid(2)), (14, gfid(3))] {
            client.mknod(mkfile(parent, "f", gfid(n))).await.unwrap();
        }
        client.symlink(symlink("/x", ROOT, "s", gfid(15))).await.unwrap();
    });
    kit
}

fn scrub(brick: &Arc<Brick>) -> Summary {
    let mut scrub = Scrub::new(Arc::clone(brick));
    while scrub.step(7) {}
    scrub.summary
}

/// The brick is whole once it is stopped.
#[track_caller]
fn assert_whole(kit: Kit, brick: Arc<Brick>) {
    drop(brick);
    let fs: Arc<dyn Sys> = kit.fs.clone().unwrap();
    kit.stop();
    let report = check_path(&fs, BRICK.as_ref(), false).unwrap();
    assert!(report.found() == 0, "{report}");
}

#[test]
fn a_whole_brick_is_left_as_it_is() {
    let kit = furnished(1);
    let brick = kit.brick();
    let summary = scrub(&brick);
    assert_eq!(summary, Summary { handles: 8, names: 8, ..Summary::default() });
    assert_whole(kit, brick);
}

#[test]
fn orphans_and_dangling_handles_go() {
    let kit = furnished(2);
    let brick = kit.brick();
    let root = brick.root.fd();
    brick.sys.unlink_at(root, c"f", AtFlags::empty()).unwrap();
    brick.sys.unlink_at(root, c"s", AtFlags::empty()).unwrap();
    // A tree without its handles' knowledge: first those of `a`, then `b`, then `c` are known to lead nowhere.
    for path in [c"a/f", c"a/b/f", c"a/b/c/f"] {
        brick.sys.unlink_at(root, path, AtFlags::empty()).unwrap();
    }
    for path in [c"a/b/c", c"a/b", c"a"] {
        brick.sys.unlink_at(root, path, AtFlags::REMOVEDIR).unwrap();
    }
    let summary = scrub(&brick);
    assert_eq!((summary.orphans, summary.dangling, summary.made, summary.failed), (5, 3, 0, 0));
    assert_whole(kit, brick);
}

#[test]
fn missing_handles_are_made_with_all_below() {
    let kit = furnished(3);
    let brick = kit.brick();
    for n in [1, 2, 3, 11, 12, 13, 14, 15] {
        brick.sys.unlink_at(brick.dot.fd(), HandlePath::new(gfid(n)).as_c_str(), AtFlags::empty()).unwrap();
    }
    let summary = scrub(&brick);
    assert_eq!((summary.made, summary.orphans, summary.dangling, summary.failed), (8, 0, 0, 0));
    assert_whole(kit, brick);
}

#[test]
fn a_directory_that_was_moved_behind_the_bricks_back_is_found() {
    let kit = furnished(4);
    let brick = kit.brick();
    let root = brick.root.fd();
    brick.sys.rename_at(root, c"a/b", root, c"moved", RenameFlags::empty()).unwrap();
    let summary = scrub(&brick);
    assert!(summary.made >= 1 && summary.failed == 0, "{summary:?}");
    assert_eq!(brick.parent_of_dir(gfid(2)).unwrap(), (ROOT, name("moved")));
    assert_whole(kit, brick);
}

#[test]
fn paths_are_set_and_removed() {
    let kit = furnished(11);
    let brick = kit.brick();
    let root = brick.root.fd();
    // As a rename leaves them that was cut off before, and one that was cut off after.
    brick.sys.rename_at(root, c"f", root, c"g", RenameFlags::empty()).unwrap();
    let path = Gfid2Path::new(gfid(9), &name("gone"));
    let target = XattrTarget::At(root, c"a/f");
    brick.sys.setxattr(target, &path.key, &path.value, XattrFlags::CREATE).unwrap();
    brick
        .sys
        .setxattr(XattrTarget::At(root, c"s"), c"trusted.gfid2path.x", b"?", XattrFlags::CREATE)
        .unwrap();
    let summary = scrub(&brick);
    assert_eq!((summary.paths, summary.failed), (4, 0));
    assert_whole(kit, brick);
}

#[test]
fn paths_are_nobodys_business_where_the_option_is_off() {
    let kit = Kit::with_options(12, &[("gfid2path", "off")]);
    kit.run(async |client| client.mknod(mkfile(ROOT, "f", gfid(1))).await.unwrap());
    let brick = kit.brick();
    let target = XattrTarget::At(brick.root.fd(), c"f");
    for key in [c"trusted.gfid2path.x", c"trusted.gfid2path.y"] {
        brick.sys.setxattr(target, key, b"?", XattrFlags::CREATE).unwrap();
    }
    assert_eq!(scrub(&brick), Summary { handles: 1, names: 1, ..Summary::default() });
}

#[test]
fn what_a_fop_is_at_work_on_is_left_alone() {
    let kit = furnished(5);
    let brick = kit.brick();
    let root = brick.root.fd();
    let f = name("f");
    let intent = brick.intents.fill(Operation::Unlink, [gfid(11), Gfid::NULL], [Some((ROOT, &f)), None]);
    brick.sys.unlink_at(root, c"f", AtFlags::empty()).unwrap();
    assert_eq!(scrub(&brick).orphans, 0);
    drop(intent);
    brick.opens.opened(gfid(11), false);
    assert_eq!(scrub(&brick).orphans, 0, "somebody has it open");
    brick.opens.closed(gfid(11), false);
    assert_eq!(scrub(&brick).orphans, 1);
    assert_whole(kit, brick);
}

#[test]
fn two_objects_with_one_gfid_are_not_touched() {
    let kit = furnished(6);
    let brick = kit.brick();
    let root = brick.root.fd();
    brick.sys.mkdir_at(root, c"twin", 0o755).unwrap();
    let twin = XattrTarget::At(root, c"twin");
    let create = XattrFlags::CREATE;
    brick.sys.setxattr(twin, crate::keys::GFID, gfid(2).as_bytes(), create).unwrap();
    let summary = scrub(&brick);
    assert_eq!((summary.made, summary.failed), (0, 1));
    assert_eq!(brick.parent_of_dir(gfid(2)).unwrap(), (gfid(1), name("b")));
}

#[test]
fn what_cannot_be_read_is_counted_and_does_not_stop_it() {
    let kit = furnished(7);
    let brick = kit.brick();
    for call in [Call::StatAt, Call::ReadDir, Call::Openat2, Call::Getxattr, Call::ReadlinkAt] {
        for nth in 1..12 {
            kit.sim.kernel().fail_nth(call, nth, Errno::IO);
            let summary = scrub(&brick);
            assert_eq!((summary.orphans, summary.dangling, summary.made), (0, 0, 0), "{call:?} {nth}");
        }
    }
    assert_whole(kit, brick);
}

#[test]
fn it_starts_after_a_power_cut_and_is_remembered_until_it_ends() {
    let kit = furnished(8);
    let brick = kit.brick();
    brick.intents.begin_anew(&brick.sys, true);
    brick.sys.unlink_at(brick.root.fd(), c"f", AtFlags::empty()).unwrap();
    kit.run(async |client| {
        client.graph.start();
        client.core().sleep(Duration::from_secs(60)).await;
        client.graph.fini().await;
    });
    assert!(brick.intents.is_trusted());
    assert_eq!(brick.handle_links(gfid(11)), 0);
    assert_whole(kit, brick);
}

#[test]
fn a_brick_that_has_failed_is_not_scrubbed_on() {
    let kit = furnished(9);
    let brick = kit.brick();
    brick.intents.begin_anew(&brick.sys, true);
    brick.fail("no disk".into());
    kit.run(async |client| scrub::run(client.core().clone(), Arc::clone(&brick)).await);
    assert!(!brick.intents.is_trusted(), "the next start begins again");
}

/// Fops and scrubs at once, on threads of their own: the scrubs find nothing to do, and break nothing.
#[test]
fn fops_go_on_meanwhile() {
    let kit = furnished(10);
    let brick = kit.brick();
    let over = AtomicBool::new(false);
    let summaries = std::thread::scope(|scope| {
        let scrubs: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut all = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        all.push(scrub(&brick));
                    }
                    all
                })
            })
            .collect();
        kit.run(async |client| {
            for round in 0..300_u64 {
                let id = |n: u64| gfid_n(10_000 + round * 10 + n);
                client.mkdir(mkdir(ROOT, "d", id(1))).await.unwrap();
                client.mkdir(mkdir(id(1), "e", id(2))).await.unwrap();
                client.mknod(mkfile(id(2), "f", id(3))).await.unwrap();
                client.link(link(id(3), id(1), "g")).await.unwrap();
                client.rename(rename((ROOT, "d"), (gfid(2), "moved"))).await.unwrap();
                client.rename(rename((id(1), "e"), (ROOT, "e"))).await.unwrap();
                client.rename(rename((id(1), "g"), (id(2), "f"))).await.unwrap();
                client.symlink(symlink("/x", id(1), "s", id(4))).await.unwrap();
                client.unlink(unlink(id(1), "s")).await.unwrap();
                client.unlink(unlink(id(1), "g")).await.unwrap();
                client.unlink(unlink(id(2), "f")).await.unwrap();
                client.rmdir(rmdir(gfid(2), "moved")).await.unwrap();
                client.rmdir(rmdir(ROOT, "e")).await.unwrap();
                let found = client.find("a/b/c/f").await.unwrap();
                assert_eq!(found.iatt.gfid, gfid(14));
            }
        });
        over.store(true, Ordering::Relaxed);
        scrubs.into_iter().flat_map(|scrub| scrub.join().unwrap()).collect::<Vec<_>>()
    });
    let idle = |summary: &Summary| {
        let Summary { orphans, dangling, made, paths, failed, .. } = *summary;
        (orphans, dangling, made, paths, failed) == (0, 0, 0, 0, 0)
    };
    assert!(summaries.len() > 2 && summaries.iter().all(idle), "{summaries:#?}");
    assert_whole(kit, brick);
}
