//! setxattr, removexattr and their siblings.

use kiln_uring::sys::Timespec;

use super::*;
use crate::storage::posix::mdata;
use crate::types::MdataTimes;

const CREATE: u32 = libc::XATTR_CREATE as u32;
const REPLACE: u32 = libc::XATTR_REPLACE as u32;

#[test]
fn flags_and_errors_are_the_kernels() {
    everywhere(&[], async |client, _| {
        let pair = [(c"user.a", bin(b"1"))];
        assert_eq!(client.set_with(loc(FILE), &pair, REPLACE, Xdata::NONE).await.unwrap_err(), Errno::NODATA);
        client.set_with(loc(FILE), &pair, CREATE, Xdata::NONE).await.unwrap();
        assert_eq!(client.set_with(loc(FILE), &pair, CREATE, Xdata::NONE).await.unwrap_err(), Errno::EXIST);
        client.set_with(loc(FILE), &[(c"user.a", bin(b"2"))], REPLACE, Xdata::NONE).await.unwrap();
        assert_eq!(client.get(loc(FILE), c"user.a").await, Ok(Some(bin(b"2"))));
        assert_eq!(client.set_with(loc(FILE), &pair, 77, Xdata::NONE).await.unwrap_err(), Errno::INVAL);
        let large = [(c"user.a", bin(&[0; 65_537]))];
        assert_eq!(client.set(loc(FILE), &large).await.unwrap_err(), Errno::TOOBIG);
        assert_eq!(client.set(loc(FILE), &[(c"nonsense", bin(b""))]).await.unwrap_err(), Errno::OPNOTSUPP);
        assert_eq!(client.unset(loc(FILE), c"user.none").await.unwrap_err(), Errno::NODATA);
        assert_eq!(client.set(loc(0x77), &pair).await.unwrap_err(), Errno::STALE);
        // Nothing to do is fine.
        client.set(loc(FILE), &[]).await.unwrap();
    });
}

#[test]
fn values_of_any_type_are_stored_as_stock_stores_them() {
    everywhere(&[], async |client, _| {
        let pairs = [
            (keys::DHT_LINKTO, Value::Str("vol-client-1".into())),
            (c"user.int", Value::Int(-7)),
            (c"user.uint", Value::Uint(8)),
            (c"user.gfid", Value::Gfid(Gfid::ROOT)),
        ];
        client.set(loc(FILE), &pairs).await.unwrap();
        for (key, bytes) in [
            (keys::DHT_LINKTO, &b"vol-client-1\0"[..]),
            (c"user.int", b"-7\0"),
            (c"user.uint", b"8\0"),
            (c"user.gfid", Gfid::ROOT.as_bytes()),
        ] {
            assert_eq!(client.get(loc(FILE), key).await, Ok(Some(bin(bytes))));
        }
        assert_eq!(
            client.set(loc(FILE), &[(c"user.d", Value::Double(1.0))]).await.unwrap_err(),
            Errno::INVAL
        );
    });
}

#[test]
fn links_and_pipes_have_attributes_of_their_own() {
    everywhere(&[], async |client, _| {
        for id in [LINK, PIPE] {
            client.set(loc(id), &[(c"trusted.t", bin(&[id]))]).await.unwrap();
            assert_eq!(client.get(loc(id), c"trusted.t").await, Ok(Some(bin(&[id]))));
            assert_eq!(client.list(loc(id)).await, ["trusted.t"]);
            assert_eq!(client.set(loc(id), &[(c"user.u", bin(b""))]).await.unwrap_err(), Errno::PERM);
            assert_eq!(client.get(loc(id), c"user.u").await, Err(Errno::NODATA));
        }
        assert_eq!(client.get(loc(FILE), c"trusted.t").await, Err(Errno::NODATA));
        client.unset(loc(LINK), c"trusted.t").await.unwrap();
        assert_eq!(client.list(loc(LINK)).await, [""; 0]);
    });
}

#[test]
fn what_says_who_an_object_is_stays() {
    everywhere(&[], async |client, brick| {
        let dropped = [
            (keys::GFID, bin(&[1; 16])),
            (keys::VOLUME_ID, bin(&[1; 16])),
            (keys::IO_STATS_DUMP, bin(b"/tmp/x")),
            (c"glusterfs.internal-ctx.x", bin(b"1")),
            (c"force-replace", bin(b"1")),
            (c"user.kept", bin(b"k")),
        ];
        client.set(loc(FILE), &dropped).await.unwrap();
        assert_eq!(client.list(loc(FILE)).await, ["user.kept"]);
        assert_eq!(brick.xattr(gfid(FILE), keys::GFID), Some(vec![FILE; 16]));
        let path = Gfid2Path::new(Gfid::ROOT, &name("file"));
        let req = request::Setxattr {
            loc: loc(FILE),
            dict: Dict::from_iter([(Key::Owned(path.key.clone()), bin(b"x"))]),
            flags: 0,
            xdata: Xdata::NONE,
        };
        assert_eq!(errno(client.setxattr(req).await), Errno::OPNOTSUPP);
        for key in [keys::PATHINFO, keys::PATHINFO_USER] {
            assert_eq!(client.set(loc(FILE), &[(key, bin(b"x"))]).await.unwrap_err(), Errno::ACCESS);
        }
        assert_eq!(client.pid(-6).unset(loc(FILE), keys::GFID).await.unwrap_err(), Errno::PERM);
        assert_eq!(client.unset(Loc::object(Gfid::ROOT), keys::VOLUME_ID).await.unwrap_err(), Errno::PERM);
        let name = Key::Owned(path.key.clone());
        let req = request::Removexattr { loc: loc(FILE), name, xdata: Xdata::NONE };
        assert_eq!(errno(client.removexattr(req).await), Errno::NODATA);
        assert_eq!(brick.xattr(gfid(FILE), &path.key), Some(path.value));
    });
}

#[test]
fn the_reply_tells_the_attributes_around_the_change() {
    everywhere(&[], async |client, _| {
        let done = client
            .at(100)
            .set(loc(FILE), &[(keys::ACL_TEXT, Value::Str("u::rwx,g::r--,o::---".into()))])
            .await;
        let xdata = done.unwrap().xdata;
        let iatt = |key| match xdata.get(key) {
            Some(Value::Iatt(iatt)) => **iatt,
            other => panic!("{other:?}"),
        };
        assert_eq!(iatt(keys::PRESTAT).prot, 0o640);
        assert_eq!(iatt(keys::POSTSTAT).prot, 0o740);
        assert_eq!(iatt(keys::IATT_IN_XATTR), iatt(keys::POSTSTAT));
        assert_eq!(iatt(keys::POSTSTAT).gfid, gfid(FILE));
        // The caller's clock, where the caller has one.
        assert_eq!(iatt(keys::POSTSTAT).ctime, Timespec { sec: 100, nsec: 5 });
        client.set(loc(FILE), &[(c"user.a", bin(b"1"))]).await.unwrap();
        let done = client.at(200).unset(loc(FILE), c"user.a").await.unwrap();
        assert!(matches!(done.xdata.get(keys::POSTSTAT), Some(Value::Iatt(iatt)) if iatt.ctime.sec == 200));
        assert!(matches!(done.xdata.get(keys::PRESTAT), Some(Value::Iatt(iatt)) if iatt.ctime.sec == 100));
    });
}

fn times(ctime: i64, mtime: i64, atime: i64) -> MdataTimes {
    let at = |sec| Timespec { sec, nsec: 1 };
    MdataTimes { ctime: at(ctime), mtime: at(mtime), atime: at(atime) }
}

#[test]
fn times_are_merged() {
    everywhere(&[], async |client, brick| {
        let set = async |times: MdataTimes| {
            let pair = [(keys::SET_CTIME_MDATA, Value::Mdata(Box::new(times)))];
            let done = client.pid(-13).set(loc(FILE), &pair).await.unwrap();
            assert!(done.xdata.is_none());
        };
        set(times(10, 20, 30)).await;
        let stored = || mdata::decode(&brick.xattr(gfid(FILE), keys::MDATA).unwrap()).unwrap();
        assert_eq!(stored(), times(10, 20, 30));
        set(times(15, 5, 30)).await;
        assert_eq!(stored(), times(15, 20, 30));
        let copied = mdata::encode(&times(1, 99, 1));
        client.pid(-6).set(loc(FILE), &[(keys::MDATA, bin(&copied))]).await.unwrap();
        assert_eq!(stored(), times(15, 99, 30));
        assert_eq!(client.set(loc(FILE), &[(keys::MDATA, bin(b"short"))]).await.unwrap_err(), Errno::INVAL);
        let fd = client.open_fd(FILE).await;
        let dict = dict(&[(keys::MDATA, bin(&mdata::encode(&times(1, 1, 77))))]);
        client.fsetxattr(request::Fsetxattr { fd, dict, flags: 0, xdata: Xdata::NONE }).await.unwrap();
        assert_eq!(stored(), times(15, 99, 77));

        assert_eq!(client.get(loc(FILE), keys::MDATA).await, Err(Errno::NODATA));
        assert_eq!(client.list(loc(FILE)).await, [""; 0]);
        assert_eq!(client.unset(loc(FILE), keys::MDATA).await.unwrap_err(), Errno::NODATA);
        let raw = client.pid(-6).get(loc(FILE), keys::MDATA).await;
        assert_eq!(raw, Ok(Some(bin(&mdata::encode(&times(15, 99, 77))))));
        assert_eq!(client.pid(-6).list(loc(FILE)).await, ["trusted.glusterfs.mdata"]);
    });
}

#[test]
fn lists_in_both_forms() {
    everywhere(&[], async |client, _| {
        assert_eq!(client.get(loc(FILE), keys::ACL_ACCESS).await, Err(Errno::NODATA));
        let mode = Value::Str("u::rw-,g::r--,o::---".into());
        assert_eq!(client.get(loc(FILE), keys::ACL_TEXT).await, Ok(Some(mode)));
        let text = Value::Str("u::rw-,u:1000:rw-,g::r--,g:50:r--,m::rw-,o::---".into());
        let done = client.set(loc(FILE), &[(keys::ACL_TEXT, text.clone())]).await.unwrap();
        let Ok(Some(stored)) = client.get(loc(FILE), keys::ACL_ACCESS).await else { panic!() };
        assert_eq!(done.xdata.get(keys::ACL_ACCESS), Some(&stored));
        assert_eq!(stored.as_bytes().unwrap().len(), 4 + 6 * 8);
        assert_eq!(client.get(loc(FILE), keys::ACL_TEXT).await, Ok(Some(text)));
        // The binary form goes to the kernel as it is.
        client.set(loc(DEEP), &[(keys::ACL_ACCESS, stored.clone())]).await.unwrap();
        assert_eq!(client.get(loc(DEEP), keys::ACL_ACCESS).await, Ok(Some(stored.clone())));
        let bad = [(keys::ACL_ACCESS, bin(b"\x02\0\0\0\x01"))];
        assert_eq!(client.set(loc(FILE), &bad).await.unwrap_err(), Errno::INVAL);
        client.unset(loc(DEEP), keys::ACL_ACCESS).await.unwrap();
        assert_eq!(client.get(loc(DEEP), keys::ACL_ACCESS).await, Err(Errno::NODATA));

        assert_eq!(client.get(loc(DIR), keys::ACL_TEXT_DEFAULT).await, Ok(Some(Value::Str(String::new()))));
        let default = Value::Str("u::rwx,g::r-x,o::---".into());
        let done = client.set(loc(DIR), &[(keys::ACL_TEXT_DEFAULT, default.clone())]).await.unwrap();
        assert!(done.xdata.contains(keys::ACL_DEFAULT));
        assert_eq!(client.get(loc(DIR), keys::ACL_TEXT_DEFAULT).await, Ok(Some(default)));
        client.set(loc(DIR), &[(keys::ACL_TEXT_DEFAULT, Value::Str(String::new()))]).await.unwrap();
        assert_eq!(client.get(loc(DIR), keys::ACL_DEFAULT).await, Err(Errno::NODATA));
        assert_eq!(client.get(loc(FILE), keys::ACL_TEXT_DEFAULT).await, Err(Errno::ACCESS));

        let text = [(keys::ACL_TEXT, Value::Str("u::rwx,g::r-x,o::---".into()))];
        assert_eq!(client.set(loc(LINK), &text).await.unwrap_err(), Errno::OPNOTSUPP);
        assert_eq!(client.get(loc(LINK), keys::ACL_TEXT).await, Err(Errno::OPNOTSUPP));
        let bad = [(keys::ACL_TEXT, Value::Str("u::rwx".into()))];
        assert_eq!(client.set(loc(FILE), &bad).await.unwrap_err(), Errno::INVAL);
    });
}

#[test]
fn a_link_file_of_distribute_keeps_its_mode() {
    everywhere(&[], async |client, brick| {
        let handle = HandlePath::new(gfid(FILE));
        brick.sys.chmod_at(brick.dot.fd(), handle.as_c_str(), 0o1000).unwrap();
        let text = "u::rwx,u:7:rwx,g::r-x,m::rwx,o::---";
        client.set(loc(FILE), &[(keys::ACL_TEXT, Value::Str(text.into()))]).await.unwrap();
        client.set(loc(FILE), &[(keys::ACL_ACCESS, bin(b"not looked at"))]).await.unwrap();
        assert_eq!(brick.stat_handle(gfid(FILE)).unwrap().mode, libc::S_IFREG | 0o1000);
        assert_eq!(brick.xattr(gfid(FILE), keys::ACL_ACCESS), None);
    });
}

#[test]
fn many_are_removed_at_once() {
    everywhere(&[], async |client, _| {
        client
            .set(loc(FILE), &[(c"user.a", bin(b"1")), (c"user.b", bin(b"2")), (c"user.c", bin(b"3"))])
            .await
            .unwrap();
        let bulk = async |keys: &[&'static CStr]| {
            let req = request::Removexattr { loc: loc(FILE), name: Key::Borrowed(c""), xdata: asking(keys) };
            client.removexattr(req).await
        };
        assert_eq!(errno(bulk(&[c"user.a", keys::GFID]).await), Errno::PERM);
        assert_eq!(client.list(loc(FILE)).await, ["user.a", "user.b", "user.c"]);
        let done =
            bulk(&[c"user.a", c"user.none", c"user.c", c"trusted.gfid2path.0000000000000000"]).await.unwrap();
        assert!(done.xdata.contains(keys::POSTSTAT));
        assert_eq!(client.list(loc(FILE)).await, ["user.b"]);
        // Without keys an empty name is just a bad name.
        let req = request::Removexattr { loc: loc(FILE), name: Key::Borrowed(c""), xdata: Xdata::NONE };
        assert_eq!(errno(client.removexattr(req).await), Errno::RANGE);
    });
}

#[test]
fn a_heal_replaces_the_users_attributes() {
    everywhere(&[], async |client, brick| {
        client
            .set(
                loc(DIR),
                &[(c"user.old", bin(b"o")), (c"user.both", bin(b"o")), (c"trusted.kept", bin(b"k"))],
            )
            .await
            .unwrap();
        let acl = Value::Str("u::rwx,g::---,o::---".into());
        client.set(loc(DIR), &[(keys::ACL_TEXT_DEFAULT, acl)]).await.unwrap();
        let given = [(c"user.both", bin(b"n")), (c"user.new", bin(b"n"))];
        let sync: Xdata = Dict::from_iter([(keys::SYNC_BACKEND_XATTRS, Value::Int(1))]).into();
        client.set_with(loc(DIR), &given, 0, sync).await.unwrap();
        assert_eq!(client.list(loc(DIR)).await, ["trusted.kept", "user.both", "user.new"]);
        assert_eq!(client.get(loc(DIR), c"user.both").await, Ok(Some(bin(b"n"))));
        assert_eq!(brick.xattr(gfid(DIR), keys::GFID), Some(vec![DIR; 16]));
    });
}

#[test]
fn a_full_brick_takes_no_more() {
    everywhere(&[], async |client, brick| {
        brick.full.store(true, std::sync::atomic::Ordering::Relaxed);
        let pair = [(c"user.a", bin(b"1"))];
        assert_eq!(client.set(loc(FILE), &pair).await.unwrap_err(), Errno::NOSPC);
        client.pid(-6).set(loc(FILE), &pair).await.unwrap();
        let internal = asking(&[keys::INTERNAL_FOP]);
        client.set_with(loc(FILE), &[(c"user.b", bin(b"1"))], 0, internal).await.unwrap();
        // Taking away is allowed, and so is what replication counts.
        client.unset(loc(FILE), c"user.a").await.unwrap();
        let op = request::XattropOp::AddArray;
        let dict = dict(&[(c"trusted.afr.dirty", bin(&[0, 0, 0, 1]))]);
        client.xattrop(request::Xattrop { loc: loc(FILE), op, dict, xdata: Xdata::NONE }).await.unwrap();
    });
}
