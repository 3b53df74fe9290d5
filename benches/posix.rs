//! What `storage/posix` costs by itself, beside the bare system calls that each fop needs.
//!
//! CPU time of the whole process per operation (helper threads and the kernel's workers included), on a tmpfs and on an
//! ext4 **with** a journal in a loop image: without one, ext4 scans past recently deleted inodes, which has nothing to do
//! with Kiln. Needs root.
//!
//! The bare calls are those that the fop cannot do without: its own, and what its reply must tell (attributes before and
//! after, the client's times in `trusted.glusterfs.mdata`, the gfid).

mod support;

use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_uring::Buf;
use kiln_uring::sys::{How, OpenFlags, ReadFlags, XattrFlags, XattrTarget};
use kiln_uring::{File, Linux, Sys};
use kiln_xlators::call::CallSpec;
use kiln_xlators::fd::{Fd, FdRef};
use kiln_xlators::fop::{Fop, request};
use kiln_xlators::graph::Graph;
use kiln_xlators::keys;
use kiln_xlators::types::{Dict, Gfid, Loc, Name, Value, Xdata};
use support::{Bench, FileSystem, cpu_time};

fn loc(name: &str) -> Loc {
    Loc::entry(Gfid::ROOT, Name::new(name.as_bytes()).expect("a name"))
}

async fn create(graph: &Graph, name: &str, number: u64) -> FdRef {
    let mut gfid = [0x40; 16];
    gfid[8..].copy_from_slice(&number.to_be_bytes());
    let gfid = Gfid::from_random(gfid);
    let fd = Fd::file(Gfid::NULL, libc_rdwr(), 1);
    let xdata = Xdata::new(Dict::from_iter([(keys::GFID_REQ, Value::Gfid(gfid))]));
    let call = graph.begin(CallSpec::internal(Fop::Create, Gfid::ROOT));
    let req = request::Create {
        loc: loc(name),
        flags: libc_rdwr(),
        mode: 0o100_644,
        umask: 0,
        fd: fd.clone(),
        xdata,
    };
    graph.top().create(&call, req).await.expect("create");
    fd
}

const fn libc_rdwr() -> u32 {
    2
}

async fn unlink(graph: &Graph, name: &str) {
    let call = graph.begin(CallSpec::internal(Fop::Unlink, Gfid::ROOT));
    graph
        .top()
        .unlink(&call, request::Unlink { loc: loc(name), flags: 0, xdata: Xdata::NONE })
        .await
        .expect("unlink");
}

async fn lookup(graph: &Graph) {
    let call = graph.begin(CallSpec::internal(Fop::Lookup, Gfid::ROOT));
    let req = request::Lookup { loc: loc("file"), xdata: Xdata::NONE };
    graph.top().lookup(&call, req).await.expect("lookup");
}

async fn read(graph: &Graph, fd: &FdRef, offset: u64) {
    let call = graph.begin(CallSpec::internal(Fop::Readv, Gfid::ROOT));
    let req = request::Readv { fd: fd.clone(), size: 4096, offset, flags: 0, xdata: Xdata::NONE };
    assert_eq!(graph.top().readv(&call, req).await.expect("read").data.len(), 4096);
}

async fn write(graph: &Graph, fd: &FdRef, offset: u64, data: Buf) {
    let call = graph.begin(CallSpec::internal(Fop::Writev, Gfid::ROOT));
    let req = request::Writev { fd: fd.clone(), data, offset, flags: 0, xdata: Xdata::NONE };
    assert_eq!(graph.top().writev(&call, req).await.expect("write").count, 4096);
}

fn offset(step: u64) -> u64 {
    (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % 4096 * 4096
}

/// The posix layer on one core of an engine.
fn kiln(criterion: &mut Criterion, fs: &FileSystem) {
    let bench = Bench::posix(&fs.path().join("brick"));
    let mut group = criterion.benchmark_group(format!("posix/{}", fs.name()));
    group.measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1)).sample_size(20);
    bench.run(1, |graph, _| async move {
        let fd = create(&graph, "file", 1).await;
        for block in 0..4096 {
            write(&graph, &fd, block * 4096, Buf::from_slice(&[7; 4096])).await;
        }
        support::keep(fd);
    });
    group.bench_function("lookup/kiln", |b| {
        b.iter_custom(|n| {
            bench.run(n, |graph, n| async move {
                for _ in 0..n {
                    lookup(&graph).await
                }
            })
        });
    });
    group.bench_function("read-4k/kiln", |b| {
        b.iter_custom(|n| {
            bench.run(n, |graph, n| async move {
                let fd = support::kept();
                for step in 0..n {
                    read(&graph, &fd, offset(step)).await
                }
            })
        });
    });
    group.bench_function("write-4k/kiln", |b| {
        b.iter_custom(|n| {
            bench.run(n, |graph, n| async move {
                let fd = support::kept();
                for step in 0..n {
                    let data = graph.core().buffer(4096);
                    write(&graph, &fd, offset(step), data).await;
                }
            })
        });
    });
    group.bench_function("create+unlink/kiln", |b| {
        b.iter_custom(|n| {
            bench.run(n, |graph, n| async move {
                for step in 0..n {
                    let fd = create(&graph, "new", 1000 + step).await;
                    graph.release(&fd);
                    drop(fd);
                    unlink(&graph, "new").await;
                }
            })
        });
    });
    group.finish();
}

/// The same system calls in a loop.
fn bare(criterion: &mut Criterion, fs: &FileSystem) {
    let sys: Arc<dyn Sys> = Linux::new();
    let open = |path: &str, how| {
        let path = std::ffi::CString::new(fs.path().join(path).to_str().expect("utf-8")).expect("no NUL");
        File::new(Arc::clone(&sys), sys.openat2(-100, &path, how).expect("open"))
    };
    std::fs::create_dir_all(fs.path().join("bare/handles/xx/yy")).expect("directories");
    let dir = open("bare", How::new(OpenFlags::DIRECTORY));
    let handles = open("bare/handles", How::new(OpenFlags::DIRECTORY));
    let file = open("bare/file", How::new(OpenFlags::CREAT | OpenFlags::RDWR).mode(0o644));
    for block in 0..4096 {
        sys.pwrite(file.fd(), &[7; 4096], block * 4096).expect("write");
    }
    sys.setxattr(XattrTarget::Fd(file.fd()), keys::GFID, &[1; 16], XattrFlags::empty()).expect("gfid");
    sys.setxattr(
        XattrTarget::Fd(file.fd()),
        c"trusted.gfid2path.0123456789abcdef",
        &[b'x'; 41],
        XattrFlags::empty(),
    )
    .expect("path");
    let mdata = |target| _ = sys.getxattr(target, keys::MDATA, &mut [0; 57]);
    let attrs = |fd: i32| {
        sys.stat(fd).expect("stat");
        mdata(XattrTarget::Fd(fd));
    };
    let mut group = criterion.benchmark_group(format!("posix/{}", fs.name()));
    group.measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1)).sample_size(20);
    group.bench_function("lookup/bare", |b| {
        b.iter_custom(|n| {
            cpu_time(|| {
                for _ in 0..n {
                    sys.stat_at(dir.fd(), c"file").expect("stat");
                    sys.getxattr(XattrTarget::At(dir.fd(), c"file"), keys::GFID, &mut [0; 16]).expect("gfid");
                    mdata(XattrTarget::At(dir.fd(), c"file"));
                    attrs(dir.fd());
                }
            })
        });
    });
    let mut block = [0_u8; 4096];
    group.bench_function("read-4k/bare", |b| {
        b.iter_custom(|n| {
            cpu_time(|| {
                for step in 0..n {
                    sys.pread(file.fd(), &mut block, offset(step), ReadFlags::empty()).expect("read");
                    attrs(file.fd());
                }
            })
        });
    });
    group.bench_function("write-4k/bare", |b| {
        b.iter_custom(|n| {
            cpu_time(|| {
                for step in 0..n {
                    attrs(file.fd());
                    sys.pwrite(file.fd(), &block, offset(step)).expect("write");
                    sys.stat(file.fd()).expect("stat");
                }
            })
        });
    });
    group.bench_function("create+unlink/bare", |b| {
        b.iter_custom(|n| {
            cpu_time(|| {
                for _ in 0..n {
                    // A file without a name gets its attributes, then its handle, then its name.
                    attrs(dir.fd());
                    let how = How::new(OpenFlags::TMPFILE | OpenFlags::RDWR).mode(0o644);
                    let new = File::new(Arc::clone(&sys), sys.openat2(dir.fd(), c".", how).expect("create"));
                    let target = XattrTarget::Fd(new.fd());
                    sys.setxattr(
                        target,
                        c"trusted.gfid2path.0123456789abcdef",
                        &[b'x'; 41],
                        XattrFlags::CREATE,
                    )
                    .expect("path");
                    sys.setxattr(target, keys::GFID, &[2; 16], XattrFlags::CREATE).expect("gfid");
                    sys.link_fd(new.fd(), handles.fd(), c"xx/yy/handle").expect("handle");
                    sys.link_fd(new.fd(), dir.fd(), c"new").expect("name");
                    sys.stat(new.fd()).expect("stat");
                    attrs(dir.fd());
                    drop(new);
                    // Its name goes, then its handle.
                    attrs(dir.fd());
                    sys.stat_at(dir.fd(), c"new").expect("stat");
                    sys.getxattr(XattrTarget::At(dir.fd(), c"new"), keys::GFID, &mut [0; 16]).expect("gfid");
                    sys.unlink_at(dir.fd(), c"new", kiln_uring::sys::AtFlags::empty()).expect("unlink");
                    sys.unlink_at(handles.fd(), c"xx/yy/handle", kiln_uring::sys::AtFlags::empty())
                        .expect("unlink");
                    attrs(dir.fd());
                }
            })
        });
    });
    group.finish();
}

fn posix(criterion: &mut Criterion) {
    for fs in [FileSystem::tmpfs(), FileSystem::ext4()] {
        kiln(criterion, &fs);
        bare(criterion, &fs);
    }
}

criterion_group!(benches, posix);
criterion_main!(benches);
