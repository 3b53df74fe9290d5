//! Accepting connections and giving them to cores.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use kiln_uring::net::{Address, ConnectOptions, ListenOptions, Listener};
use kiln_uring::{AtFlags, Errno, SysResult};

use super::door::{Door, installed};
use super::signal::race;

/// How long to wait when there is no room for another connection.
const BREATH: Duration = Duration::from_millis(100);
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

/// Accepts until the server stops.
pub(super) async fn accept(door: Rc<Door>, mut listener: Listener, at: Address) {
    loop {
        match race(door.stop_asked(), listener.accept_file()).await {
            Ok(()) => break,
            Err(Ok(socket)) => {
                let shared = &door.shared;
                if shared.connections() >= shared.most_connections() {
                    door.turn_away(&at, "there are too many connections");
                    continue;
                }
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
                if race(door.stop_asked(), door.core.sleep(BREATH)).await.is_ok() {
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
