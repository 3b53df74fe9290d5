//! Cores as a whole: start, tasks, timers, mailboxes, panics, shutdown.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::{LONG, adopt, alone, config, engine, on, start, try_on};
use kiln_uring::{
    Buf, Class, Closed, Core, DataMode, Elapsed, Engine, EngineConfig, Linux, Remote, SetupError, Warmth,
};

#[test]
fn timers_fire_in_order_and_not_early() {
    alone(|core| async move {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks: Vec<_> = [30_u64, 10, 20, 0]
            .into_iter()
            .map(|ms| {
                let (core, order) = (core.clone(), order.clone());
                core.clone().spawn_join(async move {
                    let begin = core.now();
                    core.sleep(Duration::from_millis(ms)).await;
                    assert!(core.now() - begin >= Duration::from_millis(ms));
                    order.borrow_mut().push(ms);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(*order.borrow(), [0, 10, 20, 30]);
    });
}

#[test]
fn a_timeout_leaves_a_finished_future_alone() {
    alone(|core| async move {
        assert_eq!(core.timeout(LONG, async { 7 }).await, Ok(7));
        let never = std::future::pending::<()>();
        assert_eq!(core.timeout(Duration::from_millis(2), never).await, Err(Elapsed));
    });
}

#[test]
fn a_job_on_a_helper_sleeps_without_holding_up_the_core() {
    alone(|core| async move {
        let ticks = Rc::new(Cell::new(0));
        let (ticker, count) = (core.clone(), ticks.clone());
        let ticking = core.spawn_join(async move {
            for _ in 0..10 {
                ticker.sleep(Duration::from_millis(2)).await;
                count.set(count.get() + 1);
            }
        });
        let here = std::thread::current().id();
        let there = core
            .run(Class::Background, Warmth::Cold, move |_| {
                std::thread::sleep(Duration::from_millis(60));
                std::thread::current().id()
            })
            .await;
        assert_ne!(here, there);
        assert!(ticks.get() >= 5, "only {} ticks while the helper slept", ticks.get());
        ticking.await;
        let inline = core.run(Class::FdMetadata, Warmth::Cold, |_| std::thread::current().id()).await;
        assert_eq!(inline, here);
    });
}

#[test]
fn a_panic_ends_its_task_and_nothing_else() {
    let engine = engine(1);
    assert_eq!(try_on(&engine, 0, |_| async { panic!("in a task (expected)") }), None::<()>);
    let in_helper = |core: Core| async move {
        core.run(Class::Background, Warmth::Cold, |_| -> u32 { panic!("in a helper (expected)") }).await
    };
    assert_eq!(try_on(&engine, 0, in_helper), None);
    assert_eq!(try_on(&engine, 0, in_helper), None, "the helper lives on, and so does its panic");
    let in_joined =
        |core: Core| async move { core.spawn_join(async { panic!("in a joined task (expected)") }).await };
    assert_eq!(try_on(&engine, 0, in_joined), None::<()>);
    engine.remotes()[0].post(|_| panic!("in a posted job (expected)")).unwrap();
    let answer =
        on(&engine, 0, |core| async move { core.run(Class::Background, Warmth::Cold, |_| 42).await });
    assert_eq!(answer, 42);
    assert!(engine.shutdown(LONG).unwrap().is_clean());
}

#[test]
fn two_sleeping_cores_wake_each_other() {
    async fn bounce(core: Core, left: u32) -> u32 {
        if left == 0 {
            return 0;
        }
        // So that both ends really sleep in their rings now and then.
        if left.is_multiple_of(64) {
            core.sleep(Duration::from_millis(1)).await;
        }
        let other: Remote = core.peers()[1 - core.id()].clone();
        let hop = move |core: Core| async move { Box::pin(bounce(core, left - 1)).await };
        1 + other.call(hop).await.unwrap()
    }
    let engine = engine(2);
    assert_eq!(on(&engine, 0, |core| bounce(core, 500)), 500);
    assert!(engine.shutdown(LONG).unwrap().is_clean());
}

#[test]
fn a_flood_between_cores_overflows_and_arrives_in_order() {
    const MESSAGES: usize = 5000;
    let engine = engine(2);
    let seen = Arc::new(AtomicUsize::new(0));
    let (done, finished) = mpsc::channel();
    let counter = seen.clone();
    on(&engine, 0, |core| async move {
        for i in 0..MESSAGES {
            let (seen, done) = (counter.clone(), done.clone());
            core.peers()[1]
                .post(move |core| {
                    assert_eq!(core.id(), 1);
                    assert_eq!(seen.fetch_add(1, Ordering::SeqCst), i, "in order");
                    if i + 1 == MESSAGES {
                        done.send(()).unwrap();
                    }
                })
                .unwrap();
        }
    });
    finished.recv_timeout(LONG).unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), MESSAGES);
    assert!(engine.shutdown(LONG).unwrap().is_clean());
}

#[test]
fn foreign_threads_post_more_than_a_queue_holds() {
    let engine = engine(1);
    let sum = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..4000 {
                    let sum = sum.clone();
                    engine.remotes()[0]
                        .post(move |_| {
                            sum.fetch_add(1, Ordering::SeqCst);
                        })
                        .unwrap();
                }
            });
        }
    });
    on(&engine, 0, |_| async {});
    assert_eq!(sum.load(Ordering::SeqCst), 12_000);
    engine.shutdown(LONG).unwrap();
}

#[test]
fn buffers_come_home_from_other_threads() {
    alone(|core| async move {
        // Four times the pool of the test configuration.
        for _ in 0..16 {
            let buf = core.buffer(1 << 20);
            assert!(buf.is_pooled(), "the pool is not exhausted");
            core.run(Class::Background, Warmth::Cold, move |_| drop(buf)).await;
        }
        let held: Vec<Buf> = (0..5).map(|_| core.buffer(1 << 20)).collect();
        assert_eq!(held.iter().filter(|buf| buf.is_pooled()).count(), 4, "the heap helps out");
    });
}

#[test]
fn shutdown_lets_work_finish() {
    let engine = engine(2);
    let (done, finished) = mpsc::channel();
    on(&engine, 0, |core| async move {
        let worker = core.clone();
        core.spawn(async move {
            worker.shutdown_requested().await;
            assert!(worker.shutting_down());
            worker.sleep(Duration::from_millis(20)).await;
            // The other core still serves.
            let answer = worker.peers()[1].call(|core| async move { core.id() }).await;
            done.send(answer).unwrap();
        });
    });
    let drained = engine.shutdown(LONG).unwrap();
    assert!(drained.is_clean(), "{drained:?}");
    assert_eq!(finished.recv().unwrap(), Ok(1));
}

#[test]
fn shutdown_cuts_off_what_does_not_end() {
    let (reader, writer) = std::io::pipe().unwrap();
    let engine = engine(1);
    on(&engine, 0, |core| async move {
        let pipe = adopt(core.sys(), reader);
        for _ in 0..3 {
            let (core, pipe) = (core.clone(), pipe.clone());
            core.clone().spawn(async move {
                let _ = core.read(&pipe, core.buffer(64), 0, DataMode::Direct).await;
            });
        }
        core.spawn(std::future::pending());
    });
    let begin = Instant::now();
    let remote = engine.remotes()[0].clone();
    let drained = engine.shutdown(Duration::from_millis(50)).unwrap();
    assert_eq!((drained.cut_tasks, drained.cut_operations), (4, 3));
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(remote.post(|_| {}), Err(Closed));
    drop(writer);
}

#[test]
fn a_failed_start_reports_the_first_error_and_stops_the_rest() {
    let running = Arc::new(AtomicUsize::new(0));
    let count = running.clone();
    let result = Engine::start(config(2), Linux::new(), move |core| {
        let count = count.clone();
        async move {
            if core.id() == 1 {
                return Err("the brick is in use");
            }
            count.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let error = result.unwrap_err();
    assert!(matches!(error, SetupError::Init { core: 1, .. }), "{error:?}");
    assert_eq!(error.to_string(), "the brick is in use");
    let result = Engine::start(config(1), Linux::new(), |_| async {
        if true {
            panic!("during the start (expected)");
        }
        Ok::<(), std::io::Error>(())
    });
    assert!(matches!(result, Err(SetupError::InitPanicked { core: 0 })));
}

#[test]
fn an_impossible_ring_is_refused_with_a_message() {
    let huge = EngineConfig { registered_buffers: 2 << 30, ..config(1) };
    let result = Engine::start(huge, Linux::new(), |_| async { Ok::<(), std::io::Error>(()) });
    let text = result.unwrap_err().to_string();
    assert!(text.contains("at most 1 GiB of buffers per core"), "{text}");
}

#[test]
fn spinning_cores_answer_too() {
    let spinning = EngineConfig { spin: Duration::from_micros(30), ..config(2) };
    let engine = start(spinning, Linux::new());
    let hops = on(&engine, 0, |core| async move {
        let mut hops = 0;
        for _ in 0..200 {
            hops += core.peers()[1].call(|core| async move { core.id() }).await.unwrap();
        }
        core.sleep(Duration::from_millis(3)).await;
        hops
    });
    assert_eq!(hops, 200);
    assert!(engine.shutdown(LONG).unwrap().is_clean());
}

#[test]
fn a_core_with_a_busy_task_still_serves_the_others() {
    alone(|core| async move {
        let stop = Rc::new(Cell::new(false));
        let (busy, flag) = (core.clone(), stop.clone());
        let spinning = core.spawn_join(async move {
            let mut turns = 0_u64;
            while !flag.get() {
                turns += 1;
                busy.yield_now().await;
            }
            turns
        });
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let file = common::open(
            core.sys(),
            &dir.path().join("f"),
            kiln_uring::OpenFlags::RDWR | kiln_uring::OpenFlags::CREAT,
        );
        for _ in 0..5 {
            core.write(&file, Buf::from_slice(&[1; 512]), 0, DataMode::Direct).await.0.unwrap();
            core.fsync(&file, false).await.unwrap();
            core.sleep(Duration::from_millis(1)).await;
            core.run(Class::Background, Warmth::Cold, |_| ()).await;
        }
        stop.set(true);
        assert!(spinning.await > 0);
    });
}

#[test]
fn work_that_waits_for_the_end_of_others_is_not_put_off_for_ever() {
    alone(|core| async move {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let (last, seen) = (core.clone(), order.clone());
        let settled = core.spawn_join(async move {
            last.settled().await;
            seen.borrow_mut().push("settled");
        });
        for _ in 0..3 {
            core.yield_now().await;
            order.borrow_mut().push("other");
        }
        settled.await;
        assert_eq!(*order.borrow(), ["other", "other", "other", "settled"]);
        // Somebody always has something to do.
        let (done, others) = (Rc::new(Cell::new(false)), core.clone());
        let flag = done.clone();
        core.spawn(async move {
            others.settled().await;
            flag.set(true);
        });
        while !done.get() {
            core.yield_now().await;
        }
    });
}

#[test]
fn an_engine_runs_on_a_kernel_in_memory_too() {
    let engine = start(config(2), kiln_uring::sim::MemFs::new());
    for core in [0, 1] {
        on(&engine, core, |core| async move {
            let flags = kiln_uring::OpenFlags::RDWR | kiln_uring::OpenFlags::CREAT;
            let how = kiln_uring::How::new(flags).mode(0o600);
            let fd = core.sys().openat2(libc::AT_FDCWD, c"/f", how).unwrap();
            let file = Arc::new(kiln_uring::File::new(core.sys().clone(), fd));
            for mode in [DataMode::Buffered, DataMode::Direct] {
                assert_eq!(core.write(&file, Buf::from_slice(b"in memory"), 0, mode).await.0, Ok(9));
                core.fsync(&file, false).await.unwrap();
                let (n, buf) = core.read(&file, core.buffer(20), 3, mode).await;
                assert_eq!(&buf[..n.unwrap()], b"memory");
            }
            assert_eq!(core.stat(&file).await.unwrap().size, 9);
        });
    }
    assert!(engine.shutdown(LONG).unwrap().is_clean());
}

#[test]
fn an_open_that_nobody_waits_for_is_closed_again() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = dir.path().to_owned();
    alone(|core| async move {
        let marker = path.join("opened-by-the-drop-test");
        let dir = common::open(core.sys(), &path, kiln_uring::OpenFlags::DIRECTORY);
        let flags = kiln_uring::OpenFlags::RDWR | kiln_uring::OpenFlags::CREAT;
        for _ in 0..100 {
            let how = kiln_uring::How::new(flags).mode(0o600);
            let open = core.openat2(&dir, c"opened-by-the-drop-test".into(), how);
            // Polled once, then dropped.
            let _ = core.timeout(Duration::ZERO, open).await;
        }
        while Arc::strong_count(&dir) > 1 {
            core.sleep(Duration::from_millis(1)).await;
        }
        let left = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let left = left.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == marker)).count();
        assert_eq!(left, 0);
    });
}
