//! Which lookups the cache may answer: those whose xdata asks for nothing that an absent name has an answer to.
//!
//! Stock clients ask for something with every lookup: the extended attributes of the object, its content, a gfid for an
//! object that has none. Where there is no object, all these have no answer and no effect: `storage/posix` answers `ENOENT`
//! and does not look at them. A lookup with a key that is not known to be of that kind goes down, and nothing is learnt from
//! its answer.

use std::ffi::CStr;

use crate::keys;
use crate::types::Xdata;

/// Names of extended attributes.
const NAMESPACES: &[&[u8]] = &[b"trusted.", b"user.", b"security.", b"system."];

/// About the object that is found.
const OF_THE_OBJECT: &[&CStr] = &[
    keys::GFID_REQ,
    keys::GFIDLESS_LOOKUP,
    keys::CONTENT,
    keys::OPEN_FD_COUNT,
    keys::OPEN_ACTIVE_FD_COUNT,
    keys::GET_SIZE,
    keys::LIST_XATTR,
    keys::ACL_TEXT,
    keys::ACL_TEXT_DEFAULT,
    keys::INTERNAL_FOP,
    keys::LINK_COUNT,
];

/// Answered by features/locks, for a name that is absent, too.
const OF_LOCKS: &[&CStr] = &[
    keys::ENTRYLK_COUNT,
    keys::INODELK_COUNT,
    keys::INODELK_DOM_COUNT,
    keys::POSIXLK_COUNT,
    keys::PARENT_ENTRYLK,
    keys::MULTI_DOM_LK_COUNT,
];

/// Whether the answer to a lookup of an absent name does not depend on `xdata`. `locks_below`: whether a layer that counts
/// locks stands below.
pub(super) fn is_harmless(xdata: &Xdata, locks_below: bool) -> bool {
    let Some(dict) = xdata.dict() else { return true };
    dict.iter().all(|(key, _)| {
        let bytes = key.to_bytes();
        NAMESPACES.iter().any(|namespace| bytes.starts_with(namespace))
            || OF_THE_OBJECT.contains(&key)
            || (!locks_below && is_of_locks(key))
    })
}

fn is_of_locks(key: &CStr) -> bool {
    OF_LOCKS.contains(&key) || key.to_bytes().starts_with(keys::INODELK_DOM_PREFIX.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Dict, Value};

    #[test]
    fn unknown_keys_go_down() {
        let xdata = |keys: &[&CStr]| -> Xdata {
            keys.iter().map(|key| ((*key).to_owned(), Value::Int(0))).collect::<Dict>().into()
        };
        assert!(is_harmless(&Xdata::NONE, true));
        // What the stack of a stock client's mount sends.
        let stock =
            [keys::GFID_REQ, keys::DHT_LINKTO, keys::CONTENT, c"security.selinux", c"trusted.afr.v-client-0"];
        assert!(is_harmless(&xdata(&stock), true));
        assert!(!is_harmless(&xdata(&[keys::GFID_REQ, c"something-new"]), false));
        for key in OF_LOCKS.iter().copied().chain([c"glusterfs.inodelk-dom-prefix:d"]) {
            assert!(is_harmless(&xdata(&[key]), false), "{key:?}");
            assert!(!is_harmless(&xdata(&[key]), true), "{key:?}");
        }
    }
}
