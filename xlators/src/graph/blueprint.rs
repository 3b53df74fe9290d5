//! A checked volfile with the state that all cores share.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use kiln_uring::Sys;

use super::LayerId;
use crate::options::Options;
use crate::registry;
use crate::translator::{Children, PrepareContext, Shared, TranslatorType};
use crate::volfile::{Node, Volfile};

/// A layer could not be made, or refused its options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} ({kind}): {reason}")]
pub struct GraphError {
    /// Name of the node.
    pub name: String,
    /// Its translator.
    pub kind: String,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl GraphError {
    pub(super) fn new(layer: &Layer, reason: String) -> Self {
        Self { name: layer.name.clone(), kind: layer.kind.name.into(), reason }
    }

    fn of_node(node: &Node, reason: impl Into<String>) -> Self {
        Self { name: node.name.text.clone(), kind: node.kind.text.clone(), reason: reason.into() }
    }
}

/// One node of the graph.
#[derive(Debug)]
pub struct Layer {
    /// Name of the node in the volfile.
    pub name: String,
    /// Its translator.
    pub kind: &'static TranslatorType,
    /// The layers it stands on.
    pub children: Vec<LayerId>,
    /// What its instances share.
    pub shared: Shared,
    options: RwLock<Arc<Options>>,
}

impl Layer {
    /// Its options, as they are now.
    #[must_use]
    pub fn options(&self) -> Arc<Options> {
        Arc::clone(&self.options.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gives what the instances share the options that are in force.
    fn take_back(&self) {
        if let Err(reason) = (self.kind.renew)(&self.shared, &self.options()) {
            tracing::error!(node = self.name, "it does not take its old options back: {reason}");
        }
    }

    fn set_options(&self, options: Arc<Options>) {
        *self.options.write().unwrap_or_else(PoisonError::into_inner) = options;
    }
}

/// See the [module](super).
#[derive(Debug)]
pub struct Blueprint {
    layers: Vec<Layer>,
    top: LayerId,
}

impl Blueprint {
    /// Checks `volfile` and prepares every layer, bottom to top (a brick directory is opened here, say), for `cores` cores.
    ///
    /// # Errors
    /// The first node that is wrong. [`crate::volfile::check`] finds all mistakes with their places; this is the last
    /// line of defence.
    pub fn new(volfile: &Volfile, sys: &Arc<dyn Sys>, cores: usize) -> Result<Arc<Self>, GraphError> {
        Self::with_types(volfile, sys, cores, registry::find)
    }

    /// The same with translators of one's own: for measurements and tests.
    ///
    /// # Errors
    /// Those of [`Blueprint::new`].
    pub fn with_types(
        volfile: &Volfile,
        sys: &Arc<dyn Sys>,
        cores: usize,
        find: impl Fn(&str) -> Option<&'static TranslatorType>,
    ) -> Result<Arc<Self>, GraphError> {
        let mut layers: Vec<Layer> = Vec::with_capacity(volfile.nodes.len());
        let mut by_name: HashMap<&str, LayerId> = HashMap::new();
        for node in &volfile.nodes {
            let kind = find(&node.kind.text)
                .ok_or_else(|| GraphError::of_node(node, "there is no such translator"))?;
            let children = node
                .subvolumes
                .iter()
                .map(|sub| by_name.get(sub.text.as_str()).copied())
                .collect::<Option<Vec<_>>>()
                .ok_or_else(|| GraphError::of_node(node, "a subvolume is not defined above it"))?;
            let enough = match kind.children {
                Children::None => children.is_empty(),
                Children::One => children.len() == 1,
                Children::Many => !children.is_empty(),
            };
            if !enough {
                return Err(GraphError::of_node(
                    node,
                    format!("it cannot stand on {} subvolumes", children.len()),
                ));
            }
            let options = read_options(node, kind)?;
            let context = PrepareContext { name: &node.name.text, options: &options, sys, cores };
            let shared = (kind.prepare)(&context).map_err(|reason| GraphError::of_node(node, reason))?;
            let id = LayerId(
                u16::try_from(layers.len()).map_err(|_| GraphError::of_node(node, "too many nodes"))?,
            );
            if by_name.insert(&node.name.text, id).is_some() {
                return Err(GraphError::of_node(node, "the name is used twice"));
            }
            let options = RwLock::new(Arc::new(options));
            layers.push(Layer { name: node.name.text.clone(), kind, children, shared, options });
        }
        let Some(last) = layers.len().checked_sub(1) else {
            return Err(GraphError {
                name: "volfile".into(),
                kind: "empty".into(),
                reason: "it has no node".into(),
            });
        };
        Ok(Arc::new(Self { layers, top: LayerId(last as u16) }))
    }

    /// The layers, in the order of the volfile, bottom first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layer where fops enter.
    #[must_use]
    pub const fn top(&self) -> LayerId {
        self.top
    }

    /// The name of a layer, for dumps and logs.
    #[must_use]
    pub fn name_of(&self, layer: LayerId) -> &str {
        self.layers.get(usize::from(layer.0)).map_or("front door", |layer| &layer.name)
    }

    /// Takes over the options of `volfile`, which must describe the same nodes. Every core must call
    /// [`super::Graph::reconfigure`] afterwards; when one of them refuses, [`Blueprint::restore`] what this answers.
    ///
    /// # Errors
    /// When the graph itself differs, an option is wrong, or one that needs a restart changed; nothing is taken over then.
    pub fn reconfigure(&self, volfile: &Volfile) -> Result<Replaced, GraphError> {
        let differs =
            |node: &Node| GraphError::of_node(node, "the graph itself changed, which needs a restart");
        let mut accepted = Vec::with_capacity(self.layers.len());
        for (index, node) in volfile.nodes.iter().enumerate() {
            let layer = self.layers.get(index).ok_or_else(|| differs(node))?;
            let same_children = node.subvolumes.len() == layer.children.len()
                && node
                    .subvolumes
                    .iter()
                    .zip(&layer.children)
                    .all(|(sub, child)| sub.text == self.name_of(*child));
            if layer.name != node.name.text || layer.kind.name != node.kind.text || !same_children {
                return Err(differs(node));
            }
            let options = read_options(node, layer.kind)?;
            let old = layer.options();
            let fixed = options
                .changed_from(&old)
                .find(|key| options.spec(key).is_some_and(|spec| !spec.reconfigurable));
            if let Some(key) = fixed {
                return Err(GraphError::of_node(node, format!("a change of option `{key}` needs a restart")));
            }
            accepted.push(Arc::new(options));
        }
        if accepted.len() != self.layers.len() {
            let reason = "the graph itself changed, which needs a restart".into();
            return Err(GraphError { name: "volfile".into(), kind: "graph".into(), reason });
        }
        self.renew(&accepted)?;
        let mut replaced = Vec::with_capacity(accepted.len());
        let mut changes = Vec::new();
        for (layer, options) in self.layers.iter().zip(accepted) {
            let old = layer.options();
            changes.extend(options.changed_from(&old).map(|key| format!("{key} of {}", layer.name)));
            replaced.push(old);
            layer.set_options(options);
        }
        Ok(Replaced { options: replaced, changes })
    }

    /// Gives what the instances share its new options, of the layers where they differ. When one refuses, those before it
    /// get their old ones back.
    fn renew(&self, accepted: &[Arc<Options>]) -> Result<(), GraphError> {
        for (index, (layer, options)) in self.layers.iter().zip(accepted).enumerate() {
            if options.changed_from(&layer.options()).next().is_none() {
                continue;
            }
            if let Err(reason) = (layer.kind.renew)(&layer.shared, options) {
                self.layers[..index].iter().for_each(Layer::take_back);
                return Err(GraphError::new(layer, reason));
            }
        }
        Ok(())
    }

    /// Puts the options back that [`Blueprint::reconfigure`] has replaced. Every core must call
    /// [`super::Graph::reconfigure`] afterwards.
    pub fn restore(&self, replaced: Replaced) {
        for (layer, options) in self.layers.iter().zip(replaced.options) {
            let changed = options.changed_from(&layer.options()).next().is_some();
            layer.set_options(options);
            if changed {
                layer.take_back();
            }
        }
    }
}

/// What a reconfiguration has replaced.
#[must_use = "a layer may refuse the new options"]
#[derive(Debug)]
pub struct Replaced {
    options: Vec<Arc<Options>>,
    changes: Vec<String>,
}

impl Replaced {
    /// Which options have another value now: `key of node`.
    #[must_use]
    pub fn changes(&self) -> &[String] {
        &self.changes
    }
}

fn read_options(node: &Node, kind: &'static TranslatorType) -> Result<Options, GraphError> {
    let pairs = node.options.iter().map(|line| (line.key.text.clone(), line.value.text.clone()));
    let options =
        Options::new(kind.options, pairs).map_err(|errors| GraphError::of_node(node, errors.join("; ")))?;
    for (key, value, why) in options.without_effect() {
        tracing::warn!(node = node.name.text, "option {key} {value} is accepted but has no effect: {why}");
    }
    Ok(options)
}
