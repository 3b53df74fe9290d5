//! Every translator that a volfile can name.

use std::sync::OnceLock;

use crate::translator::TranslatorType;
use crate::{debug, features, performance, protocol, storage, system};

/// The native ones, by GlusterFS's names.
static NATIVE: &[&TranslatorType] = &[
    &debug::delay_gen::TYPE,
    &debug::error_gen::TYPE,
    &debug::io_stats::TYPE,
    &debug::trace::TYPE,
    &features::barrier::TYPE,
    &features::locks::TYPE,
    &features::read_only::TYPE,
    &features::upcall::TYPE,
    &performance::io_threads::TYPE,
    &performance::nl_cache::TYPE,
    &protocol::server::TYPE,
    &storage::posix::TYPE,
    &system::posix_acl::TYPE,
    &system::posix_acl::TYPE_BY_FOLDER,
    #[cfg(any(test, feature = "testing"))]
    &crate::testing::TYPE,
    #[cfg(any(test, feature = "testing"))]
    &crate::testing::conformance::TYPE,
    #[cfg(any(test, feature = "testing"))]
    &crate::testing::conformance::NAIVE_TYPE,
];

/// Those of other crates of this house.
static ADDED: OnceLock<&[&TranslatorType]> = OnceLock::new();

/// Adds the translators of a crate that stands on this one; the first call counts. For the beginning of `main`.
pub fn add(translators: &'static [&'static TranslatorType]) {
    let _ = ADDED.set(translators);
}

/// All translators.
pub fn all() -> impl Iterator<Item = &'static TranslatorType> {
    NATIVE.iter().chain(ADDED.get().copied().unwrap_or_default()).copied()
}

/// The translator of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static TranslatorType> {
    all().find(|kind| kind.name == name)
}
