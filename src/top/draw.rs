//! What the live view looks like.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::widgets::{Block, Clear, Paragraph, Sparkline, Widget as _};

use super::app::App;
use super::args::name_of;
use super::brick::Brick;
use super::grid::Grid;
use super::rows;
use super::view::View;

/// From this width on, fops and cores stand side by side.
const BESIDE: u16 = 112;
/// From this width on, files and directories do.
const HOT_BESIDE: u16 = 150;
/// From this height of what is left on, there is a curve.
const CURVE_FROM: u16 = 22;
/// Its height, with the line above.
const CURVE: u16 = 4;

const HELP: &[&str] = &[
    "q Esc    quit",
    "Space p  pause, and go on",
    "Tab n    next brick (N, Shift-Tab: the one before; 1-9)",
    "s        order of operations",
    "f        order of files and directories",
    "d        files or directories",
    "+ -      longer or shorter interval",
    "? h      this help",
    "",
    "Rates and latencies are those of the last interval.",
    "~ are estimates from a sample, of the last seconds.",
    "cpu 100% is one CPU; kernel: operations that the",
    "kernel has not answered; flying: fops under way.",
];

/// Where the next line goes.
struct Pen<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
}

impl Pen<'_> {
    /// Lines that are left.
    fn left(&self) -> u16 {
        self.area.height
    }

    /// The next `height` lines, or what is left of them.
    fn take(&mut self, height: u16) -> Rect {
        let height = height.min(self.area.height);
        let taken = Rect { height, ..self.area };
        self.area.y += height;
        self.area.height -= height;
        taken
    }

    fn line(&mut self, text: &str, style: Style) {
        let area = self.take(1);
        write(self.buffer, area, 0, text, style);
    }

    fn rule(&mut self) {
        self.take(1);
    }
}

/// Writes a line into `area`, `row` lines below its top; nothing where it has fewer.
fn write(buffer: &mut Buffer, area: Rect, row: u16, text: &str, style: Style) {
    if row < area.height {
        buffer.set_stringn(area.x, area.y + row, text, usize::from(area.width), style);
    }
}

/// A grid into `area`; the headings in bold.
fn grid(buffer: &mut Buffer, area: Rect, grid: &Grid) {
    let lines = grid.lines(usize::from(area.width), usize::from(area.height));
    for (row, line) in lines.iter().enumerate() {
        let style = if row == 0 { Style::new().bold().fg(Color::Cyan) } else { Style::new() };
        write(buffer, area, u16::try_from(row).unwrap_or(u16::MAX), line, style);
    }
}

/// Lines that a grid wants.
fn wanted(grid: &Grid) -> u16 {
    u16::try_from(grid.len()).unwrap_or(u16::MAX).saturating_add(1)
}

/// The whole picture.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    paint(frame.buffer_mut(), area, app);
}

fn paint(buffer: &mut Buffer, area: Rect, app: &App) {
    let mut pen = Pen { buffer, area };
    pen.line(&format!("{:1$}", head(app), usize::from(area.width)), Style::new().reversed());
    let keys = Rect { y: area.y + area.height.saturating_sub(1), height: 1, ..area };
    if area.height > 6 {
        pen.area.height -= 1;
        let text = "q quit  space pause  tab brick  s f order  d dirs  + - interval  ? help";
        write(pen.buffer, keys, 0, text, Style::new().dim());
    }
    if app.bricks.len() > 1 {
        bricks(&mut pen, app);
    }
    match app.brick() {
        Some(brick) => one(&mut pen, app, brick),
        None => pen.line("no brick runs here yet", Style::new().bold()),
    }
    if app.help {
        help(buffer, area);
    }
}

fn head(app: &App) -> String {
    let which = match app.bricks.len() {
        0 | 1 => String::new(),
        count => format!("  brick {}/{count}", app.selected + 1),
    };
    format!(
        "kiln top{}{which}  every {}s  by {}, files by {}",
        if app.paused { "  PAUSED" } else { "" },
        app.interval.as_secs_f64(),
        name_of(app.orders.sort),
        name_of(app.orders.hot),
    )
}

/// All bricks, as many as fit in a third; the one that is shown is among them.
fn bricks(pen: &mut Pen<'_>, app: &App) {
    let overview = rows::overview(&app.bricks);
    let height = wanted(&overview).min((pen.left() / 3).max(2));
    let area = pen.take(height);
    let lines = overview.lines(usize::from(area.width), usize::MAX);
    let room = usize::from(area.height.saturating_sub(1));
    // As far down as the one that is shown needs.
    let first = (app.selected + 1).saturating_sub(room);
    let Some((headings, bricks)) = lines.split_first() else { return };
    write(pen.buffer, area, 0, headings, Style::new().bold().fg(Color::Cyan));
    for (row, (number, line)) in bricks.iter().enumerate().skip(first).take(room).enumerate() {
        let gone = app.bricks.get(number).is_some_and(|brick| brick.gone.is_some());
        let style = if gone { Style::new().fg(Color::Red) } else { Style::new() };
        let style = if number == app.selected { style.reversed() } else { style };
        write(pen.buffer, area, u16::try_from(row + 1).unwrap_or(u16::MAX), line, style);
    }
    if pen.left() > 12 {
        pen.rule();
    }
}

fn one(pen: &mut Pen<'_>, app: &App, brick: &Brick) {
    pen.line(&rows::title(brick), Style::new().bold());
    if let Some(trouble) = rows::trouble(brick) {
        pen.line(&trouble, Style::new().bold().fg(Color::Red));
    }
    let Some(view) = &brick.view else { return };
    // In a narrow terminal these lines become many, and the most important come first.
    let width = usize::from(pen.area.width);
    let lines: Vec<String> = rows::summary(view).iter().flat_map(|line| wrap(line, width)).collect();
    for line in lines.iter().take(usize::from(pen.left() / 3).max(1)) {
        pen.line(line, Style::new());
    }
    if pen.left() >= CURVE_FROM {
        curve(pen, brick);
    }
    if pen.left() > 8 {
        pen.rule();
    }
    let hot = hot_grids(view, app, pen.area.width);
    let most = hot.iter().map(wanted).max().unwrap_or(0);
    let spare = pen.left().saturating_sub(most.saturating_add(1));
    let middle = spare.max(pen.left() * 55 / 100);
    work(pen, app, view, middle);
    if pen.left() > 4 {
        pen.rule();
    }
    let area = pen.take(pen.left());
    let width = area.width / u16::try_from(hot.len()).unwrap_or(1).max(1);
    for (place, hot) in (0..).zip(&hot) {
        let x = area.x + place * width;
        let gap = if usize::from(place) + 1 < hot.len() { 2 } else { 0 };
        grid(pen.buffer, Rect { x, width: width.saturating_sub(gap), ..area }, hot);
    }
}

/// Fops and cores, in at most `most` lines.
fn work(pen: &mut Pen<'_>, app: &App, view: &View, most: u16) {
    let (fops, cores) = (rows::fops(view, app.orders.sort), rows::cores(view));
    if pen.area.width >= BESIDE {
        let area = pen.take(wanted(&fops).max(wanted(&cores)).min(most));
        let half = area.width / 2;
        grid(pen.buffer, Rect { width: half - 2, ..area }, &fops);
        grid(pen.buffer, Rect { x: area.x + half, width: area.width - half, ..area }, &cores);
        return;
    }
    // One after the other, if there is room for some cores; fops tell more.
    let for_cores = wanted(&cores).min(most / 3);
    let area = pen.take(wanted(&fops).min(most - for_cores));
    grid(pen.buffer, area, &fops);
    if for_cores > 1 {
        let area = pen.take(for_cores);
        grid(pen.buffer, area, &cores);
    }
}

fn hot_grids(view: &View, app: &App, width: u16) -> Vec<Grid> {
    let files = rows::files(view, app.orders.hot);
    let directories = rows::directories(view, app.orders.hot);
    match (width >= HOT_BESIDE, app.directories) {
        (true, _) => vec![files, directories],
        (false, true) => vec![directories],
        (false, false) => vec![files],
    }
}

/// Fops per second of the past, the latest at the right.
fn curve(pen: &mut Pen<'_>, brick: &Brick) {
    pen.rule();
    let area = pen.take(CURVE - 1);
    let width = usize::from(area.width);
    let past: Vec<u64> =
        brick.history.iter().copied().skip(brick.history.len().saturating_sub(width)).collect();
    let blank = width.saturating_sub(past.len());
    let area =
        Rect { x: area.x + u16::try_from(blank).unwrap_or(0), width: area.width - blank as u16, ..area };
    Sparkline::default().data(past).style(Style::new().fg(Color::Green)).render(area, pen.buffer);
}

/// A line of parts with three blanks between them, in as many lines as it needs.
fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in line.split("   ") {
        match lines.last_mut() {
            Some(last) if last.chars().count() + 3 + part.chars().count() <= width => {
                last.push_str("   ");
                last.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

fn help(buffer: &mut Buffer, area: Rect) {
    let width = HELP.iter().map(|line| line.chars().count()).max().unwrap_or(0) + 4;
    let width = u16::try_from(width).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(HELP.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let window =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(window, buffer);
    Paragraph::new(HELP.join("\n")).block(Block::bordered().title(" kiln top ")).render(window, buffer);
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::args::Orders;
    use super::super::testkit::stats;
    use super::*;

    /// Bricks that have answered twice; those whose numbers are in `gone` then went.
    fn app(bricks: usize, gone: &[usize]) -> App {
        let sockets: Vec<PathBuf> = (0..bricks).map(|number| format!("/run/b{number}.sock").into()).collect();
        let mut app = App::new(&sockets, Orders::default(), Duration::from_secs(1));
        for (number, socket) in sockets.iter().enumerate() {
            for uptime in [10.0, 12.0] {
                let mut told = stats(uptime, (uptime * 1000.0) as u64);
                told.about.name = format!("b{number}");
                app.told((socket.clone(), Ok(told)));
            }
            if gone.contains(&number) {
                app.told((socket.clone(), Err("the brick that made this socket is gone".into())));
            }
        }
        app
    }

    fn screen(app: &App, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, app)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(row).collect()
    }

    fn has(screen: &[String], parts: &[&str]) {
        for part in parts {
            assert!(
                screen.iter().any(|line| line.contains(part)),
                "{part:?} is missing in:\n{}",
                screen.join("\n")
            );
        }
    }

    #[test]
    fn a_wide_terminal_shows_all() {
        let screen = screen(&app(1, &[]), 170, 40);
        has(
            &screen,
            &[
                "kiln top  every 1s  by rate, files by uses",
                "b0: /srv/brick, 2 cores, process 42, up 12s, Kiln 0.1.0",
                "1000 fops/s   10.0 errors/s   3 in flight",
                "3 clients on 4 connections",
                "python py: 7 waiting",
                "p99.9",
                "sleeps/s",
                "hottest directories",
                "/data/hot file",
                "q quit",
                "█",
            ],
        );
        // Fops and cores are side by side.
        assert!(
            screen.iter().any(|line| line.contains("p99.9") && line.contains("load")),
            "{}",
            screen.join("\n")
        );
    }

    #[test]
    fn a_narrow_terminal_shows_what_matters_most() {
        let mut app = app(1, &[]);
        let shown = screen(&app, 40, 24);
        has(&shown, &["1000 fops/s", "readv", "/data/hot file", "core"]);
        assert!(!shown.iter().any(|line| line.contains("hottest directories")));
        app.directories = true;
        has(&screen(&app, 40, 24), &["hottest directories"]);
    }

    #[test]
    fn no_size_is_too_small_or_too_large() {
        let mut app = app(5, &[1]);
        for help in [false, true] {
            app.help = help;
            for width in [1, 2, 5, 19, 39, 80, 111, 112, 150, 400] {
                for height in [1, 2, 3, 5, 6, 7, 10, 24, 50, 120] {
                    let screen = screen(&app, width, height);
                    assert!(screen[0].starts_with('k') || help, "{width}x{height}: {}", screen.join("\n"));
                }
            }
        }
        has(&screen(&self::app(0, &[]), 30, 10), &["no brick runs here yet"]);
    }

    #[test]
    fn of_many_bricks_the_chosen_one_is_always_to_be_seen() {
        let mut app = app(40, &[3]);
        for selected in [0, 3, 20, 39] {
            app.selected = selected;
            let screen = screen(&app, 100, 30);
            has(&screen, &[&format!("brick {}/40", selected + 1), &format!("b{selected}: /srv/brick")]);
            assert!(
                screen.iter().any(|line| line.starts_with(&format!("b{selected} "))),
                "{}",
                screen.join("\n")
            );
        }
    }

    #[test]
    fn a_brick_that_is_gone_keeps_its_last_figures_and_says_so() {
        let mut app = app(2, &[1]);
        app.selected = 1;
        has(
            &screen(&app, 120, 30),
            &[
                "GONE: the brick that made this socket is gone; what follows is what it told last",
                "b1       gone",
                "1000 fops/s",
            ],
        );
        app.paused = true;
        has(&screen(&app, 120, 30), &["PAUSED"]);
        app.help = true;
        has(&screen(&app, 120, 30), &["longer or shorter interval"]);
    }

    #[test]
    fn long_lines_are_broken_between_their_parts() {
        assert_eq!(wrap("a b   cc   d", 7), ["a b", "cc   d"]);
        assert_eq!(wrap("toolong   x", 3), ["toolong", "x"]);
    }
}
