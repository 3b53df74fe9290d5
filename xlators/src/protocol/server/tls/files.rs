//! The files: certificate, key, authorities, lists of revoked certificates.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::options::Options;

/// Where OpenSSL keeps its files on Debian, and where GlusterFS looks for them by itself.
const DIRECTORIES: [&str; 2] = ["/usr/lib/ssl", "/etc/ssl"];

/// What the files hold.
#[derive(Debug)]
pub(super) struct Files {
    /// The own certificate, then those between it and its authority.
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    pub authorities: Vec<CertificateDer<'static>>,
    pub revoked: Option<Vec<CertificateRevocationListDer<'static>>>,
    /// For messages.
    pub chain_path: PathBuf,
    pub key_path: PathBuf,
    pub authorities_path: PathBuf,
}

impl Files {
    /// Reads them all. The error is a sentence that says which file is wrong and what to do.
    pub(super) fn read(options: &Options) -> Result<Self, String> {
        let chain_path = path(options, "ssl-own-cert", "glusterfs.pem", "this brick's certificate")?;
        let key_path = path(options, "ssl-private-key", "glusterfs.key", "its private key")?;
        let authorities_path =
            path(options, "ssl-ca-list", "glusterfs.ca", "the certificates of the authorities")?;
        let chain = certificates(&chain_path, "ssl-own-cert")?;
        let authorities = certificates(&authorities_path, "ssl-ca-list")?;
        let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|error| match error {
            pem::Error::NoItemsFound => unreadable(
                "ssl-private-key",
                &key_path,
                "there is no key in it that needs no passphrase (`openssl pkey -in FILE` writes one)",
            ),
            error => unreadable("ssl-private-key", &key_path, error),
        })?;
        let revoked = options.text("transport.socket.ssl-crl-path").map(Path::new).map(lists).transpose()?;
        Ok(Self { chain, key, authorities, revoked, chain_path, key_path, authorities_path })
    }
}

/// The path that an option names, or the place where the file usually is.
fn path(options: &Options, option: &str, usual: &str, what: &str) -> Result<PathBuf, String> {
    if let Some(path) = options.text(&format!("transport.socket.{option}")) {
        return Ok(path.into());
    }
    let places = DIRECTORIES.map(|directory| Path::new(directory).join(usual));
    places.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        let [first, second] = places.each_ref().map(|path| path.display());
        format!(
            "transport.socket.ssl-enabled is on, but neither {first} nor {second} exists: put {what} there, or \
             name its file with transport.socket.{option}"
        )
    })
}

fn unreadable(option: &str, path: &Path, why: impl Display) -> String {
    format!("the file of transport.socket.{option}, {}, cannot be used: {why}", path.display())
}

fn certificates(path: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(unreadable(option, path, "there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(option, path, error)),
    }
}

/// All lists in a directory; its other files do not matter.
fn lists(directory: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let failed = |error: std::io::Error| unreadable("ssl-crl-path", directory, error);
    let mut names: Vec<PathBuf> = std::fs::read_dir(directory)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    names.sort();
    let mut found: Vec<CertificateRevocationListDer<'static>> = Vec::new();
    for name in names.iter().filter(|name| name.is_file()) {
        let text = std::fs::read(name).map_err(|error| unreadable("ssl-crl-path", name, error))?;
        let lists = CertificateRevocationListDer::pem_slice_iter(&text).flatten();
        // The same list is often there twice, under its own name and under that of a hash.
        let lists: Vec<_> = lists.filter(|list| !found.contains(list)).collect();
        found.extend(lists);
    }
    if found.is_empty() {
        let why = "there is no list of revoked certificates in it, so that no certificate would be accepted";
        return Err(unreadable("ssl-crl-path", directory, why));
    }
    Ok(found)
}
