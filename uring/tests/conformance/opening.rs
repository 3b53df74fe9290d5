//! `openat2` and the walk, handles, locks.

use kiln_uring::sys::{Errno, How, OpenFlags, Resolve, XattrTarget};

use super::bed::{Bed, RDONLY};

pub fn creates_and_finds(bed: &Bed) {
    let file = bed.open_how(c"a", How::new(OpenFlags::CREAT | OpenFlags::WRONLY).mode(0o4640)).unwrap();
    let st = bed.sys.stat(file.fd()).unwrap();
    assert_eq!(st.mode, libc::S_IFREG | 0o4640);
    assert_eq!((st.nlink, st.size, st.blocks), (1, 0, 0));
    assert_eq!(bed.stat(c"a").unwrap(), st);
    assert_eq!(st.dev, bed.sys.stat(bed.fd()).unwrap().dev);
    // Again: found, the mode is left alone.
    bed.open_how(c"a", How::new(OpenFlags::CREAT).mode(0o777)).unwrap();
    assert_eq!(bed.stat(c"a").unwrap().mode, libc::S_IFREG | 0o4640);
    assert_eq!(bed.open(c"a", OpenFlags::CREAT | OpenFlags::EXCL).unwrap_err(), Errno::EXIST);
    assert_eq!(bed.open(c"b", RDONLY).unwrap_err(), Errno::NOENT);
    assert_eq!(bed.open(c"", RDONLY).unwrap_err(), Errno::NOENT);
    assert_eq!(bed.open(c"a/", RDONLY).unwrap_err(), Errno::NOTDIR);
    assert_eq!(bed.open(c"a/b", RDONLY).unwrap_err(), Errno::NOTDIR);
    assert_eq!(bed.open(c"x/b", OpenFlags::CREAT).unwrap_err(), Errno::NOENT);
    assert_eq!(bed.open(c"x/", OpenFlags::CREAT).unwrap_err(), Errno::ISDIR);
    assert_eq!(bed.open(c".", OpenFlags::CREAT).unwrap_err(), Errno::ISDIR);
    assert_eq!(bed.open(c".", OpenFlags::CREAT | OpenFlags::EXCL).unwrap_err(), Errno::EXIST);
    assert_eq!(bed.open(c"a", OpenFlags::DIRECTORY).unwrap_err(), Errno::NOTDIR);
    assert_eq!(bed.open(c".", OpenFlags::WRONLY).unwrap_err(), Errno::ISDIR);
    assert_eq!(bed.open(c".", OpenFlags::TRUNC).unwrap_err(), Errno::ISDIR);
    // A mode that makes no sense without creating does no harm.
    bed.open_how(c"a", How::new(RDONLY).mode(0o644)).unwrap();
    assert_eq!(bed.sys.openat2(-1, c"a", How::default()).unwrap_err(), Errno::BADF);
    assert_eq!(bed.sys.openat2(999_999, c"a", How::default()).unwrap_err(), Errno::BADF);
    assert_eq!(bed.sys.openat2(file.fd(), c"a", How::default()).unwrap_err(), Errno::NOTDIR);
}

pub fn refuses_nonsense_flags(bed: &Bed) {
    bed.file(c"a", b"");
    for flags in [
        OpenFlags::CREAT | OpenFlags::DIRECTORY,
        OpenFlags::PATH | OpenFlags::CREAT,
        OpenFlags::PATH | OpenFlags::RDWR,
        OpenFlags::from_bits_retain(1 << 30),
        OpenFlags::TMPFILE,
        OpenFlags::TMPFILE | OpenFlags::CREAT | OpenFlags::RDWR,
    ] {
        assert_eq!(bed.open(c"a", flags).unwrap_err(), Errno::INVAL, "{flags:?}");
    }
    let how = How::new(RDONLY).resolve(Resolve::from_bits_retain(1 << 20));
    assert_eq!(bed.open_how(c"a", how).unwrap_err(), Errno::INVAL);
}

pub fn limits_names_and_paths(bed: &Bed) {
    let name = |len| std::ffi::CString::new(vec![b'n'; len]).unwrap();
    bed.open(&name(255), OpenFlags::CREAT).unwrap();
    assert_eq!(bed.open(&name(256), OpenFlags::CREAT).unwrap_err(), Errno::NAMETOOLONG);
    assert_eq!(bed.stat(&name(256)).unwrap_err(), Errno::NAMETOOLONG);
    assert_eq!(bed.mkdir(&name(256)).unwrap_err(), Errno::NAMETOOLONG);
    let path = |len: usize| std::ffi::CString::new(b"./".repeat(len / 2 - 1).as_slice()).unwrap();
    bed.open(&path(4094), RDONLY).unwrap();
    assert_eq!(bed.open(&path(4100), RDONLY).unwrap_err(), Errno::NAMETOOLONG);
}

pub fn follows_links_within_bounds(bed: &Bed) {
    bed.mkdir(c"d").unwrap();
    bed.file(c"d/f", b"content");
    bed.symlink(c"d/f", c"to-file");
    bed.symlink(c"d", c"to-dir");
    bed.symlink(c"nowhere", c"dangling");
    bed.symlink(c"loop", c"loop");
    bed.symlink(c"../d/f", c"d/up");
    assert_eq!(bed.content(&bed.open(c"to-file", RDONLY).unwrap()), b"content");
    assert_eq!(bed.content(&bed.open(c"to-dir/up", RDONLY).unwrap()), b"content");
    assert!(bed.stat(c"to-dir").unwrap().is_symlink());
    assert!(bed.stat(c"to-dir/").unwrap().is_dir());
    assert_eq!(bed.stat(c"to-file/").unwrap_err(), Errno::NOTDIR);
    assert_eq!(bed.open(c"dangling", RDONLY).unwrap_err(), Errno::NOENT);
    assert_eq!(bed.open(c"loop", RDONLY).unwrap_err(), Errno::LOOP);
    assert_eq!(bed.open(c"loop/x", RDONLY).unwrap_err(), Errno::LOOP);
    assert_eq!(bed.open(c"to-file", OpenFlags::NOFOLLOW).unwrap_err(), Errno::LOOP);
    assert_eq!(bed.open(c"to-dir", OpenFlags::NOFOLLOW | OpenFlags::DIRECTORY).unwrap_err(), Errno::NOTDIR);
    assert_eq!(bed.open(c"to-file", OpenFlags::CREAT | OpenFlags::EXCL).unwrap_err(), Errno::EXIST);
    // Creating goes through a link that leads nowhere yet.
    bed.open(c"dangling", OpenFlags::CREAT).unwrap();
    assert!(bed.stat(c"nowhere").unwrap().is_file());
    let link = bed.open(c"to-file", OpenFlags::PATH | OpenFlags::NOFOLLOW).unwrap();
    let st = bed.sys.stat(link.fd()).unwrap();
    assert!(st.is_symlink());
    assert_eq!((st.size, st.mode & 0o7777), (3, 0o777));
    assert_eq!(bed.sys.readlink_at(link.fd(), c"").unwrap(), b"d/f");
    assert_eq!(bed.sys.readlink_at(bed.fd(), c"to-file").unwrap(), b"d/f");
    assert_eq!(bed.sys.readlink_at(bed.fd(), c"d").unwrap_err(), Errno::INVAL);
    assert_eq!(bed.sys.readlink_at(bed.fd(), c"gone").unwrap_err(), Errno::NOENT);
    assert_eq!(bed.sys.readlink_at(bed.fd(), c"").unwrap_err(), Errno::NOENT);
    // Forty links are followed, one more is not.
    bed.symlink(c"d", c"s0");
    for i in 1..=40 {
        let (from, to) = (format!("s{}", i - 1), format!("s{i}"));
        bed.symlink(&std::ffi::CString::new(from).unwrap(), &std::ffi::CString::new(to).unwrap());
    }
    bed.open(c"s39", OpenFlags::DIRECTORY).unwrap();
    assert_eq!(bed.open(c"s40", OpenFlags::DIRECTORY).unwrap_err(), Errno::LOOP);
}

pub fn keeps_to_the_rules_of_the_walk(bed: &Bed) {
    bed.mkdir(c"d").unwrap();
    bed.mkdir(c"d/e").unwrap();
    bed.file(c"f", b"");
    bed.symlink(c"e", c"d/link");
    bed.symlink(c"../f", c"d/out");
    bed.symlink(c"/", c"d/slash");
    let d = bed.open(c"d", OpenFlags::PATH | OpenFlags::DIRECTORY).unwrap();
    let try_open = |path, resolve, flags| {
        bed.sys.openat2(d.fd(), path, How::new(flags).resolve(resolve)).map(|fd| bed.sys.close(fd))
    };
    let beneath = Resolve::BENEATH;
    for path in [c"e", c"e/..", c"e/../e", c"link", c".", c"link/../e"] {
        assert_eq!(try_open(path, beneath, RDONLY), Ok(()), "{path:?}");
    }
    for path in [c"..", c"../d", c"/", c"out", c"slash", c"e/../..", c"/d/e"] {
        assert_eq!(try_open(path, beneath, RDONLY), Err(Errno::XDEV), "{path:?}");
    }
    let plain = Resolve::NO_SYMLINKS;
    assert_eq!(try_open(c"e", plain, RDONLY), Ok(()));
    assert_eq!(try_open(c"..", plain, RDONLY), Ok(()));
    assert_eq!(try_open(c"link", plain, RDONLY), Err(Errno::LOOP));
    assert_eq!(try_open(c"link/.", plain, RDONLY), Err(Errno::LOOP));
    assert_eq!(try_open(c"link", plain, OpenFlags::PATH | OpenFlags::NOFOLLOW), Ok(()));
    // What has just been walked is in the cache; what would change something never is.
    assert_eq!(try_open(c"e", Resolve::CACHED, RDONLY), Ok(()));
    assert_eq!(try_open(c"e", Resolve::CACHED, OpenFlags::CREAT), Err(Errno::AGAIN));
    assert_eq!(try_open(c"e", Resolve::CACHED, OpenFlags::TRUNC | OpenFlags::WRONLY), Err(Errno::AGAIN));
    assert_eq!(try_open(c"e", Resolve::NO_XDEV | Resolve::NO_MAGICLINKS, RDONLY), Ok(()));
}

pub fn truncates_on_open(bed: &Bed) {
    let file = bed.file(c"a", b"something");
    bed.tick();
    let before = bed.stat(c"a").unwrap();
    bed.open(c"a", OpenFlags::WRONLY | OpenFlags::TRUNC).unwrap();
    let after = bed.sys.stat(file.fd()).unwrap();
    assert_eq!((after.size, after.blocks), (0, 0));
    assert!(after.mtime > before.mtime && after.ctime > before.ctime);
}

pub fn places_are_not_for_io(bed: &Bed) {
    use kiln_uring::sys::{ReadFlags, SeekFrom, TimeSet};
    bed.file(c"a", b"x");
    let place = bed.open(c"a", OpenFlags::PATH).unwrap();
    let (sys, fd) = (&bed.sys, place.fd());
    assert!(sys.stat(fd).unwrap().is_file());
    assert!(sys.statfs(fd).is_ok());
    assert_eq!(sys.pread(fd, &mut [0], 0, ReadFlags::empty()), Err(Errno::BADF));
    assert_eq!(sys.pwrite(fd, &[0], 0), Err(Errno::BADF));
    assert_eq!(sys.ftruncate(fd, 0), Err(Errno::BADF));
    assert_eq!(sys.fallocate(fd, 0, 0, 1), Err(Errno::BADF));
    assert_eq!(sys.seek(fd, SeekFrom::Start(0)), Err(Errno::BADF));
    assert_eq!(sys.fsync(fd, false), Err(Errno::BADF));
    assert_eq!(sys.fsync(fd, true), Err(Errno::BADF));
    assert_eq!(sys.syncfs(fd), Err(Errno::BADF));
    assert_eq!(sys.chmod(fd, 0o600), Err(Errno::BADF));
    assert_eq!(sys.set_times(fd, TimeSet::Now, TimeSet::Now), Err(Errno::BADF));
    assert_eq!(sys.lock_exclusive(fd), Err(Errno::BADF));
    assert_eq!(sys.set_flags(fd, OpenFlags::APPEND), Err(Errno::BADF));
    assert_eq!(sys.read_dir(fd, 0, 100).unwrap_err(), Errno::BADF);
    assert_eq!(bed.get(XattrTarget::Fd(fd), c"user.x"), Err(Errno::BADF));
    assert_eq!(bed.set(XattrTarget::Fd(fd), c"user.x", b""), Err(Errno::BADF));
    assert_eq!(bed.list(XattrTarget::Fd(fd)), Err(Errno::BADF));
    assert_eq!(sys.removexattr(XattrTarget::Fd(fd), c"user.x"), Err(Errno::BADF));
    if bed.is_root() {
        assert_eq!(sys.chown(fd, 12, 34), Ok(()));
        let st = sys.stat(fd).unwrap();
        assert_eq!((st.uid, st.gid), (12, 34));
    }
}

pub fn special_files_open_or_not(bed: &Bed) {
    let (sys, dir) = (&bed.sys, bed.fd());
    sys.mknod_at(dir, c"fifo", libc::S_IFIFO | 0o600, 0).unwrap();
    sys.mknod_at(dir, c"sock", libc::S_IFSOCK | 0o600, 0).unwrap();
    assert_eq!(bed.open(c"fifo", OpenFlags::WRONLY | OpenFlags::NONBLOCK).unwrap_err(), Errno::NXIO);
    let fifo = bed.open(c"fifo", OpenFlags::NONBLOCK).unwrap();
    bed.open(c"fifo", OpenFlags::WRONLY | OpenFlags::NONBLOCK).unwrap();
    let flags = kiln_uring::sys::ReadFlags::empty();
    assert_eq!(sys.pread(fifo.fd(), &mut [0], 0, flags), Err(Errno::SPIPE));
    assert_eq!(sys.seek(fifo.fd(), kiln_uring::sys::SeekFrom::Start(0)), Err(Errno::SPIPE));
    assert_eq!(sys.fsync(fifo.fd(), false), Err(Errno::INVAL));
    assert_eq!(bed.open(c"sock", RDONLY).unwrap_err(), Errno::NXIO);
    bed.open(c"sock", OpenFlags::PATH).unwrap();
}

pub fn unnamed_files_get_names(bed: &Bed) {
    bed.mkdir(c"d").unwrap();
    let how = How::new(OpenFlags::TMPFILE | OpenFlags::RDWR).mode(0o640);
    let file = bed.open_how(c"d", how).unwrap();
    let st = bed.sys.stat(file.fd()).unwrap();
    assert_eq!((st.nlink, st.mode), (0, libc::S_IFREG | 0o640));
    assert_eq!(bed.sys.pwrite(file.fd(), b"abc", 0), Ok(3));
    assert_eq!(bed.names(c"d"), [".", ".."]);
    bed.sys.link_fd(file.fd(), bed.fd(), c"d/a").unwrap();
    bed.sys.link_fd(file.fd(), bed.fd(), c"b").unwrap();
    assert_eq!(bed.sys.stat(file.fd()).unwrap().nlink, 2);
    assert_eq!(bed.sys.link_fd(file.fd(), bed.fd(), c"b").unwrap_err(), Errno::EXIST);
    assert_eq!(bed.content(&bed.open(c"d/a", RDONLY).unwrap()), b"abc");
    // Once it has lost its names it gets no new one.
    bed.unlink(c"b").unwrap();
    bed.unlink(c"d/a").unwrap();
    assert_eq!(bed.sys.stat(file.fd()).unwrap().nlink, 0);
    assert_eq!(bed.content(&file), b"abc");
    assert_eq!(bed.sys.link_fd(file.fd(), bed.fd(), c"b").unwrap_err(), Errno::NOENT);
    let secret = How::new(OpenFlags::TMPFILE | OpenFlags::WRONLY | OpenFlags::EXCL);
    let secret = bed.open_how(c".", secret).unwrap();
    assert_eq!(bed.sys.link_fd(secret.fd(), bed.fd(), c"b").unwrap_err(), Errno::NOENT);
    bed.file(c"f", b"");
    assert_eq!(bed.open_how(c"f", how).unwrap_err(), Errno::NOTDIR);
    assert_eq!(bed.open_how(c"gone", how).unwrap_err(), Errno::NOENT);
}

pub fn handles_outlive_names(bed: &Bed) {
    if !bed.is_root() {
        return;
    }
    let file = bed.file(c"a", b"abc");
    bed.mkdir(c"d").unwrap();
    bed.symlink(c"a", c"s");
    let (sys, dir) = (&bed.sys, bed.fd());
    let handle = sys.name_to_handle(dir, c"a").unwrap();
    assert_eq!(handle, sys.name_to_handle(file.fd(), c"").unwrap());
    assert_ne!(handle, sys.name_to_handle(dir, c"d").unwrap());
    assert_ne!(handle, sys.name_to_handle(dir, c"s").unwrap());
    assert_eq!(sys.name_to_handle(dir, c"gone").unwrap_err(), Errno::NOENT);
    let ino = bed.stat(c"a").unwrap().ino;
    let open = |handle: &[u8], flags| {
        sys.open_by_handle(dir, handle, flags).map(|fd| kiln_uring::sys::File::new(bed.sys.clone(), fd))
    };
    assert_eq!(sys.stat(open(&handle, RDONLY).unwrap().fd()).unwrap().ino, ino);
    sys.rename_at(dir, c"a", dir, c"d/b", kiln_uring::sys::RenameFlags::empty()).unwrap();
    assert_eq!(bed.content(&open(&handle, OpenFlags::RDWR).unwrap()), b"abc");
    assert_eq!(open(&handle, OpenFlags::DIRECTORY).unwrap_err(), Errno::NOTDIR);
    let link = sys.name_to_handle(dir, c"s").unwrap();
    assert_eq!(open(&link, RDONLY).unwrap_err(), Errno::LOOP);
    let place = open(&link, OpenFlags::PATH | OpenFlags::NOFOLLOW).unwrap();
    assert_eq!(sys.readlink_at(place.fd(), c"").unwrap(), b"a");
    let d = sys.name_to_handle(dir, c"d").unwrap();
    assert!(sys.stat(open(&d, OpenFlags::DIRECTORY).unwrap().fd()).unwrap().is_dir());
    drop(file);
    bed.unlink(c"d/b").unwrap();
    assert_eq!(open(&handle, RDONLY).unwrap_err(), Errno::STALE);
    assert_eq!(open(&[], RDONLY).unwrap_err(), Errno::INVAL);
    assert_eq!(open(&[1, 0, 0, 0], RDONLY).unwrap_err(), Errno::INVAL);
    assert_eq!(open(&[0; 400], RDONLY).unwrap_err(), Errno::INVAL);
}

pub fn locks_exclude(bed: &Bed) {
    let one = bed.file(c"a", b"");
    let two = bed.open(c"a", RDONLY).unwrap();
    assert_eq!(bed.sys.lock_exclusive(one.fd()), Ok(()));
    assert_eq!(bed.sys.lock_exclusive(one.fd()), Ok(()));
    assert_eq!(bed.sys.lock_exclusive(two.fd()), Err(Errno::WOULDBLOCK));
    drop(one);
    assert_eq!(bed.sys.lock_exclusive(two.fd()), Ok(()));
}

pub fn closes_once(bed: &Bed) {
    let file = bed.file(c"a", b"");
    let fd = file.fd();
    drop(file);
    assert_eq!(bed.sys.stat(fd), Err(Errno::BADF));
    bed.sys.close(-1);
}

pub fn tells_time_and_throws_dice(bed: &Bed) {
    let before = (bed.sys.monotonic(), bed.sys.realtime());
    bed.tick();
    let after = (bed.sys.monotonic(), bed.sys.realtime());
    assert!(before.0 < after.0 && before.1 < after.1);
    let (mut a, mut b) = ([0; 37], [0; 37]);
    bed.sys.random(&mut a);
    bed.sys.random(&mut b);
    assert_ne!(a, b);
    bed.sys.random(&mut []);
}
