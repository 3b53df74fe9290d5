//! Whether a certificate is vouched for: from it up to an authority of `ssl-ca-list`.
//!
//! The rules are those that OpenSSL goes by in a stock brick, because its users' certificates were made for it: self-signed
//! ones that are in the list themselves, version 1 without any extension, any key usage at the lower end. The validators that
//! come with rustls take none of these. It is stricter in two things: signatures with MD5 or SHA-1 and RSA keys below 2048
//! bits count for nothing, and authorities that constrain names are not trusted, as no names are compared here.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::asn1_rs::{Any, BitString, Oid, oid};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension, X509Extension};
use x509_parser::prelude::{FromDer, X509Version};
use x509_parser::revocation_list::CertificateRevocationList;
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

/// Signatures that are checked for one certificate at most: names can be arranged so that there are many ways up, and with
/// the longest keys each costs about a millisecond.
const CHECKS: u32 = 24;
/// Certificates beyond its own that a peer may send.
const SENT: usize = 16;
/// proxyCertInfo: a certificate that is to act for the one that has signed it.
const PROXY: Oid<'_> = oid!(1.3.6.1.5.5.7.1.14);
/// deltaCRLIndicator: a list of changes to another one.
const DELTA: Oid<'_> = oid!(2.5.29.27);

/// Why a certificate is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("a certificate does not decode")]
    Garbled,
    #[error("its certificate is of an authority that is not in ssl-ca-list")]
    UnknownIssuer,
    #[error("its certificate, or one above it, has expired")]
    Expired,
    #[error("its certificate, or one above it, is not valid yet")]
    NotYet,
    #[error("a signature on its certificate, or on one above it, is wrong or of a kind that counts no more")]
    BadSignature,
    #[error("there are more authorities above its certificate than ssl-cert-depth allows")]
    TooLong,
    #[error("its certificate is signed by one that is no authority")]
    NoAuthority,
    #[error("a certificate has a critical extension that is not understood here")]
    Critical,
    #[error("its certificate is of an authority that constrains names, which is not supported")]
    Constrained,
    #[error("its certificate, or one above it, has been revoked")]
    Revoked,
    #[error("ssl-crl-path has no valid list of its authority's revoked certificates")]
    NoList,
}

/// A certificate of `ssl-ca-list`.
#[derive(Debug)]
struct Known {
    der: CertificateDer<'static>,
    subject: Vec<u8>,
}

/// What certificates are compared with.
#[derive(Debug)]
pub(super) struct Trust {
    known: Vec<Known>,
    /// Authorities that there may be between a certificate and one that has signed itself.
    depth: usize,
    /// Lists of revoked certificates; every authority must have one if there are any.
    revoked: Option<Vec<CertificateRevocationListDer<'static>>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// A way up that is being tried.
struct Climb<'a> {
    trust: &'a Trust,
    sent: &'a [X509Certificate<'a>],
    now: i64,
    checks: u32,
}

impl Trust {
    /// Certificates that do not decode are an error.
    pub(super) fn new(
        list: Vec<CertificateDer<'static>>,
        depth: usize,
        revoked: Option<Vec<CertificateRevocationListDer<'static>>>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Result<Self, Flaw> {
        let known = list.into_iter().map(|der| {
            let subject = parse(&der)?.subject.as_raw().to_vec();
            Ok(Known { der, subject })
        });
        Ok(Self { known: known.collect::<Result<_, Flaw>>()?, depth, revoked, algorithms })
    }

    /// Whether `end` is vouched for at `now` (seconds since 1970), perhaps with the help of others that were sent along.
    pub(super) fn check(
        &self,
        end: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: i64,
    ) -> Result<(), Flaw> {
        let end = parse(end)?;
        let sent = sent.iter().take(SENT).map(|der| parse(der)).collect::<Result<Vec<_>, _>>()?;
        let mut climb = Climb { trust: self, sent: &sent, now, checks: CHECKS };
        climb.from(&[&end])
    }

    /// Whether it ends a way up: it has signed itself, by what it says, and is listed.
    fn is_top(&self, certificate: &X509Certificate<'_>) -> bool {
        certificate.subject.as_raw() == certificate.issuer.as_raw()
            && may_have_issued(certificate, certificate)
            && self.known.iter().any(|known| *known.der == *certificate.as_raw())
    }

    /// Whether the key has signed the document, a certificate or a list of revoked ones.
    fn is_signed(&self, document: &[u8], key: &SubjectPublicKeyInfo<'_>) -> bool {
        let Some(signed) = Signed::parse(document) else { return false };
        let Some(key_algorithm) = key_algorithm(key) else { return false };
        let bits = &key.subject_public_key.data;
        let fits = |algorithm: &&&dyn rustls::pki_types::SignatureVerificationAlgorithm| {
            *algorithm.signature_alg_id() == *signed.algorithm
                && *algorithm.public_key_alg_id() == *key_algorithm
        };
        self.algorithms
            .all
            .iter()
            .filter(fits)
            .any(|algorithm| algorithm.verify_signature(bits, signed.body, signed.signature).is_ok())
    }
}

impl Climb<'_> {
    /// Goes on from the last certificate of `path`, which vouches for those before it.
    fn from(&mut self, path: &[&X509Certificate<'_>]) -> Result<(), Flaw> {
        let Some(last) = path.last() else { return Err(Flaw::Garbled) };
        self.check_alone(last)?;
        let trust = self.trust;
        if trust.is_top(last) {
            return self.check_revoked(path);
        }
        // Neither the lowest nor the highest counts.
        if path.len() > trust.depth + 1 {
            return Err(Flaw::TooLong);
        }
        let wanted = last.issuer.as_raw();
        let mut flaw = Flaw::UnknownIssuer;
        for known in trust.known.iter().filter(|known| known.subject == wanted) {
            let above = parse(&known.der)?;
            match self.step(path, &above) {
                Ok(()) => return Ok(()),
                Err(found) => flaw = flaw.or(found),
            }
        }
        for above in self.sent.iter().filter(|sent| sent.subject.as_raw() == wanted) {
            match self.step(path, above) {
                Ok(()) => return Ok(()),
                Err(found) => flaw = flaw.or(found),
            }
        }
        Err(flaw)
    }

    fn step(&mut self, path: &[&X509Certificate<'_>], above: &X509Certificate<'_>) -> Result<(), Flaw> {
        if path.iter().any(|below| below.as_raw() == above.as_raw()) {
            return Err(Flaw::UnknownIssuer);
        }
        let Some(last) = path.last() else { return Err(Flaw::Garbled) };
        if !may_have_issued(above, last) {
            return Err(Flaw::UnknownIssuer);
        }
        check_authority(above, path, self.trust.is_top(above))?;
        self.checks = self.checks.checked_sub(1).ok_or(Flaw::TooLong)?;
        if last.signature_algorithm != last.tbs_certificate.signature
            || !self.trust.is_signed(last.as_raw(), &above.tbs_certificate.subject_pki)
        {
            return Err(Flaw::BadSignature);
        }
        self.from(&[path, &[above]].concat())
    }

    /// What holds for a certificate wherever it stands.
    fn check_alone(&self, certificate: &X509Certificate<'_>) -> Result<(), Flaw> {
        let validity = certificate.validity();
        if self.now < validity.not_before.timestamp() {
            return Err(Flaw::NotYet);
        }
        if self.now > validity.not_after.timestamp() {
            return Err(Flaw::Expired);
        }
        let mut seen = Vec::new();
        for extension in certificate.extensions() {
            if seen.contains(&&extension.oid) {
                return Err(Flaw::Garbled);
            }
            seen.push(&extension.oid);
            match extension.parsed_extension() {
                ParsedExtension::ParseError { .. } => return Err(Flaw::Garbled),
                ParsedExtension::NameConstraints(_) => return Err(Flaw::Constrained),
                ParsedExtension::BasicConstraints(_)
                | ParsedExtension::KeyUsage(_)
                | ParsedExtension::ExtendedKeyUsage(_)
                | ParsedExtension::SubjectAlternativeName(_)
                | ParsedExtension::CertificatePolicies(_)
                | ParsedExtension::PolicyMappings(_)
                | ParsedExtension::PolicyConstraints(_)
                | ParsedExtension::InhibitAnyPolicy(_)
                | ParsedExtension::CRLDistributionPoints(_)
                | ParsedExtension::NSCertType(_) => {}
                // Nobody is to act for others, whatever the certificate says of whether that matters.
                _ if extension.oid == PROXY => return Err(Flaw::Critical),
                _ if extension.critical => return Err(Flaw::Critical),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether none of a path that leads to the top has been revoked, where lists are kept.
    fn check_revoked(&self, path: &[&X509Certificate<'_>]) -> Result<(), Flaw> {
        let Some(lists) = &self.trust.revoked else { return Ok(()) };
        for (at, certificate) in path.iter().enumerate() {
            let issuer = path.get(at + 1).unwrap_or(certificate);
            // An older one may be valid still, but does not know of what was revoked since.
            let found = lists
                .iter()
                .filter_map(|der| self.valid_list(der, issuer))
                .max_by_key(|list| list.last_update().timestamp())
                .ok_or(Flaw::NoList)?;
            let serial = certificate.tbs_certificate.raw_serial();
            if found.iter_revoked_certificates().any(|revoked| revoked.raw_serial() == serial) {
                return Err(Flaw::Revoked);
            }
        }
        Ok(())
    }

    /// The list, if it is the issuer's and to be believed now.
    fn valid_list<'l>(
        &self,
        der: &'l CertificateRevocationListDer<'_>,
        issuer: &X509Certificate<'_>,
    ) -> Option<CertificateRevocationList<'l>> {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        let may_sign = key_usage(issuer).is_none_or(|usage| usage.crl_sign());
        let is_over = |time: ASN1Time| self.now > time.timestamp();
        (list.issuer().as_raw() == issuer.subject.as_raw()
            && may_sign
            && list.last_update().timestamp() <= self.now
            && !list.next_update().is_some_and(is_over)
            && list.extensions().iter().all(is_of_whole_list)
            && list
                .iter_revoked_certificates()
                .all(|revoked| revoked.extensions().iter().all(|extension| !extension.critical))
            && list.signature_algorithm == list.tbs_cert_list.signature
            && self.trust.is_signed(der, &issuer.tbs_certificate.subject_pki))
        .then_some(list)
    }
}

impl Flaw {
    /// The flaw that tells more.
    const fn or(self, other: Self) -> Self {
        if matches!(other, Self::UnknownIssuer) { self } else { other }
    }
}

fn key_usage<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a x509_parser::extensions::KeyUsage> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::KeyUsage(usage) => Some(usage),
        _ => None,
    })
}

/// Whether a list with this extension can be one of all that its authority has revoked, for whatever reason.
fn is_of_whole_list(extension: &X509Extension<'_>) -> bool {
    !extension.critical
        && extension.oid != DELTA
        && !matches!(extension.parsed_extension(), ParsedExtension::IssuingDistributionPoint(_))
}

/// Whether `below` does not say that its issuer is another one than `above`, which has the name.
fn may_have_issued(above: &X509Certificate<'_>, below: &X509Certificate<'_>) -> bool {
    let told = below.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(told) => Some(told),
        _ => None,
    });
    let Some(told) = told else { return true };
    let own = above.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(own) => Some(own),
        _ => None,
    });
    let key = told.key_identifier.as_ref().zip(own).is_none_or(|(told, own)| told == own);
    let serial = told.authority_cert_serial.is_none_or(|serial| serial == above.tbs_certificate.raw_serial());
    let names = told.authority_cert_issuer.iter().flatten();
    let mut names = names.filter_map(|name| match name {
        GeneralName::DirectoryName(name) => Some(name),
        _ => None,
    });
    key && serial && names.next().is_none_or(|name| name.as_raw() == above.issuer.as_raw())
}

/// Whether `above`, at the top or between, may sign certificates, with those of `path` below it.
fn check_authority(
    above: &X509Certificate<'_>,
    path: &[&X509Certificate<'_>],
    is_top: bool,
) -> Result<(), Flaw> {
    let usage = key_usage(above);
    if usage.is_some_and(|usage| !usage.key_cert_sign()) {
        return Err(Flaw::NoAuthority);
    }
    let constraints = above.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::BasicConstraints(constraints) => Some(constraints),
        _ => None,
    });
    match constraints {
        Some(constraints) if !constraints.ca => Err(Flaw::NoAuthority),
        Some(constraints) => {
            let counts = |below: &&&X509Certificate<'_>| below.subject.as_raw() != below.issuer.as_raw();
            let between = path.iter().skip(1).filter(counts).count();
            let most = constraints.path_len_constraint.map_or(usize::MAX, |len| len as usize);
            if between > most { Err(Flaw::TooLong) } else { Ok(()) }
        }
        // From before there were extensions, or saying it by the usage of the key alone: only of those that are listed.
        None if is_top && (usage.is_some() || above.version() == X509Version::V1) => Ok(()),
        None => Err(Flaw::NoAuthority),
    }
}

/// A certificate, with nothing after it.
fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Flaw> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Flaw::Garbled),
    }
}

/// The key of a certificate, and its form on the wire.
pub(super) fn with_key<T>(
    der: &CertificateDer<'_>,
    then: impl FnOnce(&SubjectPublicKeyInfo<'_>, &[u8]) -> T,
) -> Result<T, Flaw> {
    let certificate = parse(der)?;
    let key = certificate.public_key();
    Ok(then(key, key.raw))
}

/// The first common name of the subject; empty when there is none that is text, or when it holds a NUL, before which
/// others would stop reading.
pub(super) fn common_name(der: &CertificateDer<'_>) -> String {
    let Ok(certificate) = parse(der) else { return String::new() };
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    name.filter(|name| !name.contains('\0')).unwrap_or_default().to_owned()
}

/// What an algorithm's identifier holds, for a key.
pub(super) fn key_algorithm<'a>(key: &SubjectPublicKeyInfo<'a>) -> Option<&'a [u8]> {
    let (_, outer) = Any::from_der(key.raw).ok()?;
    let (_, algorithm) = Any::from_der(outer.data).ok()?;
    Some(algorithm.data)
}

/// The three parts of a certificate or a list of revoked ones.
struct Signed<'a> {
    body: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let (_, outer) = Any::from_der(der).ok()?;
        let (rest, _) = Any::from_der(outer.data).ok()?;
        let body = outer.data.get(..outer.data.len() - rest.len())?;
        let (rest, algorithm) = Any::from_der(rest).ok()?;
        let (_, signature) = Any::from_der(rest).ok()?;
        let _: BitString<'_> = signature.clone().try_into().ok()?;
        // A bit string begins with the number of bits that its last byte lacks: none, here.
        let (0, signature) = signature.data.split_first()? else { return None };
        Some(Self { body, algorithm: algorithm.data, signature })
    }
}
