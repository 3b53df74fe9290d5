//! `kill -9` in the middle of everything: what was synced is there, and the brick is whole.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::{KilnMount, Scratch, kiln, run};

/// Files that were synced, with the byte they are full of.
type Synced = Arc<Mutex<Vec<(PathBuf, u8, usize)>>>;

/// Creates, writes, syncs, renames, links, unlinks until the mount dies under it.
fn load(dir: PathBuf, worker: u64, round: u64, stop: Arc<AtomicBool>, synced: Synced) {
    let mut step = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        step += 1;
        let name = format!("w{worker}-r{round}-{step}");
        let path = dir.join(&name);
        let fill = (step % 251) as u8;
        let len = 1 + (step as usize * 7919) % 20_000;
        let result = (|| -> std::io::Result<()> {
            let file = OpenOptions::new().create_new(true).write(true).open(&path)?;
            file.write_all_at(&vec![fill; len], 0)?;
            match step % 6 {
                0 => {
                    file.sync_all()?;
                    synced.lock().unwrap().push((name.clone().into(), fill, len));
                }
                1 => std::fs::remove_file(&path)?,
                2 => std::fs::rename(&path, dir.join(format!("{name}-moved")))?,
                3 => {
                    std::fs::hard_link(&path, dir.join(format!("{name}-link")))?;
                    std::fs::remove_file(&path)?;
                }
                4 => {
                    let sub = dir.join(format!("{name}-dir"));
                    std::fs::create_dir(&sub)?;
                    std::fs::rename(&path, sub.join("inside"))?;
                    std::fs::rename(&sub, dir.join(format!("{name}-dir-moved")))?;
                }
                _ => {
                    // Over another file, which disappears.
                    let victim = dir.join(format!("w{worker}-victim"));
                    std::fs::rename(&path, victim)?;
                    std::os::unix::fs::symlink(&name, dir.join(format!("{name}-symlink")))?;
                }
            }
            Ok(())
        })();
        if result.is_err() {
            // The mount is gone; anything else shows in the checks.
            return;
        }
    }
}

fn read_back(mnt: &Path, synced: &Synced) {
    for (name, fill, len) in synced.lock().unwrap().iter() {
        let bytes = std::fs::read(mnt.join(name))
            .unwrap_or_else(|error| panic!("{} was synced: {error}", name.display()));
        assert_eq!(bytes.len(), *len, "{}", name.display());
        assert!(bytes.iter().all(|byte| byte == fill), "{} has other bytes", name.display());
    }
}

#[test]
fn twenty_kills() {
    let scratch = Scratch::new();
    let (brick, mnt) = (scratch.brick(), scratch.mnt());
    let synced = Synced::default();
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        let start = Instant::now();
        let mount = KilnMount::new(&brick, &mnt);
        slowest = slowest.max(start.elapsed());
        read_back(&mnt, &synced);
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let (dir, stop, synced) = (mnt.clone(), Arc::clone(&stop), Arc::clone(&synced));
                std::thread::spawn(move || load(dir, worker, round, stop, synced))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300 + round * 37));
        mount.kill();
        stop.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        // A start finishes what was under way; only then is the brick whole.
        KilnMount::new(&brick, &mnt).stop();
        run(kiln().arg("check").arg(&brick));
    }
    let mount = KilnMount::new(&brick, &mnt);
    read_back(&mnt, &synced);
    mount.stop();
    let count = synced.lock().unwrap().len();
    assert!(count >= 20, "the load synced only {count} files");
    println!("{count} synced files survived 20 kills; slowest mount {slowest:?}");
    // The bound is a second; a debug build on a busy machine gets some grace.
    assert!(slowest < Duration::from_secs(3), "{slowest:?}");
}

#[test]
fn an_open_unlinked_file_is_gone_after_a_kill() {
    let scratch = Scratch::new();
    let (brick, mnt) = (scratch.brick(), scratch.mnt());
    let mount = KilnMount::new(&brick, &mnt);
    let mut file = File::create(mnt.join("file")).unwrap();
    file.write_all(b"still here").unwrap();
    std::fs::remove_file(mnt.join("file")).unwrap();
    let parked = || std::fs::read_dir(brick.join(".glusterfs/unlink")).unwrap().count();
    assert_eq!(parked(), 1);
    file.write_all_at(b"really", 0).unwrap();
    mount.kill();
    drop(file);
    KilnMount::new(&brick, &mnt).stop();
    assert_eq!(parked(), 0);
    run(kiln().arg("check").arg(&brick));
}
