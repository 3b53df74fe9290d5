//! Options that list fops by name.

use crate::fop::{Fop, FopSet};

/// GlusterFS's names of fops where the table's differ.
const STOCK_NAMES: &[(&str, Fop)] = &[("read", Fop::Readv), ("write", Fop::Writev)];

/// The fops of a comma-separated list of names, in any case, in the table's or in GlusterFS's spelling.
///
/// # Errors
/// A sentence that names the first word which is no fop, and the nearest that is one.
pub(super) fn parse(text: &str) -> Result<FopSet, String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(find).collect()
}

/// The same, where an empty list means every fop.
///
/// # Errors
/// As [`parse`].
pub(super) fn parse_or_all(text: &str) -> Result<FopSet, String> {
    let set = parse(text)?;
    Ok(if set.is_empty() { FopSet::ALL } else { set })
}

fn find(word: &str) -> Result<Fop, String> {
    let stock = STOCK_NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, fop)| *fop);
    stock.or_else(|| Fop::from_name(word)).ok_or_else(|| {
        let lower = word.to_ascii_lowercase();
        let near = Fop::ALL.iter().min_by_key(|fop| strsim::osa_distance(fop.name(), &lower));
        near.map_or_else(
            || format!("`{word}` is no fop"),
            |near| format!("`{word}` is no fop; the nearest is `{near}`"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_and_any_case() {
        let set = parse("READ, writev,Lookup,,").unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Fop::Readv, Fop::Writev, Fop::Lookup]);
        assert_eq!(parse_or_all(" ").unwrap(), FopSet::ALL);
        assert_eq!(parse("").unwrap(), FopSet::EMPTY);
    }

    #[test]
    fn a_wrong_name_gets_a_suggestion() {
        let error = parse("lookup,readdrip").unwrap_err();
        assert!(error.contains("`readdrip`") && error.contains("`readdirp`"), "{error}");
    }
}
