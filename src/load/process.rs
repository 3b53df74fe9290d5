//! What the kernel tells of a process: CPU time, memory, and who listens where.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::client::Peer;

/// CPU time of all threads of a process, in nanoseconds. The kernel's ticks would be too coarse.
pub fn cpu_ns(pid: u32) -> Option<u64> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end in between.
        let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else { continue };
        total += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(total)
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now.
    pub resident: u64,
    /// Most that ever was.
    pub peak: u64,
}

/// Reads it.
pub fn memory(pid: u32) -> Option<Memory> {
    parse_memory(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_memory(status: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some(Memory { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
}

/// The process that listens there, if it is on this machine and we may look at it.
pub fn listener(peer: &Peer) -> Option<u32> {
    let inode = match peer {
        Peer::Tcp(address) => ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .find_map(|table| listening_inode(&fs::read_to_string(table).ok()?, *address))?,
        Peer::Unix(path) => unix_inode(&fs::read_to_string("/proc/net/unix").ok()?, path)?,
    };
    owner(inode)
}

/// The inode of the socket that listens at an address, from a table of `/proc/net`.
fn listening_inode(table: &str, address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let mut all = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        let (host, port) = local.split_once(':')?;
        let here = u16::from_str_radix(port, 16).ok()? == address.port();
        let any = host.bytes().all(|digit| digit == b'0');
        // After the state: queues, timer, retransmits, user, timeout, inode.
        let inode = fields.nth(5)?.parse().ok()?;
        (here && state == LISTEN && (any || host == hex_of(address))).then_some(inode)
    });
    all.find(|inode| *inode != 0)
}

/// An address as those tables write it: words of the machine's byte order.
fn hex_of(address: SocketAddr) -> String {
    let hex = |bytes: &[u8]| -> String {
        let words = bytes.chunks_exact(4).filter_map(|word| word.first_chunk::<4>());
        words.map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
    };
    match address {
        SocketAddr::V4(address) => hex(&address.ip().octets()),
        SocketAddr::V6(address) => hex(&address.ip().octets()),
    }
}

/// The inode of the socket at a path. A connection to it is listed, too, after what listens.
fn unix_inode(table: &str, path: &Path) -> Option<u64> {
    /// `__SO_ACCEPTCON`: it listens.
    const LISTENS: u64 = 0x1_0000;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, flags, _, _, inode, at] = fields[..] else { return None };
        let listens = u64::from_str_radix(flags, 16).ok()? & LISTENS != 0;
        (listens && Path::new(at) == path).then(|| inode.parse().ok())?
    })
}

/// The process that has a socket open.
fn owner(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse::<u32>().ok()?;
        let open = fs::read_dir(process.path().join("fd")).ok()?;
        let has = |entry: fs::DirEntry| {
            fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        };
        open.flatten().any(has).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn listeners_of_this_process_are_found() {
        let me = Some(std::process::id());
        for at in ["127.0.0.1:0", "0.0.0.0:0"] {
            let socket = TcpListener::bind(at).unwrap();
            let port = socket.local_addr().unwrap().port();
            assert_eq!(listener(&Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))), me, "{at}");
        }
        if let Ok(socket) = TcpListener::bind("[::1]:0") {
            assert_eq!(listener(&Peer::Tcp(socket.local_addr().unwrap())), me);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _socket = UnixListener::bind(&path).unwrap();
        assert_eq!(listener(&Peer::Unix(path)), me);
        assert_eq!(listener(&Peer::Unix("/nonexistent".into())), None);
    }

    #[test]
    fn cpu_time_and_memory_of_this_process() {
        let me = std::process::id();
        let before = cpu_ns(me).unwrap();
        let mut sum = 0_u64;
        while cpu_ns(me).unwrap() == before {
            (0..100_000_u64).for_each(|number| sum = sum.wrapping_mul(31).wrapping_add(number));
        }
        assert_ne!(sum, 1);
        let memory = memory(me).unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
        assert_eq!((cpu_ns(0), super::memory(0)), (None, None));
        assert_eq!(parse_memory("VmRSS:\t 3 kB"), None);
    }
}
