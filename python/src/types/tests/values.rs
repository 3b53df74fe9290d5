use super::{check, with_python};

#[test]
fn locations_take_only_what_a_directory_can_hold() {
    with_python(|py, scope| {
        check(
            py,
            scope,
            r#"
loc = Loc.entry(ROOT, b"name")
assert (loc.gfid, loc.parent, loc.name, loc.is_root) == (NULL, ROOT, b"name", False)
assert loc == Loc(NULL, ROOT, b"name") == Loc(name="name", parent=ROOT) and hash(loc) == hash(Loc(NULL, ROOT, b"name"))
assert loc != Loc.object(ROOT) and Loc.object(ROOT).is_root and Loc.object(ROOT).name is None
assert str(loc) == "<gfid:00000000-0000-0000-0000-000000000001>/name", str(loc)
assert eval(repr(loc)) == loc
assert loc.replace(name=None, gfid=ROOT) == Loc(ROOT, ROOT)
match loc:
    case Loc(gfid, parent, name):
        assert name == b"name"
raises(ValueError, "holds no `/`", lambda: Loc(NULL, ROOT, b"a/b"))
raises(ValueError, "at most 255 bytes, not 256", lambda: Loc(NULL, ROOT, b"x" * 256))
for name in b"", b".", b"..", b"a\0b":
    raises(ValueError, "Loc(name): a name is not empty", lambda: Loc(NULL, ROOT, name))
    raises(ValueError, "a name is not empty", lambda: Loc.entry(ROOT, name))
raises(TypeError, "Loc(name): expected bytes or str as a name, got int", lambda: Loc(NULL, ROOT, 7))
raises(UnicodeEncodeError, "surrogates", lambda: Loc(NULL, ROOT, "\udc80"))
raises(ValueError, "expected a gfid: 16 bytes, not 3", lambda: Loc(b"abc"))
raises(TypeError, "expected a gfid, got str", lambda: Loc("abc"))
raises(TypeError, "Loc has no field `nam`", lambda: loc.replace(nam=b"x"))
raises(AttributeError, "not writable", lambda: setattr(loc, "name", b"x"))
assert gfid_text(ROOT) == "00000000-0000-0000-0000-000000000001" and gfid_bytes(gfid_text(ROOT).upper()) == ROOT
raises(ValueError, "x: not a UUID", lambda: gfid_bytes("x"))
"#,
        );
    });
}

#[test]
fn attributes_keep_every_number_and_every_time() {
    with_python(|py, scope| {
        check(
            py,
            scope,
            r#"
import enum
empty = Iatt()
assert not empty and empty.type == IA_INVAL == 0 and empty.gfid == NULL and empty.mtime == 0
iatt = Iatt(gfid=ROOT, type=IaType.DIRECTORY, prot=0o755, nlink=2, size=2**64 - 1, mtime=-1, ctime=1_700_000_000_123_456_789)
assert iatt and iatt.is_directory and not iatt.is_regular and iatt.mode == 0o40755 and iatt.ino == 1
assert isinstance(iatt.type, enum.IntEnum) and iatt.type is IaType.DIRECTORY and iatt.type == IA_IFDIR == 2
assert (iatt.size, iatt.mtime, iatt.ctime) == (2**64 - 1, -1, 1_700_000_000_123_456_789)
for seconds in -2**63, -1, 0, 2**63 - 1:
    for ns in 0, 999_999_999:
        time = seconds * 10**9 + ns
        assert Iatt(atime=time).atime == time
raises(OverflowError, "nanoseconds are no time", lambda: Iatt(atime=2**63 * 10**9))
raises(OverflowError, "", lambda: Iatt(atime=2**200))
raises(OverflowError, "Iatt(uid): 4294967296 is not in 0..=4294967295", lambda: Iatt(uid=2**32))
raises(OverflowError, "Iatt(size): -1 is not in 0..=", lambda: iatt.replace(size=-1))
raises(ValueError, "Iatt(type): 8 is no IaType", lambda: Iatt(type=8))
raises(TypeError, "Iatt(uid): expected int, got str", lambda: Iatt(uid="0"))
raises(TypeError, "", lambda: Iatt(ROOT))
same = iatt.replace(type=4).replace(type=2)
assert same == iatt and hash(same) == hash(iatt) and same != iatt.replace(ctime=0)
assert {iatt: 1}[same] == 1 and "size=18446744073709551615" in repr(iatt)
"#,
        );
    });
}

#[test]
fn locks_callers_and_the_rest_are_values() {
    with_python(|py, scope| {
        check(
            py,
            scope,
            r#"
flock = Flock(LockType.WRITE, 5, 10, -6, b"owner")
assert (flock.type, flock.start, flock.len, flock.pid, flock.owner) == (1, 5, 10, -6, b"owner")
assert Flock().type is LockType.UNLOCK and flock.replace(type=0).type is LockType.READ
raises(ValueError, "at most 1024 bytes, not 1025", lambda: Flock(owner=b"x" * 1025))
raises(OverflowError, "Flock(start)", lambda: Flock(start=2**63))
lock = ActiveLock(flock, "client-1", 3)
assert lock.flock == flock and lock == ActiveLock(flock, "client-1", 3) and len({lock, lock.replace(flags=3)}) == 1
raises(ValueError, "text holds no NUL", lambda: ActiveLock(flock, "a\0b"))
valid = SetAttrValid.MODE | SetAttrValid.MTIME
attr = SetAttr(valid, 0o644, mtime=7)
assert attr.valid == valid == 0x21 and SetAttrValid(attr.valid) == valid and attr.mtime == 7
assert SetAttr(valid=0xffffffff).valid == 0xffffffff
lease = Lease(2, 1, b"L" * 16, 9)
assert (lease.cmd, lease.kind, lease.id, lease.flags) == (2, 1, b"L" * 16, 9)
raises(ValueError, "16 bytes, not 15", lambda: Lease(id=b"L" * 15))
assert StatFs(bsize=4096, files=2**64 - 1).files == 2**64 - 1 and StatFs(type=1) != StatFs()
caller = Caller(uid=1, gid=2, groups=[3, 4], pid=-6, lock_owner=b"me", client=8)
assert caller.groups == (3, 4) and caller.is_internal and caller.in_group(2) and caller.in_group(4) and not caller.in_group(5)
assert caller == eval(repr(caller)) and hash(caller) == hash(eval(repr(caller)))
raises(OverflowError, "Caller(groups): -1", lambda: Caller(groups=[-1]))
assert MdataTimes(ctime=1, mtime=2, atime=3).replace(atime=4) == MdataTimes(ctime=1, mtime=2, atime=4)
dirent = Dirent(b"..", 1, 2, DT_DIR)
assert (dirent.name, dirent.ino, dirent.offset, dirent.kind, dirent.iatt, dirent.xdata) == (b"..", 1, 2, 4, Iatt(), {})
assert dirent == Dirent(b"..", 1, 2, 4, None, None) and dirent.replace(iatt=Iatt(size=3)).iatt.size == 3
assert hash(dirent) == hash(dirent.replace()) and dirent != dirent.replace(xdata={b"a": 1})
raises(ValueError, "Dirent(name): an entry's name has 1 to 255", lambda: Dirent(b"a/b", 1, 2, 4))
raises(ValueError, "holds no NUL", lambda: Dirent(b"a\0b", 1, 2, 4))
raises(OverflowError, "Dirent(kind): 256", lambda: Dirent(b"a", 1, 2, 256))
assert (LkCmd.SET_WAIT, EntrylkCmd.TRY_LOCK, XattropOp.ADD_ARRAY_64, SeekWhat.HOLE) == (2, 2, 1, 1)
assert repr(LkCmd.GET) == "<LkCmd.GET: 0>" and LkCmd.__module__ == "kiln"
"#,
        );
    });
}

#[test]
fn a_descriptor_is_itself_and_nobody_else() {
    with_python(|py, scope| {
        check(
            py,
            scope,
            r#"
one, two = Fd.file(ROOT, 0o2), Fd.file(ROOT, 0o2)
assert one == one and one != two and one.id != two.id and len({one, two, one}) == 2
assert (one.gfid, one.flags, one.is_directory, one.is_anonymous, one.pid) == (ROOT, 2, False, False, 0)
assert Fd.file().gfid == NULL and Fd.directory(ROOT, pid=-1).is_directory and Fd.anonymous(ROOT).is_anonymous
again = request.Flush(one).fd
assert again == one and again is not one and again.id == one.id and hash(again) == hash(one)
raises(TypeError, "", lambda: Fd())
"#,
        );
    });
}

#[test]
fn failures_carry_an_errno_that_is_one() {
    with_python(|py, scope| {
        check(
            py,
            scope,
            r#"
import errno
failure = Failure(errno.ENOENT)
assert failure.errno == 2 and failure.xdata == {} and failure.postparent is None and repr(failure) == "Failure(ENOENT)"
full = Failure(errno.ENOENT, {b"key": 1}, Iatt(gfid=ROOT))
assert full.xdata[b"key"] == 1 and full.postparent.gfid == ROOT and full != failure and "postparent=Iatt" in repr(full)
assert full.replace(errno=5) == Failure(5, {"key": 1}, Iatt(gfid=ROOT)) and hash(full) == hash(full.replace())
for number in 0, -1, 4096, 2**40:
    raises(ValueError, f"{number} is no errno", lambda: Failure(number))
raises(TypeError, "Failure(errno): expected int, got str", lambda: Failure("ENOENT"))
raises(TypeError, "Failure(xdata): expected Dict or a mapping", lambda: Failure(2, 3))
assert repr(PASS) == "PASS" and repr(LATER) == "LATER"
"#,
        );
    });
}
