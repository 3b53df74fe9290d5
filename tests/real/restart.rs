//! An application on a stock mount while the process of the brick is replaced below it.
//!
//! A stock client answers `ENOTCONN` while it has no connection, whoever the brick is; it comes back by itself and opens
//! again what was open. So the application here is one that tries again, with the descriptors it has: it must see nothing
//! but a pause made of `ENOTCONN`, and whatever was acknowledged and synced must be there in the end.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::{KilnServer, Scratch, StockClient, StockServer, free_port, kiln, run, wait_for};

/// Bytes of one write.
const BLOCK: usize = 4096;
/// Files that are kept open.
const FILES: usize = 3;
/// `ENOTCONN`
const NOT_CONNECTED: i32 = 107;
/// The longest pause: a client looks for its brick every 3 s.
const PAUSE: Duration = Duration::from_secs(15);

/// Keeps files open and writes block after block to each of them, synced.
struct Application {
    done: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: JoinHandle<Seen>,
}

/// What it has seen.
#[derive(Default)]
struct Seen {
    errors: BTreeSet<i32>,
    longest: Duration,
}

/// What a block holds.
fn block(file: usize, number: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (index, word) in block.chunks_exact_mut(8).enumerate() {
        word.copy_from_slice(&((number + 1) << 24 | (file as u64) << 16 | index as u64).to_le_bytes());
    }
    block
}

impl Application {
    fn start(mnt: &Path) -> Self {
        let open = |index| {
            let path = mnt.join(format!("file-{index}"));
            OpenOptions::new().read(true).write(true).create_new(true).open(path).unwrap()
        };
        let files: Vec<_> = (0..FILES).map(open).collect();
        let (done, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (done, written) = (Arc::clone(&done), Arc::clone(&written));
            thread::spawn(move || {
                let mut seen = Seen::default();
                let mut number = 0;
                while !done.load(Ordering::Relaxed) {
                    for (index, file) in files.iter().enumerate() {
                        let (began, block, at) =
                            (Instant::now(), block(index, number), number * BLOCK as u64);
                        while let Err(error) = file.write_all_at(&block, at).and_then(|()| file.sync_data()) {
                            seen.errors.insert(error.raw_os_error().unwrap_or(0));
                            assert!(began.elapsed() < 4 * PAUSE, "{error} for {:?}", began.elapsed());
                            thread::sleep(Duration::from_millis(20));
                        }
                        seen.longest = seen.longest.max(began.elapsed());
                    }
                    number += 1;
                    written.store(number, Ordering::Relaxed);
                }
                seen
            })
        };
        Self { done, written, thread }
    }

    /// Waits until it has written some more.
    fn goes_on(&self) {
        let from = self.written.load(Ordering::Relaxed);
        wait_for("the application to go on", Duration::from_secs(60), || {
            self.thread.is_finished() || self.written.load(Ordering::Relaxed) > from + 20
        });
        assert!(!self.thread.is_finished(), "the application has failed");
    }

    /// Ends it and insists on every block, in the directory of the brick too.
    fn ends(self, mnt: &Path, brick: &Path) {
        self.done.store(true, Ordering::Relaxed);
        let seen = self.thread.join().expect("the application has failed");
        let written = self.written.load(Ordering::Relaxed);
        println!("{written} blocks each, the longest write took {:?}", seen.longest);
        assert!(seen.errors.iter().all(|errno| *errno == NOT_CONNECTED), "{:?}", seen.errors);
        assert!(seen.longest < PAUSE, "{:?}", seen.longest);
        for (dir, index) in [mnt, brick].into_iter().flat_map(|dir| (0..FILES).map(move |index| (dir, index)))
        {
            let content = fs::read(dir.join(format!("file-{index}"))).unwrap();
            assert!(content.len() >= written as usize * BLOCK);
            for (number, found) in content.chunks_exact(BLOCK).enumerate().take(written as usize) {
                assert!(found == block(index, number as u64), "block {number} of file {index} is lost");
            }
        }
    }
}

#[test]
fn an_application_writes_on_while_kiln_is_stopped_and_started() {
    let scratch = Scratch::new();
    let (brick, port) = (scratch.brick(), free_port());
    let start = || KilnServer::at(&scratch, port, |command| _ = command.arg("--brick").arg(&brick));
    let mut server = start();
    let client = StockClient::of_brick(&scratch, "client", &brick, port);
    let application = Application::start(client.mnt());
    for away in [0, 300, 2000] {
        application.goes_on();
        server.stop();
        thread::sleep(Duration::from_millis(away));
        server = start();
    }
    application.goes_on();
    application.ends(client.mnt(), &brick);
    drop(client);
    server.stop();
    run(kiln().arg("check").arg(&brick));
}

#[test]
fn an_application_writes_on_while_kiln_and_stock_take_turns() {
    let scratch = Scratch::new();
    let (brick, port) = (scratch.brick(), free_port());
    let start = || KilnServer::at(&scratch, port, |command| _ = command.arg("--brick").arg(&brick));
    let server = start();
    let client = StockClient::of_brick(&scratch, "client", &brick, port);
    let application = Application::start(client.mnt());
    application.goes_on();
    server.stop();
    let stock = StockServer::new(&scratch, &brick, port);
    application.goes_on();
    fs::write(client.mnt().join("by-stock"), "stock").unwrap();
    stock.stop();
    let server = start();
    application.goes_on();
    assert_eq!(fs::read(client.mnt().join("by-stock")).unwrap(), b"stock");
    application.ends(client.mnt(), &brick);
    drop(client);
    server.stop();
    run(kiln().arg("check").arg(&brick));
}
