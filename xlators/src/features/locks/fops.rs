//! Which fop does what in this layer.
//!
//! Every fop may ask for counts, so every fop is intercepted; one that does not, and that no lock can hold up, is passed
//! on as it is, without a state machine of its own.

use std::sync::Arc;

use kiln_uring::Errno;

use super::Locks;
use super::clear::is_order;
use super::counts::{Asked, Subject};
use crate::call::Call;
use crate::error::FopResult;
use crate::fop::reply::Reply;
use crate::fop::{FopSet, reply, request};
use crate::graph::Next;
use crate::keys;
use crate::translator::{Fops, Wound};
use crate::types::{Dict, Gfid, Key, Loc, Value};

/// What a request is about, for counts.
trait About {
    fn about(&self) -> Subject;
}

fn about_loc(loc: &Loc) -> Subject {
    let entry = loc.name.clone().map(|name| (loc.parent, name));
    Subject { objects: [loc.parent, Gfid::NULL], entry }
}

macro_rules! about {
    (Loc Link $req:ident) => { about!(@two $req) };
    (Loc Rename $req:ident) => { about!(@two $req) };
    (Loc $variant:ident $req:ident) => { about_loc(&$req.loc) };
    (Fd $variant:ident $req:ident) => {
        Subject { objects: [$req.fd.gfid(), Gfid::NULL], entry: None }
    };
    (None $variant:ident $req:ident) => {{
        let _ = $req;
        Subject::default()
    }};
    (@two $req:ident) => {
        Subject { objects: [$req.old.parent, $req.new.parent], ..about_loc(&$req.old) }
    };
}

/// What must be done before a fop goes on: for most nothing. `minds` says so without waiting.
macro_rules! guard {
    (minds Readv $s:ident $call:ident $req:ident) => {
        $s.minds_io($call, $req.fd.gfid())
    };
    (pass Readv $s:ident $call:ident $req:ident) => {
        $s.pass_io($call, &$req.fd, $req.offset, $req.size.into(), false).await?
    };
    (minds Writev $s:ident $call:ident $req:ident) => {
        $s.minds_io($call, $req.fd.gfid())
    };
    (pass Writev $s:ident $call:ident $req:ident) => {
        $s.pass_io($call, &$req.fd, $req.offset, $req.data.len() as u64, true).await?
    };
    (minds Discard $s:ident $call:ident $req:ident) => {
        $s.minds_io($call, $req.fd.gfid())
    };
    (pass Discard $s:ident $call:ident $req:ident) => {
        $s.pass_io($call, &$req.fd, $req.offset, $req.len, true).await?
    };
    (minds Zerofill $s:ident $call:ident $req:ident) => {
        $s.minds_io($call, $req.fd.gfid())
    };
    (pass Zerofill $s:ident $call:ident $req:ident) => {
        $s.pass_io($call, &$req.fd, $req.offset, $req.len, true).await?
    };
    (minds CopyFileRange $s:ident $call:ident $req:ident) => {
        $s.minds_io($call, $req.fd.gfid()) || $s.minds_io($call, $req.fd_in.gfid())
    };
    (pass CopyFileRange $s:ident $call:ident $req:ident) => {{
        $s.pass_io($call, &$req.fd_in, $req.offset_in, $req.len, false).await?;
        $s.pass_io($call, &$req.fd, $req.offset, $req.len, true).await?
    }};
    (minds Truncate $s:ident $call:ident $req:ident) => {
        $s.minds_io($call, $req.loc.gfid)
    };
    (pass Truncate $s:ident $call:ident $req:ident) => {
        $s.pass_truncate($call, $req.loc.gfid, Err(&$req.loc), $req.offset).await?
    };
    (minds Ftruncate $s:ident $call:ident $req:ident) => {
        $s.minds_io($call, $req.fd.gfid())
    };
    (pass Ftruncate $s:ident $call:ident $req:ident) => {
        $s.pass_truncate($call, $req.fd.gfid(), Ok(&$req.fd), $req.offset).await?
    };
    (minds Open $s:ident $call:ident $req:ident) => {
        $s.minds_io($call, $req.fd.gfid())
    };
    (pass Open $s:ident $call:ident $req:ident) => {
        $s.pass_open($call, &$req.loc, $req.fd.gfid(), $req.flags).await?
    };
    (minds Unlink $s:ident $call:ident $req:ident) => {
        $s.minds_removal($call)
    };
    (pass Unlink $s:ident $call:ident $req:ident) => {
        $s.begin_removal($call, &$req.loc).await?
    };
    (minds Rmdir $s:ident $call:ident $req:ident) => {
        $s.minds_removal($call)
    };
    (pass Rmdir $s:ident $call:ident $req:ident) => {
        $s.begin_removal($call, &$req.loc).await?
    };
    (minds Rename $s:ident $call:ident $req:ident) => {
        $s.minds_removal($call)
    };
    (pass Rename $s:ident $call:ident $req:ident) => {
        $s.begin_removal($call, &$req.new).await?
    };
    (minds Flush $s:ident $call:ident $req:ident) => {
        $s.minds_flush(&$req.fd)
    };
    (pass Flush $s:ident $call:ident $req:ident) => {
        $s.flush_locks($call, &$req.fd).await?
    };
    (minds $variant:ident $s:ident $call:ident $req:ident) => {{
        let _ = ($s, $call, &$req);
        false
    }};
    (pass $variant:ident $s:ident $call:ident $req:ident) => {{
        let _ = ($s, $call, &$req);
    }};
}

/// Fops that this layer answers itself, always or for certain requests. The others do not have `own` arms.
macro_rules! own {
    (Lk $s:ident $call:ident $req:ident) => {
        return Wound::new($call, $s.do_lk($call, $req))
    };
    (Inodelk $s:ident $call:ident $req:ident) => {
        return Wound::new($call, $s.do_inodelk($call, $req))
    };
    (Finodelk $s:ident $call:ident $req:ident) => {
        return Wound::new($call, $s.do_finodelk($call, $req))
    };
    (Entrylk $s:ident $call:ident $req:ident) => {
        return Wound::new($call, $s.do_entrylk($call, $req))
    };
    (Fentrylk $s:ident $call:ident $req:ident) => {
        return Wound::new($call, $s.do_fentrylk($call, $req))
    };
    (Getactivelk $s:ident $call:ident $req:ident) => {
        return Wound::new($call, $s.do_getactivelk($call, $req))
    };
    (Setactivelk $s:ident $call:ident $req:ident) => {
        return Wound::new($call, $s.do_setactivelk($call, $req))
    };
    (Getxattr $s:ident $call:ident $req:ident) => {
        if let Some(name) = $req.name.clone().filter(is_order) {
            return Wound::new($call, async move {
                let gfid = $s.object_of($call, &$req.loc, false).await?;
                $s.clear($call, gfid, name).await
            });
        }
    };
    (Fgetxattr $s:ident $call:ident $req:ident) => {
        if let Some(name) = $req.name.clone().filter(is_order) {
            return Wound::new($call, async move { $s.clear($call, $req.fd.gfid(), name).await });
        }
        if $req.name.as_ref().is_some_and(|name| is_lockinfo(name)) {
            return Wound::new($call, async move { $s.lockinfo($call, &$req.fd).await });
        }
    };
    (Removexattr $s:ident $call:ident $req:ident) => {
        if $s.refuses_mark(is_mark(&$req.name)) {
            return Wound::new($call, async move { Err(Errno::INVAL.into()) });
        }
    };
    (Fremovexattr $s:ident $call:ident $req:ident) => {
        if $s.refuses_mark(is_mark(&$req.name)) {
            return Wound::new($call, async move { Err(Errno::INVAL.into()) });
        }
    };
    (Setxattr $s:ident $call:ident $req:ident) => {
        if $s.refuses_mark($req.dict.contains(keys::ENFORCE_MANDATORY_LOCK)) {
            return Wound::new($call, async move { Err(Errno::INVAL.into()) });
        }
        if let Some(order) = Migration::of(&$req.dict) {
            return Wound::new($call, async move {
                let gfid = $s.object_of($call, &$req.loc, false).await?;
                $s.migrate($call, gfid, order).await
            });
        }
    };
    (Fsetxattr $s:ident $call:ident $req:ident) => {
        if $s.refuses_mark($req.dict.contains(keys::ENFORCE_MANDATORY_LOCK)) {
            return Wound::new($call, async move { Err(Errno::INVAL.into()) });
        }
        if let Some(info) = $req.dict.get(keys::LOCKINFO).cloned() {
            return Wound::new($call, async move { $s.take_lockinfo($call, &$req.fd, &info).await });
        }
        if let Some(order) = Migration::of(&$req.dict) {
            return Wound::new($call, async move { $s.migrate($call, $req.fd.gfid(), order).await });
        }
    };
    ($variant:ident $s:ident $call:ident $req:ident) => {};
}

/// Where the answers to counts go: into the reply, or into those for its entries.
macro_rules! answer {
    (Lookup $s:ident $asked:ident $subject:ident $reply:ident) => {{
        $subject.objects = [$reply.iatt.gfid, Gfid::NULL];
        $s.answer(&$asked, &$subject, $reply.xdata.make()).await;
    }};
    (Readdirp $s:ident $asked:ident $subject:ident $reply:ident) => {{
        let directory = $subject.objects[0];
        for entry in &mut $reply.entries {
            let name = crate::types::Name::new(entry.name.to_bytes()).ok();
            let subject =
                Subject { objects: [entry.iatt.gfid, Gfid::NULL], entry: name.map(|name| (directory, name)) };
            $s.answer(&$asked, &subject, entry.xdata.make()).await;
        }
    }};
    ($variant:ident $s:ident $asked:ident $subject:ident $reply:ident) => {{
        $s.answer(&$asked, &$subject, $reply.xdata_mut().make()).await;
    }};
}

macro_rules! methods {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        $(impl About for request::$variant {
            fn about(&self) -> Subject {
                about!($subject $variant self)
            }
        })*

        impl Fops for Locks {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                FopSet::ALL
            }

            $(
                #[allow(unreachable_code, unused_mut, reason = "some fops end here")]
                fn $method<'a>(&'a self, call: &'a Call, mut req: request::$variant) -> Wound<'a, reply::$reply> {
                    own!($variant self call req);
                    let counts = Asked::is_in(&req.xdata);
                    if !counts && !guard!(minds $variant self call req) {
                        return self.next.$method(call, req);
                    }
                    Wound::new(call, async move {
                        let asked = Arc::new(Asked::take(&mut req.xdata));
                        let mut subject = if counts { req.about() } else { Subject::default() };
                        // Held until the fop is over.
                        let _guard = if guard!(minds $variant self call req) {
                            Some(guard!(pass $variant self call req))
                        } else {
                            None
                        };
                        let mut reply = self.next.$method(call, req).await?;
                        if counts {
                            answer!($variant self asked subject reply);
                        }
                        Ok(reply)
                    })
                }
            )*
        }
    };
}

crate::for_each_fop!(methods);

fn is_mark(name: &Key) -> bool {
    name.as_ref() == keys::ENFORCE_MANDATORY_LOCK
}

fn is_lockinfo(name: &Key) -> bool {
    name.as_ref() == keys::LOCKINFO
}

/// What a migration of locks asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Migration {
    Freeze,
    Thaw { moved: bool },
}

impl Migration {
    fn of(dict: &Dict) -> Option<Self> {
        if dict.contains(keys::META_LOCK) {
            return Some(Self::Freeze);
        }
        let moved = dict.get(keys::META_STATUS).and_then(Value::as_i64).is_some_and(|status| status != 0);
        dict.contains(keys::META_UNLOCK).then_some(Self::Thaw { moved })
    }
}

impl Locks {
    async fn migrate(&self, call: &Call, gfid: Gfid, order: Migration) -> FopResult<reply::Done> {
        match order {
            Migration::Freeze => self.freeze(call, gfid).await,
            Migration::Thaw { moved } => self.thaw(call, gfid, moved).await,
        }
    }
}
