//! What permissions a new object gets.

use super::acl::Acl;
use crate::keys;
use crate::types::{Value, Xdata};

/// The arguments of a fop that makes an object, as far as they are about permissions.
pub(super) struct Creation<'a> {
    /// Type and permission bits.
    pub mode: &'a mut u32,
    /// The caller's umask.
    pub umask: &'a mut u32,
    /// The fop's extra arguments, where ACLs for the new object travel down.
    pub xdata: &'a mut Xdata,
}

impl Creation<'_> {
    /// Applies the default ACL of the parent, or the umask where there is none. The fop that goes down then has the final
    /// mode and no umask.
    ///
    /// A client that has applied its umask already sends the originals as the keys `umask` and `mode` (16 bits each); they
    /// count, and go no further.
    pub(super) fn apply(self, parent_default: Option<&Acl>, directory: bool) {
        let bits =
            |value: Option<Value>| value.and_then(|value| value.as_i64()).map(|bits| (bits & 0o7777) as u32);
        let mut umask = std::mem::take(self.umask);
        if let Some(original) = bits(self.xdata.remove(keys::UMASK)) {
            umask = original;
            if let Some(permissions) = bits(self.xdata.remove(keys::MODE)) {
                *self.mode = *self.mode & !0o7777 | permissions;
            }
        }
        let Some(default) = parent_default else {
            *self.mode &= !(umask & 0o777);
            return;
        };
        let (access, mode) = default.inherit(*self.mode);
        *self.mode = mode;
        let xdata = self.xdata.make();
        xdata.set(keys::ACL_ACCESS, Value::Bin(access.encode()));
        if directory {
            xdata.set(keys::ACL_DEFAULT, Value::Bin(default.encode()));
        }
    }
}
