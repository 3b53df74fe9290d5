//! The graph as text, from the top down. A chain goes straight down; a node with several subvolumes branches.

use std::fmt::Write as _;

use super::{Drawn, Picture};
use crate::volfile::Volfile;

/// Draws the graph with its options where they are not the defaults.
#[must_use]
pub fn text(volfile: &Volfile) -> String {
    let picture = Picture::of(volfile);
    let mut tree = Tree { picture: &picture, drawn: vec![false; picture.boxes.len()], out: String::new() };
    for (count, root) in picture.roots().into_iter().enumerate() {
        if count > 0 {
            tree.out.push_str("\nnot reachable from the top:\n");
        }
        tree.chain(root, "", "");
    }
    tree.out
}

/// Most branchings below each other; what is deeper is left out.
const MAX_BRANCHES: usize = 60;

struct Tree<'a> {
    picture: &'a Picture<'a>,
    drawn: Vec<bool>,
    out: String,
}

impl Tree<'_> {
    /// Draws `index` and what it stands on. `first` comes before its own line, `rest` before all lines below.
    fn chain(&mut self, index: usize, first: &str, rest: &str) {
        let (mut index, mut first) = (index, first.to_owned());
        loop {
            let node = &self.picture.boxes[index];
            if self.drawn[index] {
                self.line(&first, format_args!("{} (see above)", node.name));
                return;
            }
            self.drawn[index] = true;
            self.node(node, &first, rest);
            match node.below.as_slice() {
                [] => return,
                [_, _, ..] if rest.chars().count() >= 4 * MAX_BRANCHES => {
                    self.line(rest, format_args!("│"));
                    self.line(rest, format_args!("└── … (too deep to be drawn)"));
                    return;
                }
                [only] => {
                    self.line(rest, format_args!("│"));
                    index = *only;
                    first = rest.to_owned();
                }
                [all @ .., last] => {
                    for child in all {
                        self.line(rest, format_args!("│"));
                        self.chain(*child, &format!("{rest}├── "), &format!("{rest}│   "));
                    }
                    self.line(rest, format_args!("│"));
                    self.chain(*last, &format!("{rest}└── "), &format!("{rest}    "));
                    return;
                }
            }
        }
    }

    fn node(&mut self, node: &Drawn<'_>, first: &str, rest: &str) {
        self.line(first, format_args!("{}  ({})", node.name, node.kind));
        let stem = if node.below.is_empty() { "   " } else { "│  " };
        let width = node.options.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0);
        for (key, value) in &node.options {
            self.line(rest, format_args!("{stem}{key:width$}  {value}"));
        }
    }

    fn line(&mut self, prefix: &str, what: std::fmt::Arguments<'_>) {
        let start = self.out.len();
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{prefix}{what}");
        let line: String =
            self.out.split_off(start).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        self.out.push_str(line.trim_end());
        self.out.push('\n');
    }
}
