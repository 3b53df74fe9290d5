//! flush, fsync and fsyncdir.

use crate::call::Call;
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::storage::posix::Posix;
use crate::types::Xdata;
use kiln_uring::Errno;

impl Posix {
    /// Nothing to do here: the locks that go with a flush are a matter of the layers above.
    pub(in crate::storage::posix) async fn serve_flush(&self, req: request::Flush) -> FopResult<reply::Done> {
        self.fd_file(&req.fd).await?;
        Ok(reply::Done::default())
    }

    pub(in crate::storage::posix) async fn serve_fsync(
        &self,
        call: &Call,
        req: request::Fsync,
    ) -> FopResult<reply::Changed> {
        let site = self.site(call, &req.fd).await?;
        let pre = site.before(&self.brick)?;
        if req.xdata.contains(keys::BATCH_FSYNC) {
            self.batch.sync(&self.core, &self.brick, &site.file, req.data_only).await?;
        } else {
            self.core.fsync(&site.file, req.data_only).await?;
        }
        let post = site.after_pause(&self.brick)?;
        Ok(reply::Changed { pre: pre.iatt, post: post.iatt, xdata: Xdata::NONE })
    }

    /// Stock does nothing here; entries are on stable storage after this one.
    pub(in crate::storage::posix) async fn serve_fsyncdir(
        &self,
        req: request::Fsyncdir,
    ) -> FopResult<reply::Done> {
        let dir = self.fd_file(&req.fd).await?;
        match self.core.fsync(&dir, req.data_only).await {
            // File systems that cannot sync a directory have nothing to sync.
            Ok(()) | Err(Errno::INVAL) => Ok(reply::Done::default()),
            Err(errno) => Err(errno.into()),
        }
    }
}
