//! Extended attributes and access control lists.

use std::ffi::{CStr, CString};

use kiln_uring::sys::{Errno, How, OpenFlags, XattrFlags, XattrTarget};

use super::bed::Bed;

const ACCESS: &CStr = c"system.posix_acl_access";
const DEFAULT: &CStr = c"system.posix_acl_default";

pub fn values(bed: &Bed) {
    let (sys, file) = (&bed.sys, bed.file(c"a", b""));
    let fd = XattrTarget::Fd(file.fd());
    let at = XattrTarget::At(bed.fd(), c"a");
    for target in [fd, at] {
        assert_eq!(bed.get(target, c"user.x"), Err(Errno::NODATA));
        bed.set(target, c"user.x", b"value").unwrap();
        assert_eq!(bed.get(fd, c"user.x").unwrap(), b"value");
        assert_eq!(bed.get(at, c"user.x").unwrap(), b"value");
        let mut short = [0; 3];
        assert_eq!(sys.getxattr(target, c"user.x", &mut short), Err(Errno::RANGE));
        assert_eq!(sys.getxattr(target, c"user.x", &mut []), Ok(5));
        assert_eq!(sys.setxattr(target, c"user.x", b"v", XattrFlags::CREATE), Err(Errno::EXIST));
        assert_eq!(sys.setxattr(target, c"user.y", b"v", XattrFlags::REPLACE), Err(Errno::NODATA));
        assert_eq!(sys.setxattr(target, c"user.x", b"v", XattrFlags::from_bits_retain(8)), Err(Errno::INVAL));
        sys.setxattr(target, c"user.x", b"", XattrFlags::REPLACE).unwrap();
        assert_eq!(bed.get(target, c"user.x").unwrap(), b"");
        bed.set(target, c"user.zz", b"\0\xff").unwrap();
        assert_eq!(bed.list(target).unwrap(), ["user.x", "user.zz"]);
        assert_eq!(sys.listxattr(target, &mut short), Err(Errno::RANGE));
        sys.removexattr(target, c"user.x").unwrap();
        assert_eq!(sys.removexattr(target, c"user.x"), Err(Errno::NODATA));
        sys.removexattr(target, c"user.zz").unwrap();
        assert!(bed.list(target).unwrap().is_empty());
    }
    for (name, errno) in [
        (c"", Errno::RANGE),
        (c"user", Errno::OPNOTSUPP),
        (c"user.", Errno::INVAL),
        (c"nonsense.x", Errno::OPNOTSUPP),
        (c"system.nonsense", Errno::OPNOTSUPP),
    ] {
        assert_eq!(bed.set(at, name, b"v"), Err(errno), "{name:?}");
        assert_eq!(bed.get(at, name), Err(errno), "{name:?}");
        assert_eq!(sys.removexattr(at, name), Err(errno), "{name:?}");
    }
    let long = |len: usize| CString::new([b"user.".as_slice(), &vec![b'n'; len - 5]].concat()).unwrap();
    bed.set(at, &long(255), b"v").unwrap();
    assert_eq!(bed.set(at, &long(256), b"v"), Err(Errno::RANGE));
    assert_eq!(bed.set(at, c"user.big", &vec![0; 65_537]), Err(Errno::TOOBIG));
    assert_eq!(bed.get(XattrTarget::At(bed.fd(), c"gone"), c"user.x"), Err(Errno::NOENT));
    assert_eq!(bed.get(XattrTarget::At(bed.fd(), c""), c"user.x"), Err(Errno::NOENT));
    assert_eq!(bed.get(XattrTarget::Fd(-1), c"user.x"), Err(Errno::BADF));
    bed.set(XattrTarget::Fd(bed.fd()), c"user.dir", b"1").unwrap();
    bed.set(XattrTarget::At(bed.fd(), c"."), c"user.dir", b"2").unwrap();
    assert_eq!(bed.get(XattrTarget::Fd(bed.fd()), c"user.dir").unwrap(), b"2");
}

pub fn change_time_follows(bed: &Bed) {
    let file = bed.file(c"a", b"");
    let target = XattrTarget::Fd(file.fd());
    for set in [true, false] {
        bed.tick();
        let before = bed.stat(c"a").unwrap();
        if set { bed.set(target, c"user.x", b"v") } else { bed.sys.removexattr(target, c"user.x") }.unwrap();
        let after = bed.stat(c"a").unwrap();
        assert!(after.ctime > before.ctime && after.mtime == before.mtime);
    }
}

pub fn namespaces(bed: &Bed) {
    if !bed.is_root() {
        return;
    }
    let (sys, dir) = (&bed.sys, bed.fd());
    bed.file(c"f", b"");
    bed.symlink(c"f", c"s");
    sys.mknod_at(dir, c"p", libc::S_IFIFO | 0o600, 0).unwrap();
    let at = |path| XattrTarget::At(dir, path);
    for path in [c"f", c"s", c"p"] {
        bed.set(at(path), c"trusted.gfid", b"0123456789abcdef").unwrap();
        assert_eq!(bed.get(at(path), c"trusted.gfid").unwrap(), b"0123456789abcdef");
        assert_eq!(bed.list(at(path)).unwrap(), ["trusted.gfid"]);
    }
    for path in [c"s", c"p"] {
        assert_eq!(bed.set(at(path), c"user.x", b"v"), Err(Errno::PERM), "{path:?}");
        assert_eq!(bed.get(at(path), c"user.x"), Err(Errno::NODATA), "{path:?}");
        assert_eq!(sys.removexattr(at(path), c"user.x"), Err(Errno::PERM), "{path:?}");
    }
    for name in [c"trusted.", c"security."] {
        assert_eq!(bed.set(at(c"f"), name, b"v"), Err(Errno::INVAL));
    }
    sys.removexattr(at(c"s"), c"trusted.gfid").unwrap();
    assert!(bed.list(at(c"s")).unwrap().is_empty());
    assert_eq!(bed.list(at(c"f")).unwrap().len(), 1);
}

/// Entries: tag, permissions, id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&perm.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

const U: u32 = u32::MAX;

/// Owner `u`, user 1000 `n`, group `g`, mask `m`, others `o`.
fn named(u: u16, n: u16, g: u16, m: u16, o: u16) -> Vec<u8> {
    acl(&[(1, u, U), (2, n, 1000), (4, g, U), (0x10, m, U), (0x20, o, U)])
}

fn minimal(u: u16, g: u16, o: u16) -> Vec<u8> {
    acl(&[(1, u, U), (4, g, U), (0x20, o, U)])
}

/// Whether the file system has access control lists.
fn has_acl(bed: &Bed) -> bool {
    bed.get(XattrTarget::Fd(bed.fd()), ACCESS) == Err(Errno::NODATA)
}

pub fn access_lists_and_modes_agree(bed: &Bed) {
    if !has_acl(bed) || !bed.is_root() {
        return;
    }
    let (sys, dir) = (&bed.sys, bed.fd());
    let file = bed.file(c"f", b"");
    let f = XattrTarget::At(dir, c"f");
    let mode = || bed.stat(c"f").unwrap().mode & 0o7777;
    sys.chmod(file.fd(), 0o4644).unwrap();
    bed.tick();
    let before = bed.stat(c"f").unwrap();
    bed.set(f, ACCESS, &named(7, 6, 4, 2, 1)).unwrap();
    assert!(bed.stat(c"f").unwrap().ctime > before.ctime);
    assert_eq!(mode(), 0o4721);
    assert_eq!(bed.get(f, ACCESS).unwrap(), named(7, 6, 4, 2, 1));
    assert_eq!(bed.list(f).unwrap(), ["system.posix_acl_access"]);
    sys.chmod(file.fd(), 0o653).unwrap();
    assert_eq!(bed.get(f, ACCESS).unwrap(), named(6, 6, 4, 5, 3));
    // Flags mean nothing to lists.
    sys.setxattr(f, ACCESS, &named(7, 6, 4, 2, 1), XattrFlags::CREATE).unwrap();
    sys.removexattr(f, ACCESS).unwrap();
    assert_eq!(bed.get(f, ACCESS), Err(Errno::NODATA));
    assert_eq!(mode(), 0o721);
    assert_eq!(sys.removexattr(f, ACCESS), Ok(()));
    // What the mode can say is not stored.
    bed.set(f, ACCESS, &minimal(5, 0, 6)).unwrap();
    assert_eq!(mode(), 0o506);
    assert_eq!(bed.get(f, ACCESS), Err(Errno::NODATA));
    bed.set(f, ACCESS, &named(7, 6, 4, 2, 1)).unwrap();
    bed.set(f, ACCESS, b"").unwrap();
    assert_eq!(bed.get(f, ACCESS), Err(Errno::NODATA));
    for (value, errno) in [
        (named(8, 0, 0, 0, 0), Errno::INVAL),
        (acl(&[(1, 7, U), (2, 6, 1000), (4, 4, U), (0x20, 0, U)]), Errno::INVAL),
        (acl(&[(4, 4, U), (1, 7, U), (0x20, 0, U)]), Errno::INVAL),
        (acl(&[(1, 7, U)]), Errno::INVAL),
        (b"\x02\0".to_vec(), Errno::INVAL),
        (b"\x03\0\0\0".to_vec(), Errno::OPNOTSUPP),
        ([minimal(1, 1, 1), vec![0]].concat(), Errno::INVAL),
    ] {
        assert_eq!(bed.set(f, ACCESS, &value), Err(errno), "{value:?}");
    }
    assert_eq!(bed.set(f, DEFAULT, &minimal(7, 5, 0)), Err(Errno::ACCESS));
    bed.symlink(c"f", c"s");
    assert_eq!(bed.set(XattrTarget::At(dir, c"s"), ACCESS, &minimal(7, 5, 0)), Err(Errno::OPNOTSUPP));
    assert_eq!(bed.get(XattrTarget::At(dir, c"s"), ACCESS), Err(Errno::OPNOTSUPP));
}

pub fn default_lists_are_inherited(bed: &Bed) {
    if !has_acl(bed) {
        return;
    }
    let (sys, dir) = (&bed.sys, bed.fd());
    bed.mkdir(c"d").unwrap();
    bed.set(XattrTarget::At(dir, c"d"), DEFAULT, &named(7, 7, 5, 7, 1)).unwrap();
    assert_eq!(bed.stat(c"d").unwrap().mode & 0o7777, 0o755);
    let at = |path| XattrTarget::At(dir, path);
    bed.open_how(c"d/f", How::new(OpenFlags::CREAT).mode(0o664)).unwrap();
    assert_eq!(bed.stat(c"d/f").unwrap().mode & 0o7777, 0o660);
    assert_eq!(bed.get(at(c"d/f"), ACCESS).unwrap(), named(6, 7, 5, 6, 0));
    assert_eq!(bed.get(at(c"d/f"), DEFAULT), Err(Errno::NODATA));
    sys.mkdir_at(dir, c"d/e", 0o750).unwrap();
    assert_eq!(bed.get(at(c"d/e"), ACCESS).unwrap(), named(7, 7, 5, 5, 0));
    assert_eq!(bed.get(at(c"d/e"), DEFAULT).unwrap(), named(7, 7, 5, 7, 1));
    sys.mknod_at(dir, c"d/p", libc::S_IFIFO | 0o606, 0).unwrap();
    assert_eq!(bed.get(at(c"d/p"), ACCESS).unwrap(), named(6, 7, 5, 0, 0));
    bed.symlink(c"t", c"d/s");
    assert!(bed.list(at(c"d/s")).unwrap().is_empty());
    let unnamed = bed.open_how(c"d", How::new(OpenFlags::TMPFILE | OpenFlags::RDWR).mode(0o666)).unwrap();
    assert_eq!(bed.get(XattrTarget::Fd(unnamed.fd()), ACCESS).unwrap(), named(6, 7, 5, 6, 0));
    // A default list that a mode can say leaves no list behind.
    bed.set(at(c"d"), DEFAULT, &minimal(7, 5, 0)).unwrap();
    bed.open_how(c"d/g", How::new(OpenFlags::CREAT).mode(0o666)).unwrap();
    assert_eq!(bed.stat(c"d/g").unwrap().mode & 0o7777, 0o640);
    assert_eq!(bed.get(at(c"d/g"), ACCESS), Err(Errno::NODATA));
    sys.removexattr(at(c"d"), DEFAULT).unwrap();
    assert_eq!(bed.get(at(c"d"), DEFAULT), Err(Errno::NODATA));
}

pub fn writing_drops_capabilities(bed: &Bed) {
    if !bed.is_root() {
        return;
    }
    // Version 2, nothing in it: the least that the kernel takes.
    let mut none = [0; 20];
    none[3] = 2;
    let file = bed.file(c"f", b"x");
    let f = XattrTarget::Fd(file.fd());
    let sys = &bed.sys;
    let actions: [&dyn Fn(); 4] = [
        &|| assert_eq!(sys.pwrite(file.fd(), b"y", 0), Ok(1)),
        &|| assert_eq!(sys.ftruncate(file.fd(), 0), Ok(())),
        &|| assert_eq!(sys.chown(file.fd(), 0, 0), Ok(())),
        &|| assert_eq!(sys.fallocate(file.fd(), 0, 0, 10), Ok(())),
    ];
    for (i, action) in actions.iter().enumerate() {
        bed.set(f, c"security.capability", &none).unwrap();
        action();
        assert_eq!(bed.get(f, c"security.capability"), Err(Errno::NODATA), "{i}");
    }
}
