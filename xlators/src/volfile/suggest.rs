//! "Did you mean …?"

/// The candidate that `word` was probably meant to be: the nearest by edit distance (swapped neighbours count as one
/// edit), when no more than a third of it would have to change.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let names = ["storage/posix", "debug/io-stats", "features/read-only"];
        assert_eq!(nearest("storage/posx", names), Some("storage/posix"));
        assert_eq!(nearest("feature/readonly", names), Some("features/read-only"));
        assert_eq!(nearest("protocol/server", names), None);
    }
}
