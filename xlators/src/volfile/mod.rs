//! Volfiles: the text that describes a graph of translators.

mod ast;

pub use ast::{Node, OptionLine, Span, Spanned, Volfile};
