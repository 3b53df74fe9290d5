//! A value that a Python object shows: its own, or a part of a request or reply that it keeps alive.

use std::fmt;
use std::sync::Arc;

use kiln_xlators::fop::any::{AnyReply, AnyRequest};

/// A value, or where it is. The projections answer `None` only for a request or reply of another fop than theirs.
pub enum Held<T: 'static> {
    /// The value itself.
    Own(T),
    /// A part of a request.
    Request(Arc<AnyRequest>, fn(&AnyRequest) -> Option<&T>),
    /// A part of a reply.
    Reply(Arc<AnyReply>, fn(&AnyReply) -> Option<&T>),
}

impl<T> Held<T> {
    /// The value.
    pub fn get(&self) -> &T {
        let part = match self {
            Self::Own(value) => Some(value),
            Self::Request(request, part) => part(request),
            Self::Reply(reply, part) => part(reply),
        };
        part.expect("a projection is stored together with a value of its own fop")
    }
}

impl<T: fmt::Debug> fmt::Debug for Held<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
