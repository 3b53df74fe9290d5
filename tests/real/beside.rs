//! The same calls, word by word, to Kiln and to the stock brick.

use std::path::Path;
use std::time::Duration;

use kiln_xlators::protocol::rpc::programs::fops::{self, procedure};
use kiln_xlators::types::dict::Value;
use kiln_xlators::types::{Dict, Flock, Gfid, Iatt, Xdata};

use crate::support::peer::Answer;
use crate::support::{KilnServer, Peer, Scratch, StockServer, free_port, wait_for};

/// What was asked, `op_ret`, `op_errno` where that is a failure, and what else matters.
type Said = Vec<(String, i32, i32, String)>;

const NAME: &[u8] = b"file";
const DIR: Gfid = Gfid::from_bytes([1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 1]);
const INNER: Gfid = Gfid::from_bytes([1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 2]);
const FILE: Gfid = Gfid::from_bytes([1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 3]);

fn wants(gfid: Gfid) -> Xdata {
    Xdata::new(Dict::from_iter([(c"gfid-req", Value::Gfid(gfid))]))
}

fn mkdir(peer: &mut Peer, pargfid: Gfid, bname: &'static [u8], gfid: Gfid) {
    let request = fops::MkdirReq { pargfid, mode: 0o755, umask: 0, bname, xdata: wants(gfid) };
    assert_eq!(peer.fop(procedure::MKDIR, &request).outcome().0, 0);
}

/// A volfile of a brick called `brick`.
fn graph(directory: &Path, port: u16, locks: &str, server: &str) -> String {
    let directory = directory.display();
    format!(
        "volume posix\n type storage/posix\n option directory {directory}\nend-volume\n\
         volume access\n type features/access-control\n subvolumes posix\nend-volume\n\
         volume brick\n type features/locks\n{locks} subvolumes access\nend-volume\n\
         volume server\n type protocol/server\n option transport-type tcp\n\
         option transport.socket.bind-address 127.0.0.1\n option transport.socket.listen-port {port}\n\
         {server} subvolumes brick\nend-volume\n"
    )
}

const EVERYBODY: &str = " option auth.addr.brick.allow *\n";

/// Asks both, and insists that they say the same.
fn ask_both(ask: impl Fn(&mut Peer) -> Said) -> Said {
    ask_both_with("", EVERYBODY, |port| ask(&mut Peer::bound(port, "brick")))
}

/// The same with these options for locks and server, by whatever connections.
fn ask_both_with(locks: &str, server: &str, ask: impl Fn(u16) -> Said) -> Said {
    let scratch = Scratch::new();
    let theirs = {
        let brick = scratch.join("stock");
        std::fs::create_dir(&brick).unwrap();
        let port = free_port();
        let _server = StockServer::of_volfile(&scratch, &graph(&brick, port, locks, server), port);
        // It listens before it serves, and closes connections meanwhile.
        wait_for("glusterfsd to answer", Duration::from_secs(10), || {
            Peer::new(port).set_volume(&[]) != Answer::Closed
        });
        ask(port)
    };
    // Makes a brick of it.
    KilnServer::new(&scratch, &scratch.brick()).stop();
    let port = free_port();
    let volfile = scratch.join("kiln.vol");
    std::fs::write(&volfile, graph(&scratch.brick(), port, locks, server)).unwrap();
    let server = KilnServer::at(&scratch, port, |command| _ = command.arg("--volfile").arg(&volfile));
    let ours = ask(port);
    server.stop();
    for (ours, theirs) in ours.iter().zip(&theirs) {
        println!("{ours:?} | {theirs:?}");
    }
    assert_eq!(ours, theirs);
    ours
}

fn lookup(peer: &mut Peer, pargfid: Gfid, bname: &'static [u8]) -> (i32, i32, String) {
    let request = fops::LookupReq { gfid: Gfid::NULL, pargfid, flags: 0, bname, xdata: Xdata::NONE };
    let answer = peer.fop(procedure::LOOKUP, &request);
    let (op_ret, op_errno) = answer.outcome();
    if op_ret < 0 {
        return (op_ret, op_errno, String::new());
    }
    let body: fops::ChangedRsp = answer.body();
    (op_ret, 0, format!("{} in {}", body.prestat.gfid, body.poststat.gfid))
}

#[test]
fn lookups_of_dots() {
    let said = ask_both(|peer| {
        mkdir(peer, Gfid::ROOT, b"dir", DIR);
        mkdir(peer, DIR, b"inner", INNER);
        let mut said = Said::new();
        // Not of the root: there the stock brick looks at what is above the brick, and fails; here the root is in itself.
        for (parent, name) in
            [(Gfid::ROOT, &b"."[..]), (DIR, b".."), (DIR, b"."), (INNER, b".."), (INNER, b".")]
        {
            let (ret, errno, what) = lookup(peer, parent, name);
            said.push((format!("{} of {parent}", name.escape_ascii()), ret, errno, what));
        }
        // Nothing has been moved by it.
        for (parent, name) in [(Gfid::ROOT, &b"dir"[..]), (DIR, b"inner")] {
            let (ret, errno, what) = lookup(peer, parent, name);
            said.push((format!("{} of {parent}", name.escape_ascii()), ret, errno, what));
        }
        said
    });
    assert!(said.iter().rev().take(2).all(|(_, ret, ..)| *ret == 0));
}

#[test]
fn a_file_that_is_unlinked_and_still_open() {
    ask_both(|peer| {
        let mut said = Said::new();
        let create = fops::CreateReq {
            pargfid: Gfid::ROOT,
            flags: 0o2,
            mode: 0o644,
            umask: 0,
            bname: NAME,
            xdata: wants(FILE),
        };
        let answer = peer.fop(procedure::CREATE, &create);
        assert_eq!(answer.outcome().0, 0);
        let fd = answer.body::<fops::CreateRsp>().fd.cast_signed();
        let unlink = fops::UnlinkReq { pargfid: Gfid::ROOT, bname: NAME, xflags: 0, xdata: Xdata::NONE };
        assert_eq!(peer.fop(procedure::UNLINK, &unlink).outcome().0, 0);
        for (whose, fd) in [("own", fd), ("nobody's", -2)] {
            let mut say = |what: &str, answer: &Answer| {
                let (ret, errno) = answer.outcome();
                said.push((
                    format!("{what} through {whose}"),
                    ret,
                    if ret < 0 { errno } else { 0 },
                    String::new(),
                ));
            };
            let (gfid, xdata) = (FILE, Xdata::NONE);
            let write = fops::WriteReq { gfid, fd, offset: 0, size: 5, flag: 0o2, xdata: Xdata::NONE };
            say("write", &peer.write(&write, b"hello"));
            let read = fops::ReadReq { gfid, fd, offset: 0, size: 9, flag: 0, xdata: Xdata::NONE };
            say("read", &peer.fop(procedure::READ, &read));
            say("fstat", &peer.fop(procedure::FSTAT, &fops::FstatReq { gfid, fd, xdata: xdata.clone() }));
            let set = fops::FsetattrReq {
                gfid,
                fd,
                stbuf: Iatt { prot: 0o600, ..Iatt::default() },
                valid: 1,
                xdata: Xdata::NONE,
            };
            say("fsetattr", &peer.fop(procedure::FSETATTR, &set));
            say(
                "ftruncate",
                &peer.fop(
                    procedure::FTRUNCATE,
                    &fops::FtruncateReq { gfid, fd, offset: 3, xdata: xdata.clone() },
                ),
            );
            say(
                "fallocate",
                &peer.fop(
                    procedure::FALLOCATE,
                    &fops::FallocateReq { gfid, fd, flags: 0, offset: 0, size: 9, xdata: xdata.clone() },
                ),
            );
            say(
                "seek",
                &peer.fop(
                    procedure::SEEK,
                    &fops::SeekReq { gfid, fd, offset: 0, what: 0, xdata: xdata.clone() },
                ),
            );
            let pair = Xdata::new(Dict::from_iter([(c"user.a", Value::Bin(b"b".to_vec()))]));
            say(
                "fsetxattr",
                &peer.fop(
                    procedure::FSETXATTR,
                    &fops::FsetxattrReq { gfid, fd, flags: 0, dict: pair, xdata: xdata.clone() },
                ),
            );
            let get = fops::FgetxattrReq { gfid, fd, namelen: 6, name: b"user.a", xdata: xdata.clone() };
            say("fgetxattr", &peer.fop(procedure::FGETXATTR, &get));
            let remove = fops::FremovexattrReq { gfid, fd, name: b"user.a", xdata: xdata.clone() };
            say("fremovexattr", &peer.fop(procedure::FREMOVEXATTR, &remove));
            let zeros = Xdata::new(Dict::from_iter([(c"trusted.afr.dirty", Value::Bin(vec![0; 12]))]));
            let op = fops::FxattropReq { gfid, fd, flags: 0, dict: zeros, xdata: xdata.clone() };
            say("fxattrop", &peer.fop(procedure::FXATTROP, &op));
            say(
                "fsync",
                &peer.fop(procedure::FSYNC, &fops::FsyncReq { gfid, fd, data: 0, xdata: xdata.clone() }),
            );
            let range = Flock { len: 5, ..Flock::default() };
            say(
                "lk",
                &peer.fop(
                    procedure::LK,
                    &fops::LkReq { gfid, fd, cmd: 1, kind: 1, flock: range, xdata: xdata.clone() },
                ),
            );
            let whole = Flock::default();
            let lock = fops::FinodelkReq {
                gfid,
                fd,
                cmd: 1,
                kind: 1,
                flock: whole,
                volume: b"d",
                xdata: xdata.clone(),
            };
            say("finodelk", &peer.fop(procedure::FINODELK, &lock));
            let sum = fops::RchecksumReq { gfid, fd, offset: 0, len: 9, flags: 0, xdata: xdata.clone() };
            say("rchecksum", &peer.fop(procedure::RCHECKSUM, &sum));
            say("flush", &peer.fop(procedure::FLUSH, &fops::FlushReq { gfid, fd, xdata }));
        }
        // By gfid.
        let mut say = |what: &str, answer: &Answer| {
            let (ret, errno) = answer.outcome();
            // Gone is ESTALE here, and ENOENT there as long as the stock brick remembers the object.
            let gone = ret < 0 && [2, 61, 116].contains(&errno);
            said.push((what.to_owned(), ret.min(0), if ret < 0 && !gone { errno } else { 0 }, String::new()));
        };
        let (gfid, xdata) = (FILE, Xdata::NONE);
        let nameless = |xdata| fops::LookupReq { gfid, pargfid: Gfid::NULL, flags: 0, bname: b"", xdata };
        say("lookup", &peer.fop(procedure::LOOKUP, &nameless(Xdata::NONE)));
        let unlinked = Xdata::new(Dict::from_iter([(c"unlinked-lookup", Value::Int(1))]));
        say("lookup of what is unlinked", &peer.fop(procedure::LOOKUP, &nameless(unlinked)));
        say("stat", &peer.fop(procedure::STAT, &fops::StatReq { gfid, xdata: xdata.clone() }));
        say("open", &peer.fop(procedure::OPEN, &fops::OpenReq { gfid, flags: 2, xdata: xdata.clone() }));
        say(
            "truncate",
            &peer.fop(procedure::TRUNCATE, &fops::TruncateReq { gfid, offset: 0, xdata: xdata.clone() }),
        );
        let set = fops::SetattrReq {
            gfid,
            stbuf: Iatt { prot: 0o600, ..Iatt::default() },
            valid: 1,
            xdata: xdata.clone(),
        };
        say("setattr", &peer.fop(procedure::SETATTR, &set));
        let get = fops::GetxattrReq { gfid, namelen: 6, name: b"user.a", xdata: xdata.clone() };
        say("getxattr", &peer.fop(procedure::GETXATTR, &get));
        let link =
            fops::LinkReq { oldgfid: gfid, newgfid: Gfid::ROOT, newbname: b"again", xdata: xdata.clone() };
        say("link", &peer.fop(procedure::LINK, &link));
        // Once it is closed there is nothing.
        say("release", &peer.fop(procedure::RELEASE, &fops::ReleaseReq { gfid, fd, xdata: xdata.clone() }));
        let read = fops::ReadReq { gfid, fd: -2, offset: 0, size: 9, flag: 0, xdata: Xdata::NONE };
        say("read after the end", &peer.fop(procedure::READ, &read));
        said
    });
}

#[test]
fn addresses_hosts_and_directories_in_the_rules() {
    let login = " option auth.login.brick.allow ann\n option auth.login.ann.password secret\n";
    let allow = |what: &str| format!(" option auth.addr.brick.allow {what}\n");
    let reject = |what: &str| format!(" option auth.addr.brick.reject {what}\n");
    for rules in [
        allow("localhost"),
        allow("no-such-host.invalid,127.0.0.1"),
        allow("no-such-host.invalid"),
        allow("127.0.*"),
        allow("127.0.0.0/8"),
        allow("10.*") + login,
        allow("*") + &reject("localhost"),
        reject("10.*") + login,
        allow("/(10.*),/sub(localhost|10.1.1.1)"),
        allow("/sub(*),/(10.*)"),
        allow("/sub/below(*),/(*)"),
    ] {
        println!("{rules}");
        ask_both_with("", &rules, |port| {
            let mut said = Said::new();
            let mut try_with = |what: &[(&str, &str)]| {
                let keys = [&[("remote-subvolume", "brick")], what].concat();
                let (ret, errno) = Peer::new(port).set_volume(&keys).outcome();
                said.push((format!("{what:?}"), ret, if ret < 0 { errno } else { 0 }, String::new()));
            };
            try_with(&[]);
            try_with(&[("username", "ann"), ("password", "secret")]);
            try_with(&[("username", "ann"), ("password", "guess")]);
            // Whether there is the directory is looked at after the rules: refused ones have another error.
            try_with(&[("subdir-mount", "/sub")]);
            try_with(&[("subdir-mount", "/sub/below")]);
            said
        });
    }
}

#[test]
fn groups_are_looked_up_where_the_brick_is() {
    const GROUP: u32 = 54_321;
    for manage in ["off", "on"] {
        let options = format!("{EVERYBODY} option manage-gids {manage}\n option gid-timeout 2\n");
        let said = ask_both_with("", &options, |port| {
            let mut peer = Peer::bound(port, "brick");
            let root = fops::SetattrReq {
                gfid: Gfid::ROOT,
                stbuf: Iatt { prot: 0o755, ..Iatt::default() },
                valid: 1,
                xdata: Xdata::NONE,
            };
            assert_eq!(peer.fop(procedure::SETATTR, &root).outcome().0, 0);
            peer.user.1 = GROUP;
            let create = fops::CreateReq {
                pargfid: Gfid::ROOT,
                flags: 0o2,
                mode: 0o640,
                umask: 0,
                bname: NAME,
                xdata: wants(FILE),
            };
            assert_eq!(peer.fop(procedure::CREATE, &create).outcome().0, 0);
            let mut said = Said::new();
            // Nobody of these is in the group by what the system knows: a credential's own group counts all the same.
            for user in [(1, 1, vec![]), (1, 1, vec![GROUP]), (1, GROUP, vec![]), (3_999_999, 1, vec![GROUP])]
            {
                peer.user = user.clone();
                for _ in 0..2 {
                    let open = fops::OpenReq { gfid: FILE, flags: 0, xdata: Xdata::NONE };
                    let (ret, errno) = peer.fop(procedure::OPEN, &open).outcome();
                    said.push((format!("{user:?}"), ret, if ret < 0 { errno } else { 0 }, String::new()));
                }
            }
            said
        });
        assert_eq!(said[2].1 == 0, manage == "off");
    }
}

#[test]
fn files_that_only_holders_of_locks_may_use() {
    const MARK: &[u8] = b"trusted.glusterfs.enforce-mandatory-lock";
    for (mode, enforce) in [("off", "on"), ("forced", "off"), ("forced", "on"), ("optimal", "on")] {
        let options = format!(" option mandatory-locking {mode}\n option enforce-mandatory-lock {enforce}\n");
        ask_both_with(&options, EVERYBODY, |port| {
            let [mut peer, mut other] = [Peer::bound(port, "brick"), Peer::new(port)];
            let other_name = [("remote-subvolume", "brick"), ("process-uuid", "another-test")];
            assert_eq!(other.set_volume(&other_name).outcome().0, 0);
            let create = fops::CreateReq {
                pargfid: Gfid::ROOT,
                flags: 0o2,
                mode: 0o644,
                umask: 0,
                bname: NAME,
                xdata: wants(FILE),
            };
            let answer = peer.fop(procedure::CREATE, &create);
            assert_eq!(answer.outcome().0, 0);
            let fd = answer.body::<fops::CreateRsp>().fd.cast_signed();
            let theirs =
                other.fop(procedure::OPEN, &fops::OpenReq { gfid: FILE, flags: 2, xdata: Xdata::NONE });
            let theirs = theirs.body::<fops::OpenRsp>().fd;
            let mut said = Said::new();
            let mut say = |what: &str, answer: &Answer| {
                let (ret, errno) = answer.outcome();
                said.push((what.to_owned(), ret, if ret < 0 { errno } else { 0 }, String::new()));
            };
            let (gfid, xdata) = (FILE, Xdata::NONE);
            let write =
                |fd, offset| fops::WriteReq { gfid, fd, offset, size: 5, flag: 2, xdata: Xdata::NONE };
            let read = |fd| fops::ReadReq { gfid, fd, offset: 0, size: 5, flag: 0, xdata: Xdata::NONE };
            let lk = |fd, kind, len| fops::LkReq {
                gfid,
                fd,
                cmd: 1,
                kind,
                flock: Flock { len, ..Flock::default() },
                xdata: Xdata::NONE,
            };
            let mark = Xdata::new(Dict::from_iter([(
                c"trusted.glusterfs.enforce-mandatory-lock",
                Value::Str("set".into()),
            )]));
            say("write before", &peer.write(&write(fd, 0), b"hello"));
            let request = fops::FsetxattrReq { gfid, fd, flags: 0, dict: mark, xdata: xdata.clone() };
            say("mark", &peer.fop(procedure::FSETXATTR, &request));
            say("write without a lock", &peer.write(&write(fd, 0), b"hello"));
            say("read without a lock", &peer.fop(procedure::READ, &read(fd)));
            say("lock", &peer.fop(procedure::LK, &lk(fd, 1, 100)));
            say("write with it", &peer.write(&write(fd, 0), b"hello"));
            say("write partly outside", &peer.write(&write(fd, 98), b"hello"));
            say("read with it", &peer.fop(procedure::READ, &read(fd)));
            let cut = fops::FtruncateReq { gfid, fd, offset: 3, xdata: xdata.clone() };
            say("truncate", &peer.fop(procedure::FTRUNCATE, &cut));
            say(
                "another's write",
                &other.write(&fops::WriteReq { flag: 0o4002, ..write(theirs, 200) }, b"hello"),
            );
            say("another's lock", &other.fop(procedure::LK, &lk(theirs, 1, 50)));
            if said_last_is_granted(&other.fop(procedure::LK, &lk(theirs, 1, 50))) {
                say("another's write", &other.write(&write(theirs, 0), b"hello"));
                say("the first one's write", &peer.write(&write(fd, 0), b"hello"));
                say("the first one's write behind", &peer.write(&write(fd, 60), b"hello"));
            }
            let unmark = fops::FremovexattrReq { gfid, fd, name: MARK, xdata };
            say("remove the mark", &peer.fop(procedure::FREMOVEXATTR, &unmark));
            say("unlock", &other.fop(procedure::LK, &lk(theirs, 2, 0)));
            say("unlock", &peer.fop(procedure::LK, &lk(fd, 2, 0)));
            say("write afterwards", &peer.write(&write(fd, 0), b"hello"));
            said
        });
    }
}

fn said_last_is_granted(answer: &Answer) -> bool {
    answer.outcome().0 == 0
}
