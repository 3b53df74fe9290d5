//! `features/read-only`: refuses what would change the brick.
//!
//! When on, every fop that changes something and every open for writing fails with EROFS. GlusterFS's internal clients
//! (negative pid) pass, so that self-heal goes on; so do locks, and an `xattrop` that only adds zeros, which is how clients
//! read their counters.

use std::cell::Cell;
use std::rc::Rc;

use kiln_uring::Errno;
use kiln_uring::sys::OpenFlags;

use crate::call::Call;
use crate::fop::{Access, Fop, FopSet, reply, request};
use crate::graph::Next;
use crate::options::{OptionKind, OptionSpec, Options};
use crate::translator::{Children, Fops, InstanceContext, Translator, TranslatorType, Wound};
use crate::types::{Dict, Value};

/// `features/read-only`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "features/read-only",
    about: "Refuses changes with EROFS",
    children: Children::One,
    options: OPTIONS,
    prepare: TranslatorType::nothing_shared,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

const OPTIONS: &[OptionSpec] =
    &[OptionSpec::new("read-only", OptionKind::Bool, "off", "Whether changes are refused with EROFS.")];

/// The layer on one core.
pub struct ReadOnly {
    next: Next,
    on: Cell<bool>,
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let on = Cell::new(context.options.bool("read-only"));
    Ok(Rc::new(ReadOnly { next: context.below(), on }))
}

impl ReadOnly {
    fn refuses(&self, call: &Call) -> bool {
        self.on.get() && !call.caller().is_internal()
    }
}

/// Whether an open with these flags can change the file.
fn opens_for_writing(flags: u32) -> bool {
    OpenFlags::from_bits_retain(flags).intersects(OpenFlags::WRONLY | OpenFlags::RDWR | OpenFlags::TRUNC)
}

/// Whether all values of an `xattrop` are zero, so that it only reads.
fn all_zero(dict: &Dict) -> bool {
    dict.iter().all(|(_, value)| match value {
        Value::Int(number) => *number == 0,
        Value::Uint(number) => *number == 0,
        value => value.as_bytes().is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0)),
    })
}

/// One method for each fop that may change something; the decision is in the table's `Access` column, but for `xattrop`.
macro_rules! guard {
    (Query $variant:ident $method:ident $reply:ident) => {};
    (Lock $variant:ident $method:ident $reply:ident) => {};
    (Change Xattrop $method:ident $reply:ident) => { guard!(@if Xattrop $method $reply, req, !all_zero(&req.dict)); };
    (Change Fxattrop $method:ident $reply:ident) => { guard!(@if Fxattrop $method $reply, req, !all_zero(&req.dict)); };
    (Change $variant:ident $method:ident $reply:ident) => { guard!(@if $variant $method $reply, req, true); };
    (Open $variant:ident $method:ident $reply:ident) => {
        guard!(@if $variant $method $reply, req, opens_for_writing(req.flags));
    };
    (@if $variant:ident $method:ident $reply:ident, $req:ident, $changes:expr) => {
        fn $method<'a>(&'a self, call: &'a Call, $req: request::$variant) -> Wound<'a, reply::$reply> {
            if self.refuses(call) && $changes {
                return Wound::ready(call, Err(Errno::ROFS.into()));
            }
            self.next.$method(call, $req)
        }
    };
}

macro_rules! guards {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        impl Fops for ReadOnly {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                let guarded = |fop: &Fop| matches!(fop.info().access, Access::Change | Access::Open);
                Fop::ALL.into_iter().filter(guarded).collect()
            }

            $(guard!($access $variant $method $reply);)*
        }
    };
}

crate::for_each_fop!(guards);

impl Translator for ReadOnly {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        self.on.set(options.bool("read-only"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kiln_uring::sim::Sim;

    use super::*;
    use crate::fd::Fd;
    use crate::fop::request::XattropOp;
    use crate::testing::{Rig, entry, gfid, internal, root, user};
    use crate::types::{EntrylkCmd, Gfid, Loc, LockType, Xdata};

    const LAYER: &str = "features/read-only";

    #[test]
    fn only_what_changes_something_is_intercepted() {
        Sim::new(1).run(async |core| {
            let rig = Rig::new(&core, &[(LAYER, &[])]);
            let set = rig.graph.layers()[1].intercepts();
            for fop in Fop::ALL {
                let changes = matches!(fop.info().access, Access::Change | Access::Open);
                assert_eq!(set.contains(fop), changes, "{fop}");
            }
        });
    }

    #[test]
    fn changes_are_refused_while_it_is_on() {
        Sim::new(1).run(async |core| {
            let rig = Rig::new(&core, &[(LAYER, &[])]);
            let on: &[(&str, &str)] = &[("read-only", "on")];
            for (options, caller, refused) in
                [(&[][..], user(1), false), (on, user(1), true), (on, root(), true), (on, internal(1), false)]
            {
                rig.reconfigure(&[(LAYER, options)]).unwrap();
                let who = format!("{caller:?} with {options:?}");
                rig.brick.take_fops();
                let call = rig.call(Fop::Unlink, caller.clone());
                let req = request::Unlink { loc: entry(Gfid::ROOT, "x"), flags: 0, xdata: Xdata::NONE };
                let errno = rig.top().unlink(&call, req).await.err().map(|error| error.errno);
                assert_eq!(errno, refused.then_some(Errno::ROFS), "{who}");
                assert_eq!(rig.brick.take_fops().is_empty(), refused, "{who}");

                for (flags, writes) in [
                    (OpenFlags::empty(), false),
                    (OpenFlags::DIRECT, false),
                    (OpenFlags::WRONLY, true),
                    (OpenFlags::RDWR, true),
                    (OpenFlags::TRUNC, true),
                ] {
                    let fd = Fd::file(gfid(9), flags.bits(), 1);
                    let req = request::Open {
                        loc: Loc::object(gfid(9)),
                        flags: flags.bits(),
                        fd,
                        xdata: Xdata::NONE,
                    };
                    let answer = rig.top().open(&call, req).await;
                    assert_eq!(answer.is_err(), refused && writes, "{who} {flags:?}");
                }
            }
        });
    }

    #[test]
    fn counters_can_be_read_and_locks_taken() {
        Sim::new(1).run(async |core| {
            let rig = Rig::new(&core, &[(LAYER, &[("read-only", "on")])]);
            let call = rig.call(Fop::Xattrop, user(1));
            for (value, refused) in [
                (Value::Bin(vec![0; 12]), false),
                (Value::Int(0), false),
                (Value::Bin(vec![0, 0, 0, 1]), true),
                (Value::Int(1), true),
                (Value::Double(0.0), true),
            ] {
                let dict = Dict::from_iter([(c"trusted.afr.v-client-0", value.clone())]);
                let (loc, op) = (Loc::object(gfid(9)), XattropOp::AddArray);
                let req = request::Xattrop { loc, op, dict: dict.clone(), xdata: Xdata::NONE };
                assert_eq!(rig.top().xattrop(&call, req).await.is_err(), refused, "{value:?}");
                let req = request::Fxattrop { fd: Fd::file(gfid(9), 0, 1), op, dict, xdata: Xdata::NONE };
                assert_eq!(rig.top().fxattrop(&call, req).await.is_err(), refused, "{value:?}");
            }
            let req = request::Entrylk {
                loc: Loc::object(Gfid::ROOT),
                domain: "d".into(),
                name: None,
                cmd: EntrylkCmd::Lock,
                kind: LockType::Write,
                xdata: Xdata::NONE,
            };
            assert!(rig.top().entrylk(&call, req).await.is_ok());
        });
    }
}
