//! Who has not shaken hands yet, and who of them goes when places run out.

use std::collections::BTreeSet;

/// Connections that are bound to no brick, by the numbers of their clients, which grow with time. Those who have said something
/// that was understood are apart: a client that keeps a connection for volfiles is one of them for as long as it lives.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    silent: BTreeSet<u64>,
    heard: BTreeSet<u64>,
}

impl Strangers {
    /// A connection begins.
    pub(super) fn came(&mut self, client: u64) {
        self.silent.insert(client);
    }

    /// It has made its first call.
    pub(super) fn spoke(&mut self, client: u64) {
        if self.silent.remove(&client) {
            self.heard.insert(client);
        }
    }

    /// It is bound to a brick, or gone.
    pub(super) fn left(&mut self, client: u64) {
        if !self.silent.remove(&client) {
            self.heard.remove(&client);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.silent.is_empty() && self.heard.is_empty()
    }

    /// Takes out the one whose place somebody else gets: the oldest of the more numerous kind. Whoever comes in good faith is
    /// young, or among the few of its kind, whichever kind a crowd is of.
    pub(super) fn take(&mut self) -> Option<u64> {
        if self.heard.len() > self.silent.len() { self.heard.pop_first() } else { self.silent.pop_first() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_larger_kind_goes() {
        let mut strangers = Strangers::default();
        (1..=9).for_each(|client| strangers.came(client));
        [2, 3].into_iter().for_each(|client| strangers.spoke(client));
        let taken: Vec<u64> = (0..6).filter_map(|_| strangers.take()).collect();
        assert_eq!(taken, [1, 4, 5, 6, 7, 8], "two of each are left at last");
        strangers.spoke(9);
        strangers.left(3);
        assert_eq!(strangers.take(), Some(2));
        // Whoever is bound, gone, or taken out already does not come back.
        strangers.came(10);
        strangers.left(10);
        strangers.spoke(10);
        strangers.spoke(1);
        assert_eq!((strangers.take(), strangers.take()), (Some(9), None));
        assert!(strangers.is_empty());
    }
}
