//! Whose times a reply tells, when cores share an object and strangers change it.

use std::rc::Rc;
use std::time::Duration;

use kiln_uring::sim::Call as Syscall;
use kiln_uring::sys::{Stat, Timespec, XattrFlags, XattrTarget};
use kiln_uring::{AtFlags, Buf};

use super::tests::{plant, real_kit};
use crate::fd::Fd;
use crate::fop::request;
use crate::keys;
use crate::storage::posix::handle::HandlePath;
use crate::storage::posix::testkit::{Client, Kit, gfid};
use crate::storage::posix::{Brick, mdata};
use crate::types::{Dict, Gfid, Iatt, Loc, MdataTimes, Value, Xdata};

const RDWR: u32 = libc::O_RDWR as u32;

fn times(sec: i64) -> MdataTimes {
    let at = Timespec { sec, nsec: 5 };
    MdataTimes { ctime: at, mtime: at, atime: at }
}

/// The attribute on disk.
fn stored(brick: &Brick, gfid: Gfid) -> Option<MdataTimes> {
    mdata::decode(&brick.xattr(gfid, keys::MDATA)?)
}

/// A write by a clock that shows `sec`; the seconds of the change time before and after it.
async fn write(client: &Client, gfid: Gfid, sec: i64) -> (i64, i64) {
    let fd = Fd::anonymous(gfid, RDWR, 1);
    let data = Buf::from_slice(&[1; 100]);
    let request = request::Writev { fd, data, offset: 0, flags: 0, xdata: Xdata::NONE };
    let written = client.at(sec).writev(request).await.unwrap();
    (written.pre.ctime.sec, written.post.ctime.sec)
}

async fn stat(client: &Client, gfid: Gfid) -> Iatt {
    client.stat(request::Stat { loc: Loc::object(gfid), xdata: Xdata::NONE }).await.unwrap().iatt
}

#[test]
fn cores_share_what_they_know() {
    let kit = Kit::new(40);
    plant(&kit.brick(), "f", gfid(7));
    // Until a client's clock counts, the kernel's does.
    kit.run(async |client| write(&client, gfid(7), 1).await);
    kit.run_cores(3, async |client| {
        for round in 0..20 {
            let sec = 1000 + 10 * round + client.core().id() as i64;
            let (before, after) = write(&client, gfid(7), sec).await;
            assert!(before <= after && after >= sec, "{before} {after} {sec}");
            let seen = stat(&client, gfid(7)).await;
            assert!(seen.ctime.sec >= after, "an older time than was told before");
            assert_eq!(stored(&kit.brick(), gfid(7)).map(|times| times.ctime), Some(seen.ctime));
            client.core().sleep(Duration::from_micros(round as u64 % 3)).await;
        }
    });
    assert_eq!(stored(&kit.brick(), gfid(7)), Some(times(1192)));
}

#[test]
fn writes_that_come_together_tell_and_store_what_each_alone_would() {
    let mut stores = 0;
    for seed in 100..160 {
        let kit = Kit::new(seed);
        plant(&kit.brick(), "f", gfid(7));
        plant(&kit.brick(), "g", gfid(8));
        kit.run(async |client| {
            let client = Rc::new(client);
            for of in [gfid(7), gfid(8)] {
                assert_eq!(write(&client, of, 999).await.1, 999);
            }
            let before = kit.sim.kernel().calls(Syscall::Setxattr);
            let writes: Vec<_> = (0..12)
                .map(|n| {
                    let (client, brick) = (Rc::clone(&client), kit.brick());
                    client.core().clone().spawn_join(async move {
                        let of = gfid(7 + n % 2);
                        let sec = 1000 + (n as i64 * 7) % 12;
                        let (before, after) = write(&client, of, sec).await;
                        assert!(before <= after && after >= sec, "{before} {after} {sec}");
                        let kept = stored(&brick, of).expect("an answered write has stored its times");
                        assert!(kept.mtime.sec >= after, "{kept:?} {after}");
                        (of, before, after)
                    })
                })
                .collect();
            let mut told = Vec::new();
            for write in writes {
                told.push(write.await);
            }
            stores += kit.sim.kernel().calls(Syscall::Setxattr) - before;
            for of in [gfid(7), gfid(8)] {
                // Each finds what another has left behind, or what was there in the beginning.
                let mine = told.iter().filter(|(gfid, ..)| *gfid == of);
                let left: Vec<i64> = mine.clone().map(|(.., after)| *after).collect();
                let strange =
                    mine.filter(|(_, before, _)| !left.contains(before)).map(|(_, before, _)| *before);
                let mut strange: Vec<i64> = strange.collect();
                strange.dedup();
                assert!(strange.len() <= 1, "{strange:?} {left:?}");
                assert_eq!(stored(&kit.brick(), of).map(|times| times.mtime.sec), left.iter().copied().max());
            }
        });
    }
    // Alone, two in five would move the times further; the others come with a time that has passed.
    assert!(stores < 60 * 12 / 3, "{stores} stores");
}

#[test]
fn a_write_that_is_given_up_among_others_has_its_times() {
    for seed in 200..240 {
        let kit = Kit::new(seed);
        plant(&kit.brick(), "f", gfid(7));
        kit.run(async |client| {
            let client = Rc::new(client);
            let core = client.core().clone();
            let planted = kit.sim.kernel().calls(Syscall::Pwrite);
            let tasks: Vec<_> = (0..6)
                .map(|n| {
                    let client = Rc::clone(&client);
                    core.spawn(async move {
                        write(&client, gfid(7), 1000 + n).await;
                    })
                })
                .collect();
            for _ in 0..seed % 12 {
                core.yield_now().await;
            }
            tasks.into_iter().for_each(|task| core.abort(task));
            let written = kit.sim.kernel().calls(Syscall::Pwrite) - planted;
            let kept = stored(&kit.brick(), gfid(7));
            assert_eq!(kept.is_some_and(|times| times.mtime.sec >= 1000), written > 0, "{written} {kept:?}");
            // Nothing is left over that a later write would meet.
            let (_, after) = write(&client, gfid(7), 2000).await;
            assert_eq!(after, 2000);
            assert_eq!(write(&client, gfid(7), 1500).await, (2000, 2000));
            assert_eq!(stored(&kit.brick(), gfid(7)).map(|times| times.mtime.sec), Some(2000));
        });
    }
}

/// What a stranger does comes later than the last look, by the coarsest clock that kernels stamp inodes with.
fn later() {
    std::thread::sleep(Duration::from_millis(25));
}

#[test]
fn what_strangers_do_is_seen() {
    let Some((kit, _dir)) = real_kit(41, &[]) else { return };
    let brick = kit.brick();
    plant(&brick, "f", gfid(1));
    let handle = HandlePath::new(gfid(1));
    let target = XattrTarget::At(brick.dot.fd(), handle.as_c_str());
    kit.run(async |client| {
        assert_eq!(write(&client, gfid(1), 1000).await.1, 1000);
        assert_eq!(write(&client, gfid(1), 1001).await, (1000, 1001));
        // A backup is restored: the times go back.
        later();
        brick.sys.setxattr(target, keys::MDATA, &mdata::encode(&times(500)), XattrFlags::empty()).unwrap();
        assert_eq!(stat(&client, gfid(1)).await.ctime.sec, 500);
        assert_eq!(write(&client, gfid(1), 1002).await, (500, 1002));
        later();
        brick.sys.setxattr(target, keys::MDATA, &mdata::encode(&times(2000)), XattrFlags::empty()).unwrap();
        // They do not go back for a client whose clock is behind.
        assert_eq!(write(&client, gfid(1), 1003).await, (2000, 2000));
        later();
        brick.sys.removexattr(target, keys::MDATA).unwrap();
        let bare: Stat = brick.sys.stat_at(brick.dot.fd(), handle.as_c_str()).unwrap();
        assert_eq!(stat(&client, gfid(1)).await.ctime, bare.ctime);
        assert_eq!(write(&client, gfid(1), 1004).await.1, 1004);
        // Another file in its place.
        later();
        for (dir, name) in [(brick.root.fd(), c"f"), (brick.dot.fd(), handle.as_c_str())] {
            brick.sys.unlink_at(dir, name, AtFlags::empty()).unwrap();
        }
        plant(&brick, "f", gfid(1));
        let bare = brick.sys.stat_at(brick.dot.fd(), handle.as_c_str()).unwrap();
        assert_eq!(stat(&client, gfid(1)).await.ctime, bare.ctime);
        assert_eq!(write(&client, gfid(1), 700).await.1, 700);
        assert_eq!(stored(&brick, gfid(1)), Some(times(700)));
    });
}

#[test]
fn times_that_internal_processes_set_and_remove_are_known() {
    let kit = Kit::new(42);
    plant(&kit.brick(), "f", gfid(1));
    kit.run(async |client| {
        write(&client, gfid(1), 1000).await;
        let value = Value::Bin(mdata::encode(&times(3000)).to_vec());
        let dict = Dict::from_iter([(keys::MDATA, value)]);
        let loc = Loc::object(gfid(1));
        let request = request::Setxattr { loc: loc.clone(), dict, flags: 0, xdata: Xdata::NONE };
        client.pid(-6).setxattr(request).await.unwrap();
        assert_eq!(stat(&client, gfid(1)).await.ctime.sec, 3000);
        let request = request::Removexattr { loc, name: keys::MDATA.into(), xdata: Xdata::NONE };
        client.pid(-6).removexattr(request).await.unwrap();
        assert_eq!(write(&client, gfid(1), 900).await.1, 900);
    });
}
