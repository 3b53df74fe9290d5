//! seek: the next data or hole.

use std::sync::Arc;

use kiln_uring::sys::SeekFrom;
use kiln_uring::{Class, Warmth};

use crate::error::FopResult;
use crate::fop::request::SeekWhat;
use crate::fop::{reply, request};
use crate::storage::posix::{Brick, Posix};
use crate::types::Xdata;

impl Posix {
    pub(in crate::storage::posix) async fn serve_seek(&self, req: request::Seek) -> FopResult<reply::Seek> {
        let file = self.fd_file(&req.fd).await?;
        let to = match req.what {
            SeekWhat::Data => SeekFrom::Data(req.offset),
            SeekWhat::Hole => SeekFrom::Hole(req.offset),
        };
        // Nobody uses the position of a file's descriptor, which this moves.
        let job = move |brick: &Arc<Brick>| brick.sys.seek(file.fd(), to);
        let offset = self.run(Class::Scan, Warmth::Cold, job).await?;
        Ok(reply::Seek { offset, xdata: Xdata::NONE })
    }
}
