//! Fops that meet: simulated cores in many orders, and real threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_uring::Errno;
use kiln_uring::sim::{MemFs, Sim};
use kiln_uring::sys::Sys;

use crate::error::FopResult;
use crate::fop::request;
use crate::storage::posix::check::check_path;
use crate::storage::posix::testkit::*;
use crate::types::Gfid;

const ROOT: Gfid = Gfid::ROOT;

fn assert_whole(fs: &Arc<MemFs>, when: &str) {
    let sys: Arc<dyn Sys> = fs.clone();
    let report = check_path(&sys, BRICK.as_ref(), false).unwrap();
    assert!(report.is_clean(), "{when}: {:#?}", report.findings);
    assert!(fs.is_consistent(), "{when}");
}

fn code<T>(result: FopResult<T>) -> Option<Errno> {
    result.err().map(|error| error.errno)
}

/// Two cores, the caches cold so that some jobs go to helpers and come back in any order.
fn two_cores(
    seed: u64,
    before: impl AsyncFn(Client),
    race: impl AsyncFn(Client) -> Option<Errno>,
) -> (Kit, Vec<Option<Errno>>) {
    let kit = Kit::new(seed);
    kit.run(async |client| before(client).await);
    kit.fs.as_ref().unwrap().drop_caches();
    let results = kit.run_cores(2, async |client| race(client).await);
    (kit, results)
}

fn finish(kit: Kit, when: &str) {
    let fs = Arc::clone(kit.fs.as_ref().unwrap());
    kit.stop();
    assert_whole(&fs, when);
}

#[test]
fn two_unlinks_of_two_names() {
    for seed in 0..30 {
        let before = async |client: Client| {
            client.mknod(mknod(ROOT, "0", gfid(1), libc::S_IFREG | 0o600, 0)).await.unwrap();
            client.link(link(gfid(1), ROOT, "1")).await.unwrap();
        };
        let race = async |client: Client| {
            let text = client.core().id().to_string();
            code(client.unlink(unlink(ROOT, &text)).await)
        };
        let (kit, results) = two_cores(seed, before, race);
        assert_eq!(results, [None, None], "seed {seed}");
        assert_eq!(kit.brick().handle_links(gfid(1)), 0, "seed {seed}");
        finish(kit, &format!("seed {seed}"));
    }
}

#[test]
fn rename_meets_unlink() {
    for seed in 0..30 {
        let before = async |client: Client| {
            client.mknod(mknod(ROOT, "f", gfid(1), libc::S_IFREG | 0o600, 0)).await.unwrap();
            client.mknod(mknod(ROOT, "g", gfid(2), libc::S_IFREG | 0o600, 0)).await.unwrap();
        };
        let race = async |client: Client| match client.core().id() {
            0 => code(client.rename(rename((ROOT, "f"), (ROOT, "g"))).await),
            _ => code(client.unlink(unlink(ROOT, "g")).await),
        };
        let (kit, results) = two_cores(seed, before, race);
        assert_eq!(results, [None, None], "seed {seed}");
        let links = [gfid(1), gfid(2)].map(|gfid| kit.brick().handle_links(gfid));
        assert!(links == [2, 0] || links == [0, 0], "seed {seed}: {links:?}");
        finish(kit, &format!("seed {seed}"));
    }
}

#[test]
fn two_creates_of_one_name() {
    for seed in 0..30 {
        let race = async |client: Client| {
            let id = gfid(client.core().id() as u8 + 1);
            code(client.create(create(ROOT, "f", id)).await)
        };
        let (kit, mut results) = two_cores(seed, async |_| {}, race);
        results.sort_unstable_by_key(Option::is_some);
        assert_eq!(results, [None, Some(Errno::EXIST)], "seed {seed}");
        let links = [gfid(1), gfid(2)].map(|gfid| kit.brick().handle_links(gfid));
        assert!(links == [2, 0] || links == [0, 2], "seed {seed}: {links:?}");
        finish(kit, &format!("seed {seed}"));
    }
}

/// One thread's fops: anything, on a few names that all threads share.
async fn trouble(client: Client, thread: u64, next: &AtomicU64) {
    let dirs = [ROOT, gfid(0xd1), gfid(0xd2)];
    let mut dice = thread.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut roll = |sides: u64| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        dice % sides
    };
    for _ in 0..150 {
        let mut spot = || (dirs[roll(3) as usize], format!("n{}", roll(4)));
        let ((a, an), (b, bn)) = (spot(), spot());
        let id = gfid_n(next.fetch_add(1, Ordering::Relaxed));
        let error = match roll(10) {
            0 | 1 => code(client.mknod(mknod(a, &an, id, libc::S_IFREG | 0o600, 0)).await),
            2 => code(client.symlink(symlink("x", a, &an, id)).await),
            3 => code(client.mkdir(mkdir(a, &an, id)).await),
            4 => match client.find_in(a, &an).await {
                Ok(found) => code(client.link(link(found, b, &bn)).await),
                Err(errno) => Some(errno),
            },
            5 => code(client.unlink(unlink(a, &an)).await),
            6 => code(client.rmdir(rmdir(a, &an)).await),
            7 => code(
                client
                    .rename(request::Rename { flags: libc::RENAME_EXCHANGE, ..rename((a, &an), (b, &bn)) })
                    .await,
            ),
            _ => code(client.rename(rename((a, &an), (b, &bn))).await),
        };
        let harmless = [
            Errno::EXIST,
            Errno::NOENT,
            Errno::ISDIR,
            Errno::NOTDIR,
            Errno::STALE,
            Errno::PERM,
            Errno::NOTEMPTY,
            Errno::INVAL,
            Errno::MLINK,
        ];
        assert!(error.is_none_or(|errno| harmless.contains(&errno)), "{error:?}");
    }
}

impl Client {
    async fn find_in(&self, parent: Gfid, text: &str) -> Result<Gfid, Errno> {
        let req = request::Lookup { loc: entry(parent, text), xdata: crate::types::Xdata::NONE };
        self.lookup(req).await.map(|found| found.iatt.gfid).map_err(|error| error.errno)
    }
}

#[test]
fn real_threads_at_once() {
    let kit = Kit::new(7);
    kit.run(async |client| {
        client.mkdir(mkdir(ROOT, "d1", gfid(0xd1))).await.unwrap();
        client.mkdir(mkdir(ROOT, "d2", gfid(0xd2))).await.unwrap();
    });
    let fs = Arc::clone(kit.fs.as_ref().unwrap());
    let next = AtomicU64::new(1);
    std::thread::scope(|scope| {
        for thread in 1..=4 {
            let (next, fs, blueprint) = (&next, &fs, kit.blueprint());
            scope.spawn(move || {
                let sim = Sim::with_fs(thread, Arc::clone(fs));
                sim.run(|core| {
                    let client = Client::new(blueprint, &core);
                    trouble(client, thread, next)
                });
            });
        }
    });
    finish(kit, "threads");
}
