//! What a translator is.
//!
//! A *translator* is one layer of the graph. Each core has its own instance, which only that core touches: its state needs
//! no lock, and `Cell`/`RefCell` do. A fop comes down as a call of the method with its name and goes on by a call of the
//! same (or another) method of [`Fops::next`], the *wind*; the future that this returns is the reply on its way up, the
//! *unwind*. The compiler turns each method into a state machine that lives in the core's task slab.
//!
//! A layer implements the fops it cares about with [`intercept!`](crate::intercept); the others never reach it: the graph
//! links each fop from layer to layer past those that do not intercept it, so such a layer costs nothing.
//!
//! Rules: never hold a `RefCell` borrow across an await (clippy refuses it). A call must be answered exactly once, which the
//! types see to. A future may be dropped at any await (its client is gone): what must be undone then is undone in a `Drop`.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use kiln_uring::{Core, Errno};
use serde_json::Value as Json;

use crate::call::Call;
use crate::error::FopResult;
use crate::fd::FdRef;
use crate::fop::{Fop, FopSet, reply, request};
use crate::graph::{LayerId, Next};
use crate::options::{OptionSpec, Options};
use crate::types::Gfid;
use crate::upcall::Upcalls;

/// A fop under way: the future of its reply. When it is ready, the call is marked as held by the layer that wound it.
#[must_use = "a wound fop does nothing until it is awaited"]
pub struct Wound<'a, T> {
    future: Pin<Box<dyn Future<Output = FopResult<T>> + 'a>>,
    call: &'a Call,
    back: LayerId,
}

impl<'a, T> Wound<'a, T> {
    /// Boxes the future that serves the fop in the layer `call` is held by now.
    pub fn new(call: &'a Call, future: impl Future<Output = FopResult<T>> + 'a) -> Self {
        Self { future: Box::pin(future), call, back: call.holder() }
    }

    /// An answer that is ready.
    pub fn ready(call: &'a Call, answer: FopResult<T>) -> Self
    where
        T: 'a,
    {
        Self::new(call, std::future::ready(answer))
    }

    /// The same fop, to be marked as back at `layer` when it is ready.
    pub(crate) fn returning_to(mut self, layer: LayerId) -> Self {
        self.back = layer;
        self
    }
}

impl<T> Future for Wound<'_, T> {
    type Output = FopResult<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = self.future.as_mut().poll(cx);
        if answer.is_ready() {
            self.call.hold(self.back);
        }
        answer
    }
}

macro_rules! define_fops_trait {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        /// The fops of a translator. Implement it with [`intercept!`](crate::intercept), which keeps
        /// [`Fops::intercepts`] true.
        pub trait Fops {
            /// The layers below.
            fn next(&self) -> &Next;

            /// Which fops this layer has methods for; the graph links the others past it.
            fn intercepts(&self) -> FopSet;

            $(
                #[doc = $doc]
                fn $method<'a>(&'a self, call: &'a Call, req: request::$variant) -> Wound<'a, reply::$reply> {
                    self.next().$method(call, req)
                }
            )*
        }

        impl Next {
            $(
                #[doc = $doc]
                pub fn $method<'a>(&'a self, call: &'a Call, req: request::$variant) -> Wound<'a, reply::$reply> {
                    match self.target(Fop::$variant) {
                        Some((layer, target)) => {
                            let back = call.holder();
                            call.hold(layer);
                            target.$method(call, req).returning_to(back)
                        }
                        None => Wound::ready(call, Err(Errno::NOSYS.into())),
                    }
                }
            )*
        }

        /// For [`intercept!`](crate::intercept): from the method's name to the types of the fop.
        #[doc(hidden)]
        #[allow(missing_docs, reason = "internal to the macro")]
        pub mod by_method {
            $(pub mod $method {
                pub type Request = $crate::fop::request::$variant;
                pub type Reply = $crate::fop::reply::$reply;
                pub const FOP: $crate::fop::Fop = $crate::fop::Fop::$variant;
            })*
        }
    };
}

crate::for_each_fop!(define_fops_trait);

/// Implements [`Fops`] for a translator from the fops that it intercepts, written as `async fn`s, and keeps the set of
/// intercepted fops in step with them.
///
/// ```ignore
/// intercept! {
///     impl Fops for ReadOnly {
///         async fn mkdir(&self, call, req) {
///             self.check(call)?;
///             self.next.mkdir(call, req).await
///         }
///     }
/// }
/// ```
///
/// The translator must have a field `next: Next`.
#[macro_export]
macro_rules! intercept {
    (impl Fops for $layer:ty {
        $($(#[$meta:meta])* async fn $method:ident(&$self:ident, $call:ident, $req:pat_param $(,)?) $body:block)*
    }) => {
        impl $crate::translator::Fops for $layer {
            fn next(&self) -> &$crate::graph::Next {
                &self.next
            }

            fn intercepts(&self) -> $crate::fop::FopSet {
                $crate::fop::FopSet::EMPTY $(.with($crate::translator::by_method::$method::FOP))*
            }

            $(
                $(#[$meta])*
                fn $method<'a>(
                    &'a $self,
                    $call: &'a $crate::call::Call,
                    req: $crate::translator::by_method::$method::Request,
                ) -> $crate::translator::Wound<'a, $crate::translator::by_method::$method::Reply> {
                    $crate::translator::Wound::new($call, async move {
                        let $req = req;
                        $body
                    })
                }
            )*
        }
    };
}

/// What the graph tells its layers, and layers tell what is above them (`GF_EVENT_*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A layer below serves fops.
    ChildUp,
    /// A layer below no longer serves fops, with the reason.
    ChildDown(String),
    /// A client is gone; its locks go with it. Told once, on the core that served the client, after its last fop was
    /// answered or dropped; a layer whose state lives on owner cores passes it on.
    ClientGone(u64),
    /// The brick is about to stop; new fops will not come.
    Stopping,
}

/// One layer on one core.
pub trait Translator: Fops + 'static {
    /// New values of the options; all instances get the same. Options that are not reconfigurable have not changed.
    ///
    /// # Errors
    /// A sentence for the operator; the old values then stay in force.
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        let _ = options;
        Ok(())
    }

    /// Something happened; see [`Event`].
    fn notify(&self, event: &Event) {
        let _ = event;
    }

    /// Starts background work, once all layers are there.
    fn start(&self) {}

    /// The brick stops: finish what must be finished. No fop is in flight any more.
    fn fini(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(std::future::ready(()))
    }

    /// Why this layer cannot serve any more (a dead disk, say), in a sentence. Whoever runs the graph asks now and then, and
    /// ends the process; fops fail meanwhile.
    fn failure(&self) -> Option<String> {
        None
    }

    /// The last holder of a descriptor is gone (release and releasedir).
    fn release(&self, fd: &FdRef) {
        let _ = fd;
    }

    /// No client remembers the object any more.
    fn forget(&self, gfid: Gfid) {
        let _ = gfid;
    }

    /// State for `kiln dump`; `Json::Null` when there is nothing to tell.
    fn statedump(&self) -> Json {
        Json::Null
    }

    /// Statistics for `kiln stats`, merged over the cores by the type's [`TranslatorType::merge_stats`].
    fn stats(&self) -> Option<Box<dyn Any + Send>> {
        None
    }
}

/// How many layers a translator stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Children {
    /// A leaf.
    None,
    /// Exactly one.
    One,
    /// One or more.
    Many,
}

/// State that the instances on all cores share; made once per graph, before the cores see it.
pub type Shared = Arc<dyn Any + Send + Sync>;

/// Where a layer is being prepared, for those that need more than their options.
#[derive(Debug)]
pub struct PrepareContext<'a> {
    /// Name of the node in the volfile.
    pub name: &'a str,
    /// Its options, checked.
    pub options: &'a Options,
    /// The kernel.
    pub sys: &'a Arc<dyn kiln_uring::Sys>,
    /// How many cores will have an instance.
    pub cores: usize,
}

/// What an instance is made from.
pub struct InstanceContext<'a> {
    /// Its place in the graph.
    pub layer: LayerId,
    /// Name of the node in the volfile.
    pub name: &'a str,
    /// Its options, checked.
    pub options: &'a Options,
    /// Its core.
    pub core: &'a Core,
    /// What [`TranslatorType::prepare`] made.
    pub shared: &'a Shared,
    /// The way to the clients, for layers that speak first.
    pub upcalls: &'a Upcalls,
    /// The layers below, in the order of the volfile.
    pub links: Vec<Next>,
}

impl InstanceContext<'_> {
    /// The shared state, as the type that `prepare` of the same translator made.
    ///
    /// # Errors
    /// A sentence that names the translator, if the two do not match.
    pub fn shared<T: Any + Send + Sync>(&self) -> Result<Arc<T>, String> {
        Arc::clone(self.shared).downcast().map_err(|_| format!("{}: shared state of another type", self.name))
    }

    /// The only layer below; a [`Next`] to nothing for a leaf.
    #[must_use]
    pub fn below(&mut self) -> Next {
        self.links.pop().unwrap_or_default()
    }
}

/// A kind of translator, as volfiles name it: one row of the [registry](crate::registry).
#[derive(Debug)]
pub struct TranslatorType {
    /// GlusterFS's name, such as `storage/posix`.
    pub name: &'static str,
    /// One line.
    pub about: &'static str,
    /// How many layers it stands on.
    pub children: Children,
    /// All its options.
    pub options: &'static [OptionSpec],
    /// Makes what the instances share: opens the brick, say. Runs once, on an ordinary thread, and may block.
    pub prepare: fn(&PrepareContext<'_>) -> Result<Shared, String>,
    /// Takes new options into what the instances share, before the instances get them through
    /// [`Translator::reconfigure`]. Runs on an ordinary thread and may block. An error is a sentence for the operator;
    /// the old options then stay in force.
    pub renew: fn(&Shared, &Options) -> Result<(), String>,
    /// Makes the instance of one core, on that core.
    pub instance: fn(InstanceContext<'_>) -> Result<Rc<dyn Translator>, String>,
    /// Merges the [`Translator::stats`] of all cores into a report.
    pub merge_stats: fn(Vec<Box<dyn Any + Send>>) -> Json,
}

impl TranslatorType {
    /// For [`TranslatorType::prepare`] of a translator whose instances share nothing.
    ///
    /// # Errors
    /// Never.
    pub fn nothing_shared(_: &PrepareContext<'_>) -> Result<Shared, String> {
        Ok(Arc::new(()))
    }

    /// For [`TranslatorType::renew`] of a translator whose shared state knows no options.
    ///
    /// # Errors
    /// Never.
    pub fn nothing_to_renew(_: &Shared, _: &Options) -> Result<(), String> {
        Ok(())
    }

    /// For [`TranslatorType::merge_stats`] of a translator without statistics.
    #[must_use]
    pub fn no_stats(_: Vec<Box<dyn Any + Send>>) -> Json {
        Json::Null
    }
}
