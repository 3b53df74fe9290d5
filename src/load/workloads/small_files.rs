//! A small tree from its making to its end, as unpacking, using and removing a source tree does.

use kiln_uring::Errno;

use super::worker::Worker;
use crate::load::kinds::Kind;
use crate::load::targets::{Done, OpError, OpenHow, Session};

/// Files of one tree.
const FILES: u64 = 8;

/// Makes a tree, lists it, reads all of it, and removes it. Returns the bytes that were written and read.
pub async fn tree<S: Session>(worker: &mut Worker<S>) -> Done<u64> {
    let id = worker.new_id();
    let name = format!("t-{}-{id}", worker.number);
    let set = std::sync::Arc::clone(&worker.set);
    let dir = worker.part(Kind::PartMkdir, worker.session.make_dir(&set.work.0, &name)).await?;
    let used = use_tree(worker, &dir, id).await;
    if used.is_err() {
        // Whatever of it is there: the directory has to go in any case.
        for index in 0..FILES {
            let _ = worker.session.unlink(&dir, &index.to_string()).await;
        }
    }
    worker.part(Kind::PartRmdir, worker.session.remove_dir(&set.work.0, &name)).await?;
    used
}

async fn use_tree<S: Session>(worker: &mut Worker<S>, dir: &S::Node, id: u64) -> Done<u64> {
    let number = |index: u64| id * FILES + index;
    for index in 0..FILES {
        worker.make(dir, &index.to_string(), number(index)).await?;
    }
    let listing = worker.session.open_dir(dir).await?;
    let listed = worker.part(Kind::PartReaddirp, worker.session.list(&listing)).await;
    worker.session.close_dir(listing).await?;
    if listed? != FILES {
        return Err(OpError::Errno(Errno::IO));
    }
    let block = worker.plan.block;
    for index in 0..FILES {
        let name = index.to_string();
        let found = worker.part(Kind::PartLookup, worker.session.lookup(dir, &name)).await?;
        let how = OpenHow { direct: worker.plan.direct };
        let file = worker.part(Kind::PartOpen, worker.session.open(&found.node, how)).await?;
        let stamp = worker.own_stamp(number(index));
        let read = worker.part(Kind::PartRead, worker.session.read(&file, 0, block, stamp)).await;
        worker.part(Kind::PartClose, worker.session.close(file)).await?;
        let (came, verdict) = read?;
        worker.checked.note(verdict, || format!("file {name} of a small tree"));
        if came != block {
            return Err(OpError::Errno(Errno::IO));
        }
    }
    for index in 0..FILES {
        worker.part(Kind::PartUnlink, worker.session.unlink(dir, &index.to_string())).await?;
    }
    Ok(2 * FILES * block as u64)
}
