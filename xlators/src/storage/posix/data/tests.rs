//! Files on a brick: in memory for most, on the real kernel where it has the last word.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kiln_uring::sim::Call as Syscall;
use kiln_uring::sys::{RenameFlags, Timespec, XattrFlags, XattrTarget};
use kiln_uring::{AtFlags, Buf, Errno, File, Linux};
use proptest::prelude::*;

use super::fd::PosixFd;
use crate::error::FopResult;
use crate::fd::{Fd, FdRef};
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::Brick;
use crate::storage::posix::handle::{HandlePath, gfid_name};
use crate::storage::posix::mdata::Role;
use crate::storage::posix::testkit::{Client, Kit, gfid, xdata};
use crate::types::{Gfid, Loc, Value, Xdata};

const RDWR: u32 = libc::O_RDWR as u32;

/// Puts a regular file into the brick's root, with its gfid and handle.
pub(in crate::storage::posix) fn plant(brick: &Brick, name: &str, gfid: Gfid) {
    plant_in(brick, &brick.root, name, gfid);
}

/// The same in any directory.
pub(in crate::storage::posix) fn plant_in(brick: &Brick, dir: &File, name: &str, gfid: Gfid) {
    let sys = &brick.sys;
    let name = CString::new(name).unwrap();
    sys.mknod_at(dir.fd(), &name, libc::S_IFREG | 0o644, 0).unwrap();
    sys.setxattr(XattrTarget::At(dir.fd(), &name), keys::GFID, gfid.as_bytes(), XattrFlags::CREATE).unwrap();
    let handle = HandlePath::new(gfid);
    let _ = sys.mkdir_at(brick.dot.fd(), &handle.first_dir(), 0o700);
    let _ = sys.mkdir_at(brick.dot.fd(), &handle.leaf_dir(), 0o700);
    sys.link_at(dir.fd(), &name, brick.dot.fd(), handle.as_c_str()).unwrap();
}

/// Does what an unlink of an open file does.
fn park(brick: &Brick, name: &str, gfid: Gfid) {
    let (sys, handle) = (&brick.sys, HandlePath::new(gfid));
    let parked = gfid_name(gfid);
    sys.rename_at(brick.dot.fd(), handle.as_c_str(), brick.unlink_dir.fd(), &parked, RenameFlags::empty())
        .unwrap();
    sys.unlink_at(brick.root.fd(), &CString::new(name).unwrap(), AtFlags::empty()).unwrap();
    brick.opens.parked(gfid);
}

impl Client {
    async fn opened(&self, gfid: Gfid, flags: u32) -> Result<FdRef, Errno> {
        let fd = Fd::file(gfid, flags, 1000);
        let request =
            request::Open { loc: Loc::object(gfid), flags, fd: Arc::clone(&fd), xdata: Xdata::NONE };
        self.open(request).await.map(|_| fd).map_err(|error| error.errno)
    }

    async fn wrote(&self, fd: &FdRef, offset: u64, data: &[u8]) -> FopResult<reply::Written> {
        self.wrote_asking(fd, offset, data, 0, Xdata::NONE).await
    }

    async fn wrote_asking(
        &self,
        fd: &FdRef,
        offset: u64,
        data: &[u8],
        flags: u32,
        xdata: Xdata,
    ) -> FopResult<reply::Written> {
        let data = Buf::from_slice(data);
        self.writev(request::Writev { fd: Arc::clone(fd), data, offset, flags, xdata }).await
    }

    async fn read_at(&self, fd: &FdRef, offset: u64, size: u32) -> FopResult<reply::Read> {
        self.readv(request::Readv { fd: Arc::clone(fd), size, offset, flags: 0, xdata: Xdata::NONE }).await
    }

    async fn cut(&self, fd: &FdRef, offset: u64) -> FopResult<reply::Changed> {
        self.ftruncate(request::Ftruncate { fd: Arc::clone(fd), offset, xdata: Xdata::NONE }).await
    }
}

fn file_kit(seed: u64) -> (Kit, Gfid) {
    let kit = Kit::new(seed);
    plant(&kit.brick(), "f", gfid(7));
    (kit, gfid(7))
}

#[test]
fn reads_tell_the_end_of_the_file() {
    let (kit, id) = file_kit(1);
    kit.run(async |client| {
        let fd = client.opened(id, RDWR).await.unwrap();
        let empty = client.read_at(&fd, 0, 10).await.unwrap();
        assert!(empty.eof && empty.data.is_empty());
        let written = client.wrote(&fd, 0, b"0123456789").await.unwrap();
        assert_eq!((written.count, written.pre.size, written.post.size), (10, 0, 10));
        assert!(written.xdata.is_none());
        for (offset, size, text, eof) in [
            (0, 5, "01234", false),
            (0, 9, "012345678", false),
            (0, 10, "0123456789", true),
            (5, 100, "56789", true),
            (9, 1, "9", true),
            (10, 1, "", true),
            (1 << 40, 1, "", true),
        ] {
            let read = client.read_at(&fd, offset, size).await.unwrap();
            assert_eq!((&*read.data, read.eof), (text.as_bytes(), eof), "{offset} {size}");
            assert_eq!((read.iatt.size, read.iatt.gfid, read.iatt.nlink), (10, id, 1));
        }
        assert_eq!(client.read_at(&fd, 0, 0).await.unwrap_err().errno, Errno::INVAL);
        assert_eq!(client.read_at(&fd, u64::MAX, 1).await.unwrap_err().errno, Errno::INVAL);
        assert_eq!(client.wrote(&fd, u64::MAX, b"x").await.unwrap_err().errno, Errno::INVAL);
        assert_eq!(client.wrote(&fd, i64::MAX as u64, b"x").await.unwrap_err().errno, Errno::FBIG);
        assert_eq!(client.read_at(&fd, 0, u32::MAX).await.unwrap().data.len(), 10);
    });
}

#[test]
fn a_cached_read_of_4_kib_takes_two_calls() {
    let (kit, id) = file_kit(2);
    kit.run(async |client| {
        let fd = client.opened(id, RDWR).await.unwrap();
        client.wrote(&fd, 0, &[1; 4096]).await.unwrap();
        let kernel = kit.sim.kernel();
        let calls = |call| kernel.calls(call);
        let before = (calls(Syscall::Pread), calls(Syscall::Stat), calls(Syscall::Getxattr));
        client.read_at(&fd, 0, 4096).await.unwrap();
        let after = (calls(Syscall::Pread), calls(Syscall::Stat), calls(Syscall::Getxattr));
        assert_eq!((after.0 - before.0, after.1 - before.1, after.2 - before.2), (1, 1, 0));
    });
}

#[test]
fn opens_are_refused_by_type_and_kept_by_access_mode() {
    let (kit, id) = file_kit(3);
    let brick = kit.brick();
    let sys = &brick.sys;
    for (n, kind) in [(1, libc::S_IFIFO), (2, libc::S_IFCHR), (3, libc::S_IFSOCK)] {
        let handle = HandlePath::new(gfid(n));
        let _ = sys.mkdir_at(brick.dot.fd(), &handle.leaf_dir(), 0o700);
        sys.mknod_at(brick.dot.fd(), handle.as_c_str(), kind | 0o644, 0x103).unwrap();
    }
    let handle = HandlePath::new(gfid(4));
    let _ = sys.mkdir_at(brick.dot.fd(), &handle.leaf_dir(), 0o700);
    sys.symlink_at(c"x", brick.root.fd(), c"link").unwrap();
    sys.link_at(brick.root.fd(), c"link", brick.dot.fd(), handle.as_c_str()).unwrap();
    kit.run(async |client| {
        for n in 1..=3 {
            assert_eq!(client.opened(gfid(n), 0).await.unwrap_err(), Errno::INVAL);
        }
        assert_eq!(client.opened(gfid(4), 0).await.unwrap_err(), Errno::LOOP);
        assert_eq!(client.opened(Gfid::ROOT, RDWR).await.unwrap_err(), Errno::ISDIR);
        assert_eq!(client.opened(gfid(9), 0).await.unwrap_err(), Errno::STALE);
        let reader = client.opened(id, 0).await.unwrap();
        assert_eq!(client.wrote(&reader, 0, b"x").await.unwrap_err().errno, Errno::BADF);
        let writer = client.opened(id, libc::O_WRONLY as u32).await.unwrap();
        assert_eq!(client.wrote(&writer, 0, b"abc").await.unwrap().count, 3);
        assert_eq!(client.read_at(&writer, 0, 1).await.unwrap_err().errno, Errno::BADF);
        let cutter = client.opened(id, RDWR | libc::O_TRUNC as u32).await.unwrap();
        assert!(client.read_at(&cutter, 0, 10).await.unwrap().data.is_empty());
        let appender = client.opened(id, RDWR | libc::O_APPEND as u32).await.unwrap();
        client.wrote(&appender, 0, b"ab").await.unwrap();
        client.wrote(&appender, 0, b"cd").await.unwrap();
        assert_eq!(&*client.read_at(&reader, 0, 10).await.unwrap().data, b"abcd");
        assert_eq!(brick.opens.get(id).total, 4);
        let never = Fd::file(id, RDWR, 1);
        assert_eq!(client.read_at(&never, 0, 1).await.unwrap_err().errno, Errno::BADF);
    });
}

#[test]
fn questions_in_xdata_are_answered() {
    let (kit, id) = file_kit(4);
    kit.run(async |client| {
        let fd = client.opened(id, RDWR).await.unwrap();
        let _other = client.opened(id, RDWR).await.unwrap();
        let ask = || {
            xdata([
                (keys::WRITE_IS_APPEND, Value::Int(1)),
                (keys::OPEN_FD_COUNT, Value::Int(1)),
                (keys::OPEN_ACTIVE_FD_COUNT, Value::Int(1)),
            ])
        };
        for (offset, append) in [(0, 1), (3, 1), (0, 0), (100, 0)] {
            let xdata = client.wrote_asking(&fd, offset, b"abc", 0, ask()).await.unwrap().xdata;
            assert_eq!(xdata.get(keys::WRITE_IS_APPEND), Some(&Value::Uint(append)), "at {offset}");
            assert_eq!(xdata.get(keys::OPEN_FD_COUNT), Some(&Value::Uint(2)));
            assert_eq!(xdata.get(keys::OPEN_ACTIVE_FD_COUNT), Some(&Value::Uint(2)));
        }
        let empty =
            client.wrote_asking(&fd, 0, b"x", 0, Xdata::new(crate::types::Dict::new())).await.unwrap().xdata;
        assert!(empty.dict().is_some_and(crate::types::Dict::is_empty));
        let avoid = || xdata([(keys::AVOID_OVERWRITE, Value::Int(1))]);
        client.wrote_asking(&fd, 0, b"x", 0, avoid()).await.unwrap();
        let protect = xdata([(keys::PROTECT_WRITES, Value::Str("yes".into()))]);
        client.wrote_asking(&fd, 0, b"y", 0, protect).await.unwrap();
        assert_eq!(kit.brick().xattr(id, keys::PROTECT_WRITES).as_deref(), Some(&b"yes"[..]));
        assert_eq!(client.wrote_asking(&fd, 0, b"z", 0, avoid()).await.unwrap_err().errno, Errno::BUSY);
        assert_eq!(&*client.read_at(&fd, 0, 1).await.unwrap().data, b"y");
    });
}

#[test]
fn many_atomic_writers_each_see_their_own_step() {
    let (kit, id) = file_kit(5);
    kit.run_cores(3, async |client| {
        let fd = client.opened(id, RDWR | libc::O_APPEND as u32).await.unwrap();
        for step in 0..20 {
            let data = vec![1; if step % 5 == 0 { 200_000 } else { 100 }];
            let atomic = xdata([(keys::WRITE_UPDATE_ATOMIC, Value::Int(1))]);
            let written = client.wrote_asking(&fd, 0, &data, 0, atomic).await.unwrap();
            assert_eq!(written.post.size - written.pre.size, data.len() as u64);
        }
    });
    assert_eq!(kit.brick().stat_handle(id).unwrap().size, 3 * (4 * 200_000 + 16 * 100));
}

#[test]
fn a_full_brick_takes_only_what_is_there_already() {
    let (kit, id) = file_kit(6);
    let brick = kit.brick();
    kit.run(async |client| {
        let fd = client.opened(id, RDWR).await.unwrap();
        client.wrote(&fd, 0, &[1; 8192]).await.unwrap();
        client.cut(&fd, 65536).await.unwrap();
        brick.full.store(true, Ordering::Relaxed);
        let errno = |result: FopResult<reply::Written>| {
            result.map(|written| written.count).map_err(|error| error.errno)
        };
        assert_eq!(errno(client.wrote(&fd, 100, b"fits").await), Ok(4));
        assert_eq!(errno(client.wrote(&fd, 32768, b"hole").await), Err(Errno::NOSPC));
        assert_eq!(errno(client.wrote(&fd, 65535, b"grows").await), Err(Errno::NOSPC));
        let allocate = |client: &Client| {
            let request = request::Fallocate {
                fd: Arc::clone(&fd),
                mode: 1,
                offset: 65536,
                len: 4096,
                xdata: Xdata::NONE,
            };
            let client = client.clone();
            async move { client.fallocate(request).await.map(drop).map_err(|error| error.errno) }
        };
        assert_eq!(allocate(&client).await, Err(Errno::NOSPC));
        assert_eq!(allocate(&client.pid(-6)).await, Ok(()));
        assert_eq!(errno(client.pid(-3).wrote(&fd, 65535, b"grows").await), Ok(5));
        let internal = xdata([(keys::INTERNAL_FOP, Value::Str("yes".into()))]);
        assert_eq!(errno(client.wrote_asking(&fd, 1 << 20, b"far", 0, internal).await), Ok(3));
        client.cut(&fd, 0).await.unwrap();
        assert_eq!(client.opened(id, RDWR | libc::O_CREAT as u32).await.unwrap_err(), Errno::NOSPC);
    });
}

#[test]
fn the_clients_clock_moves_the_times() {
    let (kit, id) = file_kit(7);
    kit.run(async |client| {
        let fd = client.opened(id, RDWR).await.unwrap();
        let sec = |sec| Timespec { sec, nsec: 5 };
        let first = client.at(100).wrote(&fd, 0, b"x").await.unwrap();
        assert_eq!((first.post.mtime, first.post.ctime, first.post.atime), (sec(100), sec(100), sec(100)));
        let earlier = client.at(50).wrote(&fd, 0, b"x").await.unwrap();
        assert_eq!((earlier.pre.mtime, earlier.post.mtime), (sec(100), sec(100)));
        let long = client.at(200).wrote(&fd, 0, &vec![0; 300_000]).await.unwrap();
        assert_eq!((long.pre.mtime, long.post.mtime), (sec(100), sec(200)));
        assert_eq!(client.cut(&fd, 5).await.unwrap().post.mtime, sec(200));
        assert_eq!(client.at(300).cut(&fd, 6).await.unwrap().post.ctime, sec(300));
        assert_eq!(client.read_at(&fd, 0, 1).await.unwrap().iatt.mtime, sec(300));
    });
}

#[test]
fn what_was_unlinked_while_open_goes_with_the_last_close() {
    let (kit, id) = file_kit(8);
    let brick = kit.brick();
    let fs = kit.fs.clone().unwrap();
    kit.run(async |client| {
        let (one, two) = (client.opened(id, RDWR).await.unwrap(), client.opened(id, RDWR).await.unwrap());
        client.wrote(&one, 0, b"still here").await.unwrap();
        park(&brick, "f", id);
        let anonymous = Fd::anonymous(id, RDWR, 1);
        assert_eq!(&*client.read_at(&anonymous, 0, 5).await.unwrap().data, b"still");
        let open = fs.open_files();
        client.graph.release(&one);
        drop(one);
        client.core().sleep(Duration::from_secs(1)).await;
        assert_eq!(&*client.read_at(&two, 6, 4).await.unwrap().data, b"here");
        assert!(brick.sys.stat_at(brick.unlink_dir.fd(), &gfid_name(id)).is_ok());
        client.graph.release(&two);
        drop(two);
        client.core().sleep(Duration::from_secs(5)).await;
        assert_eq!(brick.sys.stat_at(brick.unlink_dir.fd(), &gfid_name(id)).unwrap_err(), Errno::NOENT);
        assert_eq!(brick.opens.objects(), 0);
        // Both, and the one of the anonymous fop.
        assert_eq!(fs.open_files(), open - 3);
        assert_eq!(client.read_at(&anonymous, 0, 1).await.unwrap_err().errno, Errno::NOENT);
    });
}

#[test]
fn an_ordinary_close_leaves_the_file_alone() {
    let (kit, id) = file_kit(9);
    kit.run(async |client| {
        for _ in 0..3 {
            let fd = client.opened(id, RDWR).await.unwrap();
            client.wrote(&fd, 0, b"x").await.unwrap();
            client.graph.release(&fd);
        }
        client.core().sleep(Duration::from_secs(1)).await;
        assert_eq!(kit.brick().handle_links(id), 2);
        assert_eq!(kit.brick().opens.objects(), 0);
    });
}

#[test]
fn copies_seeks_and_checksums() {
    let (kit, id) = file_kit(10);
    plant(&kit.brick(), "g", gfid(8));
    kit.run(async |client| {
        let from = client.opened(id, RDWR).await.unwrap();
        let to = client.opened(gfid(8), RDWR).await.unwrap();
        let data: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        client.wrote(&from, 0, &data).await.unwrap();
        let copied = client
            .at(77)
            .copy_file_range(request::CopyFileRange {
                fd_in: Arc::clone(&from),
                offset_in: 1000,
                fd: Arc::clone(&to),
                offset: 4096,
                len: 200_000,
                flags: 0,
                xdata: Xdata::NONE,
            })
            .await
            .unwrap();
        assert_eq!((copied.source.size, copied.pre.size), (300_000, 0));
        assert_eq!(copied.post.size, 4096 + copied.count as u64);
        assert_eq!(copied.post.mtime.sec, 77);
        let read = client.read_at(&to, 4096, copied.count as u32).await.unwrap();
        assert!(*read.data == data[1000..1000 + copied.count]);
        let seek = |what, offset| {
            let fd = Arc::clone(&to);
            let client = client.clone();
            async move {
                let request = request::Seek { fd, offset, what, xdata: Xdata::NONE };
                client.seek(request).await.map(|reply| reply.offset).map_err(|error| error.errno)
            }
        };
        assert_eq!(seek(request::SeekWhat::Data, 0).await, Ok(4096));
        assert_eq!(seek(request::SeekWhat::Hole, 0).await, Ok(0));
        assert_eq!(seek(request::SeekWhat::Data, 1 << 30).await, Err(Errno::NXIO));
        let sum = |offset, len| {
            let fd = Arc::clone(&from);
            let client = client.clone();
            let ask = xdata([(keys::CHECK_ZERO_FILLED, Value::Int(1))]);
            async move { client.rchecksum(request::Rchecksum { fd, offset, len, xdata: ask }).await.unwrap() }
        };
        let (whole, beyond) = (sum(0, 300_000).await, sum(0, 1 << 20).await);
        assert_eq!((whole.weak, whole.strong), (beyond.weak, beyond.strong));
        assert_eq!(whole.strong[16..], [0; 16], "MD5 unless fips-mode-rchecksum is on");
        assert_eq!(whole.xdata.get(keys::BUF_HAS_ZEROES), Some(&Value::Uint(0)));
        assert_eq!(whole.xdata.get(keys::FIPS_MODE_RCHECKSUM), None);
        assert_ne!(sum(1, 1000).await.weak, sum(0, 1000).await.weak);
    });
}

#[test]
fn every_way_of_batching_syncs_every_file() {
    for mode in ["none", "syncfs", "syncfs-single-fsync", "syncfs-reverse-fsync", "reverse-fsync"] {
        let kit = Kit::with_options(11, &[("batch-fsync-mode", mode), ("batch-fsync-delay-usec", "1000")]);
        for n in 1..=4 {
            plant(&kit.brick(), &format!("f{n}"), gfid(n));
        }
        // Only what was synced is there after a power cut; the names are.
        kit.brick().sys.syncfs(kit.brick().root.fd()).unwrap();
        let before = kit.sim.kernel().calls(Syscall::Fsync) + kit.sim.kernel().calls(Syscall::Syncfs);
        kit.run(async |client| {
            let mut syncs = Vec::new();
            for n in 1..=4 {
                let client = client.clone();
                syncs.push(client.core().clone().spawn_join(async move {
                    let fd = client.opened(gfid(n), RDWR).await.unwrap();
                    client.wrote(&fd, 0, b"kept").await.unwrap();
                    let batch = xdata([(keys::BATCH_FSYNC, Value::Int(1))]);
                    let synced =
                        client.fsync(request::Fsync { fd, data_only: false, xdata: batch }).await.unwrap();
                    assert_eq!((synced.pre.size, synced.post.size), (4, 4));
                }));
            }
            for sync in syncs {
                sync.await;
            }
        });
        let after = kit.sim.kernel().calls(Syscall::Fsync) + kit.sim.kernel().calls(Syscall::Syncfs);
        assert!(after > before, "{mode}");
        let crashed = kit.fs.clone().unwrap().crash(3);
        let again = Kit::on_fs(12, &crashed, &[]);
        for n in 1..=4 {
            assert_eq!(again.brick().stat_handle(gfid(n)).unwrap().size, 4, "{mode}");
        }
    }
}

#[test]
fn sync_flags_make_a_write_durable() {
    for (open_flags, write_flags) in [(RDWR | libc::O_SYNC as u32, 0), (RDWR, libc::O_DSYNC as u32)] {
        let (kit, id) = file_kit(13);
        kit.brick().sys.syncfs(kit.brick().root.fd()).unwrap();
        kit.run(async |client| {
            let fd = client.opened(id, open_flags).await.unwrap();
            client.wrote_asking(&fd, 0, b"kept", write_flags, Xdata::NONE).await.unwrap();
        });
        let again = Kit::on_fs(14, &kit.fs.clone().unwrap().crash(5), &[]);
        assert_eq!(again.brick().stat_handle(id).unwrap().size, 4);
    }
}

#[test]
fn a_failing_disk_fails_the_fop_and_nothing_else() {
    let (kit, id) = file_kit(15);
    kit.run(async |client| {
        let fd = client.opened(id, RDWR).await.unwrap();
        client.wrote(&fd, 0, b"abc").await.unwrap();
        kit.sim.kernel().fail_nth(Syscall::Pwrite, 1, Errno::IO);
        assert_eq!(client.wrote(&fd, 0, b"x").await.unwrap_err().errno, Errno::IO);
        kit.sim.kernel().fail_nth(Syscall::Fsync, 1, Errno::IO);
        let sync = |client: Client, fd| async move {
            client.fsync(request::Fsync { fd, data_only: true, xdata: Xdata::NONE }).await
        };
        assert_eq!(sync(client.clone(), Arc::clone(&fd)).await.unwrap_err().errno, Errno::IO);
        sync(client.clone(), Arc::clone(&fd)).await.unwrap();
        assert_eq!(&*client.read_at(&fd, 0, 9).await.unwrap().data, b"abc");
    });
}

// --- against a model ---------------------------------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    Write { at: u64, len: usize, fill: u8, direct: bool },
    Truncate { to: u64, by_loc: bool },
    Allocate { at: u64, len: u64, keep_size: bool },
    Punch { at: u64, len: u64 },
    Zero { at: u64, len: u64 },
    Read { at: u64, len: u32, direct: bool },
}

const SPAN: u64 = 400_000;

fn position() -> impl Strategy<Value = u64> {
    prop_oneof![0..SPAN, (0..SPAN / 4096).prop_map(|page| page * 4096), 0..100_u64]
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![1..5000_u64, (1..4_u64).prop_map(|pages| pages * 4096), 130_000..200_000_u64]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (position(), length(), 1..=255_u8, any::<bool>())
            .prop_map(|(at, len, fill, direct)| Step::Write { at, len: len as usize, fill, direct }),
        1 => (position(), any::<bool>()).prop_map(|(to, by_loc)| Step::Truncate { to, by_loc }),
        1 => (position(), length(), any::<bool>()).prop_map(|(at, len, keep_size)| Step::Allocate { at, len, keep_size }),
        1 => (position(), length()).prop_map(|(at, len)| Step::Punch { at, len }),
        1 => (position(), length()).prop_map(|(at, len)| Step::Zero { at, len }),
        3 => (position(), length(), any::<bool>())
            .prop_map(|(at, len, direct)| Step::Read { at, len: len as u32, direct }),
    ]
}

/// What a file must hold.
#[derive(Default)]
struct Model(Vec<u8>);

impl Model {
    fn fill(&mut self, at: u64, len: u64, byte: u8, grow: bool) {
        let (at, end) = (at as usize, (at + len) as usize);
        if grow && self.0.len() < end {
            self.0.resize(end, 0);
        }
        let end = end.min(self.0.len());
        if at < end {
            self.0[at..end].fill(byte);
        }
    }

    fn read(&self, at: u64, len: u32) -> &[u8] {
        let end = (at as usize + len as usize).min(self.0.len());
        self.0.get(at as usize..end).unwrap_or_default()
    }
}

async fn play(client: Client, id: Gfid, steps: &[Step]) {
    let fd = client.opened(id, RDWR).await.unwrap();
    let mut model = Model::default();
    for step in steps {
        let pre = model.0.len() as u64;
        let fd = Arc::clone(&fd);
        let direct = |direct: bool| if direct { libc::O_DIRECT as u32 } else { 0 };
        let sizes = match *step {
            Step::Write { at, len, fill, direct: past } => {
                let written =
                    client.wrote_asking(&fd, at, &vec![fill; len], direct(past), Xdata::NONE).await.unwrap();
                assert_eq!(written.count, len);
                model.fill(at, len as u64, fill, true);
                (written.pre.size, written.post.size)
            }
            Step::Truncate { to, by_loc } => {
                let changed = if by_loc {
                    let request = request::Truncate { loc: Loc::object(id), offset: to, xdata: Xdata::NONE };
                    client.truncate(request).await
                } else {
                    client.cut(&fd, to).await
                };
                model.0.resize(to as usize, 0);
                let changed = changed.unwrap();
                (changed.pre.size, changed.post.size)
            }
            Step::Allocate { at, len, keep_size } => {
                let mode = u32::from(keep_size);
                let request = request::Fallocate { fd, mode, offset: at, len, xdata: Xdata::NONE };
                let changed = client.fallocate(request).await.unwrap();
                if !keep_size && model.0.len() < (at + len) as usize {
                    model.0.resize((at + len) as usize, 0);
                }
                (changed.pre.size, changed.post.size)
            }
            Step::Punch { at, len } => {
                let request = request::Discard { fd, offset: at, len, xdata: Xdata::NONE };
                let changed = client.discard(request).await.unwrap();
                model.fill(at, len, 0, false);
                (changed.pre.size, changed.post.size)
            }
            Step::Zero { at, len } => {
                let request = request::Zerofill { fd, offset: at, len, xdata: Xdata::NONE };
                let changed = client.zerofill(request).await.unwrap();
                model.fill(at, len, 0, true);
                (changed.pre.size, changed.post.size)
            }
            Step::Read { at, len, direct: past } => {
                let flags = direct(past);
                let request = request::Readv { fd, size: len, offset: at, flags, xdata: Xdata::NONE };
                let read = client.readv(request).await.unwrap();
                assert!(*read.data == *model.read(at, len), "{step:?}");
                assert_eq!(read.eof, at + u64::from(len) >= pre);
                (pre, read.iatt.size)
            }
        };
        assert_eq!(sizes, (pre, model.0.len() as u64), "{step:?}");
    }
    let read = client.read_at(&fd, 0, 1 << 20).await.unwrap();
    assert!(*read.data == *model.0, "at the end");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_in_memory_hold_what_they_should(seed: u64, steps in prop::collection::vec(step(), 1..30)) {
        let (kit, id) = file_kit(seed);
        kit.sim.kernel().short_counts(100);
        kit.sim.kernel().cache_misses(200);
        kit.run(async |client| play(client, id, &steps).await);
    }
}

// --- on the real kernel ------------------------------------------------------------------------------------------------

/// A brick in a temporary directory; `None` (and a note) where this process may not make one.
pub(in crate::storage::posix) fn real_kit(
    seed: u64,
    options: &[(&str, &str)],
) -> Option<(Kit, tempfile::TempDir)> {
    let dir = tempfile::tempdir().unwrap();
    match Kit::try_on(seed, Linux::new(), dir.path().to_str().unwrap(), options) {
        Ok(kit) => Some((kit, dir)),
        Err(error) if std::os::unix::fs::MetadataExt::uid(&dir.path().metadata().unwrap()) != 0 => {
            eprintln!("not root, so not tested on the real kernel: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_real_kernel_agrees() {
    let Some((kit, _dir)) = real_kit(20, &[]) else { return };
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let next = std::cell::Cell::new(1_u8);
    runner
        .run(&prop::collection::vec(step(), 1..25), |steps| {
            let n = next.replace(next.get() + 1);
            plant(&kit.brick(), &format!("f{n}"), gfid(n));
            kit.run(async |client| play(client, gfid(n), &steps).await);
            Ok(())
        })
        .unwrap();
}

#[test]
fn past_the_page_cache_or_through_it_the_bytes_are_the_same() {
    for options in [&[][..], &[("o-direct", "on")]] {
        let Some((kit, _dir)) = real_kit(21, options) else { return };
        plant(&kit.brick(), "f", gfid(1));
        let id = gfid(1);
        kit.run(async |client| {
            let flags = RDWR | libc::O_DIRECT as u32;
            let fd = match client.opened(id, flags).await {
                Err(Errno::INVAL) => return eprintln!("no O_DIRECT in the temporary directory"),
                opened => opened.unwrap(),
            };
            let state = fd.storage::<PosixFd>().unwrap();
            assert!(state.direct().is_some());
            let data: Vec<u8> =
                (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
            assert_eq!(client.wrote(&fd, 0, &data).await.unwrap().count, data.len());
            // Memory that is not aligned.
            let mut unaligned = Buf::from_slice(&data[..4096 + 3]);
            unaligned.advance(3);
            let request = request::Writev {
                fd: Arc::clone(&fd),
                data: unaligned,
                offset: 0,
                flags: 0,
                xdata: Xdata::NONE,
            };
            assert_eq!(client.writev(request).await.unwrap().count, 4096);
            let mut expected = data.clone();
            expected.copy_within(3..4099, 0);
            for (at, piece) in
                [(5_u64, &b"odd"[..]), (1 << 20, b"tail"), (8192, &[7; 512]), (4096, &[9; 4096])]
            {
                assert_eq!(client.wrote(&fd, at, piece).await.unwrap().count, piece.len());
                let end = at as usize + piece.len();
                expected.resize(expected.len().max(end), 0);
                expected[at as usize..end].copy_from_slice(piece);
            }
            for (at, size) in [(0, 1 << 21), (0, 4096), (512, 1024), (1, 77), (8192, 512), (1 << 20, 4096)] {
                let read = client.read_at(&fd, at, size).await.unwrap();
                let end = (at as usize + size as usize).min(expected.len());
                assert!(*read.data == expected[at as usize..end], "{at} {size}");
                assert_eq!(read.eof, end == expected.len());
            }
        });
    }
}

#[test]
fn descriptors_do_not_leak_on_the_real_kernel() {
    let Some((kit, _dir)) = real_kit(22, &[]) else { return };
    plant(&kit.brick(), "f", gfid(1));
    kit.run(async |client| {
        let held = client.opened(gfid(1), RDWR).await.unwrap();
        let file = Arc::clone(&held.storage::<PosixFd>().unwrap().file);
        client.graph.release(&held);
        drop(held);
        client.core().sleep(Duration::from_secs(2)).await;
        assert_eq!(Arc::strong_count(&file), 1, "nobody else keeps the file");
    });
}

#[test]
fn a_writer_that_looked_before_another_does_not_take_the_times_back() {
    let (kit, id) = file_kit(31);
    let brick = kit.brick();
    kit.run(async |client| {
        let fd = client.at(50).opened(id, RDWR).await.unwrap();
        client.at(50).wrote(&fd, 0, b"made").await.unwrap();
        let (object, _) = brick.object(id).unwrap();
        // Both have looked; the one with the clock that is ahead stores its time first.
        let looked = brick.attrs_of(id, &object).unwrap();
        let store = |sec| {
            let mut attrs = looked;
            brick.move_times(brick.target(&object), &mut attrs, &client.at(sec).times, Role::Own);
            attrs.iatt.mtime.sec
        };
        assert_eq!((store(200), store(100)), (200, 200));
        assert_eq!(brick.attrs_of(id, &object).unwrap().iatt.mtime.sec, 200);
    });
}
