//! The options of `storage/posix`, with the names and defaults of GlusterFS v10.3.

use std::time::Duration;

use crate::options::{OptionKind, OptionSpec, Options, PercentOrSize};
use crate::types::Gfid;

use OptionKind::{Bool, Enum, Id, Int, Octal, Path, Str, Time, Uuid};

/// How batched fsyncs are served.
const BATCH_FSYNC_MODES: &[&str] =
    &["none", "syncfs", "syncfs-single-fsync", "syncfs-reverse-fsync", "reverse-fsync"];

/// All of them.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("directory", Path, "", "The brick: the directory that is exported.").no_default().fixed(),
    OptionSpec::new("volume-id", Uuid, "", "The volume the brick must belong to.").no_default().fixed(),
    OptionSpec::new("glusterd-uuid", Str, "", "Answer to trusted.glusterfs.node-uuid.").no_default(),
    OptionSpec::new("hostname", Str, "", "Host in pathinfo answers; the machine's name without it.")
        .no_default(),
    OptionSpec::new("o-direct", Bool, "off", "Opens files past the page cache."),
    OptionSpec::new("export-statfs-size", Bool, "on", "Tells clients the size of the file system."),
    OptionSpec::new(
        "shared-brick-count",
        Int(1, i64::MAX),
        "1",
        "Bricks of the volume on this file system; statfs is divided by it.",
    ),
    OptionSpec::new("background-unlink", Bool, "off", "Closes files in the background."),
    OptionSpec::new(
        "janitor-sleep-duration",
        Time(1, u64::MAX),
        "10",
        "Time between two purges of landfill.",
    ),
    OptionSpec::new("disable-landfill-purge", Bool, "off", "Keeps what is in landfill."),
    OptionSpec::new("brick-uid", Id, "-1", "Owner of the brick's root."),
    OptionSpec::new("brick-gid", Id, "-1", "Group of the brick's root."),
    OptionSpec::new(
        "node-uuid-pathinfo",
        Bool,
        "off",
        "Puts glusterd-uuid in the place of the host in pathinfo.",
    ),
    OptionSpec::new(
        "health-check-interval",
        Time(0, u64::MAX),
        "30",
        "Time between two health checks; 0 is never.",
    ),
    OptionSpec::new(
        "health-check-timeout",
        Time(0, u64::MAX),
        "20",
        "Longest time that a health check's I/O may take; 0 is no limit.",
    ),
    OptionSpec::new("reserve", OptionKind::PercentOrSize, "1", "Space that ordinary clients cannot use."),
    OptionSpec::new(
        "batch-fsync-mode",
        Enum(BATCH_FSYNC_MODES),
        "reverse-fsync",
        "How fsyncs that ask for batching are served.",
    ),
    OptionSpec::new(
        "batch-fsync-delay-usec",
        Int(0, i64::MAX),
        "0",
        "Microseconds that a batch gathers fsyncs.",
    ),
    OptionSpec::new("update-link-count-parent", Bool, "off", "Keeps trusted.pgfid counters."),
    OptionSpec::new("gfid2path", Bool, "on", "Keeps trusted.gfid2path for new names."),
    OptionSpec::new("gfid2path-separator", Str, ":", "Between the paths of glusterfs.gfidtopath."),
    OptionSpec::new("force-create-mode", Octal(0o777), "0000", "Permission bits that every new file gets."),
    OptionSpec::new(
        "force-directory-mode",
        Octal(0o777),
        "0000",
        "Permission bits that every new directory gets.",
    ),
    OptionSpec::new("create-mask", Octal(0o777), "0777", "Permission bits that a new file may have."),
    OptionSpec::new(
        "create-directory-mask",
        Octal(0o777),
        "0777",
        "Permission bits that a new directory may have.",
    ),
    OptionSpec::new("max-hardlinks", Int(0, 0xffff_ffff), "100", "Most names of a file; 0 is no limit."),
    OptionSpec::new("fips-mode-rchecksum", Bool, "off", "Checksums with SHA-256 instead of MD5."),
    OptionSpec::new("ctime", Bool, "on", "Takes times from the clients' clocks (trusted.glusterfs.mdata)."),
    OptionSpec::new("linux-aio", Bool, "off", "")
        .ignored("data always goes through io_uring or the page cache"),
    OptionSpec::new("linux-io_uring", Bool, "off", "")
        .ignored("data always goes through io_uring or the page cache"),
    OptionSpec::new("mandate-attribute", Bool, "off", "").ignored("it has no effect in GlusterFS 10 either"),
    OptionSpec::new("xattr-user-namespace-mode", Enum(&["none", "strip", "append", "both"]), "none", "")
        .ignored("it has an effect on macOS only"),
    OptionSpec::new("ios-sample-interval", Int(0, 65535), "0", "").ignored("it belongs to debug/io-stats"),
    OptionSpec::new("cloudsync", Bool, "off", "").ignored("archived files are not supported"),
];

/// Batching of fsyncs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchFsyncMode {
    /// One by one, as they come.
    None,
    /// One `syncfs` for the batch.
    Syncfs,
    /// One `syncfs`, then one `fsync`.
    SyncfsSingleFsync,
    /// One `syncfs`, then all `fsync`s, last first.
    SyncfsReverseFsync,
    /// All `fsync`s, last first.
    ReverseFsync,
}

/// The options that fops ask for, read once per (re)configuration.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "each field is the option of the same name in `OPTIONS`")]
pub struct Settings {
    pub volume_id: Option<Gfid>,
    pub glusterd_uuid: Option<String>,
    pub hostname: Option<String>,
    pub o_direct: bool,
    pub export_statfs_size: bool,
    pub shared_brick_count: u64,
    pub background_unlink: bool,
    pub janitor_sleep: Duration,
    pub disable_landfill_purge: bool,
    pub brick_uid: Option<u32>,
    pub brick_gid: Option<u32>,
    pub node_uuid_pathinfo: bool,
    pub health_check_interval: Duration,
    pub health_check_timeout: Duration,
    pub reserve: PercentOrSize,
    pub batch_fsync_mode: BatchFsyncMode,
    pub batch_fsync_delay: Duration,
    pub update_link_count_parent: bool,
    pub gfid2path: bool,
    pub gfid2path_separator: String,
    pub force_create_mode: u32,
    pub force_directory_mode: u32,
    pub create_mask: u32,
    pub create_directory_mask: u32,
    pub max_hardlinks: u32,
    pub fips_mode_rchecksum: bool,
    pub ctime: bool,
}

impl Settings {
    /// From checked options.
    #[must_use]
    pub fn new(options: &Options) -> Self {
        let text = |key: &str| options.text(key).filter(|text| !text.is_empty()).map(str::to_owned);
        Self {
            volume_id: options.uuid("volume-id"),
            glusterd_uuid: text("glusterd-uuid"),
            hostname: text("hostname"),
            o_direct: options.bool("o-direct"),
            export_statfs_size: options.bool("export-statfs-size"),
            shared_brick_count: options.int("shared-brick-count").max(1).unsigned_abs(),
            background_unlink: options.bool("background-unlink"),
            janitor_sleep: options.time("janitor-sleep-duration"),
            disable_landfill_purge: options.bool("disable-landfill-purge"),
            brick_uid: options.id("brick-uid"),
            brick_gid: options.id("brick-gid"),
            node_uuid_pathinfo: options.bool("node-uuid-pathinfo"),
            health_check_interval: options.time("health-check-interval"),
            health_check_timeout: options.time("health-check-timeout"),
            reserve: options.percent_or_size("reserve"),
            batch_fsync_mode: match options.text("batch-fsync-mode") {
                Some("none") => BatchFsyncMode::None,
                Some("syncfs") => BatchFsyncMode::Syncfs,
                Some("syncfs-single-fsync") => BatchFsyncMode::SyncfsSingleFsync,
                Some("syncfs-reverse-fsync") => BatchFsyncMode::SyncfsReverseFsync,
                _ => BatchFsyncMode::ReverseFsync,
            },
            batch_fsync_delay: Duration::from_micros(options.int("batch-fsync-delay-usec").unsigned_abs()),
            update_link_count_parent: options.bool("update-link-count-parent"),
            gfid2path: options.bool("gfid2path"),
            gfid2path_separator: options.text("gfid2path-separator").unwrap_or(":").to_owned(),
            force_create_mode: options.octal("force-create-mode"),
            force_directory_mode: options.octal("force-directory-mode"),
            create_mask: options.octal("create-mask"),
            create_directory_mask: options.octal("create-directory-mask"),
            max_hardlinks: u32::try_from(options.int("max-hardlinks")).unwrap_or(u32::MAX),
            fips_mode_rchecksum: options.bool("fips-mode-rchecksum"),
            ctime: options.bool("ctime"),
        }
    }

    /// The mode of a new file (directories apart): masked, forced, the type bits kept.
    #[must_use]
    pub const fn file_mode(&self, mode: u32) -> u32 {
        (mode & !0o777) | ((mode & 0o777 & self.create_mask) | self.force_create_mode)
    }

    /// The mode of a new directory.
    #[must_use]
    pub const fn directory_mode(&self, mode: u32) -> u32 {
        (mode & !0o777) | ((mode & 0o777 & self.create_directory_mask) | self.force_directory_mode)
    }
}
