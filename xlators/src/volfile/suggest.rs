//! "Did you mean …?"

/// Longest word that is compared, in bytes.
const MAX_LEN: usize = 128;

/// The candidate that `word` was probably meant to be: the nearest by edit distance (swapped neighbours count as one
/// edit), when no more than a third of it would have to change.
///
/// Words longer than [`MAX_LEN`] bytes have no suggestion: the comparison takes memory and time by the product of the lengths.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_LEN {
        return None;
    }
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= MAX_LEN)
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
        let endless = "x".repeat(1 << 24);
        assert_eq!(nearest(&endless, [endless.as_str()]), None);
    }
}
