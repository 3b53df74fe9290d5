//! Answers to a request's xdata.

use kiln_uring::Warmth;
use kiln_uring::sim::Call;

use super::*;

async fn ask(client: &Client, id: u8, xdata: Xdata) -> Xdata {
    client.lookup(request::Lookup { loc: loc(id), xdata }).await.unwrap().xdata
}

#[test]
fn no_question_costs_nothing() {
    let kit = Kit::new(5);
    populate(&kit.brick());
    kit.run(async |client| {
        // The first look reads the times, which then are known.
        assert!(ask(&client, FILE, Xdata::NONE).await.is_none());
        let first = kit.sim.kernel().calls(Call::Getxattr);
        let quiet = asking(&[keys::GFID_REQ, keys::INODELK_COUNT, c"link-count", c"glusterfs.foo"]);
        assert_eq!(ask(&client, FILE, quiet).await, Dict::new().into());
        assert_eq!(kit.sim.kernel().calls(Call::Listxattr), 0);
        let values = kit.sim.kernel().calls(Call::Getxattr);
        // One name is one call more.
        ask(&client, FILE, asking(&[c"user.a"])).await;
        assert_eq!(kit.sim.kernel().calls(Call::Listxattr), 0);
        let lookup = values - first;
        assert_eq!(kit.sim.kernel().calls(Call::Getxattr), values + lookup + 1);
    });
}

#[test]
fn names_and_patterns() {
    everywhere(&[], async |client, _| {
        client
            .set(loc(FILE), &[(c"user.a", bin(b"1")), (c"user.b", bin(b"")), (c"trusted.ec.size", bin(b"8"))])
            .await
            .unwrap();
        let reply =
            ask(&client, FILE, asking(&[c"user.*", c"trusted.ec.size", c"trusted.ec.none", c"security.ima"]))
                .await;
        assert_eq!(sorted(reply.dict().unwrap()), ["trusted.ec.size", "user.a", "user.b"]);
        assert_eq!(reply.get(c"user.b"), Some(&bin(b"")));
        let reply = ask(&client, FILE, asking(&[c"*[ab]"])).await;
        assert_eq!(sorted(reply.dict().unwrap()), ["user.a", "user.b"]);
        // Asked by name, everything is told.
        let reply = ask(&client, FILE, asking(&[keys::GFID])).await;
        assert_eq!(reply.get(keys::GFID), Some(&bin(&[FILE; 16])));
        let reply = ask(&client, FILE, asking(&[keys::ACL_ACCESS, keys::ACL_DEFAULT])).await;
        assert_eq!(reply, Dict::new().into());
    });
}

#[test]
fn all_attributes() {
    everywhere(&[], async |client, brick| {
        let target = XattrTarget::At(brick.root.fd(), c"file");
        for key in [
            c"trusted.glusterfs.quota.size",
            c"trusted.glusterfs.x.xtime",
            c"trusted.glusterfs.dht",
            keys::MDATA,
        ] {
            brick.sys.setxattr(target, key, &[0; 57], XattrFlags::empty()).unwrap();
        }
        client.set(loc(FILE), &[(c"user.a", bin(b"1"))]).await.unwrap();
        let reply = ask(&client, FILE, asking(&[keys::LIST_XATTR, c"user.a"])).await;
        assert_eq!(
            sorted(reply.dict().unwrap()),
            ["trusted.glusterfs.dht", "trusted.glusterfs.mdata", "user.a"]
        );
    });
}

#[test]
fn counts_size_and_texts() {
    everywhere(&[], async |client, _| {
        let fd = client.open_fd(FILE).await;
        let asked = asking(&[
            keys::OPEN_FD_COUNT,
            keys::OPEN_ACTIVE_FD_COUNT,
            keys::GET_SIZE,
            keys::REQUEST_LINK_COUNT,
            keys::ACL_TEXT,
            keys::ACL_TEXT_DEFAULT,
            keys::ANCESTRY_PATH,
        ]);
        let reply = client.fstat(request::Fstat { fd, xdata: asked.clone() }).await.unwrap().xdata;
        let expected = dict(&[
            (keys::OPEN_FD_COUNT, Value::Uint(1)),
            (keys::OPEN_ACTIVE_FD_COUNT, Value::Uint(1)),
            (keys::GET_SIZE, Value::Uint(7)),
            (keys::REQUEST_LINK_COUNT, Value::Int(0)),
            (keys::ACL_TEXT, Value::Str("u::rw-,g::r--,o::---".into())),
            (keys::ANCESTRY_PATH, Value::Str("/file".into())),
        ]);
        assert_eq!(reply.dict(), Some(&expected));
        let reply = ask(&client, DIR, asked.clone()).await;
        assert_eq!(reply.get(keys::ACL_TEXT_DEFAULT), Some(&Value::Str(String::new())));
        assert_eq!(reply.get(keys::GET_SIZE), None);
        let reply = ask(&client, LINK, asked).await;
        assert_eq!(
            (reply.get(keys::ACL_TEXT), reply.get(keys::OPEN_FD_COUNT)),
            (None, Some(&Value::Uint(0)))
        );
        let named = Loc::entry(gfid(SUB), name("Deep"));
        let req = request::Lookup { loc: named, xdata: asking(&[keys::ANCESTRY_PATH]) };
        let reply = client.lookup(req).await.unwrap().xdata;
        assert_eq!(reply.get(keys::ANCESTRY_PATH), Some(&Value::Str("/dir/Sub/Deep".into())));
    });
}

fn at_most(len: u64) -> Xdata {
    Dict::from_iter([(keys::CONTENT, Value::Uint(len))]).into()
}

#[test]
fn contents_of_small_files() {
    everywhere(&[], async |client, _| {
        let content = async |id, most| ask(&client, id, at_most(most)).await.remove(keys::CONTENT);
        assert_eq!(content(FILE, 7).await, Some(bin(b"content")));
        assert_eq!(content(FILE, 6).await, None);
        assert_eq!(content(DEEP, 65_536).await, Some(bin(b"")));
        for id in [DIR, LINK, PIPE] {
            assert_eq!(content(id, 65_536).await, None);
        }
    });
}

#[test]
fn no_core_waits_for_contents() {
    let kit = Kit::new(11);
    let brick = kit.brick();
    populate(&brick);
    kit.run(async |client| {
        kit.sim.kernel().cache_misses(1000);
        ask(&client, FILE, Xdata::NONE).await;
        // Known to be warm by now, so it is asked for on the core.
        assert_eq!(ask(&client, FILE, at_most(100)).await, Dict::new().into());
        kit.sim.kernel().heal();
        // On a helper it is read from the disk; and one that changes is not told.
        let (object, stat) = brick.object(gfid(FILE)).unwrap();
        let target = brick.target(&object);
        let mut attrs = brick.attrs(gfid(FILE), stat, target).unwrap();
        let mut answer = |size: u64| {
            attrs.stat.size = size;
            let filled = super::super::fill::Filled {
                gfid: gfid(FILE),
                attrs: &attrs,
                target,
                warmth: Warmth::Cold,
                parent: None,
            };
            kit.sim.kernel().cache_misses(1000);
            super::super::fill::answer(&brick, &filled, &at_most(100)).remove(keys::CONTENT)
        };
        assert_eq!(answer(7), Some(bin(b"content")));
        assert_eq!(answer(8), None);
        assert_eq!(answer(6), None);
    });
}
