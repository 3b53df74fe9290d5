//! Frames of text.

use std::fmt::Write as _;

use super::args::Orders;
use super::brick::Brick;
use super::rows;

/// Width of the text; a pipe has none of its own.
const WIDTH: usize = 160;
/// Files and directories of a frame.
const HOT: usize = 10;

/// All bricks.
pub fn frame(bricks: &[Brick], orders: Orders) -> String {
    let mut out = String::new();
    if bricks.len() > 1 {
        block(&mut out, &rows::overview(bricks).lines(WIDTH, usize::MAX));
    }
    for brick in bricks {
        one(&mut out, brick, orders);
    }
    if bricks.is_empty() {
        out.push_str("no brick runs here\n");
    }
    out
}

fn one(out: &mut String, brick: &Brick, orders: Orders) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}", rows::title(brick));
    if let Some(trouble) = rows::trouble(brick) {
        let _ = writeln!(out, "  {trouble}");
    }
    let Some(view) = brick.view.as_ref().filter(|_| brick.gone.is_none()) else {
        out.push('\n');
        return;
    };
    block(out, &rows::summary(view));
    for (grid, height) in [
        (rows::fops(view, orders.sort), usize::MAX),
        (rows::cores(view), usize::MAX),
        (rows::files(view, orders.hot), HOT + 1),
        (rows::directories(view, orders.hot), HOT + 1),
    ] {
        if grid.len() > 0 {
            block(out, &grid.lines(WIDTH, height));
        }
    }
}

fn block(out: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::testkit::stats;
    use super::*;

    #[test]
    fn a_frame_has_everything_and_nothing_that_steers_the_terminal() {
        let mut brick = Brick::new(Path::new("/run/kiln/vol.sock"));
        brick.told(Ok(stats(10.0, 1000)));
        let waiting = frame(std::slice::from_ref(&brick), Orders::default());
        assert!(waiting.contains("waiting for the first interval"), "{waiting}");
        brick.told(Ok(stats(12.0, 3000)));
        let mut gone = Brick::new(Path::new("/run/kiln/other.sock"));
        gone.told(Err("hung\u{7} up".into()));
        let text = frame(&[brick, gone], Orders::default());
        for part in [
            "vol: /srv/brick, 2 cores, process 42, up 12s, Kiln 0.1.0\n",
            "1000 fops/s   10.0 errors/s   3 in flight   p50 1.0",
            "memory 50.0MiB   cpu 100%",
            "3 clients on 4 connections   1000 requests/s",
            "python py: 7 waiting   500 calls/s   50.0 batches/s   20 troubles\n",
            "readv",
            "3.12MiB/s",
            "/data/hot file\n",
            "/a?[2Jb\n",
            "<gfid:11111111-3c1e-4d52-9c5c-0a1b2c3d4e5f>",
            "hottest directories",
            "GONE: hung? up",
        ] {
            assert!(text.contains(part), "{part:?} is missing in:\n{text}");
        }
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!frame(&[], Orders::default()).is_empty());
    }
}
