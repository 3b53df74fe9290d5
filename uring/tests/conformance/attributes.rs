//! Mode, owner, times, file system figures.

use kiln_uring::sys::{Errno, NO_ID, OpenFlags, ReadFlags, TimeSet, Timespec};

use super::bed::{Bed, RDONLY};

pub fn modes(bed: &Bed) {
    let (sys, dir) = (&bed.sys, bed.fd());
    let file = bed.file(c"a", b"");
    bed.symlink(c"a", c"s");
    bed.tick();
    let before = bed.stat(c"a").unwrap();
    sys.chmod(file.fd(), 0o7654).unwrap();
    let after = bed.stat(c"a").unwrap();
    assert_eq!(after.mode, libc::S_IFREG | 0o7654);
    assert!(after.ctime > before.ctime && after.mtime == before.mtime);
    // Type bits are not for chmod.
    sys.chmod_at(dir, c"a", libc::S_IFDIR | 0o600).unwrap();
    assert_eq!(bed.stat(c"a").unwrap().mode, libc::S_IFREG | 0o600);
    assert_eq!(sys.chmod_at(dir, c"s", 0o600), Err(Errno::OPNOTSUPP));
    assert_eq!(sys.chmod_at(dir, c"gone", 0o600), Err(Errno::NOENT));
    assert_eq!(sys.chmod_at(dir, c"a/", 0o600), Err(Errno::NOTDIR));
    assert_eq!(sys.chmod_at(-1, c"a", 0o600), Err(Errno::BADF));
    assert_eq!(sys.chmod(-1, 0o600), Err(Errno::BADF));
    sys.mknod_at(dir, c"fifo", libc::S_IFIFO | 0o600, 0).unwrap();
    sys.chmod_at(dir, c"fifo", 0o644).unwrap();
    assert_eq!(bed.stat(c"fifo").unwrap().mode, libc::S_IFIFO | 0o644);
    sys.chmod(dir, 0o3755).unwrap();
    assert_eq!(sys.stat(dir).unwrap().mode, libc::S_IFDIR | 0o3755);
}

pub fn owners(bed: &Bed) {
    if !bed.is_root() {
        return;
    }
    let (sys, dir) = (&bed.sys, bed.fd());
    let file = bed.file(c"a", b"");
    bed.symlink(c"a", c"s");
    let owner = |path| {
        let st = bed.stat(path).unwrap();
        (st.uid, st.gid)
    };
    sys.chown(file.fd(), 10, 20).unwrap();
    assert_eq!(owner(c"a"), (10, 20));
    sys.chown_at(dir, c"a", NO_ID, 30).unwrap();
    assert_eq!(owner(c"a"), (10, 30));
    sys.chown_at(dir, c"s", 40, NO_ID).unwrap();
    assert_eq!((owner(c"s"), owner(c"a")), ((40, 0), (10, 30)));
    // Even nothing at all is a change, which takes the privileges away.
    for (mode, left) in [(0o6755, 0o755), (0o6745, 0o2745), (0o4711, 0o711), (0o2770, 0o770)] {
        sys.chmod(file.fd(), mode).unwrap();
        bed.tick();
        let before = bed.stat(c"a").unwrap();
        sys.chown(file.fd(), NO_ID, NO_ID).unwrap();
        let after = bed.stat(c"a").unwrap();
        assert_eq!(after.mode & 0o7777, left, "{mode:o}");
        assert!(after.ctime > before.ctime);
    }
    bed.mkdir(c"d").unwrap();
    sys.chmod_at(dir, c"d", 0o6755).unwrap();
    sys.chown_at(dir, c"d", 1, 1).unwrap();
    assert_eq!(bed.stat(c"d").unwrap().mode & 0o7777, 0o6755);
    assert_eq!(sys.chown_at(dir, c"gone", 1, 1), Err(Errno::NOENT));
    assert_eq!(sys.chown(-1, 1, 1), Err(Errno::BADF));
}

pub fn times(bed: &Bed) {
    let (sys, dir) = (&bed.sys, bed.fd());
    let file = bed.file(c"a", b"");
    bed.symlink(c"a", c"s");
    let at = |sec, nsec| TimeSet::At(Timespec { sec, nsec });
    bed.tick();
    let before = bed.stat(c"a").unwrap();
    sys.set_times(file.fd(), at(1, 2), at(1_500_000_000, 999_999_999)).unwrap();
    let st = bed.stat(c"a").unwrap();
    assert_eq!(st.atime, Timespec { sec: 1, nsec: 2 });
    assert_eq!(st.mtime, Timespec { sec: 1_500_000_000, nsec: 999_999_999 });
    assert!(st.ctime > before.ctime);
    sys.set_times_at(dir, c"a", TimeSet::Keep, TimeSet::Now).unwrap();
    let now = bed.stat(c"a").unwrap();
    assert_eq!(now.atime, st.atime);
    assert!(now.mtime > st.mtime);
    sys.set_times_at(dir, c"s", at(5, 5), at(-6, 6)).unwrap();
    let link = bed.stat(c"s").unwrap();
    assert_eq!((link.atime.sec, link.mtime.sec), (5, -6));
    assert_eq!(bed.stat(c"a").unwrap(), now);
    assert_eq!(sys.set_times(file.fd(), at(0, 1_000_000_000), TimeSet::Now), Err(Errno::INVAL));
    assert_eq!(sys.set_times_at(dir, c"gone", TimeSet::Now, TimeSet::Now), Err(Errno::NOENT));
    // Nothing to do is not even looked at.
    assert_eq!(sys.set_times_at(dir, c"gone", TimeSet::Keep, TimeSet::Keep), Ok(()));
    assert_eq!(bed.stat(c"a").unwrap(), now);
}

pub fn reading_and_writing_touch_times(bed: &Bed) {
    let sys = &bed.sys;
    let file = bed.file(c"a", b"x");
    let fd = file.fd();
    let old = TimeSet::At(Timespec { sec: 1000, nsec: 0 });
    sys.set_times(fd, old, old).unwrap();
    bed.tick();
    let before = sys.stat(fd).unwrap();
    assert_eq!(sys.pwrite(fd, b"", 0), Ok(0));
    assert_eq!(sys.stat(fd).unwrap(), before);
    assert_eq!(sys.pwrite(fd, b"y", 0), Ok(1));
    let written = sys.stat(fd).unwrap();
    assert!(written.mtime > before.mtime && written.ctime > before.ctime && written.atime == before.atime);
    let quiet = bed.open(c"a", OpenFlags::NOATIME).unwrap();
    sys.pread(quiet.fd(), &mut [0], 0, ReadFlags::empty()).unwrap();
    assert_eq!(sys.stat(fd).unwrap().atime, before.atime);
    // A time after the last change and of today stays; the rest depends on how the file system is mounted.
    let read_only = bed.open(c"a", RDONLY).unwrap();
    let now = sys.realtime();
    let ahead = Timespec { sec: now.sec + 3600, nsec: 0 };
    sys.set_times(fd, TimeSet::At(ahead), TimeSet::Keep).unwrap();
    if bed.sys.statfs(fd).unwrap().flags & 0x1000 != 0 {
        sys.pread(read_only.fd(), &mut [0], 0, ReadFlags::empty()).unwrap();
        assert_eq!(sys.stat(fd).unwrap().atime, ahead);
        sys.set_times(fd, old, TimeSet::Keep).unwrap();
        sys.pread(read_only.fd(), &mut [0], 0, ReadFlags::empty()).unwrap();
        assert!(sys.stat(fd).unwrap().atime > Timespec { sec: 1000, nsec: 0 });
    }
}

pub fn figures(bed: &Bed) {
    let s = bed.sys.statfs(bed.fd()).unwrap();
    assert!(s.bsize > 0 && s.frsize > 0 && s.blocks >= s.bfree && s.bfree >= s.bavail);
    assert!(s.files >= s.ffree && s.ffree >= s.favail);
    assert_eq!(s.namemax, 255);
    assert_eq!(bed.sys.statfs(-1), Err(Errno::BADF));
}
