//! Pictures of a graph: [`mod@text`] for a terminal, [`mod@dot`] for Graphviz, [`mod@svg`] drawn here.

mod dot;
mod layout;
mod svg;
mod text;

pub use dot::dot;
pub use svg::svg;
pub use text::text;

use std::collections::HashMap;

use super::{Node, Volfile};
use crate::registry;

/// A graph made ready for drawing: indices instead of names.
struct Picture<'a> {
    boxes: Vec<Drawn<'a>>,
}

/// One node of the picture.
struct Drawn<'a> {
    name: &'a str,
    kind: &'a str,
    /// The options whose values are not the defaults; of duplicates the last.
    options: Vec<(&'a str, &'a str)>,
    /// Indices of the nodes below, all smaller than the own one.
    below: Vec<usize>,
}

impl<'a> Picture<'a> {
    /// Of any volfile, also of one that does not check: what leads nowhere is left out.
    fn of(volfile: &'a Volfile) -> Self {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut boxes = Vec::with_capacity(volfile.nodes.len());
        for (index, node) in volfile.nodes.iter().enumerate() {
            let mut below: Vec<usize> = Vec::with_capacity(node.subvolumes.len());
            for place in node.subvolumes.iter().filter_map(|sub| places.get(sub.text.as_str())) {
                if !below.contains(place) {
                    below.push(*place);
                }
            }
            boxes.push(Drawn {
                name: &node.name.text,
                kind: &node.kind.text,
                options: options_of(node),
                below,
            });
            places.entry(&node.name.text).or_insert(index);
        }
        Self { boxes }
    }

    /// The nodes where a walk downwards starts: the top, and whatever nothing leads to.
    fn roots(&self) -> Vec<usize> {
        let mut led_to = vec![false; self.boxes.len()];
        for place in self.boxes.iter().flat_map(|node| &node.below) {
            led_to[*place] = true;
        }
        (0..self.boxes.len()).rev().filter(|index| !led_to[*index]).collect()
    }
}

fn options_of(node: &Node) -> Vec<(&str, &str)> {
    let specs = registry::find(&node.kind.text).map_or(&[][..], |kind| kind.options);
    let mut shown: Vec<(&str, &str)> = Vec::new();
    for line in &node.options {
        let (key, value) = (line.key.text.as_str(), line.value.text.as_str());
        shown.retain(|(earlier, _)| *earlier != key);
        let default = specs.iter().find(|spec| spec.matches(key)).and_then(|spec| spec.default);
        if default != Some(value) {
            shown.push((key, value));
        }
    }
    shown
}
