//! The graph in Graphviz's language.

use std::fmt::Write as _;

use super::Picture;
use crate::volfile::Volfile;

/// Draws the graph for `dot -Tsvg` and its relatives.
#[must_use]
pub fn dot(volfile: &Volfile) -> String {
    let picture = Picture::of(volfile);
    let mut out = String::from(
        "digraph volfile {\n    rankdir=TB;\n    node [shape=box, style=\"rounded\", fontname=\"sans-serif\", fontsize=11];\n    \
         edge [arrowsize=0.7];\n",
    );
    for (index, node) in picture.boxes.iter().enumerate().rev() {
        // `\l` ends a line that is set to the left.
        let options: String = node
            .options
            .iter()
            .map(|(key, value)| format!("{} = {}\\l", escape(key), escape(value)))
            .collect();
        let gap = if options.is_empty() { "" } else { "\\n" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "    n{index} [label=\"{}\\n{}{gap}{options}\"];",
            escape(node.name),
            escape(node.kind)
        );
    }
    for (index, node) in picture.boxes.iter().enumerate().rev() {
        for below in &node.below {
            let _ = writeln!(out, "    n{index} -> n{below};");
        }
    }
    out.push_str("}\n");
    out
}

fn escape(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).fold(String::new(), |mut out, c| {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
        out
    })
}
