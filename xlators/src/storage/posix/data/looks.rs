//! Reads through one descriptor that a core does in one turn: they look at the file once, after the last of them.
//!
//! A read tells what the file is like after it. One that has others behind it lets them go first; whoever of those that read
//! through the same descriptor comes back first looks at the file, for all of them. No reply is older than its read.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use kiln_uring::{Core, File, SysResult};

use crate::storage::posix::Attrs;

/// The looks of one core that are still to come.
#[derive(Debug, Default)]
pub(in crate::storage::posix) struct Looks(RefCell<Vec<Rc<Look>>>);

/// One look for all who take part.
#[derive(Debug)]
struct Look {
    file: Arc<File>,
    seen: Cell<Option<SysResult<Attrs>>>,
}

impl Looks {
    /// What `look` finds once the others that can run have had their turn; it may be another's that is called.
    ///
    /// # Errors
    /// Those of `look`.
    pub(super) async fn shared(
        &self,
        core: &Core,
        file: &Arc<File>,
        look: impl FnOnce() -> SysResult<Attrs>,
    ) -> SysResult<Attrs> {
        if !core.has_others_ready() {
            return look();
        }
        let mine = self.join(file);
        core.yield_now().await;
        mine.0.seen.get().unwrap_or_else(|| {
            self.close(&mine.0);
            let seen = look();
            mine.0.seen.set(Some(seen));
            seen
        })
    }

    fn join(&self, file: &Arc<File>) -> Part<'_> {
        let mut all = self.0.borrow_mut();
        let open = all.iter().find(|look| Arc::ptr_eq(&look.file, file)).cloned();
        let look = open.unwrap_or_else(|| {
            let look = Rc::new(Look { file: Arc::clone(file), seen: Cell::new(None) });
            all.push(Rc::clone(&look));
            look
        });
        Part(look, self)
    }

    /// Nobody joins it any more.
    fn close(&self, look: &Rc<Look>) {
        let mut all = self.0.borrow_mut();
        if let Some(at) = all.iter().position(|other| Rc::ptr_eq(other, look)) {
            all.swap_remove(at);
        }
    }
}

/// One that takes part in a look.
struct Part<'a>(Rc<Look>, &'a Looks);

impl Drop for Part<'_> {
    /// When all were given up before anybody looked, nobody is to find the look.
    fn drop(&mut self) {
        let Self(look, all) = self;
        // The list has one, too.
        if look.seen.get().is_none() && Rc::strong_count(look) <= 2 {
            all.close(look);
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_uring::sim::Call as Syscall;

    use super::*;
    use crate::fd::{Fd, FdRef};
    use crate::fop::request;
    use crate::storage::posix::data::tests::plant;
    use crate::storage::posix::testkit::{Client, Kit, gfid};
    use crate::types::{Loc, Xdata};

    const RDWR: u32 = libc::O_RDWR as u32;
    const LONG: usize = 100;

    /// Reads from the start; how much there was, and what the file was like.
    async fn read(client: &Client, fd: FdRef) -> (u64, u64) {
        let request = request::Readv { fd, size: 1 << 16, offset: 0, flags: 0, xdata: Xdata::NONE };
        let read = client.readv(request).await.unwrap();
        assert_eq!(read.eof, read.data.len() as u64 >= read.iatt.size);
        (read.data.len() as u64, read.iatt.size)
    }

    async fn append(client: &Client, fd: FdRef, nth: usize) -> u64 {
        let data = kiln_uring::Buf::from_slice(&[1; LONG]);
        let request = request::Writev { fd, data, offset: (nth * LONG) as u64, flags: 0, xdata: Xdata::NONE };
        client.writev(request).await.unwrap().post.size
    }

    #[test]
    fn reads_that_come_together_look_once_and_none_before_it_read() {
        let (mut looks, mut reads) = (0, 0);
        for seed in 300..340 {
            let kit = Kit::new(seed);
            plant(&kit.brick(), "f", gfid(7));
            kit.run(async |client| {
                let client = Rc::new(client);
                let fd = Fd::file(gfid(7), RDWR, 1);
                let loc = Loc::object(gfid(7));
                let request = request::Open { loc, flags: RDWR, fd: fd.clone(), xdata: Xdata::NONE };
                client.open(request).await.unwrap();
                let mut size = append(&client, fd.clone(), 0).await;
                for round in 0..4 {
                    let before = kit.sim.kernel().calls(Syscall::Stat);
                    let tasks: Vec<_> = (0..8)
                        .map(|_| {
                            let (client, fd) = (Rc::clone(&client), fd.clone());
                            client.core().clone().spawn_join(async move { read(&client, fd).await })
                        })
                        .collect();
                    // In some rounds somebody writes in between.
                    let write = (round % 2 == 1).then(|| {
                        let (client, fd) = (Rc::clone(&client), fd.clone());
                        client.core().clone().spawn_join(async move { append(&client, fd, round).await })
                    });
                    for task in tasks {
                        let (read, seen) = task.await;
                        assert!(size <= read && read <= seen, "{size} {read} {seen}");
                    }
                    match write {
                        Some(write) => size = write.await,
                        None => {
                            looks += kit.sim.kernel().calls(Syscall::Stat) - before;
                            reads += 8;
                        }
                    }
                }
            });
        }
        assert!(looks * 2 < reads, "{looks} looks of {reads} reads");
    }

    #[test]
    fn one_that_was_given_up_is_not_waited_for() {
        for seed in 0..20 {
            let kit = Kit::new(seed);
            kit.run(async |client| {
                let (looks, brick) = (Rc::new(Looks::default()), kit.brick());
                let core = client.core().clone();
                let tasks: Vec<_> = (0..3)
                    .map(|_| {
                        let (looks, brick, core) = (Rc::clone(&looks), Arc::clone(&brick), core.clone());
                        core.clone().spawn(async move {
                            let look = || brick.attrs_of_fd(gfid(1), &brick.root);
                            looks.shared(&core, &brick.root, look).await.unwrap();
                        })
                    })
                    .collect();
                for _ in 0..seed % 5 {
                    core.yield_now().await;
                }
                tasks.into_iter().for_each(|task| core.abort(task));
                core.yield_now().await;
                assert!(looks.0.borrow().is_empty());
            });
        }
    }
}
