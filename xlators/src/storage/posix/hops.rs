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
