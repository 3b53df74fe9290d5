//! Requests to the owner of an object, from any core.

use kiln_uring::Errno;

use super::Locks;
use super::home::{Answer, Home, Undo};
use super::state::object::Want;
use super::state::{Scene, Ticket};
use crate::error::FopResult;
use crate::handoff::{Taker, handoff};
use crate::owner::Owners;
use crate::types::Gfid;

/// When the owner core has stopped: so has the brick.
pub(super) const OWNER_GONE: Errno = Errno::IO;

/// A wait. Dropped before its end it takes the request back, or what it was granted at that moment.
struct Waiting<'a> {
    owners: &'a Owners<Home>,
    gfid: Gfid,
    ticket: Ticket,
    taker: Taker<Answer>,
    undo: Option<Undo>,
}

impl Waiting<'_> {
    async fn end(mut self) -> FopResult<()> {
        let answer = (&mut self.taker).await;
        self.undo = None;
        answer.unwrap_or(Err(OWNER_GONE)).map_err(Into::into)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(undo) = self.undo.take() else { return };
        let (gfid, ticket) = (self.gfid, self.ticket);
        let granted = match self.taker.abandon() {
            Some(Err(_)) => return,
            Some(Ok(())) => Some(undo),
            None => None,
        };
        self.owners.post(gfid, move |home, core| home.cancel(core, gfid, ticket, granted));
    }
}

impl Locks {
    /// A number for a request that no other core gives.
    fn next_ticket(&self) -> Ticket {
        let count = self.tickets.get() + 1;
        self.tickets.set(count);
        Ticket((self.owners().core().id() as u64) << 48 | count)
    }

    /// Asks for something, and waits for it if `wait` says so. Dropping the future takes the request back.
    pub(super) async fn acquire(
        &self,
        gfid: Gfid,
        want: impl FnOnce(Ticket) -> Want,
        wait: bool,
    ) -> FopResult<()> {
        let ticket = self.next_ticket();
        let want = want(ticket);
        let owners = self.owners();
        let (taker, undo) = if owners.is_mine(gfid) {
            match owners.mine().acquire(owners.core(), gfid, ticket, want, wait)? {
                Some(waits) => waits,
                None => return Ok(()),
            }
        } else {
            let (giver, taker) = handoff();
            let undo = Undo::of(&want);
            owners.post(gfid, move |home, core| home.acquire_for(core, gfid, ticket, want, wait, giver));
            (taker, undo)
        };
        Waiting { owners, gfid, ticket, taker, undo: Some(undo) }.end().await
    }

    /// Does something with an object's locks and waits for the outcome. It is done even if the wait is dropped.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        gfid: Gfid,
        work: impl FnOnce(&mut super::state::object::Object, &mut Scene<'_>) -> T + Send + 'static,
    ) -> FopResult<T> {
        let done = self.owners().ask(gfid, move |home, core| home.with(core, gfid, None, work)).await;
        done.map_err(|_| OWNER_GONE.into())
    }

    /// Does something with an object's locks, now or soon.
    pub(super) fn change_later(
        &self,
        gfid: Gfid,
        work: impl FnOnce(&mut super::state::object::Object, &mut Scene<'_>) + Send + 'static,
    ) {
        self.owners().post(gfid, move |home, core| home.with(core, gfid, None, work));
    }
}
