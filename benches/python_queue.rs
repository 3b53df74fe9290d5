//! The way to the Python thread and back without Python: what `features/glupy` builds on.
//!
//! A core pushes a wave of tasks into a bounded queue (`rtrb`) and wakes a thread; the thread takes what is there, pushes an
//! answer for each into another queue, and posts one job to the core for all of them; the job wakes who waits. What
//! `cargo bench --bench python` tells beyond this and beyond the handler itself is the interpreter.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use kiln_uring::{Engine, EngineConfig, Linux, Remote, Sys};
use rtrb::{Consumer, Producer, RingBuffer};

/// As large as a task of glupy's.
type Message = [u64; 8];

/// Places of a queue.
const PLACES: usize = 1024;

thread_local! {
    static WAITING: RefCell<Option<Waker>> = const { RefCell::new(None) };
    static WAKES: Cell<u64> = const { Cell::new(0) };
}

/// The thread's end.
fn echo(mut tasks: Consumer<Message>, mut answers: Producer<Message>, core: &Remote, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        let mut taken = 0;
        while let Ok(task) = tasks.pop() {
            answers.push(task).expect("as many places as tasks");
            taken += 1;
        }
        if taken == 0 {
            std::thread::park();
            continue;
        }
        let woken = core.post(|_| {
            WAKES.set(WAKES.get() + 1);
            WAITING.with_borrow_mut(|waiting| waiting.take().map(Waker::wake));
        });
        if woken.is_err() {
            return;
        }
    }
}

/// Until a job has come since `before`.
async fn woken(before: u64) {
    poll_fn(|context| {
        if WAKES.get() != before {
            return Poll::Ready(());
        }
        WAITING.set(Some(context.waker().clone()));
        Poll::Pending
    })
    .await;
}

fn hand_over(engine: &Engine, wave: usize, n: u64) -> Duration {
    let (tasks, to_thread) = RingBuffer::new(PLACES);
    let (from_thread, answers) = RingBuffer::new(PLACES);
    let over = Arc::new(AtomicBool::new(false));
    let remote = engine.remotes().first().expect("a core").clone();
    let thread = {
        let (remote, over) = (remote.clone(), Arc::clone(&over));
        std::thread::spawn(move || echo(to_thread, from_thread, &remote, &over))
    };
    let other = thread.thread().clone();
    let (sender, told) = mpsc::channel();
    let job = move |core: &kiln_uring::Core| {
        core.spawn(async move {
            let (mut tasks, mut answers): (Producer<Message>, Consumer<Message>) = (tasks, answers);
            let start = Instant::now();
            let mut left = usize::try_from(n).unwrap_or(usize::MAX);
            while left > 0 {
                let now = left.min(wave);
                for number in 0..now {
                    tasks.push([number as u64; 8]).expect("a wave has its places");
                }
                other.unpark();
                let mut answered = 0;
                while answered < now {
                    let before = WAKES.get();
                    while answers.pop().is_ok() {
                        answered += 1;
                    }
                    if answered < now {
                        woken(before).await;
                    }
                }
                left -= now;
            }
            // The other end waits for it.
            let _ = sender.send(start.elapsed());
        });
    };
    remote.post(job).expect("the core runs");
    let took = told.recv().expect("the task ends");
    over.store(true, Ordering::Release);
    thread.thread().unpark();
    thread.join().expect("the thread ends");
    took
}

fn queues(c: &mut Criterion) {
    let sys: Arc<dyn Sys> = Linux::new();
    let config = EngineConfig { cores: 1, ..EngineConfig::default() };
    let engine =
        Engine::start(config, sys, |_| async { Ok::<(), std::io::Error>(()) }).expect("an engine starts");
    let mut group = c.benchmark_group("python-queue");
    let (mut producer, mut consumer) = RingBuffer::<Message>::new(PLACES);
    group.bench_function("push and pop", |b| {
        b.iter(|| {
            producer.push(std::hint::black_box([1; 8])).expect("there is a place");
            consumer.pop().expect("there is a task")
        });
    });
    for wave in [1, 8, 64, 256] {
        group.bench_function(format!("to a thread and back, {wave} at a time"), |b| {
            b.iter_custom(|n| hand_over(&engine, wave, n));
        });
    }
    group.finish();
    engine.shutdown(Duration::from_secs(5)).expect("the core ends");
}

criterion_group!(benches, queues);
criterion_main!(benches);
