//! The same on real cores.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use kiln_uring::{Engine, EngineConfig, Sys};

use super::{Plan, Report, Stage, Violation};
use crate::testing::LayerSpec;

/// How long a history may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Plays one history per seed on real cores, each with a thread and a ring, with `layers` from the bottom up. What clients
/// ask for is decided by the seed, when it happens is not: a violation may need several runs to come again.
///
/// # Errors
/// The first wrong answer.
///
/// # Panics
/// When cores or a layer cannot be made, or a history does not come to its end within a minute.
pub fn conforms_on_threads(
    layers: &[LayerSpec<'_>],
    seeds: Range<u64>,
    plan: &Plan,
) -> Result<Report, Box<Violation>> {
    let sys: Arc<dyn Sys> = kiln_uring::Linux::new();
    let config = EngineConfig { cores: plan.cores, pin: false, ..EngineConfig::default() };
    let engine = Engine::start(config, Arc::clone(&sys), |_| async { Ok::<(), Infallible>(()) })
        .expect("a machine that runs these tests has io_uring");
    let mut report = Report::default();
    for seed in seeds {
        let stage = Stage::new(layers, seed, plan, &sys).expect("the layers of a test can be made");
        let (sender, done) = mpsc::channel();
        for remote in engine.remotes() {
            let (stage, sender) = (stage.clone(), sender.clone());
            let job = move |core: &kiln_uring::Core| {
                let core = core.clone();
                core.clone().spawn(async move {
                    stage.perform(core).await;
                    // Whoever waits has given up otherwise.
                    let _ = sender.send(());
                });
            };
            remote.post(job).expect("the cores run");
        }
        for _ in engine.remotes() {
            done.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("seed {seed}: the history does not end"));
        }
        report.add(&stage.judge()?);
    }
    engine.shutdown(Duration::from_secs(1)).expect("the cores end");
    Ok(report)
}
