//! Every translator that a volfile can name.

use crate::translator::TranslatorType;
use crate::{debug, features, performance, protocol, storage, system};

/// All of them, by GlusterFS's names.
pub static TRANSLATORS: &[&TranslatorType] = &[
    &debug::delay_gen::TYPE,
    &debug::error_gen::TYPE,
    &debug::io_stats::TYPE,
    &debug::trace::TYPE,
    &features::barrier::TYPE,
    &features::locks::TYPE,
    &features::read_only::TYPE,
    &features::upcall::TYPE,
    &performance::io_threads::TYPE,
    &protocol::server::TYPE,
    &storage::posix::TYPE,
    &system::posix_acl::TYPE,
    &system::posix_acl::TYPE_BY_FOLDER,
    #[cfg(any(test, feature = "testing"))]
    &crate::testing::TYPE,
];

/// The translator of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static TranslatorType> {
    TRANSLATORS.iter().copied().find(|kind| kind.name == name)
}
