use kiln_uring::sim::Sim;
use kiln_uring::sys::OpenFlags;
use kiln_uring::{Buf, Core, Errno};

use super::acl::{Acl, Entry, Perm, Tag};
use crate::call::Caller;
use crate::fd::Fd;
use crate::fop::request::{self, SetAttr, SetAttrValid};
use crate::fop::{Fop, reply};
use crate::keys;
use crate::testing::{Rig, entry, gfid, internal, member, root, user};
use crate::translator::{Fops, Translator};
use crate::types::{Dict, Gfid, IaType, Loc, Value, Xdata};

const ACL_LAYER: &str = "features/access-control";

/// A directory of user 10, group 20, mode 0750; in it a file of user 11 and a directory of user 10.
const DIR: Gfid = gfid(2);
const FILE: Gfid = gfid(3);
const SUB: Gfid = gfid(4);

fn rig(core: &Core) -> Rig {
    let rig = Rig::new(core, &[(ACL_LAYER, &[])]);
    rig.brick.put(DIR, IaType::Directory, 0o750, 10, 20);
    rig.brick.name(DIR, Gfid::ROOT, "dir");
    rig.brick.put(FILE, IaType::Regular, 0o640, 11, 20);
    rig.brick.name(FILE, DIR, "file");
    rig.brick.put(SUB, IaType::Directory, 0o555, 10, 20);
    rig.brick.name(SUB, DIR, "sub");
    rig
}

fn acl(entries: &[(Tag, u8)]) -> Vec<u8> {
    let entry = |(tag, perm): &(Tag, u8)| Entry { tag: *tag, perm: Perm::from_bits_truncate(*perm) };
    Acl::new(entries.iter().map(entry).collect()).unwrap().encode()
}

/// Winds `$fop` with these arguments for `$caller` and gives back its errno, if it failed.
macro_rules! errno_of {
    ($rig:ident, $caller:expr, $fop:ident($variant:ident { $($field:ident: $value:expr),* })) => {{
        let call = $rig.call(Fop::$variant, $caller);
        let req = request::$variant { $($field: $value,)* xdata: Xdata::NONE };
        $rig.top().$fop(&call, req).await.err().map(|error| error.errno)
    }};
}

#[test]
fn entries_are_guarded_by_their_directory() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        let denied = Some(Errno::ACCESS);
        // caller, lookup, mkdir
        let table: &[(Caller, Option<Errno>, Option<Errno>)] = &[
            (user(10), None, None),
            (member(99, &[20]), None, denied),
            (member(99, &[1, 20]), None, denied),
            (user(99), denied, denied),
            (root(), None, None),
            (internal(99), None, None),
        ];
        for (index, (caller, lookup, mkdir)) in table.iter().enumerate() {
            let who = format!("{caller:?}");
            let found = errno_of!(rig, caller.clone(), lookup(Lookup { loc: entry(DIR, "file") }));
            assert_eq!(found, *lookup, "lookup by {who}");
            let loc = entry(DIR, &format!("new{index}"));
            let made = errno_of!(rig, caller.clone(), mkdir(Mkdir { loc: loc, mode: 0o755, umask: 0 }));
            assert_eq!(made, *mkdir, "mkdir by {who}");
            let loc = entry(DIR, &format!("link{index}"));
            let made =
                errno_of!(rig, caller.clone(), symlink(Symlink { target: c"x".into(), loc: loc, umask: 0 }));
            assert_eq!(made, *mkdir, "symlink by {who}");
            let removed =
                errno_of!(rig, caller.clone(), unlink(Unlink { loc: entry(DIR, "file"), flags: 0 }));
            assert_eq!(removed, *mkdir, "unlink by {who}");
        }
        // The root itself and objects by gfid need no parent.
        assert_eq!(errno_of!(rig, user(99), lookup(Lookup { loc: Loc::object(FILE) })), None);
    });
}

#[test]
fn exempt_callers_cost_no_question() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        for caller in [root(), internal(99)] {
            assert_eq!(
                errno_of!(rig, caller.clone(), truncate(Truncate { loc: Loc::object(FILE), offset: 0 })),
                None
            );
            assert_eq!(errno_of!(rig, caller, unlink(Unlink { loc: entry(DIR, "file"), flags: 0 })), None);
            assert_eq!(rig.brick.take_fops(), [Fop::Truncate, Fop::Unlink]);
        }
        let super_user: &[(&str, &str)] = &[("super-uid", "99")];
        rig.reconfigure(&[(ACL_LAYER, super_user)]).unwrap();
        assert_eq!(errno_of!(rig, user(99), truncate(Truncate { loc: Loc::object(FILE), offset: 0 })), None);
        assert_eq!(rig.brick.take_fops(), [Fop::Truncate]);
        assert_eq!(
            errno_of!(rig, user(98), truncate(Truncate { loc: Loc::object(FILE), offset: 0 })),
            Some(Errno::ACCESS)
        );
        assert_eq!(rig.brick.take_fops(), [Fop::Stat]);
    });
}

#[test]
fn opens_need_what_their_flags_say() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        rig.brick.put(FILE, IaType::Regular, 0o421, 11, 20);
        let (r, w, rw) = (0, OpenFlags::WRONLY.bits(), OpenFlags::RDWR.bits());
        let exec = super::rules::wanted_by_open(0x20);
        assert_eq!(exec, Perm::X);
        let owner = || user(11);
        let group = || member(12, &[20]);
        let table = [
            (owner(), r, true),
            (owner(), w, false),
            (owner(), rw, false),
            (owner(), r | OpenFlags::TRUNC.bits(), false),
            (owner(), r | OpenFlags::APPEND.bits(), false),
            (group(), w, true),
            (group(), w | OpenFlags::TRUNC.bits(), true),
            (group(), rw, false),
            (group(), r, false),
            (user(99), r, false),
            (user(99), 0x20, true),
            (user(99), 3, false),
        ];
        for (caller, flags, granted) in table {
            let who = format!("{caller:?} flags {flags:#o}");
            let fd = Fd::file(FILE, flags, 1);
            let answer = errno_of!(rig, caller, open(Open { loc: Loc::object(FILE), flags: flags, fd: fd }));
            assert_eq!(answer.is_none(), granted, "{who}");
        }
        let fd = Fd::directory(DIR, 1);
        let answer = errno_of!(rig, user(99), opendir(Opendir { loc: Loc::object(DIR), fd: fd.clone() }));
        assert_eq!(answer, Some(Errno::ACCESS));
        let answer = errno_of!(rig, user(99), readdir(Readdir { fd: fd, size: 1, offset: 0 }));
        assert_eq!(answer, None, "the open was checked");
        let fd = Fd::anonymous(DIR, 0, 1);
        let answer = errno_of!(rig, user(99), readdir(Readdir { fd: fd, size: 1, offset: 0 }));
        assert_eq!(answer, Some(Errno::ACCESS), "nobody opened it");
    });
}

#[test]
fn access_answers_by_itself() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        let table = [
            (user(11), 6, None),
            (user(11), 1, Some(Errno::ACCESS)),
            (user(99), 0, None),
            (user(99), 4, Some(Errno::ACCESS)),
            (user(11), 8, Some(Errno::INVAL)),
        ];
        for (caller, mask, expected) in table {
            let answer = errno_of!(rig, caller, access(Access { loc: Loc::object(FILE), mask: mask }));
            assert_eq!(answer, expected, "mask {mask}");
        }
        assert!(!rig.brick.take_fops().contains(&Fop::Access));
        let answer = errno_of!(rig, user(99), access(Access { loc: Loc::object(gfid(77)), mask: 0 }));
        assert_eq!(answer, Some(Errno::STALE));
    });
}

#[test]
fn lists_decide_where_there_are_some() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        let list = acl(&[
            (Tag::UserObj, 6),
            (Tag::User(99), 6),
            (Tag::GroupObj, 4),
            (Tag::Mask, 4),
            (Tag::Other, 0),
        ]);
        rig.brick.set_xattr(FILE, keys::ACL_ACCESS, list);
        let loc = || Loc::object(FILE);
        assert_eq!(errno_of!(rig, user(99), access(Access { loc: loc(), mask: 4 })), None);
        assert_eq!(
            errno_of!(rig, user(99), access(Access { loc: loc(), mask: 2 })),
            Some(Errno::ACCESS),
            "masked"
        );
        assert_eq!(errno_of!(rig, user(98), access(Access { loc: loc(), mask: 4 })), Some(Errno::ACCESS));

        rig.brick.set_xattr(FILE, keys::ACL_ACCESS, b"rubbish".to_vec());
        assert_eq!(errno_of!(rig, user(11), access(Access { loc: loc(), mask: 4 })), Some(Errno::IO));
        assert_eq!(errno_of!(rig, root(), truncate(Truncate { loc: loc(), offset: 0 })), None);
    });
}

#[test]
fn the_sticky_bit_protects_the_objects_of_others() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        rig.brick.put(DIR, IaType::Directory, 0o1777, 10, 20);
        let denied = Some(Errno::ACCESS);
        for (caller, expected) in [(user(10), None), (user(11), None), (user(99), denied)] {
            let who = format!("{caller:?}");
            let file = || entry(DIR, "file");
            assert_eq!(
                errno_of!(rig, caller.clone(), unlink(Unlink { loc: file(), flags: 0 })),
                expected,
                "{who}"
            );
            let to = entry(DIR, "free");
            let moved = errno_of!(rig, caller.clone(), rename(Rename { old: file(), new: to, flags: 0 }));
            assert_eq!(moved, expected, "{who} moves it away");
            let linked =
                errno_of!(rig, caller, link(Link { old: Loc::object(FILE), new: entry(DIR, "more") }));
            assert_eq!(linked, expected, "{who} links it");
        }
        // Renaming one's own file over somebody else's removes that one.
        rig.brick.put(gfid(5), IaType::Regular, 0o600, 99, 99);
        rig.brick.name(gfid(5), DIR, "mine");
        let over = errno_of!(
            rig,
            user(99),
            rename(Rename { old: entry(DIR, "mine"), new: entry(DIR, "file"), flags: 0 })
        );
        assert_eq!(over, denied);
        let gone = errno_of!(rig, user(99), unlink(Unlink { loc: entry(DIR, "nothing"), flags: 0 }));
        assert_eq!(gone, Some(Errno::NOENT));
        let removed = errno_of!(rig, user(99), rmdir(Rmdir { loc: entry(DIR, "sub"), flags: 0 }));
        assert_eq!(removed, denied);
    });
}

#[test]
fn a_directory_that_moves_is_written_to() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        rig.brick.put(gfid(6), IaType::Directory, 0o777, 0, 0);
        let within = errno_of!(
            rig,
            user(10),
            rename(Rename { old: entry(DIR, "sub"), new: entry(DIR, "sub2"), flags: 0 })
        );
        assert_eq!(within, None);
        let out = errno_of!(
            rig,
            user(10),
            rename(Rename { old: entry(DIR, "sub"), new: entry(gfid(6), "sub"), flags: 0 })
        );
        assert_eq!(out, Some(Errno::ACCESS), "mode 0555");
        let into = errno_of!(
            rig,
            user(10),
            rename(Rename { old: entry(DIR, "file"), new: entry(Gfid::ROOT, "file"), flags: 0 })
        );
        assert_eq!(into, Some(Errno::ACCESS), "the new parent belongs to root");
    });
}

fn attributes(valid: SetAttrValid) -> SetAttr {
    SetAttr { valid, prot: 0o2755, uid: 11, gid: 20, ..SetAttr::default() }
}

#[test]
fn attributes_belong_to_the_owner() {
    use SetAttrValid as V;
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        rig.brick.put(FILE, IaType::Regular, 0o660, 11, 20);
        let (perm, access) = (Some(Errno::PERM), Some(Errno::ACCESS));
        let writer = || member(99, &[20]);
        let times = V::ATIME | V::MTIME;
        let now = times | V::ATIME_NOW | V::MTIME_NOW;
        let table = [
            (user(11), V::MODE, None),
            (writer(), V::MODE, perm),
            (user(11), V::UID, None),
            (writer(), V::UID, perm),
            (user(11), V::GID, None),
            (writer(), V::GID, perm),
            (user(11), times, None),
            (writer(), times, perm),
            (writer(), now, None),
            (writer(), V::MTIME | V::MTIME_NOW, None),
            (writer(), times | V::MTIME_NOW, perm),
            (writer(), now | V::CTIME, perm),
            (user(98), now, access),
            (root(), V::all(), None),
            (internal(98), V::all(), None),
        ];
        for (caller, valid, expected) in table {
            let who = format!("{caller:?} {valid:?}");
            let attr = attributes(valid);
            let loc = Loc::object(FILE);
            assert_eq!(
                errno_of!(rig, caller.clone(), setattr(Setattr { loc: loc, attr: attr })),
                expected,
                "{who}"
            );
            let fd = Fd::file(FILE, 0, 1);
            assert_eq!(
                errno_of!(rig, caller, fsetattr(Fsetattr { fd: fd, attr: attr })),
                expected,
                "{who} by fd"
            );
        }
        // Giving away: neither to another user nor to a group that the owner is not in.
        for (valid, caller, expected) in
            [(V::UID, user(11), perm), (V::GID, user(11), perm), (V::GID, member(11, &[5, 21]), None)]
        {
            let attr = SetAttr { uid: 12, gid: 21, ..attributes(valid) };
            let loc = Loc::object(FILE);
            assert_eq!(
                errno_of!(rig, caller, setattr(Setattr { loc: loc, attr: attr })),
                expected,
                "{valid:?}"
            );
        }
    });
}

#[test]
fn outsiders_of_the_group_cannot_set_its_id_bit() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        for (caller, digits) in [(user(11), "493"), (member(11, &[20]), "1517"), (root(), "1517")] {
            let req = Setattr { loc: Loc::object(FILE), attr: attributes(SetAttrValid::MODE) };
            assert_eq!(
                errno_of!(rig, caller.clone(), setattr(Setattr { loc: req.loc, attr: req.attr })),
                None
            );
            let seen = rig.brick.seen().pop().unwrap();
            assert!(seen.text.contains(&format!("prot: {digits}")), "{caller:?}: {}", seen.text);
        }
    });

    /// Just to name two arguments.
    struct Setattr {
        loc: Loc,
        attr: SetAttr,
    }
}

#[test]
fn xattrs_need_w_and_lists_the_owner() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        rig.brick.put(FILE, IaType::Regular, 0o460, 11, 20);
        let loc = || Loc::object(FILE);
        let value = acl(&[(Tag::UserObj, 6), (Tag::GroupObj, 4), (Tag::Other, 0)]);
        let dict =
            |key: &'static std::ffi::CStr, value: &[u8]| Dict::from_iter([(key, Value::Bin(value.to_vec()))]);
        let plain = || dict(c"user.x", b"1");
        let list = || dict(keys::ACL_ACCESS, &value);
        let text = || dict(c"glusterfs.posix.acl", b"u::rw-,g::r--,o::---");
        let (perm, access) = (Some(Errno::PERM), Some(Errno::ACCESS));
        let writer = || member(99, &[20]);
        let table = [
            (writer(), plain(), None),
            (user(11), plain(), access),
            (user(98), plain(), access),
            (user(11), list(), None),
            (user(11), text(), None),
            (writer(), list(), perm),
            (writer(), text(), perm),
            (user(11), dict(keys::ACL_ACCESS, b"rubbish"), Some(Errno::INVAL)),
            (user(11), dict(keys::ACL_DEFAULT, &[2, 0, 0, 0]), None),
            (root(), plain(), None),
        ];
        for (caller, dict, expected) in table {
            let who = format!("{caller:?} {dict:?}");
            let fd = Fd::file(FILE, 0, 1);
            let set = errno_of!(
                rig,
                caller.clone(),
                setxattr(Setxattr { loc: loc(), dict: dict.clone(), flags: 0 })
            );
            assert_eq!(set, expected, "{who}");
            let set = errno_of!(
                rig,
                caller.clone(),
                fsetxattr(Fsetxattr { fd: fd.clone(), dict: dict.clone(), flags: 0 })
            );
            assert_eq!(set, expected, "{who} by fd");
            let key = dict.into_iter().next().unwrap().0;
            let expected = expected.filter(|errno| *errno != Errno::INVAL);
            let gone =
                errno_of!(rig, caller.clone(), removexattr(Removexattr { loc: loc(), name: key.clone() }));
            assert_eq!(gone, expected, "{who} removed");
            let gone = errno_of!(rig, caller, fremovexattr(Fremovexattr { fd: fd, name: key }));
            assert_eq!(gone, expected, "{who} removed by fd");
        }
        rig.brick.set_xattr(FILE, c"user.x", b"1".to_vec());
        rig.brick.set_xattr(FILE, keys::ACL_ACCESS, value.clone());
        let get = |name: &'static std::ffi::CStr| Some(name.into());
        assert_eq!(errno_of!(rig, user(98), getxattr(Getxattr { loc: loc(), name: get(c"user.x") })), access);
        assert_eq!(errno_of!(rig, user(98), getxattr(Getxattr { loc: loc(), name: None })), access);
        assert_eq!(
            errno_of!(rig, user(98), getxattr(Getxattr { loc: loc(), name: get(keys::ACL_ACCESS) })),
            None
        );
        assert_eq!(errno_of!(rig, user(11), getxattr(Getxattr { loc: loc(), name: get(c"user.x") })), None);
    });
}

async fn make_dir(rig: &Rig, caller: Caller, name: &str, xdata: Xdata) -> reply::Made {
    let call = rig.call(Fop::Mkdir, caller);
    let req = request::Mkdir { loc: entry(DIR, name), mode: 0o777, umask: 0o027, xdata };
    rig.top().mkdir(&call, req).await.unwrap()
}

#[test]
fn the_umask_counts_without_a_default_list() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        for (index, caller) in [user(10), root(), internal(5)].into_iter().enumerate() {
            let made = make_dir(&rig, caller.clone(), &format!("d{index}"), Xdata::NONE).await;
            assert_eq!(made.iatt.prot, 0o750, "{caller:?}");
            let call = rig.call(Fop::Mknod, caller.clone());
            let loc = entry(DIR, &format!("n{index}"));
            let req = request::Mknod { loc, mode: 0o010_666, rdev: 0, umask: 0o077, xdata: Xdata::NONE };
            let made = rig.top().mknod(&call, req).await.unwrap();
            assert_eq!((made.iatt.prot, made.iatt.kind), (0o600, IaType::Fifo), "{caller:?}");
            let call = rig.call(Fop::Put, caller.clone());
            let (loc, xattrs) = (entry(DIR, &format!("p{index}")), Dict::new());
            let data = Buf::from_slice(b"x");
            let req = request::Put {
                loc,
                mode: 0o666,
                umask: 0o022,
                flags: 0,
                data,
                offset: 0,
                xattrs,
                xdata: Xdata::NONE,
            };
            assert_eq!(rig.top().put(&call, req).await.unwrap().iatt.prot, 0o644, "{caller:?}");
        }
        // A client that sends the originals.
        let originals = Dict::from_iter([(keys::UMASK, Value::Int(0o002)), (keys::MODE, Value::Int(0o770))]);
        let made = make_dir(&rig, user(10), "originals", originals.into()).await;
        assert_eq!(made.iatt.prot, 0o770);
        let seen = rig.brick.seen().pop().unwrap().text;
        assert!(!seen.contains("\"umask\"") && !seen.contains("\"mode\""), "the keys went down: {seen}");
    });
}

#[test]
fn default_lists_are_inherited_by_everybody() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        let default = acl(&[
            (Tag::UserObj, 7),
            (Tag::User(50), 6),
            (Tag::GroupObj, 5),
            (Tag::Mask, 7),
            (Tag::Other, 1),
        ]);
        rig.brick.set_xattr(DIR, keys::ACL_DEFAULT, default.clone());
        for (index, caller) in [user(10), root(), internal(5)].into_iter().enumerate() {
            let made = make_dir(&rig, caller.clone(), &format!("d{index}"), Xdata::NONE).await;
            assert_eq!(made.iatt.prot, 0o771, "no umask with a default list: {caller:?}");
            let object = rig.brick.object(made.iatt.gfid).unwrap();
            assert_eq!(object.xattrs.get(keys::ACL_DEFAULT), Some(&Value::Bin(default.clone())));
            assert_eq!(object.xattrs.get(keys::ACL_ACCESS), Some(&Value::Bin(default.clone())));

            let call = rig.call(Fop::Create, caller.clone());
            let loc = entry(DIR, &format!("f{index}"));
            let fd = Fd::file(Gfid::NULL, 0, 1);
            let req = request::Create { loc, flags: 0, mode: 0o640, umask: 0o077, fd, xdata: Xdata::NONE };
            let made = rig.top().create(&call, req).await.unwrap();
            assert_eq!(made.iatt.prot, 0o640, "{caller:?}");
            let object = rig.brick.object(made.iatt.gfid).unwrap();
            assert!(!object.xattrs.contains(keys::ACL_DEFAULT), "files have no default list");
            let access = acl(&[
                (Tag::UserObj, 6),
                (Tag::User(50), 6),
                (Tag::GroupObj, 5),
                (Tag::Mask, 4),
                (Tag::Other, 0),
            ]);
            assert_eq!(object.xattrs.get(keys::ACL_ACCESS), Some(&Value::Bin(access)));
        }
    });
}

#[test]
fn create_does_not_open_what_open_would_refuse() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        rig.brick.put(DIR, IaType::Directory, 0o777, 10, 20);
        let create = async |caller, flags: OpenFlags, name: &str| {
            let call = rig.call(Fop::Create, caller);
            let fd = Fd::file(Gfid::NULL, flags.bits(), 1);
            let flags = (flags | OpenFlags::CREAT).bits();
            let req = request::Create {
                loc: entry(DIR, name),
                flags,
                mode: 0o600,
                umask: 0,
                fd,
                xdata: Xdata::NONE,
            };
            rig.top().create(&call, req).await.map(|made| made.iatt.gfid).map_err(|error| error.errno)
        };
        assert_eq!(create(user(99), OpenFlags::empty(), "file").await, Err(Errno::ACCESS));
        assert_eq!(create(user(11), OpenFlags::RDWR, "file").await, Ok(FILE));
        assert_eq!(create(root(), OpenFlags::RDWR, "file").await, Ok(FILE));
        assert_eq!(create(user(99), OpenFlags::EXCL, "file").await, Err(Errno::EXIST));
        assert!(create(user(99), OpenFlags::RDWR, "fresh").await.is_ok());
        // A name that comes and goes faster than it can be checked.
        rig.brick.fail(Fop::Create, Errno::EXIST);
        assert_eq!(create(user(99), OpenFlags::RDWR, "flickering").await, Err(Errno::BUSY));
    });
}

#[test]
fn answers_tell_the_lists_when_there_is_a_dictionary() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core);
        let list = acl(&[(Tag::UserObj, 6), (Tag::GroupObj, 4), (Tag::Other, 0)]);
        rig.brick.set_xattr(FILE, keys::ACL_ACCESS, list.clone());
        for (xdata, told) in [(Xdata::NONE, None), (Dict::new().into(), Some(Value::Bin(list)))] {
            for caller in [root(), user(10)] {
                let call = rig.call(Fop::Lookup, caller);
                let req = request::Lookup { loc: entry(DIR, "file"), xdata: xdata.clone() };
                let found = rig.top().lookup(&call, req).await.unwrap();
                assert_eq!(found.xdata.get(keys::ACL_ACCESS), told.as_ref());
            }
        }
    });
}

#[test]
fn both_names_make_it_and_fops_without_rule_pass_it_by() {
    Sim::new(1).run(async |core| {
        let rig = Rig::new(&core, &[(ACL_LAYER, &[]), ("system/posix-acl", &[])]);
        let layers: Vec<FopNames> = rig.graph.layers()[1..].iter().map(|layer| names(&**layer)).collect();
        assert_eq!(layers[0], layers[1]);
        for free in ["stat", "readv", "writev", "fstat", "statfs", "xattrop", "lk", "readlink", "fgetxattr"] {
            assert!(!layers[0].contains(&free), "{free}");
        }
        for guarded in ["lookup", "create", "access", "setattr", "fsetattr"] {
            assert!(layers[0].contains(&guarded), "{guarded}");
        }
    });

    type FopNames = Vec<&'static str>;

    fn names(layer: &dyn Translator) -> FopNames {
        Fops::intercepts(layer).iter().map(Fop::name).collect()
    }
}
