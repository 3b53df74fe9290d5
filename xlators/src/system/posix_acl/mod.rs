//! `features/access-control` (GlusterFS's folder: `system/posix-acl`): decides who may do what.
//!
//! The storage layer works as root and refuses nobody, so this is the only permission check of a brick. It follows POSIX.1e
//! with GlusterFS 10.3's choice of what is checked (below), and gives new objects the permissions that the umask or the
//! parent's default ACL leave them.
//!
//! | fop | rule |
//! |---|---|
//! | lookup | x on the parent |
//! | create, mkdir, mknod, put, symlink, unlink, rmdir, namelink | w and x on the parent; the sticky bit when removing |
//! | create of what exists | besides, what open asks for |
//! | rename, link | w and x on both parents (link: the new one), the sticky bit for what goes away or is linked |
//! | rename of a directory to another parent | w on the directory |
//! | open | r and w by the flags, w for `O_TRUNC` and `O_APPEND`, x alone for execution |
//! | opendir | r |
//! | readdir, readdirp | r where no opendir has been |
//! | truncate | w |
//! | access | what is asked for |
//! | setattr, fsetattr | owner for mode and times (or w for "now"), owner and a group of his for the group, only root for the owner |
//! | setxattr, removexattr and their fd forms | w; owner for ACLs |
//! | getxattr | r; everybody for ACLs |
//!
//! Root, the `super-uid`, and GlusterFS's internal clients (negative pid) are not checked: their fops go straight on. Data
//! fops on descriptors are not checked either, since the open was. Unlike 10.3, fsetattr, fsetxattr and fremovexattr are
//! checked, because a descriptor that was opened for reading must not be a way to change the mode.
//!
//! Nothing is cached: the attributes and ACLs that a check needs are asked from the layer below each time, so that all cores
//! always decide alike.

pub mod acl;
mod inherit;
mod rules;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::rc::Rc;

use kiln_uring::Errno;
use kiln_uring::sys::OpenFlags;

use self::inherit::Creation;
use crate::call::Call;
use crate::error::FopResult;
use crate::fop::{Fop, FopSet, reply, request};
use crate::graph::Next;
use crate::keys;
use crate::options::{OptionKind, OptionSpec, Options};
use crate::translator::{Children, Fops, InstanceContext, Translator, TranslatorType, Wound};
use crate::types::{Value, Xdata};

const ROW: TranslatorType = TranslatorType {
    name: "features/access-control",
    about: "Checks permissions and POSIX ACLs; applies umask and default ACLs",
    children: Children::One,
    options: OPTIONS,
    prepare: TranslatorType::nothing_shared,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

/// `features/access-control`, as volfiles name it.
pub static TYPE: TranslatorType = ROW;

/// The same under the name of GlusterFS's folder.
pub static TYPE_BY_FOLDER: TranslatorType =
    TranslatorType { name: "system/posix-acl", about: "Another name of features/access-control", ..ROW };

const OPTIONS: &[OptionSpec] = &[OptionSpec::new(
    "super-uid",
    OptionKind::Int(0, u32::MAX as i64),
    "0",
    "A user who, like root, is not checked.",
)];

/// The layer on one core.
pub struct PosixAcl {
    next: Next,
    super_uid: Cell<u32>,
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let super_uid = Cell::new(super_uid(context.options));
    Ok(Rc::new(PosixAcl { next: context.below(), super_uid }))
}

fn super_uid(options: &Options) -> u32 {
    u32::try_from(options.int("super-uid")).unwrap_or(0)
}

impl PosixAcl {
    /// Whether the caller may do everything.
    fn is_exempt(&self, call: &Call) -> bool {
        let caller = call.caller();
        caller.is_internal() || caller.uid == 0 || caller.uid == self.super_uid.get()
    }

    /// A create: a file that exists already is opened, so the caller must have the right to open it. The fop below cannot
    /// tell the two cases apart beforehand; here each attempt is bound to one of them.
    async fn make_file(&self, call: &Call, mut req: request::Create) -> FopResult<reply::Made> {
        let parent = self.may_add_entry(call, &req.loc).await?;
        Creation { mode: &mut req.mode, umask: &mut req.umask, xdata: &mut req.xdata }
            .apply(parent.as_ref(), false);
        if self.is_exempt(call) || OpenFlags::from_bits_retain(req.flags).contains(OpenFlags::EXCL) {
            return self.next.create(call, req).await;
        }
        /// How often the name may come and go between the check and the fop.
        const ATTEMPTS: usize = 8;
        for _ in 0..ATTEMPTS {
            let attempt = |flags| request::Create {
                loc: req.loc.clone(),
                flags,
                mode: req.mode,
                umask: req.umask,
                fd: req.fd.clone(),
                xdata: req.xdata.clone(),
            };
            match self.facts(call, req.loc.clone()).await {
                Ok(existing) => {
                    existing.require(call, rules::wanted_by_open(req.flags))?;
                    let made = self.next.create(call, attempt(req.flags)).await?;
                    let same = made.iatt.gfid == existing.iatt.gfid;
                    return if same { Ok(made) } else { Err(Errno::ACCESS.into()) };
                }
                Err(error) if error.errno == Errno::NOENT => {
                    match self.next.create(call, attempt(req.flags | OpenFlags::EXCL.bits())).await {
                        Err(error) if error.errno == Errno::EXIST => {}
                        answer => return answer,
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(Errno::BUSY.into())
    }
}

/// Has the replies tell the ACLs, as GlusterFS does on every lookup and readdirp, so that bricks of both kinds answer alike
/// (dispersed volumes compare the answers). A request without xdata comes from a local mount, which does not compare.
fn ask_for_acls(xdata: &mut Xdata) {
    if !xdata.is_none() {
        for key in [keys::ACL_ACCESS, keys::ACL_DEFAULT] {
            xdata.make().set(key, Value::Int(0));
        }
    }
}

/// Implements [`Fops`]: fops with a check, which exempt callers pass without one; and fops that make objects, where
/// everybody gets a body of his own.
macro_rules! fops {
    (
        checked { $($method:ident => $check:ident;)* }
        asking { $($asking:ident => $asking_check:ident;)* }
        making { $($making:ident($self:ident, $call:ident, $req:ident) $body:block)* }
    ) => {
        impl Fops for PosixAcl {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                use crate::translator::by_method as by;
                [Fop::Access, Fop::Create, $(by::$method::FOP,)* $(by::$asking::FOP,)* $(by::$making::FOP,)*].into_iter().collect()
            }

            $(
                fn $method<'a>(
                    &'a self,
                    call: &'a Call,
                    mut req: crate::translator::by_method::$method::Request,
                ) -> Wound<'a, crate::translator::by_method::$method::Reply> {
                    if self.is_exempt(call) {
                        return self.next.$method(call, req);
                    }
                    Wound::new(call, async move {
                        self.$check(call, &mut req).await?;
                        self.next.$method(call, req).await
                    })
                }
            )*

            $(
                fn $asking<'a>(
                    &'a self,
                    call: &'a Call,
                    mut req: crate::translator::by_method::$asking::Request,
                ) -> Wound<'a, crate::translator::by_method::$asking::Reply> {
                    ask_for_acls(&mut req.xdata);
                    if self.is_exempt(call) {
                        return self.next.$asking(call, req);
                    }
                    Wound::new(call, async move {
                        self.$asking_check(call, &mut req).await?;
                        self.next.$asking(call, req).await
                    })
                }
            )*

            $(
                fn $making<'a>(
                    &'a $self,
                    $call: &'a Call,
                    mut $req: crate::translator::by_method::$making::Request,
                ) -> Wound<'a, crate::translator::by_method::$making::Reply> {
                    Wound::new($call, async move { $body })
                }
            )*

            fn access<'a>(&'a self, call: &'a Call, req: request::Access) -> Wound<'a, reply::Done> {
                if self.is_exempt(call) {
                    return self.next.access(call, req);
                }
                // Answered here: the layer below would answer for root.
                Wound::new(call, async move {
                    self.check_access(call, req).await?;
                    Ok(reply::Done::default())
                })
            }

            fn create<'a>(&'a self, call: &'a Call, req: request::Create) -> Wound<'a, reply::Made> {
                Wound::new(call, self.make_file(call, req))
            }
        }
    };
}

fops! {
    checked {
        open => check_open;
        opendir => check_opendir;
        readdir => check_readdir;
        truncate => check_truncate;
        symlink => check_symlink;
        namelink => check_namelink;
        unlink => check_unlink;
        rmdir => check_rmdir;
        rename => check_rename;
        link => check_link;
        setattr => check_setattr;
        fsetattr => check_fsetattr;
        getxattr => check_getxattr;
        setxattr => check_setxattr;
        fsetxattr => check_fsetxattr;
        removexattr => check_removexattr;
        fremovexattr => check_fremovexattr;
    }
    asking {
        lookup => check_lookup;
        readdirp => check_readdirp;
    }
    making {
        mkdir(self, call, req) {
            let parent = self.may_add_entry(call, &req.loc).await?;
            Creation { mode: &mut req.mode, umask: &mut req.umask, xdata: &mut req.xdata }.apply(parent.as_ref(), true);
            self.next.mkdir(call, req).await
        }
        mknod(self, call, req) {
            let parent = self.may_add_entry(call, &req.loc).await?;
            Creation { mode: &mut req.mode, umask: &mut req.umask, xdata: &mut req.xdata }.apply(parent.as_ref(), false);
            self.next.mknod(call, req).await
        }
        put(self, call, req) {
            let parent = self.may_add_entry(call, &req.loc).await?;
            Creation { mode: &mut req.mode, umask: &mut req.umask, xdata: &mut req.xdata }.apply(parent.as_ref(), false);
            self.next.put(call, req).await
        }
    }
}

impl Translator for PosixAcl {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        self.super_uid.set(super_uid(options));
        Ok(())
    }
}
