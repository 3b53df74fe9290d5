//! The graph of translators.
//!
//! A [`Blueprint`] is made once per process: the nodes of a volfile with their checked options and the state that the
//! instances on all cores share. Every core then makes its own [`Graph`] from it.

mod blueprint;
mod next;

use std::rc::Rc;
use std::sync::Arc;

use kiln_uring::Core;

pub use blueprint::{Blueprint, GraphError, Layer, Replaced};
pub use next::Next;

use crate::call::{Call, CallSpec, CallTable};
use crate::fd::FdRef;
use crate::translator::{Event, InstanceContext, Translator};
use crate::types::Gfid;
use crate::upcall::{Upcall, Upcalls};

/// A layer's place in the graph: its index among the nodes of the volfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub u16);

impl LayerId {
    /// Not a layer: the front door that brought the request in.
    pub const FRONT_DOOR: Self = Self(u16::MAX);
}

/// The instances of one core.
pub struct Graph {
    blueprint: Arc<Blueprint>,
    core: Core,
    layers: Vec<Rc<dyn Translator>>,
    top: Next,
    calls: CallTable,
    upcalls: Upcalls,
}

impl Graph {
    /// Makes and links the instances of `core`, bottom to top.
    ///
    /// # Errors
    /// The first layer that could not be made, with its reason.
    pub fn new(blueprint: &Arc<Blueprint>, core: &Core) -> Result<Rc<Self>, GraphError> {
        let mut layers: Vec<Rc<dyn Translator>> = Vec::with_capacity(blueprint.layers().len());
        let upcalls = Upcalls::default();
        for (index, layer) in blueprint.layers().iter().enumerate() {
            let links = layer.children.iter().map(|child| Next::new(*child, &layers)).collect();
            let made = (layer.kind.instance)(InstanceContext {
                layer: LayerId(index as u16),
                name: &layer.name,
                options: &layer.options(),
                core,
                shared: &layer.shared,
                upcalls: &upcalls,
                links,
            });
            layers.push(made.map_err(|reason| GraphError::new(layer, reason))?);
        }
        let top = Next::new(blueprint.top(), &layers);
        Ok(Rc::new(Self {
            blueprint: Arc::clone(blueprint),
            core: core.clone(),
            layers,
            top,
            calls: CallTable::default(),
            upcalls,
        }))
    }

    /// Starts the layers' background work.
    pub fn start(&self) {
        self.layers.iter().for_each(|layer| layer.start());
    }

    /// Where fops enter.
    #[must_use]
    pub const fn top(&self) -> &Next {
        &self.top
    }

    /// Where fops enter that are meant for `layer` and what is below it: a server offers each of its subvolumes.
    #[must_use]
    pub fn entry(&self, layer: LayerId) -> Next {
        Next::new(layer, &self.layers)
    }

    /// Enters a request; its fop is then wound at [`Graph::top`].
    #[must_use]
    pub fn begin(&self, spec: CallSpec) -> Call {
        self.calls.begin(&self.core, spec)
    }

    /// The calls in flight.
    #[must_use]
    pub const fn calls(&self) -> &CallTable {
        &self.calls
    }

    /// The core it lives on.
    #[must_use]
    pub const fn core(&self) -> &Core {
        &self.core
    }

    /// What it was made from.
    #[must_use]
    pub const fn blueprint(&self) -> &Arc<Blueprint> {
        &self.blueprint
    }

    /// Who carries this core's [upcalls](crate::upcall) to the clients. Every core needs its sink; the last one set counts.
    pub fn on_upcall(&self, sink: impl Fn(Upcall) + 'static) {
        self.upcalls.listen(sink);
    }

    /// The instances, in the order of the volfile, bottom first.
    #[must_use]
    pub fn layers(&self) -> &[Rc<dyn Translator>] {
        &self.layers
    }

    /// The last holder of a descriptor is gone: every layer hears it, top first.
    pub fn release(&self, fd: &FdRef) {
        self.layers.iter().rev().for_each(|layer| layer.release(fd));
    }

    /// No client remembers the object any more: every layer hears it, top first.
    pub fn forget(&self, gfid: Gfid) {
        self.layers.iter().rev().for_each(|layer| layer.forget(gfid));
    }

    /// Why the graph cannot serve any more, if it cannot: the first layer from the bottom that says so.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.layers.iter().find_map(|layer| layer.failure())
    }

    /// Tells every layer, top first.
    pub fn notify(&self, event: &Event) {
        self.layers.iter().rev().for_each(|layer| layer.notify(event));
    }

    /// Gives the layers the new options that [`Blueprint::reconfigure`] has accepted.
    ///
    /// # Errors
    /// The first layer that refused, with its reason; those before it have taken theirs.
    pub fn reconfigure(&self) -> Result<(), GraphError> {
        for (layer, instance) in self.blueprint.layers().iter().zip(&self.layers) {
            instance.reconfigure(&layer.options()).map_err(|reason| GraphError::new(layer, reason))?;
        }
        Ok(())
    }

    /// Stops the layers, top first. No fop may be in flight.
    pub async fn fini(&self) {
        self.notify(&Event::Stopping);
        for layer in self.layers.iter().rev() {
            layer.fini().await;
        }
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("core", &self.core.id())
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}
