//! What each fop leaves on disk, and what it answers.

use kiln_uring::sys::{Stat, XattrTarget};

use crate::fop::request;
use crate::keys;
use crate::storage::posix::Brick;
use crate::storage::posix::entry::pgfid;
use crate::storage::posix::gfid2path::Gfid2Path;
use crate::storage::posix::handle::{HandlePath, gfid_name};
use crate::storage::posix::testkit::*;
use crate::types::{Gfid, IaType, Loc, Value, Xdata};

const ROOT: Gfid = Gfid::ROOT;

/// What stock leaves: for each kind of object its link count on disk, the form of its handle, and its attributes.
#[test]
fn new_objects_look_like_stock_s() {
    // kind, mode on disk, links on disk, gfid2path
    let table: &[(&str, u32, u32, bool)] = &[
        ("file", 0o100_644, 2, true),
        ("node", 0o100_600, 2, true),
        ("fifo", 0o010_600, 2, true),
        ("socket", 0o140_600, 2, true),
        ("char", 0o020_600, 2, true),
        ("block", 0o060_600, 2, true),
        ("link", 0o120_777, 2, true),
        ("dir", 0o040_755, 2, false),
    ];
    let kit = Kit::new(1);
    let brick = kit.brick();
    kit.run(async |client| {
        let client = client.user(11, 12);
        for (n, (kind, mode, links, has_path)) in table.iter().enumerate() {
            let id = gfid(n as u8 + 1);
            let made = match *kind {
                "file" => client.create(create(ROOT, kind, id)).await,
                "link" => client.symlink(symlink("to", ROOT, kind, id)).await,
                "dir" => client.mkdir(mkdir(ROOT, kind, id)).await,
                _ => client.mknod(mknod(ROOT, kind, id, *mode, 3 << 32 | 4)).await,
            };
            let made = made.unwrap();
            let found = client.find(kind).await.unwrap();
            assert_eq!(made.iatt, found.iatt, "{kind}");
            assert_eq!((made.iatt.gfid, made.iatt.uid, made.iatt.gid), (id, 11, 12), "{kind}");
            assert_eq!(made.iatt.nlink, if *kind == "dir" { 2 } else { 1 }, "{kind}");
            assert_eq!(made.iatt.kind, IaType::from_mode(*mode), "{kind}");
            assert!(made.preparent.gfid.is_root() && made.postparent.gfid.is_root(), "{kind}");
            let named = brick.sys.stat_at(brick.root.fd(), name(kind).as_c_str()).unwrap();
            assert_eq!((named.mode, named.nlink), (*mode, *links), "{kind}");
            check_handle(&brick, id, kind, &named);
            let target = name(kind);
            let attrs = brick.xattr_names(XattrTarget::At(brick.root.fd(), target.as_c_str()));
            let mut wanted = vec!["trusted.gfid".to_owned()];
            if *has_path {
                wanted.push(Gfid2Path::new(ROOT, &name(kind)).key.into_string().unwrap());
            }
            assert_eq!(attrs, wanted, "{kind}");
            assert!(!brick.intents.is_busy(id));
        }
        let device = client.find("char").await.unwrap().iatt;
        assert_eq!(device.rdev, 3 << 32 | 4);
    });
}

fn check_handle(brick: &Brick, id: Gfid, kind: &str, named: &Stat) {
    let handle = brick.stat_handle(id).unwrap();
    if kind == "dir" {
        assert!(handle.is_symlink() && handle.nlink == 1);
        assert_eq!(brick.parent_of_dir(id).unwrap(), (ROOT, name(kind)));
    } else {
        assert_eq!(handle.ino, named.ino, "{kind}");
    }
}

#[test]
fn times_come_from_the_caller() {
    let kit = Kit::new(1);
    let brick = kit.brick();
    kit.run(async |client| {
        let made = client.at(100).mkdir(mkdir(ROOT, "d", gfid(1))).await.unwrap();
        assert_eq!(made.iatt.mtime.sec, 100);
        assert_eq!(made.postparent.ctime.sec, 100);
        assert!(brick.xattr(ROOT, keys::MDATA).is_some());
        let made = client.at(200).create(create(gfid(1), "f", gfid(2))).await.unwrap();
        assert_eq!(
            (made.iatt.atime.sec, made.preparent.mtime.sec, made.postparent.mtime.sec),
            (200, 100, 200)
        );
        // Backwards does not go.
        let gone = client.at(150).unlink(unlink(gfid(1), "f")).await.unwrap();
        assert_eq!(gone.postparent.mtime.sec, 200);
        // Without flags no attribute is made.
        client.mkdir(mkdir(ROOT, "e", gfid(3))).await.unwrap();
        assert!(brick.xattr(gfid(3), keys::MDATA).is_none());
    });
}

#[test]
fn links_and_unlinks_keep_count() {
    let kit = Kit::new(1);
    let brick = kit.brick();
    kit.run(async |client| {
        client.create(create(ROOT, "f", gfid(1))).await.unwrap();
        let made = client.link(link(gfid(1), ROOT, "g")).await.unwrap();
        assert_eq!(made.iatt.nlink, 2);
        assert_eq!(brick.handle_links(gfid(1)), 3);
        let mut req = unlink(ROOT, "f");
        req.xdata = xdata([
            (keys::LINK_COUNT, Value::Int(0)),
            (keys::REQUEST_LINK_COUNT, Value::Int(0)),
            (keys::IATT_IN_XATTR, Value::Int(0)),
            (keys::FILE_BLOCK_COUNT, Value::Int(0)),
        ]);
        let gone = client.unlink(req).await.unwrap();
        let told = |key| gone.xdata.get(key).and_then(Value::as_u64);
        assert_eq!((told(keys::LINK_COUNT), told(keys::RESPONSE_LINK_COUNT)), (Some(2), Some(2)));
        assert_eq!(told(keys::FILE_BLOCK_COUNT), Some(0));
        assert!(
            matches!(gone.xdata.get(keys::IATT_IN_XATTR), Some(Value::Iatt(iatt)) if iatt.gfid == gfid(1))
        );
        let paths = brick.xattr_names(XattrTarget::At(brick.dot.fd(), HandlePath::new(gfid(1)).as_c_str()));
        let path = Gfid2Path::new(ROOT, &name("g")).key.into_string().unwrap();
        assert_eq!(paths, ["trusted.gfid".to_owned(), path]);
        // It is open (by the create), so the handle waits.
        let gone = client.unlink(unlink(ROOT, "g")).await.unwrap();
        assert_eq!(gone.xdata.get(keys::LINK_COUNT), Some(&Value::Uint(0)));
        assert_eq!(brick.handle_links(gfid(1)), 0);
        let parked = brick.sys.stat_at(brick.unlink_dir.fd(), &gfid_name(gfid(1))).unwrap();
        assert_eq!(parked.nlink, 1);
    });
}

#[test]
fn a_released_file_leaves_unlink() {
    let kit = Kit::new(1);
    let brick = kit.brick();
    kit.run(async |client| {
        let req = create(ROOT, "f", gfid(1));
        let fd = std::sync::Arc::clone(&req.fd);
        client.create(req).await.unwrap();
        assert_eq!(fd.gfid(), gfid(1));
        client.unlink(unlink(ROOT, "f")).await.unwrap();
        client.graph.release(&fd);
        client.core().sleep(std::time::Duration::from_millis(50)).await;
        let parked = brick.sys.stat_at(brick.unlink_dir.fd(), &gfid_name(gfid(1)));
        assert_eq!(parked.unwrap_err(), kiln_uring::Errno::NOENT);
    });
}

#[test]
fn renames_move_handles_and_paths() {
    let kit = Kit::new(1);
    let brick = kit.brick();
    kit.run(async |client| {
        client.mkdir(mkdir(ROOT, "a", gfid(1))).await.unwrap();
        client.mkdir(mkdir(gfid(1), "deep", gfid(2))).await.unwrap();
        client.mknod(mknod(gfid(2), "f", gfid(3), libc::S_IFREG | 0o600, 0)).await.unwrap();
        client.mkdir(mkdir(ROOT, "b", gfid(4))).await.unwrap();
        let done = client.rename(rename((ROOT, "a"), (gfid(4), "c"))).await.unwrap();
        assert_eq!(
            (done.iatt.gfid, done.postoldparent.gfid, done.postnewparent.gfid),
            (gfid(1), ROOT, gfid(4))
        );
        assert_eq!(done.postoldparent.nlink + 1, done.preoldparent.nlink);
        assert_eq!(brick.parent_of_dir(gfid(1)).unwrap(), (gfid(4), name("c")));
        // What is below is reached by its gfid as before.
        let object = request::Lookup { loc: Loc::object(gfid(3)), xdata: Xdata::NONE };
        assert_eq!(client.lookup(object).await.unwrap().iatt.gfid, gfid(3));
        assert_eq!(client.find("b/c/deep/f").await.unwrap().iatt.gfid, gfid(3));
        client.rename(rename((gfid(2), "f"), (ROOT, "g"))).await.unwrap();
        let value = brick.xattr(gfid(3), &Gfid2Path::new(ROOT, &name("g")).key).unwrap();
        assert_eq!(Gfid2Path::parse(&value).unwrap(), (ROOT, name("g")));
        assert!(brick.xattr(gfid(3), &Gfid2Path::new(gfid(2), &name("f")).key).is_none());
    });
}

#[test]
fn a_create_echoes_its_xdata_and_others_do_not() {
    let kit = Kit::new(1);
    kit.run(async |client| {
        let req = create(ROOT, "f", gfid(1));
        let sent = req.xdata.clone();
        assert_eq!(client.create(req).await.unwrap().xdata, sent);
        let again = client.create(create(ROOT, "f", gfid(2))).await.unwrap_err();
        assert_eq!(again.detail.unwrap().xdata, gfid_req(gfid(2)));
        assert_eq!(client.mkdir(mkdir(ROOT, "d", gfid(3))).await.unwrap().xdata, Xdata::NONE);
        assert_eq!(client.rmdir(rmdir(ROOT, "d")).await.unwrap().xdata, Xdata::NONE);
    });
}

#[test]
fn icreate_and_namelink_make_a_file_in_two_steps() {
    let kit = Kit::new(1);
    let brick = kit.brick();
    kit.run(async |client| {
        let loc = Loc::object(gfid(1));
        let made =
            client.icreate(request::Icreate { loc, mode: 0o600, xdata: gfid_req(gfid(1)) }).await.unwrap();
        assert_eq!((made.iatt.gfid, made.iatt.nlink), (gfid(1), 0));
        let loc = Loc::known_entry(gfid(1), ROOT, name("f"));
        client.namelink(request::Namelink { loc, xdata: Xdata::NONE }).await.unwrap();
        assert_eq!(client.find("f").await.unwrap().iatt.nlink, 1);
        assert_eq!(brick.handle_links(gfid(1)), 2);
        assert!(brick.xattr(gfid(1), &Gfid2Path::new(ROOT, &name("f")).key).is_some());
    });
}

#[test]
fn names_are_counted_per_parent_when_asked() {
    let kit = Kit::with_options(1, &[("update-link-count-parent", "on")]);
    let brick = kit.brick();
    let count = |parent| brick.xattr(gfid(1), &pgfid::key(parent)).map(|value| value[3]);
    kit.run(async |client| {
        client.mkdir(mkdir(ROOT, "d", gfid(2))).await.unwrap();
        client.mknod(mknod(ROOT, "a", gfid(1), libc::S_IFREG | 0o600, 0)).await.unwrap();
        assert_eq!((count(ROOT), count(gfid(2))), (Some(1), None));
        client.link(link(gfid(1), ROOT, "b")).await.unwrap();
        client.link(link(gfid(1), gfid(2), "c")).await.unwrap();
        assert_eq!((count(ROOT), count(gfid(2))), (Some(2), Some(1)));
        client.rename(rename((ROOT, "a"), (gfid(2), "a"))).await.unwrap();
        client.rename(rename((gfid(2), "a"), (gfid(2), "e"))).await.unwrap();
        assert_eq!((count(ROOT), count(gfid(2))), (Some(1), Some(2)));
        client.unlink(unlink(ROOT, "b")).await.unwrap();
        assert_eq!((count(ROOT), count(gfid(2))), (None, Some(2)));
        assert_eq!(brick.xattr(gfid(1), &pgfid::key(gfid(2))), Some(vec![0, 0, 0, 2]));
        assert_eq!(brick.xattr(gfid(2), &pgfid::key(ROOT)), None, "a directory has one name");
    });
}

#[test]
fn a_stop_in_good_order_leaves_nothing_behind() {
    let kit = Kit::new(1);
    let fs = std::sync::Arc::clone(kit.fs.as_ref().unwrap());
    kit.run(async |client| client.mkdir(mkdir(ROOT, "d", gfid(1))).await.unwrap());
    kit.stop();
    let sys: std::sync::Arc<dyn kiln_uring::Sys> = fs;
    for gone in [c"/brick/.glusterfs/kiln-intents", c"/brick/.glusterfs/kiln-temp"] {
        assert_eq!(sys.stat_at(libc::AT_FDCWD, gone).unwrap_err(), kiln_uring::Errno::NOENT, "{gone:?}");
    }
}
