//! `testing/inject`: fails and delays fops as a test asks for it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiln_uring::{Core, Errno};
use kiln_xlators::call::Call;
use kiln_xlators::fop::{Fop, FopSet, reply, request};
use kiln_xlators::graph::Next;
use kiln_xlators::translator::{Children, Fops, InstanceContext, Translator, TranslatorType, Wound};

use crate::glupy::instance::lock;

/// What happens to the next fops of a kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    /// How long it waits first.
    pub delay: Duration,
    /// What it answers then; `None` goes on.
    pub errno: Option<Errno>,
    /// Whether it fails only after it has taken effect.
    pub after: bool,
}

/// The faults to come, by fop.
pub(super) type Plan = Arc<Mutex<Vec<(Fop, VecDeque<Fault>)>>>;

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
}

/// The plan of the machine on this thread.
pub(super) fn plan() -> Plan {
    PLAN.with_borrow(Arc::clone)
}

/// The layer.
pub(super) static TYPE: TranslatorType = TranslatorType {
    name: "testing/inject",
    about: "Fails and delays fops as a test asks for it",
    children: Children::One,
    options: &[],
    prepare: TranslatorType::nothing_shared,
    renew: TranslatorType::nothing_to_renew,
    instance: |mut context: InstanceContext<'_>| {
        Ok(Rc::new(Inject { next: context.below(), core: context.core.clone(), plan: plan() }))
    },
    merge_stats: TranslatorType::no_stats,
};

struct Inject {
    next: Next,
    core: Core,
    plan: Plan,
}

impl Inject {
    fn fault(&self, fop: Fop) -> Option<Fault> {
        lock(&self.plan).iter_mut().find(|(of, _)| *of == fop)?.1.pop_front()
    }
}

macro_rules! define_inject {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        impl Fops for Inject {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                Fop::ALL.iter().fold(FopSet::EMPTY, |set, fop| set.with(*fop))
            }

            $(
                fn $method<'a>(&'a self, call: &'a Call, req: request::$variant) -> Wound<'a, reply::$reply> {
                    let Some(fault) = self.fault(Fop::$variant) else { return self.next.$method(call, req) };
                    Wound::new(call, async move {
                        if !fault.delay.is_zero() {
                            self.core.sleep(fault.delay).await;
                        }
                        match fault.errno {
                            None => self.next.$method(call, req).await,
                            Some(errno) if fault.after => self.next.$method(call, req).await.and(Err(errno.into())),
                            Some(errno) => Err(errno.into()),
                        }
                    })
                }
            )*
        }
    };
}

kiln_xlators::for_each_fop!(define_inject);

impl Translator for Inject {}
