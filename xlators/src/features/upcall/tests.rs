//! What other clients hear.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use kiln_uring::sim::Sim;
use kiln_uring::{Buf, Errno};

use super::*;
use crate::call::Caller;
use crate::fd::Fd;
use crate::fop::{Fop, request};
use crate::testing::{Rig, entry, gfid};
use crate::types::{IaType, Loc, Value, Xdata};

const FILE: Gfid = gfid(9);
const DIR: Gfid = gfid(8);
const ON: &[(&str, &str)] = &[("cache-invalidation", "on")];

struct Bench {
    rig: Rig,
    heard: Rc<RefCell<Vec<Message>>>,
}

fn client(client: u64) -> Caller {
    Caller { client, pid: 1, ..Caller::default() }
}

impl Bench {
    fn new(core: &Core, options: &[(&str, &str)]) -> Self {
        let rig = Rig::new(core, &[("features/upcall", options)]);
        rig.brick.put(FILE, IaType::Regular, 0o644, 0, 0);
        rig.brick.put(DIR, IaType::Directory, 0o755, 0, 0);
        rig.brick.name(FILE, DIR, "file");
        let heard = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&heard);
        rig.graph.on_upcall(move |upcall| sink.borrow_mut().push(upcall));
        Self { rig, heard }
    }

    async fn look(&self, who: u64, loc: Loc) {
        let call = self.rig.call(Fop::Lookup, client(who));
        self.rig.top().lookup(&call, request::Lookup { loc, xdata: Xdata::NONE }).await.unwrap();
    }

    async fn write(&self, who: u64) {
        let call = self.rig.call(Fop::Writev, client(who));
        let fd = Fd::file(FILE, 2, 1);
        let data = Buf::from_slice(b"x");
        let req = request::Writev { fd, data, offset: 0, flags: 0, xdata: Xdata::NONE };
        self.rig.top().writev(&call, req).await.unwrap();
    }

    /// Who heard what of which object.
    fn heard(&self) -> Vec<(u64, Gfid, u32)> {
        let heard = self.heard.borrow_mut().drain(..).collect::<Vec<_>>();
        heard
            .into_iter()
            .map(|message| {
                let UpcallEvent::CacheInvalidation(what) = message.event else { panic!() };
                (message.client, message.gfid, what.stale.bits())
            })
            .collect()
    }
}

#[test]
fn users_hear_of_changes_by_others_for_a_while() {
    Sim::new(1).run(async |core| {
        let bench = Bench::new(&core, ON);
        bench.look(1, entry(DIR, "file")).await;
        bench.look(2, Loc::object(FILE)).await;
        bench.write(1).await;
        assert_eq!(bench.heard(), [(2, FILE, 0x18)]);
        bench.write(3).await;
        assert_eq!(bench.heard(), [(1, FILE, 0x18), (2, FILE, 0x18)]);
        core.sleep(Duration::from_secs(80)).await;
        bench.write(1).await;
        assert_eq!(bench.heard(), []);
        // Uses within the quarter that is not announced count as well.
        core.sleep(Duration::from_secs(100)).await;
        bench.look(2, Loc::object(FILE)).await;
        core.sleep(Duration::from_secs(14)).await;
        bench.look(2, Loc::object(FILE)).await;
        core.sleep(Duration::from_secs(60)).await;
        bench.write(1).await;
        assert_eq!(bench.heard(), [(2, FILE, 0x18)]);
        bench.rig.graph.notify(&Event::ClientGone(2));
        bench.write(1).await;
        assert_eq!(bench.heard(), []);
        bench.rig.reconfigure(&[("features/upcall", &[])]).unwrap();
        bench.look(2, Loc::object(FILE)).await;
        bench.write(1).await;
        assert_eq!(bench.heard(), []);
        assert!(bench.rig.graph.layers()[1].statedump().is_null());
    });
}

#[test]
fn names_that_change_concern_object_and_directory() {
    Sim::new(2).run(async |core| {
        let bench = Bench::new(&core, ON);
        for loc in [Loc::object(FILE), Loc::object(DIR)] {
            bench.look(2, loc).await;
        }
        let call = bench.rig.call(Fop::Mkdir, client(1));
        let req = request::Mkdir { loc: entry(DIR, "new"), mode: 0o755, umask: 0, xdata: Xdata::NONE };
        bench.rig.top().mkdir(&call, req).await.unwrap();
        assert_eq!(bench.heard(), [(2, DIR, 0x10)]);
        let attr = request::SetAttr { valid: request::SetAttrValid::MODE, ..request::SetAttr::default() };
        let req = request::Fsetattr { fd: Fd::file(FILE, 0, 1), attr, xdata: Xdata::NONE };
        bench.rig.top().fsetattr(&call, req).await.unwrap();
        assert_eq!(bench.heard(), [(2, FILE, 0x45e)]);
        let req = request::Unlink { loc: entry(DIR, "file"), flags: 0, xdata: Xdata::NONE };
        bench.rig.top().unlink(&call, req).await.unwrap();
        // The caller, too, is told to forget.
        assert_eq!(bench.heard(), [(2, FILE, 0x211), (2, FILE, 0x100), (1, FILE, 0x100), (2, DIR, 0x10)]);
    });
}

#[test]
fn extended_attributes_count_when_clients_cache_them() {
    Sim::new(3).run(async |core| {
        let bench = Bench::new(&core, ON);
        bench.look(2, Loc::object(FILE)).await;
        let call = bench.rig.call(Fop::Setxattr, client(1));
        let set = async |name: &'static std::ffi::CStr| {
            let dict = [(name, Value::Bin(vec![1]))].into_iter().collect();
            let req = request::Setxattr { loc: Loc::object(FILE), dict, flags: 0, xdata: Xdata::NONE };
            bench.rig.top().setxattr(&call, req).await.unwrap();
        };
        set(c"user.a").await;
        assert_eq!(bench.heard(), []);
        let names =
            [(c"user.a", Value::Int(0)), (c"user.dos.*", Value::Int(0))].into_iter().collect::<Dict>();
        let req = request::Ipc { op: 2, xdata: names.into() };
        bench.rig.top().ipc(&call, req).await.unwrap();
        for (name, hears) in [(c"user.a", true), (c"user.b", false), (c"user.dos.x", true)] {
            set(name).await;
            assert_eq!(bench.heard() == [(2, FILE, 0x400)], hears, "{name:?}");
        }
        let req = request::Removexattr { loc: Loc::object(FILE), name: c"user.a".into(), xdata: Xdata::NONE };
        bench.rig.top().removexattr(&call, req).await.unwrap();
        assert_eq!(bench.heard(), [(2, FILE, 0x800)]);
        let req = request::Ipc { op: 2, xdata: Xdata::NONE };
        assert_eq!(bench.rig.top().ipc(&call, req).await.unwrap_err().errno, Errno::INVAL);
    });
}

/// Clients on three cores, objects owned by any of them: whoever used an object hears of every change by another.
#[test]
fn cores_tell_each_others_clients() {
    use std::sync::Mutex;

    use crate::graph::{Blueprint, Graph};
    use crate::testing::Brick;
    use crate::volfile::{Node, Volfile};

    const CORES: usize = 3;
    let nodes = vec![
        Node::new("leaf", "testing/leaf", &[], &[]),
        Node::new("upcall", "features/upcall", ON, &["leaf"]),
    ];
    let volfile = Volfile { nodes };
    for seed in 0..20 {
        let shared: Mutex<Option<Arc<Blueprint>>> = Mutex::new(None);
        let heard = Arc::new(Mutex::new(Vec::new()));
        Sim::new(seed).run_cores(CORES, |core| {
            let blueprint = shared
                .lock()
                .unwrap()
                .get_or_insert_with(|| Blueprint::new(&volfile, core.sys(), CORES).unwrap())
                .clone();
            let brick: Arc<Brick> = Arc::clone(&blueprint.layers()[0].shared).downcast().unwrap();
            (1..5).for_each(|byte| brick.put(gfid(byte), IaType::Regular, 0o644, 0, 0));
            let graph = Graph::new(&blueprint, &core).unwrap();
            let sink = Arc::clone(&heard);
            graph.on_upcall(move |upcall| sink.lock().unwrap().push((upcall.client, upcall.gfid)));
            async move {
                let who = core.id() as u64;
                let call = |fop| {
                    let spec = crate::call::CallSpec::internal(fop, Gfid::ROOT);
                    graph.begin(crate::call::CallSpec { caller: client(who), ..spec })
                };
                core.sleep(Duration::from_millis(1)).await;
                for byte in 1..5 {
                    let (call, loc) = (call(Fop::Lookup), Loc::object(gfid(byte)));
                    graph.top().lookup(&call, request::Lookup { loc, xdata: Xdata::NONE }).await.unwrap();
                }
                core.sleep(Duration::from_millis(1)).await;
                for byte in 1..5 {
                    let (call, fd) = (call(Fop::Writev), Fd::file(gfid(byte), 2, 1));
                    let data = Buf::from_slice(b"x");
                    let req = request::Writev { fd, data, offset: 0, flags: 0, xdata: Xdata::NONE };
                    graph.top().writev(&call, req).await.unwrap();
                }
                core.sleep(Duration::from_millis(1)).await;
            }
        });
        let mut heard = heard.lock().unwrap().clone();
        heard.sort_unstable();
        let expected: Vec<_> =
            (0..3).flat_map(|who| (1..5).flat_map(move |byte| [(who, gfid(byte)); 2])).collect();
        assert_eq!(heard, expected, "seed {seed}");
    }
}
