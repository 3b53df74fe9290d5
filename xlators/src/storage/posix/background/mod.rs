//! What the brick does when nobody asks: batched fsyncs, checks of its health and of its space, and the emptying of
//! `landfill/`.

pub mod batch;
