//! Which fop uses and which changes what.

use kiln_uring::Errno;

use super::Upcall;
use crate::call::Call;
use crate::fop::{Fop, FopSet, reply, request};
use crate::graph::Next;
use crate::keys;
use crate::translator::{Fops, Wound};
use crate::types::{Dict, Gfid, Iatt, Key, Loc, Value, Xdata};
use crate::upcall::{Invalidation, Stale};

/// `ipc`'s number for this layer: clients tell which extended attributes they cache.
const IPC_REGISTER: i32 = 2;

/// Data changed.
const WRITTEN: Stale = Stale::SIZE.union(Stale::TIMES);
/// Attributes changed.
const ATTRIBUTES: Stale = WRITTEN.union(Stale::OWN).union(Stale::MODE).union(Stale::PERM);
/// A name came or went.
const NAMES: Stale = Stale::NLINK.union(Stale::TIMES);

fn stale(stale: Stale, iatt: Iatt) -> Invalidation {
    Invalidation { stale, iatt, ..Invalidation::default() }
}

impl Upcall {
    /// An entry came or went: who has the directory cached, is told of its times.
    fn directory_changed(&self, call: &Call, parent: Gfid, iatt: Iatt) {
        self.changed(call, parent, stale(Stale::TIMES, iatt));
    }

    fn made(&self, call: &Call, parent: Gfid, made: &reply::Made) {
        self.used(call, made.iatt.gfid);
        self.directory_changed(call, parent, made.postparent);
    }

    /// The object at a location that is about to lose its name, with its links.
    async fn doomed(&self, call: &Call, loc: &Loc) -> Iatt {
        let req = request::Lookup { loc: loc.clone(), xdata: Xdata::NONE };
        self.next.lookup(call, req).await.map(|found| found.iatt).unwrap_or_default()
    }

    fn removed(&self, call: &Call, parent: Gfid, doomed: &Iatt, removed: &reply::Removed, last: bool) {
        let stale = NAMES | Stale::PARENT_TIMES;
        self.changed(
            call,
            doomed.gfid,
            Invalidation { stale, parent: removed.postparent, ..Invalidation::default() },
        );
        if last {
            self.gone(doomed.gfid);
        }
        self.directory_changed(call, parent, removed.postparent);
    }

    fn renamed(&self, call: &Call, old: Gfid, new: Gfid, victim: &Iatt, renamed: &reply::Renamed) {
        let (iatt, parent, old_parent) = (renamed.iatt, renamed.postnewparent, renamed.postoldparent);
        let stale = Stale::RENAME | Stale::PARENT_TIMES;
        self.changed(
            call,
            iatt.gfid,
            Invalidation { stale, iatt, parent, old_parent, ..Invalidation::default() },
        );
        if victim.gfid != iatt.gfid {
            let stale = NAMES | Stale::PARENT_TIMES;
            self.changed(call, victim.gfid, Invalidation { stale, parent, ..Invalidation::default() });
        }
        self.directory_changed(call, new, parent);
        if old != new {
            self.directory_changed(call, old, old_parent);
        }
    }

    /// Extended attributes were set or removed.
    fn xattrs_changed(&self, call: &Call, gfid: Gfid, what: Stale, cached: Vec<(Key, Value)>, xdata: &Xdata) {
        self.used(call, gfid);
        if cached.is_empty() {
            return;
        }
        let iatt = match xdata.get(keys::POSTSTAT) {
            Some(Value::Iatt(iatt)) => **iatt,
            _ => Iatt::default(),
        };
        let xdata = cached.into_iter().collect::<Dict>().into();
        self.changed(call, gfid, Invalidation { stale: what, iatt, xdata, ..Invalidation::default() });
    }

    fn cached_values(&self, dict: &Dict) -> Vec<(Key, Value)> {
        let names = self.cached(dict.iter().map(|(name, _)| name));
        let value = |name: &Key| dict.get(name).cloned().unwrap_or(Value::Bin(Vec::new()));
        names.into_iter().map(|name| (name.clone(), value(&name))).collect()
    }

    fn cached_name(&self, name: &Key) -> Vec<(Key, Value)> {
        let names = self.cached(std::iter::once(name.as_ref()));
        names.into_iter().map(|name| (name, Value::Bin(Vec::new()))).collect()
    }
}

/// What follows `chmod`: permissions are in the ACLs, too.
fn attributes(valid: request::SetAttrValid) -> Stale {
    if valid.contains(request::SetAttrValid::MODE) { ATTRIBUTES | Stale::XATTR } else { ATTRIBUTES }
}

/// Each row: a fop, what to do, and to keep of its request, before it goes on, and what to do when it has succeeded. A use
/// is announced before, where the object is known: a change that comes right after the answer must find its client.
macro_rules! watch {
    ($($variant:ident $method:ident $reply:ident ($s:ident, $call:ident, $req:ident) $kept:expr => $name:pat_param, $answer:ident $after:block)*) => {
        impl Fops for Upcall {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                FopSet::EMPTY.with(Fop::Ipc) $(.with(Fop::$variant))*
            }

            fn ipc<'a>(&'a self, call: &'a Call, req: request::Ipc) -> Wound<'a, reply::Done> {
                if req.op != IPC_REGISTER {
                    return self.next.ipc(call, req);
                }
                let answer = req.xdata.dict().map(|names| self.register(names));
                let done = answer.map(|()| reply::Done::default()).ok_or(Errno::INVAL.into());
                Wound::ready(call, done)
            }

            $(fn $method<'a>(&'a self, $call: &'a Call, $req: request::$variant) -> Wound<'a, reply::$reply> {
                if !self.is_on() {
                    return self.next.$method($call, $req);
                }
                Wound::new($call, async move {
                    let $s = self;
                    let $name = $kept;
                    let $answer = $s.next.$method($call, $req).await?;
                    $after
                    Ok($answer)
                })
            })*
        }
    };
}

watch! {
    Lookup lookup Lookup (s, call, req) s.used(call, req.loc.gfid) => (), found { s.used(call, found.iatt.gfid); }
    Stat stat Attr (s, call, req) s.used(call, req.loc.gfid) => (), found { s.used(call, found.iatt.gfid); }
    Fstat fstat Attr (s, call, req) s.used(call, req.fd.gfid()) => (), done {}
    Access access Done (s, call, req) s.used(call, req.loc.gfid) => (), done {}
    Readlink readlink Readlink (s, call, req) s.used(call, req.loc.gfid) => (), done {}
    Getxattr getxattr Xattrs (s, call, req) s.used(call, req.loc.gfid) => (), done {}
    Fgetxattr fgetxattr Xattrs (s, call, req) s.used(call, req.fd.gfid()) => (), done {}
    Open open Done (s, call, req) s.used(call, req.fd.gfid()) => (), done {}
    Opendir opendir Done (s, call, req) s.used(call, req.fd.gfid()) => (), done {}
    Readv readv Read (s, call, req) s.used(call, req.fd.gfid()) => (), done {}
    Seek seek Seek (s, call, req) s.used(call, req.fd.gfid()) => (), done {}
    Lk lk Lk (s, call, req) s.used(call, req.fd.gfid()) => (), done {}
    Readdir readdir Entries (s, call, req) s.used(call, req.fd.gfid()) => (), done {}
    Readdirp readdirp Entries (s, call, req) req.fd.gfid() => gfid, done {
        s.used(call, gfid);
        done.entries.iter().for_each(|entry| s.used(call, entry.iatt.gfid));
    }

    Writev writev Written (s, call, req) req.fd.gfid() => gfid, done {
        s.changed(call, gfid, stale(WRITTEN, done.post));
    }
    Truncate truncate Changed (s, call, req) req.loc.gfid => _, done {
        s.changed(call, done.post.gfid, stale(WRITTEN, done.post));
    }
    Ftruncate ftruncate Changed (s, call, req) req.fd.gfid() => gfid, done {
        s.changed(call, gfid, stale(WRITTEN, done.post));
    }
    Fallocate fallocate Changed (s, call, req) req.fd.gfid() => gfid, done {
        s.changed(call, gfid, stale(WRITTEN, done.post));
    }
    Discard discard Changed (s, call, req) req.fd.gfid() => gfid, done {
        s.changed(call, gfid, stale(WRITTEN, done.post));
    }
    Zerofill zerofill Changed (s, call, req) req.fd.gfid() => gfid, done {
        s.changed(call, gfid, stale(WRITTEN, done.post));
    }
    CopyFileRange copy_file_range Copied (s, call, req) (req.fd_in.gfid(), req.fd.gfid()) => (source, target), done {
        s.used(call, source);
        s.changed(call, target, stale(WRITTEN, done.post));
    }
    Setattr setattr Changed (s, call, req) req.attr.valid => valid, done {
        s.changed(call, done.post.gfid, stale(attributes(valid), done.post));
    }
    Fsetattr fsetattr Changed (s, call, req) (req.fd.gfid(), req.attr.valid) => (gfid, valid), done {
        s.changed(call, gfid, stale(attributes(valid), done.post));
    }

    Create create Made (s, call, req) req.loc.parent => parent, made { s.made(call, parent, &made); }
    Put put Made (s, call, req) req.loc.parent => parent, made { s.made(call, parent, &made); }
    Mknod mknod Made (s, call, req) req.loc.parent => parent, made { s.made(call, parent, &made); }
    Mkdir mkdir Made (s, call, req) req.loc.parent => parent, made { s.made(call, parent, &made); }
    Symlink symlink Made (s, call, req) req.loc.parent => parent, made { s.made(call, parent, &made); }
    Link link Made (s, call, req) req.new.parent => parent, made {
        let stale = Invalidation { parent: made.postparent, ..stale(NAMES, made.iatt) };
        s.changed(call, made.iatt.gfid, stale);
        s.directory_changed(call, parent, made.postparent);
    }
    Unlink unlink Removed (s, call, req) (req.loc.parent, s.doomed(call, &req.loc).await) => (parent, doomed), done {
        s.removed(call, parent, &doomed, &done, doomed.nlink <= 1);
    }
    Rmdir rmdir Removed (s, call, req) (req.loc.parent, s.doomed(call, &req.loc).await) => (parent, doomed), done {
        s.removed(call, parent, &doomed, &done, true);
    }
    Rename rename Renamed (s, call, req)
        (req.old.parent, req.new.parent, s.doomed(call, &req.new).await) => (old, new, victim), done {
        s.renamed(call, old, new, &victim, &done);
    }

    Setxattr setxattr Done (s, call, req) (req.loc.gfid, s.cached_values(&req.dict)) => (gfid, cached), done {
        s.xattrs_changed(call, gfid, Stale::XATTR, cached, &done.xdata);
    }
    Fsetxattr fsetxattr Done (s, call, req) (req.fd.gfid(), s.cached_values(&req.dict)) => (gfid, cached), done {
        s.xattrs_changed(call, gfid, Stale::XATTR, cached, &done.xdata);
    }
    Removexattr removexattr Done (s, call, req) (req.loc.gfid, s.cached_name(&req.name)) => (gfid, cached), done {
        s.xattrs_changed(call, gfid, Stale::XATTR_RM, cached, &done.xdata);
    }
    Fremovexattr fremovexattr Done (s, call, req) (req.fd.gfid(), s.cached_name(&req.name)) => (gfid, cached), done {
        s.xattrs_changed(call, gfid, Stale::XATTR_RM, cached, &done.xdata);
    }
    Xattrop xattrop Xattrs (s, call, req) req.loc.gfid => gfid, done {
        s.xattrs_changed(call, gfid, Stale::XATTR, s.cached_values(&done.dict), &done.xdata);
    }
    Fxattrop fxattrop Xattrs (s, call, req) req.fd.gfid() => gfid, done {
        s.xattrs_changed(call, gfid, Stale::XATTR, s.cached_values(&done.dict), &done.xdata);
    }
}
