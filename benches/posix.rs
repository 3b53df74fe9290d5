//! What `storage/posix` costs by itself, beside the bare system calls that each fop needs.
//!
//! CPU time of the whole process per operation (helper threads and the kernel's workers included), on a tmpfs and on an
//! ext4 **with** a journal in a loop image: without one, ext4 scans past recently deleted inodes, which has nothing to do
//! with Kiln. Needs root.
//!
//! The bare calls are the same ones in a loop without Kiln: the fop's own, and what its reply must tell (attributes before
//! and after, the client's times in `trusted.glusterfs.mdata`, the gfid). A table of both and of their ratio comes last.

mod support;

use std::ffi::{CStr, CString};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_uring::Buf;
use kiln_uring::sys::{AtFlags, How, OpenFlags, ReadFlags, XattrFlags, XattrTarget};
use kiln_uring::{File, Linux, Sys};
use kiln_xlators::call::CallSpec;
use kiln_xlators::fd::{Fd, FdRef};
use kiln_xlators::fop::{Fop, request};
use kiln_xlators::graph::Graph;
use kiln_xlators::keys;
use kiln_xlators::types::{Dict, Gfid, Loc, Name, Value, Xdata};
use support::{Bench, FileSystem, Table, cpu_time};

/// Blocks of the file that is read and written, 16 MiB.
const BLOCKS: u64 = 4096;

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
    (step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % BLOCKS * 4096
}

/// Names differ, as in life: one that was never seen is the harder case.
fn new_name(step: u64) -> String {
    format!("new{step}")
}

/// The operations that are measured, with the system calls that each makes.
#[derive(Clone, Copy)]
enum Measured {
    Lookup,
    Read,
    Write,
    CreateUnlink,
}

impl Measured {
    const ALL: [Self; 4] = [Self::Lookup, Self::Read, Self::Write, Self::CreateUnlink];

    const fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Read => "read-4k",
            Self::Write => "write-4k",
            Self::CreateUnlink => "create+unlink",
        }
    }

    /// Through the graph, `n` times.
    async fn kiln(self, graph: Rc<Graph>, n: u64) {
        let fd = support::kept();
        for step in 0..n {
            match self {
                Self::Lookup => lookup(&graph).await,
                Self::Read => read(&graph, &fd, offset(step)).await,
                Self::Write => write(&graph, &fd, offset(step), graph.core().buffer(4096)).await,
                Self::CreateUnlink => {
                    let name = new_name(step);
                    let fd = create(&graph, &name, 1000 + step).await;
                    graph.release(&fd);
                    drop(fd);
                    unlink(&graph, &name).await;
                }
            }
        }
    }

    /// The same system calls.
    fn bare(self, bare: &Bare, n: u64) {
        for step in 0..n {
            match self {
                Self::Lookup => bare.lookup(),
                Self::Read => bare.read(offset(step)),
                Self::Write => bare.write(offset(step)),
                Self::CreateUnlink => bare.create_and_unlink(&new_name(step), step),
            }
        }
    }
}

/// The system calls by themselves, on files like Kiln's.
struct Bare {
    sys: Arc<dyn Sys>,
    dir: File,
    handles: File,
    file: File,
}

impl Bare {
    fn new(fs: &FileSystem) -> Self {
        let sys: Arc<dyn Sys> = Linux::new();
        let open = |path: &str, how| {
            let path =
                CString::new(fs.path().join(path).to_str().expect("a path in UTF-8")).expect("no NUL in it");
            File::new(Arc::clone(&sys), sys.openat2(-100, &path, how).expect("open"))
        };
        std::fs::create_dir_all(fs.path().join("bare/handles/40/40")).expect("directories");
        let dir = open("bare", How::new(OpenFlags::DIRECTORY));
        let handles = open("bare/handles", How::new(OpenFlags::DIRECTORY));
        let file = open("bare/file", How::new(OpenFlags::CREAT | OpenFlags::RDWR).mode(0o644));
        for block in 0..BLOCKS {
            sys.pwrite(file.fd(), &[7; 4096], block * 4096).expect("write");
        }
        let bare = Self { sys, dir, handles, file };
        bare.dress(&bare.file);
        bare
    }

    /// What a new file gets.
    fn dress(&self, file: &File) {
        let target = XattrTarget::Fd(file.fd());
        let set = |key: &CStr, value: &[u8]| self.sys.setxattr(target, key, value, XattrFlags::CREATE);
        set(c"trusted.gfid2path.0123456789abcdef", &[b'x'; 41]).expect("its path");
        set(keys::GFID, &[2; 16]).expect("its gfid");
    }

    /// Attributes, and the clients' times, which are not there.
    fn attrs(&self, fd: i32) {
        self.sys.stat(fd).expect("stat");
        _ = self.sys.getxattr(XattrTarget::Fd(fd), keys::MDATA, &mut [0; 57]);
    }

    fn lookup(&self) {
        let at = XattrTarget::At(self.dir.fd(), c"file");
        self.sys.stat_at(self.dir.fd(), c"file").expect("stat");
        self.attrs(self.dir.fd());
        self.sys.getxattr(at, keys::GFID, &mut [0; 16]).expect("gfid");
        _ = self.sys.getxattr(at, keys::MDATA, &mut [0; 57]);
    }

    fn read(&self, offset: u64) {
        let mut block = [0_u8; 4096];
        self.sys.pread(self.file.fd(), &mut block, offset, ReadFlags::empty()).expect("read");
        std::hint::black_box(&block);
        self.attrs(self.file.fd());
    }

    fn write(&self, offset: u64) {
        self.attrs(self.file.fd());
        self.sys.pwrite(self.file.fd(), &[7; 4096], offset).expect("write");
        self.sys.stat(self.file.fd()).expect("stat");
    }

    fn create_and_unlink(&self, name: &str, number: u64) {
        let sys = &self.sys;
        let (dir, handles) = (self.dir.fd(), self.handles.fd());
        let name = CString::new(name).expect("no NUL in it");
        let handle = CString::new(format!("40/40/40404040-4040-4040-4040-{number:012x}")).expect("no NUL");
        // A file without a name gets its attributes, then its handle, then its name.
        self.attrs(dir);
        let how = How::new(OpenFlags::TMPFILE | OpenFlags::RDWR).mode(0o644);
        let new = File::new(Arc::clone(sys), sys.openat2(dir, c".", how).expect("create"));
        self.dress(&new);
        sys.link_fd(new.fd(), handles, &handle).expect("handle");
        sys.link_fd(new.fd(), dir, &name).expect("name");
        sys.stat(new.fd()).expect("stat");
        sys.stat(dir).expect("stat");
        drop(new);
        // Its name goes, then its handle.
        sys.getxattr(XattrTarget::At(dir, &name), keys::GFID, &mut [0; 16]).expect("gfid");
        sys.stat_at(dir, &name).expect("stat");
        self.attrs(dir);
        sys.unlink_at(dir, &name, AtFlags::empty()).expect("unlink");
        sys.unlink_at(handles, &handle, AtFlags::empty()).expect("unlink");
        sys.stat(dir).expect("stat");
    }
}

fn posix(criterion: &mut Criterion) {
    let mut table = Table::default();
    for fs in [FileSystem::tmpfs(), FileSystem::ext4()] {
        let kiln = Bench::posix(&fs.path().join("brick"));
        kiln.run(1, |graph, _| async move {
            let fd = create(&graph, "file", 1).await;
            for block in 0..BLOCKS {
                write(&graph, &fd, block * 4096, Buf::from_slice(&[7; 4096])).await;
            }
            support::keep(fd);
        });
        let bare = Bare::new(&fs);
        let mut group = criterion.benchmark_group(format!("posix/{}", fs.name()));
        group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
        group.sample_size(20);
        for measured in Measured::ALL {
            let row = format!("{} {}", fs.name(), measured.name());
            group.bench_function(format!("{}/kiln", measured.name()), |b| {
                b.iter_custom(|n| {
                    table.noted(&row, 0, n, kiln.run(n, move |graph, n| measured.kiln(graph, n)))
                })
            });
            group.bench_function(format!("{}/bare", measured.name()), |b| {
                b.iter_custom(|n| table.noted(&row, 1, n, cpu_time(|| measured.bare(&bare, n))))
            });
        }
        group.finish();
    }
    table.print(["Kiln", "system calls"], "CPU per operation");
}

criterion_group!(benches, posix);
criterion_main!(benches);
