//! Calls that change directories.

use kiln_uring::sys::{AtFlags, Errno, OpenFlags, RenameFlags};

use super::bed::{Bed, RDONLY};

pub fn directories(bed: &Bed) {
    let (sys, dir) = (&bed.sys, bed.fd());
    assert_eq!(bed.sys.stat(dir).unwrap().nlink, 2);
    bed.tick();
    let before = sys.stat(dir).unwrap();
    sys.mkdir_at(dir, c"d", 0o7750).unwrap();
    let st = bed.stat(c"d").unwrap();
    // The set-ID bits are not for the caller to choose.
    assert_eq!((st.mode, st.nlink), (libc::S_IFDIR | 0o1750, 2));
    let after = sys.stat(dir).unwrap();
    assert_eq!(after.nlink, 3);
    assert!(after.mtime > before.mtime && after.ctime > before.ctime);
    bed.mkdir(c"d/e/").unwrap();
    assert_eq!(bed.stat(c"d").unwrap().nlink, 3);
    for (path, errno) in [
        (c"d", Errno::EXIST),
        (c"d/", Errno::EXIST),
        (c".", Errno::EXIST),
        (c"d/..", Errno::EXIST),
        (c"/", Errno::EXIST),
        (c"x/y", Errno::NOENT),
        (c"", Errno::NOENT),
    ] {
        assert_eq!(bed.mkdir(path), Err(errno), "{path:?}");
    }
    for (path, errno) in [
        (c"d", Errno::NOTEMPTY),
        (c"d/e/..", Errno::NOTEMPTY),
        (c"d/e/.", Errno::INVAL),
        (c"/", Errno::BUSY),
        (c"x", Errno::NOENT),
    ] {
        assert_eq!(bed.rmdir(path), Err(errno), "{path:?}");
    }
    assert_eq!(bed.unlink(c"d"), Err(Errno::ISDIR));
    assert_eq!(bed.unlink(c"d/."), Err(Errno::ISDIR));
    assert_eq!(bed.unlink(c"d/e/"), Err(Errno::ISDIR));
    bed.file(c"f", b"");
    bed.symlink(c"d", c"s");
    assert_eq!(bed.rmdir(c"f"), Err(Errno::NOTDIR));
    assert_eq!(bed.rmdir(c"s"), Err(Errno::NOTDIR));
    assert_eq!(bed.rmdir(c"s/"), Err(Errno::NOTDIR));
    assert_eq!(bed.unlink(c"f/"), Err(Errno::NOTDIR));
    assert_eq!(sys.unlink_at(dir, c"f", AtFlags::from_bits_retain(1)), Err(Errno::INVAL));
    bed.rmdir(c"d/e/").unwrap();
    assert_eq!(bed.stat(c"d").unwrap().nlink, 2);
    bed.rmdir(c"d").unwrap();
    assert_eq!(sys.stat(dir).unwrap().nlink, 2);
}

pub fn removed_directories_take_nothing(bed: &Bed) {
    bed.mkdir(c"d").unwrap();
    let d = bed.open(c"d", OpenFlags::DIRECTORY).unwrap();
    bed.rmdir(c"d").unwrap();
    let sys = &bed.sys;
    assert_eq!(sys.stat(d.fd()).unwrap().nlink, 0);
    assert_eq!(sys.mkdir_at(d.fd(), c"x", 0o700), Err(Errno::NOENT));
    assert_eq!(sys.symlink_at(c"t", d.fd(), c"x"), Err(Errno::NOENT));
    let how = kiln_uring::sys::How::new(OpenFlags::CREAT);
    assert_eq!(sys.openat2(d.fd(), c"x", how), Err(Errno::NOENT));
    bed.file(c"f", b"");
    assert_eq!(sys.link_at(bed.fd(), c"f", d.fd(), c"x"), Err(Errno::NOENT));
    assert_eq!(sys.rename_at(bed.fd(), c"f", d.fd(), c"x", RenameFlags::empty()), Err(Errno::NOENT));
    assert_eq!(sys.stat_at(d.fd(), c"x"), Err(Errno::NOENT));
    assert_eq!(sys.stat_at(d.fd(), c"..").unwrap().ino, sys.stat(bed.fd()).unwrap().ino);
    assert_eq!(sys.read_dir(d.fd(), 0, 1000).unwrap_err(), Errno::NOENT);
}

pub fn nodes(bed: &Bed) {
    let (sys, dir) = (&bed.sys, bed.fd());
    for (name, mode) in [
        (c"reg", libc::S_IFREG | 0o640),
        (c"fifo", libc::S_IFIFO | 0o600),
        (c"sock", libc::S_IFSOCK | 0o7777),
    ] {
        sys.mknod_at(dir, name, mode, 0x12_3456).unwrap();
        let st = bed.stat(name).unwrap();
        assert_eq!((st.mode, st.nlink, st.rdev_major, st.rdev_minor, st.size), (mode, 1, 0, 0, 0));
    }
    sys.mknod_at(dir, c"plain", 0o600, 0).unwrap();
    assert_eq!(bed.stat(c"plain").unwrap().mode, libc::S_IFREG | 0o600);
    assert_eq!(sys.mknod_at(dir, c"x", libc::S_IFDIR | 0o700, 0), Err(Errno::PERM));
    assert_eq!(sys.mknod_at(dir, c"x", libc::S_IFLNK | 0o700, 0), Err(Errno::INVAL));
    assert_eq!(sys.mknod_at(dir, c"x", libc::S_IFMT | 0o700, 0), Err(Errno::INVAL));
    assert_eq!(sys.mknod_at(dir, c"reg", libc::S_IFIFO, 0), Err(Errno::EXIST));
    assert_eq!(sys.mknod_at(dir, c"x/", libc::S_IFIFO, 0), Err(Errno::NOENT));
    if bed.is_root() {
        // new_encode_dev: the minor's low byte, twelve bits of major, the rest of the minor.
        sys.mknod_at(dir, c"blk", libc::S_IFBLK | 0o600, 0x7891_2345).unwrap();
        let st = bed.stat(c"blk").unwrap();
        assert_eq!((st.mode, st.rdev_major, st.rdev_minor), (libc::S_IFBLK | 0o600, 0x123, 0x78945));
        sys.mknod_at(dir, c"chr", libc::S_IFCHR | 0o600, 0x0100).unwrap();
        assert_eq!(bed.stat(c"chr").unwrap().rdev_major, 1);
    }
}

pub fn links(bed: &Bed) {
    let (sys, dir) = (&bed.sys, bed.fd());
    let file = bed.file(c"a", b"abc");
    bed.symlink(c"a", c"s");
    bed.mkdir(c"d").unwrap();
    bed.tick();
    let before = bed.stat(c"a").unwrap();
    sys.link_at(dir, c"a", dir, c"d/b").unwrap();
    sys.link_at(dir, c"s", dir, c"s2").unwrap();
    let after = bed.stat(c"d/b").unwrap();
    assert_eq!((after.ino, after.nlink), (before.ino, 2));
    assert!(after.ctime > before.ctime && after.mtime == before.mtime);
    let link = bed.stat(c"s2").unwrap();
    assert!(link.is_symlink());
    assert_eq!(link.nlink, 2);
    for (old, new, errno) in [
        (c"a", c"s", Errno::EXIST),
        (c"d", c"x", Errno::PERM),
        (c".", c"x", Errno::PERM),
        (c"x", c"y", Errno::NOENT),
        (c"a", c"x/", Errno::NOENT),
        (c"a", c"x/y", Errno::NOENT),
        (c"a", c"a/y", Errno::NOTDIR),
        (c"a", c"d/.", Errno::EXIST),
        (c"a/", c"x", Errno::NOTDIR),
        (c"", c"x", Errno::NOENT),
    ] {
        assert_eq!(sys.link_at(dir, old, dir, new), Err(errno), "{old:?} {new:?}");
    }
    bed.tick();
    let before = sys.stat(file.fd()).unwrap();
    bed.unlink(c"a").unwrap();
    let after = sys.stat(file.fd()).unwrap();
    assert_eq!(after.nlink, 1);
    assert!(after.ctime > before.ctime);
    assert_eq!(bed.unlink(c"a"), Err(Errno::NOENT));
    // The file lives as long as somebody has it open.
    bed.unlink(c"d/b").unwrap();
    assert_eq!(sys.stat(file.fd()).unwrap().nlink, 0);
    assert_eq!(bed.content(&file), b"abc");
    assert_eq!(sys.pwrite(file.fd(), b"defg", 3), Ok(4));
    assert_eq!(bed.content(&file), b"abcdefg");
}

pub fn symlinks(bed: &Bed) {
    let (sys, dir) = (&bed.sys, bed.fd());
    assert_eq!(sys.symlink_at(c"", dir, c"x"), Err(Errno::NOENT));
    assert_eq!(sys.symlink_at(c"t", dir, c"x/"), Err(Errno::NOENT));
    assert_eq!(sys.symlink_at(c"t", dir, c"."), Err(Errno::EXIST));
    let long = |len| std::ffi::CString::new(vec![b't'; len]).unwrap();
    sys.symlink_at(&long(4095), dir, c"long").unwrap();
    assert_eq!(sys.readlink_at(dir, c"long").unwrap().len(), 4095);
    assert_eq!(bed.stat(c"long").unwrap().size, 4095);
    assert_eq!(sys.symlink_at(&long(4096), dir, c"x"), Err(Errno::NAMETOOLONG));
    assert_eq!(sys.symlink_at(c"t", dir, c"long"), Err(Errno::EXIST));
}

pub fn renames(bed: &Bed) {
    let (sys, dir) = (&bed.sys, bed.fd());
    let rename = |old, new, flags| sys.rename_at(dir, old, dir, new, flags);
    let none = RenameFlags::empty();
    let a = bed.file(c"a", b"a");
    let b = bed.file(c"b", b"b");
    bed.mkdir(c"d").unwrap();
    bed.mkdir(c"d/e").unwrap();
    bed.mkdir(c"full").unwrap();
    bed.file(c"full/x", b"");
    bed.tick();
    let before = sys.stat(a.fd()).unwrap();
    rename(c"a", c"d/a", none).unwrap();
    let after = sys.stat(a.fd()).unwrap();
    assert!(after.ctime > before.ctime && after.mtime == before.mtime);
    assert_eq!(bed.stat(c"a"), Err(Errno::NOENT));
    assert_eq!(bed.stat(c"d/a").unwrap().ino, after.ino);
    rename(c"d/a", c"a", none).unwrap();
    // Over another file, which is gone then.
    rename(c"a", c"b", none).unwrap();
    assert_eq!(sys.stat(b.fd()).unwrap().nlink, 0);
    assert_eq!(bed.stat(c"b").unwrap().ino, after.ino);
    // Two names of one file: nothing happens.
    sys.link_at(dir, c"b", dir, c"c").unwrap();
    rename(c"b", c"c", none).unwrap();
    assert_eq!(bed.stat(c"b").unwrap().nlink, 2);
    for (old, new, flags, errno) in [
        (c"gone", c"x", none, Errno::NOENT),
        (c"b", c"c", RenameFlags::NOREPLACE, Errno::EXIST),
        (c"b", c".", RenameFlags::NOREPLACE, Errno::EXIST),
        (c"b", c".", none, Errno::BUSY),
        (c".", c"x", none, Errno::BUSY),
        (c"d/..", c"x", none, Errno::BUSY),
        (c"b", c"d", none, Errno::ISDIR),
        (c"d", c"b", none, Errno::NOTDIR),
        (c"d", c"full", none, Errno::NOTEMPTY),
        (c"d", c"d/e/x", none, Errno::INVAL),
        (c"d", c"d/x", none, Errno::INVAL),
        (c"d/e", c"d", none, Errno::NOTEMPTY),
        (c"b", c"d/", none, Errno::NOTDIR),
        (c"b", c"x/", none, Errno::NOTDIR),
        (c"b/", c"x", none, Errno::NOTDIR),
        (c"b", c"x/y", none, Errno::NOENT),
        (c"b", c"x", RenameFlags::EXCHANGE, Errno::NOENT),
        (c"d", c"d/e", RenameFlags::EXCHANGE, Errno::INVAL),
        (c"d/e", c"d", RenameFlags::EXCHANGE, Errno::INVAL),
        (c"b", c"c", RenameFlags::EXCHANGE.union(RenameFlags::NOREPLACE), Errno::INVAL),
        (c"b", c"c", RenameFlags::from_bits_retain(64), Errno::INVAL),
        (c"", c"c", none, Errno::NOENT),
    ] {
        assert_eq!(rename(old, new, flags), Err(errno), "{old:?} {new:?} {flags:?}");
    }
    rename(c"b", c"x", RenameFlags::NOREPLACE).unwrap();
    // A directory over an empty one; link counts and `..` follow.
    rename(c"d/e", c"full/e", none).unwrap();
    assert_eq!((bed.stat(c"d").unwrap().nlink, bed.stat(c"full").unwrap().nlink), (2, 3));
    assert_eq!(bed.stat(c"full/e/..").unwrap().ino, bed.stat(c"full").unwrap().ino);
    rename(c"full/e", c"d/", none).unwrap();
    assert_eq!(bed.stat(c"full").unwrap().nlink, 2);
    assert_eq!(sys.stat(dir).unwrap().nlink, 4);
    // An exchange of a file and a directory.
    let (file, sub) = (bed.stat(c"full/x").unwrap().ino, bed.stat(c"d").unwrap().ino);
    rename(c"full/x", c"d", RenameFlags::EXCHANGE).unwrap();
    assert_eq!((bed.stat(c"full/x").unwrap().ino, bed.stat(c"d").unwrap().ino), (sub, file));
    assert_eq!((bed.stat(c"full").unwrap().nlink, sys.stat(dir).unwrap().nlink), (3, 3));
    assert_eq!(bed.stat(c"full/x/..").unwrap().ino, bed.stat(c"full").unwrap().ino);
}

pub fn whiteouts(bed: &Bed) {
    if !bed.is_root() {
        return;
    }
    bed.file(c"a", b"");
    bed.sys.rename_at(bed.fd(), c"a", bed.fd(), c"b", RenameFlags::WHITEOUT).unwrap();
    let st = bed.stat(c"a").unwrap();
    assert_eq!((st.mode & libc::S_IFMT, st.rdev_major, st.rdev_minor), (libc::S_IFCHR, 0, 0));
}

pub fn listing_is_stable(bed: &Bed) {
    bed.mkdir(c"d").unwrap();
    let d = bed.open(c"d", OpenFlags::DIRECTORY).unwrap();
    let name = |i: u32| std::ffi::CString::new(format!("d/entry-{i:03}")).unwrap();
    for i in 0..120 {
        bed.file(&name(i), b"");
    }
    bed.mkdir(c"d/sub").unwrap();
    bed.symlink(c"t", c"d/link");
    let mut wanted: Vec<_> = (0..120).map(|i| format!("entry-{i:03}")).collect();
    wanted.extend([".", "..", "sub", "link"].map(str::to_owned));
    wanted.sort();
    assert_eq!(bed.names(c"d"), wanted);
    let all = bed.sys.read_dir(d.fd(), 0, 1 << 20).unwrap();
    assert_eq!(all.len(), wanted.len());
    let mut offsets: Vec<_> = all.iter().map(|e| e.offset).collect();
    offsets.dedup();
    assert_eq!(offsets.len(), all.len());
    assert!(all.iter().all(|e| i64::try_from(e.offset).is_ok()));
    for entry in &all {
        let st = bed.sys.stat_at(d.fd(), &entry.name).unwrap();
        let kind = (st.file_type() >> 12) as u8;
        assert!(entry.kind == kind || entry.kind == libc::DT_UNKNOWN, "{entry:?}");
        assert_eq!(entry.ino, st.ino, "{entry:?}");
    }
    // From the middle, on another descriptor, after entries before and behind were removed.
    let middle = all.len() / 2;
    for entry in [&all[3], &all[middle + 3]] {
        if entry.name.to_bytes().starts_with(b"entry") {
            bed.sys.unlink_at(d.fd(), &entry.name, AtFlags::empty()).unwrap();
        }
    }
    let again = bed.open(c"d", OpenFlags::DIRECTORY).unwrap();
    let rest = bed.sys.read_dir(again.fd(), all[middle].offset, 1 << 20).unwrap();
    // Names only: on ext4 the position after an entry is that of the next one, which may be gone.
    let rest: Vec<_> = rest.into_iter().map(|e| e.name).collect();
    let left = all[middle + 1..].iter().map(|e| e.name.clone());
    let left: Vec<_> = left.filter(|name| bed.sys.stat_at(d.fd(), name).is_ok()).collect();
    assert_eq!(rest, left);
    let end = bed.sys.read_dir(again.fd(), all.last().unwrap().offset, 1000).unwrap();
    assert_eq!(end, []);
    let file = bed.open(c"d/entry-050", RDONLY);
    if let Ok(file) = file {
        assert_eq!(bed.sys.read_dir(file.fd(), 0, 1000).unwrap_err(), Errno::NOTDIR);
    }
    // One record at least, however small the budget.
    assert!(!bed.sys.read_dir(d.fd(), 0, 0).unwrap().is_empty());
}

pub fn set_group_id_is_inherited(bed: &Bed) {
    if !bed.is_root() {
        return;
    }
    let (sys, dir) = (&bed.sys, bed.fd());
    bed.mkdir(c"d").unwrap();
    sys.chown_at(dir, c"d", 5, 77).unwrap();
    sys.chmod_at(dir, c"d", 0o2775).unwrap();
    bed.file(c"d/f", b"");
    bed.mkdir(c"d/e").unwrap();
    bed.symlink(c"t", c"d/s");
    let stat = |path| bed.stat(path).unwrap();
    assert_eq!((stat(c"d/f").uid, stat(c"d/f").gid, stat(c"d/f").mode), (0, 77, libc::S_IFREG | 0o644));
    assert_eq!((stat(c"d/e").gid, stat(c"d/e").mode), (77, libc::S_IFDIR | 0o2755));
    assert_eq!(stat(c"d/s").gid, 77);
    sys.mknod_at(dir, c"d/g", libc::S_IFREG | 0o2770, 0).unwrap();
    assert_eq!((stat(c"d/g").gid, stat(c"d/g").mode), (77, libc::S_IFREG | 0o2770));
}
