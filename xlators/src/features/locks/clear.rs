//! Locks cleared by an administrator: `gluster volume clear-locks`, or a getxattr of
//! `glusterfs.clrlk.t<inode|entry|posix>.k<blocked|granted|all>[.<range or name>]`.
//!
//! `glusterfs.intrlk…` has the same form, and is restricted to the caller's own thread: a client interrupts a waiting lock
//! with it. Everybody may do that; clearing what others hold is for root alone (GlusterFS lets any user do it).
//!
//! An interrupt that finds no wait fails (`ENODATA`): what was asked for has been granted or refused meanwhile, and the
//! answer is on its way. A client that is told of a success gives `EINTR` to the application and throws that answer away,
//! which would leave a lock behind that nobody knows of (stock bricks tell of a success).

use kiln_uring::Errno;

use super::Locks;
use super::state::Scene;
use super::state::object::{Kind, Object};
use super::state::range::Range;
use crate::call::Call;
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::keys;
use crate::types::{Dict, Gfid, Key, Loc, Value, Xdata};

/// Which locks to clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    kind: Kind,
    waiting: bool,
    granted: bool,
    range: Option<Range>,
    name: Option<Vec<u8>>,
    /// Only those of this client and thread.
    process: Option<(u64, i32)>,
}

const KINDS: [(&str, Kind); 3] = [("tinode", Kind::Inode), ("tentry", Kind::Entry), ("tposix", Kind::Posix)];
const STATES: [(&str, bool, bool); 3] =
    [("kblocked", true, false), ("kgranted", false, true), ("kall", true, true)];

/// Whether a virtual attribute is such an order.
#[must_use]
pub fn is_order(name: &Key) -> bool {
    [keys::CLEAR_LOCKS_PREFIX, keys::INTERRUPT_LOCKS_PREFIX]
        .iter()
        .any(|prefix| name.to_bytes().starts_with(prefix.to_bytes()))
}

impl Order {
    /// From the attribute's name.
    ///
    /// # Errors
    /// `EINVAL` when it is malformed.
    pub fn parse(name: &Key, client: u64, pid: i32) -> Result<Self, Errno> {
        let text = name.to_str().map_err(|_| Errno::INVAL)?;
        let mut parts = text.splitn(5, '.');
        let (Some("glusterfs"), Some(verb), Some(kind), Some(state)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Errno::INVAL);
        };
        let process = match verb {
            "clrlk" => None,
            "intrlk" => Some((client, pid)),
            _ => return Err(Errno::INVAL),
        };
        let kind = KINDS.iter().find(|(name, _)| *name == kind).ok_or(Errno::INVAL)?.1;
        let (_, waiting, granted) = *STATES.iter().find(|(name, ..)| *name == state).ok_or(Errno::INVAL)?;
        let (range, name) = match (parts.next().filter(|rest| !rest.is_empty()), kind) {
            (None, _) => (None, None),
            (Some(name), Kind::Entry) => (None, Some(name.as_bytes().to_vec())),
            (Some(range), _) => (Some(parse_range(range)?), None),
        };
        Ok(Self { kind, waiting, granted, range, name, process })
    }

    fn is_meant(&self, client: u64, pid: i32) -> bool {
        self.process.is_none_or(|process| process == (client, pid))
    }

    /// Clears: how many waits and how many held ones went.
    fn run(&self, object: &mut Object, scene: &mut Scene<'_>) -> (usize, usize) {
        let in_range = |range: Range| self.range.is_none_or(|wanted| wanted == range);
        let mut gone = (0, 0);
        let mut add = |(waiting, granted): (usize, usize)| gone = (gone.0 + waiting, gone.1 + granted);
        match self.kind {
            Kind::Posix => add(object.posix.clear(
                self.waiting,
                self.granted,
                |held| in_range(held.range) && self.is_meant(held.holder.client, held.caller),
                scene,
            )),
            Kind::Inode => object.inode.iter_mut().for_each(|domain| {
                add(domain.clear(
                    self.waiting,
                    self.granted,
                    |held| in_range(held.target.range) && self.is_meant(held.holder.client, held.pid),
                    scene,
                ));
            }),
            Kind::Entry => object.entry.iter_mut().for_each(|domain| {
                add(domain.clear(
                    self.waiting,
                    self.granted,
                    |held| {
                        let name = held.target.name.as_ref().map(|name| name.as_bytes());
                        self.name.as_deref().is_none_or(|wanted| name == Some(wanted))
                            && self.is_meant(held.holder.client, held.pid)
                    },
                    scene,
                ));
            }),
        }
        object.settle(scene);
        gone
    }

    fn noun(&self) -> &'static str {
        match self.kind {
            Kind::Posix => "posix",
            Kind::Inode => "inode",
            Kind::Entry => "entry",
        }
    }
}

/// `<whence>,<start>-<length>`.
fn parse_range(text: &str) -> Result<Range, Errno> {
    let (whence, range) = text.split_once(',').ok_or(Errno::INVAL)?;
    let (start, len) = range.split_once('-').ok_or(Errno::INVAL)?;
    let number = |text: &str| text.parse::<i64>().map_err(|_| Errno::INVAL);
    if number(whence)? != 0 {
        return Err(Errno::INVAL);
    }
    Range::of_inodelk(number(start)?, number(len)?)
}

/// `host:/brick/` out of `<POSIX(/brick):host:/brick/>`.
fn brick_of(pathinfo: &str) -> Option<&str> {
    pathinfo.split_once("):")?.1.strip_suffix('>')
}

impl Locks {
    /// How this brick calls itself in replies.
    pub(super) async fn brick_name(&self, call: &Call) -> String {
        let name = Some(keys::PATHINFO.into());
        let req = request::Getxattr { loc: Loc::object(Gfid::ROOT), name, xdata: Xdata::NONE };
        let info = self.next.getxattr(call, req).await.ok();
        let text = info.as_ref().and_then(|info| info.dict.get(keys::PATHINFO)?.as_str());
        text.and_then(brick_of).unwrap_or("brick").to_owned()
    }

    /// Obeys an order and tells what was done.
    pub(super) async fn clear(&self, call: &Call, gfid: Gfid, name: Key) -> FopResult<reply::Xattrs> {
        let order = Order::parse(&name, call.caller().client, call.caller().pid)?;
        if order.process.is_none() && call.caller().uid != 0 && !call.caller().is_internal() {
            return Err(Errno::PERM.into());
        }
        let (noun, interrupts) = (order.noun(), order.process.is_some());
        let (waiting, granted) = self.change(gfid, move |object, scene| order.run(object, scene)).await?;
        let text = if interrupts {
            if waiting == 0 {
                return Err(Errno::NODATA.into());
            }
            tracing::debug!(%gfid, noun, waiting, "a wait is interrupted");
            format!("{noun} blocked locks={waiting}")
        } else if waiting + granted == 0 {
            "No locks cleared.".to_owned()
        } else {
            tracing::info!(%gfid, noun, waiting, granted, "locks were cleared");
            let brick = self.brick_name(call).await;
            format!("{brick}: {noun} blocked locks={waiting} granted locks={granted}")
        };
        Ok(reply::Xattrs { dict: Dict::from_iter([(name, Value::Str(text))]), xdata: Xdata::NONE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::dict::key_from_bytes;

    fn parse(text: &str) -> Result<Order, Errno> {
        Order::parse(&key_from_bytes(text.as_bytes()).unwrap(), 7, 70)
    }

    #[test]
    fn orders() {
        let order = parse("glusterfs.clrlk.tposix.kall.0,5-10").unwrap();
        assert_eq!(order.range, Some(Range { start: 5, end: 14 }));
        assert!(order.waiting && order.granted && order.process.is_none());
        assert_eq!(parse("glusterfs.clrlk.tinode.kblocked.0,0-0").unwrap().range, Some(Range::WHOLE));
        assert_eq!(parse("glusterfs.clrlk.tentry.kgranted.a.b").unwrap().name, Some(b"a.b".to_vec()));
        assert_eq!(parse("glusterfs.intrlk.tposix.kblocked").unwrap().process, Some((7, 70)));
        for wrong in [
            "glusterfs.clrlk",
            "glusterfs.clrlk.tposix",
            "glusterfs.clrlk.tposix.ksome",
            "glusterfs.clrlk.tlease.kall",
            "glusterfs.clrlkx.tposix.kall",
            "glusterfs.clrlk.tposix.kall.5",
            "glusterfs.clrlk.tposix.kall.1,0-0",
            "glusterfs.clrlk.tposix.kall.0,-1-5",
        ] {
            assert_eq!(parse(wrong), Err(Errno::INVAL), "{wrong}");
        }
    }

    #[test]
    fn the_brick_of_a_pathinfo() {
        assert_eq!(brick_of("<POSIX(/b/1):host:/b/1/>"), Some("host:/b/1/"));
        assert_eq!(brick_of("nonsense"), None);
    }
}
