//! Where a socket is.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use crate::sys::{Errno, SysResult};

/// The families of stream sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// TCP over IPv4.
    Inet,
    /// TCP over IPv6.
    Inet6,
    /// Unix sockets.
    Unix,
}

/// The address of a stream socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// TCP. Port 0 in a bind lets the kernel choose.
    Ip(SocketAddr),
    /// A unix socket with a name in the file system, at most 108 bytes.
    Unix(PathBuf),
    /// A unix socket with a name of its own kind (Linux), at most 107 bytes.
    Abstract(Vec<u8>),
    /// A unix socket without a name: what a client usually is.
    Unnamed,
}

impl Address {
    /// Its family.
    #[must_use]
    pub const fn family(&self) -> Family {
        match self {
            Self::Ip(SocketAddr::V4(_)) => Family::Inet,
            Self::Ip(SocketAddr::V6(_)) => Family::Inet6,
            Self::Unix(_) | Self::Abstract(_) | Self::Unnamed => Family::Unix,
        }
    }

    /// The TCP port, if it has one.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self {
            Self::Ip(address) => Some(address.port()),
            _ => None,
        }
    }

    /// In the kernel's form; ENAMETOOLONG, or EINVAL for a path with a NUL in it.
    pub(crate) fn to_raw(&self) -> SysResult<SocketAddrAny> {
        Ok(match self {
            Self::Ip(address) => SocketAddrAny::from(*address),
            Self::Unix(path) => SocketAddrUnix::new(path.as_os_str().as_bytes())?.into(),
            Self::Abstract(name) => SocketAddrUnix::new_abstract_name(name)?.into(),
            Self::Unnamed => SocketAddrUnix::new_unnamed().into(),
        })
    }

    /// From the kernel's form; EAFNOSUPPORT for families that are not ours.
    pub(crate) fn from_raw(raw: SocketAddrAny) -> SysResult<Self> {
        if let Ok(address) = SocketAddr::try_from(raw.clone()) {
            return Ok(Self::Ip(address));
        }
        let unix = SocketAddrUnix::try_from(raw).map_err(|_| Errno::AFNOSUPPORT)?;
        Ok(match (unix.path(), unix.abstract_name()) {
            (Some(path), _) => Self::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes()))),
            (None, Some(name)) if !name.is_empty() => Self::Abstract(name.to_vec()),
            (None, _) => Self::Unnamed,
        })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

/// As the tools print them: `1.2.3.4:5`, `[::1]:5`, `/run/x.sock`, `@name`, `unnamed`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{}", name.escape_ascii()),
            Self::Unnamed => f.write_str("unnamed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_kernels_form() {
        let all = [
            Address::Ip("127.0.0.1:49152".parse().unwrap()),
            Address::Ip("[fe80::1]:24007".parse().unwrap()),
            Address::Unix("/run/kiln.sock".into()),
            Address::Abstract(b"kiln\0x".to_vec()),
            Address::Unnamed,
        ];
        for address in all {
            assert_eq!(Address::from_raw(address.to_raw().unwrap()), Ok(address.clone()), "{address}");
        }
        let long = Address::Unix(PathBuf::from("x".repeat(109)));
        assert_eq!(long.to_raw().map(drop), Err(Errno::NAMETOOLONG));
        assert_eq!(Address::Abstract(vec![1; 108]).to_raw().map(drop), Err(Errno::NAMETOOLONG));
        assert_eq!(Address::Unix("a\0b".into()).to_raw().map(drop), Err(Errno::INVAL));
    }
}
