//! What only the file system in memory can do: its clock, its limits, its caches, faults and power cuts.

#![allow(clippy::unwrap_used, reason = "a test may stop wherever something is wrong")]

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::sim::MemFs;
use kiln_uring::sys::{
    AtFlags, Errno, File, How, OpenFlags, RawFd, ReadFlags, RenameFlags, Resolve, Sys, SysResult, Timespec,
    XattrFlags, XattrTarget,
};
use proptest::prelude::*;

const ROOT: RawFd = libc::AT_FDCWD;

fn open(fs: &Arc<MemFs>, path: &CStr, flags: OpenFlags) -> SysResult<File> {
    let fd = fs.openat2(ROOT, path, How::new(flags).mode(0o644))?;
    Ok(File::new(Arc::<MemFs>::clone(fs), fd))
}

fn create(fs: &Arc<MemFs>, path: &CStr, content: &[u8]) -> File {
    let file = open(fs, path, OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
    assert_eq!(fs.pwrite(file.fd(), content, 0), Ok(content.len()));
    file
}

fn content(fs: &Arc<MemFs>, path: &CStr) -> Vec<u8> {
    let file = open(fs, path, OpenFlags::empty()).unwrap();
    let mut content = vec![0; fs.stat(file.fd()).unwrap().size as usize];
    assert_eq!(fs.pread(file.fd(), &mut content, 0, ReadFlags::empty()), Ok(content.len()));
    content
}

/// What is left when no transaction that may be lost survives, and what when all do.
fn extremes(fs: &MemFs, count: impl Fn(&MemFs) -> usize) -> (usize, usize) {
    let counts: Vec<_> = (0..200).map(|seed| count(&fs.crash(seed))).collect();
    (*counts.iter().min().unwrap(), *counts.iter().max().unwrap())
}

#[test]
fn the_clock_stands_still_until_it_is_moved() {
    let fs = MemFs::new();
    let (start, monotonic) = (fs.realtime(), fs.monotonic());
    create(&fs, c"a", b"x");
    assert_eq!((fs.realtime(), fs.monotonic()), (start, monotonic));
    assert_eq!(fs.stat_at(ROOT, c"a").unwrap().mtime, start);
    fs.advance(Duration::new(2, 999_999_999));
    fs.advance(Duration::from_nanos(2));
    let moved = Timespec { sec: start.sec + 3, nsec: 1 };
    assert_eq!((fs.realtime(), fs.monotonic()), (moved, monotonic + 3_000_000_001));
    fs.set_time(Timespec { sec: -5, nsec: 7 }, 11);
    create(&fs, c"b", b"x");
    assert_eq!(fs.stat_at(ROOT, c"b").unwrap().ctime, Timespec { sec: -5, nsec: 7 });
    assert_eq!(fs.monotonic(), 11);
}

#[test]
fn random_numbers_come_from_the_seed() {
    let draw = |fs: &MemFs| {
        let mut bytes = [0; 13];
        fs.random(&mut bytes);
        bytes
    };
    let (one, two) = (MemFs::with_seed(7), MemFs::with_seed(7));
    let first = draw(&one);
    assert_eq!(first, draw(&two));
    assert_ne!(first, draw(&one));
    one.set_seed(7);
    assert_eq!(first, draw(&one));
    assert_ne!(first, draw(&MemFs::with_seed(8)));
}

#[test]
fn space_and_objects_run_out() {
    let fs = MemFs::new();
    fs.set_capacity(3, 4);
    let root = open(&fs, c"/", OpenFlags::DIRECTORY).unwrap();
    let a = create(&fs, c"a", &[1; 4096]);
    assert_eq!(fs.statfs(root.fd()).unwrap().bfree, 2);
    // As much as fits is written.
    assert_eq!(fs.pwrite(a.fd(), &[2; 20_000], 4096), Ok(8192));
    assert_eq!(fs.pwrite(a.fd(), &[2; 1], 1 << 20), Err(Errno::NOSPC));
    assert_eq!(fs.pwrite(a.fd(), &[3; 100], 0), Ok(100));
    assert_eq!(fs.fallocate(a.fd(), 0, 0, 4 * 4096), Err(Errno::NOSPC));
    assert_eq!(fs.stat(a.fd()).unwrap().size, 3 * 4096);
    fs.ftruncate(a.fd(), 5000).unwrap();
    assert_eq!(fs.statfs(root.fd()).unwrap().bfree, 1);
    fs.mkdir_at(ROOT, c"d", 0o700).unwrap();
    fs.symlink_at(c"t", ROOT, c"s").unwrap();
    assert_eq!(fs.statfs(root.fd()).unwrap().ffree, 0);
    assert_eq!(fs.mkdir_at(ROOT, c"e", 0o700), Err(Errno::NOSPC));
    assert_eq!(open(&fs, c"f", OpenFlags::CREAT).unwrap_err(), Errno::NOSPC);
    assert_eq!(open(&fs, c".", OpenFlags::TMPFILE | OpenFlags::RDWR).unwrap_err(), Errno::NOSPC);
    fs.link_at(ROOT, c"a", ROOT, c"b").unwrap();
    // The space of an unlinked file comes back with its last descriptor.
    fs.unlink_at(ROOT, c"a", AtFlags::empty()).unwrap();
    fs.unlink_at(ROOT, c"b", AtFlags::empty()).unwrap();
    assert_eq!(fs.statfs(root.fd()).unwrap().bfree, 1);
    drop(a);
    let figures = fs.statfs(root.fd()).unwrap();
    assert_eq!((figures.bfree, figures.ffree), (3, 1));
    assert!(fs.is_consistent());
}

#[test]
fn attributes_run_out_of_room() {
    let fs = MemFs::new();
    fs.set_xattr_room(100);
    create(&fs, c"a", b"");
    let a = XattrTarget::At(ROOT, c"a");
    let set = |name, len| fs.setxattr(a, name, &vec![0; len], XattrFlags::empty());
    set(c"user.one", 80).unwrap();
    assert_eq!(set(c"user.two", 20), Err(Errno::NOSPC));
    set(c"user.one", 92).unwrap();
    assert_eq!(set(c"user.one", 93), Err(Errno::NOSPC));
    fs.removexattr(a, c"user.one").unwrap();
    set(c"user.two", 20).unwrap();
}

#[test]
fn descriptors_are_the_lowest_free_ones() {
    let fs = MemFs::new();
    let (a, b, c) = (create(&fs, c"a", b""), create(&fs, c"b", b""), create(&fs, c"c", b""));
    assert_eq!([b.fd() - a.fd(), c.fd() - b.fd()], [1, 1]);
    // The real kernel knows nothing of them.
    assert_eq!(kiln_uring::sys::linux::Linux::new().stat(a.fd()), Err(Errno::BADF));
    let free = b.fd();
    drop(b);
    assert_eq!(create(&fs, c"d", b"").fd(), free);
    assert!(!fs.is_real());
}

#[test]
fn cold_objects_answer_again() {
    let fs = MemFs::new();
    fs.mkdir_at(ROOT, c"d", 0o700).unwrap();
    let file = create(&fs, c"d/f", b"data");
    let cached = |path| {
        fs.openat2(ROOT, path, How::new(OpenFlags::PATH).resolve(Resolve::CACHED)).map(|fd| fs.close(fd))
    };
    let nowait = |file: &File| fs.pread(file.fd(), &mut [0; 4], 0, ReadFlags::NOWAIT);
    assert_eq!((cached(c"d/f"), nowait(&file)), (Ok(()), Ok(4)));
    fs.drop_caches();
    assert_eq!((cached(c"d/f"), nowait(&file)), (Err(Errno::AGAIN), Err(Errno::AGAIN)));
    fs.stat_at(ROOT, c"d").unwrap();
    assert_eq!(cached(c"d"), Ok(()));
    assert_eq!(cached(c"d/f"), Err(Errno::AGAIN));
    assert_eq!(cached(c"d/gone"), Err(Errno::NOENT));
    fs.stat_at(ROOT, c"d/f").unwrap();
    assert_eq!(cached(c"d/f"), Ok(()));
    assert_eq!(fs.pread(file.fd(), &mut [0; 4], 0, ReadFlags::empty()), Ok(4));
    assert_eq!(nowait(&file), Ok(4));
    fs.make_cold(fs.stat(file.fd()).unwrap().ino);
    assert_eq!((cached(c"d"), cached(c"d/f")), (Ok(()), Err(Errno::AGAIN)));
}

#[test]
fn calls_fail_when_told_to() {
    let fs = MemFs::new();
    let file = create(&fs, c"a", b"");
    let before = fs.calls("pwrite");
    fs.fail("pwrite", 2, Errno::IO);
    fs.shorten("pwrite", 3, 2);
    fs.fail("mkdir_at", 1, Errno::DQUOT);
    assert_eq!(fs.pending_faults(), 3);
    assert_eq!(fs.pwrite(file.fd(), b"one", 0), Ok(3));
    assert_eq!(fs.pwrite(file.fd(), b"two", 0), Err(Errno::IO));
    assert_eq!(content(&fs, c"a"), b"one");
    assert_eq!(fs.pwrite(file.fd(), b"three", 0), Ok(2));
    assert_eq!(fs.pwrite(file.fd(), b"four", 0), Ok(4));
    assert_eq!(fs.mkdir_at(ROOT, c"d", 0o700), Err(Errno::DQUOT));
    assert_eq!(fs.stat_at(ROOT, c"d"), Err(Errno::NOENT));
    assert_eq!(fs.mkdir_at(ROOT, c"d", 0o700), Ok(()));
    assert_eq!((fs.calls("pwrite") - before, fs.pending_faults()), (4, 0));
    fs.shorten("pread", 1, 1);
    assert_eq!(fs.pread(file.fd(), &mut [0; 8], 0, ReadFlags::empty()), Ok(1));
}

#[test]
#[should_panic(expected = "there is no operation")]
fn a_fault_that_could_never_happen_is_refused() {
    MemFs::new().fail("write", 1, Errno::IO);
}

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let fs = MemFs::new();
    let synced = create(&fs, c"synced", b"old");
    fs.fsync(synced.fd(), false).unwrap();
    assert_eq!(fs.pwrite(synced.fd(), b"newer", 0), Ok(5));
    let never = create(&fs, c"never", b"content");
    for seed in 0..50 {
        let after = fs.crash(seed);
        assert_eq!(content(&after, c"synced"), b"old");
        if after.stat_at(ROOT, c"never").is_ok() {
            assert_eq!(content(&after, c"never"), b"");
        }
        assert!(after.is_consistent());
        assert_eq!(after.open_files(), 0);
    }
    assert_eq!(extremes(&fs, |fs| usize::from(fs.stat_at(ROOT, c"never").is_ok())), (0, 1));
    fs.fsync(never.fd(), true).unwrap();
    assert_eq!(content(&fs.crash(1), c"never"), b"content");
    // What was there goes on as if nothing had happened.
    assert_eq!(content(&fs, c"synced"), b"newer");
    // A file without a name does not come back, not even when synced.
    let unnamed = open(&fs, c".", OpenFlags::TMPFILE | OpenFlags::RDWR).unwrap();
    fs.fsync(unnamed.fd(), false).unwrap();
    let root = open(&fs, c"/", OpenFlags::DIRECTORY).unwrap();
    let left = fs.crash(0);
    assert_eq!(
        left.statfs(open(&left, c"/", OpenFlags::DIRECTORY).unwrap().fd()).unwrap().ffree,
        (1 << 24) - 3
    );
    fs.unlink_at(ROOT, c"synced", AtFlags::empty()).unwrap();
    fs.syncfs(root.fd()).unwrap();
    assert_eq!(fs.crash(3).stat_at(ROOT, c"synced"), Err(Errno::NOENT));
}

#[test]
fn what_survives_a_power_cut_is_a_prefix() {
    let fs = MemFs::new();
    let name = |i: usize| CString::new(format!("file-{i:02}")).unwrap();
    for i in 0..40 {
        create(&fs, &name(i), b"x");
    }
    let survivors = |fs: &MemFs| (0..40).filter(|&i| fs.stat_at(ROOT, &name(i)).is_ok()).count();
    for seed in 0..100 {
        let after = fs.crash(seed);
        let count = survivors(&after);
        assert!((0..count).all(|i| after.stat_at(ROOT, &name(i)).is_ok()), "a hole in the past");
        assert_eq!(survivors(&fs.crash(seed)), count, "the same seed, another outcome");
    }
    assert_eq!(extremes(&fs, survivors), (0, 40));
    // Syncing one makes durable what came before it.
    let file = open(&fs, &name(20), OpenFlags::empty()).unwrap();
    fs.fsync(file.fd(), false).unwrap();
    assert_eq!(extremes(&fs, survivors), (21, 40));
}

#[test]
fn a_rename_is_never_torn_by_a_power_cut() {
    let fs = MemFs::new();
    let root = open(&fs, c"/", OpenFlags::DIRECTORY).unwrap();
    fs.mkdir_at(ROOT, c"d", 0o700).unwrap();
    create(&fs, c"a", b"");
    fs.syncfs(root.fd()).unwrap();
    fs.rename_at(ROOT, c"a", ROOT, c"d/b", RenameFlags::empty()).unwrap();
    let moved = |fs: &MemFs| {
        let (old, new) = (fs.stat_at(ROOT, c"a").is_ok(), fs.stat_at(ROOT, c"d/b").is_ok());
        assert_ne!(old, new, "in both places or in none");
        usize::from(new)
    };
    assert_eq!(extremes(&fs, moved), (0, 1));
    let d = open(&fs, c"d", OpenFlags::DIRECTORY).unwrap();
    fs.fsync(d.fd(), false).unwrap();
    assert_eq!(extremes(&fs, moved), (1, 1));
}

#[test]
fn numbers_are_reused_and_handles_notice() {
    let fs = MemFs::new();
    let root = open(&fs, c"/", OpenFlags::DIRECTORY).unwrap();
    create(&fs, c"a", b"a");
    let (ino, handle) = (fs.stat_at(ROOT, c"a").unwrap().ino, fs.name_to_handle(ROOT, c"a").unwrap());
    fs.unlink_at(ROOT, c"a", AtFlags::empty()).unwrap();
    create(&fs, c"b", b"b");
    assert_eq!(fs.stat_at(ROOT, c"b").unwrap().ino, ino);
    assert_eq!(fs.open_by_handle(root.fd(), &handle, OpenFlags::empty()), Err(Errno::STALE));
    // The same after a power cut that undid the creation.
    let second = fs.name_to_handle(ROOT, c"b").unwrap();
    fs.unlink_at(ROOT, c"b", AtFlags::empty()).unwrap();
    fs.syncfs(root.fd()).unwrap();
    let after = fs.crash(0);
    create(&after, c"c", b"c");
    assert_eq!(after.stat_at(ROOT, c"c").unwrap().ino, ino);
    assert_eq!(after.open_by_handle(ROOT, &second, OpenFlags::empty()), Err(Errno::STALE));
    let third = after.name_to_handle(ROOT, c"c").unwrap();
    after.close(after.open_by_handle(ROOT, &third, OpenFlags::empty()).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was done and whenever the power goes: what is left is consistent, and stays so when used.
    #[test]
    fn any_power_cut_leaves_a_consistent_tree(
        steps in prop::collection::vec((0_u8..9, 0_usize..8, 0_usize..8), 1..60),
        seed in any::<u64>(),
    ) {
        const PATHS: [&CStr; 8] = [c"a", c"b", c"a/a", c"a/b", c"b/a", c"a/a/c", c"b/d", c"c"];
        let fs = MemFs::new();
        for (step, one, two) in steps {
            let (one, two) = (PATHS[one], PATHS[two]);
            // Many of these fail, which is as good.
            let _ = match step {
                0 => fs.mkdir_at(ROOT, one, 0o755),
                1 => open(&fs, one, OpenFlags::CREAT | OpenFlags::RDWR)
                    .and_then(|file| fs.pwrite(file.fd(), b"data", 0)).map(drop),
                2 => fs.unlink_at(ROOT, one, AtFlags::empty()),
                3 => fs.unlink_at(ROOT, one, AtFlags::REMOVEDIR),
                4 => fs.rename_at(ROOT, one, ROOT, two, RenameFlags::empty()),
                5 => fs.rename_at(ROOT, one, ROOT, two, RenameFlags::EXCHANGE),
                6 => fs.link_at(ROOT, one, ROOT, two),
                7 => fs.symlink_at(one, ROOT, two),
                _ => open(&fs, one, OpenFlags::empty()).and_then(|file| fs.fsync(file.fd(), false)),
            };
        }
        prop_assert!(fs.is_consistent());
        let after = fs.crash(seed);
        prop_assert!(after.is_consistent());
        for path in PATHS {
            let _ = after.mkdir_at(ROOT, path, 0o700);
        }
        prop_assert!(after.is_consistent());
        prop_assert!(after.crash(seed).is_consistent());
    }
}
