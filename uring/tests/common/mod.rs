//! What the tests on the real kernel share.
#![allow(dead_code, missing_docs)] // Each test program uses its part.

use std::future::Future;
use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use kiln_uring::{Core, Engine, EngineConfig, File, How, Linux, OpenFlags, Sys};

pub const LONG: Duration = Duration::from_secs(20);

pub fn config(cores: usize) -> EngineConfig {
    EngineConfig { cores, helpers_per_core: 2, registered_buffers: 4 << 20, ..EngineConfig::default() }
}

/// An engine whose cores do nothing by themselves.
pub fn engine(cores: usize) -> Engine {
    start(config(cores), Linux::new())
}

pub fn start(config: EngineConfig, sys: Arc<dyn Sys>) -> Engine {
    Engine::start(config, sys, |_core| async { Ok::<(), std::io::Error>(()) }).expect("the engine starts")
}

/// Runs a future on a core and waits here for its value; `None` when it panicked.
pub fn try_on<T, F, Fut>(engine: &Engine, core: usize, f: F) -> Option<T>
where
    T: Send + 'static,
    F: FnOnce(Core) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let (sender, value) = mpsc::channel();
    engine.remotes()[core]
        .post(move |core| {
            let future = f(core.clone());
            core.spawn(async move {
                let _ = sender.send(future.await);
            });
        })
        .expect("the core runs");
    match value.recv_timeout(LONG) {
        Ok(value) => Some(value),
        Err(mpsc::RecvTimeoutError::Disconnected) => None,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("no answer from core {core} in {LONG:?}"),
    }
}

pub fn on<T, F, Fut>(engine: &Engine, core: usize, f: F) -> T
where
    T: Send + 'static,
    F: FnOnce(Core) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    try_on(engine, core, f).expect("the task did not panic")
}

/// A core of its own for one future; the engine must end clean.
pub fn alone<T, F, Fut>(f: F) -> T
where
    T: Send + 'static,
    F: FnOnce(Core) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    let engine = engine(1);
    let value = on(&engine, 0, f);
    let drained = engine.shutdown(LONG).expect("no core is lost");
    assert!(drained.is_clean(), "{drained:?}");
    value
}

/// Takes over a descriptor of the standard library.
pub fn adopt(sys: &Arc<dyn Sys>, fd: impl Into<OwnedFd>) -> Arc<File> {
    Arc::new(File::new(sys.clone(), fd.into().into_raw_fd()))
}

pub fn open(sys: &Arc<dyn Sys>, path: &std::path::Path, flags: OpenFlags) -> Arc<File> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no NUL in a temporary path");
    let fd = sys.openat2(
        libc::AT_FDCWD,
        &path,
        How::new(flags).mode(if flags.contains(OpenFlags::CREAT) { 0o600 } else { 0 }),
    );
    Arc::new(File::new(sys.clone(), fd.expect("the file opens")))
}
