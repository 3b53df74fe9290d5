//! TLS on clients' connections, by GlusterFS's options `transport.socket.ssl-*`.
//!
//! A connection is encrypted from its first byte, and both sides have certificates. What the options say is for the
//! addresses of TCP that a server listens at; unix sockets are never encrypted. [`accept`] makes the two directions of a
//! connection, which [`super::link`] puts in the place of the plain ones.
//!
//! | module | subject |
//! | --- | --- |
//! | [`files`] | certificates and keys |
//! | [`ciphers`] | suites and curves |
//! | [`chain`], [`verifier`] | whose certificates count |
//! | [`session`] | the handshake, and bytes in both directions |

mod chain;
mod ciphers;
mod files;
mod session;
mod verifier;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::options::TLS_SWITCH;
use crate::options::Options;
use chain::Trust;
use files::Files;
use verifier::Verifier;

pub(super) use session::{TlsReceiver, TlsSender, accept};

/// GlusterFS's default for suites of TLS 1.2.
pub(super) const DEFAULT_CIPHERS: &str = "AES128:EECDH:EDH:HIGH:!3DES:!RC4:!DES:!MD5:!aNULL:!eNULL";

/// What new connections are encrypted with.
pub(super) type Config = Arc<ServerConfig>;

/// Who is at the other end of an encrypted connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The common name of its certificate; may be empty.
    pub name: String,
    /// Version and suite, for statedumps.
    pub cipher: String,
}

/// Whether these bytes begin a conversation in TLS.
pub(super) fn is_hello(bytes: &[u8]) -> bool {
    // A handshake record of any version.
    bytes.starts_with(&[0x16, 0x03])
}

/// Reads the files that the options name; `None` when connections are not to be encrypted. The error is a sentence.
pub(super) fn load(options: &Options) -> Result<Option<Config>, String> {
    if !options.bool(TLS_SWITCH) {
        return Ok(None);
    }
    let files = Files::read(options)?;
    let provider = Arc::new(provider(options));
    let config = config(files, options, &provider)?;
    Ok(Some(Arc::new(config)))
}

/// What rustls has of what the options ask for.
fn provider(options: &Options) -> CryptoProvider {
    let list = options.text("transport.socket.ssl-cipher-list").unwrap_or(DEFAULT_CIPHERS);
    let chosen = ciphers::choose(list);
    if list != DEFAULT_CIPHERS {
        for word in &chosen.without_effect {
            tracing::warn!("ssl-cipher-list: there is no suite for `{word}` here; it is left out");
        }
    }
    if chosen.only_13 {
        tracing::warn!(
            "ssl-cipher-list leaves no suite of TLS 1.2 that there is here: only TLS 1.3 is spoken"
        );
    }
    let all = ring::default_provider();
    let kx_groups = match options.text("transport.socket.ssl-ec-curve") {
        None => all.kx_groups,
        Some(name) => ciphers::curve(name).map_or_else(
            || {
                tracing::warn!("ssl-ec-curve: there is no curve `{name}` here; the usual ones are used");
                ring::default_provider().kx_groups
            },
            |curve| vec![curve],
        ),
    };
    CryptoProvider { cipher_suites: chosen.suites, kx_groups, ..ring::default_provider() }
}

fn config(files: Files, options: &Options, provider: &Arc<CryptoProvider>) -> Result<ServerConfig, String> {
    let algorithms = provider.signature_verification_algorithms;
    let depth = usize::try_from(options.int("transport.socket.ssl-cert-depth")).unwrap_or(0);
    let trust = Trust::new(files.authorities, depth, files.revoked, algorithms).map_err(|flaw| {
        format!("the file of ssl-ca-list, {}, cannot be used: {flaw}", files.authorities_path.display())
    })?;
    let key = provider
        .key_provider
        .load_private_key(files.key)
        .map_err(|error| format!("the key in {} cannot be used: {error}", files.key_path.display()))?;
    let own = files.chain.first().ok_or("there is no certificate")?;
    let fits = chain::with_key(own, |_, raw| key.public_key().is_none_or(|public| *public == *raw));
    match fits {
        Ok(true) => {}
        Ok(false) => {
            return Err(format!(
                "the certificate in {} is not for the key in {}: name the two that belong together with \
                 transport.socket.ssl-own-cert and transport.socket.ssl-private-key",
                files.chain_path.display(),
                files.key_path.display()
            ));
        }
        Err(flaw) => {
            return Err(format!("the certificate in {} cannot be used: {flaw}", files.chain_path.display()));
        }
    }
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_client_cert_verifier(Arc::new(Verifier::new(trust, algorithms)))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(files.chain, key))));
    config.ignore_client_order = true;
    // A certificate is looked at for every connection.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
