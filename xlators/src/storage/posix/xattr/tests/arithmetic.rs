//! xattrop and fxattrop.

use std::time::Duration;

use kiln_uring::Sys;
use kiln_uring::sim::{Latency, MemFs, Sim};

use super::*;
use crate::call::CallSpec;
use crate::fop::Fop;
use crate::fop::request::XattropOp;
use crate::graph::{Blueprint, Graph};
use crate::storage::posix::testkit::BRICK;
use crate::volfile::{Node, Volfile};

async fn operate(
    client: &Client,
    op: XattropOp,
    pairs: &[(&'static CStr, Value)],
) -> FopResult<reply::Xattrs> {
    client.xattrop(request::Xattrop { loc: loc(FILE), op, dict: dict(pairs), xdata: Xdata::NONE }).await
}

#[test]
fn counts_are_kept_and_zeros_read() {
    everywhere(&[], async |client, brick| {
        let zero = [(c"trusted.afr.v-client-1", bin(&[0; 12]))];
        let read = operate(&client, XattropOp::AddArray, &zero).await.unwrap();
        assert_eq!(read.dict.get(c"trusted.afr.v-client-1"), Some(&bin(&[0; 12])));
        assert_eq!(client.list(loc(FILE)).await, [""; 0]);
        let mark = [(c"trusted.afr.v-client-1", bin(&[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0]))];
        let marked = operate(&client, XattropOp::AddArray, &mark).await.unwrap();
        assert_eq!(marked.dict, dict(&mark));
        assert!(marked.xdata.is_none());
        assert_eq!(
            brick.xattr(gfid(FILE), c"trusted.afr.v-client-1").unwrap(),
            mark[0].1.as_bytes().unwrap()
        );
        let undo = [(c"trusted.afr.v-client-1", bin(&[255, 255, 255, 254, 255, 255, 255, 255, 0, 0, 0, 0]))];
        operate(&client, XattropOp::AddArray, &undo).await.unwrap();
        // Zeros stay.
        assert_eq!(brick.xattr(gfid(FILE), c"trusted.afr.v-client-1"), Some(vec![0; 12]));
    });
}

#[test]
fn either_all_keys_or_none() {
    everywhere(&[], async |client, brick| {
        client.set(loc(FILE), &[(c"trusted.long", bin(&[1; 9]))]).await.unwrap();
        let pairs = [(c"trusted.ec.version", bin(&[1; 16])), (c"trusted.long", bin(&[1; 8]))];
        assert_eq!(errno(operate(&client, XattropOp::AddArray64, &pairs).await), Errno::RANGE);
        assert_eq!(brick.xattr(gfid(FILE), c"trusted.ec.version"), None);
        for key in [keys::GFID, keys::MDATA] {
            assert_eq!(
                errno(operate(&client, XattropOp::AddArray, &[(key, bin(&[1; 16]))]).await),
                Errno::PERM
            );
        }
        let typed = [(c"trusted.x", Value::Int(1))];
        assert_eq!(errno(operate(&client, XattropOp::AddArray, &typed).await), Errno::INVAL);
        assert_eq!(operate(&client, XattropOp::AddArray, &[]).await.unwrap().dict, Dict::new());
        let empty = [(c"trusted.empty", bin(b""))];
        assert_eq!(operate(&client, XattropOp::AddArray, &empty).await.unwrap().dict, dict(&empty));
        assert_eq!(brick.xattr(gfid(FILE), c"trusted.empty"), None);
    });
}

#[test]
fn old_values_are_swapped_out() {
    everywhere(&[], async |client, brick| {
        let first = operate(&client, XattropOp::GetAndSet, &[(c"trusted.s", bin(b"one"))]).await.unwrap();
        assert!(first.dict.is_empty());
        let second = operate(&client, XattropOp::GetAndSet, &[(c"trusted.s", bin(b"two"))]).await.unwrap();
        assert_eq!(second.dict.get(c"trusted.s"), Some(&bin(b"one")));
        assert_eq!(brick.xattr(gfid(FILE), c"trusted.s"), Some(b"two".to_vec()));
    });
}

#[test]
fn size_and_mode_ride_along() {
    everywhere(&[], async |client, _| {
        let asked = asking(&[keys::GET_SIZE, keys::MODE_IN_XATTR, c"trusted.ec.*"]);
        let op = |id, xdata| request::Xattrop {
            loc: loc(id),
            op: XattropOp::AddArray64,
            dict: dict(&[(c"trusted.ec.size", bin(&7_u64.to_be_bytes()))]),
            xdata,
        };
        let reply = client.xattrop(op(FILE, asked)).await.unwrap();
        assert_eq!(reply.xdata.get(keys::GET_SIZE), Some(&Value::Uint(7)));
        assert_eq!(reply.xdata.get(keys::MODE_IN_XATTR), Some(&Value::Int(0o100_640)));
        // Answers are given after the change.
        assert_eq!(reply.xdata.get(c"trusted.ec.size"), Some(&bin(&7_u64.to_be_bytes())));
        let reply = client.xattrop(op(DIR, asking(&[keys::GET_SIZE, keys::MODE_IN_XATTR]))).await.unwrap();
        assert_eq!(reply.xdata, Dict::new().into());
    });
}

/// Fops of two cores on one file, through a descriptor and by gfid, in many interleavings and with helpers in between.
#[test]
fn concurrent_sums_are_exact() {
    const ROUNDS: u32 = 50;
    for seed in 0..20 {
        let kit = Kit::new(seed);
        populate(&kit.brick());
        let one =
            |value: u32| dict(&[(c"trusted.sum", bin(&[value.to_be_bytes(), 1_u32.to_be_bytes()].concat()))]);
        kit.run_cores(2, async |client| {
            let fd = client.open_fd(FILE).await;
            let mut tasks = Vec::new();
            for round in 0..ROUNDS {
                let (client, fd, dict) = (client.clone(), Arc::clone(&fd), one(round));
                tasks.push(client.core().clone().spawn_join(async move {
                    let (op, xdata) = (XattropOp::AddArray, Xdata::NONE);
                    if round % 2 == 0 {
                        client.fxattrop(request::Fxattrop { fd, op, dict, xdata }).await.unwrap();
                    } else {
                        client.xattrop(request::Xattrop { loc: loc(FILE), op, dict, xdata }).await.unwrap();
                    }
                }));
            }
            for task in tasks {
                task.await;
            }
        });
        let expected = [ROUNDS * (ROUNDS - 1), 2 * ROUNDS].map(u32::to_be_bytes).concat();
        assert_eq!(kit.brick().xattr(gfid(FILE), c"trusted.sum"), Some(expected), "seed {seed}");
    }
}

/// The same on threads of the machine: a simulated core does one job at a time, and so does its helper.
#[test]
fn threads_do_not_interleave() {
    const ROUNDS: u32 = 3000;
    const THREADS: u32 = 3;
    let fs: Arc<dyn Sys> = MemFs::with_seed(1);
    fs.mkdir_at(libc::AT_FDCWD, c"/brick", 0o755).unwrap();
    let volfile = Volfile { nodes: vec![Node::new("posix", "storage/posix", &[("directory", BRICK)], &[])] };
    let blueprint = Blueprint::new(&volfile, &fs, 1).unwrap();
    let brick: Arc<Brick> = Arc::clone(&blueprint.layers()[0].shared).downcast().unwrap();
    populate(&brick);
    let work = |thread: u32| {
        Sim::with_sys(thread.into(), Arc::clone(&fs)).run(async |core| {
            let graph = Graph::new(&blueprint, &core).unwrap();
            for _ in 0..ROUNDS {
                let call = graph.begin(CallSpec::internal(Fop::Xattrop, gfid(FILE)));
                let dict = dict(&[(c"trusted.sum", bin(&1_u64.to_be_bytes()))]);
                let req =
                    request::Xattrop { loc: loc(FILE), op: XattropOp::AddArray64, dict, xdata: Xdata::NONE };
                graph.top().xattrop(&call, req).await.unwrap();
            }
        });
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|thread| drop(scope.spawn(move || work(thread)))));
    let expected = u64::from(ROUNDS * THREADS).to_be_bytes().to_vec();
    assert_eq!(brick.xattr(gfid(FILE), c"trusted.sum"), Some(expected));
}

#[test]
fn a_held_stripe_sends_the_job_to_a_helper() {
    let kit = Kit::new(3);
    // Long enough for the lock to be free by then: the helper is this very thread.
    kit.sim.set_latency(Latency { min: Duration::from_millis(1), max: Duration::from_millis(2) });
    let brick = kit.brick();
    populate(&brick);
    kit.run(async |client| {
        let held = brick.objects.try_lock(&[crate::storage::posix::stripes::object_key(gfid(FILE))]).unwrap();
        let core = client.core().clone();
        let one = dict(&[(c"trusted.n", bin(&[0, 0, 0, 1]))]);
        let other = client.clone();
        let task = core.spawn_join(async move {
            let req =
                request::Xattrop { loc: loc(FILE), op: XattropOp::AddArray, dict: one, xdata: Xdata::NONE };
            other.xattrop(req).await.unwrap()
        });
        core.sleep(Duration::from_micros(500)).await;
        // Not done on the core, which must not wait; the helper gets it once it is free.
        assert_eq!(brick.xattr(gfid(FILE), c"trusted.n"), None);
        drop(held);
        assert_eq!(task.await.dict.get(c"trusted.n"), Some(&bin(&[0, 0, 0, 1])));
    });
}
