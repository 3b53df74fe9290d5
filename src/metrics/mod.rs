//! Figures for monitoring systems, over HTTP in the text format of OpenMetrics: `--metrics ADDRESS:PORT`.
//!
//! ```text
//!  scraper ── GET /metrics ──▶ http ──▶ families ── asks the cores, as `kiln stats` does
//!                                          │
//!                                        text     one family after the other, `# EOF`
//! ```
//!
//! The names are documented in `docs/metrics.md`; a test holds the two together.

mod families;
mod http;
mod text;

pub use http::{bind, start};
