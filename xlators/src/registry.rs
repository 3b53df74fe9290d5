//! Every translator that a volfile can name.

use crate::translator::TranslatorType;

/// All of them, by GlusterFS's names.
pub static TRANSLATORS: &[&TranslatorType] = &[&crate::storage::posix::TYPE];

/// The translator of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static TranslatorType> {
    TRANSLATORS.iter().copied().find(|kind| kind.name == name)
}
