//! copy_file_range.

use std::sync::Arc;

use kiln_uring::sys::XattrTarget;
use kiln_uring::{Class, Errno, Warmth};

use super::{Site, check_allocated, is_short_of_space};
use crate::call::{Call, CallTimes, TimeFlags};
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::storage::posix::mdata::Role;
use crate::storage::posix::{Brick, Posix};
use crate::types::Xdata;

/// Most that one call copies, in bytes. The kernel stops at 2 GiB; a helper thread should come back earlier.
const LONGEST: u64 = 256 << 20;

impl Posix {
    pub(in crate::storage::posix) async fn serve_copy_file_range(
        &self,
        call: &Call,
        req: request::CopyFileRange,
    ) -> FopResult<reply::Copied> {
        if req.flags != 0 {
            return Err(Errno::INVAL.into());
        }
        // One request, two objects: the change is the target's, the access the source's.
        let all = *call.times();
        let change = CallTimes { flags: all.flags - TimeFlags::ATIME, ..all };
        let access = CallTimes { flags: all.flags & TimeFlags::ATIME, ..all };
        let source = self.fd_file(&req.fd_in).await?;
        let source_gfid = req.fd_in.gfid();
        let file = self.fd_file(&req.fd).await?;
        let target = Site { gfid: req.fd.gfid(), file, times: change };
        let short_of_space = is_short_of_space(&self.brick, call, &req.xdata);
        let (from, to, len) = (req.offset_in, req.offset, req.len.min(LONGEST));
        let job = move |brick: &Arc<Brick>| -> FopResult<reply::Copied> {
            let pre = target.before(brick)?;
            if short_of_space {
                check_allocated(brick, &target.file, &pre.stat, to, len)?;
            }
            let count = brick.sys.copy_file_range(source.fd(), from, target.file.fd(), to, len as usize)?;
            let post = target.after(brick, &pre)?;
            let mut read = brick.attrs_of_fd(source_gfid, &source)?;
            brick.move_times(XattrTarget::Fd(source.fd()), &mut read, &access, Role::Own);
            Ok(reply::Copied { count, source: read.iatt, pre: pre.iatt, post: post.iatt, xdata: Xdata::NONE })
        };
        self.run(Class::Scan, Warmth::Cold, job).await
    }
}
