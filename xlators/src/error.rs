//! How a fop fails.

use kiln_uring::Errno;

use crate::types::{Iatt, Xdata};

/// What travels back with a failure besides the errno.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FailureDetail {
    /// The reply's dictionary.
    pub xdata: Xdata,
    /// The parent's attributes, which a failed named lookup still tells.
    pub postparent: Option<Iatt>,
}

/// A failed fop: an errno, rarely with a dictionary or attributes. The layer that found the cause logs it; whoever
/// answers the client needs no more than this.
#[derive(Clone, Debug, PartialEq)]
pub struct FopError {
    /// For the caller.
    pub errno: Errno,
    /// Mostly absent.
    pub detail: Option<Box<FailureDetail>>,
}

/// What every fop returns.
pub type FopResult<T> = Result<T, FopError>;

impl FopError {
    /// Just an errno.
    #[must_use]
    pub const fn new(errno: Errno) -> Self {
        Self { errno, detail: None }
    }

    /// The reply's dictionary, made when there was none.
    pub fn xdata_mut(&mut self) -> &mut Xdata {
        &mut self.detail.get_or_insert_default().xdata
    }

    /// The same failure with the parent's attributes.
    #[must_use]
    pub fn with_postparent(mut self, postparent: Iatt) -> Self {
        self.detail.get_or_insert_default().postparent = Some(postparent);
        self
    }

    /// The same failure with a dictionary.
    #[must_use]
    pub fn with_xdata(mut self, xdata: Xdata) -> Self {
        *self.xdata_mut() = xdata;
        self
    }
}

impl From<Errno> for FopError {
    fn from(errno: Errno) -> Self {
        Self::new(errno)
    }
}

impl std::fmt::Display for FopError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.errno.fmt(f)
    }
}

impl std::error::Error for FopError {}
