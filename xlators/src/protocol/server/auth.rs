//! Who may use a brick: `auth.addr` and `auth.login`.
//!
//! Each method accepts, rejects, or has no opinion. One rejection refuses, and at least one must accept. An address that is in
//! no list is no reason to refuse: GlusterFS's own daemons come with a password, from wherever they run.

use std::net::IpAddr;
use std::rc::Rc;

use kiln_uring::net::Address;

use crate::options::Options;
use crate::protocol::xdr::LegacyDict;
use crate::storage::posix::fnmatch;

/// What a method says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opinion {
    Accept,
    Reject,
    None,
}

/// Who wants to use what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visitor<'a> {
    pub peer: &'a Address,
    pub brick: &'a str,
    /// The directory of the brick that it wants to mount; `/` for all of it.
    pub directory: &'a str,
    /// Whose certificate it has, if the connection is encrypted.
    pub certified: Option<&'a str>,
    pub request: &'a LegacyDict,
}

/// The addresses of the hosts that are named by the rules.
pub(super) type Hosts = [(String, Rc<[IpAddr]>)];

/// The names of hosts in the rules for this visitor: their addresses must be known before [`admits`] is asked.
pub(super) fn hosts(options: &Options, visitor: &Visitor<'_>) -> Vec<String> {
    let lists = [list(options, visitor, "allow"), list(options, visitor, "reject")];
    let patterns = lists.into_iter().flatten().flat_map(|list| patterns(list, visitor.directory));
    let mut hosts: Vec<String> = patterns
        .map(|pattern| pattern.strip_prefix('!').unwrap_or(pattern))
        .filter(|pattern| is_host(pattern))
        .map(str::to_owned)
        .collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

/// Whether the visitor may use the brick.
pub(super) fn admits(options: &Options, visitor: &Visitor<'_>, hosts: &Hosts) -> bool {
    let login = match visitor.certified {
        Some(name) => by_certificate(options, visitor.brick, name),
        None => by_login(options, visitor.brick, visitor.request),
    };
    let opinions = [by_address(options, visitor, hosts), login];
    !opinions.contains(&Opinion::Reject) && opinions.contains(&Opinion::Accept)
}

/// Whether the peer's port is one that only the superuser can use; unix sockets count as that.
pub(super) fn is_privileged(peer: &Address) -> bool {
    peer.port().is_none_or(|port| port < 1024)
}

fn list<'a>(options: &'a Options, visitor: &Visitor<'_>, what: &str) -> Option<&'a str> {
    options.text(&format!("auth.addr.{}.{what}", visitor.brick))
}

fn by_address(options: &Options, visitor: &Visitor<'_>, hosts: &Hosts) -> Opinion {
    let [allow, reject] = ["allow", "reject"].map(|what| list(options, visitor, what));
    if allow.is_none() && reject.is_none() {
        return Opinion::None;
    }
    if !options.bool("rpc-auth-allow-insecure") && !is_privileged(visitor.peer) {
        return Opinion::Reject;
    }
    let has = |list: Option<&str>| list.is_some_and(|list| matches(list, visitor, hosts));
    match (has(reject), has(allow)) {
        (true, _) => Opinion::Reject,
        (false, true) => Opinion::Accept,
        (false, false) => Opinion::None,
    }
}

/// A certificate takes the place of user name and password.
fn by_certificate(options: &Options, brick: &str, name: &str) -> Opinion {
    let Some(allowed) = options.text(&format!("auth.login.{brick}.ssl-allow")) else { return Opinion::None };
    let patterns = allowed.split([',', ' ']).filter(|pattern| !pattern.is_empty());
    let found = patterns.into_iter().any(|pattern| fnmatch(pattern.as_bytes(), name.as_bytes()));
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

/// What the list says of a directory. A plain list is for all of them; otherwise it is made of `/directory(pattern|pattern)`,
/// and ends for us at the first element that is not.
fn patterns<'a>(list: &'a str, directory: &str) -> Vec<&'a str> {
    if !list.starts_with('/') && !list.contains('(') {
        return list.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()).collect();
    }
    let mut found = Vec::new();
    for entry in list.split(',').map(str::trim) {
        let Some((of, rest)) = entry.split_once('(').filter(|(of, _)| of.starts_with('/')) else { break };
        if same_directory(of, directory) {
            let inside = rest.split_once(')').map_or(rest, |(inside, _)| inside);
            found.extend(inside.split('|').map(str::trim).filter(|pattern| !pattern.is_empty()));
        }
    }
    found
}

fn same_directory(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

/// Whether a pattern is the name of a host: not an address, and without wildcards.
fn is_host(pattern: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    pattern.len() <= 255 && pattern.parse::<IpAddr>().is_err() && pattern.split('.').all(label)
}

/// Whether the address is in the list. Patterns after a `!` exclude.
fn matches(list: &str, visitor: &Visitor<'_>, hosts: &Hosts) -> bool {
    let peer = visitor.peer;
    let text = match peer {
        Address::Ip(address) => canonical(address.ip()).to_string(),
        other => other.to_string(),
    };
    let is_at = |host: &str| {
        let Address::Ip(peer) = peer else { return false };
        let known = hosts.iter().find(|(name, _)| name == host);
        known.is_some_and(|(_, addresses)| addresses.contains(&canonical(peer.ip())))
    };
    patterns(list, visitor.directory).into_iter().any(|pattern| {
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        let found = fnmatch(pattern.as_bytes(), text.as_bytes())
            || in_network(pattern, peer)
            || is_same(pattern, peer)
            || is_at(pattern);
        found != negated
    })
}

/// The same address in other words, as those of IPv6 have.
fn is_same(pattern: &str, peer: &Address) -> bool {
    let Address::Ip(peer) = peer else { return false };
    pattern.parse::<IpAddr>().is_ok_and(|ip| canonical(ip) == canonical(peer.ip()))
}

/// IPv4 in the clothes of IPv6 is IPv4.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
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
        let peer = Address::Ip(peer.parse().unwrap());
        let visitor =
            Visitor { peer: &peer, brick: "/b", directory: "/", certified: None, request: &request };
        admits(&options(pairs), &visitor, &known())
    }

    /// What the name service says.
    fn known() -> Vec<(String, Rc<[IpAddr]>)> {
        let host = |name: &str, ips: &[&str]| {
            (name.to_owned(), ips.iter().map(|ip| ip.parse().unwrap()).collect::<Rc<[IpAddr]>>())
        };
        vec![host("localhost", &["127.0.0.1", "::1"]), host("a.example", &["10.1.2.3", "10.1.2.4"])]
    }

    #[test]
    fn hosts_and_directories() {
        let rules = [
            ("auth.addr./b.allow", "/(a.example|10.9.*),/sub(c.example|!10.1.*),/x/y(*)"),
            ("auth.addr./b.reject", "b.example, 10.0.0.1, !d-e.example, *.f, 10.*, ::1"),
        ];
        let request = LegacyDict::new();
        let visitor =
            |peer, directory| Visitor { peer, brick: "/b", directory, certified: None, request: &request };
        let at = |text: &str| Address::Ip(text.parse().unwrap());
        let (near, far) = (at("10.1.2.4:5"), at("11.1.2.4:5"));
        assert_eq!(hosts(&options(&rules), &visitor(&near, "/")), ["a.example", "b.example", "d-e.example"]);
        assert_eq!(hosts(&options(&rules), &visitor(&near, "/sub/")).first().unwrap(), "b.example");
        let allowed = options(&rules[..1]);
        let may = |peer, directory| admits(&allowed, &visitor(peer, directory), &known());
        assert!(may(&near, "/") && !may(&far, "/"));
        assert!(!may(&near, "/sub") && may(&far, "/sub") && may(&far, "/sub/"));
        assert!(may(&near, "/x/y") && !may(&near, "/x"));
        // A plain list is for every directory.
        let plain = options(&[("auth.addr./b.allow", "a.example")]);
        assert!(admits(&plain, &visitor(&near, "/anything"), &known()));
        // What comes after something else than a directory does not count.
        let mixed = options(&[("auth.addr./b.allow", "*,/sub(*)")]);
        assert!(!admits(&mixed, &visitor(&near, "/sub"), &known()));
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
        // GlusterFS's own daemons have a password and may come from elsewhere, unless they are rejected.
        let near = [&rules[..], &[("auth.addr./b.allow", "192.168.*")]].concat();
        assert!(admitted(&near, "10.1.2.3:5", Some(("ann", "x"))) && !admitted(&near, "10.1.2.3:5", None));
        let not = [&rules[..], &[("auth.addr./b.reject", "10.*")]].concat();
        assert!(!admitted(&not, "10.1.2.3:5", Some(("ann", "x"))));
        assert!(admitted(&not, "11.1.2.3:5", Some(("ann", "x"))) && !admitted(&not, "11.1.2.3:5", None));
    }

    #[test]
    fn certificates() {
        let admitted = |pairs: &[(&str, &str)], name| {
            let peer = Address::Ip("10.1.2.3:5".parse().unwrap());
            let mut request = LegacyDict::new();
            request.set_text("username", "ann");
            request.set_text("password", "wrong");
            let visitor = Visitor {
                peer: &peer,
                brick: "/b",
                directory: "/",
                certified: Some(name),
                request: &request,
            };
            admits(&options(pairs), &visitor, &[])
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
}
