//! The volfile that clients of a stand-alone server are told.
//!
//! Its layers are those of a generated volfile, and `features/quiesce` twice, so that applications see a pause and no error while
//! the brick is away. The one above the protocol keeps requests until the brick is back, and sends those again that were on their
//! way and change nothing. Writes that were on their way are kept by `performance/write-behind`, which it does for as long as
//! nobody waits for them; the sync of somebody who does fails, and the second `features/quiesce` sends it again once the brick
//! is back, behind the writes that write-behind still has (`resync-failed-syncs-after-fsync`).

use std::fmt::Write as _;

use kiln_uring::net::Address;

use super::shared::Serving;

/// GlusterFS's port for volfiles and for asking where bricks are.
pub(super) const MANAGEMENT_PORT: u16 = 24_007;

/// The option by which a client's leaf says that layers above it wait while its brick is away. No client knows it, but every
/// client repeats the options of its leaf in its handshake.
pub(super) const PAUSE: &str = "kiln.client-pause";

/// Seconds after which `features/quiesce` gives up: 30 days. It measures from the first absence of the brick, and hits a later
/// one however short that is; and it only ever gives up requests that change something.
const TIMEOUT: &str = "2592000";

/// Options of a layer.
type Given<'a> = &'a [(&'a str, &'a str)];

/// The name of a volume in a request: `mount.glusterfs` puts a slash before it.
pub(super) fn volume_name(key: &[u8]) -> Option<&str> {
    let key = std::str::from_utf8(key.split(|byte| *byte == 0).next().unwrap_or_default()).ok()?;
    Some(key.strip_prefix('/').unwrap_or(key))
}

/// The brick of a volume that is handed out here.
pub(super) fn brick_of<'a>(serving: &'a Serving, volume: &str) -> Option<&'a str> {
    serving.config.volumes.iter().find(|(name, _)| name == volume).map(|(_, brick)| brick.as_str())
}

/// The port at which bricks are served to a client that reached `local`: another one than the management port, if there is.
pub(super) fn brick_port(serving: &Serving, local: &Address) -> Option<u16> {
    let ports = || {
        serving.addresses.iter().filter(|known| known.family() == local.family()).filter_map(Address::port)
    };
    match local.port() {
        Some(MANAGEMENT_PORT) => ports().find(|port| *port != MANAGEMENT_PORT).or(Some(MANAGEMENT_PORT)),
        Some(port) => Some(port),
        None => serving.addresses.iter().find_map(Address::port),
    }
}

/// Whether a client that reached `local` is to take this for the management daemon.
pub(super) fn is_management(serving: &Serving, local: &Address) -> bool {
    local.port() == Some(MANAGEMENT_PORT) && brick_port(serving, local) != Some(MANAGEMENT_PORT)
}

/// The volfile of `volume` for a client that reached this server at `local`; bricks may have to be reached `encrypted`.
pub(super) fn client_volfile(
    serving: &Serving,
    volume: &str,
    local: &Address,
    encrypted: bool,
) -> Option<String> {
    let brick = brick_of(serving, volume)?;
    let mut text = String::new();
    let mut node = |name: &str, kind: &str, options: Given<'_>, below: Option<&str>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "volume {volume}{name}\n    type {kind}");
        for (key, value) in options {
            let _ = writeln!(text, "    option {key} {value}");
        }
        if let Some(below) = below {
            let _ = writeln!(text, "    subvolumes {volume}{below}");
        }
        text.push_str("end-volume\n\n");
    };
    let port = brick_port(serving, local).unwrap_or(MANAGEMENT_PORT).to_string();
    let (host, family) = match local {
        Address::Ip(address) => {
            let ip = address.ip().to_canonical();
            (ip.to_string(), if ip.is_ipv4() { "inet" } else { "inet6" })
        }
        other => (other.to_string(), "unix"),
    };
    let remote = match local {
        Address::Ip(_) => {
            [("transport-type", "tcp"), ("remote-host", host.as_str()), ("remote-port", port.as_str())]
                .to_vec()
        }
        _ => {
            // The client insists on a host, and goes to the path.
            [
                ("transport-type", "unix"),
                ("transport.socket.connect-path", host.as_str()),
                ("remote-host", "localhost"),
            ]
            .to_vec()
        }
    };
    let encryption: Given<'_> = match local {
        Address::Ip(_) if encrypted => &[("transport.socket.ssl-enabled", "on")],
        _ => &[],
    };
    let common = [
        ("transport.address-family", family),
        ("remote-subvolume", brick),
        ("ping-timeout", "42"),
        ("send-gids", "true"),
    ];
    let waits = serving.config.client_pause;
    let pause: Given<'_> = if waits { &[(PAUSE, "on")] } else { &[] };
    let timeout = [("timeout", TIMEOUT)];
    let retries: Given<'_> = if waits { &[("resync-failed-syncs-after-fsync", "on")] } else { &[] };
    node("-client-0", "protocol/client", &[&remote[..], &common, encryption, pause].concat(), None);
    let layers: [(&str, &str, Given<'_>, bool); 8] = [
        ("-quiesce", "features/quiesce", &timeout, waits),
        ("-utime", "features/utime", &[("noatime", "on")], true),
        ("-write-behind", "performance/write-behind", retries, true),
        ("-quiesce-syncs", "features/quiesce", &timeout, waits),
        ("-open-behind", "performance/open-behind", &[], true),
        ("-quick-read", "performance/quick-read", &[], true),
        ("-md-cache", "performance/md-cache", &[("cache-posix-acl", "true")], true),
        ("", "debug/io-stats", &[("count-fop-hits", "off"), ("latency-measurement", "off")], true),
    ];
    let mut below = "-client-0";
    for (name, kind, options, _) in layers.into_iter().filter(|(.., wanted)| *wanted) {
        node(name, kind, options, Some(below));
        below = name;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::ServeConfig;
    use super::*;

    fn serving(addresses: &[&str]) -> Serving {
        Serving {
            config: ServeConfig {
                listen: Vec::new(),
                volumes: vec![("vol".into(), "/srv/b".into())],
                descriptors: None,
                client_pause: true,
            },
            addresses: addresses.iter().map(|text| Address::Ip(text.parse().unwrap())).collect(),
        }
    }

    #[test]
    fn clients_are_told_where_they_came_to() {
        let server = serving(&["0.0.0.0:24007", "[::]:9000"]);
        let at = |text: &str| Address::Ip(text.parse().unwrap());
        let spec = client_volfile(&server, "vol", &at("10.0.0.1:24007"), false).unwrap();
        assert!(
            spec.contains("option remote-host 10.0.0.1\n") && spec.contains("option remote-port 24007\n"),
            "{spec}"
        );
        assert!(spec.contains("option remote-subvolume /srv/b\n") && spec.contains("\nvolume vol\n"));
        assert!(!spec.contains("ssl"), "{spec}");
        assert!(!is_management(&server, &at("10.0.0.1:24007")), "there is no other port for IPv4");
        let spec = client_volfile(&server, "vol", &at("[::1]:9000"), true).unwrap();
        assert!(
            spec.contains("option remote-host ::1\n") && spec.contains("address-family inet6\n"),
            "{spec}"
        );
        assert!(
            spec.contains("option remote-subvolume /srv/b\n")
                && spec.contains("option transport.socket.ssl-enabled on\n"),
            "{spec}"
        );
        assert!(client_volfile(&server, "other", &at("10.0.0.1:24007"), false).is_none());
        let server = serving(&["0.0.0.0:24007", "0.0.0.0:49152"]);
        assert!(is_management(&server, &at("10.0.0.1:24007")));
        assert_eq!(brick_port(&server, &at("10.0.0.1:24007")), Some(49_152));
        assert_eq!((volume_name(b"/vol"), volume_name(b"vol\0")), (Some("vol"), Some("vol")));
    }

    #[test]
    fn clients_wait_if_they_are_to() {
        let layers = |pause| {
            let mut server = serving(&["0.0.0.0:24007"]);
            server.config.client_pause = pause;
            let at = Address::Ip("10.0.0.1:24007".parse().unwrap());
            let spec = client_volfile(&server, "vol", &at, false).unwrap();
            let below: Vec<_> =
                spec.lines().filter_map(|line| line.trim().strip_prefix("subvolumes ")).collect();
            let named: Vec<_> = spec.lines().filter_map(|line| line.strip_prefix("volume ")).collect();
            assert_eq!(below, named[..named.len() - 1], "each is on the one before it");
            spec
        };
        let spec = layers(false);
        assert!(!spec.contains("quiesce") && !spec.contains(PAUSE) && !spec.contains("resync"), "{spec}");
        let spec = layers(true);
        assert_eq!(spec.matches("type features/quiesce\n    option timeout 2592000\n").count(), 2, "{spec}");
        assert!(
            spec.contains("option kiln.client-pause on\n")
                && spec.contains("resync-failed-syncs-after-fsync on\n")
        );
    }
}
