//! Jobs that hold stripes (see [`super::stripes`]): first on the core, where they are only tried; when one is taken, once
//! more on a helper thread, which may wait.

use std::sync::Arc;

use kiln_uring::{Class, Warmth};

use super::stripes::{Busy, Wait};
use super::{Brick, Posix};

impl Posix {
    /// Runs a job that takes its stripes itself, with the [`Wait`] it is given, names before objects and each kind once, and
    /// answers [`Busy`] before it has changed anything when it cannot have them. A job may also answer `Busy` because it
    /// found out that its work is too much for a core.
    pub(super) async fn run_waiting<T, J>(&self, class: Class, warmth: Warmth, job: J) -> T
    where
        T: Send + 'static,
        J: Fn(&Arc<Brick>, Wait) -> Result<T, Busy> + Send + 'static,
    {
        if self.is_inline(class, warmth)
            && let (Ok(value), _) = self.here(class, |brick| job(brick, Wait::Never))
        {
            return value;
        }
        let job = move |brick: &Arc<Brick>| loop {
            if let Ok(value) = job(brick, Wait::Allowed) {
                return value;
            }
        };
        self.run(Class::Background, Warmth::Cold, job).await
    }

    /// Runs a job with these stripes held: of names ([`super::stripes::entry_key`]) and of objects
    /// ([`super::stripes::object_key`]), four of each at most.
    pub(super) async fn run_locked<T: Send + 'static>(
        &self,
        class: Class,
        warmth: Warmth,
        names: Vec<u64>,
        objects: Vec<u64>,
        job: impl FnOnce(&Arc<Brick>) -> T + Send + 'static,
    ) -> T {
        if self.is_inline(class, warmth) {
            let held = self.brick.entries.try_lock(&names).zip(self.brick.objects.try_lock(&objects));
            if let Some(_held) = held {
                return self.here(class, job).0;
            }
        }
        let job = move |brick: &Arc<Brick>| {
            let _names = brick.entries.lock(&names);
            let _objects = brick.objects.lock(&objects);
            job(brick)
        };
        self.run(Class::Background, Warmth::Cold, job).await
    }
}
