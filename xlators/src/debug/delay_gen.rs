//! `debug/delay-gen`: makes some fops late, so that what waits for them can be tested.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use kiln_uring::Core;

use super::fop_list;
use crate::call::Call;
use crate::fop::{Fop, FopSet, reply, request};
use crate::graph::Next;
use crate::options::{OptionKind, OptionSpec, Options};
use crate::translator::{
    Children, Fops, InstanceContext, PrepareContext, Shared, Translator, TranslatorType, Wound,
};

/// `debug/delay-gen`.
pub static TYPE: TranslatorType = TranslatorType {
    name: "debug/delay-gen",
    about: "Delays some fops",
    children: Children::One,
    options: OPTIONS,
    prepare,
    instance,
    renew: TranslatorType::nothing_to_renew,
    merge_stats: TranslatorType::no_stats,
};

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "delay-percentage",
        OptionKind::Percent,
        "10%",
        "How many of the enabled fops are delayed.",
    ),
    OptionSpec::new(
        "delay-duration",
        OptionKind::Int(0, 3_600_000_000),
        "100000",
        "The delay, in microseconds.",
    ),
    OptionSpec::new(
        "enable",
        OptionKind::Str,
        "",
        "Comma-separated fops that may be delayed; empty means all.",
    ),
];

#[derive(Clone, Copy)]
struct Settings {
    percentage: f64,
    delay: Duration,
    enabled: FopSet,
}

impl Settings {
    fn new(options: &Options) -> Result<Self, String> {
        Ok(Self {
            percentage: options.double("delay-percentage"),
            delay: Duration::from_micros(options.int("delay-duration").unsigned_abs()),
            enabled: fop_list::parse_or_all(options.text("enable").unwrap_or_default())?,
        })
    }
}

fn prepare(context: &PrepareContext<'_>) -> Result<Shared, String> {
    Settings::new(context.options)?;
    TranslatorType::nothing_shared(context)
}

/// The layer on one core.
pub struct DelayGen {
    next: Next,
    core: Core,
    settings: Cell<Settings>,
}

fn instance(mut context: InstanceContext<'_>) -> Result<Rc<dyn Translator>, String> {
    let settings = Cell::new(Settings::new(context.options)?);
    Ok(Rc::new(DelayGen { next: context.below(), core: context.core.clone(), settings }))
}

impl DelayGen {
    /// How long to hold this fop back; `None` lets it pass.
    fn draw(&self, fop: Fop) -> Option<Duration> {
        let Settings { percentage, delay, enabled } = self.settings.get();
        (enabled.contains(fop) && super::chance(&self.core, percentage)).then_some(delay)
    }
}

macro_rules! methods {
    ($(#[doc = $doc:literal] $variant:ident $method:ident $number:literal $access:ident $subject:ident
        ($($arg:ident : $type:ty),*) -> $reply:ident;)*) => {
        impl Fops for DelayGen {
            fn next(&self) -> &Next {
                &self.next
            }

            fn intercepts(&self) -> FopSet {
                FopSet::ALL
            }

            $(
                fn $method<'a>(&'a self, call: &'a Call, req: request::$variant) -> Wound<'a, reply::$reply> {
                    let Some(delay) = self.draw(Fop::$variant) else {
                        return self.next.$method(call, req);
                    };
                    Wound::new(call, async move {
                        self.core.sleep(delay).await;
                        self.next.$method(call, req).await
                    })
                }
            )*
        }
    };
}

crate::for_each_fop!(methods);

impl Translator for DelayGen {
    fn reconfigure(&self, options: &Options) -> Result<(), String> {
        self.settings.set(Settings::new(options)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kiln_uring::sim::Sim;

    use super::*;
    use crate::testing::{Rig, gfid, user};
    use crate::types::{Gfid, Loc, Xdata};

    const LAYER: &str = "debug/delay-gen";

    #[test]
    fn the_enabled_fops_are_late() {
        Sim::new(3).run(async |core| {
            let options: &[(&str, &str)] =
                &[("delay-percentage", "100"), ("delay-duration", "2500"), ("enable", "lookup")];
            let rig = Rig::new(&core, &[(LAYER, options)]);
            let call = rig.call(Fop::Lookup, user(1));
            let start = core.now();
            let req = request::Stat { loc: Loc::object(Gfid::ROOT), xdata: Xdata::NONE };
            rig.top().stat(&call, req).await.unwrap();
            assert_eq!(core.now() - start, Duration::ZERO);
            let req = request::Lookup { loc: Loc::object(Gfid::ROOT), xdata: Xdata::NONE };
            rig.top().lookup(&call, req).await.unwrap();
            assert!(core.now() - start >= Duration::from_micros(2500));
        });
    }

    #[test]
    fn as_many_as_asked_for() {
        Sim::new(4).run(async |core| {
            let options: &[(&str, &str)] = &[("delay-percentage", "25%"), ("delay-duration", "1000000")];
            let rig = Rig::new(&core, &[(LAYER, options)]);
            let call = rig.call(Fop::Stat, user(1));
            let mut delayed = 0;
            for _ in 0..1000 {
                let start = core.now();
                let req = request::Stat { loc: Loc::object(gfid(99)), xdata: Xdata::NONE };
                let _ = rig.top().stat(&call, req).await;
                delayed += u32::from(core.now() - start >= Duration::from_secs(1));
            }
            assert!((180..320).contains(&delayed), "{delayed} of 1000");
        });
    }

    #[test]
    fn wrong_names_are_refused() {
        Sim::new(5).run(async |core| {
            let error = Rig::try_new(&core, &[(LAYER, &[("enable", "lokup")])]).map(drop).unwrap_err();
            assert!(error.reason.contains("`lookup`"), "{error}");
        });
    }
}
