//! What an operator sees and does: clients in `kiln stats`, metrics, options that change while clients are connected.

use std::fs::{self, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::process::Command;
use std::time::Duration;

use crate::support::{KilnMount, KilnServer, Scratch, StockClient, free_port, kiln, run, signal, wait_for};

/// Parses a page as Prometheus does, and then checks with a `check(values)` of its own: a dictionary from name and labels to
/// the value.
const PARSER: &str = r##"
import sys, urllib.request
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
reply = urllib.request.urlopen(sys.argv[1], timeout=20)
assert reply.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8", reply.headers
text = reply.read().decode()
assert text.endswith("# EOF\n"), text[-100:]
families = list(parse(text))
names = [family.name for family in families]
assert len(names) == len(set(names)), names
for family in families:
    assert family.documentation and family.samples, family
values = {}
for family in families:
    for s in family.samples:
        values[(s.name, *sorted(v for k, v in s.labels.items() if k != "layer"))] = s.value
def at(*key): return values[(key[0], *sorted(key[1:]))]
"##;

/// Scrapes until the checks hold; they may see a page from just before.
fn scrape(port: u16, checks: &str) -> String {
    let script = format!("{PARSER}\n{checks}\nprint(text)");
    let url = format!("http://127.0.0.1:{port}/metrics");
    std::thread::sleep(Duration::from_millis(250));
    // Debian's own, which has the package.
    run(Command::new("/usr/bin/python3").args(["-c", &script, &url]))
}

#[test]
fn metrics_of_a_server_tell_what_its_clients_do() {
    let scratch = Scratch::new();
    let metrics = free_port();
    let server = KilnServer::at(&scratch, free_port(), |command| {
        command.arg("--brick").arg(scratch.brick()).args(["--metrics", &metrics.to_string(), "--cores", "2"]);
    });
    let checks = "
assert at('kiln_clients') == 0 and at('kiln_cores') == 2 and at('kiln_silent_cores') == 0
assert at('kiln_brick_healthy') == 1 and at('kiln_brick_size_bytes') > at('kiln_brick_free_bytes') > 0
assert at('kiln_core_turns_total', '0') > 0 and at('kiln_core_turns_total', '1') > 0
assert at('process_open_fds') > 3 and at('process_resident_memory_bytes') > 1e6
";
    scrape(metrics, checks);
    let client = StockClient::of_volume(&scratch, server.port, "mnt-a");
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).open(client.mnt().join("file")).unwrap();
    file.write_all_at(&vec![1; 1 << 20], 0).unwrap();
    file.sync_all().unwrap();
    assert!(fs::metadata(client.mnt().join("absent")).is_err());
    let checks = "
assert at('kiln_clients') == 1, values
assert at('kiln_written_bytes_total') == 1 << 20, values
assert at('kiln_network_received_bytes_total') > 1 << 20
assert at('kiln_fops_total', 'create') == 1 and at('kiln_client_requests_total', 'create') == 1
assert at('kiln_fop_latency_seconds_count', 'create') == 1 == at('kiln_fop_latency_seconds_bucket', 'create', '+Inf')
assert 0 < at('kiln_fop_latency_seconds_sum', 'create') < 10
assert at('kiln_fop_errors_total', 'lookup', 'ENOENT') >= 1 and at('kiln_client_errors_total') >= 1
assert at('kiln_open_files') == 1 == at('kiln_client_open_fds')
assert at('kiln_connections_accepted_total') >= 1 and at('kiln_handshakes_refused_total') == 0
";
    scrape(metrics, checks);
    // Counters keep what is gone.
    drop((file, client));
    wait_for("the client to be gone", Duration::from_secs(20), || {
        server.stats(&["--clients"]).contains("no clients")
    });
    scrape(
        metrics,
        "assert at('kiln_clients') == 0 and at('kiln_client_requests_total', 'create') == 1 and at('kiln_network_received_bytes_total') > 1 << 20",
    );
    server.stop();
}

#[test]
fn metrics_of_a_mount_and_scrapers_that_misbehave() {
    let scratch = Scratch::new();
    let port = free_port();
    let mount = KilnMount::with(&scratch.mnt(), |command| {
        command.arg("--brick").arg(scratch.brick()).arg("--metrics").arg(format!("127.0.0.1:{port}"));
    });
    fs::write(scratch.mnt().join("file"), "x").unwrap();
    // Twice as many as are served at a time, which say nothing; and one that sends without end.
    let idle: Vec<_> = (0..32).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let mut endless = TcpStream::connect(("127.0.0.1", port)).unwrap();
    while endless.write_all(&[b'x'; 1 << 16]).is_ok() {}
    // Those that say nothing have their seconds, and then others are served.
    wait_for("the idle ones to be closed", Duration::from_secs(20), || {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        let mut reply = String::new();
        let asked =
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").and_then(|()| stream.read_to_string(&mut reply));
        asked.is_ok() && reply.starts_with("HTTP/1.1 200")
    });
    drop(idle);
    scrape(port, "assert at('kiln_mount_objects') >= 1 and at('kiln_fops_total', 'create') == 1, values");
    // An address that is taken is told before anything is mounted.
    let output = kiln()
        .args(["serve", "--listen", "127.0.0.1:0", "--metrics", &port.to_string(), "--control-socket"])
        .arg(scratch.join("x.sock"))
        .arg("--brick")
        .arg(scratch.join("other"))
        .output()
        .unwrap();
    let text = crate::support::text(&output);
    assert!(output.status.code() == Some(10) && text.contains("--metrics"), "{text}");
    mount.stop();
}

#[test]
fn clients_are_listed() {
    let scratch = Scratch::new();
    let server = KilnServer::at(&scratch, free_port(), |command| {
        command.arg("--brick").arg(scratch.brick()).args(["--cores", "2"]);
    });
    assert!(server.stats(&["--clients"]).contains("no clients"));
    let one = StockClient::of_volume(&scratch, server.port, "mnt-1");
    let two = StockClient::of_volume(&scratch, server.port, "mnt-2");
    let open: Vec<_> =
        (0..5).map(|number| fs::File::create(one.mnt().join(format!("file-{number}"))).unwrap()).collect();
    fs::write(two.mnt().join("big"), vec![0; 4 << 20]).unwrap();
    let script = r#"
import json, subprocess, sys, time
kiln, sock = sys.argv[1:]
def clients(*more):
    out = subprocess.run([kiln, "stats", "--clients", "--json", "--socket", sock, *more], stdout=subprocess.PIPE, check=True).stdout
    # Each mount has a connection for its volfile, too.
    return [client for client in json.loads(out)["clients"] if client["brick"]]
by_fds, by_bytes = clients("--sort", "fds"), clients("--sort", "bytes")
assert len(by_fds) == len(by_bytes) == 2, by_fds
assert {client["core"] for client in by_fds} == {0, 1}, by_fds
first, second = by_fds
assert first["open_fds"] == 5 and second["open_fds"] == 0, by_fds
assert by_bytes[0]["received_bytes"] > 4 << 20 and by_bytes[0]["client"] == second["client"], by_bytes
for client in by_fds:
    assert client["address"].startswith("127.0.0.1:") and client["brick"] and client["process"].startswith("CTX_ID:"), client
    assert client["version"][0].isdigit() and abs(time.time() - client["since"] - client["connected_s"]) < 5, client
    assert client["requests"] > 5 and client["sent_bytes"] > 0, client
assert first["errors"] > 0, by_fds
"#;
    run(Command::new("python3").args(["-c", script, env!("CARGO_BIN_EXE_kiln")]).arg(server.socket()));
    let table = server.stats(&["--clients", "--sort", "fds"]);
    let lines: Vec<&str> =
        table.lines().filter(|line| line.contains("127.0.0.1:") && line.contains("CTX_ID:")).collect();
    assert_eq!(lines.len(), 2, "{table}");
    let dump = server.dump();
    assert!(dump.contains("CTX_ID:") && dump.contains("failed_calls"), "{dump}");
    drop((open, one, two));
    server.stop();
}

#[test]
fn options_change_under_a_client() {
    let scratch = Scratch::new();
    let (volfile, port) = (scratch.join("server.vol"), free_port());
    let graph = |posix: &str, locks: &str, stats: &str, server: &str| {
        let text = format!(
            "volume posix\n type storage/posix\n option directory {}\n{posix}end-volume\n\
             volume locks\n type features/locks\n{locks} subvolumes posix\nend-volume\n\
             volume brick\n type debug/io-stats\n{stats} subvolumes locks\nend-volume\n\
             volume server\n type protocol/server\n{server} subvolumes brick\nend-volume\n",
            scratch.brick().display()
        );
        fs::write(&volfile, text).unwrap();
    };
    let everybody = " option auth.addr.brick.allow *\n";
    graph("", "", "", everybody);
    let server = KilnServer::at(&scratch, port, |command| _ = command.arg("--volfile").arg(&volfile));
    let options = format!(
        " option transport-type tcp\n option remote-host 127.0.0.1\n option remote-port {port}\n \
         option remote-subvolume brick\n"
    );
    let client = StockClient::of_volfile(&scratch, "mnt-a", &options);
    let path = client.mnt().join("file");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    file.write_all_at(b"before", 0).unwrap();
    let seen = |text: &str| {
        let from = server.log().len();
        signal(server.pid(), "HUP");
        wait_for(text, Duration::from_secs(20), || {
            server.log().get(from..).is_some_and(|log| log.contains(text))
        });
        server.log()[from..].to_owned()
    };
    let in_force = |key: &str, value: &str| {
        let dump: String = server.dump().split_whitespace().collect();
        dump.contains(&format!("{{\"key\":\"{key}\",\"value\":\"{value}\""))
    };
    let mode = |name: &str| {
        fs::write(client.mnt().join(name), "").unwrap();
        fs::metadata(client.mnt().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("plain"), 0o644);

    // All at once: modes of new files, locks in the log, counting, and who may come.
    graph(
        " option force-create-mode 0777\n",
        " option trace on\n",
        " option count-fop-hits on\n option latency-measurement on\n",
        " option auth.addr.brick.allow *\n option auth.addr.brick.reject 127.0.0.1\n",
    );
    let log = seen("are in force");
    for key in [
        "force-create-mode of posix",
        "trace of locks",
        "count-fop-hits of brick",
        "auth.addr.brick.reject of server",
    ] {
        assert!(log.contains(key), "{key}: {log}");
    }
    assert_eq!(mode("forced"), 0o777);
    let stats = server.stats(&[]);
    assert!(stats.contains("create"), "nothing is counted: {stats}");
    let (ended, text) = StockClient::refused(&scratch, "mnt-b", &options, Duration::from_secs(20));
    assert!(ended && text.contains("Authentication failed"), "{text}");
    assert!(in_force("trace", "on"));
    // The file is still the same open file, with the same connection below.
    file.write_all_at(b"later!", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(fs::read(scratch.brick().join("file")).unwrap(), b"later!");

    // Mistakes, and what needs a restart: nothing of it is taken over, not even what is right.
    let good = fs::read_to_string(&volfile).unwrap();
    let bad: [(&str, String); 5] = [
        (
            "it has errors",
            good.replace("force-create-mode 0777", "force-create-mode lots").replace("trace on", "trace off"),
        ),
        ("it has errors", good.replace("end-volume", "")),
        (
            "the graph itself changed, which needs a restart",
            good.replace("trace on", "trace off")
                .replace("volume locks", "volume other")
                .replace("subvolumes locks", "subvolumes other"),
        ),
        (
            "the graph itself changed, which needs a restart",
            good.replace("trace on", "trace off")
                + "volume more\n type protocol/server\n option auth.addr.brick.allow *\n subvolumes brick\nend-volume\n",
        ),
        (
            "a change of option `transport.listen-backlog` needs a restart",
            good.replace("trace on", "trace off").replace(
                "option auth.addr.brick.allow *",
                "option auth.addr.brick.allow *\n option transport.listen-backlog 7",
            ),
        ),
    ];
    for (why, text) in bad {
        fs::write(&volfile, text).unwrap();
        let log = seen("is not taken over, and the old options stay in force");
        assert!(log.contains(why), "{why}: {log}");
        assert!(in_force("trace", "on") && in_force("force-create-mode", "0777"), "{why}");
        file.write_all_at(b"still!", 0).unwrap();
    }
    fs::remove_file(&volfile).unwrap();
    seen("is not taken over, and the old options stay in force");

    // And back.
    graph("", "", "", everybody);
    seen("are in force");
    assert_eq!(mode("plain-again"), 0o644);
    let other = StockClient::of_volfile(&scratch, "mnt-c", &options);
    assert_eq!(fs::read(other.mnt().join("file")).unwrap(), b"still!");
    file.sync_all().unwrap();
    assert!(!server.log().contains("disconnected: the server stops"), "{}", server.log());
    assert_eq!(server.log().matches(": disconnected").count(), 0, "a client was dropped: {}", server.log());
    drop((file, client, other));
    server.stop();
}
