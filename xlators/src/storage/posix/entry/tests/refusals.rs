//! What is refused, with which errno, and that nothing has changed then.

use std::sync::atomic::Ordering;

use kiln_uring::Errno;
use kiln_uring::sys::{XattrFlags, XattrTarget};

use crate::error::FopResult;
use crate::fop::request;
use crate::keys;
use crate::storage::posix::testkit::*;
use crate::types::{Gfid, Loc, Value, Xdata};

const ROOT: Gfid = Gfid::ROOT;

fn errno<T: std::fmt::Debug>(result: FopResult<T>) -> Errno {
    result.unwrap_err().errno
}

#[test]
fn the_housekeeping_directory_is_nobody_s_business() {
    let kit = Kit::new(1);
    kit.run(async |client| {
        let dot = ".glusterfs";
        client.create(create(ROOT, "f", gfid(1))).await.unwrap();
        assert_eq!(errno(client.create(create(ROOT, dot, gfid(2))).await), Errno::PERM);
        assert_eq!(errno(client.mkdir(mkdir(ROOT, dot, gfid(2))).await), Errno::PERM);
        assert_eq!(errno(client.mknod(mknod(ROOT, dot, gfid(2), libc::S_IFIFO, 0)).await), Errno::PERM);
        assert_eq!(errno(client.symlink(symlink("x", ROOT, dot, gfid(2))).await), Errno::PERM);
        assert_eq!(errno(client.link(link(gfid(1), ROOT, dot)).await), Errno::PERM);
        assert_eq!(errno(client.unlink(unlink(ROOT, dot)).await), Errno::PERM);
        assert_eq!(errno(client.rmdir(rmdir(ROOT, dot)).await), Errno::PERM);
        assert_eq!(errno(client.rename(rename((ROOT, dot), (ROOT, "x"))).await), Errno::PERM);
        assert_eq!(errno(client.rename(rename((ROOT, "f"), (ROOT, dot))).await), Errno::PERM);
        // Deeper it is a name like others.
        client.mkdir(mkdir(ROOT, "d", gfid(3))).await.unwrap();
        client.mkdir(mkdir(gfid(3), dot, gfid(4))).await.unwrap();
    });
}

#[test]
fn new_objects_need_a_gfid() {
    let kit = Kit::new(1);
    kit.run(async |client| {
        for wrong in [
            Xdata::NONE,
            gfid_req(Gfid::NULL),
            gfid_req(ROOT),
            xdata([(keys::GFID_REQ, Value::Bin(vec![1; 15]))]),
        ] {
            let mut req = mkdir(ROOT, "d", gfid(1));
            req.xdata = wrong;
            assert_eq!(errno(client.mkdir(req).await), Errno::INVAL);
        }
        let mut req = mkdir(ROOT, "d", gfid(1));
        req.xdata = xdata([(keys::GFID_REQ, Value::Bin(vec![1; 16]))]);
        assert_eq!(client.mkdir(req).await.unwrap().iatt.gfid, gfid(1));
    });
}

#[test]
fn nothing_happens_under_a_parent_that_is_gone() {
    let kit = Kit::new(1);
    kit.run(async |client| {
        for known in [false, true] {
            let (parent, name) = if known { (gfid(1), "d") } else { (gfid(9), "never") };
            if known {
                client.mkdir(mkdir(ROOT, name, parent)).await.unwrap();
                // Now this core has it open.
                client.create(create(parent, "f", gfid(2))).await.unwrap();
                client.unlink(unlink(parent, "f")).await.unwrap();
                let brick = kit.brick();
                brick.sys.unlink_at(brick.root.fd(), c"d", kiln_uring::AtFlags::REMOVEDIR).unwrap();
            }
            client.create(create(ROOT, "there", gfid(3))).await.map(drop).unwrap_or_default();
            assert_eq!(errno(client.create(create(parent, "f", gfid(4))).await), Errno::STALE, "{known}");
            assert_eq!(errno(client.mkdir(mkdir(parent, "f", gfid(4))).await), Errno::STALE, "{known}");
            assert_eq!(
                errno(client.symlink(symlink("x", parent, "f", gfid(4))).await),
                Errno::STALE,
                "{known}"
            );
            assert_eq!(errno(client.link(link(gfid(3), parent, "f")).await), Errno::STALE, "{known}");
            assert_eq!(errno(client.unlink(unlink(parent, "f")).await), Errno::STALE, "{known}");
            assert_eq!(
                errno(client.rename(rename((ROOT, "there"), (parent, "f"))).await),
                Errno::STALE,
                "{known}"
            );
            assert_eq!(kit.brick().handle_links(gfid(4)), 0);
        }
    });
}

#[test]
fn names_that_are_taken_and_names_that_are_not() {
    let kit = Kit::new(1);
    let brick = kit.brick();
    kit.run(async |client| {
        client.create(create(ROOT, "f", gfid(1))).await.unwrap();
        client.mkdir(mkdir(ROOT, "d", gfid(2))).await.unwrap();
        client.mkdir(mkdir(gfid(2), "below", gfid(3))).await.unwrap();
        client.symlink(symlink("f", ROOT, "s", gfid(5))).await.unwrap();
        assert_eq!(errno(client.create(create(ROOT, "f", gfid(9))).await), Errno::EXIST);
        assert_eq!(errno(client.mkdir(mkdir(ROOT, "f", gfid(9))).await), Errno::EXIST);
        assert_eq!(errno(client.mkdir(mkdir(ROOT, "d", gfid(2))).await), Errno::EXIST);
        assert_eq!(errno(client.symlink(symlink("x", ROOT, "f", gfid(9))).await), Errno::EXIST);
        assert_eq!(errno(client.mknod(mknod(ROOT, "d", gfid(9), libc::S_IFIFO, 0)).await), Errno::EXIST);
        assert_eq!(errno(client.link(link(gfid(1), ROOT, "d")).await), Errno::EXIST);
        assert_eq!(errno(client.link(link(gfid(2), ROOT, "x")).await), Errno::PERM);
        assert_eq!(errno(client.link(link(gfid(8), ROOT, "x")).await), Errno::STALE);
        assert_eq!(errno(client.unlink(unlink(ROOT, "x")).await), Errno::NOENT);
        assert_eq!(errno(client.unlink(unlink(ROOT, "d")).await), Errno::ISDIR);
        assert_eq!(errno(client.rmdir(rmdir(ROOT, "f")).await), Errno::NOTDIR);
        assert_eq!(errno(client.rmdir(rmdir(ROOT, "d")).await), Errno::NOTEMPTY);
        assert_eq!(errno(client.rename(rename((ROOT, "x"), (ROOT, "y"))).await), Errno::NOENT);
        assert_eq!(errno(client.rename(rename((ROOT, "f"), (ROOT, "d"))).await), Errno::ISDIR);
        assert_eq!(errno(client.rename(rename((ROOT, "d"), (ROOT, "f"))).await), Errno::NOTDIR);
        assert_eq!(errno(client.rename(rename((ROOT, "d"), (gfid(3), "x"))).await), Errno::INVAL);
        client.mkdir(mkdir(ROOT, "e", gfid(4))).await.unwrap();
        assert_eq!(errno(client.rename(rename((ROOT, "e"), (ROOT, "d"))).await), Errno::NOTEMPTY);
        // Its handle is there as before.
        assert_eq!(brick.parent_of_dir(gfid(4)).unwrap(), (ROOT, name("e")));
        let mut req = rename((ROOT, "d"), (ROOT, "e"));
        req.new.gfid = gfid(7);
        assert_eq!(errno(client.rename(req).await), Errno::EXIST);
        for (flags, wanted) in [(1, Errno::EXIST), (3, Errno::INVAL), (4, Errno::INVAL), (64, Errno::INVAL)] {
            let req = request::Rename { flags, ..rename((ROOT, "f"), (ROOT, "s")) };
            assert_eq!(errno(client.rename(req).await), wanted, "{flags}");
        }
        let req = request::Rename { flags: 2, ..rename((ROOT, "f"), (ROOT, "x")) };
        assert_eq!(errno(client.rename(req).await), Errno::NOENT);
        let open = |text| request::Create { flags: 0, ..create(ROOT, text, gfid(9)) };
        assert_eq!(errno(client.create(open("s")).await), Errno::LOOP);
        assert_eq!(errno(client.create(open("d")).await), Errno::ISDIR);
        assert_eq!(brick.handle_links(gfid(9)), 0);
        // A gfid that another has.
        assert_eq!(errno(client.create(create(ROOT, "x", gfid(1))).await), Errno::EXIST);
        assert_eq!(errno(client.mkdir(mkdir(ROOT, "x", gfid(1))).await), Errno::EXIST);
        assert_eq!(brick.handle_links(gfid(1)), 2);
    });
}

#[test]
fn links_have_a_limit() {
    let kit = Kit::with_options(1, &[("max-hardlinks", "3")]);
    kit.run(async |client| {
        client.create(create(ROOT, "f", gfid(1))).await.unwrap();
        for n in 1..3 {
            client.link(link(gfid(1), ROOT, &format!("l{n}"))).await.unwrap();
        }
        assert_eq!(errno(client.link(link(gfid(1), ROOT, "more")).await), Errno::MLINK);
    });
}

#[test]
fn a_full_brick_takes_nothing_new_from_ordinary_callers() {
    let kit = Kit::new(1);
    let brick = kit.brick();
    kit.run(async |client| {
        client.create(create(ROOT, "f", gfid(1))).await.unwrap();
        brick.full.store(true, Ordering::Relaxed);
        assert_eq!(errno(client.create(create(ROOT, "x", gfid(2))).await), Errno::NOSPC);
        assert_eq!(errno(client.mkdir(mkdir(ROOT, "x", gfid(2))).await), Errno::NOSPC);
        assert_eq!(errno(client.mknod(mknod(ROOT, "x", gfid(2), libc::S_IFIFO, 0)).await), Errno::NOSPC);
        assert_eq!(errno(client.symlink(symlink("x", ROOT, "x", gfid(2))).await), Errno::NOSPC);
        assert_eq!(errno(client.link(link(gfid(1), ROOT, "x")).await), Errno::NOSPC);
        client.pid(-6).mkdir(mkdir(ROOT, "healed", gfid(3))).await.unwrap();
        let mut req = mkdir(ROOT, "internal", gfid(4));
        req.xdata.make().set(keys::INTERNAL_FOP, Value::Int(1));
        client.mkdir(req).await.unwrap();
        client.rename(rename((ROOT, "f"), (ROOT, "g"))).await.unwrap();
        client.unlink(unlink(ROOT, "g")).await.unwrap();
    });
}

#[test]
fn distribute_s_conditions() {
    let kit = Kit::new(1);
    let brick = kit.brick();
    kit.run(async |client| {
        let req = create(ROOT, "f", gfid(1));
        let fd = std::sync::Arc::clone(&req.fd);
        client.create(req).await.unwrap();
        let unless = |key| request::Unlink { xdata: xdata([(key, Value::Int(1))]), ..unlink(ROOT, "f") };
        assert_eq!(errno(client.unlink(unless(keys::DONT_UNLINK_OPEN)).await), Errno::BUSY);
        assert_eq!(errno(client.unlink(unless(keys::UNLINK_ONLY_LINKTO)).await), Errno::BUSY);
        drop(fd);

        // The layout of the parent must be the one that the caller knows.
        let key = c"trusted.glusterfs.dht";
        let preop = |value: &[u8]| {
            let mut xdata = gfid_req(gfid(2));
            xdata.make().set(keys::PREOP_PARENT_KEY, Value::Str("trusted.glusterfs.dht".into()));
            xdata.make().set(key, Value::Bin(value.into()));
            xdata
        };
        let ask = |value: &[u8]| request::Mkdir { xdata: preop(value), ..mkdir(ROOT, "d", gfid(2)) };
        assert_eq!(errno(client.mkdir(ask(b"layout")).await), Errno::NODATA);
        let root = XattrTarget::Fd(brick.root.fd());
        brick.sys.setxattr(root, key, b"layout", XattrFlags::empty()).unwrap();
        for other in [&b"layouT"[..], b"layou", b"layout+"] {
            let refused = client.mkdir(ask(other)).await.unwrap_err();
            assert_eq!(refused.errno, Errno::IO);
            let told = refused.detail.unwrap().xdata;
            assert_eq!(told.get(keys::PREOP_CHECK_FAILED), Some(&Value::Int(1)));
        }
        client.mkdir(ask(b"layout")).await.unwrap();
        assert!(brick.xattr(gfid(2), key).is_none(), "the parent's layout is not the child's");
        let ask = |value: &[u8], text| request::Create { xdata: preop(value), ..create(ROOT, text, gfid(2)) };
        assert_eq!(errno(client.create(ask(b"other", "new")).await), Errno::IO);
        // Of what is there already, the parent's layout says nothing.
        assert_eq!(errno(client.create(ask(b"other", "f")).await), Errno::EXIST);
    });
}

#[test]
fn names_of_255_bytes_work_everywhere() {
    let kit = Kit::new(1);
    kit.run(async |client| {
        let long = |c: char| c.to_string().repeat(255);
        client.mkdir(mkdir(ROOT, &long('d'), gfid(1))).await.unwrap();
        client.create(create(gfid(1), &long('f'), gfid(2))).await.unwrap();
        client.rename(rename((gfid(1), &long('f')), (ROOT, &long('g')))).await.unwrap();
        client.rename(rename((ROOT, &long('d')), (ROOT, &long('e')))).await.unwrap();
        client.create(create(gfid(1), "x", gfid(3))).await.unwrap();
        assert_eq!(client.find(&format!("{}/x", long('e'))).await.unwrap().iatt.gfid, gfid(3));
        let missing = request::Lookup { loc: Loc::object(gfid(2)), xdata: Xdata::NONE };
        assert_eq!(client.lookup(missing).await.unwrap().iatt.gfid, gfid(2));
    });
}
