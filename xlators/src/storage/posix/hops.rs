//! Tests of what leaves the core: on the simulated machine only a helper thread or the ring takes time.

use kiln_uring::sim::MemFs;
use kiln_uring::{Buf, Errno, Linux, Sys};

use super::testkit::{Client, Kit, create, entry, gfid_n, mkdir, unlink};
use crate::fop::request;
use crate::types::{Gfid, Loc, Xdata};

async fn look(client: &Client, name: &str) -> Result<Gfid, Errno> {
    let loc = entry(Gfid::ROOT, name);
    let found = client.lookup(request::Lookup { loc, xdata: Xdata::NONE }).await;
    found.map(|reply| reply.iatt.gfid).map_err(|error| error.errno)
}

/// A round of everyday fops in directory `dir`.
async fn round(client: &Client, dir: Gfid, number: u64) {
    let name = format!("new{number}");
    let gone = client.lookup(request::Lookup { loc: entry(dir, &name), xdata: Xdata::NONE }).await;
    assert_eq!(gone.unwrap_err().errno, Errno::NOENT);
    let request = create(dir, &name, gfid_n(number));
    let fd = request.fd.clone();
    let gfid = client.create(request).await.unwrap().iatt.gfid;
    let data = Buf::from_slice(&[7; 4096]);
    let write = request::Writev { fd: fd.clone(), data, offset: 0, flags: 0, xdata: Xdata::NONE };
    assert_eq!(client.writev(write).await.unwrap().count, 4096);
    let read = request::Readv { fd: fd.clone(), size: 4096, offset: 0, flags: 0, xdata: Xdata::NONE };
    assert_eq!(client.readv(read).await.unwrap().data.len(), 4096);
    client.lookup(request::Lookup { loc: entry(dir, &name), xdata: Xdata::NONE }).await.unwrap();
    client.stat(request::Stat { loc: Loc::object(gfid), xdata: Xdata::NONE }).await.unwrap();
    let key = Some(c"user.none".into());
    let asked = request::Getxattr { loc: Loc::object(gfid), name: key, xdata: Xdata::NONE };
    assert_eq!(client.getxattr(asked).await.unwrap_err().errno, Errno::NODATA);
    // Unlinked while open, and closed then.
    client.unlink(unlink(dir, &name)).await.unwrap();
    client.graph.release(&fd);
}

#[test]
fn on_tmpfs_nothing_leaves_the_core() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return };
    let Ok(kit) = Kit::try_on(1, Linux::new(), dir.path().to_str().unwrap(), &[]) else { return };
    if !kit.brick().in_memory {
        return;
    }
    kit.run(async |client| {
        let start = client.core().now();
        client.mkdir(mkdir(Gfid::ROOT, "d", gfid_n(1))).await.unwrap();
        for number in 2..6 {
            round(&client, gfid_n(1), number).await;
            round(&client, Gfid::ROOT, number + 10).await;
        }
        assert_eq!(client.core().now(), start);
    });
}

#[test]
fn one_quick_look_vouches_for_the_directory() {
    let fs = MemFs::with_seed(3);
    fs.mkdir_at(libc::AT_FDCWD, c"/brick", 0o755).unwrap();
    let kit = Kit::on_fs(3, &fs, &[]);
    kit.run(async |client| {
        for number in 1..4 {
            client.create(create(Gfid::ROOT, &number.to_string(), gfid_n(number))).await.unwrap();
        }
    });
    fs.drop_caches();
    kit.run(async |client| {
        let start = client.core().now();
        assert_eq!(look(&client, "1").await, Ok(gfid_n(1)));
        let seen = client.core().now();
        assert!(seen > start, "a cold name was looked at on the core");
        assert_eq!(look(&client, "2").await, Ok(gfid_n(2)));
        round(&client, Gfid::ROOT, 20).await;
        assert_eq!(client.core().now(), seen);
    });
}

/// The calls of `fop` in steady state: those that the simulated kernel counts, in alphabetical order.
async fn asked(fs: &MemFs, fop: impl AsyncFnOnce()) -> String {
    let count = || OPERATIONS.map(|operation| fs.calls(operation));
    let before = count();
    fop().await;
    let made = OPERATIONS.iter().zip(before.iter().zip(count()));
    let told = made.filter(|(_, (before, after))| *before < after);
    told.map(|(name, (before, after))| format!("{name} {}", after - before)).collect::<Vec<_>>().join(", ")
}

/// What everyday fops may need; see [`MemFs::calls`].
const OPERATIONS: [&str; 16] = [
    "chmod",
    "chown",
    "getxattr",
    "link_fd",
    "listxattr",
    "openat2",
    "pread",
    "pwrite",
    "read_dir",
    "rename_at",
    "removexattr",
    "seek",
    "setxattr",
    "stat",
    "stat_at",
    "unlink_at",
];

/// `docs/performance.md` shows this table and says why each call is needed.
#[test]
fn no_fop_asks_the_kernel_for_more_than_it_needs() {
    let fs = MemFs::with_seed(4);
    fs.mkdir_at(libc::AT_FDCWD, c"/brick", 0o755).unwrap();
    let kit = Kit::on_fs(4, &fs, &[]);
    // It leaves the directory for its handle.
    kit.run(async |client| round(&client, Gfid::ROOT, 2).await);
    kit.run(async |client| client.create(create(Gfid::ROOT, "seen", gfid_n(1))).await.map(drop).unwrap());
    fs.drop_caches();
    kit.run(async |client| {
        look(&client, "seen").await.unwrap();
        let request = create(Gfid::ROOT, "f", gfid_n(2));
        let fd = request.fd.clone();
        let made = asked(&fs, async || drop(client.create(request).await.unwrap())).await;
        assert_eq!(made, "link_fd 2, openat2 1, setxattr 2, stat 3");
        let request = request::Writev {
            fd: fd.clone(),
            data: Buf::from_slice(&[7; 4096]),
            offset: 0,
            flags: 0,
            xdata: Xdata::NONE,
        };
        let made = asked(&fs, async || drop(client.writev(request).await.unwrap())).await;
        assert_eq!(made, "getxattr 1, pwrite 1, stat 2");
        // The first look at its times was the last.
        let write = |client: Client| {
            let data = Buf::from_slice(&[7; 4096]);
            let request = request::Writev { fd: fd.clone(), data, offset: 0, flags: 0, xdata: Xdata::NONE };
            async move { drop(client.writev(request).await.unwrap()) }
        };
        let made = asked(&fs, async || write(client.clone()).await).await;
        assert_eq!(made, "pwrite 1, stat 2");
        let made = asked(&fs, async || write(client.at(2_000_000_000)).await).await;
        assert_eq!(made, "pwrite 1, setxattr 1, stat 2");
        let made = asked(&fs, async || write(client.at(2_000_000_001)).await).await;
        assert_eq!(made, "pwrite 1, setxattr 1, stat 2");
        let request = request::Readv { fd: fd.clone(), size: 4096, offset: 0, flags: 0, xdata: Xdata::NONE };
        let made = asked(&fs, async || drop(client.readv(request).await.unwrap())).await;
        assert_eq!(made, "pread 1, stat 1");
        let made = asked(&fs, async || _ = look(&client, "f").await.unwrap()).await;
        assert_eq!(made, "getxattr 1, stat 1, stat_at 1");
        let made = asked(&fs, async || _ = look(&client, "f").await.unwrap()).await;
        assert_eq!(made, "stat 1, stat_at 1", "the gfid is known");
        let request = request::Stat { loc: Loc::object(gfid_n(2)), xdata: Xdata::NONE };
        let made = asked(&fs, async || drop(client.stat(request).await.unwrap())).await;
        assert_eq!(made, "stat_at 1");
        let request = request::Getxattr {
            loc: Loc::object(gfid_n(2)),
            name: Some(c"user.none".into()),
            xdata: Xdata::NONE,
        };
        let made = asked(&fs, async || drop(client.getxattr(request).await)).await;
        assert_eq!(made, "getxattr 1, stat_at 1");
        let made = asked(&fs, async || client.graph.release(&fd)).await;
        assert_eq!(made, "");
        let made = asked(&fs, async || drop(client.unlink(unlink(Gfid::ROOT, "f")).await.unwrap())).await;
        assert_eq!(made, "getxattr 1, stat 2, stat_at 1, unlink_at 2");
        let made = asked(&fs, async || assert!(look(&client, "f").await.is_err())).await;
        assert_eq!(made, "stat 1, stat_at 1");
    });
}
