//! What is played on both kernels.

use std::time::Duration;

use kiln_uring::net::{Address, ConnectOptions, ListenOptions, Listener, Part, Receiver, Shutdown, Stream};
use kiln_uring::{Buf, Core, Errno};

/// Bytes that depend on their place.
pub fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub fn loopback() -> Address {
    Address::Ip("127.0.0.1:0".parse().unwrap())
}

pub async fn pair(core: &Core, at: &Address) -> (Stream, Stream) {
    let mut listener = core.listen(at, &ListenOptions::default()).unwrap();
    let there = listener.local_address().unwrap();
    let client = core.connect(&there, &ConnectOptions::default()).await.unwrap();
    let server = listener.accept().await.unwrap();
    (client, server)
}

/// Everything up to the end of the stream.
pub async fn read_all(stream: &mut Stream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let buf = stream.recv().await.unwrap();
        if buf.is_empty() {
            return all;
        }
        all.extend_from_slice(&buf);
    }
}

pub async fn send(stream: &mut Stream, bytes: &[u8]) {
    let (sent, _) = stream.send(vec![Buf::from_slice(bytes).into()]).await;
    assert_eq!(sent, Ok(bytes.len()));
}

/// Sends everything back until the peer ends.
pub async fn echo(mut stream: Stream) -> usize {
    let mut total = 0;
    loop {
        let buf = stream.recv().await.unwrap();
        if buf.is_empty() {
            return total;
        }
        let n = buf.len();
        let (sent, _) = stream.send(vec![buf.into()]).await;
        assert_eq!(sent, Ok(n));
        total += n;
    }
}

/// One client talks with an echo and closes.
pub async fn conversation(core: Core, at: Address) {
    let (mut client, server) = pair(&core, &at).await;
    assert_eq!(client.peer_address().unwrap(), server.local_address().unwrap());
    assert_eq!(client.local_address().unwrap(), server.peer_address().unwrap());
    let answers = core.spawn_join(echo(server));
    for round in 0..20 {
        let message = pattern(round, 1 + round * 97);
        send(&mut client, &message).await;
        let (n, back) = client.recv_exact_into(core.buffer(message.len())).await;
        assert_eq!(n, Ok(message.len()));
        assert_eq!(*back, *message);
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert!(client.recv().await.unwrap().is_empty());
    assert!(client.recv().await.unwrap().is_empty(), "the end stays the end");
    let total: usize = (0..20).map(|round| 1 + round * 97).sum();
    assert_eq!(answers.await, total);
    client.close().await;
}

/// Half close: the other direction goes on.
pub async fn half_close(core: Core, at: Address) {
    let (mut client, mut server) = pair(&core, &at).await;
    send(&mut client, b"question").await;
    client.shutdown(Shutdown::Write).unwrap();
    let (sent, _) = client.send(vec![Buf::from_slice(b"x").into()]).await;
    assert_eq!(sent, Err(Errno::PIPE));
    assert_eq!(read_all(&mut server).await, b"question");
    for piece in [&b"a long"[..], b" and winding", b" answer"] {
        send(&mut server, piece).await;
        core.sleep(Duration::from_millis(1)).await;
    }
    drop(server);
    assert_eq!(read_all(&mut client).await, b"a long and winding answer");
}

/// Requests as a client of the brick makes them: a head of 8 bytes with a length, then a payload, small or large, all
/// coalesced; both ways of receiving in turn, and the same stream of bytes.
pub async fn records(core: Core, at: Address, lengths: Vec<usize>) {
    let (client, server) = pair(&core, &at).await;
    let (mut receiver, _keep) = server.split();
    let (_also_keep, mut sender) = client.split();
    let sent = lengths.clone();
    let sending = core.spawn_join(async move {
        // Three records go out together.
        for (batch, records) in sent.chunks(3).enumerate() {
            let mut parts: Vec<Part> = Vec::new();
            for (i, &len) in records.iter().enumerate() {
                let head = (len as u64).to_be_bytes();
                parts.push(Buf::from_slice(&head[..3]).into());
                parts.push(Part::Shared(std::sync::Arc::from(&head[..]), 3..8));
                parts.push(Part::Static(b""));
                parts.push(Buf::from_slice(&pattern(batch * 3 + i, len)).into());
            }
            let whole: usize = parts.iter().map(|part| part.len()).sum();
            let (n, back) = sender.send(parts).await;
            assert_eq!((n, back.len()), (Ok(whole), records.len() * 4));
        }
        sender.shutdown(Shutdown::Write).unwrap();
    });
    for (i, &len) in lengths.iter().enumerate() {
        let head = take_head(&mut receiver).await;
        assert_eq!(u64::from_be_bytes(head), len as u64, "record {i}");
        let (n, payload) = receiver.recv_exact_into(core.buffer(len)).await;
        assert_eq!((n, payload.len()), (Ok(len), len));
        assert!(*payload == *pattern(i, len), "record {i}");
    }
    let (n, _) = receiver.recv_exact_into(core.buffer(10)).await;
    assert_eq!(n, Ok(0), "the end");
    sending.await;
}

/// Eight bytes out of received buffers; what is left goes back.
async fn take_head(receiver: &mut Receiver) -> [u8; 8] {
    let mut head = [0; 8];
    let mut done = 0;
    while done < 8 {
        let mut buf = receiver.recv().await.unwrap();
        assert!(!buf.is_empty());
        let n = buf.len().min(8 - done);
        head[done..done + n].copy_from_slice(&buf[..n]);
        done += n;
        buf.advance(n);
        receiver.unread(buf);
    }
    head
}

/// A sender is held back while nobody reads, whichever way; no more than `bound` bytes are on their way then.
pub async fn backpressure(core: Core, at: Address, bound: usize) {
    let (mut client, mut server) = pair(&core, &at).await;
    const PIECE: usize = 64 << 10;
    let total = bound + (1 << 20);
    // The same piece over and over, and twice in a row to compare with.
    let twice = pattern(0, PIECE).repeat(2);
    let expected = |from: usize, len: usize| &twice[from % PIECE..][..len];
    let (sent, watch) = (std::rc::Rc::new(std::cell::Cell::new(0)), core.clone());
    let counter = sent.clone();
    let piece = pattern(0, PIECE);
    let sending = core.spawn_join(async move {
        while counter.get() < total {
            send(&mut client, &piece).await;
            counter.set(counter.get() + PIECE);
        }
    });
    // The standing receive is on, but nobody takes what it brings.
    let first = server.recv().await.unwrap();
    watch.sleep(Duration::from_millis(200)).await;
    let stuck = sent.get();
    assert!(stuck < bound, "{stuck} bytes went out unread");
    let mut all = first.len();
    assert_eq!(*first, *expected(0, all));
    drop(first);
    while all < total {
        let buf = server.recv().await.unwrap();
        assert!(!buf.is_empty() && *buf == *expected(all, buf.len()), "at {all}");
        all += buf.len();
    }
    sending.await;
}

/// Waits are dropped in the middle; nothing is lost where nothing may be lost.
pub async fn cancellation(core: Core, at: Address) {
    let mut listener = core.listen(&at, &ListenOptions::default()).unwrap();
    let there = listener.local_address().unwrap();
    for _ in 0..20 {
        assert!(core.timeout(Duration::from_micros(300), listener.accept()).await.is_err());
    }
    let mut client = core.connect(&there, &ConnectOptions::default()).await.unwrap();
    let mut server = accept(&mut listener).await;
    // Receives that come to nothing, with bytes arriving in between.
    let mut got = Vec::new();
    let sending = core.spawn_join({
        let core = core.clone();
        async move {
            for i in 0..50 {
                send(&mut client, &pattern(i * 10, 10)).await;
                core.sleep(Duration::from_micros(400)).await;
            }
            client
        }
    });
    while got.len() < 500 {
        if let Ok(buf) = core.timeout(Duration::from_micros(100), server.recv()).await {
            got.extend_from_slice(&buf.unwrap());
        }
    }
    assert_eq!(got, pattern(0, 500));
    let mut client = sending.await;
    // A payload that was given up: the stream says so from then on.
    send(&mut client, b"beginning").await;
    let waiting = server.recv_exact_into(core.buffer(100_000));
    assert!(core.timeout(Duration::from_millis(5), waiting).await.is_err());
    assert_eq!(server.recv().await.map(drop), Err(Errno::CONNABORTED));
    assert_eq!(server.recv_exact_into(core.buffer(1)).await.0, Err(Errno::CONNABORTED));
    // And so does one where a send was given up.
    let big = Buf::heap(64 << 20);
    assert!(core.timeout(Duration::from_millis(5), client.send(vec![big.into()])).await.is_err());
    assert_eq!(client.send(vec![Buf::from_slice(b"x").into()]).await.0, Err(Errno::CONNABORTED));
}

pub async fn accept(listener: &mut Listener) -> Stream {
    listener.accept().await.unwrap()
}

/// `n` clients at once, each in a task of its own, with a listener that serves them all.
pub async fn crowd(core: Core, at: Address, n: usize) {
    let mut listener = core.listen(&at, &ListenOptions::default()).unwrap();
    let there = listener.local_address().unwrap();
    let spawner = core.clone();
    let serving = core.spawn_join(async move {
        let mut tasks = Vec::new();
        for _ in 0..n {
            let stream = listener.accept().await.unwrap();
            tasks.push(spawner.spawn_join(echo(stream)));
        }
        let mut total = 0;
        for task in tasks {
            total += task.await;
        }
        total
    });
    let clients: Vec<_> = (0..n)
        .map(|i| {
            let (core, there) = (core.clone(), there.clone());
            core.clone().spawn_join(async move {
                let mut stream = core.connect(&there, &ConnectOptions::default()).await.unwrap();
                let message = pattern(i * 1000, 700);
                for _ in 0..5 {
                    send(&mut stream, &message).await;
                    let (n, back) = stream.recv_exact_into(core.buffer(700)).await;
                    assert_eq!(n, Ok(700));
                    assert_eq!(*back, *message);
                }
            })
        })
        .collect();
    for client in clients {
        client.await;
    }
    assert_eq!(serving.await, n * 5 * 700);
}

/// Refusals and the end of a listener.
pub async fn listening(core: Core) {
    let mut listener = core.listen(&loopback(), &ListenOptions::default()).unwrap();
    let there = listener.local_address().unwrap();
    assert_ne!(there.port(), Some(0));
    let again = core.listen(&there, &ListenOptions::default());
    assert_eq!(again.map(drop), Err(Errno::ADDRINUSE));
    let from = ConnectOptions { bind: Some(loopback()), ..ConnectOptions::default() };
    let kept = core.connect(&there, &from).await.unwrap();
    let server = listener.accept().await.unwrap();
    assert_eq!(server.peer_address(), kept.local_address());
    assert_eq!(server.peer_credentials(), Err(Errno::OPNOTSUPP));
    server.configure(&Default::default()).unwrap();
    listener.shutdown().unwrap();
    assert_eq!(listener.accept().await.map(drop), Err(Errno::INVAL));
    drop(listener);
    core.sleep(Duration::from_millis(20)).await;
    let refused = core.connect(&there, &ConnectOptions::default()).await;
    assert_eq!(refused.map(drop), Err(Errno::CONNREFUSED));
    // One address for two listeners, when both ask for it.
    let shared = ListenOptions { reuse_port: true, ..ListenOptions::default() };
    let one = core.listen(&loopback(), &shared).unwrap();
    let _two = core.listen(&one.local_address().unwrap(), &shared).unwrap();
}
