//! File operations through a real ring.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::ffi::CString;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{adopt, alone, open};
use kiln_uring::{
    AtFlags, Buf, Core, DataMode, Elapsed, Errno, File, How, OpenFlags, RenameFlags, Warmth, XattrFlags,
    placement::{Class, INLINE_WRITE_MAX},
};

/// Test directories on a disk file system and on tmpfs, as far as this machine has them.
fn directories() -> Vec<tempfile::TempDir> {
    [Path::new(env!("CARGO_TARGET_TMPDIR")), Path::new("/dev/shm")]
        .into_iter()
        .filter_map(|dir| tempfile::tempdir_in(dir).ok())
        .collect()
}

fn create(core: &Core, dir: &Path, name: &str) -> Arc<File> {
    open(core.sys(), &dir.join(name), OpenFlags::RDWR | OpenFlags::CREAT)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 4096) as u8).collect()
}

#[test]
fn what_was_written_is_read_back_on_every_file_system() {
    for dir in directories() {
        let path = dir.path().to_owned();
        alone(|core| async move {
            let file = create(&core, &path, "f");
            for len in [1, 4096, INLINE_WRITE_MAX, INLINE_WRITE_MAX + 1, 1 << 20, (1 << 20) + 77] {
                let data = pattern(len);
                let mut buf = core.buffer(len);
                buf.copy_from_slice(&data);
                let (written, _) = core.write(&file, buf, 5, DataMode::Buffered).await;
                assert_eq!(written, Ok(len));
                core.fsync(&file, false).await.unwrap();
                let (read, buf) = core.read(&file, core.buffer(len), 5, DataMode::Buffered).await;
                assert_eq!(read, Ok(len));
                assert!(*buf == *data, "{len} bytes differ");
            }
            let (read, _) = core.read(&file, core.buffer(100), 2 << 20, DataMode::Buffered).await;
            assert_eq!(read, Ok(0), "beyond the end");
            let (read, buf) = core.read(&file, Buf::empty(), 0, DataMode::Direct).await;
            assert_eq!((read, buf.len()), (Ok(0), 0));
            core.fsync(&file, true).await.unwrap();
        });
    }
}

#[test]
fn a_read_at_the_end_of_the_file_is_short() {
    for dir in directories() {
        let path = dir.path().to_owned();
        alone(|core| async move {
            let file = create(&core, &path, "f");
            core.write(&file, Buf::from_slice(b"0123456789"), 0, DataMode::Buffered).await.0.unwrap();
            let (read, buf) = core.read(&file, core.buffer(64), 4, DataMode::Buffered).await;
            assert_eq!(read, Ok(6));
            assert_eq!(&buf[..6], b"456789");
            assert_eq!(buf.len(), 64, "the length is the caller's");
        });
    }
}

#[test]
fn direct_io_works_with_pooled_and_with_heap_memory() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("direct");
    alone(|core| async move {
        let flags = OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::DIRECT;
        let file = open(core.sys(), &path, flags);
        let data = pattern(64 << 10);
        let mut pooled = core.buffer(64 << 10);
        assert!(pooled.is_pooled());
        pooled.copy_from_slice(&data);
        assert_eq!(core.write(&file, pooled, 0, DataMode::Direct).await.0, Ok(64 << 10));
        let mut heap = Buf::heap(64 << 10);
        assert!(!heap.is_pooled());
        heap.copy_from_slice(&data);
        assert_eq!(core.write(&file, heap, 64 << 10, DataMode::Direct).await.0, Ok(64 << 10));
        for (buf, offset) in [(core.buffer(64 << 10), 64 << 10), (Buf::heap(64 << 10), 0)] {
            let (read, buf) = core.read(&file, buf, offset, DataMode::Direct).await;
            assert_eq!(read, Ok(64 << 10));
            assert!(*buf == *data);
        }
        let (read, _) = core.read(&file, Buf::heap(100), 3, DataMode::Direct).await;
        assert_eq!(read.map(|_| ()), Err(Errno::INVAL), "the kernel's own complaint about alignment");
    });
}

#[test]
fn many_operations_in_flight_all_come_back() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().to_owned();
    alone(|core| async move {
        let file = create(&core, &path, "f");
        // More than the ring has entries.
        let tasks: Vec<_> = (0..1000_u64)
            .map(|i| {
                let (core, file) = (core.clone(), file.clone());
                core.clone().spawn_join(async move {
                    let mut buf = core.buffer(512);
                    buf.fill(i as u8);
                    core.write(&file, buf, i * 512, DataMode::Direct).await.0.unwrap();
                    core.fsync(&file, true).await.unwrap();
                    let (read, buf) = core.read(&file, core.buffer(512), i * 512, DataMode::Direct).await;
                    assert_eq!(read, Ok(512));
                    assert!(buf.iter().all(|&byte| byte == i as u8));
                    1
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await;
        }
        assert_eq!(done, 1000);
        assert_eq!(Arc::strong_count(&file), 1, "no operation keeps the file");
    });
}

#[test]
fn errors_come_back_as_the_kernels_number() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().to_owned();
    alone(|core| async move {
        create(&core, &path, "f");
        let file = open(core.sys(), &path.join("f"), OpenFlags::empty());
        let (written, buf) = core.write(&file, Buf::from_slice(b"x"), 0, DataMode::Buffered).await;
        assert_eq!((written, &*buf), (Err(Errno::BADF), &b"x"[..]));
        let (written, buf) = core.write(&file, Buf::from_slice(b"x"), 0, DataMode::Direct).await;
        assert_eq!((written, &*buf), (Err(Errno::BADF), &b"x"[..]));
        let directory = open(core.sys(), &path, OpenFlags::DIRECTORY);
        assert_eq!(core.read(&directory, core.buffer(8), 0, DataMode::Buffered).await.0, Err(Errno::ISDIR));
    });
}

#[test]
fn dropping_a_wait_cancels_and_frees_when_the_kernel_is_done() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    alone(move |core| async move {
        let pipe = adopt(core.sys(), reader);
        for _ in 0..50 {
            let buf = core.buffer(4096);
            let read =
                core.timeout(Duration::from_millis(1), core.read(&pipe, buf, 0, DataMode::Direct)).await;
            assert_eq!(read.map(|_| ()), Err(Elapsed));
        }
        // The cancellations are answered in a turn or two.
        for _ in 0..1000 {
            if Arc::strong_count(&pipe) == 1 {
                break;
            }
            core.sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(Arc::strong_count(&pipe), 1, "the kernel let go of every read");
        // A wait that is not dropped still gets its data.
        let (waiting, sleeper) = (core.clone(), core.clone());
        let source = pipe.clone();
        let read =
            core.spawn_join(
                async move { waiting.read(&source, waiting.buffer(4096), 0, DataMode::Direct).await },
            );
        sleeper.sleep(Duration::from_millis(5)).await;
        writer.write_all(b"late").unwrap();
        let (n, buf) = read.await;
        assert_eq!(n, Ok(4));
        assert_eq!(&buf[..4], b"late");
    });
}

#[test]
fn names_and_attributes_go_through_the_ring() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().to_owned();
    let name = |text: &str| CString::new(text).unwrap();
    alone(move |core| async move {
        let dir = open(core.sys(), &path, OpenFlags::DIRECTORY);
        let how = How::new(OpenFlags::RDWR | OpenFlags::CREAT | OpenFlags::EXCL).mode(0o640);
        let file = Arc::new(core.openat2(&dir, name("a"), how).await.unwrap());
        assert_eq!(core.openat2(&dir, name("a"), how).await.map(drop), Err(Errno::EXIST));
        core.fallocate(&file, 0, 0, 10_000).await.unwrap();
        core.ftruncate(&file, 9_000).await.unwrap();
        core.mkdir_at(&dir, name("d"), 0o755).await.unwrap();
        core.link_at(&dir, name("a"), &dir, name("b")).await.unwrap();
        core.symlink_at(name("a"), &dir, name("s")).await.unwrap();
        core.rename_at(&dir, name("b"), &dir, name("c"), RenameFlags::NOREPLACE).await.unwrap();
        let by_ring = core.stat(&file).await.unwrap();
        assert_eq!((by_ring.size, by_ring.nlink, by_ring.mode & 0o777), (9_000, 2, 0o640));
        let fd = file.fd();
        let by_call = core.run(Class::FdMetadata, Warmth::Warm, move |sys| sys.stat(fd)).await.unwrap();
        assert_eq!(by_ring, by_call, "both ways give the same record");
        assert!(core.stat_at(&dir, name("s")).await.unwrap().is_symlink());
        assert_eq!(core.stat_at(&dir, name("b")).await.map(drop), Err(Errno::NOENT));
        let key = || name("user.kiln");
        match core.setxattr(&file, key(), Buf::from_slice(b"value"), XattrFlags::CREATE).await {
            Err(Errno::OPNOTSUPP) => {}
            other => {
                other.unwrap();
                let (len, value) = core.getxattr(&file, key(), core.buffer(100)).await;
                assert_eq!(&value[..len.unwrap()], b"value");
                let (len, _) = core.getxattr(&file, name("user.none"), core.buffer(100)).await;
                assert_eq!(len, Err(Errno::NODATA));
            }
        }
        core.unlink_at(&dir, name("c"), AtFlags::empty()).await.unwrap();
        core.unlink_at(&dir, name("d"), AtFlags::REMOVEDIR).await.unwrap();
        assert_eq!(core.stat(&file).await.unwrap().nlink, 1);
    });
}

#[test]
fn a_read_that_is_cached_in_part_or_not_at_all_is_whole() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("f");
    alone(|core| async move {
        let data = pattern(1 << 20);
        std::fs::write(&path, &data).unwrap();
        let twin = std::fs::File::open(&path).unwrap();
        let file = open(core.sys(), &path, OpenFlags::empty());
        for warm in [None, Some(0), Some(500_000)] {
            twin.sync_all().unwrap();
            rustix::fs::fadvise(&twin, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            if let Some(offset) = warm {
                let (n, _) = core.read(&file, core.buffer(10), offset, DataMode::Buffered).await;
                assert_eq!(n, Ok(10));
            }
            let (n, buf) = core.read(&file, Buf::heap(data.len() + 50), 0, DataMode::Buffered).await;
            assert_eq!(n, Ok(data.len()), "warm at {warm:?}");
            assert!(buf[..data.len()] == *data);
        }
    });
}
