//! Whose certificates count.

use rcgen::{
    BasicConstraints, CertificateRevocationListParams, CrlDistributionPoint, CrlIssuingDistributionPoint,
    CrlScope, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyIdMethod, KeyUsagePurpose,
    NameConstraints, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::super::chain::{Flaw, Trust, common_name};
use super::{Made, authority, plain, with};

/// Some time in 2030.
const NOW: i64 = 1_900_000_000;

/// Made by `openssl x509 -req` without a file of extensions: version 1, as its authority is.
const OLD_AUTHORITY: &[u8] = b"-----BEGIN CERTIFICATE-----
MIIBKzCB0wIUSdyGGRcHy1GupVKJpLSpI35B+tQwCgYIKoZIzj0EAwIwGDEWMBQG
A1UEAwwNb2xkIGF1dGhvcml0eTAgFw0yNjExMjMxMjUzNTFaGA8yMTI2MTAzMDEy
NTM1MVowGDEWMBQGA1UEAwwNb2xkIGF1dGhvcml0eTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABNmstroIW3XwIoO7tcY8OH2cpciZqQ1No19EFekRcBHznHdpMbwY
SB8RUQn5gRRiWYqK2JsDBf8fUwG4aAYY6B8wCgYIKoZIzj0EAwIDRwAwRAIgJCRq
Cfk6VnDXN9JUQsh8v7U+GSJbh1J9DcQOfh2r9LACIE9N9uVNLcarVS+UWYbQVAb+
uP9kzWqiZ0IVR9ux1zLh
-----END CERTIFICATE-----
";
const OLD_CLIENT: &[u8] = b"-----BEGIN CERTIFICATE-----
MIIBOTCB3wIUcSPsfxlXdN42o5dShG4Lqhxzt9owCgYIKoZIzj0EAwIwGDEWMBQG
A1UEAwwNb2xkIGF1dGhvcml0eTAgFw0yNjExMjMxMjUzNTFaGA8yMTI2MTAzMDEy
NTM1MVowJDENMAsGA1UECgwES2lsbjETMBEGA1UEAwwKb2xkIGNsaWVudDBZMBMG
ByqGSM49AgEGCCqGSM49AwEHA0IABA3/EmvlA33ICwnS16SfZQbFyJnX6653EVMp
wCmHOn6SuIMbCjrY7LYxNZJItd5SCfbFB6RhHpo84fLPJWmJrYQwCgYIKoZIzj0E
AwIDSQAwRgIhAODWpFsFSVgpyRonWf7xtIayH/FCeZPvPfRAl2WyThN+AiEAgYaT
BIZlBDO5BknFFweFL36xSCW93dCQ2SKmkqaiAOE=
-----END CERTIFICATE-----
";

fn trust(list: &[&Made], depth: usize, revoked: Option<Vec<CertificateRevocationListDer<'static>>>) -> Trust {
    let list = list.iter().map(|made| made.der.clone()).collect();
    Trust::new(list, depth, revoked, ring::default_provider().signature_verification_algorithms).unwrap()
}

fn check(trust: &Trust, end: &Made, sent: &[&Made]) -> Result<(), Flaw> {
    let sent: Vec<_> = sent.iter().map(|made| made.der.clone()).collect();
    trust.check(&end.der, &sent, NOW)
}

#[test]
fn a_certificate_of_a_listed_authority_counts_and_no_other() {
    let (root, other) = (Made::self_signed(authority("root")), Made::self_signed(authority("root")));
    let trust = trust(&[&root], 1, None);
    let good = root.signs(plain("ann"));
    assert_eq!(check(&trust, &good, &[]), Ok(()));
    assert_eq!(common_name(&good.der), "ann");
    // The same name does not make it the same authority, and sending it along does not list it.
    let forged = other.signs(plain("ann"));
    assert_eq!(check(&trust, &forged, &[]), Err(Flaw::BadSignature));
    assert_eq!(check(&trust, &forged, &[&other]), Err(Flaw::BadSignature));
    let stranger = Made::self_signed(authority("stranger"));
    assert_eq!(check(&trust, &stranger.signs(plain("ann")), &[&stranger]), Err(Flaw::UnknownIssuer));
    assert_eq!(check(&trust, &stranger, &[]), Err(Flaw::UnknownIssuer));
    assert_eq!(check(&trust, &Made::self_signed(plain("root")), &[]), Err(Flaw::BadSignature));
    // A bit of the signature, or of what is signed.
    for at in [good.der.len() - 1, good.der.len() / 2] {
        let mut bytes = good.der.to_vec();
        bytes[at] ^= 1;
        assert!(trust.check(&CertificateDer::from(bytes), &[], NOW).is_err(), "byte {at}");
    }
    for cut in 0..good.der.len() {
        let cut = CertificateDer::from(good.der[..cut].to_vec());
        assert_eq!(trust.check(&cut, &[], NOW), Err(Flaw::Garbled));
    }
}

#[test]
fn what_the_guides_of_glusterfs_make_counts() {
    // Every machine signs its own, and the list has all of them.
    let (ann, bob) = (Made::self_signed(authority("ann")), Made::self_signed(plain("bob")));
    let all = trust(&[&ann, &bob], 1, None);
    assert_eq!((check(&all, &ann, &[]), check(&all, &bob, &[])), (Ok(()), Ok(())));
    assert_eq!(check(&all, &Made::self_signed(authority("ann")), &[]), Err(Flaw::BadSignature));
    // Version 1, from before there were extensions.
    let read = |pem| CertificateDer::from_pem_slice(pem).unwrap();
    let algorithms = ring::default_provider().signature_verification_algorithms;
    let old = Trust::new(vec![read(OLD_AUTHORITY)], 1, None, algorithms).unwrap();
    assert_eq!(old.check(&read(OLD_CLIENT), &[], NOW), Ok(()));
    assert_eq!(common_name(&read(OLD_CLIENT)), "old client");
    assert_eq!(old.check(&read(OLD_AUTHORITY), &[], NOW), Ok(()));
    // A usage that is not for clients.
    let usage = with(plain("server"), |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    });
    assert_eq!(check(&all, &ann.signs(usage), &[]), Ok(()));
}

#[test]
fn authorities_between_count_up_to_the_depth() {
    let root = Made::self_signed(authority("root"));
    let one = root.signs(authority("one"));
    let two = one.signs(authority("two"));
    let ann = two.signs(plain("ann"));
    for (depth, expected) in [(0, Err(Flaw::TooLong)), (1, Err(Flaw::TooLong)), (2, Ok(())), (9, Ok(()))] {
        assert_eq!(check(&trust(&[&root], depth, None), &ann, &[&one, &two]), expected, "depth {depth}");
        // Also when they are listed rather than sent.
        assert_eq!(check(&trust(&[&two, &one, &root], depth, None), &ann, &[]), expected, "depth {depth}");
    }
    assert_eq!(check(&trust(&[&root], 9, None), &ann, &[&two]), Err(Flaw::UnknownIssuer));
    assert_eq!(
        check(&trust(&[&one, &two], 9, None), &ann, &[]),
        Err(Flaw::UnknownIssuer),
        "none of them has signed itself"
    );
    // One that allows no other authority below it.
    let last = root.signs(with(authority("last"), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    }));
    let below = last.signs(authority("below"));
    let trust = trust(&[&root], 9, None);
    assert_eq!(check(&trust, &last.signs(plain("ann")), &[&last]), Ok(()));
    assert_eq!(check(&trust, &below.signs(plain("ann")), &[&last, &below]), Err(Flaw::TooLong));
}

#[test]
fn those_that_are_no_authorities_cannot_vouch() {
    let root = Made::self_signed(authority("root"));
    let only = |root: &Made| trust(&[root], 5, None);
    let usage = with(authority("x"), |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    // A usage of the key is enough at the top, but not between.
    let signs = with(plain("x"), |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    });
    let top = Made::self_signed(signs.clone());
    assert_eq!(check(&only(&top), &top.signs(plain("ann")), &[]), Ok(()));
    for params in [
        signs,
        plain("x"),
        with(plain("x"), |params| {
            params.is_ca = IsCa::ExplicitNoCa;
        }),
        usage,
    ] {
        let middle = root.signs(params);
        assert_eq!(check(&only(&root), &middle.signs(plain("ann")), &[&middle]), Err(Flaw::NoAuthority));
    }
}

#[test]
fn times_and_extensions_are_looked_at() {
    let root = Made::self_signed(authority("root"));
    let trust = trust(&[&root], 5, None);
    let params = || {
        with(plain("ann"), |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2040, 1, 1);
        })
    };
    let ann = root.signs(params());
    for (now, expected) in
        [(1_500_000_000, Err(Flaw::NotYet)), (NOW, Ok(())), (2_300_000_000, Err(Flaw::Expired))]
    {
        assert_eq!(trust.check(&ann.der, &[], now), expected);
    }
    let middle = root.signs(with(params(), |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }));
    let below = middle.signs(plain("bob"));
    assert_eq!(trust.check(&below.der, std::slice::from_ref(&middle.der), 2_300_000_000), Err(Flaw::Expired));
    for (critical, expected) in [(true, Err(Flaw::Critical)), (false, Ok(()))] {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(critical);
        let odd = root.signs(with(plain("odd"), |params| {
            params.custom_extensions = vec![extension];
        }));
        assert_eq!(check(&trust, &odd, &[]), expected);
    }
    let subtree = GeneralSubtree::DnsName("example.org".into());
    let names = NameConstraints { permitted_subtrees: vec![subtree], excluded_subtrees: Vec::new() };
    let middle = root.signs(with(authority("names"), |params| {
        params.name_constraints = Some(names);
    }));
    assert_eq!(check(&trust, &middle.signs(plain("ann")), &[&middle]), Err(Flaw::Constrained));
}

/// An extension by its number and its contents.
fn extension(oid: &[u64], contents: &[u8]) -> CustomExtension {
    CustomExtension::from_oid_content(oid, contents.to_vec())
}

#[test]
fn the_issuer_that_a_certificate_names_counts() {
    const AUTHORITY_KEY: [u64; 4] = [2, 5, 29, 35];
    let root = Made::self_signed(authority("root"));
    let said = |contents: &[u8]| {
        root.signs(with(plain("ann"), |params| {
            params.custom_extensions = vec![extension(&AUTHORITY_KEY, contents)];
        }))
    };
    let only = |root: &Made| trust(&[root], 5, None);
    // An empty one says nothing. Then another key, and another number with the name of somebody else.
    assert_eq!(check(&only(&root), &said(&[0x30, 0]), &[]), Ok(()));
    assert_eq!(check(&only(&root), &said(&[0x30, 6, 0x80, 4, 1, 2, 3, 4]), &[]), Err(Flaw::UnknownIssuer));
    let other = [0x30, 9, 0xa1, 4, 0xa4, 2, 0x30, 0, 0x82, 1, 77];
    assert_eq!(check(&only(&root), &said(&other), &[]), Err(Flaw::UnknownIssuer));
    // One that calls itself its issuer, and says that another key has signed it.
    let odd = Made::self_signed(with(authority("odd"), |params| {
        params.custom_extensions = vec![extension(&AUTHORITY_KEY, &[0x30, 6, 0x80, 4, 1, 2, 3, 4])];
    }));
    assert_eq!(check(&only(&odd), &odd, &[]), Err(Flaw::UnknownIssuer));
    assert_eq!(check(&only(&odd), &odd.signs(plain("ann")), &[]), Err(Flaw::UnknownIssuer));
}

#[test]
fn nobody_acts_for_others() {
    let root = Made::self_signed(authority("root"));
    // proxyCertInfo: whatever language.
    let info = [0x30, 12, 0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 21, 0];
    for critical in [false, true] {
        let mut proxy = extension(&[1, 3, 6, 1, 5, 5, 7, 1, 14], &info);
        proxy.set_criticality(critical);
        let ann = root.signs(with(plain("ann"), |params| {
            params.custom_extensions = vec![proxy];
        }));
        assert_eq!(check(&trust(&[&root], 5, None), &ann, &[]), Err(Flaw::Critical));
    }
}

#[test]
fn revoked_ones_do_not_count() {
    let root = Made::self_signed(authority("root"));
    let middle = root.signs(authority("middle"));
    let serial = |number| {
        with(plain("ann"), |params| {
            params.serial_number = Some(SerialNumber::from(number));
        })
    };
    let list_since = |of: &Made, revoked: &[u64], since, until, part| {
        let revoked = revoked.iter().map(|number| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(since, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: part,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&of.issuer()).unwrap().der().clone()
    };
    let list = |of: &Made, revoked: &[u64], until| list_since(of, revoked, 2020, until, None);
    let (good, bad) = (root.signs(serial(77)), root.signs(serial(78)));
    let lists = |lists| trust(&[&root], 1, Some(lists));
    let with = lists(vec![list(&root, &[78, 300], 2040)]);
    assert_eq!((check(&with, &good, &[]), check(&with, &bad, &[])), (Ok(()), Err(Flaw::Revoked)));
    let below = middle.signs(serial(78));
    assert_eq!(check(&with, &below, &[&middle]), Err(Flaw::NoList), "the one between has none");
    let both = lists(vec![list(&root, &[78], 2040), list(&middle, &[79], 2040)]);
    assert_eq!(check(&both, &below, &[&middle]), Ok(()), "another authority's number");
    assert_eq!(check(&lists(vec![list(&root, &[], 2021)]), &good, &[]), Err(Flaw::NoList), "too old");
    let forged = list(&Made::self_signed(authority("root")), &[], 2040);
    assert_eq!(check(&lists(vec![forged]), &good, &[]), Err(Flaw::NoList));
    // The newest says it, whichever order they are found in.
    let (old, new) = (list(&root, &[], 2040), list_since(&root, &[78], 2021, 2040, None));
    for both in [vec![old.clone(), new.clone()], vec![new, old]] {
        let both = lists(both);
        assert_eq!((check(&both, &bad, &[]), check(&both, &good, &[])), (Err(Flaw::Revoked), Ok(())));
    }
    // One that is not of all certificates does not tell whether this one is revoked.
    let part = CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint { uris: vec!["http://example.org/list".into()] },
        scope: Some(CrlScope::CaCertsOnly),
    };
    let part = list_since(&root, &[], 2020, 2040, Some(part));
    assert_eq!(check(&lists(vec![part]), &good, &[]), Err(Flaw::NoList));
}
