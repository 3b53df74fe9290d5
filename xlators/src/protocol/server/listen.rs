//! Accepting connections and giving them to cores.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use kiln_uring::net::{Address, ConnectOptions, ListenOptions, Listener};
use kiln_uring::{AtFlags, Errno, SysResult};

use super::door::{Door, installed};
use super::shared::Shared;
use super::signal::race;

/// How long to wait when there is no room for another connection.
const BREATH: Duration = Duration::from_millis(100);
/// How long to wait for connections that are about to close.
const MOMENT: Duration = Duration::from_millis(2);
/// How often to do so for one newcomer.
const MOMENTS: usize = 500;
/// Strangers that are closed when descriptors have run out, before the next try.
const HANDFUL: usize = 16;
/// "Relative to the working directory" for the `*at` calls.
const AT_FDCWD: i32 = -100;

/// Listens at one address; a unix socket at which nobody listens any more is replaced.
pub(super) async fn listen(door: &Door, at: &Address, options: &ListenOptions) -> SysResult<Listener> {
    match (door.core.listen(at, options), at) {
        (Err(Errno::ADDRINUSE), Address::Unix(path)) => {
            match door.core.connect(at, &ConnectOptions::default()).await {
                Err(Errno::CONNREFUSED) => remove(door, path)?,
                _ => return Err(Errno::ADDRINUSE),
            }
            door.core.listen(at, options)
        }
        (listening, _) => listening,
    }
}

fn remove(door: &Door, path: &Path) -> SysResult<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    door.core.sys().unlink_at(AT_FDCWD, &path, AtFlags::empty())
}

/// Finds a place for one more connection: a free one, or a stranger's. False when clients have them all.
async fn make_room(door: &Rc<Door>) -> bool {
    for _ in 0..MOMENTS {
        let (there, most) = (door.shared.connections(), door.shared.most_connections());
        if there < most {
            return true;
        }
        if door.shared.strangers().is_empty() {
            return false;
        }
        // Those that are told to go are counted until they have gone, and they are not to be many.
        if there < most + (most / 16).max(1) && evict(door) {
            return true;
        }
        door.core.sleep(MOMENT).await;
    }
    false
}

/// Tells the core of a stranger to close its connection; false when there is no stranger.
fn evict(door: &Door) -> bool {
    let Some(client) = door.shared.strangers().take() else { return false };
    let core = Shared::core_of(client);
    if core == door.core.id() {
        door.evict(client);
    } else if let Some(peer) = door.core.peers().get(core) {
        // A core that has stopped has closed its connections.
        let _ = peer.post(move |_| {
            if let Some(door) = installed() {
                door.evict(client);
            }
        });
    }
    true
}

/// Accepts until the server stops.
pub(super) async fn accept(door: Rc<Door>, mut listener: Listener, at: Address) {
    loop {
        match race(door.stop_asked(), listener.accept_file()).await {
            Ok(()) => break,
            Err(Ok(socket)) => {
                if !make_room(&door).await {
                    door.turn_away(&at, "there are too many connections");
                    continue;
                }
                let shared = &door.shared;
                let peers = door.core.peers();
                let core = shared.idlest(|core| peers.get(core).map_or(0, kiln_uring::Remote::load));
                let seat = shared.enter(core);
                if core == door.core.id() {
                    door.welcome(socket, at.clone(), seat);
                    continue;
                }
                let (at, Some(peer)) = (at.clone(), peers.get(core)) else { continue };
                // A core that has stopped drops the connection.
                let _ = peer.post(move |_| {
                    if let Some(door) = installed() {
                        door.welcome(socket, at, seat);
                    }
                });
            }
            Err(Err(errno)) => {
                door.turn_away(&at, &format!("it cannot be accepted: {errno}"));
                let is_full = matches!(errno, Errno::MFILE | Errno::NFILE);
                let pause = if is_full && (0..HANDFUL).filter(|_| evict(&door)).count() > 0 {
                    MOMENT
                } else {
                    BREATH
                };
                if race(door.stop_asked(), door.core.sleep(pause)).await.is_ok() {
                    break;
                }
            }
        }
    }
    drop(listener);
    if let Address::Unix(path) = &at {
        // Whoever comes next would have to recognise it as stale.
        let _ = remove(&door, path);
    }
}
