//! Extended attributes: the fops, and the answers that ride along in xdata.
//!
//! | file | subject |
//! | --- | --- |
//! | `get`, `set`, `remove`, `xattrop` | the fops, each for a loc and for a descriptor |
//! | `fill` | what a request's xdata asks about an object, for all fops |
//! | `virtual_keys` | names that no file system stores: pathinfo, paths, ACLs as text |
//! | `names` | the one table of names that are hidden, refused, or treated otherwise |
//! | `subject` | finding the object that a fop is about, and holding its lock |
//! | `paths` | an object's paths, from handles and `trusted.gfid2path.*` |
//! | `raw` | values and lists of names of any size from the kernel |
//! | `acl_text`, `fnmatch` | formats |
//!
//! What other translators of GlusterFS do to extended attributes is not done here: features/marker hides quota's and
//! geo-replication's from listings, features/selinux maps `security.selinux` to `trusted.glusterfs.selinux`, bitrot-stub hides its
//! own, features/index and features/locks answer their virtual names.

pub mod acl_text;
pub mod fill;
pub mod fnmatch;
mod get;
mod names;
pub(super) mod paths;
pub mod raw;
mod remove;
mod set;
mod subject;
#[cfg(test)]
mod tests;
mod virtual_keys;
mod xattrop;
