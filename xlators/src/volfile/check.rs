//! Whether a volfile that reads well also means something: translators, options, and the shape of the graph.

use std::collections::{HashMap, HashSet};

use super::suggest::nearest;
use super::{Diagnostic, Node, OptionLine, Spanned, Volfile};
use crate::options::Support;
use crate::registry;
use crate::translator::{Children, TranslatorType};

/// Most nodes of one volfile; a [`crate::graph::LayerId`] counts them.
const MAX_NODES: usize = u16::MAX as usize - 1;

/// Most layers on a path from the top down. Each layer that has a fop in hand takes its share of the core's stack; a
/// stock brick has twenty.
const MAX_DEPTH: usize = 128;

/// How many nodes above are searched for one with a similar name.
const NAMES_COMPARED: usize = 50;

/// Every mistake of `volfile`, with its place.
#[must_use]
pub fn check(volfile: &Volfile) -> Vec<Diagnostic> {
    let known: Vec<&'static TranslatorType> = registry::all().collect();
    check_against(volfile, &known)
}

/// The same against other translators than the registered ones.
pub(super) fn check_against(volfile: &Volfile, known: &[&'static TranslatorType]) -> Vec<Diagnostic> {
    if let Some(node) = volfile.nodes.get(MAX_NODES) {
        return vec![Diagnostic::error(node.name.span, format!("a graph has at most {MAX_NODES} nodes"))];
    }
    let mut checker = Checker {
        volfile,
        known,
        places: HashMap::new(),
        twins: HashSet::new(),
        leads_nowhere: false,
        findings: Vec::new(),
    };
    // Where names are defined first, all before anything is checked: a subvolume may be defined too late.
    for (index, node) in volfile.nodes.iter().enumerate() {
        checker.places.entry(&node.name.text).or_insert(index);
    }
    for (index, node) in volfile.nodes.iter().enumerate() {
        checker.name(index, node);
        checker.subvolumes(index, node);
        checker.translator(node);
    }
    checker.depth();
    // A subvolume that leads nowhere would make whatever it meant unreachable.
    if !checker.leads_nowhere {
        checker.reachable();
    }
    checker.findings
}

struct Checker<'a> {
    volfile: &'a Volfile,
    known: &'a [&'static TranslatorType],
    places: HashMap<&'a str, usize>,
    twins: HashSet<&'a str>,
    leads_nowhere: bool,
    findings: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    fn name(&mut self, index: usize, node: &'a Node) {
        let first = self.places.get(node.name.text.as_str()).copied().unwrap_or(index);
        if first != index && !node.name.text.is_empty() {
            self.twins.insert(&node.name.text);
            let line = self.volfile.nodes[first].name.span.line;
            self.findings.push(
                Diagnostic::error(node.name.span, format!("there are two nodes named `{}`", node.name.text))
                    .label(format!("the first one is on line {line}"))
                    .help("give one of them another name"),
            );
        }
    }

    fn subvolumes(&mut self, index: usize, node: &'a Node) {
        let mut named = HashSet::new();
        for sub in &node.subvolumes {
            match self.places.get(sub.text.as_str()).copied() {
                Some(place) if place < index => {}
                found => {
                    self.leads_nowhere = true;
                    self.misplaced(index, node, sub, found);
                }
            }
            if !named.insert(sub.text.as_str()) {
                let message = format!("subvolume `{}` is named twice", sub.text);
                self.findings.push(Diagnostic::warning(sub.span, message).help("name it once"));
            }
        }
    }

    /// A subvolume that is defined nowhere, or not above.
    fn misplaced(&mut self, index: usize, node: &Node, sub: &Spanned, place: Option<usize>) {
        let name = &sub.text;
        self.findings.push(match place {
            None => self.undefined(index, sub),
            Some(_) if *name == node.name.text => {
                Diagnostic::error(sub.span, format!("node `{name}` stands on itself"))
                    .help("name the node below it, or remove the line")
            }
            Some(place) => {
                let line = self.volfile.nodes[place].name.span.line;
                Diagnostic::error(sub.span, format!("subvolume `{name}` is defined below this node"))
                    .label(format!("defined on line {line}"))
                    .help(format!("move the block of `{name}` above the block of `{}`", node.name.text))
            }
        });
    }

    fn undefined(&self, index: usize, sub: &Spanned) -> Diagnostic {
        // The nearest nodes come first, and a file of thousands is not compared with each of them.
        let above = &self.volfile.nodes[index.saturating_sub(NAMES_COMPARED)..index];
        let names = above.iter().rev().map(|node| node.name.text.as_str());
        let finding = Diagnostic::error(sub.span, format!("there is no node `{}`", sub.text));
        match (nearest(&sub.text, names), above.last()) {
            (Some(name), _) => finding.help(format!("did you mean `{name}`?")),
            (None, Some(previous)) => {
                finding.help(format!("the node right above this one is `{}`", previous.name.text))
            }
            (None, None) => finding.help("this is the first node, and nothing is defined above it"),
        }
    }

    fn translator(&mut self, node: &Node) {
        // The parser has complained already about a node without translator.
        if node.kind.text.is_empty() {
            return;
        }
        let Some(kind) = self.known.iter().find(|kind| kind.name == node.kind.text) else {
            self.unknown_translator(&node.kind);
            return;
        };
        let (count, wrong) = (node.subvolumes.len(), |count: usize| match kind.children {
            Children::None => count != 0,
            Children::One => count != 1,
            Children::Many => count == 0,
        });
        if wrong(count) {
            let (needs, help) = match kind.children {
                Children::None => ("no subvolume", "remove the `subvolumes` line"),
                Children::One => ("exactly one subvolume", "name the node below it: `subvolumes NAME`"),
                Children::Many => ("at least one subvolume", "name the nodes below it: `subvolumes NAME …`"),
            };
            let has = if count == 0 { "has none".into() } else { format!("has {count}") };
            let span = node.subvolumes.first().map_or(node.kind.span, |sub| sub.span);
            self.findings.push(
                Diagnostic::error(
                    span,
                    format!("`{}` stands on {needs}, and `{}` {has}", kind.name, node.name.text),
                )
                .help(help),
            );
        }
        let mut earlier: HashMap<&str, &OptionLine> = HashMap::new();
        for option in &node.options {
            self.option(kind, option, earlier.insert(&option.key.text, option));
        }
    }

    fn unknown_translator(&mut self, kind: &Spanned) {
        let finding = Diagnostic::error(kind.span, format!("there is no translator `{}`", kind.text));
        let names = || self.known.iter().map(|kind| kind.name);
        // The last component alone may be right: `posix`, `debug/posix`.
        let last = |name: &str| name.rsplit('/').next().map(str::to_owned);
        let same_last = names().find(|name| last(name) == last(&kind.text));
        let finding = match nearest(&kind.text, names()).or(same_last) {
            Some(name) => finding.label("unknown translator").help(format!("did you mean `{name}`?")),
            None => finding
                .label("unknown translator")
                .help(format!("Kiln knows {}", names().collect::<Vec<_>>().join(", "))),
        };
        self.findings.push(finding);
    }

    fn option(&mut self, kind: &'static TranslatorType, option: &OptionLine, earlier: Option<&OptionLine>) {
        let OptionLine { key, value } = option;
        let Some(spec) = kind.options.iter().find(|spec| spec.matches(&key.text)) else {
            let finding =
                Diagnostic::error(key.span, format!("`{}` has no option `{}`", kind.name, key.text));
            let finding = match nearest(&key.text, kind.options.iter().map(|spec| spec.name)) {
                Some(name) => finding.help(format!("did you mean `{name}`?")),
                None if kind.options.is_empty() => finding.help("it has no options at all; remove the line"),
                None => finding.help(format!("`kiln volfile options {}` lists its options", kind.name)),
            };
            self.findings.push(finding);
            return;
        };
        if let Err(reason) = spec.validate(&value.text) {
            let finding = Diagnostic::error(value.span, reason);
            let words = match spec.kind {
                crate::options::OptionKind::Enum(words) => words,
                _ => &[],
            };
            self.findings.push(match (nearest(&value.text, words.iter().copied()), spec.default) {
                (Some(word), _) => finding.help(format!("did you mean `{word}`?")),
                (None, Some(default)) if !default.is_empty() => {
                    finding.help(format!("the default is `{default}`"))
                }
                _ => finding,
            });
        } else if let Support::Ignored(why) = spec.support
            && spec.default != Some(&value.text)
        {
            let message = format!("option `{}` is accepted but has no effect: {why}", key.text);
            self.findings.push(Diagnostic::note(key.span, message));
        }
        if let Some(first) = earlier {
            self.findings.push(
                Diagnostic::warning(key.span, format!("option `{}` is given twice", key.text))
                    .label(format!(
                        "this value replaces `{}` of line {}",
                        first.value.text, first.key.span.line
                    ))
                    .help("keep one of the two lines"),
            );
        }
    }

    /// Fops pass layer after layer, and there is no room for any number of them.
    fn depth(&mut self) {
        let mut depths: Vec<usize> = Vec::with_capacity(self.volfile.nodes.len());
        for (index, node) in self.volfile.nodes.iter().enumerate() {
            let places = node.subvolumes.iter().filter_map(|sub| self.places.get(sub.text.as_str()));
            let below = places.filter(|place| **place < index).map(|place| depths[*place]).max().unwrap_or(0);
            depths.push(below + 1);
            // Said once, where it begins.
            if below == MAX_DEPTH {
                self.findings.push(
                    Diagnostic::error(
                        node.name.span,
                        format!("there are more than {MAX_DEPTH} layers below each other"),
                    )
                    .label(format!("this is number {}", MAX_DEPTH + 1))
                    .help("remove layers below this one"),
                );
            }
        }
    }

    /// Fops enter at the last node; what they cannot come to does nothing.
    fn reachable(&mut self) {
        let nodes = &self.volfile.nodes;
        let Some(top) = nodes.len().checked_sub(1) else { return };
        let mut reached = vec![false; nodes.len()];
        let mut pending = vec![top];
        while let Some(index) = pending.pop() {
            if !std::mem::replace(&mut reached[index], true) {
                pending.extend(
                    nodes[index].subvolumes.iter().filter_map(|sub| self.places.get(sub.text.as_str())),
                );
            }
        }
        for (node, _) in nodes.iter().zip(&reached).filter(|(_, reached)| !**reached) {
            // Of two nodes with one name, the name is the mistake.
            if self.twins.contains(node.name.text.as_str()) {
                continue;
            }
            let (name, top) = (&node.name.text, &nodes[top].name.text);
            self.findings.push(
                Diagnostic::warning(
                    node.name.span,
                    format!("nothing leads to node `{name}` from the top, `{top}`"),
                )
                .help(format!("name it as a subvolume of a node below `{top}`, or remove it")),
            );
        }
    }
}
