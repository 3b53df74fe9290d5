//! getxattr and fgetxattr: stored and virtual names, and lists.

use super::*;

#[test]
fn stored_values_of_any_size() {
    everywhere(&[], async |client, brick| {
        for len in [0, 1, 4096, 4097, 60_000] {
            let value = vec![0xa5; len];
            match client.set(loc(FILE), &[(c"user.a", bin(&value))]).await {
                Ok(_) => {}
                // ext4 has room for one block.
                Err(Errno::NOSPC) if len > 4000 && brick.path != Path::new("/brick") => continue,
                Err(errno) => panic!("{len}: {errno}"),
            }
            assert_eq!(client.get(loc(FILE), c"user.a").await, Ok(Some(Value::Bin(value.clone()))));
            assert_eq!(
                client.get(loc(FILE), c"user.a").await.unwrap().unwrap().as_bytes().unwrap().len(),
                len
            );
        }
        assert_eq!(client.get(loc(FILE), c"user.none").await, Err(Errno::NODATA));
        assert_eq!(client.get(loc(FILE), c"nonsense").await, Err(Errno::OPNOTSUPP));
        assert_eq!(client.get(loc(0x77), c"user.a").await, Err(Errno::STALE));
    });
}

#[test]
fn identity_is_hidden() {
    everywhere(&[], async |client, brick| {
        brick
            .sys
            .setxattr(
                brick.target(&brick.object(gfid(FILE)).unwrap().0),
                c"trusted.glusterfs.0a-b.xtime",
                b"12345678",
                XattrFlags::empty(),
            )
            .unwrap();
        client
            .set(loc(FILE), &[(c"user.b", bin(b"b")), (c"trusted.glusterfs.dht", bin(b"d"))])
            .await
            .unwrap();
        for pid in [1, -6, -1] {
            assert_eq!(client.pid(pid).list(loc(FILE)).await, ["trusted.glusterfs.dht", "user.b"]);
        }
        let root = Loc::object(Gfid::ROOT);
        assert_eq!(client.list(root.clone()).await, [""; 0]);
        // As in stock these succeed without an answer.
        assert_eq!(client.get(loc(FILE), c"trusted.gfid").await, Ok(None));
        assert_eq!(client.get(root, c"trusted.glusterfs.volume-id").await, Ok(None));
        let path = Gfid2Path::new(Gfid::ROOT, &name("file")).key;
        let req = request::Getxattr { loc: loc(FILE), name: Some(Key::Owned(path)), xdata: Xdata::NONE };
        assert_eq!(errno(client.getxattr(req).await), Errno::NODATA);
        assert_eq!(client.get(loc(FILE), c"trusted.glusterfs.0a-b.xtime").await, Err(Errno::NODATA));
        let seen = client.pid(-1).get(loc(FILE), c"trusted.glusterfs.0a-b.xtime").await;
        assert_eq!(seen, Ok(Some(bin(b"12345678"))));
        // Not there is not withheld.
        assert_eq!(client.get(loc(FILE), c"trusted.glusterfs.volume-id").await, Err(Errno::NODATA));
    });
}

#[test]
fn by_descriptor_and_by_name() {
    everywhere(&[], async |client, _| {
        let fd = client.open_fd(FILE).await;
        let set = request::Fsetxattr {
            fd: Arc::clone(&fd),
            dict: dict(&[(c"user.fd", bin(b"1"))]),
            flags: 0,
            xdata: asking(&[keys::DURABLE_OP]),
        };
        client.fsetxattr(set).await.unwrap();
        let get = |fd: &FdRef| request::Fgetxattr {
            fd: Arc::clone(fd),
            name: Some(Key::Borrowed(c"user.fd")),
            xdata: Xdata::NONE,
        };
        assert_eq!(client.fgetxattr(get(&fd)).await.unwrap().dict.get(c"user.fd"), Some(&bin(b"1")));
        let by_name = Loc::entry(Gfid::ROOT, name("file"));
        assert_eq!(client.get(by_name, c"user.fd").await, Ok(Some(bin(b"1"))));
        let all =
            request::Fgetxattr { fd: Arc::clone(&fd), name: Some(Key::Borrowed(c"")), xdata: Xdata::NONE };
        assert_eq!(sorted(&client.fgetxattr(all).await.unwrap().dict), ["user.fd"]);
        let remove = request::Fremovexattr {
            fd: Arc::clone(&fd),
            name: Key::Borrowed(c"user.fd"),
            xdata: Xdata::NONE,
        };
        client.fremovexattr(remove).await.unwrap();
        assert_eq!(errno(client.fgetxattr(get(&fd)).await), Errno::NODATA);
        let never = Fd::file(gfid(FILE), 0, 1);
        assert_eq!(errno(client.fgetxattr(get(&never)).await), Errno::BADF);
        // An anonymous descriptor reaches what cannot be opened.
        client.set(loc(LINK), &[(c"trusted.x", bin(b"l"))]).await.unwrap();
        let anonymous = Fd::anonymous(gfid(LINK), 0, 1);
        let all = request::Fgetxattr { fd: anonymous, name: None, xdata: Xdata::NONE };
        assert_eq!(sorted(&client.fgetxattr(all).await.unwrap().dict), ["trusted.x"]);
    });
}

#[test]
fn a_file_that_was_unlinked_while_open_keeps_its_attributes() {
    everywhere(&[], async |client, brick| {
        client.set(loc(FILE), &[(c"user.a", bin(b"1"))]).await.unwrap();
        let _fd = client.open_fd(FILE).await;
        let handle = HandlePath::new(gfid(FILE));
        let parked = crate::storage::posix::handle::gfid_name(gfid(FILE));
        brick.sys.unlink_at(brick.root.fd(), c"file", kiln_uring::AtFlags::empty()).unwrap();
        let flags = kiln_uring::sys::RenameFlags::empty();
        brick
            .sys
            .rename_at(brick.dot.fd(), handle.as_c_str(), brick.unlink_dir.fd(), &parked, flags)
            .unwrap();
        assert_eq!(client.get(loc(FILE), c"user.a").await, Ok(Some(bin(b"1"))));
        client.set(loc(FILE), &[(c"user.b", bin(b"2"))]).await.unwrap();
        assert_eq!(client.list(loc(FILE)).await, ["user.a", "user.b"]);
    });
}

#[test]
fn a_directory_that_another_core_removed_is_noticed() {
    everywhere(&[], async |client, brick| {
        client.set(loc(DIR), &[(c"user.a", bin(b"1"))]).await.unwrap();
        let sub = brick.open_dir(gfid(DIR)).unwrap();
        brick.sys.unlink_at(sub.fd(), c"Sub/Deep", kiln_uring::AtFlags::empty()).unwrap();
        let gone = kiln_uring::AtFlags::REMOVEDIR;
        brick.sys.unlink_at(sub.fd(), c"Sub", gone).unwrap();
        brick.sys.unlink_at(brick.root.fd(), c"dir", gone).unwrap();
        assert_eq!(client.get(loc(DIR), c"user.a").await, Err(Errno::STALE));
        // The gfid has got another directory.
        brick
            .sys
            .unlink_at(brick.dot.fd(), HandlePath::new(gfid(DIR)).as_c_str(), kiln_uring::AtFlags::empty())
            .unwrap();
        directory(&brick, &brick.root, Gfid::ROOT, "new", gfid(DIR));
        client.set(loc(DIR), &[(c"user.a", bin(b"2"))]).await.unwrap();
        assert_eq!(client.get(loc(DIR), c"user.a").await, Ok(Some(bin(b"2"))));
    });
}

#[test]
fn where_an_object_is() {
    let uuid = "0d53a1f2-7c2a-4a3e-9a5e-6f5d4c3b2a19";
    let options = [("hostname", "server1"), ("glusterd-uuid", uuid), ("gfid2path-separator", "|")];
    everywhere(&options, async |client, brick| {
        let base = brick.path.display().to_string();
        let text = async |loc: Loc, key| match client.get(loc, key).await {
            Ok(Some(Value::Str(text))) => text,
            other => panic!("{other:?}"),
        };
        let pathinfo = format!("<POSIX({base}):server1:{base}/dir/Sub/Deep>");
        let by_name = Loc::known_entry(gfid(DEEP), gfid(SUB), name("Deep"));
        assert_eq!(text(by_name, keys::PATHINFO).await, pathinfo);
        assert_eq!(text(loc(DIR), keys::PATHINFO_USER).await, format!("<POSIX({base}):server1:{base}/dir>"));
        assert_eq!(text(Loc::object(Gfid::ROOT), keys::GFID_TO_PATH).await, "/");
        assert_eq!(text(loc(SUB), keys::GFID_TO_PATH).await, "/dir/Sub");
        assert_eq!(text(loc(FILE), keys::ANCESTRY_PATH).await, "/file");
        assert_eq!(text(loc(SUB), keys::ANCESTRY_PATH).await, "/dir/Sub");
        assert_eq!(text(loc(SUB), keys::GFID_TO_ALL_PATHS).await, "/dir/Sub");
        let Ok(Some(Value::Bin(both))) = client.get(loc(DEEP), keys::GFID_TO_ALL_PATHS).await else {
            panic!()
        };
        let both = String::from_utf8(both).unwrap();
        let mut both: Vec<&str> = both.split('|').collect();
        both.sort_unstable();
        assert_eq!(both, ["/dir/Sub/Deep", "/second"]);
        assert_eq!(text(loc(FILE), keys::NODE_UUID).await, uuid);
        assert_eq!(text(loc(FILE), keys::LIST_NODE_UUIDS).await, uuid);
        // A chain that ends nowhere.
        brick
            .sys
            .unlink_at(brick.dot.fd(), HandlePath::new(gfid(SUB)).as_c_str(), kiln_uring::AtFlags::empty())
            .unwrap();
        brick.sys.unlink_at(brick.root.fd(), c"second", kiln_uring::AtFlags::empty()).unwrap();
        let deep = HandlePath::new(gfid(DEEP));
        let target = XattrTarget::At(brick.dot.fd(), deep.as_c_str());
        brick.sys.removexattr(target, &Gfid2Path::new(Gfid::ROOT, &name("second")).key).unwrap();
        assert_eq!(client.get(loc(DEEP), keys::ANCESTRY_PATH).await, Err(Errno::NODATA));
        assert_eq!(client.get(loc(DEEP), keys::GFID_TO_ALL_PATHS).await, Err(Errno::NODATA));
        assert_eq!(text(loc(DEEP), keys::GFID_TO_PATH).await, format!("<gfid:{}>", gfid(DEEP)));
        let handle = format!("{base}/.glusterfs/66/66/{}", gfid(DEEP));
        assert_eq!(text(loc(DEEP), keys::PATHINFO).await, format!("<POSIX({base}):server1:{handle}>"));
    });
}

#[test]
fn a_loop_of_handles_ends() {
    everywhere(&[], async |client, brick| {
        let handle = HandlePath::new(gfid(DIR));
        brick.sys.unlink_at(brick.dot.fd(), handle.as_c_str(), kiln_uring::AtFlags::empty()).unwrap();
        let to = directory_target(gfid(SUB), &name("Sub"));
        brick.sys.symlink_at(&to, brick.dot.fd(), handle.as_c_str()).unwrap();
        let by_name = Loc::known_entry(gfid(DEEP), gfid(SUB), name("Deep"));
        assert_eq!(client.get(by_name, keys::ANCESTRY_PATH).await, Err(Errno::NODATA));
    });
}

#[test]
fn node_uuid_in_pathinfo_and_without_options() {
    let uuid = "0d53a1f2-7c2a-4a3e-9a5e-6f5d4c3b2a19";
    everywhere(
        &[("node-uuid-pathinfo", "on"), ("glusterd-uuid", uuid), ("gfid2path", "off")],
        async |client, brick| {
            let base = brick.path.display().to_string();
            let pathinfo = Value::Str(format!("<POSIX({base}):{uuid}:{base}/file>"));
            assert_eq!(client.get(loc(FILE), keys::PATHINFO).await, Ok(Some(pathinfo)));
            assert_eq!(client.get(loc(FILE), keys::GFID_TO_ALL_PATHS).await, Err(Errno::NODATA));
        },
    );
    everywhere(&[], async |client, _| {
        assert_eq!(client.get(loc(FILE), keys::NODE_UUID).await, Err(Errno::NODATA));
        assert_eq!(client.get(loc(FILE), c"glusterfs.xattrop_index_gfid").await, Err(Errno::NODATA));
    });
}

#[test]
fn spelling_of_a_name() {
    everywhere(&[], async |client, _| {
        let asked = c"glusterfs.get_real_filename:sUB";
        assert_eq!(client.get(loc(DIR), asked).await, Ok(Some(Value::Str("Sub".into()))));
        let fd = Fd::anonymous(gfid(SUB), 0, 1);
        let req = request::Fgetxattr {
            fd,
            name: Some(Key::Borrowed(c"glusterfs.get_real_filename:deep")),
            xdata: Xdata::NONE,
        };
        assert_eq!(
            client.fgetxattr(req).await.unwrap().dict.iter().next().unwrap().1,
            &Value::Str("Deep".into())
        );
        assert_eq!(client.get(loc(DIR), c"glusterfs.get_real_filename:subs").await, Err(Errno::NODATA));
        assert_eq!(client.get(loc(FILE), asked).await, Err(Errno::NOTDIR));
        let hidden = client.get(Loc::object(Gfid::ROOT), c"glusterfs.get_real_filename:.GlusterFS").await;
        assert_eq!(hidden, Err(Errno::NODATA));
    });
}

#[test]
fn whether_it_is_open() {
    everywhere(&[], async |client, _| {
        assert_eq!(client.get(loc(FILE), keys::OPEN_FD_COUNT).await, Ok(Some(Value::Uint(0))));
        let _fd = client.open_fd(FILE).await;
        let _fd = client.open_fd(FILE).await;
        assert_eq!(client.get(loc(FILE), keys::OPEN_FD_COUNT).await, Ok(Some(Value::Uint(1))));
    });
}
