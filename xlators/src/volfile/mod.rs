//! Volfiles: the text that describes a graph of translators.
//!
//! [`read`] turns text into nodes and finds every mistake with its place; [`show`] draws what it describes; `Display` of a
//! [`Volfile`] writes it again.

mod ast;
mod check;
mod embedded;
mod error;
mod lexer;
mod load;
mod parser;
mod print;
pub mod show;
mod suggest;
#[cfg(test)]
mod tests;

pub use ast::{Node, OptionLine, Span, Spanned, Volfile};
pub use check::check;
pub use embedded::Embedded;
pub use error::{Diagnostic, Report, Severity, Style};
pub use load::{MAX_LEN, load, read, read_bytes};
pub use parser::parse;
