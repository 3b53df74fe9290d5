//! A volfile as read: nodes in the order of the file, every word with its place.

/// A place in a volfile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Length in characters.
    pub len: usize,
}

/// A word with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned {
    /// The word, quotes and escapes resolved.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Spanned {
    /// A word that stands in no file.
    #[must_use]
    pub fn synthetic(text: impl Into<String>) -> Self {
        Self { text: text.into(), span: Span::default() }
    }
}

/// `option KEY VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionLine {
    /// The key.
    pub key: Spanned,
    /// The value.
    pub value: Spanned,
}

/// `volume NAME … end-volume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Spanned,
    /// Its translator, such as `storage/posix`.
    pub kind: Spanned,
    /// In the order of the file; of duplicate keys the last counts.
    pub options: Vec<OptionLine>,
    /// Names of nodes defined earlier.
    pub subvolumes: Vec<Spanned>,
}

impl Node {
    /// A node that no file describes, for embedded graphs.
    #[must_use]
    pub fn new(name: &str, kind: &str, options: &[(&str, &str)], subvolumes: &[&str]) -> Self {
        Self {
            name: Spanned::synthetic(name),
            kind: Spanned::synthetic(kind),
            options: options
                .iter()
                .map(|(key, value)| OptionLine {
                    key: Spanned::synthetic(*key),
                    value: Spanned::synthetic(*value),
                })
                .collect(),
            subvolumes: subvolumes.iter().map(|name| Spanned::synthetic(*name)).collect(),
        }
    }
}

/// A whole volfile. The last node is the top of the graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volfile {
    /// In the order of the file.
    pub nodes: Vec<Node>,
}
