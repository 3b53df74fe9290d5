//! statfs: the file system's numbers, less the reserve, shared among the bricks on it.

use kiln_uring::sys::StatFs;
use kiln_uring::{Class, Warmth};

use super::{Posix, Settings};
use crate::error::FopResult;
use crate::fop::{reply, request};
use crate::options::PercentOrSize;
use crate::types::Xdata;

impl Posix {
    pub(super) async fn serve_statfs(&self, _: request::Statfs) -> FopResult<reply::Statfs> {
        self.brick.check_health()?;
        let found =
            self.run(Class::FdMetadata, Warmth::Warm, |brick| brick.sys.statfs(brick.root.fd())).await?;
        Ok(reply::Statfs { statfs: for_clients(found, &self.brick.settings()), xdata: Xdata::NONE })
    }
}

/// Blocks of the reserve, in the unit of the block counts.
pub(super) fn reserved_blocks(statfs: &StatFs, reserve: PercentOrSize) -> u64 {
    match reserve {
        PercentOrSize::Percent(percent) => (statfs.blocks as f64 * percent / 100.0).round() as u64,
        PercentOrSize::Bytes(bytes) => bytes / unit(statfs),
    }
}

/// Whether so little is left that the reserve is reached.
pub(super) fn is_full(statfs: &StatFs, reserve: PercentOrSize) -> bool {
    let reserved = reserved_blocks(statfs, reserve);
    reserved > 0 && statfs.bfree <= reserved
}

fn unit(statfs: &StatFs) -> u64 {
    if statfs.frsize == 0 { statfs.bsize.max(1) } else { statfs.frsize }
}

/// What clients are told.
fn for_clients(mut statfs: StatFs, settings: &Settings) -> StatFs {
    statfs.bfree = statfs.bfree.saturating_sub(reserved_blocks(&statfs, settings.reserve));
    statfs.bavail = statfs.bavail.min(statfs.bfree);
    let share = if settings.export_statfs_size { settings.shared_brick_count.max(1) } else { 0 };
    let StatFs { blocks, bfree, bavail, files, ffree, favail, .. } = &mut statfs;
    for count in [blocks, bfree, bavail, files, ffree, favail] {
        *count = count.checked_div(share).unwrap_or(0);
    }
    statfs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::storage::posix::OPTIONS;

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let pairs = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into()));
        Settings::new(&Options::new(OPTIONS, pairs).unwrap())
    }

    fn disk() -> StatFs {
        StatFs {
            bsize: 4096,
            frsize: 4096,
            blocks: 1000,
            bfree: 500,
            bavail: 450,
            files: 200,
            ffree: 100,
            favail: 100,
            ..StatFs::default()
        }
    }

    fn seen(options: &[(&str, &str)]) -> [u64; 6] {
        let it = for_clients(disk(), &settings(options));
        [it.blocks, it.bfree, it.bavail, it.files, it.ffree, it.favail]
    }

    #[test]
    fn the_reserve_is_taken_off_and_the_rest_is_shared() {
        assert_eq!(seen(&[("reserve", "0")]), [1000, 500, 450, 200, 100, 100]);
        assert_eq!(seen(&[]), [1000, 490, 450, 200, 100, 100]);
        assert_eq!(seen(&[("reserve", "10")]), [1000, 400, 400, 200, 100, 100]);
        assert_eq!(seen(&[("reserve", "60")]), [1000, 0, 0, 200, 100, 100]);
        assert_eq!(seen(&[("reserve", "409600")]), [1000, 400, 400, 200, 100, 100]);
        assert_eq!(seen(&[("reserve", "0"), ("shared-brick-count", "2")]), [500, 250, 225, 100, 50, 50]);
        assert_eq!(seen(&[("export-statfs-size", "off")]), [0; 6]);
    }

    #[test]
    fn full_means_down_to_the_reserve() {
        assert!(!is_full(&disk(), PercentOrSize::Percent(49.0)));
        assert!(is_full(&disk(), PercentOrSize::Percent(50.0)));
        assert!(is_full(&disk(), PercentOrSize::Bytes(500 * 4096)));
        assert!(!is_full(&StatFs { bfree: 0, ..disk() }, PercentOrSize::Percent(0.0)));
    }
}
