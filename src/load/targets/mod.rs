//! What a load can be put on: a brick, or a mounted directory. Workloads are written once, over [`Session`].

pub mod brick;
pub mod mount;

use std::ffi::CStr;

use kiln_uring::Errno;

use super::blocks::{Stamp, Verdict};
use super::client::Fault;

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpError {
    /// The target said so; others may go well.
    Errno(Errno),
    /// Nothing more can be done.
    Broken(Fault),
}

impl From<Fault> for OpError {
    fn from(fault: Fault) -> Self {
        Self::Broken(fault)
    }
}

impl std::fmt::Display for OpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Errno(errno) => errno.fmt(f),
            Self::Broken(fault) => f.write_str(&fault.0),
        }
    }
}

/// What operations return.
pub type Done<T = ()> = Result<T, OpError>;

/// What is known of an object that was found.
#[derive(Clone, Debug)]
pub struct Found<N> {
    /// How to name it from now on.
    pub node: N,
    /// Bytes.
    pub size: u64,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenHow {
    /// Past the page cache of whoever has one.
    pub direct: bool,
}

/// What is written: what a stamp says, or anything.
pub type Content<'a> = Option<&'a Stamp>;

/// Makes sessions, on the thread that will use them.
pub trait Target: Send + Sync + 'static {
    /// What it makes.
    type Session: Session;

    /// Connects.
    ///
    /// # Errors
    /// A sentence for the operator.
    fn connect(&self) -> Result<Self::Session, String>;
}

/// A connection to a brick, or one user of a mounted directory. All operations may run at once.
pub trait Session: 'static {
    /// Names an object, for all sessions.
    type Node: Clone + Send + Sync + 'static;
    /// An open file of this session.
    type File: 'static;
    /// An open directory of this session.
    type Listing: 'static;

    /// The directory that everything is below of.
    fn root(&self) -> Self::Node;
    /// Finds a name.
    async fn lookup(&self, dir: &Self::Node, name: &str) -> Done<Found<Self::Node>>;
    /// Asks for attributes.
    async fn stat(&self, node: &Self::Node) -> Done;
    /// Makes a directory.
    async fn make_dir(&self, dir: &Self::Node, name: &str) -> Done<Self::Node>;
    /// Removes an empty directory.
    async fn remove_dir(&self, dir: &Self::Node, name: &str) -> Done;
    /// Makes a file and opens it.
    async fn create(&self, dir: &Self::Node, name: &str, how: OpenHow) -> Done<Self::File>;
    /// Opens a file.
    async fn open(&self, node: &Self::Node, how: OpenHow) -> Done<Self::File>;
    /// Closes it, as an application does: with what that sends and waits for.
    async fn close(&self, file: Self::File) -> Done;
    /// Reads; the bytes are checked when a stamp is given. Returns how many there were.
    async fn read(
        &self,
        file: &Self::File,
        offset: u64,
        len: usize,
        check: Option<Stamp>,
    ) -> Done<(usize, Verdict)>;
    /// Writes all of `len` bytes.
    async fn write(&self, file: &Self::File, offset: u64, len: usize, content: Content<'_>) -> Done;
    /// Waits until the data are stable.
    async fn sync(&self, file: &Self::File) -> Done;
    /// Removes a name.
    async fn unlink(&self, dir: &Self::Node, name: &str) -> Done;
    /// Moves a name within a directory.
    async fn rename(&self, dir: &Self::Node, old: &str, new: &str) -> Done;
    /// Opens a directory for [`Session::list`].
    async fn open_dir(&self, dir: &Self::Node) -> Done<Self::Listing>;
    /// Lists all of it, with attributes. Returns how many names there were besides `.` and `..`.
    async fn list(&self, listing: &Self::Listing) -> Done<u64>;
    /// Closes it.
    async fn close_dir(&self, listing: Self::Listing) -> Done;
    /// Sets an extended attribute.
    async fn set_xattr(&self, node: &Self::Node, name: &'static CStr, value: &[u8]) -> Done;
    /// Reads it.
    async fn get_xattr(&self, node: &Self::Node, name: &'static CStr) -> Done;
    /// Ends the session.
    fn end(&self);
}
