//! Where control sockets are, and who owns one.
//!
//! Beside the socket `NAME.sock` lies `NAME.lock`, which the brick keeps locked while it lives. The lock, not the socket, says
//! whether a brick of that name runs: it goes when its process goes, however that ends, so a socket without a locked file is
//! stale and may be replaced.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};

/// Longest name of a brick: with it the path stays below the 107 bytes of a Unix socket's address in the usual directories.
const MAX_NAME: usize = 64;

/// The directory of control sockets: `/run/kiln` for root, `$XDG_RUNTIME_DIR/kiln` for users who have one.
pub fn directory() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !dir.is_empty() && !rustix::process::geteuid().is_root() => {
            PathBuf::from(dir).join("kiln")
        }
        _ => PathBuf::from("/run/kiln"),
    }
}

/// The socket of the brick of that name.
pub fn socket_of(name: &str) -> Outcome<PathBuf> {
    check_name(name)?;
    Ok(directory().join(format!("{name}.sock")))
}

/// The name that a brick gets from its path, as glusterd forms it: `/srv/brick` becomes `srv-brick`.
pub fn name_from(path: &Path) -> String {
    let text = path.to_string_lossy();
    let words: Vec<String> = text
        .split('/')
        .map(|word| word.chars().map(|c| if is_name_char(c) { c } else { '_' }).collect::<String>())
        .filter(|word| !word.is_empty() && word != ".")
        .collect();
    let name = words.join("-");
    // The end of a path tells more than its start.
    let skip = name.len().saturating_sub(MAX_NAME);
    let name = name[skip..].trim_start_matches(['.', '-']);
    if name.is_empty() { "root".into() } else { name.into() }
}

/// Whether `name` can be a brick's.
pub fn check_name(name: &str) -> Outcome {
    let good = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.chars().all(is_name_char)
        && !name.starts_with('.');
    if good {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, format!("`{name}` cannot be the name of a brick"))
        .next(format!("Use up to {MAX_NAME} letters, digits, `-`, `_` and `.`, not starting with a dot.")))
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The sockets of all bricks that seem to run here.
pub fn all() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory()) else { return Vec::new() };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock") && is_owned(path))
        .collect();
    found.sort();
    found
}

/// Whether a living brick owns the socket.
pub fn is_owned(socket: &Path) -> bool {
    let Ok(lock) = File::open(lock_of(socket)) else { return false };
    matches!(rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK))
}

fn lock_of(socket: &Path) -> PathBuf {
    socket.with_extension("lock")
}

/// The right to a control socket. Both files go when it is dropped.
#[derive(Debug)]
pub struct Claim {
    socket: PathBuf,
    _lock: File,
}

impl Claim {
    /// Claims a socket's path; nothing listens there yet.
    ///
    /// # Errors
    /// When a living brick has it, or the directory cannot be written.
    pub fn new(socket: &Path) -> Outcome<Self> {
        let failed = |what: String, error: &(dyn std::error::Error + 'static)| {
            Failure::new(Exit::Control, what).because(error).next("Give another path with --control-socket.")
        };
        if let Some(parent) = socket.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(|error| {
                failed(
                    format!("the directory of the control socket, {}, cannot be made", parent.display()),
                    &error,
                )
            })?;
        }
        let path = lock_of(socket);
        loop {
            let mut lock = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(|error| failed(format!("{} cannot be opened", path.display()), &error))?;
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(in_use(socket, &mut lock)),
                Err(errno) => return Err(failed(format!("{} cannot be locked", path.display()), &errno)),
            }
            // Between open and lock the previous owner may have removed the file.
            let same = rustix::fs::stat(&path)
                .and_then(|at_path| Ok((at_path, rustix::fs::fstat(&lock)?)))
                .is_ok_and(|(a, b)| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino));
            if !same {
                continue;
            }
            // For whoever comes second; losing it costs them only the number.
            let _ = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
            return Ok(Self { socket: socket.into(), _lock: lock });
        }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Listens. Only the user who runs the brick (and root) can connect.
    pub fn listen(&self) -> Outcome<UnixListener> {
        let listen = || -> Result<UnixListener, Errno> {
            match rustix::fs::unlink(&self.socket) {
                Ok(()) => tracing::info!("replaced the stale control socket {}", self.socket.display()),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
            let address = SocketAddrUnix::new(&self.socket)?;
            let socket = rustix::net::socket_with(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC,
                None,
            )?;
            rustix::net::bind(&socket, &address)?;
            // Nobody can connect before it listens.
            rustix::fs::chmod(&self.socket, Mode::RUSR | Mode::WUSR)?;
            rustix::net::listen(&socket, 16)?;
            Ok(UnixListener::from(socket))
        };
        listen().map_err(|errno| {
            let failure = Failure::new(Exit::Control, format!("cannot listen on {}", self.socket.display()))
                .because(&errno);
            match errno {
                Errno::NAMETOOLONG => {
                    failure.next("A socket's path has at most 107 bytes: give a shorter --control-socket.")
                }
                _ => failure.next("Give another path with --control-socket."),
            }
        })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The lock is held until after this, so nobody else's files are removed. What is left over is recognised as stale.
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_file(lock_of(&self.socket));
    }
}

fn in_use(socket: &Path, lock: &mut File) -> Failure {
    let mut pid = String::new();
    let read = lock.rewind().and_then(|()| lock.take(32).read_to_string(&mut pid));
    let by = match read {
        Ok(_) if !pid.trim().is_empty() => format!(" (process {})", pid.trim()),
        _ => String::new(),
    };
    let name = socket.file_stem().unwrap_or_default().to_string_lossy();
    Failure::new(Exit::Control, format!("a brick named `{name}` is running already{by}"))
        .next("Give this one another --name, or stop the other one.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_paths() {
        let name = |path: &str| name_from(Path::new(path));
        assert_eq!(
            [name("/srv/brick"), name("/"), name("./a b/.x"), name("/é/x.vol")],
            ["srv-brick", "root", "a_b-.x", "_-x.vol"]
        );
        let long = name(&format!("/{}/end", "x/".repeat(100)));
        assert!(long.ends_with("-end") && check_name(&long).is_ok(), "{long}");
        for bad in ["", "a/b", ".x", "é", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_has_one_owner_and_stale_sockets_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("deep/a.sock");
        let claim = Claim::new(&socket).unwrap();
        let second = Claim::new(&socket).unwrap_err();
        assert!(second.to_string().contains(&format!("(process {})", std::process::id())), "{second}");
        assert!(is_owned(&socket));
        let listener = claim.listen().unwrap();
        drop(claim);
        assert!(!socket.exists() && !is_owned(&socket));
        drop(listener);

        // As a process leaves it that was killed.
        std::fs::write(&socket, "").unwrap();
        std::fs::write(socket.with_extension("lock"), "1\n").unwrap();
        let claim = Claim::new(&socket).unwrap();
        claim.listen().unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let claim = Claim::new(&dir.path().join(format!("{}.sock", "x".repeat(120)))).unwrap();
        assert!(claim.listen().unwrap_err().to_string().contains("107 bytes"));
    }
}
