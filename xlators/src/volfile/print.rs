//! A volfile as text, in the form that glusterd writes: four blanks of indentation, one empty line between nodes.

use std::fmt;

use super::lexer::Kind;
use super::{Node, Volfile};

impl fmt::Display for Volfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, node) in self.nodes.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{node}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "volume {}", Quoted(&self.name.text))?;
        writeln!(f, "    type {}", Quoted(&self.kind.text))?;
        for option in &self.options {
            writeln!(f, "    option {} {}", Quoted(&option.key.text), Quoted(&option.value.text))?;
        }
        if !self.subvolumes.is_empty() {
            write!(f, "    subvolumes")?;
            for name in &self.subvolumes {
                write!(f, " {}", Quoted(&name.text))?;
            }
            writeln!(f)?;
        }
        writeln!(f, "end-volume")
    }
}

/// A word, in quotes where it would not be read as one word otherwise.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let special = |c: char| matches!(c, ' ' | '\t' | '\r' | '\n' | '"' | '\\' | '`');
        let plain = !self.0.is_empty()
            && !self.0.starts_with('#')
            && !self.0.contains(special)
            && Kind::of(self.0) == Kind::Word;
        if plain {
            return f.write_str(self.0);
        }
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\' | '`' | '\n') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}
