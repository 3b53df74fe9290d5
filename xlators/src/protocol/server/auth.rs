//! Who may use a brick: `auth.addr` and `auth.login`.
//!
//! Each method accepts, rejects, or has no opinion. One rejection refuses, and at least one must accept.

use std::net::IpAddr;

use kiln_uring::net::Address;

use crate::options::Options;
use crate::protocol::xdr::LegacyDict;

/// What a method says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opinion {
    Accept,
    Reject,
    None,
}

/// Whether a client at `peer` that sent `request` may use `brick`.
/// Whose certificate is for `certified`, if the connection is encrypted.
pub(super) fn admits(
    options: &Options,
    brick: &str,
    peer: &Address,
    certified: Option<&str>,
    request: &LegacyDict,
) -> bool {
    let login = match certified {
        Some(name) => by_certificate(options, brick, name),
        None => by_login(options, brick, request),
    };
    let opinions = [by_address(options, brick, peer), login];
    !opinions.contains(&Opinion::Reject) && opinions.contains(&Opinion::Accept)
}

/// Whether the peer's port is one that only the superuser can use; unix sockets count as that.
pub(super) fn is_privileged(peer: &Address) -> bool {
    peer.port().is_none_or(|port| port < 1024)
}

fn by_address(options: &Options, brick: &str, peer: &Address) -> Opinion {
    let list = |what: &str| options.text(&format!("auth.addr.{brick}.{what}"));
    let (allow, reject) = (list("allow"), list("reject"));
    if allow.is_none() && reject.is_none() {
        return Opinion::None;
    }
    if !options.bool("rpc-auth-allow-insecure") && !is_privileged(peer) {
        return Opinion::Reject;
    }
    if reject.is_some_and(|list| matches(list, peer)) {
        return Opinion::Reject;
    }
    match allow {
        Some(list) if matches(list, peer) => Opinion::Accept,
        Some(_) => Opinion::Reject,
        None => Opinion::Accept,
    }
}

/// A certificate takes the place of user name and password.
fn by_certificate(options: &Options, brick: &str, name: &str) -> Opinion {
    let Some(allowed) = options.text(&format!("auth.login.{brick}.ssl-allow")) else { return Opinion::None };
    let patterns = allowed.split([',', ' ']).filter(|pattern| !pattern.is_empty());
    let found = patterns.into_iter().any(|pattern| glob(pattern.as_bytes(), name.as_bytes()));
    if found { Opinion::Accept } else { Opinion::Reject }
}

fn by_login(options: &Options, brick: &str, request: &LegacyDict) -> Opinion {
    let (user, password) = (request.text("username"), request.text("password"));
    let (Some(user), Some(password)) = (user, password) else {
        return if options.bool("strict-auth-accept") { Opinion::Reject } else { Opinion::None };
    };
    let Some(allowed) = options.text(&format!("auth.login.{brick}.allow")) else { return Opinion::None };
    if !allowed.split([',', ' ']).any(|known| known == user || known == "*") {
        return Opinion::Reject;
    }
    match options.text(&format!("auth.login.{user}.password")) {
        Some(right) if same(right.as_bytes(), password.as_bytes()) => Opinion::Accept,
        _ => Opinion::Reject,
    }
}

/// Compares without telling by the time taken how far two secrets agree.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Whether the address is in the list. Patterns after a `!` exclude; a directory before brackets is not looked at, because
/// only the whole volume can be mounted.
fn matches(list: &str, peer: &Address) -> bool {
    let text = match peer {
        Address::Ip(address) => canonical(address.ip()).to_string(),
        other => other.to_string(),
    };
    list.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()).any(|pattern| {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        let found = glob(pattern.as_bytes(), text.as_bytes())
            || in_network(pattern, peer)
            || (pattern == "localhost" && is_loopback(peer));
        found != negated
    })
}

/// IPv4 in the clothes of IPv6 is IPv4.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

fn is_loopback(peer: &Address) -> bool {
    matches!(peer, Address::Ip(address) if canonical(address.ip()).is_loopback())
}

/// `address/bits`
fn in_network(pattern: &str, peer: &Address) -> bool {
    let Address::Ip(peer) = peer else { return false };
    let Some((network, bits)) = pattern.split_once('/') else { return false };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (network, canonical(peer.ip())) {
        (IpAddr::V4(network), IpAddr::V4(peer)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            network.to_bits() & mask == peer.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(peer)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            network.to_bits() & mask == peer.to_bits() & mask
        }
        _ => false,
    }
}

/// `*` and `?`, as in names of files.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::super::options::OPTIONS;
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        Options::new(OPTIONS, pairs.iter().map(|(key, value)| ((*key).into(), (*value).into()))).unwrap()
    }

    fn admitted(pairs: &[(&str, &str)], peer: &str, login: Option<(&str, &str)>) -> bool {
        let mut request = LegacyDict::new();
        if let Some((user, password)) = login {
            request.set_text("username", user);
            request.set_text("password", password);
        }
        admits(&options(pairs), "/b", &Address::Ip(peer.parse().unwrap()), None, &request)
    }

    #[test]
    fn addresses() {
        let allow = |list| [("auth.addr./b.allow", list)];
        assert!(admitted(&allow("*"), "10.1.2.3:5", None));
        assert!(admitted(&allow("192.168.*, 10.1.2.3"), "10.1.2.3:5", None));
        assert!(admitted(&allow("10.0.0.0/8"), "[::ffff:10.1.2.3]:5", None));
        assert!(admitted(&allow("fe80::/10"), "[fe80::1]:5", None));
        assert!(admitted(&allow("localhost"), "127.0.0.1:5", None));
        assert!(admitted(&allow("0.0.0.0/0"), "9.9.9.9:5", None));
        assert!(!admitted(&allow("192.168.*"), "10.1.2.3:5", None));
        assert!(!admitted(&allow("!10.*"), "10.1.2.3:5", None));
        assert!(!admitted(&[("auth.addr./other.allow", "*")], "10.1.2.3:5", None));
        assert!(!admitted(&[], "10.1.2.3:5", None), "no opinion is no admission");
        let both = [("auth.addr./b.allow", "*"), ("auth.addr./b.reject", "10.*")];
        assert!(!admitted(&both, "10.1.2.3:5", None) && admitted(&both, "11.1.2.3:5", None));
        let secure = [("auth.addr./b.allow", "*"), ("rpc-auth-allow-insecure", "off")];
        assert!(!admitted(&secure, "10.1.2.3:1024", None) && admitted(&secure, "10.1.2.3:1023", None));
    }

    #[test]
    fn logins() {
        let rules = [("auth.login./b.allow", "ann,bob"), ("auth.login.ann.password", "x")];
        assert!(admitted(&rules, "10.1.2.3:5", Some(("ann", "x"))));
        assert!(!admitted(&rules, "10.1.2.3:5", Some(("ann", "y"))));
        assert!(!admitted(&rules, "10.1.2.3:5", Some(("bob", "x"))), "bob has no password");
        assert!(!admitted(&rules, "10.1.2.3:5", Some(("eve", "x"))));
        assert!(!admitted(&rules, "10.1.2.3:5", None), "nobody else accepts");
        let mixed = [&rules[..], &[("auth.addr./b.allow", "*")]].concat();
        assert!(admitted(&mixed, "10.1.2.3:5", None));
        assert!(!admitted(&mixed, "10.1.2.3:5", Some(("ann", "y"))), "a wrong password refuses");
        let strict = [&mixed[..], &[("strict-auth-accept", "on")]].concat();
        assert!(!admitted(&strict, "10.1.2.3:5", None));
    }

    #[test]
    fn certificates() {
        let admitted = |pairs: &[(&str, &str)], name| {
            let peer = Address::Ip("10.1.2.3:5".parse().unwrap());
            let mut request = LegacyDict::new();
            request.set_text("username", "ann");
            request.set_text("password", "wrong");
            admits(&options(pairs), "/b", &peer, Some(name), &request)
        };
        let names = [("auth.login./b.ssl-allow", "ann, *.example.org")];
        assert!(admitted(&names, "ann") && admitted(&names, "www.example.org"));
        assert!(!admitted(&names, "bob") && !admitted(&names, ""));
        assert!(!admitted(&[], "ann"), "no opinion is no admission");
        let address = [("auth.addr./b.allow", "*")];
        assert!(admitted(&address, "anybody"));
        assert!(!admitted(&[&names[..], &address].concat(), "bob"), "a rejection refuses");
        let login = [("auth.login./b.allow", "ann"), ("auth.login.ann.password", "right")];
        assert!(admitted(&[&login[..], &address].concat(), "x"), "passwords are not looked at");
        assert!(!admitted(&login, "x"), "nor do they accept");
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("1?.*", "10.5", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b", "acd", false),
            ("", "x", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
