//! `ssl-cipher-list` and `ssl-ec-curve`: OpenSSL's words for what rustls has.
//!
//! The list is for TLS 1.2 alone, as with a stock brick; all suites of TLS 1.3 are always there.

use rustls::crypto::{SupportedKxGroup, ring};
use rustls::{CipherSuite, SupportedCipherSuite};

/// A suite of TLS 1.2 that rustls has.
struct Suite {
    suite: CipherSuite,
    /// What it is called.
    names: [&'static str; 2],
    /// Groups that it belongs to, besides those of all.
    groups: &'static [&'static str],
    /// Bits of its key.
    bits: u32,
}

/// Groups of every suite in [`SUITES`].
const COMMON: [&str; 9] = ["ALL", "DEFAULT", "HIGH", "EECDH", "ECDHE", "kEECDH", "kECDHE", "AEAD", "TLSv1.2"];

/// In OpenSSL's order.
const SUITES: [Suite; 6] = [
    Suite {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        names: ["ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"],
        groups: &["ECDSA", "aECDSA", "AES", "AES256", "AESGCM", "FIPS"],
        bits: 256,
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        names: ["ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"],
        groups: &["aRSA", "AES", "AES256", "AESGCM", "FIPS"],
        bits: 256,
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        names: ["ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"],
        groups: &["ECDSA", "aECDSA", "CHACHA20"],
        bits: 256,
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        names: ["ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"],
        groups: &["aRSA", "CHACHA20"],
        bits: 256,
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        names: ["ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
        groups: &["ECDSA", "aECDSA", "AES", "AES128", "AESGCM", "FIPS"],
        bits: 128,
    },
    Suite {
        suite: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        names: ["ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        groups: &["aRSA", "AES", "AES128", "AESGCM", "FIPS"],
        bits: 128,
    },
];

impl Suite {
    /// Whether it is in all groups that `word` joins by `+`.
    fn is(&self, word: &str) -> bool {
        word.split('+')
            .all(|part| self.names.contains(&part) || self.groups.contains(&part) || COMMON.contains(&part))
    }
}

/// What a list chooses.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    /// Suites, the preferred first; those of TLS 1.3 before all.
    pub suites: Vec<SupportedCipherSuite>,
    /// Words that ask for something that rustls does not have.
    pub without_effect: Vec<String>,
    /// Whether none of TLS 1.2 is left.
    pub only_13: bool,
}

/// What an OpenSSL cipher list chooses.
pub(super) fn choose(list: &str) -> Chosen {
    let mut without_effect = Vec::new();
    let mut chosen: Vec<&Suite> = Vec::new();
    let mut banned: Vec<CipherSuite> = Vec::new();
    for word in list.split([':', ',', ' ', ';']).filter(|word| !word.is_empty()) {
        if word == "@STRENGTH" {
            chosen.sort_by_key(|suite| std::cmp::Reverse(suite.bits));
        } else if let Some(word) = word.strip_prefix('!') {
            banned.extend(SUITES.iter().filter(|suite| suite.is(word)).map(|suite| suite.suite));
            chosen.retain(|suite| !suite.is(word));
        } else if let Some(word) = word.strip_prefix('-') {
            chosen.retain(|suite| !suite.is(word));
        } else if let Some(word) = word.strip_prefix('+') {
            let (last, first): (Vec<&Suite>, Vec<&Suite>) =
                chosen.into_iter().partition(|suite| suite.is(word));
            chosen = first.into_iter().chain(last).collect();
        } else if SUITES.iter().any(|suite| suite.is(word)) {
            for suite in SUITES.iter().filter(|suite| suite.is(word)) {
                let is_new = chosen.iter().all(|known| known.suite != suite.suite);
                if is_new && !banned.contains(&suite.suite) {
                    chosen.push(suite);
                }
            }
        } else {
            without_effect.push(word.to_owned());
        }
    }
    let all = ring::ALL_CIPHER_SUITES;
    let of_13 = all.iter().filter(|suite| suite.tls13().is_some());
    let of_12 = chosen.iter().filter_map(|wanted| all.iter().find(|suite| suite.suite() == wanted.suite));
    Chosen { suites: of_13.chain(of_12).copied().collect(), without_effect, only_13: chosen.is_empty() }
}

/// The group that OpenSSL calls by this name.
pub(super) fn curve(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    match name {
        "prime256v1" | "secp256r1" | "P-256" => Some(ring::kx_group::SECP256R1),
        "secp384r1" | "P-384" => Some(ring::kx_group::SECP384R1),
        "X25519" | "x25519" => Some(ring::kx_group::X25519),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::DEFAULT_CIPHERS;
    use super::*;

    fn names(list: &str) -> Vec<&'static str> {
        let of_12 = choose(list).suites.into_iter().filter(|suite| suite.tls13().is_none());
        of_12
            .filter_map(|suite| SUITES.iter().find(|known| known.suite == suite.suite()))
            .map(|known| known.names[0])
            .collect()
    }

    #[test]
    fn the_default_list_prefers_short_keys_and_has_all() {
        let names = names(DEFAULT_CIPHERS);
        assert_eq!(names[..2], ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]);
        assert_eq!(names.len(), SUITES.len());
        assert_eq!(choose(DEFAULT_CIPHERS).without_effect, ["EDH"]);
    }

    #[test]
    fn lists_mean_what_openssl_takes_them_for() {
        for (list, expected) in [
            ("AES256-SHA", &[][..]),
            ("ECDHE-RSA-AES256-GCM-SHA384", &["ECDHE-RSA-AES256-GCM-SHA384"]),
            ("EECDH+AESGCM+aRSA", &["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]),
            ("!AES,HIGH:!aRSA", &["ECDHE-ECDSA-CHACHA20-POLY1305"]),
            ("aRSA:+AES256:-CHACHA20", &["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"]),
            (
                "aRSA+AES128 aRSA+AES256 @STRENGTH",
                &["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"],
            ),
        ] {
            assert_eq!(names(list), expected, "{list}");
        }
        let none = choose("AES256-SHA:nonsense:!MD5");
        assert_eq!(none.without_effect, ["AES256-SHA", "nonsense"]);
        assert!(none.only_13 && none.suites.len() == 3, "TLS 1.3 stays");
    }
}
