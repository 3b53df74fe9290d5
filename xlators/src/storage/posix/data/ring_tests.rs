//! The same fops on real cores with real rings: two of them, on one brick.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use kiln_uring::{Buf, Core, Engine, EngineConfig, Errno, Linux, Sys};

use super::tests::{plant, real_kit};
use crate::call::CallSpec;
use crate::fd::{Fd, FdRef};
use crate::fop::{Fop, request};
use crate::graph::{Blueprint, Graph};
use crate::keys;
use crate::storage::posix::Brick;
use crate::storage::posix::testkit::{gfid, gfid_n, xdata};
use crate::types::{Gfid, Loc, Value, Xdata};
use crate::volfile::{Node, Volfile};

const CORES: usize = 2;
const FILES: u64 = 6;
const APPENDS: u64 = 40;
const SHARED: u8 = 200;

async fn opened(graph: &Graph, id: Gfid, flags: i32) -> Result<FdRef, Errno> {
    let call = graph.begin(CallSpec::internal(Fop::Open, id));
    let flags = flags as u32;
    let fd = Fd::file(id, flags, 1);
    let open = request::Open { loc: Loc::object(id), flags, fd: Arc::clone(&fd), xdata: Xdata::NONE };
    graph.top().open(&call, open).await.map(|_| fd).map_err(|error| error.errno)
}

/// Writes a file in pieces of all kinds, syncs it, and reads it back.
async fn write_and_read(graph: &Graph, n: u64) {
    let id = gfid_n(1 + n);
    let direct = if n.is_multiple_of(2) { libc::O_DIRECT } else { 0 };
    let fd = match opened(graph, id, libc::O_RDWR | direct).await {
        Err(Errno::INVAL) => opened(graph, id, libc::O_RDWR).await.unwrap(),
        fd => fd.unwrap(),
    };
    let call = graph.begin(CallSpec::internal(Fop::Writev, id));
    let mut expected = Vec::new();
    for len in [4096, 8192, 300_000, 512, 7, 1 << 20, 4096] {
        let piece = vec![len as u8 ^ n as u8 | 1; len];
        let data = Buf::from_slice(&piece);
        let offset = expected.len() as u64;
        let write = request::Writev { fd: Arc::clone(&fd), data, offset, flags: 0, xdata: Xdata::NONE };
        let written = graph.top().writev(&call, write).await.unwrap();
        expected.extend_from_slice(&piece);
        assert_eq!((written.count, written.post.size), (len, expected.len() as u64));
    }
    let batch = xdata([(keys::BATCH_FSYNC, Value::Int(1))]);
    let fsync = request::Fsync { fd: Arc::clone(&fd), data_only: false, xdata: batch };
    graph.top().fsync(&call, fsync).await.unwrap();
    for (offset, size) in [(0, 4096), (4096, 300_000), (100, 5), (0, 1 << 21), (304_640, 1 << 20)] {
        let read = request::Readv { fd: Arc::clone(&fd), size, offset, flags: 0, xdata: Xdata::NONE };
        let read = graph.top().readv(&call, read).await.unwrap();
        let end = (offset as usize + size as usize).min(expected.len());
        assert!(*read.data == expected[offset as usize..end], "file {n}, {size} at {offset}");
    }
    graph.release(&fd);
}

/// Appends to a file that all cores append to.
async fn append(graph: &Graph) {
    let fd = opened(graph, gfid(SHARED), libc::O_RDWR | libc::O_APPEND).await.unwrap();
    let call = graph.begin(CallSpec::internal(Fop::Writev, gfid(SHARED)));
    for step in 0..APPENDS {
        let len = if step.is_multiple_of(8) { 150_000 } else { 1000 };
        let atomic = xdata([(keys::WRITE_UPDATE_ATOMIC, Value::Int(1))]);
        let write =
            request::Writev { fd: Arc::clone(&fd), data: Buf::heap(len), offset: 0, flags: 0, xdata: atomic };
        let written = graph.top().writev(&call, write).await.unwrap();
        assert_eq!(written.post.size - written.pre.size, len as u64);
    }
    graph.release(&fd);
}

async fn everything(core: Core, graph: std::rc::Rc<Graph>) {
    let mut tasks = Vec::new();
    for n in 0..FILES {
        let (graph, n) = (std::rc::Rc::clone(&graph), n * CORES as u64 + core.id() as u64);
        tasks.push(core.spawn_join(async move { write_and_read(&graph, n).await }));
    }
    for _ in 0..2 {
        let graph = std::rc::Rc::clone(&graph);
        tasks.push(core.spawn_join(async move { append(&graph).await }));
    }
    for task in tasks {
        task.await;
    }
    core.sleep(Duration::from_millis(50)).await;
    graph.fini().await;
}

#[test]
fn two_real_cores_keep_their_files_apart_and_a_shared_one_together() {
    let Some((kit, dir)) = real_kit(30, &[]) else { return };
    let brick = kit.brick();
    for n in 0..FILES * CORES as u64 {
        plant(&brick, &format!("f{n}"), gfid_n(1 + n));
    }
    plant(&brick, "shared", gfid(SHARED));
    // One process serves a brick once.
    drop((brick, kit));
    let sys: Arc<dyn Sys> = Linux::new();
    let options = [("directory", dir.path().to_str().unwrap())];
    let volfile = Volfile { nodes: vec![Node::new("posix", "storage/posix", &options, &[])] };
    let blueprint = Blueprint::new(&volfile, &sys, CORES).unwrap();
    let brick: Arc<Brick> = Arc::clone(&blueprint.layers()[0].shared).downcast().unwrap();
    let (done, ended) = mpsc::channel();
    let config = EngineConfig { cores: CORES, registered_buffers: 2 << 20, ..EngineConfig::default() };
    let engine = Engine::start(config, sys, move |core| {
        let (graph, done) = (Graph::new(&blueprint, &core), done.clone());
        async move {
            let graph = graph.map_err(|error| error.to_string())?;
            graph.start();
            core.clone().spawn(async move {
                everything(core, graph).await;
                done.send(()).unwrap();
            });
            Ok::<(), String>(())
        }
    })
    .unwrap();
    for _ in 0..CORES {
        ended.recv_timeout(Duration::from_secs(60)).expect("every core ends well");
    }
    engine.shutdown(Duration::from_secs(5)).unwrap();
    assert_eq!(brick.opens.objects(), 0);
    let appended = CORES as u64 * 2 * (5 * 150_000 + 35 * 1000);
    assert_eq!(brick.stat_handle(gfid(SHARED)).unwrap().size, appended);
}
