//! The simulation: determinism, virtual time, faults, power cuts.
#![allow(missing_docs, clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::sim::{Call, MemFs, Sim};
use kiln_uring::{
    Buf, Class, Closed, Core, DataMode, Elapsed, Errno, File, How, OpenFlags, SysResult, Warmth,
};
use proptest::prelude::*;

fn open(core: &Core, name: &std::ffi::CStr) -> SysResult<Arc<File>> {
    let how = How::new(OpenFlags::RDWR | OpenFlags::CREAT).mode(0o600);
    let fd = core.sys().openat2(libc::AT_FDCWD, name, how)?;
    Ok(Arc::new(File::new(core.sys().clone(), fd)))
}

/// Several cores that write, sync, sleep, wait and talk; returns the order in which things happened.
fn busy_machine(sim: &Sim) -> Vec<String> {
    let log = Rc::new(RefCell::new(Vec::new()));
    sim.run_cores(3, |core| {
        let log = log.clone();
        async move {
            let file = open(&core, c"/shared").unwrap();
            let mut tasks = Vec::new();
            for i in 0..5_u64 {
                let (core, file, log) = (core.clone(), file.clone(), log.clone());
                tasks.push(core.clone().spawn_join(async move {
                    let buf = Buf::from_slice(&core.random_u64().to_le_bytes());
                    core.write(&file, buf, i * 8, DataMode::Direct).await.0.unwrap();
                    if core.random_u64() % 2 == 0 {
                        core.fsync(&file, true).await.unwrap();
                    }
                    core.sleep(Duration::from_micros(core.random_u64() % 500)).await;
                    let to = (core.id() + 1) % 3;
                    let from = core.id();
                    let answer = core.peers()[to].call(move |there| async move { (there.id(), from) }).await;
                    assert!(matches!(answer, Ok((there, _)) if there == to) || answer == Err(Closed));
                    let n = core.run(Class::Background, Warmth::Cold, move |_| i).await;
                    log.borrow_mut().push(format!("{}.{n} at {}", core.id(), core.now().as_nanos()));
                }));
            }
            for task in tasks {
                task.await;
            }
        }
    });
    log.take()
}

#[test]
fn one_seed_is_one_course_and_another_seed_another() {
    let mut courses = HashSet::new();
    for seed in 0..8 {
        let (one, two) = (Sim::new(seed), Sim::new(seed));
        let log = busy_machine(&one);
        assert_eq!(log, busy_machine(&two), "seed {seed}");
        assert_eq!(log.len(), 15);
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_eq!(one.now(), two.now());
        courses.insert(one.fingerprint());
    }
    assert_eq!(courses.len(), 8, "every seed takes its own course");
}

#[test]
fn time_is_virtual_and_everywhere_the_same() {
    let sim = Sim::new(1);
    let begin = std::time::Instant::now();
    sim.run(|core| async move {
        let (monotonic, wall) = (core.now(), core.realtime());
        core.sleep(Duration::from_secs(3600)).await;
        assert!(core.now() - monotonic >= Duration::from_secs(3600));
        assert!((3600..3602).contains(&(core.realtime().sec - wall.sec)));
        let never = std::future::pending::<()>();
        assert_eq!(core.timeout(Duration::from_secs(60), never).await, Err(Elapsed));
        let file = open(&core, c"/f").unwrap();
        let ctime = core.stat(&file).await.unwrap().ctime;
        assert!((0..2).contains(&(core.realtime().sec - ctime.sec)), "files carry the same time");
    });
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn completions_come_in_another_order_than_submissions() {
    let mut orders = HashSet::new();
    for seed in 0..10 {
        let order = Sim::new(seed).run(|core| async move {
            let file = open(&core, c"/f").unwrap();
            let order = Rc::new(RefCell::new(Vec::new()));
            let tasks: Vec<_> = (0..6)
                .map(|i| {
                    let (core, file, order) = (core.clone(), file.clone(), order.clone());
                    core.clone().spawn_join(async move {
                        core.fsync(&file, false).await.unwrap();
                        order.borrow_mut().push(i);
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            order.take()
        });
        orders.insert(order);
    }
    assert!(orders.len() > 5, "only {} different orders", orders.len());
}

#[test]
fn planned_faults_hit_the_call_that_was_named() {
    let sim = Sim::new(3);
    let kernel = sim.kernel().clone();
    sim.run(|core| async move {
        let file = open(&core, c"/f").unwrap();
        kernel.fail_nth(Call::Fsync, 2, Errno::IO);
        assert_eq!(core.fsync(&file, false).await, Ok(()));
        assert_eq!(core.fsync(&file, false).await, Err(Errno::IO));
        assert_eq!(core.fsync(&file, false).await, Ok(()));
        assert_eq!(kernel.calls(Call::Fsync), 3);
        kernel.fail_some(Call::Pwrite, 1000, Errno::NOSPC);
        let (written, buf) = core.write(&file, Buf::from_slice(b"x"), 0, DataMode::Buffered).await;
        assert_eq!((written, &*buf), (Err(Errno::NOSPC), &b"x"[..]));
        kernel.heal();
        assert_eq!(core.write(&file, buf, 0, DataMode::Buffered).await.0, Ok(1));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the kernel cuts short, misses or refuses, what comes back is what was written.
    #[test]
    fn data_survives_short_counts_and_cache_misses(
        seed in any::<u64>(),
        writes in prop::collection::vec((0_u64..5000, 1_usize..300_000, any::<u8>(), any::<bool>()), 1..6),
    ) {
        let sim = Sim::new(seed);
        sim.kernel().short_counts(300);
        sim.kernel().cache_misses(300);
        sim.run(|core| async move {
            let file = open(&core, c"/f").unwrap();
            let mut model: Vec<u8> = Vec::new();
            for (offset, len, fill, direct) in writes {
                let mut buf = core.buffer(len);
                buf.fill(fill);
                let mode = if direct { DataMode::Direct } else { DataMode::Buffered };
                let (written, _) = core.write(&file, buf, offset, mode).await;
                assert_eq!(written, Ok(len), "a short write is continued");
                model.resize(model.len().max(offset as usize + len), 0);
                model[offset as usize..][..len].fill(fill);
            }
            let mut read = Vec::new();
            while read.len() < model.len() {
                let buf = core.buffer(70_000);
                let (n, buf) = core.read(&file, buf, read.len() as u64, DataMode::Buffered).await;
                let n = n.unwrap();
                assert!(n > 0);
                read.extend_from_slice(&buf[..n]);
            }
            assert!(read == model);
        });
    }
}

#[test]
fn a_power_cut_stops_everything_where_it_stands() {
    let fs = MemFs::new();
    let sim = Sim::with_fs(5, fs.clone());
    let cut = sim.run_for(Duration::from_millis(5), |core| async move {
        let file = open(&core, c"/f").unwrap();
        core.write(&file, Buf::from_slice(b"kept"), 0, DataMode::Buffered).await.0.unwrap();
        core.fsync(&file, false).await.unwrap();
        let directory = core.sys().openat2(libc::AT_FDCWD, c"/", How::new(OpenFlags::DIRECTORY)).unwrap();
        core.fsync(&Arc::new(File::new(core.sys().clone(), directory)), false).await.unwrap();
        loop {
            core.write(&file, Buf::from_slice(b"lost"), 100, DataMode::Direct).await.0.unwrap();
        }
    });
    assert_eq!(cut, None::<()>);
    assert_eq!(fs.open_files(), 0, "what was open is closed");
    let after = Sim::with_fs(6, fs.crash(0));
    let before = sim.now();
    after.run(|core| async move {
        assert!(core.now() >= before, "time goes on");
        let file = open(&core, c"/f").unwrap();
        let (n, buf) = core.read(&file, core.buffer(4), 0, DataMode::Buffered).await;
        assert_eq!((n, &*buf), (Ok(4), &b"kept"[..]));
    });
}

#[test]
fn dropped_waits_free_what_they_held() {
    for seed in 0..20 {
        let fs = MemFs::new();
        let sim = Sim::with_fs(seed, fs.clone());
        let counted = fs.clone();
        sim.run(|core| async move {
            let how = How::new(OpenFlags::RDWR | OpenFlags::CREAT).mode(0o600);
            let fd = core.sys().openat2(libc::AT_FDCWD, c"/", How::new(OpenFlags::DIRECTORY)).unwrap();
            let root = Arc::new(File::new(core.sys().clone(), fd));
            for _ in 0..20 {
                let wait = Duration::from_micros(core.random_u64() % 150);
                let _ = core.timeout(wait, core.openat2(&root, c"f".into(), how)).await;
            }
            core.sleep(Duration::from_secs(1)).await;
            assert_eq!(counted.open_files(), 1, "an open that nobody waits for is closed again");
            assert_eq!(Arc::strong_count(&root), 1);
        });
    }
}

#[test]
#[should_panic(expected = "seed 9: deadlock")]
fn a_run_that_can_never_end_says_so() {
    Sim::new(9).run(|_| std::future::pending::<()>());
}

#[test]
#[should_panic(expected = "1 tasks panicked")]
fn a_panic_in_a_task_fails_the_run() {
    Sim::new(1).run(|core| async move {
        core.spawn(async { panic!("in a task (expected)") });
        core.sleep(Duration::from_millis(1)).await;
    });
}

#[test]
fn stopping_reaches_those_who_listen() {
    let sim = Sim::new(2);
    sim.run(|core| async move {
        let listener = core.clone();
        let task = core.spawn_join(async move { listener.shutdown_requested().await });
        // A listener that gives up leaves no trace.
        for _ in 0..10 {
            let _ = core.timeout(Duration::from_millis(1), core.shutdown_requested()).await;
        }
        assert!(!core.shutting_down() && !task.is_finished());
        core.request_shutdown();
        task.await;
        assert!(core.shutting_down());
    });
}

#[test]
fn an_aborted_task_runs_no_further() {
    let sim = Sim::new(4);
    sim.run(|core| async move {
        let flag = Rc::new(std::cell::Cell::new(false));
        let (sleeper, set) = (core.clone(), flag.clone());
        let task = core.spawn_join(async move {
            sleeper.sleep(Duration::from_millis(10)).await;
            set.set(true);
        });
        core.sleep(Duration::from_millis(1)).await;
        task.abort();
        core.sleep(Duration::from_millis(50)).await;
        assert!(!flag.get());
        assert_eq!(Rc::strong_count(&flag), 1, "what it held is dropped");
    });
}
