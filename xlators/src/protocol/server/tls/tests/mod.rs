//! TLS, with certificates that are made on the spot.

mod files;
mod session;
mod trust;

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::options::Options;
use crate::protocol::server::options::OPTIONS;

/// A certificate with its key.
struct Made {
    params: CertificateParams,
    key: KeyPair,
    der: CertificateDer<'static>,
}

/// What a certificate that is no authority's says.
fn plain(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// The same with a change.
fn with(mut params: CertificateParams, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    change(&mut params);
    params
}

/// What the certificate of an authority says.
fn authority(name: &str) -> CertificateParams {
    with(plain(name), |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
}

impl Made {
    fn self_signed(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { params, key, der }
    }

    /// Another certificate, of which this one is the authority.
    fn signs(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let der = params.signed_by(&key, &self.issuer()).unwrap().der().clone();
        Self { params, key, der }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

/// In base64, between lines that say what it is.
fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let word = three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
                << (8 * (3 - three.len()));
            for digit in 0..4 {
                let index = word >> (18 - 6 * digit) & 63;
                text.push(if digit as usize <= three.len() { DIGITS[index as usize] as char } else { '=' });
            }
        }
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// Files of a server, and the authority that its clients' certificates come from.
struct Setup {
    directory: tempfile::TempDir,
    authority: Made,
}

impl Setup {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Made::self_signed(authority("the authority"));
        let server = authority.signs(plain("the server"));
        let setup = Self { directory, authority };
        setup.write("own.pem", &server.pem());
        setup.write("own.key", &server.key.serialize_pem());
        setup.write("all.ca", &setup.authority.pem());
        setup
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The options of a server that uses the files.
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let path = |name| self.path(name).to_str().unwrap().to_owned();
        vec![
            ("transport.socket.ssl-enabled", "on".into()),
            ("transport.socket.ssl-own-cert", path("own.pem")),
            ("transport.socket.ssl-private-key", path("own.key")),
            ("transport.socket.ssl-ca-list", path("all.ca")),
        ]
    }

    fn options(&self, more: &[(&str, &str)]) -> Options {
        let pairs = self.pairs().into_iter().map(|(key, value)| (key.to_owned(), value));
        let more = more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Options::new(OPTIONS, pairs.chain(more)).unwrap()
    }
}
