use std::sync::Arc;
use std::time::Duration;

use kiln_uring::sim::Sim;
use kiln_uring::{Buf, Core, Errno};
use serde_json::Value as Json;

use super::{Control, TYPE};
use crate::fd::{Fd, FdRef};
use crate::fop::{Fop, request};
use crate::testing::{Rig, entry, gfid, user};
use crate::types::{Gfid, Loc, Xdata};

const ON: &[(&str, &str)] =
    &[("count-fop-hits", "on"), ("latency-measurement", "on"), ("unique-id", "/bricks/b1")];

fn rig(core: &Core, options: &[(&str, &str)]) -> Rig {
    Rig::new(core, &[(TYPE.name, options)])
}

fn report(rig: &Rig) -> Json {
    (TYPE.merge_stats)(rig.graph.layers()[1].stats().into_iter().collect())
}

fn control(rig: &Rig) -> Arc<Control> {
    Arc::clone(&rig.blueprint.layers()[1].shared).downcast().unwrap()
}

async fn stat(rig: &Rig, gfid: Gfid) -> Option<Errno> {
    let call = rig.call(Fop::Stat, user(1));
    let req = request::Stat { loc: Loc::object(gfid), xdata: Xdata::NONE };
    rig.top().stat(&call, req).await.err().map(|error| error.errno)
}

async fn open(rig: &Rig, gfid: Gfid) -> FdRef {
    let call = rig.call(Fop::Open, user(1));
    let fd = Fd::file(gfid, 2, 1);
    let req = request::Open { loc: Loc::object(gfid), flags: 2, fd: fd.clone(), xdata: Xdata::NONE };
    rig.top().open(&call, req).await.unwrap();
    fd
}

async fn read(rig: &Rig, fd: &FdRef, size: u32) {
    let call = rig.call(Fop::Readv, user(1));
    let req = request::Readv { fd: fd.clone(), size, offset: 0, flags: 0, xdata: Xdata::NONE };
    rig.top().readv(&call, req).await.unwrap();
}

async fn write(rig: &Rig, fd: &FdRef, size: usize) {
    let call = rig.call(Fop::Writev, user(1));
    let data = Buf::from_slice(&vec![1; size]);
    let req = request::Writev { fd: fd.clone(), data, offset: 0, flags: 0, xdata: Xdata::NONE };
    rig.top().writev(&call, req).await.unwrap();
}

#[test]
fn hits_errors_and_latencies() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core, ON);
        rig.brick.delay(Fop::Stat, Duration::from_micros(500));
        for _ in 0..10 {
            assert_eq!(stat(&rig, Gfid::ROOT).await, None);
        }
        assert_eq!(stat(&rig, gfid(99)).await, Some(Errno::STALE));
        let report = report(&rig);
        let stat = &report["cumulative"]["fops"]["stat"];
        assert_eq!(stat["hits"], 11);
        assert_eq!(stat["number"], 1);
        assert_eq!(stat["errors"]["ESTALE"], 1);
        for key in ["min", "p50", "p90", "p99", "p999", "max"] {
            let nanos = stat[key].as_f64().unwrap();
            assert!((495_000.0..5_000_000.0).contains(&nanos), "{key} {nanos}");
        }
        assert!(stat["mean"].as_f64().unwrap() >= 500_000.0);
        assert_eq!(report["unique_id"], "/bricks/b1");
        assert_eq!(report["cumulative"]["fops"].as_object().unwrap().len(), 1);
        assert!(report["cumulative"]["seconds"].as_f64().unwrap() >= 0.0055);
    });
}

#[test]
fn bytes_and_open_files_count_even_when_off() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core, &[]);
        let (one, two) = (open(&rig, gfid(2)).await, open(&rig, gfid(3)).await);
        read(&rig, &one, 4096).await;
        read(&rig, &one, 5000).await;
        write(&rig, &one, 131_072).await;
        stat(&rig, Gfid::ROOT).await;
        rig.graph.release(&two);
        let report = report(&rig);
        let total = &report["cumulative"];
        assert_eq!((&total["bytes_read"], &total["bytes_written"]), (&9096.into(), &131_072.into()));
        assert_eq!(total["read_sizes"]["4096"], 2);
        assert_eq!(total["write_sizes"]["131072"], 1);
        assert_eq!(total["fops"].as_object().unwrap().len(), 0, "{total}");
        assert_eq!((&report["open_files"]["now"], &report["open_files"]["most"]), (&1.into(), &2.into()));
        assert_eq!(report["top"]["read"].as_array().unwrap().len(), 0);

        rig.reconfigure(&[(TYPE.name, ON)]).unwrap();
        stat(&rig, Gfid::ROOT).await;
        assert_eq!(self::report(&rig)["cumulative"]["fops"]["stat"]["hits"], 1);
    });
}

#[test]
fn intervals_end_for_all_cores_at_once() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core, ON);
        let control = control(&rig);
        for _ in 0..3 {
            stat(&rig, Gfid::ROOT).await;
        }
        assert_eq!(report(&rig)["last_interval"], Json::Null);
        control.close_interval();
        stat(&rig, Gfid::ROOT).await;
        let first = report(&rig);
        let hits = |part: &str, report: &Json| report[part]["fops"]["stat"]["hits"].as_u64().unwrap_or(0);
        assert_eq!(
            [hits("cumulative", &first), hits("last_interval", &first), hits("interval", &first)],
            [4, 3, 1]
        );
        assert_eq!((&first["interval"]["number"], &first["last_interval"]["number"]), (&1.into(), &0.into()));

        // A core that sleeps over an interval has nothing from it.
        control.close_interval();
        control.close_interval();
        let second = report(&rig);
        assert_eq!(
            [hits("cumulative", &second), hits("last_interval", &second), hits("interval", &second)],
            [4, 0, 0]
        );

        control.clear();
        let third = report(&rig);
        assert_eq!([hits("cumulative", &third), hits("interval", &third)], [0, 0]);
        assert_eq!(third["interval"]["number"], 0);
    });
}

#[test]
fn cores_are_added_up() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core, ON);
        stat(&rig, Gfid::ROOT).await;
        let parts = (0..3).filter_map(|_| rig.graph.layers()[1].stats()).collect();
        let report = (TYPE.merge_stats)(parts);
        assert_eq!(report["cumulative"]["fops"]["stat"]["hits"], 3);
        assert_eq!((TYPE.merge_stats)(Vec::new()), Json::Null);
    });
}

#[test]
fn the_most_used_are_listed() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core, ON);
        rig.brick.delay(Fop::Readv, Duration::from_micros(10));
        let (one, two) = (open(&rig, gfid(2)).await, open(&rig, gfid(3)).await);
        read(&rig, &one, 1000).await;
        read(&rig, &two, 2000).await;
        read(&rig, &two, 2000).await;
        let call = rig.call(Fop::Create, user(1));
        let (loc, fd) = (entry(Gfid::ROOT, "new"), Fd::file(Gfid::NULL, 0, 1));
        let req = request::Create { loc, flags: 0, mode: 0o600, umask: 0, fd, xdata: Xdata::NONE };
        let made = rig.top().create(&call, req).await.unwrap().iatt.gfid;

        let report = self::report(&rig);
        let top = &report["top"];
        assert_eq!(top["read"][0]["gfid"], gfid(3).to_string());
        assert_eq!((&top["read"][0]["count"], &top["read"][1]["count"]), (&2.into(), &1.into()));
        assert_eq!(top["open"].as_array().unwrap().len(), 3);
        assert!(top["open"].to_string().contains(&made.to_string()));
        assert_eq!(top["read_perf"][0]["gfid"], gfid(3).to_string());
        let rate = top["read_perf"][0]["bytes_per_us"].as_f64().unwrap();
        assert!(rate > 0.0 && rate <= 200.0, "{rate}");
        control(&rig).clear_top();
        let report = self::report(&rig);
        assert_eq!(report["top"]["read"].as_array().unwrap().len(), 0);
        assert_eq!(report["cumulative"]["fops"]["readv"]["hits"], 3, "only the lists are gone");
    });
}

#[test]
fn a_fop_whose_client_is_gone_is_no_longer_in_flight() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core, ON);
        rig.brick.delay(Fop::Stat, Duration::from_secs(10));
        {
            let call = rig.call(Fop::Stat, user(1));
            let req = request::Stat { loc: Loc::object(Gfid::ROOT), xdata: Xdata::NONE };
            let mut wound = rig.top().stat(&call, req);
            let polled = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(std::future::Future::poll(std::pin::Pin::new(&mut wound), cx))
            })
            .await;
            assert!(polled.is_pending());
            assert_eq!(report(&rig)["in_flight"]["stat"], 1);
        }
        let report = report(&rig);
        assert_eq!(report["in_flight"].as_object().unwrap().len(), 0);
        assert_eq!(report["cumulative"]["fops"].as_object().unwrap().len(), 0);
    });
}

#[test]
fn releases_and_forgets_count_and_descriptors_remember() {
    Sim::new(1).run(async |core| {
        let options: Vec<_> = ON.iter().copied().chain([("dump-fd-stats", "on")]).collect();
        let rig = rig(&core, &options);
        let fd = open(&rig, gfid(2)).await;
        read(&rig, &fd, 100).await;
        write(&rig, &fd, 200).await;
        write(&rig, &fd, 300).await;
        let text = format!("{:?}", fd.context::<super::FdStats>(crate::graph::LayerId(1)).unwrap());
        assert!(text.contains("reads: 1") && text.contains("writes: 2"), "{text}");
        assert!(text.contains("read: 100") && text.contains("written: 500"), "{text}");
        rig.graph.release(&fd);
        rig.graph.release(&Fd::directory(Gfid::ROOT, 1));
        rig.graph.forget(gfid(2));
        let fops = &report(&rig)["cumulative"]["fops"];
        for (name, number) in [("forget", 41), ("release", 42), ("releasedir", 43)] {
            assert_eq!((&fops[name]["hits"], &fops[name]["number"]), (&1.into(), &number.into()));
        }
    });
}

#[test]
fn glusterds_volfile_section_is_accepted() {
    Sim::new(1).run(async |core| {
        let options = [
            ("global-threading", "off"),
            ("count-fop-hits", "off"),
            ("latency-measurement", "off"),
            ("threads", "16"),
            ("log-level", "INFO"),
            ("volume-id", "8f3a1d8e-64a9-4a0b-9d42-1d9bd2f5d0a1"),
            ("unique-id", "/bricks/b1"),
        ];
        let rig = rig(&core, &options);
        assert_eq!(rig.blueprint.layers()[1].options().without_effect().count(), 0);
        assert_eq!(report(&rig)["volume_id"], "8f3a1d8e-64a9-4a0b-9d42-1d9bd2f5d0a1");
    });
}

#[test]
fn what_is_hot_is_told_with_what_is_done_to_it() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core, ON);
        let (one, two) = (open(&rig, gfid(2)).await, open(&rig, gfid(3)).await);
        for _ in 0..50 {
            core.sleep(Duration::from_millis(10)).await;
            read(&rig, &one, 4096).await;
            read(&rig, &one, 4096).await;
            write(&rig, &two, 100).await;
            stat(&rig, Gfid::ROOT).await;
        }
        let report = report(&rig);
        let hot = &report["hot"];
        assert_eq!(hot["one_in"], 1);
        let near = |json: &Json, expected: f64| {
            let told = json.as_f64().unwrap();
            assert!((expected * 0.9..expected * 1.1).contains(&told), "{told} for {expected} in {hot}");
        };
        let files = hot["files"].as_array().unwrap();
        assert_eq!(files[0]["gfid"], gfid(2).to_string());
        near(&files[0]["read_per_s"], 200.0);
        near(&files[0]["bytes_read_per_s"], 819_200.0);
        near(&files[1]["write_per_s"], 100.0);
        near(&files[1]["bytes_written_per_s"], 10_000.0);
        assert!(files[1].get("read_per_s").is_none() && files[1]["open_per_s"].as_f64() > Some(0.0));
        assert_eq!(hot["directories"][0]["gfid"], Gfid::ROOT.to_string());
        near(&hot["directories"][0]["look_per_s"], 100.0);
        let fine = report["cumulative"]["fops"]["readv"]["latency_histogram"].as_object().unwrap();
        assert_eq!(fine.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), 100);
        assert!(report["interval"]["fops"]["readv"].get("latency_histogram").is_none());
    });
}

#[test]
fn the_sample_is_as_dense_as_the_option_says() {
    Sim::new(1).run(async |core| {
        let rig = rig(&core, &[("count-fop-hits", "on"), ("ios-sample-interval", "20")]);
        let fd = open(&rig, gfid(2)).await;
        for _ in 0..2000 {
            core.sleep(Duration::from_millis(1)).await;
            read(&rig, &fd, 1).await;
        }
        let report = report(&rig);
        assert_eq!(report["hot"]["one_in"], 20);
        let rate = report["hot"]["files"][0]["read_per_s"].as_f64().unwrap();
        assert!((700.0..1400.0).contains(&rate), "{rate}");
        // Without counting there are no samples.
        let rig = self::rig(&core, &[("ios-sample-interval", "1")]);
        let fd = open(&rig, gfid(2)).await;
        read(&rig, &fd, 1).await;
        assert_eq!(self::report(&rig)["hot"]["files"].as_array().unwrap().len(), 0);
    });
}
