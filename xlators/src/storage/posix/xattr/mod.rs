//! Extended attributes: the fops, xattrop, virtual keys, and answers in xdata.

pub mod fill;
