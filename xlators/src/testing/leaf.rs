//! The test leaf's fops.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use kiln_uring::sys::OpenFlags;
use kiln_uring::{Buf, Core, Errno};

use super::brick::{Brick, Seen};
use crate::call::{Call, Caller};
use crate::error::FopResult;
use crate::fop::request::Describe;
use crate::fop::{Fop, FopSet, reply, request};
use crate::graph::Next;
use crate::translator::{Children, Fops, InstanceContext, Translator, TranslatorType, Wound};
use crate::types::{Dict, Iatt};

/// `testing/leaf`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "testing/leaf",
    about: "Records fops and answers them from memory",
    children: Children::None,
    options: &[],
    prepare: |_| Ok(Arc::new(Brick::new())),
    instance: |mut context: InstanceContext<'_>| {
        let brick = context.shared::<Brick>()?;
        Ok(Rc::new(Leaf { next: context.below(), core: context.core.clone(), brick }))
    },
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

struct Leaf {
    next: Next,
    core: Core,
    brick: Arc<Brick>,
}

/// A request as text.
struct Text<'a, R>(&'a R);

impl<R: Describe> fmt::Display for Text<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(f)
    }
}

impl Leaf {
    async fn enter<R: Describe>(&self, fop: Fop, call: &Call, req: &R) -> FopResult<()> {
        let seen = Seen { fop, text: Text(req).to_string(), caller: call.caller().clone() };
        let (delay, failure) = self.brick.note(seen);
        if let Some(delay) = delay {
            self.core.sleep(delay).await;
        }
        failure.map_or(Ok(()), |errno| Err(errno.into()))
    }
}

/// How the leaf answers a fop.
trait Answer {
    type Reply;

    fn answer(self, brick: &Brick, caller: &Caller) -> FopResult<Self::Reply>;
}

/// Fops that only get an empty success.
macro_rules! empty {
    ($($fop:ident $reply:ident)*) => {
        $(impl Answer for request::$fop {
            type Reply = reply::$reply;

            fn answer(self, _: &Brick, _: &Caller) -> FopResult<reply::$reply> {
                Ok(reply::$reply::default())
            }
        })*
    };
}

empty! {
    Readlink Readlink Unlink Removed Rmdir Removed Rename Renamed Link Made Truncate Changed Open Done Statfs Statfs
    Flush Done Fsync Changed Setxattr Done Removexattr Done Opendir Done Fsyncdir Done Access Done Ftruncate Changed
    Lk Lk Readdir Entries Inodelk Done Finodelk Done Entrylk Done Fentrylk Done Xattrop Xattrs Fxattrop Xattrs
    Fgetxattr Xattrs Fsetxattr Done Rchecksum Rchecksum Setattr Changed Fsetattr Changed Readdirp Entries
    Fremovexattr Done Fallocate Changed Discard Changed Zerofill Changed Ipc Done Seek Seek Lease Leased
    Getactivelk ActiveLocks Setactivelk Done Icreate Attr Namelink Removed CopyFileRange Copied
}

macro_rules! answers {
    ($($fop:ident $reply:ident ($req:ident, $brick:ident, $caller:pat_param) $body:block)*) => {
        $(impl Answer for request::$fop {
            type Reply = reply::$reply;

            fn answer(self, $brick: &Brick, $caller: &Caller) -> FopResult<reply::$reply> {
                let $req = self;
                $body
            }
        })*
    };
}

fn made(made: Result<Iatt, Errno>) -> FopResult<reply::Made> {
    Ok(reply::Made { iatt: made?, ..reply::Made::default() })
}

answers! {
    Stat Attr (req, brick, _) {
        let object = brick.find(&req.loc)?;
        Ok(reply::Attr { iatt: object.iatt, xdata: Brick::fill(&object, &req.xdata) })
    }
    Fstat Attr (req, brick, _) {
        let object = brick.object(req.fd.gfid()).ok_or(Errno::BADF)?;
        Ok(reply::Attr { iatt: object.iatt, xdata: Brick::fill(&object, &req.xdata) })
    }
    Lookup Lookup (req, brick, _) {
        let object = brick.find(&req.loc)?;
        let postparent = brick.object(req.loc.parent).map(|parent| parent.iatt).unwrap_or_default();
        Ok(reply::Lookup { iatt: object.iatt, postparent, xdata: Brick::fill(&object, &req.xdata) })
    }
    Getxattr Xattrs (req, brick, _) {
        let object = brick.find(&req.loc)?;
        let mut dict = object.xattrs;
        if let Some(name) = &req.name {
            let value = dict.remove(name).ok_or(Errno::NODATA)?;
            dict = Dict::from_iter([(name.clone(), value)]);
        }
        Ok(reply::Xattrs { dict, ..reply::Xattrs::default() })
    }
    Mknod Made (req, brick, caller) { made(brick.make(&req.loc, req.mode, caller, &req.xdata)) }
    Mkdir Made (req, brick, caller) { made(brick.make(&req.loc, 0o040_000 | req.mode, caller, &req.xdata)) }
    Symlink Made (req, brick, caller) { made(brick.make(&req.loc, 0o120_777, caller, &req.xdata)) }
    Put Made (req, brick, caller) { made(brick.make(&req.loc, 0o100_000 | req.mode, caller, &req.xdata)) }
    Create Made (req, brick, caller) {
        let exclusive = OpenFlags::from_bits_retain(req.flags).contains(OpenFlags::EXCL);
        let answer = match brick.find(&req.loc) {
            Ok(object) if !exclusive => Ok(object.iatt),
            _ => brick.make(&req.loc, 0o100_000 | req.mode, caller, &req.xdata),
        };
        if let Ok(iatt) = &answer {
            req.fd.bind(iatt.gfid);
        }
        made(answer)
    }
    Readv Read (req, _brick, _) {
        let data = Buf::from_slice(&vec![0; req.size as usize]);
        Ok(reply::Read { data, eof: false, iatt: Default::default(), xdata: Default::default() })
    }
    Writev Written (req, _brick, _) {
        Ok(reply::Written { count: req.data.len(), ..reply::Written::default() })
    }
}

macro_rules! methods {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        impl Fops for Leaf {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                FopSet::ALL
            }

            $(
                fn $method<'a>(&'a self, call: &'a Call, req: request::$variant) -> Wound<'a, reply::$reply> {
                    Wound::new(call, async move {
                        self.enter(Fop::$variant, call, &req).await?;
                        req.answer(&self.brick, call.caller())
                    })
                }
            )*
        }
    };
}

crate::for_each_fop!(methods);

impl Translator for Leaf {}
