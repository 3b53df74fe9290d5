//! Columns that fit the width there is.

/// Where the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
    /// The last column: a path, whose end tells more than its start, in what width is left.
    Rest,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub heading: &'static str,
    pub align: Align,
    /// When there is too little room the columns with the highest go first; those with 0 stay.
    pub leaves: u8,
}

/// A number that may go when others need its place.
pub const fn number(heading: &'static str, leaves: u8) -> Column {
    Column { heading, align: Align::Right, leaves }
}

/// A word that stays.
pub const fn word(heading: &'static str) -> Column {
    Column { heading, align: Align::Left, leaves: 0 }
}

/// A path that takes the rest.
pub const fn rest(heading: &'static str) -> Column {
    Column { heading, align: Align::Rest, leaves: 0 }
}

/// Least width of a path.
const LEAST_REST: usize = 12;
/// Blanks between columns.
const GAP: usize = 2;

/// Rows under headings. Cells are clean ([`clean`]).
#[derive(Clone, Debug)]
pub struct Grid {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Rows without the headings.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The headings and the first rows, as many as fit; no line is wider than `width` characters.
    pub fn lines(&self, width: usize, height: usize) -> Vec<String> {
        if height == 0 {
            return Vec::new();
        }
        let shown = &self.rows[..self.rows.len().min(height - 1)];
        let mut columns: Vec<usize> = (0..self.columns.len()).collect();
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column, shown)).collect();
        let needed = |columns: &[usize]| {
            let cells: usize = columns
                .iter()
                .map(|column| match self.columns[*column].align {
                    Align::Rest => LEAST_REST.max(self.columns[*column].heading.len()).min(widths[*column]),
                    _ => widths[*column],
                })
                .sum();
            cells + GAP * columns.len().saturating_sub(1)
        };
        while needed(&columns) > width {
            let leaving = columns
                .iter()
                .enumerate()
                .filter(|(_, column)| self.columns[**column].leaves > 0)
                .max_by_key(|(place, column)| (self.columns[**column].leaves, *place));
            match leaving {
                Some((place, _)) => _ = columns.remove(place),
                None => break,
            }
        }
        let others: usize = columns
            .iter()
            .filter(|column| self.columns[**column].align != Align::Rest)
            .map(|column| widths[*column] + GAP)
            .sum();
        let left = width.saturating_sub(others);
        let headings: Vec<String> = self.columns.iter().map(|column| column.heading.to_owned()).collect();
        std::iter::once((true, &headings))
            .chain(shown.iter().map(|row| (false, row)))
            .map(|(heading, row)| {
                let cells = columns.iter().filter_map(|column| {
                    let (cell, width) = (row.get(*column)?, widths[*column]);
                    Some(match self.columns[*column].align {
                        Align::Left => format!("{cell:width$}"),
                        Align::Right => format!("{cell:>width$}"),
                        Align::Rest if heading => cell.clone(),
                        Align::Rest => shorten(cell, left),
                    })
                });
                let line = cells.collect::<Vec<_>>().join("  ");
                line.trim_end().chars().take(width).collect()
            })
            .collect()
    }

    fn width(&self, column: usize, rows: &[Vec<String>]) -> usize {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.max().unwrap_or(0).max(self.columns[column].heading.chars().count())
    }
}

/// The end of a text that is too long.
fn shorten(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let end: String = text.chars().skip(length - width.saturating_sub(1).min(length)).collect();
    if width == 0 { String::new() } else { format!("…{end}") }
}

/// What comes from others, made harmless: names of files may hold what steers a terminal.
pub fn clean(text: &str) -> String {
    // Control characters, and those that turn the direction of writing around.
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if harmful(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid =
            Grid::new(&[number("per s", 0), number("read", 1), number("written", 2), rest("path")]);
        grid.row(vec!["1250".into(), "12.0k".into(), "0".into(), "/a/long/way/down/to/the/file".into()]);
        grid.row(vec!["7".into(), "0".into(), "0".into(), "/b".into()]);
        grid
    }

    #[test]
    fn columns_go_until_the_rest_fits() {
        assert_eq!(
            grid().lines(60, 9),
            [
                "per s   read  written  path",
                " 1250  12.0k        0  /a/long/way/down/to/the/file",
                "    7      0        0  /b",
            ]
        );
        assert_eq!(grid().lines(30, 2), ["per s   read  path", " 1250  12.0k  …own/to/the/file"]);
        assert_eq!(grid().lines(20, 9), ["per s  path", " 1250  …/to/the/file", "    7  /b"]);
        for width in 0..70 {
            for line in grid().lines(width, 9) {
                assert!(line.chars().count() <= width, "{line:?} is wider than {width}");
            }
        }
        assert_eq!(grid().lines(60, 0).len(), 0);
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\n\u{202e}ü"), "a?[2Jb??ü");
    }
}
