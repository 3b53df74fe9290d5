//! How replies are written. A failed fop is answered with the complete structure, everything but the errno zero.

use super::Ticket;
use crate::error::FopError;
use crate::fop::reply;
use crate::keys;
use crate::protocol::rpc::errno;
use crate::protocol::rpc::programs::fops::{
    AttrRsp, ChangedRsp, CommonRsp, CreateRsp, DictRsp, GetactivelkRsp, LeaseRsp, LkRsp, MadeRsp, OpenRsp,
    RchecksumRsp, ReadRsp, ReaddirRsp, ReaddirpRsp, ReadlinkRsp, RenameRsp, SeekRsp, StatfsRsp,
};
use crate::protocol::xdr::{DirEntry, DirEntryPlus, Lease, LockEntry, Wire};
use crate::types::Xdata;

/// How the reply of a fop, or its failure, is written.
pub(super) struct Shape<P> {
    pub(super) ok: fn(P, &Ticket),
    pub(super) fail: fn(FopError, &Ticket),
}

/// "Nothing follows": the errno of a successful read or listing that reaches the end.
const END: i32 = 2;
const MD5_SIZE: usize = 16;

/// A reply with what all of them have.
pub(super) trait Rsp: Default + for<'a> Wire<'a> {
    fn failed(op_errno: i32, xdata: Xdata) -> Self;
}

macro_rules! failures {
    ($($rsp:ident)*) => {
        $(impl Rsp for $rsp {
            fn failed(op_errno: i32, xdata: Xdata) -> Self {
                let mut rsp = Self::default();
                (rsp.op_ret, rsp.op_errno, rsp.xdata) = (-1, op_errno, xdata);
                rsp
            }
        })*
    };
}

failures! { AttrRsp ChangedRsp CommonRsp CreateRsp DictRsp LeaseRsp LkRsp MadeRsp OpenRsp ReadRsp RenameRsp SeekRsp StatfsRsp }

/// What every failed fop is answered with.
fn parts_of(error: FopError, ticket: &Ticket) -> (i32, Xdata) {
    ticket.count_failure();
    (errno::to_wire(error.errno), error.detail.map_or(Xdata::NONE, |detail| detail.xdata))
}

/// Answers with a failure.
pub(super) fn fail<R: Rsp>(error: FopError, ticket: &Ticket) {
    let (op_errno, xdata) = parts_of(error, ticket);
    ticket.answer(&R::failed(op_errno, xdata));
}

/// The same for replies that borrow.
macro_rules! fail_with {
    ($rsp:ident) => {
        |error, ticket| {
            let (op_errno, xdata) = parts_of(error, ticket);
            ticket.answer(&$rsp { op_ret: -1, op_errno, xdata, ..Default::default() });
        }
    };
}

/// A count for `op_ret`.
fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

const fn end(eof: bool) -> i32 {
    if eof { END } else { 0 }
}

pub(super) static DONE: Shape<reply::Done> = Shape {
    ok: |reply, ticket| ticket.answer(&CommonRsp { xdata: reply.xdata, ..Default::default() }),
    fail: fail::<CommonRsp>,
};

pub(super) static ATTR: Shape<reply::Attr> = Shape {
    ok: |reply, ticket| {
        ticket.answer(&AttrRsp { stat: reply.iatt, xdata: reply.xdata, ..Default::default() })
    },
    fail: fail::<AttrRsp>,
};

pub(super) static LOOKUP: Shape<reply::Lookup> = Shape {
    ok: |reply, ticket| {
        let reply::Lookup { iatt: prestat, postparent: poststat, xdata } = reply;
        ticket.answer(&ChangedRsp { prestat, poststat, xdata, ..Default::default() });
    },
    fail: |error, ticket| {
        let poststat = error.detail.as_ref().and_then(|detail| detail.postparent).unwrap_or_default();
        let (op_errno, xdata) = parts_of(error, ticket);
        ticket.answer(&ChangedRsp { op_ret: -1, op_errno, xdata, poststat, ..Default::default() });
    },
};

/// The same for `.`, which is in itself.
pub(super) static LOOKUP_SELF: Shape<reply::Lookup> = Shape {
    ok: |reply, ticket| (LOOKUP.ok)(reply::Lookup { postparent: reply.iatt, ..reply }, ticket),
    fail: LOOKUP.fail,
};

pub(super) static READLINK: Shape<reply::Readlink> = Shape {
    ok: |reply, ticket| {
        let reply::Readlink { target, iatt: stat, xdata } = reply;
        ticket.answer(&ReadlinkRsp { op_ret: count(target.len()), op_errno: 0, xdata, stat, path: &target });
    },
    fail: fail_with!(ReadlinkRsp),
};

pub(super) static MADE: Shape<reply::Made> = Shape {
    ok: |reply, ticket| {
        let reply::Made { iatt: stat, preparent, postparent, xdata } = reply;
        ticket.answer(&MadeRsp { stat, preparent, postparent, xdata, ..Default::default() });
    },
    fail: fail::<MadeRsp>,
};

pub(super) static REMOVED: Shape<reply::Removed> = Shape {
    ok: |reply, ticket| {
        let reply::Removed { preparent: prestat, postparent: poststat, xdata } = reply;
        ticket.answer(&ChangedRsp { prestat, poststat, xdata, ..Default::default() });
    },
    fail: fail::<ChangedRsp>,
};

pub(super) static RENAMED: Shape<reply::Renamed> = Shape {
    ok: |reply, ticket| {
        let reply::Renamed { iatt: stat, preoldparent, postoldparent, prenewparent, postnewparent, xdata } =
            reply;
        ticket.answer(&RenameRsp {
            op_ret: 0,
            op_errno: 0,
            xdata,
            stat,
            preoldparent,
            postoldparent,
            prenewparent,
            postnewparent,
        });
    },
    fail: fail::<RenameRsp>,
};

pub(super) static CHANGED: Shape<reply::Changed> = Shape {
    ok: |reply, ticket| {
        let reply::Changed { pre: prestat, post: poststat, xdata } = reply;
        ticket.answer(&ChangedRsp { prestat, poststat, xdata, ..Default::default() });
    },
    fail: fail::<ChangedRsp>,
};

pub(super) static WRITTEN: Shape<reply::Written> = Shape {
    ok: |reply, ticket| {
        let reply::Written { count: written, pre: prestat, post: poststat, xdata } = reply;
        ticket.answer(&ChangedRsp { op_ret: count(written), op_errno: 0, prestat, poststat, xdata });
    },
    fail: fail::<ChangedRsp>,
};

pub(super) static READ: Shape<reply::Read> = Shape {
    ok: |reply, ticket| {
        let reply::Read { data, eof, iatt: stat, xdata } = reply;
        let op_ret = count(data.len());
        let body = ReadRsp { op_ret, op_errno: end(eof), stat, size: op_ret.cast_unsigned(), xdata };
        ticket.answer_with(&body, Some(data));
    },
    fail: fail::<ReadRsp>,
};

pub(super) static STATFS: Shape<reply::Statfs> = Shape {
    ok: |reply, ticket| {
        ticket.answer(&StatfsRsp { statfs: reply.statfs, xdata: reply.xdata, ..Default::default() })
    },
    fail: fail::<StatfsRsp>,
};

pub(super) static XATTRS: Shape<reply::Xattrs> = Shape {
    ok: |reply, ticket| {
        // Clients look at the sign, and some take the length of a single value.
        let op_ret = match (reply.dict.len(), reply.dict.iter().next()) {
            (1, Some((_, value))) => value.as_bytes().map_or(8, <[u8]>::len).max(1),
            (pairs, _) => pairs,
        };
        let dict = Xdata::new(reply.dict);
        ticket.answer(&DictRsp { op_ret: count(op_ret), dict, xdata: reply.xdata, ..Default::default() });
    },
    fail: fail_xattrs,
};

/// XATTROP's success is zero.
pub(super) static XATTROP: Shape<reply::Xattrs> = Shape {
    ok: |reply, ticket| {
        ticket.answer(&DictRsp { dict: Xdata::new(reply.dict), xdata: reply.xdata, ..Default::default() });
    },
    fail: fail_xattrs,
};

fn fail_xattrs(error: FopError, ticket: &Ticket) {
    let (op_errno, xdata) = parts_of(error, ticket);
    ticket.answer(&DictRsp {
        op_ret: -1,
        op_errno,
        xdata,
        dict: Xdata::new(Default::default()),
        ..Default::default()
    });
}

pub(super) static LK: Shape<reply::Lk> = Shape {
    ok: |reply, ticket| {
        ticket.answer(&LkRsp { flock: reply.flock, xdata: reply.xdata, ..Default::default() })
    },
    fail: fail::<LkRsp>,
};

pub(super) static READDIR: Shape<reply::Entries> = Shape {
    ok: |reply, ticket| {
        let entries: Vec<_> = reply
            .entries
            .iter()
            .map(|entry| DirEntry {
                ino: ticket.seen_ino(entry.ino),
                offset: entry.offset,
                len: entry.name.count_bytes() as u32,
                kind: entry.kind.into(),
                name: entry.name.to_bytes(),
            })
            .collect();
        let (op_ret, op_errno) = (count(entries.len()), end(reply.eof));
        ticket.answer(&ReaddirRsp { op_ret, op_errno, xdata: reply.xdata, entries });
    },
    fail: fail_with!(ReaddirRsp),
};

pub(super) static READDIRP: Shape<reply::Entries> = Shape {
    ok: |mut reply, ticket| {
        let entries: Vec<_> = reply
            .entries
            .iter_mut()
            .map(|entry| DirEntryPlus {
                ino: ticket.seen_ino(entry.ino),
                offset: entry.offset,
                len: entry.name.count_bytes() as u32,
                kind: entry.kind.into(),
                stat: entry.iatt,
                dict: std::mem::take(&mut entry.xdata),
                name: entry.name.to_bytes(),
            })
            .collect();
        let (op_ret, op_errno) = (count(entries.len()), end(reply.eof));
        ticket.answer(&ReaddirpRsp { op_ret, op_errno, xdata: reply.xdata, entries });
    },
    fail: fail_with!(ReaddirpRsp),
};

pub(super) static RCHECKSUM: Shape<reply::Rchecksum> = Shape {
    ok: |reply, ticket| {
        let sha = reply.xdata.is_set(keys::FIPS_MODE_RCHECKSUM);
        let strong = if sha { &reply.strong[..] } else { &reply.strong[..MD5_SIZE] };
        let flags = u32::from(sha);
        ticket.answer(&RchecksumRsp {
            op_ret: 0,
            op_errno: 0,
            xdata: reply.xdata,
            flags,
            weak: reply.weak,
            strong,
        });
    },
    fail: fail_with!(RchecksumRsp),
};

pub(super) static SEEK: Shape<reply::Seek> = Shape {
    ok: |reply, ticket| {
        ticket.answer(&SeekRsp { offset: reply.offset, xdata: reply.xdata, ..Default::default() })
    },
    fail: fail::<SeekRsp>,
};

pub(super) static LEASED: Shape<reply::Leased> = Shape {
    ok: |reply, ticket| {
        let reply::Leased { lease, xdata } = reply;
        let lease = Lease { cmd: lease.cmd, kind: lease.kind, id: lease.id, flags: lease.flags };
        ticket.answer(&LeaseRsp { lease, xdata, ..Default::default() });
    },
    fail: fail::<LeaseRsp>,
};

pub(super) static ACTIVE_LOCKS: Shape<reply::ActiveLocks> = Shape {
    ok: |reply, ticket| {
        let locks: Vec<_> = reply
            .locks
            .iter()
            .map(|lock| LockEntry {
                flock: lock.flock.clone(),
                client: lock.client.as_bytes(),
                flags: lock.flags,
            })
            .collect();
        ticket.answer(&GetactivelkRsp { op_ret: count(locks.len()), op_errno: 0, xdata: reply.xdata, locks });
    },
    fail: fail_with!(GetactivelkRsp),
};

pub(super) static COPIED: Shape<reply::Copied> = Shape {
    ok: |reply, ticket| {
        let reply::Copied { count: copied, source: stat, pre: preparent, post: postparent, xdata } = reply;
        ticket.answer(&MadeRsp { op_ret: count(copied), op_errno: 0, stat, preparent, postparent, xdata });
    },
    fail: fail::<MadeRsp>,
};

/// A successful open.
pub(super) fn opened(number: u64, xdata: Xdata, ticket: &Ticket) {
    ticket.answer(&OpenRsp { fd: number.cast_signed(), xdata, ..Default::default() });
}

/// A successful create.
pub(super) fn created(number: u64, reply: reply::Made, ticket: &Ticket) {
    let reply::Made { iatt: stat, preparent, postparent, xdata } = reply;
    ticket.answer(&CreateRsp { op_ret: 0, op_errno: 0, xdata, stat, fd: number, preparent, postparent });
}

pub(super) fn fail_open(error: FopError, ticket: &Ticket) {
    fail::<OpenRsp>(error, ticket);
}

pub(super) fn fail_create(error: FopError, ticket: &Ticket) {
    fail::<CreateRsp>(error, ticket);
}

/// Success of something that is no fop.
pub(super) fn done(ticket: &Ticket) {
    ticket.answer(&CommonRsp::default());
}
