//! What is shown, and what keys do to it. Knows nothing of terminals.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::args::{Orders, following};
use super::brick::Brick;
use super::poll::Told;

/// Intervals that `+` and `-` step through, in milliseconds.
const INTERVALS: [u64; 9] = [100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

/// See the [module](self).
#[derive(Debug)]
pub struct App {
    pub bricks: Vec<Brick>,
    /// Number of the brick that is shown.
    pub selected: usize,
    pub orders: Orders,
    /// Whether directories are shown where there is room for one list only.
    pub directories: bool,
    pub help: bool,
    pub paused: bool,
    pub interval: Duration,
    pub over: bool,
    /// What came while it was paused, the latest of each brick twice at most: an interval needs two ends.
    held: Vec<Told>,
}

impl App {
    pub fn new(sockets: &[PathBuf], orders: Orders, interval: Duration) -> Self {
        Self {
            bricks: sockets.iter().map(|socket| Brick::new(socket)).collect(),
            selected: 0,
            orders,
            directories: false,
            help: false,
            paused: false,
            interval,
            over: false,
            held: Vec::new(),
        }
    }

    /// Whether this brick is watched.
    pub fn knows(&self, socket: &Path) -> bool {
        self.bricks.iter().any(|brick| brick.socket == socket)
    }

    /// Watches one more.
    pub fn add(&mut self, socket: &Path) {
        self.bricks.push(Brick::new(socket));
    }

    /// The brick that is shown.
    pub fn brick(&self) -> Option<&Brick> {
        self.bricks.get(self.selected)
    }

    /// A brick has told something. While paused it is shown later.
    pub fn told(&mut self, told: Told) {
        if self.paused {
            let mut earlier = self.held.iter().enumerate().rev().filter(|(_, (socket, _))| *socket == told.0);
            if let Some((place, _)) = earlier.nth(1) {
                drop(self.held.remove(place));
            }
            self.held.push(told);
            return;
        }
        let (socket, answer) = told;
        if let Some(brick) = self.bricks.iter_mut().find(|brick| brick.socket == socket) {
            brick.told(answer);
        }
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if !self.paused {
            for told in std::mem::take(&mut self.held) {
                self.told(told);
            }
        }
    }

    /// A key was pressed.
    pub fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => self.over = true,
            _ if control => {}
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => self.over = true,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = !self.help,
            KeyCode::Char(' ' | 'p') => self.pause(),
            KeyCode::Char('s') => self.orders.sort = following(self.orders.sort),
            KeyCode::Char('f') => self.orders.hot = following(self.orders.hot),
            KeyCode::Char('d') => self.directories = !self.directories,
            KeyCode::Tab | KeyCode::Down | KeyCode::Right | KeyCode::Char('n') => self.step(1),
            KeyCode::BackTab | KeyCode::Up | KeyCode::Left | KeyCode::Char('N') => {
                self.step(self.bricks.len().saturating_sub(1));
            }
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = self.bricks.len().saturating_sub(1),
            KeyCode::Char(digit @ '1'..='9') => {
                let number = digit as usize - '1' as usize;
                if number < self.bricks.len() {
                    self.selected = number;
                }
            }
            KeyCode::Char('+' | '=') => self.pace(|wanted, now| wanted > now),
            KeyCode::Char('-') => self.pace(|wanted, now| wanted < now),
            _ => {}
        }
    }

    fn step(&mut self, by: usize) {
        if !self.bricks.is_empty() {
            self.selected = (self.selected + by) % self.bricks.len();
        }
    }

    /// The nearest interval that is longer, or shorter.
    fn pace(&mut self, fits: fn(u64, u64) -> bool) {
        let now = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let wanted = INTERVALS.into_iter().filter(|wanted| fits(*wanted, now));
        if let Some(wanted) = wanted.min_by_key(|wanted| wanted.abs_diff(now)) {
            self.interval = Duration::from_millis(wanted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{FopOrder, HotOrder};
    use super::super::testkit::stats;
    use super::*;

    fn app(bricks: usize) -> App {
        let sockets: Vec<PathBuf> = (0..bricks).map(|number| format!("/run/{number}.sock").into()).collect();
        App::new(&sockets, Orders::default(), Duration::from_secs(1))
    }

    fn press(app: &mut App, keys: &str) {
        for key in keys.chars() {
            let code = match key {
                '\t' => KeyCode::Tab,
                '\u{1b}' => KeyCode::Esc,
                other => KeyCode::Char(other),
            };
            app.key(KeyEvent::new(code, KeyModifiers::NONE));
        }
    }

    #[test]
    fn keys_do_what_the_help_says() {
        let mut app = app(3);
        press(&mut app, "\t\t");
        assert_eq!(app.selected, 2);
        press(&mut app, "\t");
        assert_eq!(app.selected, 0);
        press(&mut app, "N");
        assert_eq!(app.selected, 2);
        press(&mut app, "19");
        assert_eq!(app.selected, 0);
        press(&mut app, "sfd");
        assert_eq!(
            (app.orders.sort, app.orders.hot, app.directories),
            (FopOrder::P99, HotOrder::Reads, true)
        );
        press(&mut app, "sss");
        assert_eq!(app.orders.sort, FopOrder::Rate);
        press(&mut app, "++");
        assert_eq!(app.interval, Duration::from_secs(5));
        press(&mut app, "---------");
        assert_eq!(app.interval, Duration::from_millis(100));
        press(&mut app, "?");
        assert!(app.help);
        press(&mut app, "\u{1b}");
        assert!(!app.help && !app.over);
        press(&mut app, "x");
        assert!(!app.over);
        press(&mut app, "q");
        assert!(app.over);
        let mut none = self::app(0);
        press(&mut none, "\tN1sfd+");
        assert!(none.brick().is_none());
        none.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(none.over);
    }

    #[test]
    fn a_pause_holds_the_picture_and_loses_no_interval() {
        let mut app = app(2);
        let socket = app.bricks[0].socket.clone();
        let told = |app: &mut App, uptime: f64, reads| app.told((socket.clone(), Ok(stats(uptime, reads))));
        told(&mut app, 1.0, 100);
        told(&mut app, 2.0, 200);
        press(&mut app, " ");
        for second in 3..20_u32 {
            told(&mut app, f64::from(second), u64::from(second) * 1000);
        }
        assert_eq!(app.bricks[0].view.as_ref().unwrap().fops_per_s, 100.0);
        assert!(app.held.len() <= 2);
        press(&mut app, " ");
        assert_eq!(app.bricks[0].view.as_ref().unwrap().fops_per_s, 1000.0);
        assert!(app.bricks[1].view.is_none() && app.held.is_empty());
    }
}
