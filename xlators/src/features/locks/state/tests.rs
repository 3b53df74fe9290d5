//! The locks against naive models, and what must hold after any sequence of operations.

use std::sync::Arc;

use proptest::prelude::*;

use super::domain::{Bytes, Entry, Lock};
use super::object::{Io, Kind, Object, Want};
use super::posix::{PosixLocks, Segment};
use super::range::Range;
use super::table::Table;
use super::*;
use crate::features::locks::presence::Presence;
use crate::testing::gfid;
use crate::types::{LockType, Name};

const BYTES: u64 = 24;

fn holder(number: u8) -> Holder {
    // Two clients with the same owners: they are different holders all the same.
    Holder { client: u64::from(number % 2), owner: LockOwner::new(&[number / 2 + 1]) }
}

fn segment(number: u8, range: Range, exclusive: bool) -> Segment {
    let since = Instant::from_nanos(0);
    Segment { range, exclusive, holder: holder(number), fd: 1, pid: 1, caller: 1, mandatory: false, since }
}

fn scene(effects: &mut Effects) -> Scene<'_> {
    Scene { gfid: gfid(1), now: Instant::from_nanos(1), settings: Settings::default(), effects }
}

fn ranges() -> impl Strategy<Value = Range> {
    (0..BYTES, 0..BYTES).prop_map(|(one, other)| Range { start: one.min(other), end: one.max(other) })
}

/// What each holder has on each byte.
type Model = [[Option<bool>; BYTES as usize]; 4];

fn bytes_of(locks: &PosixLocks, number: u8) -> [Option<bool>; BYTES as usize] {
    let mut bytes = [None; BYTES as usize];
    for held in locks.granted().iter().filter(|held| held.holder == holder(number)) {
        for byte in held.range.start..=held.range.end {
            assert!(bytes[byte as usize].replace(held.exclusive).is_none(), "a byte is locked twice");
        }
    }
    bytes
}

proptest! {
    #[test]
    fn posix_ranges_are_as_byte_by_byte(
        steps in prop::collection::vec((0..4_u8, ranges(), 0..3_u8), 1..60),
    ) {
        let mut locks = PosixLocks::default();
        let mut model: Model = [[None; BYTES as usize]; 4];
        for (number, range, what) in steps {
            let mut effects = Effects::default();
            let at = usize::from(number);
            let span = range.start as usize..=range.end as usize;
            if what == 2 {
                locks.unlock(&holder(number), range, &mut scene(&mut effects));
                model[at][span].fill(None);
            } else {
                let exclusive = what == 1;
                let in_the_way = (0..4).any(|other| other != at && model[other][span.clone()].iter().any(
                    |held| held.is_some_and(|held| held || exclusive)));
                let wanted = segment(number, range, exclusive);
                let conflict = locks.conflict(&wanted).is_some();
                prop_assert_eq!(conflict, in_the_way);
                let verdict = locks.set(wanted, Ticket(0), false, &mut scene(&mut effects));
                prop_assert_eq!(verdict == Verdict::Granted, !in_the_way);
                if !in_the_way {
                    model[at][span].fill(Some(exclusive));
                }
            }
            for number in 0..4 {
                prop_assert_eq!(bytes_of(&locks, number), model[usize::from(number)]);
            }
            // Neighbours of one kind are one range.
            for (index, one) in locks.granted().iter().enumerate() {
                for other in &locks.granted()[index + 1..] {
                    let like = one.holder == other.holder && one.exclusive == other.exclusive;
                    prop_assert!(!(like && one.range.touches(other.range)), "{one:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn posix_waits_are_never_forgotten(
        steps in prop::collection::vec((0..4_u8, ranges(), 0..6_u8), 1..80),
    ) {
        let mut locks = PosixLocks::default();
        let mut waiting = Vec::new();
        let mut frozen = false;
        for (ticket, (number, range, what)) in steps.into_iter().enumerate() {
            let ticket = Ticket(ticket as u64);
            let mut effects = Effects::default();
            let mut scene = scene(&mut effects);
            match what {
                0 => locks.unlock(&holder(number), range, &mut scene),
                1 if number == 3 => {
                    locks.drop_client(1, &mut scene);
                    frozen = false;
                }
                2 if number == 3 => {
                    prop_assert_eq!(locks.freeze(1), !frozen);
                    frozen = true;
                }
                2 if number == 2 => {
                    locks.thaw(false, &mut scene);
                    frozen = false;
                }
                3 if number == 3 => {
                    if let Some(ticket) = waiting.pop() {
                        prop_assert!(locks.cancel(ticket, &mut scene));
                    }
                }
                _ => {
                    let wanted = segment(number, range, what % 2 == 1);
                    if locks.set(wanted, ticket, true, &mut scene) == Verdict::Waits {
                        waiting.push(ticket);
                    }
                }
            }
            for (ticket, _) in effects.answers {
                let at = waiting.iter().position(|known| *known == ticket);
                prop_assert!(at.is_some(), "an answer to somebody who does not wait");
                waiting.remove(at.unwrap());
            }
            prop_assert_eq!(locks.waiting().count(), waiting.len());
            check_posix(&locks, frozen)?;
        }
        let mut effects = Effects::default();
        locks.drop_client(0, &mut scene(&mut effects));
        locks.drop_client(1, &mut scene(&mut effects));
        prop_assert!(locks.is_empty());
        prop_assert_eq!(effects.answers.len(), waiting.len());
    }

    #[test]
    fn domains_exclude_and_forget_nobody(
        steps in prop::collection::vec((0..4_u8, 0..6_u64, 0..2_u64, 0..10_u8), 1..100),
    ) {
        let mut object = Object::default();
        let mut running = 0;
        let mut waiting = Vec::new();
        let mut removals = Vec::new();
        for (ticket, (number, start, len, what)) in steps.into_iter().enumerate() {
            let ticket = Ticket(ticket as u64);
            let range = Range { start, end: start + len };
            let target = Bytes { range, exclusive: what % 2 == 0 };
            let holder = holder(number);
            let mut effects = Effects::default();
            let mut scene = scene(&mut effects);
            let domain = if start % 3 == 0 { "one" } else { "two" };
            let verdict = match what {
                0..=3 => {
                    let lock = Lock { ticket, holder, pid: 1, target, since: scene.now, told: None };
                    object.acquire(ticket, Want::Inode(domain.into(), lock), what > 0, &mut scene)
                }
                4..=6 => {
                    object.unlock_inode(domain, &holder, &target, &mut scene);
                    Verdict::Granted
                }
                7 => {
                    let verdict = object.acquire(ticket, Want::Remove(holder.client), true, &mut scene);
                    match verdict {
                        Verdict::Granted => running += 1,
                        _ => removals.push(ticket),
                    }
                    verdict
                }
                8 if running > 0 => {
                    running -= 1;
                    object.removed(&mut scene);
                    Verdict::Granted
                }
                9 if number == 0 => {
                    object.drop_client(1, &mut scene);
                    Verdict::Granted
                }
                _ => Verdict::Granted,
            };
            if verdict == Verdict::Waits {
                waiting.push(ticket);
            }
            for (ticket, answer) in effects.answers {
                let at = waiting.iter().position(|known| *known == ticket);
                prop_assert!(at.is_some(), "an answer to somebody who does not wait");
                waiting.remove(at.unwrap());
                if removals.contains(&ticket) && answer.is_ok() {
                    running += 1;
                }
            }
            check_inodelks(&object, running > 0)?;
        }
        let mut effects = Effects::default();
        (0..running).for_each(|_| object.removed(&mut scene(&mut effects)));
        effects.answers.clear();
        for client in [0, 1] {
            object.drop_client(client, &mut scene(&mut effects));
        }
        let granted = effects.answers.iter().filter(|(ticket, answer)| removals.contains(ticket) && answer.is_ok());
        (0..granted.count()).for_each(|_| object.removed(&mut scene(&mut Effects::default())));
        prop_assert!(object.inode.is_empty());
    }

    #[test]
    fn presence_is_what_the_table_has(
        steps in prop::collection::vec((0..4_u8, 1..4_u8, ranges(), 0..4_u8), 1..60),
    ) {
        let presence = Arc::new(Presence::default());
        let mut table = Table::new(Arc::clone(&presence), Settings::default());
        let now = Instant::from_nanos(5);
        for (ticket, (number, object, range, what)) in steps.into_iter().enumerate() {
            let gfid = gfid(object);
            let mut effects = Effects::default();
            if what == 0 {
                table.drop_client(u64::from(number % 2), now, &mut effects);
            } else {
                let client = holder(number).client;
                table.with(gfid, Some(client), now, &mut effects, |object, scene| match what {
                    1 => object.posix.unlock(&holder(number), range, scene),
                    _ => {
                        let want = Want::Posix(segment(number, range, what == 2));
                        object.acquire(Ticket(ticket as u64), want, true, scene);
                    }
                });
            }
            for byte in 1..4 {
                let gfid = crate::testing::gfid(byte);
                let count = table.get(gfid).map_or(0, |object| object.count(Kind::Posix));
                prop_assert_eq!(presence.may_have(gfid, Kind::Posix), count > 0);
            }
            prop_assert_eq!(presence.any(Kind::Posix), table.iter().any(|(_, object)| object.count(Kind::Posix) > 0));
        }
        for client in [0, 1] {
            table.drop_client(client, now, &mut Effects::default());
        }
        prop_assert!(table.is_empty() && !presence.any(Kind::Posix));
    }
}

fn check_posix(locks: &PosixLocks, frozen: bool) -> Result<(), TestCaseError> {
    for (index, one) in locks.granted().iter().enumerate() {
        for other in &locks.granted()[index + 1..] {
            let conflict = (one.exclusive || other.exclusive)
                && one.range.overlaps(other.range)
                && one.holder != other.holder;
            prop_assert!(!conflict, "{one:?} {other:?}");
        }
    }
    let forgotten = !frozen && locks.waiting().any(|wait| locks.conflict(&wait.segment).is_none());
    prop_assert!(!forgotten, "a wait is forgotten");
    Ok(())
}

fn check_inodelks(object: &Object, closed: bool) -> Result<(), TestCaseError> {
    for domain in &object.inode {
        let blocks = |one: &Lock<Bytes>, other: &Lock<Bytes>| {
            one.holder != other.holder
                && (one.target.exclusive || other.target.exclusive)
                && one.target.range.overlaps(other.target.range)
        };
        for (index, one) in domain.granted().iter().enumerate() {
            prop_assert!(!domain.granted()[index + 1..].iter().any(|other| blocks(one, other)));
        }
        let waiting: Vec<_> = domain.waiting().collect();
        for (index, one) in waiting.iter().enumerate() {
            let reason = closed
                || object.removals() > 0
                || domain
                    .granted()
                    .iter()
                    .chain(waiting[..index].iter().copied())
                    .any(|held| blocks(held, one));
            prop_assert!(reason, "a wait is forgotten: {one:?}");
        }
    }
    Ok(())
}

fn entrylk(object: &mut Object, number: u8, name: Option<&str>, kind: LockType, ticket: u64) -> Verdict {
    let mut effects = Effects::default();
    let mut scene = scene(&mut effects);
    let target = Entry { name: name.map(|name| Name::new(name.as_bytes()).unwrap()), kind };
    let lock =
        Lock { ticket: Ticket(ticket), holder: holder(number), pid: 1, target, since: scene.now, told: None };
    object.acquire(Ticket(ticket), Want::Entry("d".into(), lock), ticket != 0, &mut scene)
}

#[test]
fn entrylks_ignore_the_kind_and_one_for_all_names_excludes_the_rest() {
    let refused = Verdict::Refused(Errno::AGAIN);
    let mut object = Object::default();
    assert_eq!(entrylk(&mut object, 0, Some("a"), LockType::Read, 0), Verdict::Granted);
    assert_eq!(entrylk(&mut object, 1, Some("a"), LockType::Read, 0), refused);
    assert_eq!(entrylk(&mut object, 1, Some("b"), LockType::Write, 0), Verdict::Granted);
    assert_eq!(entrylk(&mut object, 0, Some("a"), LockType::Write, 0), Verdict::Granted);
    assert_eq!(entrylk(&mut object, 2, None, LockType::Read, 0), refused);
    assert!(object.holds_name(b"a") && !object.holds_name(b"c"));
    assert_eq!(object.count(Kind::Entry), 3);

    let mut effects = Effects::default();
    let a = |kind| Entry { name: Some(Name::new(b"a").unwrap()), kind };
    // Exactly what was locked, by whom.
    assert!(!object.unlock_entry("d", &holder(1), &a(LockType::Read), &mut scene(&mut effects)));
    assert!(!object.unlock_entry("e", &holder(0), &a(LockType::Read), &mut scene(&mut effects)));
    for kind in [LockType::Read, LockType::Write] {
        assert!(object.unlock_entry("d", &holder(0), &a(kind), &mut scene(&mut effects)));
        assert!(!object.unlock_entry("d", &holder(0), &a(kind), &mut scene(&mut effects)));
    }
}

#[test]
fn who_comes_later_waits_behind_unless_it_holds_something() {
    let mut object = Object::default();
    assert_eq!(entrylk(&mut object, 0, Some("a"), LockType::Write, 1), Verdict::Granted);
    assert_eq!(entrylk(&mut object, 1, None, LockType::Write, 2), Verdict::Waits);
    // `b` is free, but the one who wants all names came first.
    assert_eq!(entrylk(&mut object, 2, Some("b"), LockType::Write, 3), Verdict::Waits);
    assert_eq!(entrylk(&mut object, 3, Some("b"), LockType::Write, 0), Verdict::Refused(Errno::AGAIN));
    // The holder of `a` must be able to finish.
    assert_eq!(entrylk(&mut object, 0, Some("c"), LockType::Write, 4), Verdict::Granted);

    let mut effects = Effects::default();
    object.drop_client(0, &mut scene(&mut effects));
    // Holders 0 and 2 are of client 0: its wait ended, and the next in line has all names.
    assert_eq!(effects.answers, [(Ticket(3), Err(Errno::AGAIN)), (Ticket(2), Ok(()))]);
}

fn inodelk(object: &mut Object, number: u8, wait: bool, at: u64, settings: Settings) -> (Verdict, Effects) {
    let mut effects = Effects::default();
    let mut scene = Scene {
        gfid: gfid(1),
        now: Instant::from_nanos(at * 1_000_000_000),
        settings,
        effects: &mut effects,
    };
    let target = Bytes { range: Range::WHOLE, exclusive: true };
    let ticket = Ticket(at);
    let lock = Lock { ticket, holder: holder(number), pid: 9, target, since: scene.now, told: None };
    (object.acquire(ticket, Want::Inode("d".into(), lock), wait, &mut scene), effects)
}

#[test]
fn holders_are_told_of_contention_but_not_too_often() {
    let settings = Settings { notify_every: Some(Duration::from_secs(5)), ..Settings::default() };
    let mut object = Object::default();
    assert!(inodelk(&mut object, 0, true, 1, settings).1.upcalls.is_empty());
    for (at, told) in [(10, true), (12, false), (15, true), (19, false)] {
        let (verdict, effects) = inodelk(&mut object, 1, false, at, settings);
        assert_eq!(verdict, Verdict::Refused(Errno::AGAIN));
        assert_eq!(effects.upcalls.len(), usize::from(told), "at {at}");
        for upcall in effects.upcalls {
            assert_eq!((upcall.client, upcall.gfid), (0, gfid(1)));
            let UpcallEvent::InodelkContention { domain, flock } = upcall.event else { panic!() };
            assert_eq!((&*domain, flock.pid, flock.owner), ("d", 9, holder(0).owner));
        }
    }
    // Who gets the lock with others behind it is told at once.
    assert_eq!(inodelk(&mut object, 1, true, 20, settings).0, Verdict::Waits);
    assert_eq!(inodelk(&mut object, 3, true, 21, settings).0, Verdict::Waits);
    let mut effects = Effects::default();
    let mut scene =
        Scene { gfid: gfid(1), now: Instant::from_nanos(22_000_000_000), settings, effects: &mut effects };
    object.drop_client(0, &mut scene);
    assert_eq!(effects.answers, [(Ticket(20), Ok(()))]);
    assert_eq!(effects.upcalls.len(), 1);
    let off = Settings::default();
    assert!(inodelk(&mut object, 2, false, 99, off).1.upcalls.is_empty());
}

#[test]
fn locks_held_for_too_long_are_revoked() {
    let after = Some(Duration::from_secs(30));
    let by_age =
        Settings { revocation: Revocation { after, ..Revocation::default() }, ..Settings::default() };
    let mut object = Object::default();
    assert_eq!(inodelk(&mut object, 0, true, 1, by_age).0, Verdict::Granted);
    assert_eq!(inodelk(&mut object, 1, false, 31, by_age).0, Verdict::Refused(Errno::AGAIN));
    assert_eq!(inodelk(&mut object, 1, false, 32, by_age).0, Verdict::Granted);

    let rule = Revocation { max_waiting: Some(2), clear_all: true, after: None };
    let by_crowd = Settings { revocation: rule, ..Settings::default() };
    assert_eq!(inodelk(&mut object, 0, true, 33, by_crowd).0, Verdict::Waits);
    assert_eq!(inodelk(&mut object, 2, true, 34, by_crowd).0, Verdict::Waits);
    let (verdict, effects) = inodelk(&mut object, 3, true, 35, by_crowd);
    assert_eq!(verdict, Verdict::Granted);
    assert_eq!(effects.answers, [(Ticket(33), Err(Errno::AGAIN)), (Ticket(34), Err(Errno::AGAIN))]);
}

#[test]
fn a_waiting_upgrade_gives_the_shared_lock_up() {
    let mut locks = PosixLocks::default();
    let mut effects = Effects::default();
    for number in [0, 1] {
        let shared = segment(number, Range::WHOLE, false);
        assert_eq!(locks.set(shared, Ticket(0), true, &mut scene(&mut effects)), Verdict::Granted);
    }
    let mut upgrade = |locks: &mut PosixLocks, number, ticket| {
        locks.set(segment(number, Range::WHOLE, true), Ticket(ticket), true, &mut scene(&mut effects))
    };
    assert_eq!(upgrade(&mut locks, 0, 10), Verdict::Waits);
    // The first one's shared lock went, so the second has the exclusive one now: no deadlock.
    assert_eq!(upgrade(&mut locks, 1, 11), Verdict::Granted);
    locks.unlock(&holder(1), Range::WHOLE, &mut scene(&mut effects));
    assert_eq!(effects.answers, [(Ticket(10), Ok(()))]);
}

#[test]
fn reservations_keep_others_from_locking() {
    let mut locks = PosixLocks::default();
    let mut effects = Effects::default();
    let range = Range { start: 0, end: 9 };
    let mut set = |locks: &mut PosixLocks, number, ticket, wait| {
        locks.set(segment(number, range, true), Ticket(ticket), wait, &mut scene(&mut effects))
    };
    let mut other = Effects::default();
    let reserved = locks.reserve(segment(0, range, true), Ticket(1), false, &mut scene(&mut other));
    assert_eq!(reserved, Verdict::Granted);
    assert_eq!(set(&mut locks, 1, 2, false), Verdict::Refused(Errno::AGAIN));
    assert_eq!(set(&mut locks, 0, 3, false), Verdict::Granted);
    assert_eq!(set(&mut locks, 1, 4, true), Verdict::Waits);
    locks.unlock(&holder(0), Range::WHOLE, &mut scene(&mut other));
    assert!(other.answers.is_empty());
    locks.unreserve(&holder(0), Range::WHOLE, &mut scene(&mut other));
    assert_eq!(other.answers, [(Ticket(4), Ok(()))]);
}

#[test]
fn descriptors_tell_their_locks_one_by_one_and_take_them_along() {
    let mut locks = PosixLocks::default();
    let mut effects = Effects::default();
    for start in [0, 10] {
        let range = Range { start, end: start + 4 };
        locks.set(segment(0, range, true), Ticket(0), false, &mut scene(&mut effects));
    }
    for _ in 0..2 {
        assert_eq!(locks.next_of_fd(1).map(|flock| flock.start), Some(0));
        assert_eq!(locks.next_of_fd(1).map(|flock| flock.start), Some(10));
        assert_eq!(locks.next_of_fd(1), None);
    }
    locks.rehome(1, 2, 77);
    assert!(locks.has_fd(2) && !locks.has_fd(1));
    assert!(locks.granted().iter().all(|held| held.holder.client == 77));
    locks.drop_fd(2, &mut scene(&mut effects));
    assert!(locks.is_empty());
}

#[test]
fn mandatory_locks_hold_up_those_they_bind() {
    let mut object = Object::default();
    let mut effects = Effects::default();
    let range = Range { start: 10, end: 19 };
    let mut lock = segment(0, range, false);
    lock.mandatory = true;
    object.acquire(Ticket(1), Want::Posix(lock), false, &mut scene(&mut effects));
    let io = |number, start, writes| Io {
        holder: holder(number),
        range: Range { start, end: start + 5 },
        writes,
        only_mandatory: true,
        fenced: None,
    };
    assert!(object.allows(&io(1, 12, false)), "a shared lock lets others read");
    assert!(object.allows(&io(0, 12, true)), "the holder may write");
    assert!(object.allows(&io(1, 30, true)), "elsewhere");
    let fenced = |number, start| Io { fenced: Some(Errno::BUSY), ..io(number, start, true) };
    assert!(
        object.allows(&fenced(0, 12)) && !object.allows(&fenced(0, 16)) && !object.allows(&fenced(1, 30))
    );
    let refused = object.acquire(Ticket(9), Want::Io(fenced(1, 30)), true, &mut scene(&mut effects));
    assert_eq!(refused, Verdict::Refused(Errno::BUSY));
    let write = Want::Io(io(1, 12, true));
    let verdict = object.acquire(Ticket(2), write.clone(), false, &mut scene(&mut effects));
    assert_eq!(verdict, Verdict::Refused(Errno::AGAIN));
    assert_eq!(object.acquire(Ticket(3), write, true, &mut scene(&mut effects)), Verdict::Waits);
    object.posix.unlock(&holder(0), Range::WHOLE, &mut scene(&mut effects));
    object.settle(&mut scene(&mut effects));
    assert_eq!(effects.answers, [(Ticket(3), Ok(()))]);
}
