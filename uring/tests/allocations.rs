//! The steady state allocates nothing: counted by the allocator itself.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use common::{alone, open};
use kiln_uring::net::{Address, ConnectOptions, ListenOptions, Part};
use kiln_uring::{Class, DataMode, OpenFlags, Warmth};

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local number only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn operations_in_the_steady_state_allocate_nothing() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().join("f");
    alone(|core| async move {
        let file = open(core.sys(), &path, OpenFlags::RDWR | OpenFlags::CREAT);
        let fd = file.fd();
        let round = async || {
            let mut buf = core.buffer(4096);
            buf.fill(3);
            let (written, buf) = core.write(&file, buf, 0, DataMode::Buffered).await;
            assert_eq!(written, Ok(4096));
            let (read, buf) = core.read(&file, buf, 0, DataMode::Buffered).await;
            assert_eq!(read, Ok(4096));
            let (read, _) = core.read(&file, buf, 0, DataMode::Direct).await;
            assert_eq!(read, Ok(4096));
            core.fsync(&file, true).await.unwrap();
            core.run(Class::MetadataRead, Warmth::Warm, move |sys| sys.stat(fd)).await.unwrap();
            core.yield_now().await;
            core.sleep(Duration::from_micros(50)).await;
            let quick = core.timeout(Duration::from_secs(5), core.yield_now()).await;
            assert!(quick.is_ok());
            // Mostly dropped in flight.
            let _ = core.timeout(Duration::from_micros(1), core.fsync(&file, false)).await;
        };
        for _ in 0..100 {
            round().await;
        }
        let before = COUNT.get();
        for _ in 0..200 {
            round().await;
        }
        assert_eq!(COUNT.get() - before, 0, "allocations in 200 rounds");
    });
}

#[test]
fn connections_in_the_steady_state_allocate_nothing() {
    alone(|core| async move {
        let any = Address::Ip("127.0.0.1:0".parse().unwrap());
        let mut listener = core.listen(&any, &ListenOptions::default()).unwrap();
        let there = listener.local_address().unwrap();
        let mut client = core.connect(&there, &ConnectOptions::default()).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        let mut parts: Vec<Part> = Vec::new();
        let mut round = async || {
            // A small record through a buffer of the ring, and a large one into its place.
            for len in [200, 100_000] {
                parts.push(Part::Static(b"head"));
                parts.push(core.buffer(len).into());
                let sent;
                (sent, parts) = client.send(std::mem::take(&mut parts)).await;
                assert_eq!(sent, Ok(4 + len));
                parts.clear();
                if len < 1000 {
                    let mut got = 0;
                    while got < 4 + len {
                        got += server.recv().await.unwrap().len();
                    }
                } else {
                    let (n, _) = server.recv_exact_into(core.buffer(4 + len)).await;
                    assert_eq!(n, Ok(4 + len));
                }
            }
            // Mostly dropped in flight.
            assert!(core.timeout(Duration::from_micros(1), server.recv()).await.is_err());
        };
        for _ in 0..100 {
            round().await;
        }
        let before = COUNT.get();
        for _ in 0..200 {
            round().await;
        }
        assert_eq!(COUNT.get() - before, 0, "allocations in 200 rounds");
    });
}
