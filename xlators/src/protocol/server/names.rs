//! What only the system's name services know: the addresses of hosts, the groups of users.
//!
//! DNS or LDAP may take seconds. They are asked by threads of their own, started when there is the first question; a core
//! goes on with other requests meanwhile. Each core remembers the answers for some time, and asks only once for what
//! several requests wait for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::hash::Hash;
use std::net::{IpAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use kiln_uring::{Core, Instant};
use lru::LruCache;
use nix::unistd::{Gid, Uid, User, getgrouplist};

use super::signal::Signal;
use crate::handoff::handoff;

/// Threads that ask.
const THREADS: usize = 4;
/// Most questions that wait for them.
const QUEUE: usize = 1024;
/// How long an answer may take; what comes later is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Answers that each core remembers, of each kind.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("not 0");

type Question = Box<dyn FnOnce() + Send>;

/// The threads. They end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct NameService {
    queue: OnceLock<Option<SyncSender<Question>>>,
}

impl NameService {
    fn queue(&self) -> Option<&SyncSender<Question>> {
        let start = || {
            let (queue, questions) = sync_channel(QUEUE);
            let questions = Arc::new(Mutex::new(questions));
            let started = (0..THREADS).filter(|_| {
                let questions = Arc::clone(&questions);
                let thread =
                    thread::Builder::new().name("kiln-names".into()).spawn(move || serve(&questions));
                thread.inspect_err(|error| tracing::error!(%error, "no thread for names")).is_ok()
            });
            (started.count() > 0).then_some(queue)
        };
        self.queue.get_or_init(start).as_ref()
    }

    /// Asks and waits; `None` when there is no answer in time, or too many ask.
    async fn ask<T: Send + 'static>(
        &self,
        core: &Core,
        question: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (giver, taker) = handoff();
        // Nobody may wait any more.
        let question: Question = Box::new(move || _ = giver.give(question()));
        self.queue()?.try_send(question).ok()?;
        core.timeout(PATIENCE, taker).await.ok().flatten()
    }
}

fn serve(questions: &Mutex<Receiver<Question>>) {
    loop {
        let question = questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match question {
            Ok(question) => question(),
            Err(_) => return,
        }
    }
}

/// A user, and the group that it says it is in first.
pub(super) type UserKey = (u32, u32);

/// What one core remembers.
#[derive(Debug)]
pub(super) struct Names {
    service: Arc<NameService>,
    groups: Memo<UserKey, Rc<[u32]>>,
    hosts: Memo<Rc<str>, Rc<[IpAddr]>>,
}

/// How long the addresses of a host are remembered.
const HOST_KEPT: Duration = Duration::from_secs(30);

impl Names {
    pub(super) fn new(service: Arc<NameService>) -> Self {
        Self { service, groups: Memo::default(), hosts: Memo::default() }
    }

    /// All groups of a user, if they are remembered.
    pub(super) fn known_groups(&self, now: Instant, user: UserKey) -> Option<Rc<[u32]>> {
        self.groups.known(now, &user)
    }

    /// All groups of a user; none for one that is not known here, or when nobody answers.
    pub(super) async fn groups(&self, core: &Core, user: UserKey, keep: Duration) -> Rc<[u32]> {
        let ask = async { self.service.ask(core, move || groups_of(user)).await.map(Rc::from) };
        let groups = self.groups.get(core, user, keep, ask).await;
        groups.unwrap_or_else(|| {
            tracing::warn!(uid = user.0, "nobody says in time which groups the user is in: none");
            Rc::default()
        })
    }

    /// The addresses of a host; none for one that does not exist.
    ///
    /// # Errors
    /// When nobody answers in time.
    pub(super) async fn addresses(&self, core: &Core, host: &str) -> Result<Rc<[IpAddr]>, ()> {
        let own = host.to_owned();
        let ask = async { self.service.ask(core, move || addresses_of(&own)).await.map(Rc::from) };
        self.hosts.get(core, Rc::from(host), HOST_KEPT, ask).await.ok_or(())
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.groups.clear();
        self.hosts.clear();
    }
}

fn groups_of((uid, gid): UserKey) -> Vec<u32> {
    let user = match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user,
        Ok(None) => return Vec::new(),
        Err(error) => {
            tracing::warn!(uid, %error, "cannot look the user up");
            return Vec::new();
        }
    };
    let groups = CString::new(user.name).ok().map(|name| getgrouplist(&name, Gid::from_raw(gid)));
    match groups {
        Some(Ok(groups)) => groups.into_iter().map(Gid::as_raw).collect(),
        Some(Err(error)) => {
            tracing::warn!(uid, %error, "cannot look the groups of the user up");
            Vec::new()
        }
        None => Vec::new(),
    }
}

fn addresses_of(host: &str) -> Vec<IpAddr> {
    match (host, 0).to_socket_addrs() {
        Ok(found) => found.map(|address| address.ip().to_canonical()).collect(),
        Err(error) => {
            tracing::warn!(host, %error, "a name in the rules has no address");
            Vec::new()
        }
    }
}

/// Somebody asks; others wait for the answer as well.
#[derive(Debug)]
struct Asking<V> {
    over: Signal,
    answer: RefCell<Option<V>>,
}

/// Answers, remembered for a time.
#[derive(Debug)]
struct Memo<K: Eq + Hash, V> {
    known: RefCell<LruCache<K, (V, Instant)>>,
    asking: RefCell<HashMap<K, Rc<Asking<V>>>>,
}

impl<K: Eq + Hash, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self { known: RefCell::new(LruCache::new(KEPT)), asking: RefCell::default() }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Memo<K, V> {
    fn known(&self, now: Instant, key: &K) -> Option<V> {
        let mut known = self.known.borrow_mut();
        let (value, until) = known.get(key)?;
        (now < *until).then(|| value.clone())
    }

    /// The answer to `key`, remembered, from somebody who asks already, or by `ask`.
    async fn get(
        &self,
        core: &Core,
        key: K,
        keep: Duration,
        ask: impl Future<Output = Option<V>>,
    ) -> Option<V> {
        if let Some(value) = self.known(core.now(), &key) {
            return Some(value);
        }
        let asked = self.asking.borrow().get(&key).cloned();
        if let Some(asked) = asked {
            asked.over.wait().await;
            return asked.answer.borrow().clone();
        }
        let asking = Rc::new(Asking { over: Signal::default(), answer: RefCell::default() });
        self.asking.borrow_mut().insert(key.clone(), Rc::clone(&asking));
        // Also when the one who asks is gone before the answer comes.
        let _over = Over { memo: self, key: &key, asking: &asking };
        let answer = ask.await;
        if let Some(value) = &answer {
            self.known.borrow_mut().put(key.clone(), (value.clone(), core.now() + keep));
        }
        asking.answer.replace(answer.clone());
        answer
    }

    fn clear(&self) {
        self.known.borrow_mut().clear();
    }
}

struct Over<'a, K: Eq + Hash, V> {
    memo: &'a Memo<K, V>,
    key: &'a K,
    asking: &'a Asking<V>,
}

impl<K: Eq + Hash, V> Drop for Over<'_, K, V> {
    fn drop(&mut self) {
        self.memo.asking.borrow_mut().remove(self.key);
        self.asking.over.set();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use kiln_uring::sim::Sim;

    use super::*;

    #[test]
    fn answers_are_remembered_for_a_time_and_asked_for_once() {
        Sim::new(3).run(async |core| {
            let memo: Rc<Memo<u32, u32>> = Rc::default();
            let asked = Rc::new(Cell::new(0));
            let keep = Duration::from_secs(10);
            let ask = |key: u32, answer: Option<u32>| {
                let (memo, asked, core) = (Rc::clone(&memo), Rc::clone(&asked), core.clone());
                async move {
                    let slow = async {
                        asked.set(asked.get() + 1);
                        core.sleep(Duration::from_secs(1)).await;
                        answer
                    };
                    memo.get(&core, key, keep, slow).await
                }
            };
            let results = Rc::new(RefCell::new(Vec::new()));
            for _ in 0..5 {
                let (ask, results) = (ask(1, Some(7)), Rc::clone(&results));
                core.spawn(async move {
                    let answer = ask.await;
                    results.borrow_mut().push(answer);
                });
            }
            core.sleep(Duration::from_secs(2)).await;
            assert_eq!(*results.borrow(), [Some(7); 5]);
            assert_eq!(asked.get(), 1);
            assert_eq!(memo.known(core.now(), &1), Some(7));
            core.sleep(keep).await;
            assert_eq!(memo.known(core.now(), &1), None);
            // No answer is not remembered, and one who gives up lets the others ask.
            assert_eq!(ask(2, None).await, None);
            assert!(core.timeout(Duration::from_millis(1), ask(3, Some(1))).await.is_err());
            assert_eq!(ask(3, Some(1)).await, Some(1));
            assert_eq!(asked.get(), 4);
            memo.clear();
            assert_eq!(memo.known(core.now(), &3), None);
        });
    }

    #[test]
    fn the_system_is_asked() {
        assert!(groups_of((0, 12345)).contains(&12345));
        assert!(groups_of((4_000_000_000, 5)).is_empty(), "nobody is that");
        assert!(addresses_of("localhost").iter().all(IpAddr::is_loopback));
        assert!(!addresses_of("localhost").is_empty());
        assert!(addresses_of("no-such-host.invalid").is_empty());
    }
}
