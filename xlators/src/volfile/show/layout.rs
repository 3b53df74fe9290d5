//! Where the boxes of a graph go: in rows by their distance from the top, and within a row below those that lead to them.

/// A box to place: its size, and the indices of the boxes below it, all smaller than its own index.
pub(super) struct Item {
    pub width: f64,
    pub height: f64,
    pub below: Vec<usize>,
}

/// A placed box, by its upper left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Place {
    pub x: f64,
    pub y: f64,
}

/// An edge as the points it goes through, from box to box.
#[derive(Debug)]
pub(super) struct Edge {
    pub points: Vec<Place>,
}

pub(super) struct Layout {
    pub places: Vec<Place>,
    pub edges: Vec<Edge>,
    pub width: f64,
    pub height: f64,
}

/// Space between rows, and between the boxes of a row.
const ROW_GAP: f64 = 40.0;
const COLUMN_GAP: f64 = 32.0;
/// Width that an edge takes where it passes through a row.
const LANE: f64 = 8.0;

/// Most lanes in a picture. A graph with more of them is beyond any picture, and its edges may cross boxes.
const MAX_LANES: usize = 20_000;

/// A box or, where an edge passes through a row, a lane.
struct Slot {
    row: usize,
    width: f64,
    x: f64,
    above: Vec<usize>,
    /// Which subvolume of the first one above it is: of boxes under the same one, the order is the volfile's.
    position: usize,
}

pub(super) fn layout(items: &[Item]) -> Layout {
    let rows_of = rows(items);
    let row_count = rows_of.iter().max().map_or(0, |last| last + 1);
    let mut slots: Vec<Slot> = items
        .iter()
        .zip(&rows_of)
        .map(|(item, row)| Slot { row: *row, width: item.width, x: 0.0, above: Vec::new(), position: 0 })
        .collect();
    // Every edge as a path of slots, one per row.
    let mut paths: Vec<Vec<usize>> = Vec::new();
    for (index, item) in items.iter().enumerate().rev() {
        for (position, below) in item.below.iter().enumerate() {
            let mut path = vec![index];
            let lanes = rows_of[index] + 1..rows_of[*below];
            let room = slots.len() + lanes.len() <= items.len() + MAX_LANES;
            for row in lanes.filter(|_| room) {
                slots.push(Slot { row, width: LANE, x: 0.0, above: Vec::new(), position });
                path.push(slots.len() - 1);
            }
            path.push(*below);
            if slots[*below].above.is_empty() {
                slots[*below].position = position;
            }
            for pair in path.windows(2) {
                slots[pair[1]].above.push(pair[0]);
            }
            paths.push(path);
        }
    }
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); row_count];
    for index in (0..slots.len()).rev() {
        rows[slots[index].row].push(index);
    }
    let width = place_columns(&mut slots, &mut rows);
    let (tops, height) = place_rows(items, &rows);
    let places: Vec<Place> =
        slots.iter().take(items.len()).map(|slot| Place { x: slot.x, y: tops[slot.row].0 }).collect();
    let edges =
        paths.iter().map(|path| Edge { points: points(path, items, &slots, &places, &tops) }).collect();
    Layout { places, edges, width, height }
}

/// The row of each box: one below the lowest of those that lead to it.
fn rows(items: &[Item]) -> Vec<usize> {
    let mut rows = vec![0; items.len()];
    for (index, item) in items.iter().enumerate().rev() {
        for below in &item.below {
            rows[*below] = rows[*below].max(rows[index] + 1);
        }
    }
    rows
}

/// Sorts each row by where its parents stand, places it as close to below them as it goes, and returns the width of all.
fn place_columns(slots: &mut [Slot], rows: &mut [Vec<usize>]) -> f64 {
    for row in rows.iter_mut() {
        let wish = |slot: &Slot| -> Option<f64> {
            let sum: f64 =
                slot.above.iter().map(|parent| slots[*parent].x + slots[*parent].width / 2.0).sum();
            (!slot.above.is_empty()).then(|| sum / slot.above.len() as f64)
        };
        let mut wished: Vec<(usize, f64)> =
            row.iter().map(|index| (*index, wish(&slots[*index]).unwrap_or(0.0))).collect();
        wished.sort_by(|a, b| a.1.total_cmp(&b.1).then(slots[a.0].position.cmp(&slots[b.0].position)));
        *row = wished.iter().map(|(index, _)| *index).collect();
        // Side by side first; then the whole row moves so that its boxes are, on average, where they wish to be.
        let mut x = 0.0;
        let mut off = 0.0;
        for (index, wish) in &wished {
            slots[*index].x = x;
            off += wish - (x + slots[*index].width / 2.0);
            x += slots[*index].width + COLUMN_GAP;
        }
        let shift = off / wished.len().max(1) as f64;
        row.iter().for_each(|index| slots[*index].x += shift);
    }
    let left = slots.iter().map(|slot| slot.x).fold(f64::INFINITY, f64::min);
    let left = if left.is_finite() { left } else { 0.0 };
    slots.iter_mut().for_each(|slot| slot.x -= left);
    slots.iter().map(|slot| slot.x + slot.width).fold(0.0, f64::max)
}

/// Top and bottom of each row, and the height of all.
fn place_rows(items: &[Item], rows: &[Vec<usize>]) -> (Vec<(f64, f64)>, f64) {
    let mut y = 0.0;
    let mut tops = Vec::with_capacity(rows.len());
    for row in rows {
        let height =
            row.iter().filter_map(|index| items.get(*index)).map(|item| item.height).fold(0.0, f64::max);
        tops.push((y, y + height));
        y += height + ROW_GAP;
    }
    (tops, (y - ROW_GAP).max(0.0))
}

fn points(
    path: &[usize],
    items: &[Item],
    slots: &[Slot],
    places: &[Place],
    tops: &[(f64, f64)],
) -> Vec<Place> {
    let mut points = Vec::with_capacity(path.len() * 2);
    for (step, index) in path.iter().enumerate() {
        let slot = &slots[*index];
        let x = slot.x + slot.width / 2.0;
        let (top, bottom) = tops[slot.row];
        if step > 0 {
            points.push(Place { x, y: top });
        }
        if step + 1 < path.len() {
            // A box ends where it ends, a lane goes through the whole row.
            let end = items.get(*index).map_or(bottom, |item| places[*index].y + item.height);
            points.push(Place { x, y: end });
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(below: &[usize]) -> Item {
        Item { width: 100.0, height: 40.0, below: below.to_vec() }
    }

    #[test]
    fn boxes_never_overlap_and_edges_pass_beside_them() {
        // 4 stands on 3 and 0, 3 on 2 and 1, both on 0.
        let layout = layout(&[item(&[]), item(&[0]), item(&[0]), item(&[2, 1]), item(&[3, 0])]);
        for (index, a) in layout.places.iter().enumerate() {
            for b in &layout.places[..index] {
                assert!((a.x - b.x).abs() >= 100.0 || (a.y - b.y).abs() >= 40.0, "{a:?} {b:?}");
            }
        }
        let long = layout.edges.iter().find(|edge| edge.points.len() > 2).expect("4 to 0 passes two rows");
        for point in &long.points[1..long.points.len() - 1] {
            let inside = |place: &Place| {
                point.x > place.x
                    && point.x < place.x + 100.0
                    && point.y > place.y
                    && point.y < place.y + 40.0
            };
            assert!(!layout.places.iter().any(inside));
        }
        assert!(layout.width >= 200.0 && layout.height == 4.0 * 40.0 + 3.0 * ROW_GAP);
    }

    #[test]
    fn nothing_needs_no_room() {
        let layout = layout(&[]);
        assert_eq!((layout.width, layout.height), (0.0, 0.0));
    }
}
