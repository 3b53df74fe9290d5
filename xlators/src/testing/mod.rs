//! For tests of translators: a leaf that keeps a few objects in memory and records what reaches it, and a graph over it.
//!
//! ```ignore
//! Sim::new(1).run(async |core| {
//!     let rig = Rig::new(&core, &[("features/read-only", &[("read-only", "on")])]);
//!     let call = rig.call(Fop::Mkdir, user(1000));
//!     let answer = rig.top().mkdir(&call, mkdir("new")).await;
//!     assert_eq!(answer.unwrap_err().errno, Errno::ROFS);
//!     assert!(rig.brick.seen().is_empty());
//! });
//! ```

mod brick;
pub mod conformance;
mod leaf;

use std::rc::Rc;
use std::sync::Arc;

use kiln_uring::Core;

pub use brick::{Brick, Object, Seen};
pub use leaf::TYPE;

use crate::call::{Call, CallSpec, CallTimes, Caller};
use crate::fop::Fop;
use crate::graph::{Blueprint, Graph, Next};
use crate::types::{Gfid, Loc, Name};
use crate::volfile::{Node, Volfile};

/// A graph of the given layers over a [`Brick`].
pub struct Rig {
    /// The graph; its layer 0 is the leaf.
    pub graph: Rc<Graph>,
    /// What the leaf keeps and has seen.
    pub brick: Arc<Brick>,
    /// What the graph was made from.
    pub blueprint: Arc<Blueprint>,
}

/// A layer of a [`Rig`]: its type and its options.
pub type LayerSpec<'a> = (&'a str, &'a [(&'a str, &'a str)]);

impl Rig {
    /// Layers from the bottom up, each named by its type and its place, such as `debug/trace#1`.
    ///
    /// # Panics
    /// When a layer cannot be made.
    #[must_use]
    pub fn new(core: &Core, layers: &[LayerSpec<'_>]) -> Self {
        Self::try_new(core, layers).expect("the layers of a test can be made")
    }

    /// The same, for tests of bad options.
    ///
    /// # Errors
    /// The first layer that could not be made.
    pub fn try_new(core: &Core, layers: &[LayerSpec<'_>]) -> Result<Self, crate::graph::GraphError> {
        let blueprint = Blueprint::new(&volfile(layers), core.sys(), 1)?;
        let graph = Graph::new(&blueprint, core)?;
        let brick = Arc::clone(&blueprint.layers()[0].shared).downcast().expect("layer 0 is the leaf");
        Ok(Self { graph, brick, blueprint })
    }

    /// Gives the layers new options.
    ///
    /// # Errors
    /// The first layer that refused; all have their old options then.
    pub fn reconfigure(&self, layers: &[LayerSpec<'_>]) -> Result<(), crate::graph::GraphError> {
        let replaced = self.blueprint.reconfigure(&volfile(layers))?;
        self.graph.reconfigure().inspect_err(|_| {
            self.blueprint.restore(replaced);
            self.graph.reconfigure().expect("these have been accepted before");
        })
    }

    /// Where fops enter.
    #[must_use]
    pub fn top(&self) -> &Next {
        self.graph.top()
    }

    /// Begins a call.
    #[must_use]
    pub fn call(&self, fop: Fop, caller: Caller) -> Call {
        let spec = CallSpec { fop, subject: Gfid::ROOT, caller, times: CallTimes::default(), unique: 7 };
        self.graph.begin(spec)
    }
}

fn volfile(layers: &[LayerSpec<'_>]) -> Volfile {
    let mut nodes = vec![Node::new("leaf", TYPE.name, &[], &[])];
    for (kind, options) in layers {
        let below = nodes.last().map(|node| node.name.text.clone()).unwrap_or_default();
        let name = format!("{kind}#{}", nodes.len());
        nodes.push(Node::new(&name, kind, options, &[&below]));
    }
    Volfile { nodes }
}

/// An ordinary user whose only group has the same number.
#[must_use]
pub fn user(id: u32) -> Caller {
    Caller { uid: id, gid: id, pid: 100, ..Caller::default() }
}

/// An ordinary user in these groups, the first of which is the primary one.
#[must_use]
pub fn member(uid: u32, groups: &[u32]) -> Caller {
    let (gid, groups) = groups.split_first().map_or((uid, &[][..]), |(first, rest)| (*first, rest));
    Caller { uid, gid, groups: groups.into(), pid: 100, ..Caller::default() }
}

/// The superuser.
#[must_use]
pub fn root() -> Caller {
    user(0)
}

/// One of GlusterFS's internal clients, with a user's id.
#[must_use]
pub fn internal(uid: u32) -> Caller {
    Caller { pid: crate::call::internal_pid::SELF_HEAL, ..user(uid) }
}

/// A gfid made of one byte, distinct from the root's.
#[must_use]
pub const fn gfid(byte: u8) -> Gfid {
    Gfid::from_bytes([byte; 16])
}

/// The entry `name` of `parent`.
///
/// # Panics
/// When it is no name.
#[must_use]
pub fn entry(parent: Gfid, name: &str) -> Loc {
    Loc::entry(parent, Name::new(name.as_bytes()).expect("a test's name is a name"))
}
