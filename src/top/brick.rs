//! One brick that is watched: what it told, and whether it is there.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::view::View;
use crate::control::protocol::Stats;

/// Rates that are remembered for the curve.
const REMEMBERED: usize = 300;

/// See the [module](self).
#[derive(Debug, Serialize)]
pub struct Brick {
    pub name: String,
    pub socket: PathBuf,
    /// Why there is no answer; absent while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
    /// The last interval that is known.
    #[serde(flatten)]
    pub view: Option<View>,
    /// Fops per second of the past intervals, the latest last.
    #[serde(skip)]
    pub history: VecDeque<u64>,
    #[serde(skip)]
    last: Option<Stats>,
}

impl Brick {
    pub fn new(socket: &Path) -> Self {
        Self {
            name: socket.file_stem().unwrap_or(socket.as_os_str()).to_string_lossy().into_owned(),
            socket: socket.into(),
            gone: None,
            view: None,
            history: VecDeque::new(),
            last: None,
        }
    }

    /// It was asked, and this came.
    pub fn told(&mut self, answer: Result<Stats, String>) {
        match answer {
            Ok(stats) => {
                self.name.clone_from(&stats.about.name);
                self.gone = None;
                // After a new start the old figures are no longer its own.
                self.view = self.last.as_ref().and_then(|last| View::between(last, &stats));
                self.last = Some(stats);
                if let Some(view) = &self.view {
                    self.remember(view.fops_per_s as u64);
                }
            }
            Err(reason) => {
                if self.gone.is_none() {
                    self.remember(0);
                }
                self.gone = Some(reason);
                self.last = None;
            }
        }
    }

    fn remember(&mut self, rate: u64) {
        self.history.push_back(rate);
        if self.history.len() > REMEMBERED {
            self.history.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::stats;
    use super::*;

    #[test]
    fn a_brick_may_go_and_come_back() {
        let mut brick = Brick::new(Path::new("/run/kiln/b.sock"));
        assert_eq!(brick.name, "b");
        brick.told(Ok(stats(10.0, 1000)));
        assert!(brick.view.is_none() && brick.name == "vol");
        brick.told(Ok(stats(11.0, 2000)));
        assert_eq!(brick.view.as_ref().unwrap().fops_per_s, 1000.0);
        brick.told(Err("hung up".into()));
        brick.told(Err("no such socket".into()));
        assert!(brick.view.is_some() && brick.gone.as_deref() == Some("no such socket"));
        // Another process, whose counters are less.
        let mut anew = stats(1.0, 10);
        anew.about.pid = 77;
        brick.told(Ok(anew));
        assert!(brick.view.is_none() && brick.gone.is_none());
        let mut later = stats(2.0, 30);
        later.about.pid = 77;
        brick.told(Ok(later));
        assert_eq!(brick.view.as_ref().unwrap().fops_per_s, 20.0);
        assert_eq!(brick.history, [1000, 0, 20]);
    }
}
