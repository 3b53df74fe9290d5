//! Which fop says what about names.

use kiln_uring::Errno;
use kiln_uring::sys::RenameFlags;

use super::fences::Fences;
use super::harmless::is_harmless;
use super::stats::Counters;
use super::{Closed, NlCache, Ticket};
use crate::call::Call;
use crate::error::FopResult;
use crate::fop::{Fop, FopSet, reply, request};
use crate::graph::Next;
use crate::translator::{Fops, Wound};
use crate::types::{Dict, Gfid, Loc, Xdata};

/// Prefix of virtual attributes with which clients make and mend entries of a directory (`glusterfs.gfid.newfile`).
const MAKES_ENTRIES: &[u8] = b"glusterfs.gfid.";

/// Of a `rmdir`: with all that is in the directory.
const RECURSIVE: u32 = 1;

/// The fops that have a method below; a test holds the two together.
const INTERCEPTED: FopSet = FopSet::EMPTY
    .with(Fop::Lookup)
    .with(Fop::Create)
    .with(Fop::Mknod)
    .with(Fop::Mkdir)
    .with(Fop::Symlink)
    .with(Fop::Put)
    .with(Fop::Icreate)
    .with(Fop::Namelink)
    .with(Fop::Link)
    .with(Fop::Rename)
    .with(Fop::Unlink)
    .with(Fop::Rmdir)
    .with(Fop::Setxattr)
    .with(Fop::Fsetxattr)
    .with(Fop::Readdir)
    .with(Fop::Readdirp);

/// Methods of fops that make the name of their only location.
macro_rules! makers {
    ($($variant:ident $method:ident $reply:ident)*) => {
        $(fn $method<'a>(&'a self, call: &'a Call, req: request::$variant) -> Wound<'a, reply::$reply> {
            Wound::new(call, async move {
                let closed = self.close_loc(&req.loc);
                let answer = self.next.$method(call, req).await;
                closed.into_iter().for_each(Closed::open);
                answer
            })
        })*
    };
}

impl Fops for NlCache {
    fn next(&self) -> &Next {
        &self.next
    }

    fn intercepts(&self) -> FopSet {
        INTERCEPTED
    }

    makers! {
        Create create Made
        Mknod mknod Made
        Mkdir mkdir Made
        Symlink symlink Made
        Put put Made
        Icreate icreate Attr
        Namelink namelink Removed
    }

    fn lookup<'a>(&'a self, call: &'a Call, req: request::Lookup) -> Wound<'a, reply::Lookup> {
        let Some(name) = &req.loc.name else {
            Counters::add(&self.counters.nameless);
            return self.next.lookup(call, req);
        };
        if self.off.get() {
            Counters::add(&self.counters.passed);
            return self.next.lookup(call, req);
        }
        if !is_harmless(&req.xdata, self.locks_below) {
            Counters::add(&self.counters.passed);
            return Wound::new(call, self.look(call, req, None));
        }
        if self.is_absent(req.loc.parent, name) {
            Counters::add(&self.counters.hits);
            return Wound::ready(call, Err(Errno::NOENT.into()));
        }
        Counters::add(&self.counters.misses);
        let ticket = self.ticket(req.loc.parent, name);
        Wound::new(call, self.look(call, req, ticket))
    }

    fn link<'a>(&'a self, call: &'a Call, req: request::Link) -> Wound<'a, reply::Made> {
        Wound::new(call, async move {
            let closed = self.close_loc(&req.new);
            let answer = self.next.link(call, req).await;
            closed.into_iter().for_each(Closed::open);
            answer
        })
    }

    fn rename<'a>(&'a self, call: &'a Call, req: request::Rename) -> Wound<'a, reply::Renamed> {
        Wound::new(call, self.rename_closed(call, req))
    }

    fn unlink<'a>(&'a self, call: &'a Call, req: request::Unlink) -> Wound<'a, reply::Removed> {
        Wound::new(call, async move {
            let (loc, ticket) = (req.loc.clone(), self.ticket_of(&req.loc));
            let answer = self.next.unlink(call, req).await;
            if let (Ok(_), Some(name)) = (&answer, &loc.name) {
                self.learn_removed(loc.parent, name, ticket);
            }
            answer
        })
    }

    fn rmdir<'a>(&'a self, call: &'a Call, req: request::Rmdir) -> Wound<'a, reply::Removed> {
        Wound::new(call, self.rmdir_closed(call, req))
    }

    fn setxattr<'a>(&'a self, call: &'a Call, req: request::Setxattr) -> Wound<'a, reply::Done> {
        if !makes_entries(&req.dict) {
            return self.next.setxattr(call, req);
        }
        Wound::new(call, async move {
            let directory = req.loc.gfid;
            let closed = match directory.is_null() {
                true => self.close(Fences::EVERYTHING),
                false => self.close_directory(directory),
            };
            let answer = self.next.setxattr(call, req).await;
            closed.open();
            answer
        })
    }

    fn fsetxattr<'a>(&'a self, call: &'a Call, req: request::Fsetxattr) -> Wound<'a, reply::Done> {
        if !makes_entries(&req.dict) {
            return self.next.fsetxattr(call, req);
        }
        Wound::new(call, async move {
            let closed = self.close_directory(req.fd.gfid());
            let answer = self.next.fsetxattr(call, req).await;
            closed.open();
            answer
        })
    }

    fn readdir<'a>(&'a self, call: &'a Call, req: request::Readdir) -> Wound<'a, reply::Entries> {
        let directory = req.fd.gfid();
        if !self.absent.borrow().knows(directory) {
            return self.next.readdir(call, req);
        }
        Wound::new(call, async move {
            let answer = self.next.readdir(call, req).await;
            self.listed(directory, &answer);
            answer
        })
    }

    fn readdirp<'a>(&'a self, call: &'a Call, req: request::Readdirp) -> Wound<'a, reply::Entries> {
        let directory = req.fd.gfid();
        if !self.absent.borrow().knows(directory) {
            return self.next.readdirp(call, req);
        }
        Wound::new(call, async move {
            let answer = self.next.readdirp(call, req).await;
            self.listed(directory, &answer);
            answer
        })
    }
}

fn makes_entries(dict: &Dict) -> bool {
    dict.iter().any(|(key, _)| key.to_bytes().starts_with(MAKES_ENTRIES))
}

impl NlCache {
    /// A lookup by name that goes down; with a ticket its `ENOENT` is stored.
    async fn look(
        &self,
        call: &Call,
        req: request::Lookup,
        ticket: Option<Ticket>,
    ) -> FopResult<reply::Lookup> {
        let (parent, name) = (req.loc.parent, req.loc.name.clone());
        let answer = self.next.lookup(call, req).await;
        let Some(name) = name else { return answer };
        match &answer {
            Ok(_) => self.seen(parent, name.as_bytes()),
            Err(error) if error.errno == Errno::NOENT => {
                if let Some(ticket) = ticket {
                    self.learn(parent, &name, ticket);
                }
            }
            Err(error) if error.errno == Errno::STALE => self.absent.borrow_mut().forget(parent),
            Err(_) => {}
        }
        answer
    }

    fn listed(&self, directory: Gfid, answer: &FopResult<reply::Entries>) {
        let Ok(answer) = answer else { return };
        for entry in &answer.entries {
            self.seen(directory, entry.name.as_bytes());
        }
    }

    fn close_loc(&self, loc: &Loc) -> Option<Closed<'_>> {
        loc.name.as_ref().map(|name| self.close_name(loc.parent, name))
    }

    fn ticket_of(&self, loc: &Loc) -> Option<Ticket> {
        self.ticket(loc.parent, loc.name.as_ref()?)
    }

    /// Before a fop that removes what is at a location: closes the directory that goes, everything when it cannot be told,
    /// and nothing when there is none.
    async fn close_victim(&self, call: &Call, loc: &Loc) -> Closed<'_> {
        let req = request::Lookup { loc: loc.clone(), xdata: Xdata::NONE };
        let closed = match self.next.lookup(call, req).await {
            Ok(found) if found.iatt.is_dir() => self.close_directory(found.iatt.gfid),
            Ok(_) => self.close_nothing(),
            Err(error) if error.errno == Errno::NOENT => self.close_nothing(),
            Err(_) => self.close(Fences::EVERYTHING),
        };
        closed.removing()
    }

    async fn rename_closed(&self, call: &Call, req: request::Rename) -> FopResult<reply::Renamed> {
        let (Some(old_name), Some(new_name)) = (req.old.name.clone(), req.new.name.clone()) else {
            return self.next.rename(call, req).await;
        };
        let (old, new) = (req.old.parent, req.new.parent);
        let replaces = req.flags == 0 && !self.is_absent(new, &new_name);
        let spot = Fences::name(new, new_name.as_bytes());
        let closed = self.close_name(new, &new_name);
        // An exchange, or whatever other flags do, leaves something under the old name, too.
        let moves = RenameFlags::from_bits_retain(req.flags).difference(RenameFlags::NOREPLACE).is_empty();
        let closed_old = (!moves).then(|| self.close_name(old, &old_name));
        let ticket = if moves { self.ticket(old, &old_name) } else { None };
        let before = self.fences().read(spot);
        let victim =
            if replaces { self.close_victim(call, &req.new).await } else { self.close_nothing().removing() };
        let answer = self.next.rename(call, req).await;
        let directory = answer.as_ref().map(|renamed| renamed.iatt.is_dir());
        if directory != Ok(false) && self.fences().read(spot) != before {
            // It may have replaced another directory than the one that was there before, and may have failed since.
            self.fences().touch(Fences::EVERYTHING);
        }
        if directory == Ok(true) && moves {
            // A directory has one name; a file may have had both.
            self.learn_removed(old, &old_name, ticket);
        }
        [Some(closed), closed_old, Some(victim)].into_iter().flatten().for_each(Closed::open);
        answer
    }

    async fn rmdir_closed(&self, call: &Call, req: request::Rmdir) -> FopResult<reply::Removed> {
        let Some(name) = req.loc.name.clone() else { return self.next.rmdir(call, req).await };
        let parent = req.loc.parent;
        let spot = Fences::name(parent, name.as_bytes());
        let before = self.fences().read(spot);
        let ticket = self.ticket(parent, &name);
        let closed = match req.flags & RECURSIVE != 0 {
            // The directories in it go, too.
            true => self.close(Fences::EVERYTHING).removing(),
            false => self.close_victim(call, &req.loc).await,
        };
        let answer = self.next.rmdir(call, req).await;
        if self.fences().read(spot) != before {
            // It may have removed another directory than the one that was there before, and may have failed since.
            self.fences().touch(Fences::EVERYTHING);
        }
        if answer.is_ok() {
            self.learn_removed(parent, &name, ticket);
        }
        closed.open();
        answer
    }
}
