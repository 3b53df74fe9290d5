//! Bricks for tests.

use serde_json::json;

use crate::control::protocol::Stats;

/// A brick that has served so many reads after `uptime` seconds, one in a hundred of them slow and failed.
pub fn stats(uptime: f64, reads: u64) -> Stats {
    let core = |core: u64| {
        json!({ "core": core, "load": core, "calls": 2, "cpu_s": uptime / (1 + core) as f64, "turns": reads,
                "sleeps": reads / 2, "polls": 2 * reads, "tasks": 5, "operations": 4, "panics": 0 })
    };
    let readv = json!({ "hits": reads, "errors": { "EIO": reads / 100 }, "max": 70_000,
                        "latency_histogram": { "1024": reads - reads / 50, "65536": reads / 50 } });
    let file = json!({ "gfid": "5b0f4ad7-3c1e-4d52-9c5c-0a1b2c3d4e5f", "path": "/data/hot file", "per_s": 800.0,
                       "read_per_s": 800.0, "bytes_read_per_s": 3_276_800.0 });
    let written = json!({ "gfid": "00000000-3c1e-4d52-9c5c-0a1b2c3d4e5f", "path": "/a\u{1b}[2Jb", "per_s": 9.0,
                          "write_per_s": 9.0, "bytes_written_per_s": 9_000_000.0 });
    let unnamed = json!({ "gfid": "11111111-3c1e-4d52-9c5c-0a1b2c3d4e5f", "per_s": 1.5, "open_per_s": 1.5 });
    let root = json!({ "gfid": "00000000-0000-0000-0000-000000000001", "path": "/", "per_s": 40.0, "look_per_s": 30.0,
                       "list_per_s": 10.0 });
    serde_json::from_value(json!({
        "about": { "name": "vol", "version": "0.1.0", "pid": 42, "mountpoint": "[::]:24007", "source": "/srv/brick",
                   "cores": 2, "uptime_s": uptime },
        "layers": [
            { "name": "server", "type": "protocol/server", "stats": { "clients": 3, "connections": 4,
              "requests": reads, "received_bytes": 100 * reads, "sent_bytes": 4096 * reads, "in_flight": 3,
              "held_bytes": 65_536, "waiting_locks": 0 } },
            { "name": "io", "type": "debug/io-stats", "stats": {
              "count_fop_hits": true, "in_flight": { "readv": 3 }, "open_files": { "now": 12 },
              "cumulative": { "bytes_read": 4096 * reads, "bytes_written": 0, "fops": { "readv": readv,
                  "fsync": { "hits": 0 } } },
              "hot": { "one_in": 64, "files": [file, written, unnamed], "directories": [root] } } },
            { "name": "py", "type": "features/glupy", "stats": { "waiting": 7, "disabled": false,
              "requests": { "calls": reads / 2, "replies": 0, "batches": reads / 20, "overloaded": reads / 100 } } },
        ],
        "cores": [core(0), core(1)],
        "process": { "cpu_s": uptime, "resident_bytes": 50 << 20, "open_fds": 33 },
    }))
    .expect("it has the form")
}
