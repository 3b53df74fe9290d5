//! From a layer to the layers below it, fop by fop.

use std::rc::Rc;

use super::LayerId;
use crate::fop::Fop;
use crate::translator::Translator;

/// A layer that gets a fop.
type Target = (LayerId, Rc<dyn Translator>);

/// Where the fops of a layer go on: for each fop the nearest layer below that intercepts it, so that the layers between cost
/// nothing. A `Next` to nothing (the default, below a leaf) answers every fop with ENOSYS.
#[derive(Clone, Default)]
pub struct Next {
    targets: Rc<[Option<Target>]>,
}

impl Next {
    /// The way into layer `child` of `layers`, where all layers below it stand already.
    pub(super) fn new(child: LayerId, layers: &[Rc<dyn Translator>]) -> Self {
        let layer = &layers[usize::from(child.0)];
        let own = layer.intercepts();
        let targets = Fop::ALL
            .iter()
            .map(|fop| {
                if own.contains(*fop) {
                    Some((child, Rc::clone(layer)))
                } else {
                    layer.next().targets.get(*fop as usize).cloned().flatten()
                }
            })
            .collect();
        Self { targets }
    }

    /// The layer that gets `fop`, if any does.
    pub(crate) fn target(&self, fop: Fop) -> Option<(LayerId, &dyn Translator)> {
        let (layer, translator) = self.targets.get(fop as usize)?.as_ref()?;
        Some((*layer, translator.as_ref()))
    }

    /// Which layer gets `fop`, for `kiln volfile show` and front doors that ask before they offer something.
    #[must_use]
    pub fn receiver(&self, fop: Fop) -> Option<LayerId> {
        self.target(fop).map(|(layer, _)| layer)
    }
}

impl std::fmt::Debug for Next {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(Fop::ALL.iter().filter_map(|fop| Some((fop.name(), self.receiver(*fop)?.0))))
            .finish()
    }
}
