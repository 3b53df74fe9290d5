//! What rustls asks about clients' certificates.

use rustls::DistinguishedName;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerMisbehaved, SignatureScheme};

use super::chain::{Flaw, Trust, key_algorithm, with_key};

/// Every client must have a certificate that [`Trust`] holds good.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(super) const fn new(trust: Trust, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { trust, algorithms }
    }
}

/// With the alert that a stock client knows.
impl From<Flaw> for Error {
    fn from(flaw: Flaw) -> Self {
        Self::InvalidCertificate(match flaw {
            Flaw::Garbled => CertificateError::BadEncoding,
            Flaw::UnknownIssuer | Flaw::NoAuthority | Flaw::TooLong | Flaw::Constrained => {
                CertificateError::UnknownIssuer
            }
            Flaw::Expired => CertificateError::Expired,
            Flaw::NotYet => CertificateError::NotValidYet,
            Flaw::BadSignature => CertificateError::BadSignature,
            Flaw::Critical => CertificateError::UnhandledCriticalExtension,
            Flaw::Revoked => CertificateError::Revoked,
            Flaw::NoList => CertificateError::UnknownRevocationStatus,
        })
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A stock brick names none; a client sends the only certificate that it has.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.trust.check(end_entity, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let (_, candidates) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let good = with_key(certificate, |key, _| {
            let Some(kind) = key_algorithm(key) else { return false };
            candidates.iter().filter(|algorithm| *algorithm.public_key_alg_id() == *kind).any(|algorithm| {
                algorithm.verify_signature(&key.subject_public_key.data, message, signed.signature()).is_ok()
            })
        })?;
        if good { Ok(HandshakeSignatureValid::assertion()) } else { Err(Flaw::BadSignature.into()) }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        with_key(certificate, |_, raw| {
            let key = SubjectPublicKeyInfoDer::from(raw);
            verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
        })?
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
