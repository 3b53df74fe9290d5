//! The graph as an SVG picture that needs no other program.

use std::fmt::Write as _;

use super::layout::{Edge, Item, Layout, Place, layout};
use super::{Drawn, Picture};
use crate::volfile::Volfile;

/// Everything in pixels. The fonts are monospaced, so that the width of a text is known without measuring it.
const MARGIN: f64 = 24.0;
const PADDING: f64 = 14.0;
const HEAD: f64 = 50.0;
const LINE: f64 = 17.0;
const NAME_CHAR: f64 = 8.45;
const KIND_CHAR: f64 = 7.25;
const OPTION_CHAR: f64 = 6.95;
const MIN_WIDTH: f64 = 170.0;
/// Longer texts are cut; the whole text is in the tooltip.
const MAX_TEXT: usize = 56;

/// Plain rules rather than variables, which not every viewer knows.
const STYLE: &str = "\
    text{font-family:'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,monospace;fill:#17202b}\
    .name{font-size:14px;font-weight:600}.kind{font-size:12px}.key{font-size:11.5px}.value{font-size:11.5px}\
    .kind,.key{fill:#5c6b7c}.paper{fill:#fff}.box{fill:#fbfcfd;stroke:#c8d0da}.rule{stroke:#e3e8ee}\
    .edge{fill:none;stroke:#7b8a9b;stroke-width:1.5}.tip{fill:#7b8a9b}\
    @media(prefers-color-scheme:dark){text{fill:#e8edf3}.kind,.key{fill:#9aa8b7}.paper{fill:#12171d}\
    .box{fill:#1b222b;stroke:#3a4654}.rule{stroke:#2b3541}}";

/// The colour of a translator's family.
const FAMILIES: &[(&str, &str)] = &[
    ("storage", "#2f7d5b"),
    ("features", "#3b6fb5"),
    ("debug", "#b7791f"),
    ("performance", "#7a52b3"),
    ("protocol", "#b04a5a"),
    ("mount", "#b04a5a"),
    ("cluster", "#2a8a9d"),
];
const OTHER_FAMILY: &str = "#5c6b7c";

/// Draws the graph: a box per node with its name, its translator, and its options where they are not the defaults.
#[must_use]
pub fn svg(volfile: &Volfile) -> String {
    let picture = Picture::of(volfile);
    let items: Vec<Item> = picture.boxes.iter().map(size).collect();
    let layout = layout(&items);
    draw(&picture, &items, &layout)
}

fn size(node: &Drawn<'_>) -> Item {
    let chars = |text: &str| cut(text).chars().count() as f64;
    let key = key_width(node);
    let value = node.options.iter().map(|(_, value)| chars(value)).fold(0.0, f64::max);
    let widest =
        (chars(node.name) * NAME_CHAR).max(chars(node.kind) * KIND_CHAR).max(key + value * OPTION_CHAR);
    let options = node.options.len() as f64;
    Item {
        width: (widest + 2.0 * PADDING).max(MIN_WIDTH).ceil(),
        height: if node.options.is_empty() { HEAD } else { HEAD + options * LINE + 12.0 },
        below: node.below.clone(),
    }
}

/// Where the values start, from the left of the keys.
fn key_width(node: &Drawn<'_>) -> f64 {
    let longest = node.options.iter().map(|(key, _)| cut(key).chars().count()).max().unwrap_or(0);
    if longest == 0 { 0.0 } else { (longest + 2) as f64 * OPTION_CHAR }
}

fn draw(picture: &Picture<'_>, items: &[Item], layout: &Layout) -> String {
    let (width, height) = ((layout.width + 2.0 * MARGIN).ceil(), (layout.height + 2.0 * MARGIN).ceil());
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"graph of translators\">\n<style>{STYLE}</style>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"8\" markerHeight=\"8\" \
         orient=\"auto\"><path class=\"tip\" d=\"M0 1L10 5L0 9z\"/></marker></defs>\n\
         <rect class=\"paper\" width=\"{width}\" height=\"{height}\"/>\n<g transform=\"translate({MARGIN} {MARGIN})\">\n"
    );
    for edge in &layout.edges {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(out, "<path class=\"edge\" marker-end=\"url(#tip)\" d=\"{}\"/>", curve(edge));
    }
    for ((node, item), place) in picture.boxes.iter().zip(items).zip(&layout.places).rev() {
        draw_box(&mut out, node, item, *place);
    }
    out.push_str("</g>\n</svg>\n");
    out
}

fn draw_box(out: &mut String, node: &Drawn<'_>, item: &Item, place: Place) {
    let Item { width, height, .. } = item;
    let family = node.kind.split('/').next().unwrap_or_default();
    let colour = FAMILIES.iter().find(|(name, _)| *name == family).map_or(OTHER_FAMILY, |(_, colour)| colour);
    let _ = write!(
        out,
        "<g transform=\"translate({:.1} {:.1})\"><title>{} ({})</title>\
         <rect class=\"box\" width=\"{width}\" height=\"{height}\" rx=\"7\"/>\
         <path fill=\"{colour}\" d=\"M7 0H{:.1}a7 7 0 0 1 7 7v-2.5H0V7a7 7 0 0 1 7-7z\"/>\
         <text class=\"name\" x=\"{PADDING}\" y=\"25\">{}</text><text class=\"kind\" x=\"{PADDING}\" y=\"42\">{}</text>",
        place.x,
        place.y,
        escape(node.name),
        escape(node.kind),
        width - 7.0,
        escape(&cut(node.name)),
        escape(&cut(node.kind)),
    );
    if !node.options.is_empty() {
        let _ = write!(out, "<path class=\"rule\" d=\"M{PADDING} {HEAD}H{:.1}\"/>", width - PADDING);
    }
    let values = PADDING + key_width(node);
    for (line, (key, value)) in node.options.iter().enumerate() {
        let y = HEAD + 17.0 + line as f64 * LINE;
        let _ = write!(
            out,
            "<g><title>{} {}</title><text class=\"key\" x=\"{PADDING}\" y=\"{y}\">{}</text>\
             <text class=\"value\" x=\"{values:.1}\" y=\"{y}\">{}</text></g>",
            escape(key),
            escape(value),
            escape(&cut(key)),
            escape(&cut(value)),
        );
    }
    out.push_str("</g>\n");
}

/// A smooth line through the points: straight through a row, bent between rows.
fn curve(edge: &Edge) -> String {
    let mut path = String::new();
    let mut last: Option<Place> = None;
    for (index, point) in edge.points.iter().enumerate() {
        let Place { x, y } = *point;
        let _ = match last {
            None => write!(path, "M{x:.1} {y:.1}"),
            // Odd points are reached from the row above.
            Some(from) if index % 2 == 1 && (from.x - x).abs() > 0.05 => {
                let middle = (from.y + y) / 2.0;
                write!(path, "C{:.1} {middle:.1} {x:.1} {middle:.1} {x:.1} {y:.1}", from.x)
            }
            Some(_) => write!(path, "L{x:.1} {y:.1}"),
        };
        last = Some(*point);
    }
    path
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_TEXT {
        return text.into();
    }
    text.chars().take(MAX_TEXT - 1).chain(['…']).collect()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML knows no other control characters, nor these two.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
