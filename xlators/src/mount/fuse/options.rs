//! What a mount can be told, and what is agreed with the kernel when it starts.

use std::path::PathBuf;
use std::time::Duration;

use fuser::{InitFlags, KernelConfig, SessionACL};
use kiln_uring::host::FuseMount;

use crate::fop::Fop;
use crate::graph::Graph;
use crate::translator::Children;

/// Which way requests take from the kernel to the cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Over io_uring where kernel and administrator allow it, through `/dev/fuse` otherwise.
    #[default]
    Auto,
    /// Through `/dev/fuse`.
    Device,
    /// Over io_uring, or not at all.
    Ring,
}

/// How to mount. [`MountConfig::new`] has the defaults; they are the stock GlusterFS client's where it has the option.
#[derive(Clone, Debug)]
pub struct MountConfig {
    /// Where. Must be a directory on which nothing is mounted.
    pub mountpoint: PathBuf,
    /// Source shown in the mount table.
    pub fsname: String,
    /// Which way requests take.
    pub transport: Transport,
    /// Other users than the one who mounts may use it.
    pub allow_other: bool,
    /// The kernel checks permissions from mode and owner. ACLs imply it.
    pub default_permissions: bool,
    /// No writes.
    pub read_only: bool,
    /// Set-id bits of files on the mount count.
    pub suid: bool,
    /// Device nodes on the mount can be opened.
    pub dev: bool,
    /// How long the kernel may keep attributes.
    pub attr_timeout: Duration,
    /// How long the kernel may keep names.
    pub entry_timeout: Duration,
    /// How long the kernel may keep the absence of names; 0 is not at all.
    pub negative_timeout: Duration,
    /// Reads and writes of every open bypass the kernel's page cache; otherwise only those of opens with `O_DIRECT` do.
    pub direct_io: bool,
    /// The page cache of a file survives its close, checked by size and mtime at the next open.
    pub keep_cache: bool,
    /// Writes are gathered in the kernel's page cache and sent later. A crash of the machine or of this process then loses
    /// what was written and not synced, and the kernel's clock decides the times.
    pub writeback: bool,
    /// Most bytes of one write or read request, 4 KiB to 16 MiB; the kernel may allow less (1 MiB, mostly).
    pub max_write: u32,
    /// Most requests in flight that nobody waits for: readahead, asynchronous direct I/O, writeback.
    pub max_background: u16,
    /// POSIX ACLs: the kernel enforces them.
    pub acl: bool,
    /// Most open files and directories; more get `EMFILE`.
    pub max_open: usize,
    /// Most objects that the kernel may remember; more get `ENFILE`.
    pub max_nodes: usize,
    /// How long an unmount waits for requests in flight.
    pub drain: Duration,
}

impl MountConfig {
    /// The defaults.
    #[must_use]
    pub fn new(mountpoint: impl Into<PathBuf>) -> Self {
        Self {
            mountpoint: mountpoint.into(),
            fsname: "kiln".into(),
            transport: Transport::Auto,
            allow_other: false,
            default_permissions: false,
            read_only: false,
            suid: false,
            dev: false,
            attr_timeout: Duration::from_secs(1),
            entry_timeout: Duration::from_secs(1),
            negative_timeout: Duration::ZERO,
            direct_io: false,
            keep_cache: false,
            writeback: false,
            max_write: 1 << 20,
            max_background: 256,
            acl: true,
            max_open: 1 << 20,
            max_nodes: 1 << 24,
            drain: Duration::from_secs(30),
        }
    }

    /// As the machine sees it.
    pub(super) fn to_mount(&self) -> FuseMount {
        let mut driver = Vec::new();
        if self.allow_other {
            driver.push("allow_other".to_owned());
        }
        if self.default_permissions {
            driver.push("default_permissions".to_owned());
        }
        FuseMount {
            source: self.fsname.clone(),
            subtype: "kiln".into(),
            driver,
            read_only: self.read_only,
            suid: self.suid,
            dev: self.dev,
        }
    }

    /// As `fuser` sees it.
    pub(super) fn to_session(&self) -> fuser::Config {
        let mut config = fuser::Config::default();
        config.acl = if self.allow_other { SessionACL::All } else { SessionACL::Owner };
        config
    }
}

/// What the layers of the graph ask of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offers {
    /// A layer keeps locks, so the kernel must not keep them by itself.
    pub(super) locks: bool,
    /// A layer applies the caller's umask and default ACLs, so the kernel must not.
    pub(super) umask: bool,
    /// A layer does something when a descriptor is closed.
    pub(super) flush: bool,
}

impl Offers {
    pub(super) fn of(graph: &Graph) -> Self {
        let kinds = || graph.blueprint().layers().iter().map(|layer| layer.kind);
        let is_inner = |fop| {
            let receivers = kinds().zip(graph.layers()).filter(|(_, layer)| layer.intercepts().contains(fop));
            receivers
                .filter(|(kind, _)| kind.children != Children::None)
                .any(|(kind, _)| !is_counter(kind.name))
        };
        Self {
            locks: is_inner(Fop::Lk),
            umask: kinds().any(|kind| matches!(kind.name, "features/access-control" | "system/posix-acl")),
            flush: is_inner(Fop::Flush),
        }
    }
}

/// Layers that see every fop and care about none: a request that the kernel need not send is not sent for their sake.
fn is_counter(kind: &str) -> bool {
    kind == "debug/io-stats" || kind == "debug/trace"
}

/// The capabilities to ask for, as far as the kernel has them.
fn wanted(config: &MountConfig, offers: Offers) -> InitFlags {
    // Not asked for: EXPORT_SUPPORT (a forgotten node id does not lead back to its object), ATOMIC_O_TRUNC (a truncation on
    // open would not move times and set-id bits as a truncate does), HANDLE_KILLPRIV (the kernel does it).
    let mut flags = InitFlags::FUSE_ASYNC_READ
        | InitFlags::FUSE_BIG_WRITES
        | InitFlags::FUSE_MAX_PAGES
        | InitFlags::FUSE_ASYNC_DIO
        | InitFlags::FUSE_PARALLEL_DIROPS
        | InitFlags::FUSE_AUTO_INVAL_DATA
        | InitFlags::FUSE_CACHE_SYMLINKS
        | InitFlags::FUSE_DO_READDIRPLUS
        | InitFlags::FUSE_READDIRPLUS_AUTO;
    for (asked, flag) in [
        (config.acl, InitFlags::FUSE_POSIX_ACL),
        (config.writeback, InitFlags::FUSE_WRITEBACK_CACHE),
        (config.direct_io, InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP),
        (offers.umask, InitFlags::FUSE_DONT_MASK),
        (offers.locks, InitFlags::FUSE_POSIX_LOCKS | InitFlags::FUSE_FLOCK_LOCKS),
    ] {
        if asked {
            flags |= flag;
        }
    }
    flags
}

/// Agrees on capabilities and sizes.
pub(super) fn negotiate(config: &MountConfig, offers: Offers, kernel: &mut KernelConfig) {
    let wanted = wanted(config, offers);
    let missing = wanted - kernel.capabilities();
    if !missing.is_empty() {
        tracing::info!(?missing, "this kernel's FUSE lacks capabilities that would be used");
    }
    // Cannot fail: what the kernel lacks is taken out.
    let _ = kernel.add_capabilities(wanted & kernel.capabilities());
    let _ = kernel.set_max_write(config.max_write.clamp(4096, 16 << 20));
    let _ = kernel.set_max_background(config.max_background.max(1));
    if config.acl && !offers.umask {
        tracing::warn!(
            "no features/access-control in the graph: ACLs are enforced, but new objects do not inherit default ACLs"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_follow_options_and_layers() {
        let mut config = MountConfig::new("/mnt");
        let always = wanted(&MountConfig { acl: false, ..config.clone() }, Offers::default());
        assert!(always.contains(InitFlags::FUSE_READDIRPLUS_AUTO));
        for never in [
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_EXPORT_SUPPORT,
            InitFlags::FUSE_HANDLE_KILLPRIV,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_NO_OPEN_SUPPORT,
            InitFlags::FUSE_WRITEBACK_CACHE,
            InitFlags::FUSE_DONT_MASK,
            InitFlags::FUSE_POSIX_LOCKS,
        ] {
            assert!(!always.contains(never), "{never:?}");
        }
        config.writeback = true;
        let more = wanted(&config, Offers { locks: true, umask: true, flush: true });
        let expected = InitFlags::FUSE_POSIX_ACL
            | InitFlags::FUSE_WRITEBACK_CACHE
            | InitFlags::FUSE_DONT_MASK
            | InitFlags::FUSE_POSIX_LOCKS
            | InitFlags::FUSE_FLOCK_LOCKS;
        assert_eq!(more - always, expected);
    }

    #[test]
    fn mount_options_follow_the_configuration() {
        let config = MountConfig {
            allow_other: true,
            default_permissions: true,
            read_only: true,
            fsname: "/srv/brick".into(),
            ..MountConfig::new("/mnt")
        };
        let mount = config.to_mount();
        assert_eq!(mount.driver, ["allow_other", "default_permissions"]);
        assert_eq!(
            (mount.source.as_str(), mount.read_only, mount.suid, mount.dev),
            ("/srv/brick", true, false, false)
        );
        assert_eq!(config.to_session().acl, SessionACL::All);
    }
}
