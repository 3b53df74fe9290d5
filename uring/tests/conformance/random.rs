//! Random sequences of calls, made on the real kernel and on the file system in memory, which must answer alike and end
//! with the same tree.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;

use kiln_uring::sys::{
    AtFlags, Errno, File, How, OpenFlags, ReadFlags, RenameFlags, Resolve, SysResult, TimeSet, Timespec,
    XattrFlags, XattrTarget,
};
use proptest::prelude::*;

use super::bed::Bed;

/// Paths that a call may use; few enough that calls meet.
const PATHS: &[&CStr] = &[
    c"a",
    c"b",
    c"c",
    c"s",
    c"a/a",
    c"a/b",
    c"a/s",
    c"b/a",
    c"b/c",
    c"a/b/c",
    c"a/b/d",
    c"s/a",
    c"a/s/b",
    c"b/../a",
    c"./c",
    c"a/",
    c"b/c/",
    c"a/.",
    c"b/..",
    c"../bed/c",
    c"",
];
const TARGETS: &[&CStr] = &[c"a", c"b", c"../b", c"a/b", c"s", c"c", c"nowhere", c"./a/../b/"];
const XATTRS: &[&CStr] =
    &[c"user.one", c"user.two", c"trusted.three", c"security.four", c"other.five", c"trusted."];
const OPEN_FLAGS: &[OpenFlags] = &[
    OpenFlags::empty(),
    OpenFlags::RDWR,
    OpenFlags::WRONLY.union(OpenFlags::CREAT),
    OpenFlags::RDWR.union(OpenFlags::CREAT),
    OpenFlags::RDWR.union(OpenFlags::CREAT).union(OpenFlags::EXCL),
    OpenFlags::RDWR.union(OpenFlags::CREAT).union(OpenFlags::NOFOLLOW),
    OpenFlags::RDWR.union(OpenFlags::TRUNC),
    OpenFlags::RDWR.union(OpenFlags::APPEND),
    OpenFlags::DIRECTORY,
    OpenFlags::DIRECTORY.union(OpenFlags::NOFOLLOW),
    OpenFlags::PATH.union(OpenFlags::NOFOLLOW),
    OpenFlags::TMPFILE.union(OpenFlags::RDWR),
    OpenFlags::TMPFILE.union(OpenFlags::RDWR).union(OpenFlags::EXCL),
];
const ALLOCATE: &[u32] = &[
    0,
    libc::FALLOC_FL_KEEP_SIZE as u32,
    (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE) as u32,
    libc::FALLOC_FL_ZERO_RANGE as u32,
    (libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE) as u32,
];
const RENAME: &[RenameFlags] = &[RenameFlags::empty(), RenameFlags::NOREPLACE, RenameFlags::EXCHANGE];

type Path = &'static CStr;

#[derive(Clone, Debug)]
enum Op {
    Open(Path, OpenFlags, Resolve),
    Close(usize),
    Pwrite(usize, u64, usize, u8),
    Pread(usize, u64, usize),
    Ftruncate(usize, u64),
    Fallocate(usize, u32, u64, u64),
    Copy(usize, u64, usize, u64, usize),
    LinkFd(usize, Path),
    FdStat(usize),
    FdChmod(usize, u32),
    Mkdir(Path, u32),
    Mknod(Path, u32),
    Symlink(Path, Path),
    Link(Path, Path),
    Unlink(Path, bool),
    Rename(Path, Path, RenameFlags),
    Readlink(Path),
    Chmod(Path, u32),
    Chown(Path, u32, u32),
    SetTimes(Path, i64),
    SetXattr(Path, Path, u8, XattrFlags),
    GetXattr(Path, Path),
    RemoveXattr(Path, Path),
    SetAcl(Path, bool, Vec<u8>),
    FdSetXattr(usize, Path, u8),
    List(Path),
    ReadDir(usize),
    Stat(Path),
}

/// An access list with the five classes of entries, most often a valid one.
fn any_acl() -> impl Strategy<Value = Vec<u8>> {
    (any::<bool>(), prop::array::uniform5(0_u16..9)).prop_map(|(named, [u, n, g, m, o])| {
        let mut entries = vec![(1_u16, u, u32::MAX), (4, g, u32::MAX), (0x20, o, u32::MAX)];
        if named {
            entries.insert(1, (2, n, 1000));
            entries.insert(3, (0x10, m, u32::MAX));
        }
        let mut value = 2_u32.to_le_bytes().to_vec();
        for (tag, perm, id) in entries {
            // Once in a while the permissions are out of range.
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&perm.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    })
}

/// The mode bits to play with: not the sticky one where the system gives it a meaning that is a matter of settings.
fn mode_bits() -> u32 {
    let is_off = |name| {
        let value = std::fs::read_to_string(format!("/proc/sys/fs/protected_{name}"));
        value.is_ok_and(|value| value.trim() == "0")
    };
    if ["regular", "fifos", "symlinks"].into_iter().all(is_off) { 0o7777 } else { 0o6777 }
}

fn any_op() -> impl Strategy<Value = Op> {
    let path = || prop::sample::select(PATHS);
    let xattr = || prop::sample::select(XATTRS);
    let held = || 0_usize..6;
    let bits = mode_bits();
    let mode = || (0_u32..0o10000).prop_map(move |mode| mode & bits);
    let offset = || prop_oneof![0_u64..20_000, (0_u64..6).prop_map(|n| n * 4096)];
    let resolve = prop::sample::select(vec![Resolve::empty(), Resolve::BENEATH, Resolve::NO_SYMLINKS]);
    let flags = prop::sample::select(vec![XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE]);
    let kind = prop::sample::select(vec![0, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK, libc::S_IFCHR]);
    prop_oneof![
        6 => (path(), prop::sample::select(OPEN_FLAGS), resolve).prop_map(|(p, f, r)| Op::Open(p, f, r)),
        2 => held().prop_map(Op::Close),
        4 => (held(), offset(), 0_usize..9000, 1_u8..).prop_map(|(h, o, l, b)| Op::Pwrite(h, o, l, b)),
        2 => (held(), offset(), 0_usize..9000).prop_map(|(h, o, l)| Op::Pread(h, o, l)),
        2 => (held(), offset()).prop_map(|(h, l)| Op::Ftruncate(h, l)),
        3 => (held(), prop::sample::select(ALLOCATE), offset(), offset()).prop_map(|(h, m, o, l)| Op::Fallocate(h, m, o, l)),
        1 => (held(), offset(), held(), offset(), 0_usize..9000).prop_map(|(f, a, t, b, l)| Op::Copy(f, a, t, b, l)),
        2 => (held(), path()).prop_map(|(h, p)| Op::LinkFd(h, p)),
        1 => held().prop_map(Op::FdStat),
        1 => (held(), mode()).prop_map(|(h, m)| Op::FdChmod(h, m)),
        5 => (path(), mode()).prop_map(|(p, m)| Op::Mkdir(p, m)),
        2 => (path(), kind, mode()).prop_map(|(p, k, m)| Op::Mknod(p, k | m)),
        3 => (prop::sample::select(TARGETS), path()).prop_map(|(t, p)| Op::Symlink(t, p)),
        3 => (path(), path()).prop_map(|(o, n)| Op::Link(o, n)),
        3 => (path(), any::<bool>()).prop_map(|(p, d)| Op::Unlink(p, d)),
        6 => (path(), path(), prop::sample::select(RENAME)).prop_map(|(o, n, f)| Op::Rename(o, n, f)),
        1 => path().prop_map(Op::Readlink),
        2 => (path(), mode()).prop_map(|(p, m)| Op::Chmod(p, m)),
        2 => (path(), prop_oneof![Just(u32::MAX), 0_u32..9], prop_oneof![Just(u32::MAX), 0_u32..9])
            .prop_map(|(p, u, g)| Op::Chown(p, u, g)),
        1 => (path(), -9_i64..9).prop_map(|(p, t)| Op::SetTimes(p, t)),
        3 => (path(), xattr(), any::<u8>(), flags).prop_map(|(p, n, v, f)| Op::SetXattr(p, n, v, f)),
        1 => (path(), xattr()).prop_map(|(p, n)| Op::GetXattr(p, n)),
        1 => (path(), xattr()).prop_map(|(p, n)| Op::RemoveXattr(p, n)),
        2 => (path(), any::<bool>(), any_acl()).prop_map(|(p, d, a)| Op::SetAcl(p, d, a)),
        1 => (held(), xattr(), any::<u8>()).prop_map(|(h, n, v)| Op::FdSetXattr(h, n, v)),
        1 => path().prop_map(Op::List),
        1 => held().prop_map(Op::ReadDir),
        2 => path().prop_map(Op::Stat),
    ]
}

/// What a call answered, without what may differ.
#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Count(usize),
    Bytes(Vec<u8>),
    Names(Vec<String>),
    /// Mode, links, owner, size (of what is no directory).
    Stat([u64; 5]),
    Opened,
}

const ACL_NAMES: [&CStr; 2] = [c"system.posix_acl_access", c"system.posix_acl_default"];

struct Player<'a> {
    bed: &'a Bed,
    held: Vec<File>,
}

impl Player<'_> {
    /// Descriptor number `i` of those open; the directory itself when there is none.
    fn fd(&self, i: usize) -> i32 {
        match self.held.len() {
            0 => self.bed.fd(),
            len => self.held[i % len].fd(),
        }
    }

    fn play(&mut self, op: &Op) -> SysResult<Answer> {
        let (sys, dir) = (Arc::clone(&self.bed.sys), self.bed.fd());
        let at = |path| XattrTarget::At(dir, path);
        let done = |()| Answer::Done;
        match *op {
            Op::Open(path, flags, resolve) => {
                // Without waiting, because of fifos.
                let wait =
                    if flags.contains(OpenFlags::PATH) { OpenFlags::empty() } else { OpenFlags::NONBLOCK };
                let file = self.bed.open_how(path, How::new(flags | wait).mode(0o2664).resolve(resolve))?;
                self.held.push(file);
                if self.held.len() > 6 {
                    self.held.remove(0);
                }
                Ok(Answer::Opened)
            }
            Op::Close(i) => {
                if !self.held.is_empty() {
                    self.held.remove(i % self.held.len());
                }
                Ok(Answer::Done)
            }
            Op::Pwrite(i, offset, len, byte) => {
                sys.pwrite(self.fd(i), &vec![byte; len], offset).map(Answer::Count)
            }
            Op::Pread(i, offset, len) => {
                let mut buf = vec![0; len];
                let n = sys.pread(self.fd(i), &mut buf, offset, ReadFlags::empty())?;
                buf.truncate(n);
                Ok(Answer::Bytes(buf))
            }
            Op::Ftruncate(i, len) => sys.ftruncate(self.fd(i), len).map(done),
            Op::Fallocate(i, mode, offset, len) => sys.fallocate(self.fd(i), mode, offset, len).map(done),
            Op::Copy(from, a, to, b, len) => {
                sys.copy_file_range(self.fd(from), a, self.fd(to), b, len).map(Answer::Count)
            }
            Op::LinkFd(i, path) => sys.link_fd(self.fd(i), dir, path).map(done),
            Op::FdStat(i) => sys.stat(self.fd(i)).map(|st| Answer::Stat(figures(&st))),
            Op::FdChmod(i, mode) => sys.chmod(self.fd(i), mode).map(done),
            Op::Mkdir(path, mode) => sys.mkdir_at(dir, path, mode).map(done),
            Op::Mknod(path, mode) => sys.mknod_at(dir, path, mode, 0x1234).map(done),
            Op::Symlink(target, path) => sys.symlink_at(target, dir, path).map(done),
            Op::Link(old, new) => sys.link_at(dir, old, dir, new).map(done),
            Op::Unlink(path, rmdir) => {
                let flags = if rmdir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                sys.unlink_at(dir, path, flags).map(done)
            }
            Op::Rename(old, new, flags) => sys.rename_at(dir, old, dir, new, flags).map(done),
            Op::Readlink(path) => sys.readlink_at(dir, path).map(Answer::Bytes),
            Op::Chmod(path, mode) => sys.chmod_at(dir, path, mode).map(done),
            Op::Chown(path, uid, gid) => sys.chown_at(dir, path, uid, gid).map(done),
            Op::SetTimes(path, sec) => {
                sys.set_times_at(dir, path, TimeSet::At(Timespec { sec, nsec: 1 }), TimeSet::Keep).map(done)
            }
            Op::SetXattr(path, name, value, flags) => sys.setxattr(at(path), name, &[value], flags).map(done),
            Op::GetXattr(path, name) => self.bed.get(at(path), name).map(Answer::Bytes),
            Op::RemoveXattr(path, name) => sys.removexattr(at(path), name).map(done),
            Op::SetAcl(path, default, ref value) => {
                self.bed.set(at(path), ACL_NAMES[usize::from(default)], value).map(done)
            }
            Op::FdSetXattr(i, name, value) => {
                self.bed.set(XattrTarget::Fd(self.fd(i)), name, &[value]).map(done)
            }
            Op::List(path) => self.bed.list(at(path)).map(Answer::Names),
            Op::ReadDir(i) => {
                let entries = sys.read_dir(self.fd(i), 0, 1 << 16)?;
                let mut names: Vec<_> = entries.iter().map(|e| e.name.to_str().unwrap().to_owned()).collect();
                names.sort();
                Ok(Answer::Names(names))
            }
            Op::Stat(path) => sys.stat_at(dir, path).map(|st| Answer::Stat(figures(&st))),
        }
    }
}

fn figures(st: &kiln_uring::sys::Stat) -> [u64; 5] {
    let size = if st.is_dir() { 0 } else { st.size };
    [st.mode.into(), st.nlink.into(), st.uid.into(), st.gid.into(), size]
}

/// An object as its names see it.
#[derive(Debug, PartialEq)]
struct Seen {
    figures: [u64; 5],
    atime_set: Option<i64>,
    content: Vec<u8>,
    xattrs: Vec<(String, Vec<u8>)>,
    /// The first path that led to the same object.
    first: String,
}

/// Everything below the directory, by path.
fn tree(bed: &Bed) -> BTreeMap<String, Seen> {
    let mut seen = BTreeMap::new();
    let mut firsts = BTreeMap::new();
    let mut todo = vec![String::from(".")];
    while let Some(path) = todo.pop() {
        let c_path = CString::new(path.as_str()).unwrap();
        let st = bed.stat(&c_path).unwrap();
        let target = XattrTarget::At(bed.fd(), &c_path);
        let names = bed.list(target).unwrap();
        let xattrs = names.into_iter().map(|name| {
            let value = bed.get(target, &CString::new(name.as_str()).unwrap()).unwrap();
            (name, value)
        });
        let content = match st.file_type() {
            libc::S_IFREG => bed.content(&bed.open(&c_path, OpenFlags::NOATIME).unwrap()),
            libc::S_IFLNK => bed.sys.readlink_at(bed.fd(), &c_path).unwrap(),
            libc::S_IFDIR => {
                let names = bed.names(&c_path);
                let children = names.iter().filter(|name| *name != "." && *name != "..");
                todo.extend(children.map(|name| format!("{path}/{name}")));
                todo.sort();
                todo.reverse();
                names.join("\n").into_bytes()
            }
            _ => Vec::new(),
        };
        let first = firsts.entry(st.ino).or_insert_with(|| path.clone()).clone();
        // Access times that a call set to the past or not; which reads move them depends on the mount.
        let atime_set = (st.file_type() == libc::S_IFIFO && st.atime.sec < 100).then_some(st.atime.sec);
        seen.insert(
            path,
            Seen { figures: figures(&st), atime_set, content, xattrs: xattrs.collect(), first },
        );
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_answers_like_the_kernel(ops in prop::collection::vec(any_op(), 1..80)) {
        let (linux, memfs) = (Bed::linux(), Bed::memfs());
        // Other file systems differ in details that these sequences meet.
        if !linux.is_ext4() || !linux.is_root() {
            return Ok(());
        }
        let mut real = Player { bed: &linux, held: Vec::new() };
        let mut memory = Player { bed: &memfs, held: Vec::new() };
        for (i, op) in ops.iter().enumerate() {
            let (wanted, got): (Result<Answer, Errno>, _) = (real.play(op), memory.play(op));
            prop_assert_eq!(wanted, got, "call {}: {:?}", i, op);
        }
        prop_assert_eq!(tree(&linux), tree(&memfs));
        prop_assert!(memfs.memory().is_consistent());
        drop(memory);
        prop_assert_eq!(memfs.memory().open_files(), 1);
        prop_assert!(memfs.memory().is_consistent());
    }
}
