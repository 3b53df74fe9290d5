//! `kiln top`: what bricks do, live.
//!
//! | file | subject |
//! | --- | --- |
//! | `args` | the command line |
//! | `poll` | asking the bricks, each from a thread of its own |
//! | `view`, `latency` | from two answers of a brick to the rates and percentiles of the time between them |
//! | `brick` | one brick that is watched, while it is there and while it is not |
//! | `grid`, `rows` | figures as columns that fit the width |
//! | `plain` | frames of text |
//! | `app`, `draw`, `live` | the live view: what keys do, what it looks like, the terminal |

pub mod app;
pub mod args;
pub mod brick;
pub mod draw;
pub mod grid;
pub mod latency;
pub mod live;
pub mod plain;
pub mod poll;
pub mod rows;
#[cfg(test)]
pub mod testkit;
pub mod view;
