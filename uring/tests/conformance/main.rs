//! One suite for every implementation of `Sys`: each case runs on the real kernel, on the real kernel without its younger
//! calls, and on the file system in memory. What the cases expect is what Linux does on ext4.

#![allow(clippy::unwrap_used, reason = "a test may stop wherever something is wrong")]

mod attributes;
mod bed;
mod bytes;
mod naming;
mod opening;
mod random;
mod xattrs;

macro_rules! cases {
    ($($module:ident { $($case:ident),* $(,)? })*) => {
        mod linux {
            $($(#[test] fn $case() { super::$module::$case(&super::bed::Bed::linux()); })*)*
        }
        mod old_linux {
            $($(#[test] fn $case() { super::$module::$case(&super::bed::Bed::old_linux()); })*)*
        }
        mod memfs {
            $($(#[test] fn $case() { super::$module::$case(&super::bed::Bed::memfs()); })*)*
        }
    };
}

cases! {
    opening {
        creates_and_finds, refuses_nonsense_flags, limits_names_and_paths, follows_links_within_bounds,
        keeps_to_the_rules_of_the_walk, truncates_on_open, places_are_not_for_io, special_files_open_or_not,
        unnamed_files_get_names, handles_outlive_names, locks_exclude, closes_once, tells_time_and_throws_dice,
    }
    naming {
        directories, removed_directories_take_nothing, nodes, links, symlinks, renames, whiteouts, listing_is_stable,
        set_group_id_is_inherited,
    }
    bytes {
        reads_and_writes, appends, truncates, reserves_and_punches, seeks_data_and_holes, copies,
        direct_io_is_aligned, syncs,
    }
    attributes { modes, owners, times, reading_and_writing_touch_times, figures }
    xattrs {
        values, change_time_follows, namespaces, access_lists_and_modes_agree, default_lists_are_inherited,
        writing_drops_capabilities,
    }
}
