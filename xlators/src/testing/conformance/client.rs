//! Somebody who sends random fops about a few names, one after the other, and writes down when and with what end.

use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kiln_uring::sys::{OpenFlags, RenameFlags};
use kiln_uring::{Buf, Core, Errno};

use super::ground::Ground;
use super::leaf::{NEWFILE, NEWFILE_HEAD};
use super::ledger::Moment;
use crate::call::{CallSpec, CallTimes, Caller};
use crate::error::FopResult;
use crate::fd::Fd;
use crate::fop::{Fop, request};
use crate::graph::Graph;
use crate::keys;
use crate::types::{Dict, Gfid, Loc, Name, Value, Xdata};

/// The names that fops are about.
pub const NAMES: [&str; 3] = ["x", "y", "z"];

/// A lookup that has ended.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The directory.
    pub parent: Gfid,
    /// The name.
    pub name: Name,
    /// What was found.
    pub found: Result<Gfid, Errno>,
}

/// One fop of a history.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it was sent.
    pub from: Moment,
    /// When its reply came, or nobody waited any more.
    pub to: Moment,
    /// Core and client.
    pub who: (usize, usize),
    /// The fop.
    pub fop: Fop,
    /// What it was about, and its end.
    pub what: String,
    /// Of a lookup that has ended.
    pub looked: Option<Looked>,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (core, client) = self.who;
        write!(f, "{:>5}-{:<5}  core {core} client {client}: {}", self.from, self.to, self.what)
    }
}

/// What all clients write into.
pub type History = Arc<Mutex<Vec<Event>>>;

/// A seeded sequence of numbers (splitmix64), the same on whatever the clients run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a client.
    pub const fn new(seed: u64, client: usize) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (client as u64).wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// The next number, less than `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(mixed ^ (mixed >> 31)) * limit as u128) >> 64) as usize
    }
}

/// A client of one core.
pub struct Client {
    pub graph: Rc<Graph>,
    pub ground: Arc<Ground>,
    pub history: History,
    pub number: usize,
    pub random: Random,
    /// One in so many fops is given up; never when 0.
    pub gives_up: usize,
    /// The entry that the last fop was about.
    pub last: (Gfid, usize),
}

/// How often which fop is sent.
const FOPS: [(Fop, usize); 14] = [
    (Fop::Lookup, 42),
    (Fop::Create, 8),
    (Fop::Mknod, 4),
    (Fop::Mkdir, 6),
    (Fop::Symlink, 3),
    (Fop::Put, 2),
    (Fop::Namelink, 2),
    (Fop::Setxattr, 2),
    (Fop::Link, 6),
    (Fop::Rename, 12),
    (Fop::Unlink, 9),
    (Fop::Rmdir, 5),
    (Fop::Readdir, 2),
    (Fop::Readdirp, 2),
];

impl Client {
    fn core(&self) -> &Core {
        self.graph.core()
    }

    fn entry(&mut self) -> (Gfid, usize) {
        // What the last one was about is worth another look.
        if self.random.below(5) < 2 {
            return self.last;
        }
        let directories = self.ground.directories();
        let likely = if self.random.below(4) == 0 { directories.len() } else { directories.len().min(3) };
        self.last = (directories[self.random.below(likely)], self.random.below(NAMES.len()));
        self.last
    }

    fn loc(&mut self) -> Loc {
        let (parent, name) = self.entry();
        Loc::entry(parent, name_of(name))
    }

    fn fop(&mut self) -> Fop {
        let total = FOPS.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.random.below(total);
        for (fop, weight) in FOPS {
            match drawn.checked_sub(weight) {
                None => return fop,
                Some(rest) => drawn = rest,
            }
        }
        Fop::Lookup
    }

    /// Sends so many fops.
    pub async fn run(mut self, fops: usize) {
        for _ in 0..fops {
            let fop = self.fop();
            if fop == Fop::Lookup {
                let (parent, name) = self.entry();
                self.look(parent, name, true).await;
            } else {
                self.change(fop).await;
            }
        }
    }

    /// Looks at every name there is, and waits for the answers.
    pub async fn look_around(mut self) {
        for directory in self.ground.directories() {
            for name in 0..NAMES.len() {
                self.look(directory, name, false).await;
            }
        }
    }

    fn call(&self, fop: Fop, subject: Gfid) -> crate::call::Call {
        let caller = Caller { pid: 1, client: self.number as u64, ..Caller::default() };
        self.graph.begin(CallSpec { fop, subject, caller, times: CallTimes::default(), unique: 0 })
    }

    /// How long the client waits for the fop, where it does not wait for ever.
    fn patience(&mut self) -> Option<Duration> {
        if self.gives_up == 0 || self.random.below(self.gives_up) != 0 {
            return None;
        }
        Some(Duration::from_nanos(self.random.below(80_000) as u64))
    }

    async fn look(&mut self, parent: Gfid, name: usize, may_give_up: bool) {
        let name = name_of(name);
        let patience = if may_give_up { self.patience() } else { None };
        let call = self.call(Fop::Lookup, parent);
        let loc = Loc::entry(parent, name.clone());
        let text = format!("lookup {loc}");
        let from = self.ground.ledger.tick();
        let lookup = self.graph.top().lookup(&call, request::Lookup { loc, xdata: Xdata::NONE });
        let answer = match patience {
            Some(limit) => self.core().timeout(limit, lookup).await.ok(),
            None => Some(lookup.await),
        };
        let to = self.ground.ledger.tick();
        let found = answer.map(|answer| answer.map(|reply| reply.iatt.gfid).map_err(|error| error.errno));
        let end = match &found {
            None => "given up".to_owned(),
            Some(Ok(gfid)) => format!("{gfid}"),
            Some(Err(errno)) => format!("{errno}"),
        };
        let looked = found.map(|found| Looked { parent, name, found });
        let (who, what) = (self.who(), format!("{text}: {end}"));
        self.write(Event { from, to, who, fop: Fop::Lookup, what, looked });
    }

    async fn change(&mut self, fop: Fop) {
        let patience = self.patience();
        let flags =
            [RenameFlags::empty(), RenameFlags::empty(), RenameFlags::NOREPLACE, RenameFlags::EXCHANGE]
                [self.random.below(4)];
        let (loc, other) = (self.loc(), self.loc());
        // A link needs to know what it is of.
        let object = match (fop, &other.name) {
            (Fop::Link, Some(name)) => self.ground.look_aside(other.parent, name),
            _ => None,
        };
        let text = match fop {
            Fop::Rename => format!("rename {other} to {loc} ({flags:?})"),
            Fop::Link => format!("link {other} to {loc}"),
            Fop::Readdir | Fop::Readdirp => format!("{fop} {}", loc.parent),
            _ => format!("{fop} {loc}"),
        };
        let from = self.ground.ledger.tick();
        let sent = self.send(fop, loc, other, object, flags.bits());
        let answer = match patience {
            Some(limit) => self.core().timeout(limit, sent).await.ok(),
            None => Some(sent.await),
        };
        let to = self.ground.ledger.tick();
        let end = match answer {
            None => "given up".to_owned(),
            Some(Ok(())) => "done".to_owned(),
            Some(Err(error)) => format!("{error}"),
        };
        let (who, what) = (self.who(), format!("{text}: {end}"));
        self.write(Event { from, to, who, fop, what, looked: None });
    }

    async fn send(&self, fop: Fop, loc: Loc, other: Loc, object: Option<Gfid>, flags: u32) -> FopResult<()> {
        let call = self.call(fop, loc.parent);
        let (call, top, xdata) = (&call, self.graph.top(), self.ground.wish());
        let (mode, umask) = (0o100_644, 0);
        match fop {
            Fop::Create => {
                let flags = OpenFlags::EXCL.bits() * (flags & 1);
                let fd = Fd::file(Gfid::NULL, flags, 1);
                top.create(call, request::Create { loc, flags, mode, umask, fd, xdata }).await.map(drop)
            }
            Fop::Mknod => top
                .mknod(call, request::Mknod { loc, mode: 0o010_644, rdev: 0, umask, xdata })
                .await
                .map(drop),
            Fop::Mkdir => {
                let made = top.mkdir(call, request::Mkdir { loc, mode: 0o755, umask, xdata }).await?;
                self.ground.learn(made.iatt.gfid);
                Ok(())
            }
            Fop::Symlink => {
                let target = c"target".to_owned();
                top.symlink(call, request::Symlink { target, loc, umask, xdata }).await.map(drop)
            }
            Fop::Put => {
                let (data, xattrs) = (Buf::from_slice(b"data"), Dict::new());
                let req = request::Put { loc, mode, umask, flags: 0, data, offset: 0, xattrs, xdata };
                top.put(call, req).await.map(drop)
            }
            Fop::Namelink => {
                let nameless =
                    Loc::object(xdata.get(keys::GFID_REQ).and_then(Value::as_gfid).unwrap_or_default());
                let made = top.icreate(call, request::Icreate { loc: nameless, mode, xdata }).await?;
                let loc = Loc { gfid: made.iatt.gfid, ..loc };
                let req = request::Namelink { loc, xdata: Xdata::NONE };
                top.namelink(call, req).await.map(drop)
            }
            Fop::Setxattr => {
                let mut value = vec![0; NEWFILE_HEAD];
                value.extend_from_slice(loc.name.as_ref().map_or(&b""[..], Name::as_bytes));
                value.extend_from_slice(&[0; 13]);
                let dict = Dict::from_iter([(NEWFILE, Value::Bin(value))]);
                let req = request::Setxattr { loc: Loc::object(loc.parent), dict, flags: 0, xdata };
                top.setxattr(call, req).await.map(drop)
            }
            Fop::Link => {
                let old = Loc { gfid: object.unwrap_or_default(), ..other };
                top.link(call, request::Link { old, new: loc, xdata }).await.map(drop)
            }
            Fop::Rename => {
                top.rename(call, request::Rename { old: other, new: loc, flags, xdata }).await.map(drop)
            }
            Fop::Unlink => top.unlink(call, request::Unlink { loc, flags: 0, xdata }).await.map(drop),
            Fop::Rmdir => top.rmdir(call, request::Rmdir { loc, flags: 0, xdata }).await.map(drop),
            Fop::Readdir => {
                let fd = Fd::directory(loc.parent, 1);
                top.readdir(call, request::Readdir { fd, size: 4096, offset: 0, xdata }).await.map(drop)
            }
            Fop::Readdirp => {
                let fd = Fd::directory(loc.parent, 1);
                top.readdirp(call, request::Readdirp { fd, size: 4096, offset: 0, xdata }).await.map(drop)
            }
            _ => Err(Errno::NOSYS.into()),
        }
    }

    fn who(&self) -> (usize, usize) {
        (self.core().id(), self.number)
    }

    fn write(&self, event: Event) {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

fn name_of(number: usize) -> Name {
    Name::new(NAMES[number].as_bytes()).expect("the names are names")
}
