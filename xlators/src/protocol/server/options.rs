//! The options of `protocol/server`, by GlusterFS's names.

use std::time::Duration;

use kiln_uring::net::{Keepalive, ListenOptions, StreamOptions};

use super::tls::{self, DEFAULT_CIPHERS};
use crate::options::{
    OptionKind::{Bool, Enum, Id, Int, Path, Size, Str, Time},
    OptionSpec, Options,
};

/// The option that encrypts connections.
pub(super) const TLS_SWITCH: &str = "transport.socket.ssl-enabled";
const ONE_LOOP: &str = "each core serves its own connections";

/// All of them.
pub(super) const OPTIONS: &[OptionSpec] = &[
    // Where it listens.
    OptionSpec::new("transport-type", Enum(&["tcp", "socket", "unix", "tcp,rdma", "rdma,tcp"]), "tcp", "Kind of transport; RDMA is left out.").fixed(),
    OptionSpec::new("transport.address-family", Enum(&["inet", "inet6", "inet/inet6", "inet6/inet", "unix"]), "inet", "Family of the address that is listened at.").fixed(),
    OptionSpec::new("transport.socket.listen-port", Int(0, 65_535), "24007", "TCP port that is listened at; 0 lets the kernel choose.").fixed().no_default(),
    OptionSpec::new("listen-port", Int(0, 65_535), "24007", "Another name of transport.socket.listen-port.").fixed().no_default(),
    OptionSpec::new("transport.socket.bind-address", Str, "", "Address that is listened at; all without it.").fixed().no_default(),
    OptionSpec::new("transport.socket.listen-path", Path, "", "Name of a unix socket that is listened at.").fixed().no_default(),
    OptionSpec::new("transport.listen-backlog", Int(1, 65_535), "1024", "Connections that may wait to be accepted.").fixed(),
    // Connections.
    OptionSpec::new("transport.socket.nodelay", Bool, "on", "Short messages leave at once.").fixed(),
    OptionSpec::new("transport.socket.keepalive", Bool, "on", "Idle connections are probed.").fixed(),
    OptionSpec::new("transport.socket.keepalive-time", Int(1, 32_767), "20", "Idle seconds before the first probe.").fixed(),
    OptionSpec::new("transport.socket.keepalive-interval", Int(1, 32_767), "2", "Seconds between probes.").fixed(),
    OptionSpec::new("transport.socket.keepalive-count", Int(1, 127), "9", "Unanswered probes before a connection is given up.").fixed(),
    OptionSpec::new("transport.tcp-user-timeout", Int(0, 1013), "42", "Seconds that sent data may stay unacknowledged; 0 leaves it to the kernel.").fixed(),
    OptionSpec::new("tcp-window-size", Size(0, 1 << 30), "0", "Sizes of the sockets' buffers; 0 lets the kernel adapt them.").fixed(),
    // Limits.
    OptionSpec::new("rpc.outstanding-rpc-limit", Int(0, 65_536), "64", "Requests of one client that are served at a time; further ones wait unread. 0 is no limit. Locks that wait do not count."),
    OptionSpec::new("transport.client-memory-limit", Size(1 << 20, 1 << 40), "64MB", "Memory for requests and replies of one client; requests beyond it wait unread."),
    OptionSpec::new("transport.memory-limit", Size(16 << 20, 1 << 44), "1GB", "The same for all clients together, in equal shares of the cores.").fixed(),
    OptionSpec::new("transport.connection-limit", Int(1, 10_000_000), "65536", "Connections. When there are as many, newcomers get the places of those that have not shaken hands; when all have, newcomers are closed at once."),
    OptionSpec::new("client-fd-limit", Int(1, 100_000_000), "1000000", "Files that one client may have open; further opens fail with EMFILE."),
    // Encryption. The files are read at the start and with each reconfiguration, for connections to come.
    OptionSpec::new(TLS_SWITCH, Bool, "off", "Connections over TCP are encrypted with TLS, and both sides show certificates. A change is for new connections."),
    OptionSpec::new("transport.socket.ssl-own-cert", Path, "", "Certificate of this brick, and those between it and its authority; glusterfs.pem in /usr/lib/ssl or /etc/ssl without it.").no_default(),
    OptionSpec::new("transport.socket.ssl-private-key", Path, "", "Its private key; glusterfs.key in /usr/lib/ssl or /etc/ssl without it.").no_default(),
    OptionSpec::new("transport.socket.ssl-ca-list", Path, "", "Authorities whose certificates count; glusterfs.ca in /usr/lib/ssl or /etc/ssl without it.").no_default(),
    OptionSpec::new("transport.socket.ssl-cert-depth", Int(0, 16), "1", "Authorities that there may be between a certificate and one that has signed itself."),
    OptionSpec::new("transport.socket.ssl-cipher-list", Str, DEFAULT_CIPHERS, "Suites of TLS 1.2, in OpenSSL's words; those that there are not here are left out."),
    OptionSpec::new("transport.socket.ssl-ec-curve", Str, "prime256v1", "The only curve for the exchange of keys: prime256v1, secp384r1, or X25519; all of them without it.").no_default(),
    OptionSpec::new("transport.socket.ssl-crl-path", Path, "", "Directory with lists of revoked certificates; every authority must have one then.").no_default(),
    OptionSpec::new("transport.socket.ssl-dh-param", Path, "", "").no_default().ignored("keys are exchanged over elliptic curves only"),
    // Who may.
    OptionSpec::new("auth.addr.*.allow", Str, "", "Who may use the brick: a list of addresses, patterns of addresses, networks and host names; `!` before one excludes it. Or a list of `/directory(address|address)`: who may mount that directory, `/` being all of the brick.").no_default(),
    OptionSpec::new("auth.addr.*.reject", Str, "", "Who may not, whatever else is said; in the same form.").no_default(),
    OptionSpec::new("auth.login.*.allow", Str, "", "Users that may use the brick, with their password.").no_default(),
    OptionSpec::new("auth.login.*.password", Str, "", "Password of a user.").no_default(),
    OptionSpec::new("auth.login.*.ssl-allow", Str, "", "Common names of certificates that may use the brick, as patterns; only for connections in TLS, whose user names and passwords do not count.").no_default(),
    OptionSpec::new("auth-path", Path, "", "").no_default().ignored("the rules name the brick"),
    OptionSpec::new("strict-auth-accept", Bool, "off", "Clients without a user name are refused."),
    OptionSpec::new("rpc-auth-allow-insecure", Bool, "on", "Clients may come from ports that everybody can use, 1024 and above."),
    OptionSpec::new("rpc-auth.auth-glusterfs", Bool, "on", "").ignored("it is what clients use"),
    OptionSpec::new("rpc-auth.auth-unix", Bool, "on", "").ignored("no client uses it"),
    OptionSpec::new("rpc-auth.auth-null", Bool, "on", "").ignored("it is needed for the first call of a connection"),
    OptionSpec::new("dynamic-auth", Bool, "on", "").ignored("new rules are for new connections"),
    OptionSpec::new("root-squash", Bool, "off", "The superuser of clients becomes anonuid and anongid."),
    OptionSpec::new("all-squash", Bool, "off", "Every user of clients becomes anonuid and anongid."),
    OptionSpec::new("anonuid", Id, "65534", "User that squashed ones become."),
    OptionSpec::new("anongid", Id, "65534", "Group that squashed ones become."),
    OptionSpec::new("manage-gids", Bool, "off", "Which groups a user is in is looked up here, by the number of the user; what the client says does not count."),
    OptionSpec::new("gid-timeout", Int(0, 1 << 32), "300", "Seconds for which the groups of a user are remembered."),
    // What stock volfiles say besides.
    OptionSpec::new("transport.socket.own-thread", Bool, "off", "").ignored(ONE_LOOP),
    OptionSpec::new("event-threads", Int(1, 1024), "2", "").ignored(ONE_LOOP),
    OptionSpec::new("inode-lru-limit", Int(0, 1 << 30), "16384", "").ignored("no table of inodes is kept"),
    OptionSpec::new("statedump-path", Path, "/var/run/gluster", "").ignored("`kiln dump` writes where it is told"),
    OptionSpec::new("volume-id", Str, "", "").no_default().ignored("storage/posix has it"),
    OptionSpec::new("verify-volfile-checksum", Bool, "on", "").ignored("checksums of volfiles are not kept"),
    OptionSpec::new("config-directory", Path, "", "").no_default().ignored("volfiles are not searched for"),
    OptionSpec::new("volume-filename.*", Path, "", "").no_default().ignored("volfiles are not searched for"),
    OptionSpec::new("limits.open-files", Time(0, u64::MAX), "0", "").no_default().ignored("as many as the process may have"),
];

/// What the options say, read once.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// All of them; the rules of authentication are looked up here.
    pub options: Options,
    /// How connections are encrypted, if they are.
    pub tls: Option<tls::Config>,
    pub requests: usize,
    pub client_memory: usize,
    pub connections: usize,
    pub fds: usize,
    pub allow_insecure: bool,
    pub root_squash: bool,
    pub all_squash: bool,
    pub anonuid: u32,
    pub anongid: u32,
    /// How long the groups of users, which are looked up here, are remembered; `None` when the client says them.
    pub groups: Option<Duration>,
}

impl Settings {
    /// With the files that the options name; the error is a sentence.
    pub(super) fn load(options: &Options) -> Result<Self, String> {
        Ok(Self { tls: tls::load(options)?, ..Self::new(options) })
    }

    fn new(options: &Options) -> Self {
        let count = |key: &str| usize::try_from(options.int(key)).unwrap_or(usize::MAX);
        let bytes = |key: &str| usize::try_from(options.size(key)).unwrap_or(usize::MAX);
        Self {
            tls: None,
            requests: match count("rpc.outstanding-rpc-limit") {
                0 => usize::MAX,
                // As stock rounds it.
                limit => limit.next_multiple_of(8),
            },
            client_memory: bytes("transport.client-memory-limit"),
            connections: count("transport.connection-limit"),
            fds: count("client-fd-limit"),
            allow_insecure: options.bool("rpc-auth-allow-insecure"),
            root_squash: options.bool("root-squash"),
            all_squash: options.bool("all-squash"),
            anonuid: options.id("anonuid").unwrap_or(65_534),
            anongid: options.id("anongid").unwrap_or(65_534),
            groups: options
                .bool("manage-gids")
                .then(|| Duration::from_secs(u64::try_from(options.int("gid-timeout")).unwrap_or(0))),
            options: options.clone(),
        }
    }

    /// Memory of all clients on each of so many cores.
    pub(super) fn memory_per_core(options: &Options, cores: usize) -> usize {
        usize::try_from(options.size("transport.memory-limit")).unwrap_or(usize::MAX) / cores.max(1)
    }

    /// What listening sockets and their connections start with.
    pub(super) fn listening(&self) -> ListenOptions {
        let options = &self.options;
        let count = |key: &str| u32::try_from(options.int(key)).unwrap_or(u32::MAX);
        let seconds = |key: &str| Duration::from_secs(u64::from(count(key)));
        let keepalive = Keepalive {
            idle: seconds("transport.socket.keepalive-time"),
            interval: seconds("transport.socket.keepalive-interval"),
            count: count("transport.socket.keepalive-count"),
        };
        let window = usize::try_from(options.size("tcp-window-size")).ok().filter(|bytes| *bytes > 0);
        ListenOptions {
            backlog: count("transport.listen-backlog"),
            stream: StreamOptions {
                nodelay: options.bool("transport.socket.nodelay"),
                keepalive: options.bool("transport.socket.keepalive").then_some(keepalive),
                user_timeout: Some(seconds("transport.tcp-user-timeout")).filter(|time| !time.is_zero()),
                receive_buffer: window,
                send_buffer: window,
            },
            ..ListenOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_generated_volfile_says_is_accepted() {
        let pairs = [
            ("transport.listen-backlog", "1024"),
            ("transport.socket.keepalive-count", "9"),
            ("transport.socket.keepalive-interval", "2"),
            ("transport.socket.keepalive-time", "20"),
            ("transport.socket.ssl-enabled", "off"),
            ("transport.socket.keepalive", "1"),
            ("auth.addr./bricks/b0.allow", "*"),
            ("auth-path", "/bricks/b0"),
            ("auth.login.5b0f4ad7.password", "secret"),
            ("auth.login./bricks/b0.allow", "5b0f4ad7"),
            ("transport.address-family", "inet"),
            ("transport-type", "tcp"),
            ("rpc.outstanding-rpc-limit", "13"),
        ];
        let options = Options::new(OPTIONS, pairs.map(|(key, value)| (key.into(), value.into()))).unwrap();
        let settings = Settings::new(&options);
        assert_eq!(settings.requests, 16);
        assert_eq!(settings.listening(), ListenOptions::default());
        assert_eq!(Settings::memory_per_core(&options, 2), 512 << 20);
    }
}
