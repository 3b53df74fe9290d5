//! What clients see, fop by fop.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use kiln_uring::sim::Sim;
use kiln_uring::sys::OpenFlags;
use kiln_uring::{Buf, Core, Errno};

use crate::call::Caller;
use crate::error::FopError;
use crate::fd::{Fd, FdRef};
use crate::fop::{Fop, reply, request};
use crate::keys;
use crate::testing::{Rig, entry, gfid};
use crate::translator::Event;
use crate::types::{
    ActiveLock, Dict, EntrylkCmd, Flock, Gfid, IaType, LkCmd, Loc, LockOwner, LockType, Name, Value, Xdata,
};
use crate::upcall::{Upcall, UpcallEvent};

const LAYER: &str = "features/locks";

/// A process of a client; the owner is the process's number.
fn process(client: u64, pid: u8) -> Caller {
    Caller { client, pid: i32::from(pid), lock_owner: LockOwner::new(&[pid; 8]), ..Caller::default() }
}

fn flock(kind: LockType, start: i64, len: i64) -> Flock {
    Flock { kind, start, len, pid: 42, owner: LockOwner::default() }
}

/// A graph with the layer over a file and a directory.
struct Bench {
    rig: Rc<Rig>,
    core: Core,
}

const FILE: Gfid = gfid(9);
const DIR: Gfid = gfid(8);

impl Bench {
    fn new(core: &Core, options: &[(&str, &str)]) -> Self {
        let rig = Rig::new(core, &[(LAYER, options)]);
        rig.brick.put(FILE, IaType::Regular, 0o644, 0, 0);
        rig.brick.put(DIR, IaType::Directory, 0o755, 0, 0);
        rig.brick.name(FILE, DIR, "file");
        Self { rig: Rc::new(rig), core: core.clone() }
    }

    async fn lk(&self, who: Caller, fd: &FdRef, cmd: LkCmd, flock: Flock) -> Result<Flock, Errno> {
        let call = self.rig.call(Fop::Lk, who);
        let req = request::Lk { fd: fd.clone(), cmd, flock, xdata: Xdata::NONE };
        self.rig.top().lk(&call, req).await.map(|reply| reply.flock).map_err(|error| error.errno)
    }

    async fn inodelk(&self, who: Caller, domain: &str, wait: bool, flock: Flock) -> Result<(), Errno> {
        let call = self.rig.call(Fop::Inodelk, who);
        let cmd = if wait { LkCmd::SetWait } else { LkCmd::Set };
        let req = request::Inodelk {
            loc: Loc::object(FILE),
            domain: domain.into(),
            cmd,
            flock,
            xdata: xdata(&[(keys::CONNECTION_ID, Value::Str(format!("CTX-{}", call.caller().client)))]),
        };
        self.rig.top().inodelk(&call, req).await.map(drop).map_err(|error| error.errno)
    }

    async fn entrylk(&self, who: Caller, name: Option<&str>, cmd: EntrylkCmd) -> Result<(), Errno> {
        let call = self.rig.call(Fop::Entrylk, who);
        let req = request::Entrylk {
            loc: Loc::object(DIR),
            domain: "d".into(),
            name: name.map(|name| Name::new(name.as_bytes()).unwrap()),
            cmd,
            kind: LockType::Write,
            xdata: Xdata::NONE,
        };
        self.rig.top().entrylk(&call, req).await.map(drop).map_err(|error| error.errno)
    }

    async fn getxattr(&self, who: Caller, name: &str) -> Result<String, Errno> {
        let call = self.rig.call(Fop::Getxattr, who);
        let name = crate::types::dict::key_from_bytes(name.as_bytes()).unwrap();
        let req = request::Getxattr { loc: Loc::object(FILE), name: Some(name.clone()), xdata: Xdata::NONE };
        let reply = self.rig.top().getxattr(&call, req).await.map_err(|error: FopError| error.errno)?;
        Ok(reply.dict.get(&name).and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Runs a future as a task; its value when it has one.
    fn start<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
        let slot = Rc::new(RefCell::new(None));
        let result = Rc::clone(&slot);
        self.core.spawn(async move {
            let value = future.await;
            *result.borrow_mut() = Some(value);
        });
        slot
    }

    async fn a_moment(&self) {
        self.core.sleep(Duration::from_millis(10)).await;
    }

    fn share(&self) -> Self {
        Self { rig: Rc::clone(&self.rig), core: self.core.clone() }
    }

    fn dump(&self) -> serde_json::Value {
        self.rig.graph.layers()[1].statedump()
    }
}

fn xdata(pairs: &[(&'static std::ffi::CStr, Value)]) -> Xdata {
    pairs.iter().map(|(key, value)| (*key, value.clone())).collect::<Dict>().into()
}

use LkCmd::{Get, Set, SetWait};
use LockType::{Read, Unlock, Write};

#[test]
fn posix_locks_exclude_and_are_told() {
    Sim::new(1).run(async |core| {
        let bench = Bench::new(&core, &[]);
        let fd = Fd::file(FILE, 2, 1);
        let (one, two) = (process(1, 10), process(2, 10));
        assert_eq!(
            bench.lk(one.clone(), &fd, Set, flock(Write, 0, 100)).await,
            Ok(flock(Write, 0, 100)),
            "the reply is the request"
        );
        // The same owner of another client is another holder.
        assert_eq!(bench.lk(two.clone(), &fd, Set, flock(Read, 50, 1)).await, Err(Errno::AGAIN));
        assert!(bench.lk(two.clone(), &fd, Set, flock(Write, 100, 0)).await.is_ok());
        let found = bench.lk(two.clone(), &fd, Get, flock(Read, 0, 0)).await.unwrap();
        let owner = LockOwner::new(&[10; 8]);
        assert_eq!(found, Flock { kind: Write, start: 0, len: 100, pid: 42, owner });
        assert_eq!(bench.lk(one.clone(), &fd, Get, flock(Read, 0, 50)).await.unwrap().kind, Unlock);
        // The kind of a release's reply tells whether the descriptor has more.
        assert_eq!(bench.lk(one.clone(), &fd, Set, flock(Unlock, 0, 50)).await.unwrap().kind, Read);
        assert!(bench.lk(two.clone(), &fd, Set, flock(Read, 0, 50)).await.is_ok());
        for wrong in [flock(Write, -1, 5), flock(Write, 3, -4), flock(Write, i64::MAX, 5)] {
            assert_eq!(bench.lk(one.clone(), &fd, Set, wrong).await, Err(Errno::INVAL));
        }
        for owner in [&[][..], &[0; 8]] {
            let nobody = Caller { lock_owner: LockOwner::new(owner), ..one.clone() };
            assert_eq!(bench.lk(nobody, &fd, Set, flock(Read, 0, 1)).await, Err(Errno::INVAL));
        }
        assert!(bench.rig.brick.take_fops().is_empty(), "nothing reaches the layers below");
    });
}

#[test]
fn a_wait_ends_with_the_lock_and_a_dropped_wait_leaves_nothing() {
    Sim::new(2).run(async |core| {
        let bench = Bench::new(&core, &[]);
        let fd = Fd::file(FILE, 2, 1);
        let (one, two, three) = (process(1, 1), process(1, 2), process(1, 3));
        bench.lk(one.clone(), &fd, Set, flock(Write, 0, 0)).await.unwrap();
        let (b, f) = (bench.share(), fd.clone());
        let waits = bench.start(async move { b.lk(two, &f, SetWait, flock(Write, 0, 0)).await.is_ok() });
        let waited = core
            .timeout(Duration::from_millis(50), bench.lk(three.clone(), &fd, SetWait, flock(Write, 5, 5)));
        assert!(waited.await.is_err());
        assert_eq!(*waits.borrow(), None);
        bench.lk(one, &fd, Set, flock(Unlock, 0, 0)).await.unwrap();
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), Some(true));
        bench.rig.graph.notify(&Event::ClientGone(1));
        assert!(bench.dump().is_null(), "{}", bench.dump());
        assert!(bench.lk(process(2, 1), &fd, Set, flock(Write, 0, 0)).await.is_ok());
    });
}

#[test]
fn what_was_granted_to_somebody_who_is_gone_at_that_moment_is_taken_back() {
    Sim::new(2).run(async |core| {
        let bench = Bench::new(&core, &[]);
        let fd = Fd::file(FILE, 2, 1);
        bench.lk(process(1, 1), &fd, Set, flock(Write, 0, 0)).await.unwrap();
        bench.inodelk(process(1, 1), "v", false, flock(Write, 0, 0)).await.unwrap();
        let (b, f) = (bench.share(), fd.clone());
        let waits = core.spawn(async move {
            b.lk(process(2, 1), &f, SetWait, flock(Write, 0, 0)).await.map(drop).unwrap()
        });
        let b = bench.share();
        let waits_too =
            core.spawn(async move { b.inodelk(process(2, 1), "v", true, flock(Write, 0, 0)).await.unwrap() });
        bench.a_moment().await;
        // Both are granted, and end before they hear of it.
        bench.lk(process(1, 1), &fd, Set, flock(Unlock, 0, 0)).await.unwrap();
        bench.inodelk(process(1, 1), "v", false, flock(Unlock, 0, 0)).await.unwrap();
        assert!(!bench.dump().is_null());
        core.abort(waits);
        core.abort(waits_too);
        assert!(bench.dump().is_null(), "{}", bench.dump());
    });
}

#[test]
fn flush_and_release_drop_what_they_should() {
    Sim::new(3).run(async |core| {
        let bench = Bench::new(&core, &[]);
        let (first, second) = (Fd::file(FILE, 2, 1), Fd::file(FILE, 2, 1));
        let other = process(2, 1);
        let free = async |start| {
            bench.lk(other.clone(), &second, Get, flock(Write, start, 1)).await.unwrap().kind == Unlock
        };
        let flush = async |caller: Caller, fd: &FdRef| {
            let call = bench.rig.call(Fop::Flush, caller);
            bench
                .rig
                .top()
                .flush(&call, request::Flush { fd: fd.clone(), xdata: Xdata::NONE })
                .await
                .unwrap();
        };
        // A process's lock and a flock, which has an owner of its own.
        bench.lk(process(1, 1), &first, Set, flock(Write, 0, 10)).await.unwrap();
        bench.lk(process(1, 7), &first, Set, flock(Write, 10, 10)).await.unwrap();
        flush(process(1, 1), &first).await;
        assert!(free(0).await && !free(10).await);
        bench.rig.graph.release(&first);
        assert!(free(10).await);
        // Without an owner all of the descriptor go, and only those.
        let third = Fd::file(FILE, 2, 1);
        bench.lk(process(1, 1), &first, Set, flock(Write, 0, 10)).await.unwrap();
        bench.lk(process(1, 2), &third, Set, flock(Write, 10, 10)).await.unwrap();
        flush(Caller { lock_owner: LockOwner::default(), ..process(1, 1) }, &first).await;
        assert!(free(0).await && !free(10).await);
        // A wait through a descriptor that is closed ends.
        let (b, f) = (bench.share(), first.clone());
        let waits = bench.start(async move { b.lk(process(3, 1), &f, SetWait, flock(Write, 10, 1)).await });
        bench.a_moment().await;
        bench.rig.graph.release(&first);
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), Some(Err(Errno::AGAIN)));
        assert_eq!(bench.rig.brick.take_fops(), [Fop::Flush, Fop::Flush]);
    });
}

#[test]
fn inodelks_are_exact_and_metadata_has_its_own_domain() {
    Sim::new(4).run(async |core| {
        let bench = Bench::new(&core, &[]);
        let (one, two) = (process(1, 1), process(2, 1));
        bench.inodelk(one.clone(), "v", false, flock(Write, 0, 0)).await.unwrap();
        bench.inodelk(two.clone(), "v", false, flock(Write, i64::MAX - 1, 0)).await.unwrap();
        bench.inodelk(two.clone(), "other", false, flock(Write, 0, 0)).await.unwrap();
        assert_eq!(bench.inodelk(two.clone(), "v", false, flock(Read, 5, 1)).await, Err(Errno::AGAIN));
        // Once more by the same owner: each counts.
        bench.inodelk(one.clone(), "v", true, flock(Write, 0, 0)).await.unwrap();
        assert_eq!(bench.inodelk(one.clone(), "v", false, flock(Unlock, 0, 1)).await, Err(Errno::INVAL));
        assert_eq!(bench.inodelk(two.clone(), "v", false, flock(Unlock, 0, 0)).await, Err(Errno::INVAL));
        for _ in 0..2 {
            bench.inodelk(one.clone(), "v", false, flock(Unlock, 0, 0)).await.unwrap();
        }
        assert_eq!(bench.inodelk(one.clone(), "v", false, flock(Unlock, 0, 0)).await, Err(Errno::INVAL));
        bench.inodelk(two.clone(), "v", false, flock(Read, 5, 1)).await.unwrap();
        assert_eq!(bench.inodelk(one, "v", false, flock(Write, 5, -1)).await, Err(Errno::INVAL));

        let call = bench.rig.call(Fop::Inodelk, process(1, 1));
        let req = |cmd, object| request::Inodelk {
            loc: Loc::object(object),
            domain: "v".into(),
            cmd,
            flock: flock(Write, 0, 0),
            xdata: Xdata::NONE,
        };
        let errno = async |req| bench.rig.top().inodelk(&call, req).await.unwrap_err().errno;
        assert_eq!(errno(req(LkCmd::Get, FILE)).await, Errno::OPNOTSUPP);
        assert_eq!(errno(req(LkCmd::Set, gfid(77))).await, Errno::STALE);
    });
}

#[test]
fn counts_are_answered_in_any_fop() {
    Sim::new(5).run(async |core| {
        let bench = Bench::new(&core, &[]);
        let fd = Fd::file(FILE, 2, 1);
        bench.inodelk(process(1, 1), "v", false, flock(Write, 0, 1)).await.unwrap();
        bench.inodelk(process(1, 1), "w", false, flock(Write, 0, 1)).await.unwrap();
        bench.lk(process(1, 1), &fd, Set, flock(Write, 0, 1)).await.unwrap();
        bench.entrylk(process(1, 1), Some("file"), EntrylkCmd::TryLock).await.unwrap();
        bench.rig.brick.take_fops();
        let ask = |keys: &[&'static std::ffi::CStr]| {
            Xdata::from(keys.iter().map(|key| (*key, Value::Uint(1))).collect::<Dict>())
        };
        let count = |xdata: &Xdata, key: &std::ffi::CStr| match xdata.get(key) {
            Some(Value::Int(count)) => Some(*count),
            None => None,
            other => panic!("{other:?}"),
        };
        let call = bench.rig.call(Fop::Lookup, process(2, 1));
        let all = [keys::INODELK_COUNT, keys::ENTRYLK_COUNT, keys::POSIXLK_COUNT, keys::PARENT_ENTRYLK];
        let req = request::Lookup { loc: entry(DIR, "file"), xdata: ask(&all) };
        let reply = bench.rig.top().lookup(&call, req).await.unwrap();
        assert_eq!(all.map(|key| count(&reply.xdata, key)), [Some(2), Some(0), Some(1), Some(1)]);
        assert!(!bench.rig.brick.seen()[0].text.contains("glusterfs."), "the keys stay here");

        // Of a location other than a lookup's: the parent.
        let req = request::Stat { loc: entry(DIR, "file"), xdata: ask(&all[..2]) };
        let reply = bench.rig.top().stat(&call, req).await.unwrap();
        assert_eq!(all.map(|key| count(&reply.xdata, key)), [Some(0), Some(1), None, None]);

        // Of a descriptor, by domain.
        let mut xdata = ask(&[keys::MULTI_DOM_LK_COUNT, c"glusterfs.inodelk-dom-prefix:w"]);
        xdata.make().set(keys::INODELK_DOM_COUNT, Value::Str("v".into()));
        xdata.make().set(c"glusterfs.inodelk-dom-prefix:none", Value::Str("none".into()));
        let data = Buf::from_slice(b"x");
        let req = request::Writev { fd: fd.clone(), data, offset: 0, flags: 0, xdata };
        let reply = bench.rig.top().writev(&call, req).await.unwrap();
        assert_eq!(count(&reply.xdata, keys::INODELK_COUNT), Some(1));
        assert_eq!(count(&reply.xdata, c"glusterfs.inodelk-dom-prefix:w"), Some(1));
        assert_eq!(count(&reply.xdata, c"glusterfs.inodelk-dom-prefix:none"), Some(0));

        // Nothing asked, nothing answered.
        let req = request::Fstat { fd, xdata: Xdata::NONE };
        assert!(bench.rig.top().fstat(&call, req).await.unwrap().xdata.is_none());
    });
}

#[test]
fn a_removal_waits_for_the_inodelks_of_others() {
    Sim::new(6).run(async |core| {
        let bench = Bench::new(&core, &[]);
        bench.inodelk(process(1, 1), "v", false, flock(Write, 0, 0)).await.unwrap();
        let unlink = |caller: Caller| {
            let bench = bench.share();
            async move {
                let call = bench.rig.call(Fop::Unlink, caller);
                let req = request::Unlink { loc: entry(DIR, "file"), flags: 0, xdata: Xdata::NONE };
                bench.rig.top().unlink(&call, req).await.is_ok()
            }
        };
        // The holder itself, and internal clients, pass.
        assert!(unlink(process(1, 2)).await);
        assert!(unlink(Caller { pid: -6, ..process(2, 1) }).await);
        let waits = bench.start(unlink(process(2, 1)));
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), None);
        // Others stand behind the removal, whoever has a lock can go on.
        assert_eq!(bench.inodelk(process(3, 1), "w", false, flock(Read, 0, 0)).await, Err(Errno::AGAIN));
        bench.inodelk(process(1, 1), "w", false, flock(Read, 0, 0)).await.unwrap();
        bench.inodelk(process(1, 1), "w", false, flock(Unlock, 0, 0)).await.unwrap();
        bench.inodelk(process(1, 1), "v", false, flock(Unlock, 0, 0)).await.unwrap();
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), Some(true));
        bench.inodelk(process(3, 1), "w", false, flock(Read, 0, 0)).await.unwrap();
    });
}

#[test]
fn contention_reaches_the_holder() {
    Sim::new(7).run(async |core| {
        let bench = Bench::new(&core, &[]);
        let heard = Rc::new(RefCell::new(Vec::<Upcall>::new()));
        let sink = Rc::clone(&heard);
        bench.rig.graph.on_upcall(move |upcall| sink.borrow_mut().push(upcall));
        bench.inodelk(process(1, 1), "v", false, flock(Write, 3, 4)).await.unwrap();
        assert!(bench.inodelk(process(2, 1), "v", false, flock(Write, 0, 0)).await.is_err());
        bench.entrylk(process(1, 1), Some("a"), EntrylkCmd::Lock).await.unwrap();
        assert!(bench.entrylk(process(2, 1), None, EntrylkCmd::TryLock).await.is_err());
        let heard = heard.borrow();
        assert_eq!(
            heard.iter().map(|upcall| (upcall.client, upcall.gfid)).collect::<Vec<_>>(),
            [(1, FILE), (1, DIR)]
        );
        let UpcallEvent::InodelkContention { domain, flock } = &heard[0].event else { panic!() };
        assert_eq!((&**domain, flock.kind, flock.start, flock.len, flock.pid), ("v", Write, 3, 4, 1));
        let UpcallEvent::EntrylkContention { name, .. } = &heard[1].event else { panic!() };
        assert_eq!(name.as_ref().map(|name| name.as_bytes()), Some(&b"a"[..]));
    });
}

#[test]
fn mandatory_locks_hold_up_reads_and_writes() {
    Sim::new(8).run(async |core| {
        for (mode, marked, binds) in [
            ("off", true, false),
            ("file", false, false),
            ("file", true, true),
            ("forced", false, true),
            ("optimal", true, false),
        ] {
            let bench = Bench::new(&core, &[("mandatory-locking", mode)]);
            bench.rig.brick.put(FILE, IaType::Regular, if marked { 0o2644 } else { 0o644 }, 0, 0);
            let fd = Fd::file(FILE, OpenFlags::NONBLOCK.bits(), 1);
            bench.lk(process(1, 1), &fd, Set, flock(Read, 0, 10)).await.unwrap();
            let call = bench.rig.call(Fop::Writev, process(2, 1));
            let write = |offset| request::Writev {
                fd: fd.clone(),
                data: Buf::from_slice(b"xx"),
                offset,
                flags: 0,
                xdata: Xdata::NONE,
            };
            let refused = if binds { Some(Errno::AGAIN) } else { None };
            let errno = |answer: Result<reply::Written, FopError>| answer.err().map(|error| error.errno);
            assert_eq!(errno(bench.rig.top().writev(&call, write(9)).await), refused, "{mode} {marked}");
            assert_eq!(errno(bench.rig.top().writev(&call, write(10)).await), None);
            let read = request::Readv { fd: fd.clone(), size: 5, offset: 0, flags: 0, xdata: Xdata::NONE };
            assert!(bench.rig.top().readv(&call, read).await.is_ok(), "a shared lock lets others read");
            let own = bench.rig.call(Fop::Writev, process(1, 1));
            assert_eq!(errno(bench.rig.top().writev(&own, write(0)).await), None);
            let req = request::Open {
                loc: Loc::object(FILE),
                flags: OpenFlags::TRUNC.bits(),
                fd: fd.clone(),
                xdata: Xdata::NONE,
            };
            let opened = bench.rig.top().open(&own, req).await.err().map(|error| error.errno);
            assert_eq!(opened, refused, "{mode} {marked}");
            let req = request::Ftruncate { fd: fd.clone(), offset: 5, xdata: Xdata::NONE };
            let cut = bench.rig.top().ftruncate(&call, req).await.err().map(|error| error.errno);
            assert_eq!(cut, refused, "{mode} {marked}");
        }
        // Without O_NONBLOCK the write waits; in mode `optimal` for locks that were taken as mandatory.
        let bench = Bench::new(&core, &[("mandatory-locking", "optimal")]);
        let fd = Fd::file(FILE, 2, 1);
        let call = bench.rig.call(Fop::Lk, process(1, 1));
        let xdata = xdata(&[(keys::LK_MODE, Value::Int(1))]);
        let req = request::Lk { fd: fd.clone(), cmd: Set, flock: flock(Write, 0, 0), xdata };
        bench.rig.top().lk(&call, req).await.unwrap();
        let (b, f) = (bench.share(), fd.clone());
        let waits = bench.start(async move {
            let call = b.rig.call(Fop::Readv, process(2, 1));
            let read = request::Readv { fd: f, size: 5, offset: 0, flags: 0, xdata: Xdata::NONE };
            b.rig.top().readv(&call, read).await.is_ok()
        });
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), None);
        bench.lk(process(1, 1), &fd, Set, flock(Unlock, 0, 0)).await.unwrap();
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), Some(true));
    });
}

#[test]
fn an_administrator_clears_locks() {
    Sim::new(9).run(async |core| {
        let bench = Bench::new(&core, &[]);
        bench.rig.brick.put(Gfid::ROOT, IaType::Directory, 0o755, 0, 0);
        bench.rig.brick.set_xattr(Gfid::ROOT, keys::PATHINFO, b"<POSIX(/b):host:/b/>".to_vec());
        let fd = Fd::file(FILE, 2, 1);
        bench.lk(process(1, 1), &fd, Set, flock(Write, 0, 0)).await.unwrap();
        let (b, f) = (bench.share(), fd.clone());
        let waits = bench.start(async move { b.lk(process(2, 1), &f, SetWait, flock(Write, 0, 0)).await });
        bench.a_moment().await;
        let clear = async |what: &str| bench.getxattr(process(3, 1), what).await;
        assert_eq!(clear("glusterfs.clrlk.tinode.kall").await.unwrap(), "No locks cleared.");
        assert_eq!(clear("glusterfs.clrlk.tposix.kall.0,5-5").await.unwrap(), "No locks cleared.");
        assert_eq!(
            clear("glusterfs.clrlk.tposix.kblocked.0,0-0").await.unwrap(),
            "host:/b/: posix blocked locks=1 granted locks=0"
        );
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), Some(Err(Errno::INTR)));
        assert_eq!(
            clear("glusterfs.clrlk.tposix.kgranted").await.unwrap(),
            "host:/b/: posix blocked locks=0 granted locks=1"
        );
        assert_eq!(clear("glusterfs.clrlk.tposix").await, Err(Errno::INVAL));
        let user = Caller { uid: 1000, ..process(3, 1) };
        assert_eq!(bench.getxattr(user, "glusterfs.clrlk.tposix.kall").await, Err(Errno::PERM));
        assert!(bench.dump().is_null());
        // A process interrupts its own wait, nobody else's.
        bench.inodelk(process(1, 1), "v", false, flock(Write, 0, 0)).await.unwrap();
        let b = bench.share();
        let waits = bench.start(async move { b.inodelk(process(2, 9), "v", true, flock(Write, 0, 0)).await });
        bench.a_moment().await;
        assert_eq!(clear("glusterfs.intrlk.tinode.kblocked").await, Err(Errno::NODATA));
        bench.getxattr(process(2, 9), "glusterfs.intrlk.tinode.kblocked").await.unwrap();
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), Some(Err(Errno::AGAIN)));
        // Which thread counts, not what the range says of the process.
        bench.lk(process(1, 1), &fd, Set, flock(Write, 0, 0)).await.unwrap();
        let (b, f) = (bench.share(), fd.clone());
        let waits = bench.start(async move { b.lk(process(2, 9), &f, SetWait, flock(Write, 0, 0)).await });
        bench.a_moment().await;
        let interrupt =
            async |pid| bench.getxattr(process(2, pid), "glusterfs.intrlk.tposix.kblocked.0,0-0").await;
        assert_eq!(interrupt(42).await, Err(Errno::NODATA));
        assert_eq!(interrupt(9).await.unwrap(), "posix blocked locks=1");
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), Some(Err(Errno::INTR)));
    });
}

#[test]
fn locks_move_to_another_descriptor_and_to_another_brick() {
    Sim::new(10).run(async |core| {
        let bench = Bench::new(&core, &[]);
        let (old, new) = (Fd::file(FILE, 2, 1), Fd::file(FILE, 2, 1));
        bench.lk(process(1, 1), &old, Set, flock(Write, 0, 10)).await.unwrap();
        let call = bench.rig.call(Fop::Fgetxattr, process(1, 1));
        let req =
            request::Fgetxattr { fd: old.clone(), name: Some(keys::LOCKINFO.into()), xdata: Xdata::NONE };
        let info = bench.rig.top().fgetxattr(&call, req).await.unwrap().dict;
        let after = bench.rig.call(Fop::Fsetxattr, process(5, 1));
        let req = request::Fsetxattr { fd: new.clone(), dict: info, flags: 0, xdata: Xdata::NONE };
        bench.rig.top().fsetxattr(&after, req).await.unwrap();
        bench.rig.graph.release(&old);
        bench.rig.graph.notify(&Event::ClientGone(1));
        assert_eq!(bench.lk(process(2, 1), &new, Set, flock(Write, 0, 1)).await, Err(Errno::AGAIN));
        assert!(bench.lk(process(5, 1), &new, Set, flock(Write, 0, 1)).await.is_ok());

        // A migration: nothing changes meanwhile, then it is elsewhere.
        let call = bench.rig.call(Fop::Setxattr, Caller { pid: -3, ..process(6, 1) });
        let order = async |dict: &[(&'static std::ffi::CStr, Value)]| {
            let dict = dict.iter().map(|(key, value)| (*key, value.clone())).collect();
            let req = request::Setxattr { loc: Loc::object(FILE), dict, flags: 0, xdata: Xdata::NONE };
            bench.rig.top().setxattr(&call, req).await.map(drop).map_err(|error| error.errno)
        };
        let dict: Dict = [(keys::META_LOCK, Value::Int(1))].into_iter().collect();
        let req = request::Setxattr { loc: Loc::object(FILE), dict, flags: 0, xdata: Xdata::NONE };
        let user = bench.rig.call(Fop::Setxattr, process(6, 1));
        assert_eq!(bench.rig.top().setxattr(&user, req).await.unwrap_err().errno, Errno::PERM);
        order(&[(keys::META_LOCK, Value::Int(1))]).await.unwrap();
        assert_eq!(order(&[(keys::META_LOCK, Value::Int(1))]).await, Err(Errno::AGAIN));
        let req = request::Getactivelk { loc: Loc::object(FILE), xdata: Xdata::NONE };
        let active = bench.rig.top().getactivelk(&call, req).await.unwrap().locks;
        assert_eq!(active.len(), 1);
        let (b, f) = (bench.share(), new.clone());
        let waits = bench.start(async move { b.lk(process(2, 1), &f, Set, flock(Read, 50, 1)).await });
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), None);
        order(&[(keys::META_UNLOCK, Value::Int(1)), (keys::META_STATUS, Value::Int(1))]).await.unwrap();
        bench.a_moment().await;
        assert_eq!(*waits.borrow(), Some(Err(Errno::REMOTE)));
        assert!(bench.dump().is_null());
        let set = async |locks: Vec<ActiveLock>| {
            let req = request::Setactivelk { loc: Loc::object(FILE), locks, xdata: Xdata::NONE };
            bench.rig.top().setactivelk(&call, req).await.map(drop).map_err(|error| error.errno)
        };
        set(active).await.unwrap();
        assert_eq!(bench.lk(process(2, 1), &new, Set, flock(Write, 0, 1)).await, Err(Errno::AGAIN));
    });
}

#[test]
fn a_statedump_names_holders_and_waiters() {
    Sim::new(11).run(async |core| {
        let bench = Bench::new(&core, &[]);
        let fd = Fd::file(FILE, 2, 1);
        bench.lk(process(1, 1), &fd, Set, flock(Write, 0, 10)).await.unwrap();
        bench.inodelk(process(1, 1), "v", false, flock(Read, 0, 0)).await.unwrap();
        let b = bench.share();
        bench.start(async move { b.inodelk(process(2, 3), "v", true, flock(Write, 0, 0)).await });
        bench.a_moment().await;
        let dump = bench.dump();
        let inode = &dump["inodes"][0];
        assert_eq!(inode["gfid"], FILE.to_string());
        assert_eq!((&inode["posixlk-count"], &inode["inodelk-count"]), (&1.into(), &2.into()));
        let line = |key: &str| inode["locks"][key].as_str().unwrap_or_else(|| panic!("{inode}")).to_owned();
        let posix = line("posixlk.posixlk[0](ACTIVE)");
        assert!(posix.starts_with(
            "type=WRITE, whence=0, start=0, len=10, pid = 42, owner=0101010101010101, client=1"
        ));
        let waits = line("inodelk.v.inodelk[1](BLOCKED)");
        assert!(waits.contains("client=2, connection-id=CTX-2, blocked at "), "{waits}");
    });
}

#[test]
fn figures_of_a_core() {
    Sim::new(12).run(async |core| {
        let bench = Bench::new(&core, &[]);
        let fd = Fd::file(FILE, 2, 1);
        bench.lk(process(1, 1), &fd, Set, flock(Write, 0, 10)).await.unwrap();
        bench.lk(process(1, 1), &fd, Set, flock(Write, 20, 10)).await.unwrap();
        assert_eq!(bench.lk(process(2, 1), &fd, Set, flock(Write, 0, 1)).await, Err(Errno::AGAIN));
        let (b, f) = (bench.share(), fd.clone());
        let waits = bench.start(async move { b.lk(process(2, 1), &f, SetWait, flock(Write, 0, 1)).await });
        bench.a_moment().await;
        let told = || {
            let parts = bench.rig.graph.layers().iter().filter_map(|layer| layer.stats()).collect();
            (super::super::TYPE.merge_stats)(parts)["cores"]["0"].clone()
        };
        let expected = serde_json::json!({
            "locks": { "posix": 3, "inodelk": 0, "entrylk": 0 }, "waiting": 1, "granted": 2, "contended": 2
        });
        assert_eq!(told(), expected);
        bench.rig.graph.notify(&Event::ClientGone(1));
        bench.a_moment().await;
        assert!(waits.borrow().as_ref().unwrap().is_ok());
        assert_eq!((&told()["locks"]["posix"], &told()["waiting"]), (&1.into(), &0.into()));
    });
}
