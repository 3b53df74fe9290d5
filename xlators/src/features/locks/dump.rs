//! The statedump: who holds what, and who waits for it. The texts are GlusterFS's, which people search for.

use kiln_uring::Instant;
use kiln_uring::sys::Timespec;
use serde_json::{Map, Value as Json, json};

use super::Locks;
use super::state::domain::{Domain, Target};
use super::state::object::{Kind, Object};
use super::state::range::Range;
use super::state::table::Table;
use super::state::{Holder, posix::Segment};
use crate::types::LockType;

/// Most objects that one core tells of.
const MOST: usize = 10_000;

/// What the lines have in common.
struct Lines<'a> {
    table: &'a Table,
    now: Instant,
    clock: Timespec,
    lines: Map<String, Json>,
}

const fn word(kind: LockType) -> &'static str {
    match kind {
        LockType::Read => "READ",
        LockType::Write => "WRITE",
        LockType::Unlock => "UNLOCK",
    }
}

fn range_text(range: Range, exclusive: bool) -> String {
    let kind = if exclusive { "WRITE" } else { "READ" };
    format!("type={kind}, whence=0, start={}, len={}", range.first(), range.length())
}

impl Lines<'_> {
    fn add(&mut self, key: String, what: &str, holder: &Holder, pid: i32, since: Instant, waits: bool) {
        let age = self.now - since;
        let clock = i128::from(self.clock.sec) * 1_000_000_000 + i128::from(self.clock.nsec);
        let at = clock - age.as_nanos() as i128;
        let (state, verb) = if waits { ("BLOCKED", "blocked") } else { ("ACTIVE", "granted") };
        let text = format!(
            "{what}, pid = {pid}, owner={:?}, client={}, connection-id={}, {verb} at {}",
            holder.owner,
            holder.client,
            self.table.client_name(holder.client),
            utc((at / 1_000_000_000) as i64),
        );
        self.lines.insert(format!("{key}({state})"), Json::String(text));
    }

    fn posix(&mut self, object: &Object) {
        let waiting = object.posix.waiting().map(|wait| (&wait.segment, true));
        let all = object.posix.granted().iter().map(|held| (held, false)).chain(waiting);
        for (index, (segment, waits)) in all.enumerate() {
            let Segment { range, exclusive, holder, pid, since, .. } = segment;
            let what = range_text(*range, *exclusive);
            self.add(format!("posixlk.posixlk[{index}]"), &what, holder, *pid, *since, waits);
        }
    }

    fn domains<T: Target>(&mut self, kind: &str, domains: &[Domain<T>], what: impl Fn(&T) -> String) {
        for domain in domains {
            let waiting = domain.waiting().map(|wait| (wait, true));
            for (index, (lock, waits)) in
                domain.granted().iter().map(|held| (held, false)).chain(waiting).enumerate()
            {
                let key = format!("{kind}.{}.{kind}[{index}]", domain.name);
                self.add(key, &what(&lock.target), &lock.holder, lock.pid, lock.since, waits);
            }
        }
    }
}

/// `YYYY-MM-DD hh:mm:ss` in UTC, by the civil calendar's rule of 400-year eras that begin in March.
fn utc(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

impl Locks {
    /// All objects with locks that this core owns.
    pub(super) fn dump(&self) -> Json {
        let core = self.owners().core();
        let table = self.owners().mine().table().borrow();
        if table.is_empty() {
            return Json::Null;
        }
        let objects: Vec<Json> = table
            .iter()
            .take(MOST)
            .map(|(gfid, object)| {
                let mut lines =
                    Lines { table: &table, now: core.now(), clock: core.realtime(), lines: Map::new() };
                lines.posix(object);
                lines.domains("inodelk", &object.inode, |target| range_text(target.range, target.exclusive));
                lines.domains("entrylk", &object.entry, |target| {
                    let name = target.name.as_ref().map_or("(null)".into(), ToString::to_string);
                    format!("type={} on basename={name}", word(target.kind))
                });
                json!({
                    "gfid": gfid.to_string(),
                    "posixlk-count": object.count(Kind::Posix),
                    "inodelk-count": object.count(Kind::Inode),
                    "entrylk-count": object.count(Kind::Entry),
                    "removes_pending": object.removals(),
                    "blocked-io": object.io_waits(),
                    "locks": lines.lines,
                })
            })
            .collect();
        json!({ "objects": table.len(), "inodes": objects })
    }
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(utc(1_700_000_000), "2023-11-14 22:13:20");
        assert_eq!(utc(-1), "1969-12-31 23:59:59");
    }
}
