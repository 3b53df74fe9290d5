//! The nouns of the translator API.

pub mod dict;
mod gfid;
mod iatt;
mod loc;
mod lock;
mod name;

pub use dict::{Dict, Key, MdataTimes, Value, Xdata};
pub use gfid::{Gfid, NotAGfid};
pub use iatt::{IaType, Iatt};
pub use loc::Loc;
pub use lock::{ActiveLock, EntrylkCmd, Flock, LkCmd, LockOwner, LockType};
pub use name::Name;
