//! What each fop does to what is known.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::sim::Sim;
use kiln_uring::sys::RenameFlags;
use kiln_uring::{Buf, Core, Errno};
use serde_json::Value as Json;

use crate::fd::Fd;
use crate::fop::{Fop, FopSet, request};
use crate::graph::{Blueprint, Graph};
use crate::keys;
use crate::performance::nl_cache::TYPE;
use crate::testing::{Brick, Rig, entry, gfid, root};
use crate::translator::Event;
use crate::types::{Dict, Gfid, IaType, Loc, Value, Xdata};
use crate::volfile::{Node, Volfile};

const LAYER: &str = "performance/nl-cache";
const ROOT: Gfid = Gfid::ROOT;

fn rig(core: &Core) -> Rig {
    Rig::new(core, &[(LAYER, &[])])
}

/// A lookup; whether it reached the leaf, and its errno.
async fn look_with(rig: &Rig, loc: Loc, xdata: Xdata) -> (bool, Option<Errno>) {
    rig.brick.take_fops();
    let call = rig.call(Fop::Lookup, root());
    let answer = rig.top().lookup(&call, request::Lookup { loc, xdata }).await;
    (rig.brick.take_fops().contains(&Fop::Lookup), answer.err().map(|error| error.errno))
}

async fn look(rig: &Rig, parent: Gfid, name: &str) -> (bool, Option<Errno>) {
    look_with(rig, entry(parent, name), Xdata::NONE).await
}

const ASKED: (bool, Option<Errno>) = (true, Some(Errno::NOENT));
const KNOWN: (bool, Option<Errno>) = (false, Some(Errno::NOENT));

/// Makes the names known to be absent.
async fn learn(rig: &Rig, names: &[(Gfid, &str)]) {
    for (parent, name) in names {
        look(rig, *parent, name).await;
        assert_eq!(look(rig, *parent, name).await, KNOWN, "{name}");
    }
}

fn stat(rig: &Rig, name: &str) -> u64 {
    let stats = (TYPE.merge_stats)(rig.graph.layers()[1].stats().into_iter().collect());
    stats[name].as_u64().unwrap_or_else(|| panic!("{name} in {stats}"))
}

#[test]
fn the_second_lookup_of_an_absent_name_is_answered_from_memory() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        assert_eq!(look(&rig, ROOT, "x").await, ASKED);
        for _ in 0..3 {
            assert_eq!(look(&rig, ROOT, "x").await, KNOWN);
        }
        assert_eq!(look(&rig, ROOT, "y").await, ASKED);
        assert_eq!(look(&rig, gfid(9), "x").await, ASKED);
        assert_eq!(
            (stat(&rig, "negative_lookup_hit_count"), stat(&rig, "negative_lookup_miss_count")),
            (3, 3)
        );
        assert_eq!(stat(&rig, "negative_dentries"), 3);
        assert_eq!(stat(&rig, "inodes_with_negative_dentry_cache"), 2);
        assert!(stat(&rig, "consumed_cache_size") > 100);
        assert_eq!(stat(&rig, "cache_limit"), 16 << 20);
        let dump = rig.graph.layers()[1].statedump();
        assert_eq!(dump["negative_lookup_hit_count"], 3);
        assert_eq!((TYPE.merge_stats)(Vec::new()), Json::Null);
    });
}

#[test]
fn what_is_not_the_absence_of_a_name_is_not_kept() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        rig.brick.put(gfid(3), IaType::Regular, 0o644, 0, 0);
        rig.brick.name(gfid(3), ROOT, "there");
        for _ in 0..2 {
            assert_eq!(look(&rig, ROOT, "there").await, (true, None));
            assert_eq!(look_with(&rig, Loc::object(gfid(4)), Xdata::NONE).await, (true, Some(Errno::STALE)));
            assert_eq!(look_with(&rig, Loc::object(ROOT), Xdata::NONE).await, (true, None));
        }
        assert_eq!(stat(&rig, "nameless_lookup_count"), 4);
        for errno in [Errno::IO, Errno::STALE, Errno::ACCESS] {
            rig.brick.fail(Fop::Lookup, errno);
            for _ in 0..2 {
                assert_eq!(look(&rig, ROOT, "x").await, (true, Some(errno)));
            }
        }
        assert_eq!(stat(&rig, "negative_dentries"), 0);
    });
}

#[test]
fn xdata_decides_who_answers() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        let xdata = |key, value| Xdata::from(Dict::from_iter([(key, value)]));
        let stock = || xdata(keys::GFID_REQ, Value::Gfid(gfid(5)));
        assert_eq!(look_with(&rig, entry(ROOT, "x"), stock()).await, ASKED);
        assert_eq!(look_with(&rig, entry(ROOT, "x"), stock()).await, KNOWN);
        // The leaf takes lock fops, so it may count locks.
        let strange = [keys::ENTRYLK_COUNT, c"unheard-of"];
        for key in strange {
            assert_eq!(look_with(&rig, entry(ROOT, "x"), xdata(key, Value::Int(0))).await, ASKED);
            assert_eq!(look_with(&rig, entry(ROOT, "z"), xdata(key, Value::Int(0))).await, ASKED);
        }
        assert_eq!(stat(&rig, "passed_lookup_count"), 4);
        assert_eq!(look(&rig, ROOT, "z").await, ASKED);
    });
}

/// Sends a fop that may make `x` in the root, in whatever way; `y` is its other name, if it has one.
async fn make(rig: &Rig, fop: Fop) {
    let call = rig.call(fop, root());
    let (call, top, xdata, loc) = (&call, rig.top(), Xdata::NONE, entry(ROOT, "x"));
    // The leaf says yes to most of them, and never minds what they are about; those that fail may have done it.
    match fop {
        Fop::Create => {
            let fd = Fd::file(Gfid::NULL, 2, 1);
            let req = request::Create { loc, flags: 2, mode: 0o644, umask: 0, fd, xdata };
            _ = top.create(call, req).await;
        }
        Fop::Mknod => {
            _ = top.mknod(call, request::Mknod { loc, mode: 0o010_644, rdev: 0, umask: 0, xdata }).await;
        }
        Fop::Mkdir => _ = top.mkdir(call, request::Mkdir { loc, mode: 0o755, umask: 0, xdata }).await,
        Fop::Symlink => {
            let target = c"t".to_owned();
            _ = top.symlink(call, request::Symlink { target, loc, umask: 0, xdata }).await;
        }
        Fop::Put => {
            let (data, xattrs) = (Buf::from_slice(b""), Dict::new());
            let req = request::Put { loc, mode: 0o644, umask: 0, flags: 0, data, offset: 0, xattrs, xdata };
            _ = top.put(call, req).await;
        }
        Fop::Icreate => _ = top.icreate(call, request::Icreate { loc, mode: 0o644, xdata }).await,
        Fop::Namelink => _ = top.namelink(call, request::Namelink { loc, xdata }).await,
        Fop::Link => _ = top.link(call, request::Link { old: entry(ROOT, "y"), new: loc, xdata }).await,
        Fop::Rename => {
            let req = request::Rename { old: entry(ROOT, "y"), new: loc, flags: 0, xdata };
            _ = top.rename(call, req).await;
        }
        Fop::Setxattr => {
            let dict = Dict::from_iter([(c"glusterfs.gfid.newfile", Value::Bin(vec![0; 80]))]);
            _ = top.setxattr(call, request::Setxattr { loc: Loc::object(ROOT), dict, flags: 0, xdata }).await;
        }
        Fop::Fsetxattr => {
            let dict = Dict::from_iter([(c"glusterfs.gfid.newfile", Value::Bin(vec![0; 80]))]);
            let fd = Fd::directory(ROOT, 1);
            _ = top.fsetxattr(call, request::Fsetxattr { fd, dict, flags: 0, xdata }).await;
        }
        other => panic!("{other} makes no name"),
    }
}

const MAKERS: [Fop; 11] = [
    Fop::Create,
    Fop::Mknod,
    Fop::Mkdir,
    Fop::Symlink,
    Fop::Put,
    Fop::Icreate,
    Fop::Namelink,
    Fop::Link,
    Fop::Rename,
    Fop::Setxattr,
    Fop::Fsetxattr,
];

#[test]
fn every_fop_that_may_make_a_name_makes_it_unknown_whether_it_fails_or_not() {
    Sim::new(1).run(async |core| {
        for fop in MAKERS {
            for fails in [false, true] {
                let rig = rig(&core);
                learn(&rig, &[(ROOT, "x"), (ROOT, "other")]).await;
                if fails {
                    rig.brick.fail(fop, Errno::IO);
                }
                make(&rig, fop).await;
                assert!(look(&rig, ROOT, "x").await.0, "{fop}");
                let whole_directory = matches!(fop, Fop::Setxattr | Fop::Fsetxattr);
                assert_eq!(look(&rig, ROOT, "other").await.0, whole_directory, "{fop}");
            }
        }
    });
}

#[test]
fn nothing_is_stored_while_a_name_is_being_made() {
    Sim::new(1).run(async |core| {
        for fop in MAKERS {
            let rig = Rc::new(rig(&core));
            learn(&rig, &[(ROOT, "x")]).await;
            rig.brick.delay(fop, Duration::from_millis(1));
            let making = {
                let rig = Rc::clone(&rig);
                core.spawn_join(async move { make(&rig, fop).await })
            };
            core.sleep(Duration::from_micros(100)).await;
            for _ in 0..2 {
                assert!(look(&rig, ROOT, "x").await.0, "{fop}");
            }
            making.await;
            assert!(look(&rig, ROOT, "x").await.0, "{fop}");
        }
    });
}

#[test]
fn all_fops_with_a_method_are_intercepted_and_no_others() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        let others = [Fop::Lookup, Fop::Unlink, Fop::Rmdir, Fop::Readdir, Fop::Readdirp];
        let expected: FopSet = MAKERS.into_iter().chain(others).collect();
        assert_eq!(rig.graph.layers()[1].intercepts(), expected);
    });
}

#[test]
fn ordinary_xattrs_say_nothing() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        learn(&rig, &[(ROOT, "x")]).await;
        let call = rig.call(Fop::Setxattr, root());
        let dict = Dict::from_iter([(c"user.note", Value::Bin(vec![1]))]);
        let req = request::Setxattr { loc: Loc::object(ROOT), dict, flags: 0, xdata: Xdata::NONE };
        rig.top().setxattr(&call, req).await.unwrap();
        assert_eq!(look(&rig, ROOT, "x").await, KNOWN);
    });
}

#[test]
fn a_removed_name_is_known_where_others_are() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        let unlink = async |parent, name| {
            let call = rig.call(Fop::Unlink, root());
            let req = request::Unlink { loc: entry(parent, name), flags: 0, xdata: Xdata::NONE };
            rig.top().unlink(&call, req).await.is_ok()
        };
        learn(&rig, &[(ROOT, "x")]).await;
        assert!(unlink(ROOT, "gone").await);
        assert_eq!(look(&rig, ROOT, "gone").await, KNOWN);
        assert!(unlink(gfid(7), "gone").await);
        assert_eq!(look(&rig, gfid(7), "gone").await, ASKED);
        rig.brick.fail(Fop::Unlink, Errno::BUSY);
        assert!(!unlink(ROOT, "busy").await);
        assert_eq!(look(&rig, ROOT, "busy").await, ASKED);
    });
}

#[test]
fn an_exchange_makes_both_names() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        for (flags, old_too) in [(RenameFlags::EXCHANGE, true), (RenameFlags::NOREPLACE, false)] {
            learn(&rig, &[(ROOT, "x"), (ROOT, "y")]).await;
            let call = rig.call(Fop::Rename, root());
            let (old, new) = (entry(ROOT, "y"), entry(ROOT, "x"));
            let req = request::Rename { old, new, flags: flags.bits(), xdata: Xdata::NONE };
            rig.top().rename(&call, req).await.unwrap();
            assert!(look(&rig, ROOT, "x").await.0);
            assert_eq!(look(&rig, ROOT, "y").await.0, old_too, "{flags:?}");
        }
    });
}

#[test]
fn what_is_in_a_removed_directory_is_unknown() {
    Sim::new(1).run(async |core| {
        for fop in [Fop::Rmdir, Fop::Rename] {
            let rig = rig(&core);
            for (byte, name) in [(3, "d"), (4, "e")] {
                rig.brick.put(gfid(byte), IaType::Directory, 0o755, 0, 0);
                rig.brick.name(gfid(byte), ROOT, name);
            }
            learn(&rig, &[(gfid(3), "x"), (gfid(4), "x"), (ROOT, "x")]).await;
            let call = rig.call(fop, root());
            let (loc, flags, xdata) = (entry(ROOT, "d"), 0, Xdata::NONE);
            if fop == Fop::Rmdir {
                rig.top().rmdir(&call, request::Rmdir { loc, flags, xdata }).await.unwrap();
            } else {
                let req = request::Rename { old: entry(ROOT, "e"), new: loc, flags, xdata };
                rig.top().rename(&call, req).await.unwrap();
            }
            assert!(look(&rig, gfid(3), "x").await.0, "{fop}");
            for parent in [gfid(4), ROOT] {
                assert_eq!(look(&rig, parent, "x").await, KNOWN, "{fop}");
            }
        }
    });
}

#[test]
fn a_recursive_removal_makes_everything_unknown() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        rig.brick.put(gfid(3), IaType::Directory, 0o755, 0, 0);
        rig.brick.name(gfid(3), ROOT, "d");
        // Directory 4 may be anywhere below.
        learn(&rig, &[(gfid(3), "x"), (gfid(4), "x")]).await;
        let call = rig.call(Fop::Rmdir, root());
        let req = request::Rmdir { loc: entry(ROOT, "d"), flags: 1, xdata: Xdata::NONE };
        rig.top().rmdir(&call, req).await.unwrap();
        for parent in [gfid(3), gfid(4)] {
            assert!(look(&rig, parent, "x").await.0);
        }
    });
}

#[test]
fn a_rename_to_a_name_that_is_known_to_be_absent_asks_for_no_victim() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        for (name, asks) in [("x", false), ("y", true)] {
            learn(&rig, &[(ROOT, "x")]).await;
            rig.brick.take_fops();
            let call = rig.call(Fop::Rename, root());
            let (old, new) = (entry(ROOT, "old"), entry(ROOT, name));
            rig.top()
                .rename(&call, request::Rename { old, new, flags: 0, xdata: Xdata::NONE })
                .await
                .unwrap();
            assert_eq!(rig.brick.take_fops().contains(&Fop::Lookup), asks, "{name}");
        }
    });
}

#[test]
fn who_goes_around_the_layer_is_noticed() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        learn(&rig, &[(ROOT, "x")]).await;
        rig.brick.put(gfid(3), IaType::Regular, 0o644, 0, 0);
        rig.brick.name(gfid(3), ROOT, "x");
        // Believed until it is seen: by a lookup that goes down for another reason.
        assert_eq!(look(&rig, ROOT, "x").await, KNOWN);
        let strange = Xdata::from(Dict::from_iter([(c"unheard-of", Value::Int(0))]));
        assert_eq!(look_with(&rig, entry(ROOT, "x"), strange).await, (true, None));
        assert_eq!(stat(&rig, "contradictions"), 1);
        assert_eq!(look(&rig, ROOT, "x").await, (true, None));
    });
}

#[test]
fn time_and_events_end_what_is_known() {
    Sim::new(1).run(async |core| {
        let rig = Rig::new(&core, &[(LAYER, &[("nl-cache-timeout", "10ms")])]);
        learn(&rig, &[(ROOT, "x")]).await;
        core.sleep(Duration::from_millis(9)).await;
        assert_eq!(look(&rig, ROOT, "x").await, KNOWN);
        core.sleep(Duration::from_millis(2)).await;
        assert_eq!(look(&rig, ROOT, "x").await, ASKED);
        assert_eq!(look(&rig, ROOT, "x").await, KNOWN);
        rig.graph.notify(&Event::ChildDown("no reason".into()));
        assert_eq!(look(&rig, ROOT, "x").await, ASKED);
    });
}

#[test]
fn options_take_effect_at_once() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        learn(&rig, &[(ROOT, "x")]).await;
        rig.reconfigure(&[(LAYER, &[("pass-through", "on")])]).unwrap();
        for _ in 0..2 {
            assert_eq!(look(&rig, ROOT, "x").await, ASKED);
        }
        rig.reconfigure(&[(LAYER, &[])]).unwrap();
        learn(&rig, &[(ROOT, "x")]).await;
        rig.reconfigure(&[(LAYER, &[("nl-cache-limit", "0")])]).unwrap();
        for _ in 0..2 {
            assert_eq!(look(&rig, ROOT, "x").await, ASKED);
        }
        rig.reconfigure(&[(LAYER, &[("nl-cache-limit", "64KB")])]).unwrap();
        learn(&rig, &[(ROOT, "x")]).await;
    });
}

#[test]
fn a_create_on_one_core_is_known_on_all_when_it_is_answered() {
    let sim = Sim::new(5);
    let nodes = vec![Node::new("leaf", "testing/leaf", &[], &[]), Node::new("nl", LAYER, &[], &["leaf"])];
    let sys: Arc<dyn kiln_uring::Sys> = sim.kernel().clone();
    let blueprint = Blueprint::new(&Volfile { nodes }, &sys, 3).unwrap();
    let brick: Arc<Brick> = Arc::clone(&blueprint.layers()[0].shared).downcast().unwrap();
    sim.run_cores(3, |core| {
        let graph = Graph::new(&blueprint, &core).unwrap();
        let rig = Rig { graph, brick: Arc::clone(&brick), blueprint: Arc::clone(&blueprint) };
        async move {
            // The leaf's list of fops is shared: one core after the other.
            core.sleep(Duration::from_millis(core.id() as u64)).await;
            learn(&rig, &[(ROOT, "x"), (ROOT, "y")]).await;
            core.sleep(Duration::from_millis(10)).await;
            if core.id() == 0 {
                make(&rig, Fop::Create).await;
            } else {
                core.sleep(Duration::from_millis(core.id() as u64)).await;
                assert_eq!(look(&rig, ROOT, "x").await, (true, None));
                assert_eq!(look(&rig, ROOT, "y").await, KNOWN);
            }
        }
    });
}
