//! Over the loopback device and unix sockets of the real kernel.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use kiln_uring::net::{Address, ConnectOptions, Keepalive, ListenOptions, Shutdown, StreamOptions};
use kiln_uring::{Core, EngineConfig, Errno, Linux};
use rustix::net::sockopt;

use crate::common::{LONG, adopt, alone, config, engine, on, start};
use crate::scenes::{self, loopback, pair, pattern, read_all, send};

fn unix(dir: &tempfile::TempDir) -> Address {
    Address::Unix(dir.path().join("socket"))
}

#[test]
fn a_conversation_in_every_family() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("kiln-test-{}", std::process::id()).into_bytes();
    for at in [loopback(), Address::Ip("[::1]:0".parse().unwrap()), unix(&dir), Address::Abstract(name)] {
        alone(move |core| scenes::conversation(core, at));
    }
}

#[test]
fn each_direction_closes_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    for at in [loopback(), unix(&dir)] {
        alone(|core| scenes::half_close(core, at));
    }
}

#[test]
fn records_of_all_sizes_arrive_whole() {
    let lengths = [0, 1, 52, 4096, 131_072, 3, 70_000, 0, 16_384, 16_376, 8 << 20, 9, 200_000, 150, 150, 150];
    alone(move |core| scenes::records(core, loopback(), lengths.repeat(3)));
}

#[test]
fn records_arrive_whole_without_a_ring_of_buffers() {
    for bytes in [0, 16 << 10, 64 << 10] {
        let engine = start(EngineConfig { receive_buffers: bytes, ..config(1) }, Linux::new());
        let lengths = [150, 60_000, 0, 4096, 1 << 20, 17];
        on(&engine, 0, move |core| scenes::records(core, loopback(), lengths.repeat(5)));
        on(&engine, 0, |core| scenes::crowd(core, loopback(), 20));
        assert!(engine.shutdown(LONG).unwrap().is_clean(), "{bytes} bytes");
    }
}

#[test]
fn a_reader_that_does_not_read_holds_the_sender() {
    alone(|core| scenes::backpressure(core, loopback(), 16 << 20));
}

#[test]
fn dropped_waits_lose_nothing_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for at in [loopback(), unix(&dir)] {
        alone(|core| scenes::cancellation(core, at));
    }
}

#[test]
fn many_connections_at_once() {
    alone(|core| scenes::crowd(core, loopback(), 200));
}

#[test]
fn listeners_refuse_and_end() {
    alone(scenes::listening);
}

#[test]
fn a_unix_peer_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let at = unix(&dir);
    alone(|core| async move {
        let (client, server) = pair(&core, &at).await;
        let credentials = server.peer_credentials().unwrap();
        assert_eq!(credentials.pid, std::process::id().cast_signed());
        assert_eq!(credentials.uid, rustix::process::geteuid().as_raw());
        assert_eq!(client.peer_address(), Ok(at));
        assert_eq!(server.peer_address(), Ok(Address::Unnamed));
    });
}

#[test]
fn accepted_connections_have_the_listeners_options() {
    alone(|core| async move {
        let keepalive =
            Keepalive { idle: Duration::from_secs(33), interval: Duration::from_secs(3), count: 5 };
        let stream = StreamOptions {
            keepalive: Some(keepalive),
            user_timeout: Some(Duration::from_millis(42_500)),
            send_buffer: Some(100_000),
            ..StreamOptions::default()
        };
        let options = ListenOptions { stream, ..ListenOptions::default() };
        let mut listener = core.listen(&loopback(), &options).unwrap();
        let there = listener.local_address().unwrap();
        let plain = StreamOptions { nodelay: false, keepalive: None, ..StreamOptions::default() };
        let client = ConnectOptions { stream: plain, ..ConnectOptions::default() };
        let _client = core.connect(&there, &client).await.unwrap();
        let socket = listener.accept_file().await.unwrap();
        // SAFETY: the file lives to the end of the block.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(socket.fd()) };
        assert!(sockopt::tcp_nodelay(fd).unwrap() && sockopt::socket_keepalive(fd).unwrap());
        assert_eq!(sockopt::tcp_keepidle(fd).unwrap(), keepalive.idle);
        assert_eq!(sockopt::tcp_keepintvl(fd).unwrap(), keepalive.interval);
        assert_eq!(sockopt::tcp_keepcnt(fd).unwrap(), keepalive.count);
        assert_eq!(sockopt::tcp_user_timeout(fd).unwrap(), 42_500);
        assert_eq!(sockopt::socket_send_buffer_size(fd).unwrap(), 200_000, "Linux doubles it");
        let stream = core.stream(socket);
        stream.configure(&plain).unwrap();
        assert!(!sockopt::tcp_nodelay(fd).unwrap() && !sockopt::socket_keepalive(fd).unwrap());
    });
}

#[test]
fn a_reset_is_an_error_on_both_ways_and_stays_one() {
    for direct in [false, true] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = Address::Ip(listener.local_addr().unwrap());
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"hello").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        });
        alone(move |core| async move {
            let mut stream = core.connect(&there, &ConnectOptions::default()).await.unwrap();
            send(&mut stream, b"x").await;
            if direct {
                let (n, buf) = stream.recv_exact_into(core.buffer(1 << 20)).await;
                assert_eq!((n, &buf[..5]), (Ok(5), &b"hello"[..]));
            } else {
                let mut seen = 0;
                while let Ok(buf) = stream.recv().await {
                    assert!(!buf.is_empty(), "no orderly end");
                    seen += buf.len();
                }
                assert_eq!(seen, 5);
            }
            let after = stream.recv().await.map(|buf| buf.len());
            // A receive that had bytes already keeps the kernel's error to itself.
            assert!(after == Err(Errno::CONNRESET) || (direct && after == Ok(0)), "{after:?}");
            assert_eq!(stream.recv_exact_into(core.buffer(9)).await.0.ok(), after.ok());
            let (sent, _) = stream.send(vec![(&b"x"[..]).into()]).await;
            assert_eq!(sent, Err(Errno::PIPE));
        });
        peer.join().unwrap();
    }
}

#[test]
fn received_buffers_may_outlive_the_stream_and_end_on_other_threads() {
    let engine = start(EngineConfig { receive_buffers: 128 << 10, ..config(1) }, Linux::new());
    for round in 0..20 {
        let kept = on(&engine, 0, |core| async move {
            let (mut client, mut server) = pair(&core, &loopback()).await;
            // Eight buffers are in the ring; the others come from elsewhere.
            let mut kept = Vec::new();
            for i in 0..12 {
                send(&mut client, &pattern(i, 100)).await;
                kept.push(server.recv().await.unwrap());
            }
            kept
        });
        assert!(kept.iter().enumerate().all(|(i, buf)| **buf == *pattern(i, 100)), "round {round}");
        drop(kept);
    }
    assert!(engine.shutdown(LONG).unwrap().is_clean());
}

#[test]
fn a_connection_moves_to_another_core() {
    let engine = engine(2);
    on(&engine, 0, |core| async move {
        let mut listener = core.listen(&loopback(), &ListenOptions::default()).unwrap();
        let there = listener.local_address().unwrap();
        let mut client = core.connect(&there, &ConnectOptions::default()).await.unwrap();
        let socket = listener.accept_file().await.unwrap();
        core.peers()[1]
            .post(move |core| {
                let stream = core.stream(socket);
                core.spawn(async move {
                    scenes::echo(stream).await;
                });
            })
            .unwrap();
        send(&mut client, &pattern(0, 100_000)).await;
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client).await, pattern(0, 100_000));
    });
    assert!(engine.shutdown(LONG).unwrap().is_clean());
}

#[test]
fn dropping_everything_midway_closes_every_socket() {
    let (dropped, mut watch) = std::os::unix::net::UnixStream::pair().unwrap();
    alone(move |core: Core| async move {
        let socket = adopt(core.sys(), dropped);
        let mut stream = core.stream(std::sync::Arc::into_inner(socket).unwrap());
        assert!(core.timeout(Duration::from_millis(1), stream.recv()).await.is_err());
        let big = kiln_uring::Buf::heap(32 << 20);
        assert!(core.timeout(Duration::from_millis(1), stream.send(vec![big.into()])).await.is_err());
    });
    // The engine has ended clean; what was sent ends with the end of the stream, or a reset.
    let mut rest = Vec::new();
    let _ = watch.read_to_end(&mut rest);
    assert!(rest.len() < 32 << 20);
}
