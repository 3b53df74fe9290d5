//! Encrypted connections on the simulated network.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kiln_uring::net::{Address, ConnectOptions, Stream};
use kiln_uring::sim::{NetConditions, Sim};
use kiln_uring::{Buf, Core};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, SupportedProtocolVersion,
};

use super::{Made, Setup, authority, plain};
use crate::protocol::rpc::message::{Reply, call_record};
use crate::protocol::rpc::programs::fops::{self, procedure};
use crate::protocol::rpc::programs::handshake;
use crate::protocol::rpc::record::{MARK, Mark};
use crate::protocol::server::ServeConfig;
use crate::protocol::server::door::{Door, uninstall};
use crate::protocol::server::gate::Cost;
use crate::protocol::server::shared::Serving;
use crate::protocol::server::tests::{FILE, at, fop_record, server, stat, until};
use crate::protocol::xdr::{LegacyDict, Reader, Wire as _};
use crate::testing::Rig;
use crate::types::Xdata;

/// A client in these tests takes any server for the right one.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A client by hand.
struct Client {
    stream: Stream,
    tls: ClientConnection,
    /// Encrypted bytes that make no TLS record yet.
    raw: Vec<u8>,
    /// Decrypted bytes that make no RPC record yet.
    plain: Vec<u8>,
}

impl Client {
    async fn connect(core: &Core, version: &'static SupportedProtocolVersion, made: Option<&Made>) -> Self {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = match made {
            Some(made) => config.with_client_auth_cert(vec![made.der.clone()], made.private_key()).unwrap(),
            None => config.with_no_client_auth(),
        };
        // As stock clients do.
        config.enable_sni = false;
        let name = ServerName::try_from("any.example").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = core.connect(&at(), &ConnectOptions::default()).await.unwrap();
        Self { stream, tls, raw: Vec::new(), plain: Vec::new() }
    }

    /// Agrees on TLS; false when the server closes instead.
    async fn agree(&mut self) -> bool {
        while self.tls.is_handshaking() {
            self.flush().await;
            if self.tls.is_handshaking() && !self.turn().await {
                return false;
            }
        }
        self.flush().await;
        true
    }

    async fn bound(core: &Core, version: &'static SupportedProtocolVersion, made: &Made) -> (Self, i32) {
        let mut client = Self::connect(core, version, Some(made)).await;
        assert!(client.agree().await);
        let mut dict = LegacyDict::new();
        dict.set_text("process-uuid", "a-test");
        dict.set_text("remote-subvolume", "leaf");
        let bytes = dict.to_bytes();
        let what = (handshake::PROGRAM, handshake::VERSION, handshake::SETVOLUME);
        client.send(&call_record(1, what, None, &handshake::SetvolumeReq { dict: &bytes })).await;
        let answer = client.receive().await.unwrap();
        let reply = Reply::parse(&answer).unwrap();
        let body = handshake::SetvolumeRsp::get(&mut Reader::new(&answer[reply.body..])).unwrap();
        (client, body.op_errno)
    }

    async fn flush(&mut self) {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        if !bytes.is_empty() {
            // The server may have closed already.
            let _ = self.stream.send(vec![Buf::from_slice(&bytes).into()]).await;
        }
    }

    async fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[std::io::Write::write(&mut self.tls.writer(), bytes).unwrap()..];
            self.flush().await;
        }
    }

    /// Takes one TLS record; what it holds must be of one RPC record. False at the end.
    async fn turn(&mut self) -> bool {
        let len = loop {
            if let Some(&[_, _, _, high, low]) = self.raw.first_chunk::<5>() {
                let len = 5 + usize::from(u16::from_be_bytes([high, low]));
                if self.raw.len() >= len {
                    break len;
                }
            }
            match self.stream.recv().await {
                Ok(buf) if !buf.is_empty() => self.raw.extend_from_slice(&buf),
                _ => return false,
            }
        };
        let mut record = &self.raw[..len];
        while !record.is_empty() {
            self.tls.read_tls(&mut record).unwrap();
            if self.tls.process_new_packets().is_err() {
                return false;
            }
        }
        self.raw.drain(..len);
        let before = missing(&self.plain);
        let from = self.plain.len();
        // The end of what is there looks like an error.
        let _ = std::io::Read::read_to_end(&mut self.tls.reader(), &mut self.plain);
        let got = self.plain.len() - from;
        match before {
            Some(missing) => assert!(got <= missing, "{got} bytes, where a record lacks {missing}"),
            None => assert!(missing(&self.plain).is_some() || got == 0, "two records in one"),
        }
        true
    }

    /// The next RPC record; `None` at the end.
    async fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            if missing(&self.plain) == Some(0) {
                let record = self.plain.split_off(MARK);
                self.plain.clear();
                return Some(record);
            }
            if !self.turn().await {
                return None;
            }
        }
    }

    async fn outcome(&mut self) -> (u32, i32, usize) {
        let record = self.receive().await.unwrap();
        let reply = Reply::parse(&record).unwrap();
        assert_eq!(reply.accept, Some(0));
        let mut from = Reader::new(&record[reply.body..]);
        (reply.xid, i32::get(&mut from).unwrap(), record.len())
    }
}

/// Bytes that the record lacks that begins here; `None` before its mark, and when there are too many.
fn missing(bytes: &[u8]) -> Option<usize> {
    let mark = Mark::parse(*bytes.first_chunk::<MARK>()?);
    (MARK + mark.len).checked_sub(bytes.len())
}

async fn encrypted(core: &Core, setup: &Setup, more: &[(&str, &str)]) -> (Rig, Rc<Door>) {
    let pairs = setup.pairs();
    let mut options: Vec<(&str, &str)> = pairs.iter().map(|(key, value)| (*key, value.as_str())).collect();
    options.extend(more);
    server(core, &options).await
}

#[test]
fn every_request_is_answered_in_a_record_of_its_own() {
    let setup = Setup::new();
    let ann = setup.authority.signs(plain("ann"));
    for seed in 0..24 {
        let sim = Sim::new(seed);
        if seed % 2 == 1 {
            let parcel = 100 + seed as usize * 137;
            sim.kernel().set_network(NetConditions { parcel, ..NetConditions::default() });
        }
        let version = if seed % 3 == 0 { &TLS12 } else { &TLS13 };
        sim.run(async |core| {
            let (_rig, door) = encrypted(&core, &setup, &[]).await;
            let (mut client, refused) = Client::bound(&core, version, &ann).await;
            assert_eq!(refused, 0);
            let mut burst = Vec::new();
            for xid in 100..160_u32 {
                let size = 700 * (xid - 99);
                let write =
                    fops::WriteReq { gfid: FILE, fd: -2, offset: 0, size, flag: 2, xdata: Xdata::NONE };
                let read = fops::ReadReq { gfid: FILE, fd: -2, offset: 0, size, flag: 0, xdata: Xdata::NONE };
                burst.extend(match xid % 3 {
                    0 => fop_record(xid, procedure::WRITE, &write, &vec![1; size as usize]),
                    1 => fop_record(xid, procedure::READ, &read, b""),
                    _ => fop_record(xid, procedure::STAT, &stat(), b""),
                });
            }
            client.send(&burst).await;
            let mut seen = Vec::new();
            for _ in 100..160 {
                let (xid, op_ret, len) = client.outcome().await;
                let size = 700 * (xid.cast_signed() - 99);
                assert_eq!(op_ret, if xid % 3 == 2 { 0 } else { size }, "{xid}");
                assert_eq!(xid % 3 == 1 && len > size as usize, xid % 3 == 1, "the bytes of read {xid}");
                seen.push(xid);
            }
            seen.sort_unstable();
            assert_eq!(seen, (100..160).collect::<Vec<_>>());
            until(&core, || door.gate.in_use() == Cost::default()).await;
            let shown = door.to_json().to_string();
            assert!(
                shown.contains("\"certificate\":\"ann\"") && shown.contains("\"tls\":\"TLSv1_"),
                "{shown}"
            );
            uninstall();
            assert!(client.receive().await.is_none(), "the connection is closed when the server stops");
            until(&core, || door.shared.connections() == 0).await;
        });
    }
}

#[test]
fn a_megabyte_in_both_directions() {
    let setup = Setup::new();
    let ann = setup.authority.signs(plain("ann"));
    Sim::new(3).run(async |core| {
        let (_rig, door) = encrypted(&core, &setup, &[]).await;
        let (mut client, _) = Client::bound(&core, &TLS13, &ann).await;
        let size = 1 << 20;
        let write = fops::WriteReq { gfid: FILE, fd: -2, offset: 0, size, flag: 2, xdata: Xdata::NONE };
        let data: Vec<u8> = (0..size).map(|at| (at / 7) as u8).collect();
        client.send(&fop_record(5, procedure::WRITE, &write, &data)).await;
        assert_eq!(client.outcome().await.1, size.cast_signed());
        let read = fops::ReadReq { gfid: FILE, fd: -2, offset: 0, size, flag: 0, xdata: Xdata::NONE };
        client.send(&fop_record(6, procedure::READ, &read, b"")).await;
        let record = client.receive().await.unwrap();
        // The leaf of tests has zeros in all its files.
        assert!(record.len() > size as usize && record.ends_with(&vec![0; size as usize]));
        uninstall();
        until(&core, || door.shared.connections() == 0).await;
    });
}

#[test]
fn who_has_no_good_certificate_does_not_come_in() {
    let setup = Setup::new();
    let stranger = Made::self_signed(authority("stranger")).signs(plain("ann"));
    for version in [&TLS12, &TLS13] {
        for made in [None, Some(&stranger)] {
            Sim::new(1).run(async |core| {
                let (rig, door) = encrypted(&core, &setup, &[]).await;
                let mut client = Client::connect(&core, version, made).await;
                // In TLS 1.3 a client believes that it is in before the server has seen its certificate.
                if client.agree().await {
                    client.send(&fop_record(5, procedure::STAT, &stat(), b"")).await;
                    assert!(client.receive().await.is_none());
                }
                until(&core, || door.shared.connections() == 0).await;
                assert!(rig.brick.seen().is_empty());
                uninstall();
            });
        }
    }
}

#[test]
fn the_name_of_the_certificate_decides() {
    let setup = Setup::new();
    for (name, expected) in [("ann", 0), ("eve", 13)] {
        let made = setup.authority.signs(plain(name));
        Sim::new(1).run(async |core| {
            let allowed = [("auth.login.leaf.ssl-allow", "ann,bob")];
            let (_rig, door) = encrypted(&core, &setup, &allowed).await;
            let (client, refused) = Client::bound(&core, &TLS13, &made).await;
            assert_eq!(refused, expected, "{name}");
            drop(client);
            until(&core, || door.shared.connections() == 0).await;
            uninstall();
        });
    }
}

#[test]
fn who_speaks_something_else_or_nothing_is_dropped() {
    let setup = Setup::new();
    Sim::new(1).run(async |core| {
        let (rig, door) = encrypted(&core, &setup, &[]).await;
        let connect = async || core.connect(&at(), &ConnectOptions::default()).await.unwrap();
        let mut plain = connect().await;
        plain
            .send(vec![Buf::from_slice(&fop_record(5, procedure::STAT, &stat(), b"")).into()])
            .await
            .0
            .unwrap();
        assert!(plain.recv().await.is_ok_and(|buf| buf.is_empty()), "closed without a word");
        // One says nothing, one stops within its first words, one says something senseless.
        let (mut silent, mut half, mut wrong) = (connect().await, connect().await, connect().await);
        half.send(vec![Buf::from_slice(b"\x16\x03\x01\x02\x00\x01").into()]).await.0.unwrap();
        let mut senseless = b"\x16\x03\x01\x00\x20".to_vec();
        senseless.extend([0xFF; 32]);
        wrong.send(vec![Buf::from_slice(&senseless).into()]).await.0.unwrap();
        while wrong.recv().await.is_ok_and(|buf| !buf.is_empty()) {}
        let began = core.now();
        // One does not come to an end, and is not listened to for as long as it likes.
        let mut endless = connect().await;
        let mut words = b"\x01\x00\xff\xf0\x03\x03".to_vec();
        words.resize(48 << 10, 0);
        let records = words.chunks(16_000).flat_map(|words| {
            let head = [0x16, 3, 1].into_iter().chain((words.len() as u16).to_be_bytes());
            head.chain(words.iter().copied()).collect::<Vec<u8>>()
        });
        let _ = endless.send(vec![Buf::from_slice(&records.collect::<Vec<u8>>()).into()]).await;
        while endless.recv().await.is_ok_and(|buf| !buf.is_empty()) {}
        assert!(core.now() - began < Duration::from_secs(1));
        assert_eq!(door.shared.connections(), 2);
        for stream in [&mut silent, &mut half] {
            while stream.recv().await.is_ok_and(|buf| !buf.is_empty()) {}
        }
        assert!(core.now() - began < Duration::from_secs(60));
        until(&core, || door.shared.connections() == 0).await;
        assert!(rig.brick.seen().is_empty());
        // A server that stops does not wait for those that have not agreed yet.
        let silent = connect().await;
        until(&core, || door.shared.connections() == 1).await;
        uninstall();
        until(&core, || door.shared.connections() == 0).await;
        drop(silent);
    });
}

#[test]
fn the_management_port_is_plain_and_serves_no_brick() {
    let setup = Setup::new();
    Sim::new(1).run(async |core| {
        let (rig, door) = encrypted(&core, &setup, &[]).await;
        if door.shared.secure_management {
            // This machine's own daemon has it otherwise.
            return uninstall();
        }
        let data = Address::Ip("10.0.0.1:49152".parse().unwrap());
        let config = ServeConfig {
            listen: Vec::new(),
            volumes: vec![("vol".into(), "leaf".into())],
            ..ServeConfig::default()
        };
        door.shared.serve(Serving { config, addresses: vec![at(), data] });
        let mut stream = core.connect(&at(), &ConnectOptions::default()).await.unwrap();
        let mut ask = async |record: &[u8]| {
            stream.send(vec![Buf::from_slice(record).into()]).await.0.unwrap();
            let mut answer = Vec::new();
            while missing(&answer) != Some(0) {
                answer.extend_from_slice(&stream.recv().await.unwrap());
            }
            answer.split_off(MARK)
        };
        let what = |procedure| (handshake::PROGRAM, handshake::VERSION, procedure);
        let wanted = handshake::GetspecReq { key: b"vol\0", ..Default::default() };
        let spec = ask(&call_record(1, what(handshake::GETSPEC), None, &wanted)).await;
        let spec = String::from_utf8_lossy(&spec).into_owned();
        assert!(spec.contains("option remote-port 49152\n") && spec.contains("ssl-enabled on\n"), "{spec}");
        let mut dict = LegacyDict::new();
        dict.set_text("process-uuid", "a-test");
        dict.set_text("remote-subvolume", "leaf");
        let bytes = dict.to_bytes();
        let wanted = handshake::SetvolumeReq { dict: &bytes };
        let answer = ask(&call_record(2, what(handshake::SETVOLUME), None, &wanted)).await;
        let reply = Reply::parse(&answer).unwrap();
        let body = handshake::SetvolumeRsp::get(&mut Reader::new(&answer[reply.body..])).unwrap();
        assert_eq!((body.op_ret, body.op_errno), (-1, 13));
        let answer = ask(&fop_record(3, procedure::STAT, &stat(), b"")).await;
        assert_ne!(Reply::parse(&answer).unwrap().accept, Some(0));
        assert!(rig.brick.seen().is_empty());
        uninstall();
    });
}

#[test]
fn a_plain_port_drops_clients_that_speak_tls() {
    let made = Made::self_signed(authority("ann"));
    Sim::new(1).run(async |core| {
        let (_rig, door) = server(&core, &[]).await;
        let mut client = Client::connect(&core, &TLS13, Some(&made)).await;
        assert!(!client.agree().await);
        until(&core, || door.shared.connections() == 0).await;
        uninstall();
    });
}

#[test]
fn new_connections_take_what_a_reconfiguration_says() {
    let setup = Setup::new();
    let ann = setup.authority.signs(plain("ann"));
    Sim::new(1).run(async |core| {
        let (_rig, door) = encrypted(&core, &setup, &[]).await;
        let (mut first, _) = Client::bound(&core, &TLS13, &ann).await;
        let other = Made::self_signed(authority("another authority"));
        setup.write("all.ca", &other.pem());
        let options = setup.options(&[("auth.addr.leaf.allow", "*")]);
        door.shared.set_settings(crate::protocol::server::options::Settings::load(&options).unwrap());
        let mut second = Client::connect(&core, &TLS12, Some(&ann)).await;
        assert!(!second.agree().await, "the authority is no longer listed");
        let (_third, refused) = Client::bound(&core, &TLS13, &other.signs(plain("bob"))).await;
        assert_eq!(refused, 0);
        first.send(&fop_record(5, procedure::STAT, &stat(), b"")).await;
        assert_eq!(first.outcome().await.1, 0, "who is in stays in");
        uninstall();
    });
}
