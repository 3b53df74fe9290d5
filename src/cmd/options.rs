//! `kiln volfile options`: the reference of all translators and their options.

use std::fmt::Write as _;

use kiln_xlators::options::{OptionSpec, Support};
use kiln_xlators::registry;
use kiln_xlators::translator::{Children, TranslatorType};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// All translators in a line each, or everything about one.
pub fn list(name: Option<&str>) -> Outcome {
    let Some(name) = name else { return super::print(&index()) };
    match registry::find(name) {
        Some(kind) => super::print(&reference(kind)),
        None => Err(Failure::new(Exit::Usage, format!("there is no translator `{name}`"))
            .next("`kiln volfile options` lists them.")),
    }
}

fn index() -> String {
    let width = registry::all().map(|kind| kind.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for kind in registry::all() {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, "{:width$}  {:>2} options  {}", kind.name, kind.options.len(), kind.about);
    }
    out.push_str("\n`kiln volfile options TRANSLATOR` explains its options.\n");
    out
}

fn reference(kind: &TranslatorType) -> String {
    let below = match kind.children {
        Children::None => "nothing",
        Children::One => "one subvolume",
        Children::Many => "one or more subvolumes",
    };
    let mut out = format!("{}: {}\nStands on {below}.\n", kind.name, kind.about);
    if kind.options.is_empty() {
        out.push_str("\nIt has no options.\n");
    }
    for spec in kind.options {
        let _ = write!(out, "\n{}", option(spec));
    }
    out
}

fn option(spec: &OptionSpec) -> String {
    let mut out = format!("option {}\n", spec.name);
    if !spec.about.is_empty() {
        let _ = writeln!(out, "    {}", spec.about);
    }
    let default = match spec.default {
        None | Some("") => "none".to_owned(),
        Some(text) => format!("`{text}`"),
    };
    let _ = writeln!(out, "    Value: {}. Default: {default}.", spec.kind.wanted());
    match spec.support {
        Support::Ignored(why) => _ = writeln!(out, "    Accepted without effect: {why}."),
        Support::Real if spec.reconfigurable => {}
        Support::Real => out.push_str("    A change needs a restart.\n"),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_explained_and_every_default_is_a_value() {
        for kind in registry::all() {
            let text = reference(kind);
            for spec in kind.options {
                assert!(text.contains(&format!("option {}\n", spec.name)));
                if let Some(default) = spec.default {
                    assert_eq!(spec.validate(default), Ok(()), "{} of {}", spec.name, kind.name);
                }
            }
        }
        assert!(list(Some("no/such")).is_err());
    }
}
