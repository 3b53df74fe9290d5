//! Every entry fop: what it leaves on disk, what it refuses, and what is left when it is killed or out of space anywhere.

mod crash;
mod ends;
mod mortal;
mod races;
mod real;
mod refusals;
mod scenes;
mod state;
