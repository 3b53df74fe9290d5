//! On the simulated network: the same scenes, determinism, faults, and any chunking.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use kiln_uring::net::{Address, ConnectOptions, ListenOptions, Shutdown};
use kiln_uring::sim::{Call, MemFs, NetConditions, Sim};
use kiln_uring::{Core, Errno};
use proptest::prelude::*;

use crate::common::{LONG, on, start};
use crate::scenes::{self, loopback, pair, pattern, read_all, send};

#[test]
fn the_scenes_of_the_real_kernel() {
    for seed in 0..8 {
        Sim::new(seed).run(|core| async move {
            let unix = Address::Unix("/run/x".into());
            scenes::conversation(core.clone(), loopback()).await;
            scenes::conversation(core.clone(), unix.clone()).await;
            scenes::half_close(core.clone(), unix.clone()).await;
            scenes::listening(core.clone()).await;
            scenes::cancellation(core.clone(), loopback()).await;
            scenes::backpressure(core.clone(), loopback(), 2 << 20).await;
            scenes::crowd(core, loopback(), 30).await;
        });
    }
}

/// Three cores that serve each other, each a few clients; the order in which answers came.
fn busy_network(sim: &Sim) -> Vec<String> {
    let log = Rc::new(RefCell::new(Vec::new()));
    sim.run_cores(3, |core| {
        let log = log.clone();
        async move {
            let at = |id: usize| Address::Ip(format!("10.0.0.{}:24007", id + 1).parse().unwrap());
            let mut listener = core.listen(&at(core.id()), &ListenOptions::default()).unwrap();
            let spawner = core.clone();
            let serving = core.spawn_join(async move {
                for _ in 0..4 {
                    let stream = listener.accept().await.unwrap();
                    spawner.spawn(async move {
                        scenes::echo(stream).await;
                    });
                }
            });
            core.sleep(Duration::from_millis(1)).await;
            for i in 0..4 {
                let there = at((core.id() + i) % 3);
                let mut stream = core.connect(&there, &ConnectOptions::default()).await.unwrap();
                send(&mut stream, &pattern(i, 5000)).await;
                let (n, back) = stream.recv_exact_into(core.buffer(5000)).await;
                assert_eq!((n, &*back), (Ok(5000), &*pattern(i, 5000)));
                log.borrow_mut().push(format!("{} to {there} at {}", core.id(), core.now().as_nanos()));
            }
            serving.await;
        }
    });
    log.take()
}

#[test]
fn one_seed_is_one_course_and_another_seed_another() {
    let mut courses = HashSet::new();
    for seed in 0..8 {
        let (one, two) = (Sim::new(seed), Sim::new(seed));
        let log = busy_network(&one);
        assert_eq!(log, busy_network(&two), "seed {seed}");
        assert_eq!((log.len(), one.fingerprint()), (12, two.fingerprint()));
        courses.insert(one.fingerprint());
    }
    assert_eq!(courses.len(), 8, "every seed takes its own course");
}

#[test]
fn connections_break_at_both_ends() {
    for seed in 0..20 {
        let sim = Sim::new(seed);
        let kernel = sim.kernel().clone();
        sim.run(|core| async move {
            let (mut client, mut server) = pair(&core, &loopback()).await;
            send(&mut client, b"before").await;
            let (n, _) = server.recv_exact_into(core.buffer(6)).await;
            assert_eq!(n, Ok(6));
            let waiting = core.spawn_join(async move { server.recv().await.map(drop) });
            core.sleep(Duration::from_millis(1)).await;
            kernel.reset_connections();
            assert_eq!(waiting.await, Err(Errno::CONNRESET));
            assert_eq!(client.recv().await.map(drop), Err(Errno::CONNRESET));
            assert_eq!(client.send(vec![(&b"x"[..]).into()]).await.0, Err(Errno::PIPE));
            assert_eq!(client.peer_address(), Err(Errno::NOTCONN));
        });
    }
}

#[test]
fn a_peer_that_closes_without_reading_breaks_the_connection() {
    for seed in 0..20 {
        Sim::new(seed).run(|core| async move {
            let (mut client, server) = pair(&core, &loopback()).await;
            send(&mut client, b"nobody reads this").await;
            server.close().await;
            assert_eq!(client.recv().await.map(drop), Err(Errno::CONNRESET));
        });
    }
}

#[test]
fn sends_break_connections_when_told_to() {
    let mut broken = 0;
    for seed in 0..50 {
        let sim = Sim::new(seed);
        sim.kernel().set_network(NetConditions { resets: 100, ..NetConditions::default() });
        broken += sim.run(|core| async move {
            let (mut client, mut server) = pair(&core, &loopback()).await;
            let reading = core.spawn_join(async move {
                loop {
                    match server.recv().await {
                        Ok(buf) if buf.is_empty() => return None,
                        Ok(_) => {}
                        Err(errno) => return Some(errno),
                    }
                }
            });
            for _ in 0..5 {
                let (sent, _) = client.send(vec![(&b"something"[..]).into()]).await;
                match sent {
                    Ok(9) => {}
                    // Broken right away, or after a part.
                    Ok(_) | Err(Errno::CONNRESET | Errno::PIPE) => break,
                    other => panic!("{other:?}"),
                }
            }
            drop(client);
            usize::from(reading.await == Some(Errno::CONNRESET))
        });
    }
    assert!((5..45).contains(&broken), "{broken} of 50");
}

#[test]
fn planned_faults_hit_the_call_they_name() {
    let sim = Sim::new(7);
    let kernel = sim.kernel().clone();
    sim.run(|core| async move {
        kernel.fail_nth(Call::Listen, 1, Errno::ADDRINUSE);
        assert_eq!(core.listen(&loopback(), &ListenOptions::default()).map(drop), Err(Errno::ADDRINUSE));
        let mut listener = core.listen(&loopback(), &ListenOptions::default()).unwrap();
        let there = listener.local_address().unwrap();
        kernel.fail_nth(Call::Connect, 1, Errno::TIMEDOUT);
        let failed = core.connect(&there, &ConnectOptions::default()).await;
        assert_eq!(failed.map(drop), Err(Errno::TIMEDOUT));
        kernel.fail_nth(Call::Accept, 1, Errno::MFILE);
        assert_eq!(listener.accept().await.map(drop), Err(Errno::MFILE));
        let mut client = core.connect(&there, &ConnectOptions::default()).await.unwrap();
        let mut server = listener.accept().await.unwrap();
        kernel.fail_nth(Call::Send, 1, Errno::NETDOWN);
        assert_eq!(client.send(vec![(&b"x"[..]).into()]).await.0, Err(Errno::NETDOWN));
        kernel.fail_nth(Call::Recv, 1, Errno::HOSTUNREACH);
        assert_eq!(server.recv().await.map(drop), Err(Errno::HOSTUNREACH));
        assert_eq!(kernel.calls(Call::Listen), 2);
    });
}

#[test]
fn a_full_backlog_makes_clients_wait() {
    for seed in 0..10 {
        Sim::new(seed).run(|core| async move {
            let few = ListenOptions { backlog: 2, ..ListenOptions::default() };
            let mut listener = core.listen(&loopback(), &few).unwrap();
            let there = listener.local_address().unwrap();
            let clients: Vec<_> = (0..10)
                .map(|_| {
                    let (core, there) = (core.clone(), there.clone());
                    core.clone().spawn_join(async move {
                        core.connect(&there, &ConnectOptions::default()).await.unwrap()
                    })
                })
                .collect();
            core.sleep(Duration::from_millis(50)).await;
            assert_eq!(clients.iter().filter(|client| client.is_finished()).count(), 2);
            for _ in 0..10 {
                drop(listener.accept().await.unwrap());
            }
            for client in clients {
                client.await;
            }
        });
    }
}

#[test]
fn a_run_that_is_cut_off_leaves_no_socket_in_the_way() {
    for seed in 0..10 {
        let sim = Sim::new(seed);
        let at = Address::Ip("10.0.0.1:24007".parse().unwrap());
        for _ in 0..3 {
            let cut = sim.run_for(Duration::from_millis(20), |core: Core| {
                let at = at.clone();
                async move {
                    let mut listener = core.listen(&at, &ListenOptions::default()).unwrap();
                    let mut client = core.connect(&at, &ConnectOptions::default()).await.unwrap();
                    let mut server = listener.accept().await.unwrap();
                    loop {
                        send(&mut client, b"again and again").await;
                        server.recv().await.unwrap();
                    }
                }
            });
            assert_eq!(cut, None::<()>);
        }
    }
}

#[test]
fn a_kernel_without_sockets_says_so() {
    let engine = start(crate::common::config(1), MemFs::new());
    on(&engine, 0, |core| async move {
        let none = core.listen(&loopback(), &ListenOptions::default());
        assert_eq!(none.map(drop), Err(Errno::AFNOSUPPORT));
        let none = core.connect(&loopback(), &ConnectOptions::default()).await;
        assert_eq!(none.map(drop), Err(Errno::AFNOSUPPORT));
    });
    assert!(engine.shutdown(LONG).unwrap().is_clean());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the chunks, delays, room and way of receiving: the stream arrives whole and in order.
    #[test]
    fn streams_arrive_intact(
        seed in any::<u64>(),
        parcel in prop_oneof![1_usize..40, 1_usize..100_000],
        room in prop_oneof![1_usize..200, 1000_usize..300_000],
        delay in 0_u64..2000,
        short in 0_u32..500,
        sends in prop::collection::vec(0_usize..3000, 1..12),
        takes in prop::collection::vec(prop_oneof![Just(0_usize), 1_usize..30_000], 1..6),
    ) {
        let sim = Sim::new(seed);
        let max_delay = Duration::from_micros(delay);
        sim.kernel().set_network(NetConditions { parcel, room, min_delay: Duration::ZERO, max_delay, resets: 0 });
        sim.kernel().short_counts(short);
        let total: usize = sends.iter().sum();
        let got = sim.run(|core| async move {
            let (mut client, mut server) = pair(&core, &loopback()).await;
            let pause = core.clone();
            let sending = core.spawn_join(async move {
                let mut sent = 0;
                for len in sends {
                    send(&mut client, &pattern(sent, len)).await;
                    sent += len;
                    pause.sleep(Duration::from_micros(pause.random_u64() % 300)).await;
                }
                client.shutdown(Shutdown::Write).unwrap();
                client
            });
            let mut got = Vec::new();
            'all: loop {
                for &take in &takes {
                    // 0 takes what comes; anything else asks for so many bytes.
                    let piece = if take == 0 {
                        server.recv().await.unwrap()
                    } else {
                        let (n, mut buf) = server.recv_exact_into(core.buffer(take)).await;
                        buf.truncate(n.unwrap());
                        buf
                    };
                    if piece.is_empty() {
                        break 'all;
                    }
                    got.extend_from_slice(&piece);
                }
            }
            assert!(read_all(&mut server).await.is_empty());
            drop(sending.await);
            got
        });
        prop_assert!(got == pattern(0, total), "{} of {total} bytes", got.len());
    }

    /// Records as the protocol has them, under the same weather.
    #[test]
    fn records_arrive_intact(
        seed in any::<u64>(),
        parcel in 1_usize..50_000,
        lengths in prop::collection::vec(prop_oneof![0_usize..200, 0_usize..60_000], 1..10),
    ) {
        let sim = Sim::new(seed);
        sim.kernel().set_network(NetConditions { parcel, ..NetConditions::default() });
        sim.run(|core| scenes::records(core, loopback(), lengths));
    }
}
