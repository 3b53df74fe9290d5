//! Sockets of the real kernel.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net as rnet;
use rustix::net::sockopt;

use super::{Address, ConnectOptions, Credentials, Family, ListenOptions, Net, Shutdown, StreamOptions};
use crate::sys::linux::{Linux, lend};
use crate::sys::{Errno, RawFd, SysResult};

fn stream(family: Family) -> SysResult<OwnedFd> {
    let family = match family {
        Family::Inet => rnet::AddressFamily::INET,
        Family::Inet6 => rnet::AddressFamily::INET6,
        Family::Unix => rnet::AddressFamily::UNIX,
    };
    rnet::socket_with(family, rnet::SocketType::STREAM, rnet::SocketFlags::CLOEXEC, None)
}

/// A time that an option takes in milliseconds.
fn millis(time: Duration) -> SysResult<u32> {
    u32::try_from(time.as_millis()).map_err(|_| Errno::INVAL)
}

fn configure(fd: BorrowedFd<'_>, family: Family, options: &StreamOptions) -> SysResult<()> {
    if let Some(bytes) = options.receive_buffer {
        sockopt::set_socket_recv_buffer_size(fd, bytes)?;
    }
    if let Some(bytes) = options.send_buffer {
        sockopt::set_socket_send_buffer_size(fd, bytes)?;
    }
    if family == Family::Unix {
        return Ok(());
    }
    sockopt::set_tcp_nodelay(fd, options.nodelay)?;
    sockopt::set_socket_keepalive(fd, options.keepalive.is_some())?;
    if let Some(keepalive) = options.keepalive {
        sockopt::set_tcp_keepidle(fd, keepalive.idle)?;
        sockopt::set_tcp_keepintvl(fd, keepalive.interval)?;
        sockopt::set_tcp_keepcnt(fd, keepalive.count)?;
    }
    if let Some(timeout) = options.user_timeout {
        sockopt::set_tcp_user_timeout(fd, millis(timeout)?)?;
    }
    Ok(())
}

fn local(fd: BorrowedFd<'_>) -> SysResult<Address> {
    Address::from_raw(rnet::getsockname(fd)?)
}

impl Net for Linux {
    fn listen(&self, at: &Address, options: &ListenOptions) -> SysResult<RawFd> {
        let raw = at.to_raw()?;
        let family = at.family();
        let socket = stream(family)?;
        let fd = socket.as_fd();
        if family != Family::Unix {
            sockopt::set_socket_reuseaddr(fd, options.reuse_address)?;
            sockopt::set_socket_reuseport(fd, options.reuse_port)?;
        }
        if family == Family::Inet6 {
            sockopt::set_ipv6_v6only(fd, options.v6_only)?;
        }
        configure(fd, family, &options.stream)?;
        rnet::bind(fd, &raw)?;
        rnet::listen(fd, i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into_raw_fd())
    }

    fn socket(&self, family: Family, options: &ConnectOptions) -> SysResult<RawFd> {
        let socket = stream(family)?;
        configure(socket.as_fd(), family, &options.stream)?;
        if let Some(at) = &options.bind {
            if family != Family::Unix {
                sockopt::set_socket_reuseaddr(&socket, true)?;
            }
            rnet::bind(&socket, &at.to_raw()?)?;
        }
        Ok(socket.into_raw_fd())
    }

    fn configure(&self, fd: RawFd, options: &StreamOptions) -> SysResult<()> {
        let fd = lend(fd)?;
        configure(fd, local(fd)?.family(), options)
    }

    fn shutdown(&self, fd: RawFd, how: Shutdown) -> SysResult<()> {
        let how = match how {
            Shutdown::Read => rnet::Shutdown::Read,
            Shutdown::Write => rnet::Shutdown::Write,
            Shutdown::Both => rnet::Shutdown::Both,
        };
        rnet::shutdown(lend(fd)?, how)
    }

    fn local_address(&self, fd: RawFd) -> SysResult<Address> {
        local(lend(fd)?)
    }

    fn peer_address(&self, fd: RawFd) -> SysResult<Address> {
        rnet::getpeername(lend(fd)?)?.map_or(Ok(Address::Unnamed), Address::from_raw)
    }

    fn peer_credentials(&self, fd: RawFd) -> SysResult<Credentials> {
        let fd = lend(fd)?;
        if local(fd)?.family() != Family::Unix {
            return Err(Errno::OPNOTSUPP);
        }
        let found = sockopt::socket_peercred(fd)?;
        Ok(Credentials {
            pid: found.pid.as_raw_nonzero().get(),
            uid: found.uid.as_raw(),
            gid: found.gid.as_raw(),
        })
    }

    fn connect(&self, fd: RawFd, to: &Address) -> SysResult<()> {
        // Not made again after a signal: the attempt goes on by itself then.
        rnet::connect(lend(fd)?, &to.to_raw()?)
    }

    fn accept(&self, fd: RawFd) -> SysResult<RawFd> {
        let fd = lend(fd)?;
        retry_on_intr(|| rnet::accept_with(fd, rnet::SocketFlags::CLOEXEC)).map(OwnedFd::into_raw_fd)
    }

    fn recv(&self, fd: RawFd, buf: &mut [u8]) -> SysResult<usize> {
        let fd = lend(fd)?;
        retry_on_intr(|| rnet::recv(fd, &mut *buf, rnet::RecvFlags::empty())).map(|(n, _)| n)
    }

    fn send(&self, fd: RawFd, parts: &[IoSlice<'_>]) -> SysResult<usize> {
        let fd = lend(fd)?;
        let mut control = rnet::SendAncillaryBuffer::default();
        retry_on_intr(|| rnet::sendmsg(fd, parts, &mut control, rnet::SendFlags::NOSIGNAL))
    }
}
