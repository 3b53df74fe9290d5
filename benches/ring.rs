//! What the engine costs by itself, on a real ring: a task that is spawned, woken, or waits for an operation, and what goes from
//! core to core.
//!
//! The operation is a read of `/dev/null` past the page cache: it goes through the ring and the kernel does next to nothing
//! for it. One at a time each has a system call of its own, 32 at a time share one. Between cores, a job that is posted while
//! the other core sleeps rings its bell (MSG_RING); one hundred posted at once ring once.

use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_uring::{Buf, Core, DataMode, Engine, EngineConfig, File, How, Linux, OpenFlags, Sys};

/// Runs a future on core 0 and waits for the time that it tells.
fn on<F: Future<Output = Duration> + 'static>(
    engine: &Engine,
    job: impl FnOnce(Core) -> F + Send + 'static,
) -> Duration {
    let (sender, told) = mpsc::channel();
    let core = engine.remotes().first().expect("a core");
    let posted = core.post(move |core| {
        let future = job(core.clone());
        core.spawn(async move {
            // The other end waits for it.
            let _ = sender.send(future.await);
        });
    });
    posted.expect("the core runs");
    told.recv().expect("the task ends")
}

fn null(sys: &Arc<dyn Sys>) -> Arc<File> {
    let how = How::new(OpenFlags::RDWR);
    let fd = sys.openat2(rustix::fs::CWD.as_raw_fd(), c"/dev/null", how).expect("/dev/null opens");
    Arc::new(File::new(Arc::clone(sys), fd))
}

async fn operations(core: Core, at_once: usize, n: u64) -> Duration {
    let file = null(core.sys());
    let start = Instant::now();
    let workers = (0..at_once as u64).map(|worker| {
        let (core, file) = (core.clone(), Arc::clone(&file));
        let mine = n / at_once as u64 + u64::from(worker < n % at_once as u64);
        let of = core.clone();
        of.spawn_join(async move {
            let mut buf = core.buffer(4096);
            for _ in 0..mine {
                let (read, back) = core.read(&file, buf, 0, DataMode::Direct).await;
                assert_eq!(read, Ok(0));
                buf = back;
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    for worker in workers {
        worker.await;
    }
    start.elapsed()
}

fn ring(c: &mut Criterion) {
    let sys: Arc<dyn Sys> = Linux::new();
    let config = EngineConfig { cores: 2, ..EngineConfig::default() };
    let engine =
        Engine::start(config, sys, |_| async { Ok::<(), std::io::Error>(()) }).expect("an engine starts");
    let mut group = c.benchmark_group("ring");
    for at_once in [1, 32] {
        group.bench_function(format!("operation, {at_once} at a time"), |b| {
            b.iter_custom(|n| on(&engine, move |core| operations(core, at_once, n)));
        });
    }
    group.bench_function("spawn and join", |b| {
        b.iter_custom(|n| {
            on(&engine, move |core| async move {
                let start = Instant::now();
                for number in 0..n {
                    assert_eq!(core.spawn_join(async move { number }).await, number);
                }
                start.elapsed()
            })
        });
    });
    group.bench_function("wake", |b| {
        b.iter_custom(|n| {
            on(&engine, move |core| async move {
                let start = Instant::now();
                for _ in 0..n {
                    core.yield_now().await;
                }
                start.elapsed()
            })
        });
    });
    for batch in [1, 100] {
        group.bench_function(format!("to another core and back, {batch} at a time"), |b| {
            b.iter_custom(|n| {
                on(&engine, move |core| async move {
                    let start = Instant::now();
                    let mut left = n;
                    while left > 0 {
                        let now = left.min(batch);
                        let calls: Vec<_> = (0..now)
                            .map(|number| {
                                let other = core.peers()[1].clone();
                                core.spawn_join(
                                    async move { other.call(move |_| async move { number }).await },
                                )
                            })
                            .collect();
                        for (number, call) in (0..).zip(calls) {
                            assert_eq!(call.await.ok(), Some(number));
                        }
                        left -= now;
                    }
                    start.elapsed()
                })
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("buffers");
    for (name, len) in [("4 KiB", 4096), ("128 KiB", 128 << 10), ("1 MiB", 1 << 20)] {
        group.bench_function(format!("take and give back, {name}"), |b| {
            b.iter_custom(|n| {
                on(&engine, move |core| async move {
                    let start = Instant::now();
                    for _ in 0..n {
                        std::hint::black_box(core.buffer(len));
                    }
                    start.elapsed()
                })
            });
        });
    }
    group.bench_function("from the heap, 4 KiB", |b| b.iter(|| std::hint::black_box(Buf::heap(4096))));
    group.finish();
    engine.shutdown(Duration::from_secs(5)).expect("the cores end");
}

criterion_group!(benches, ring);
criterion_main!(benches);
