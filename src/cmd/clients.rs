//! `kiln stats --clients`

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use kiln_xlators::protocol::server::ClientReport;

use super::stats::heading;
use super::table::Table;
use crate::cli::ClientOrder;
use crate::control::protocol::Clients;
use crate::units;

/// Puts the clients in order; those that are equal in it, by age.
pub fn sort(clients: &mut Clients, order: ClientOrder) {
    let list = &mut clients.clients;
    list.sort_by_key(|client| client.client >> 10);
    match order {
        ClientOrder::Requests => list.sort_by_key(|client| Reverse(client.requests)),
        ClientOrder::Bytes => list.sort_by_key(|client| Reverse(client.received_bytes + client.sent_bytes)),
        ClientOrder::InFlight => list.sort_by_key(|client| Reverse(client.in_flight + client.waiting_locks)),
        ClientOrder::Fds => list.sort_by_key(|client| Reverse(client.open_fds)),
        ClientOrder::Errors => list.sort_by_key(|client| Reverse(client.errors + client.refused_calls)),
        ClientOrder::Age => list.sort_by(|a, b| b.connected_s.total_cmp(&a.connected_s)),
        ClientOrder::Address => list.sort_by(|a, b| a.address.cmp(&b.address)),
    }
}

/// As a table. With `before`, the rate of requests is that since then; without, since the client connected.
pub fn render(now: &Clients, before: Option<&Clients>) -> String {
    let mut out = heading(&now.about);
    out.push('\n');
    let earlier: HashMap<u64, &ClientReport> =
        before.iter().flat_map(|clients| &clients.clients).map(|client| (client.client, client)).collect();
    let mut table = Table::new(&[
        "address",
        "since",
        "requests",
        "per s",
        "in",
        "out",
        "in flight",
        "locks",
        "fds",
        "errors",
        "version",
        "brick",
        "name",
    ]);
    for client in now.clients.iter().filter(|client| client.brick.is_some()) {
        let then = earlier.get(&client.client).copied();
        let seconds = client.connected_s - then.map_or(0.0, |then| then.connected_s);
        let calls = client.requests.saturating_sub(then.map_or(0, |then| then.requests));
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
        table.row(vec![
            client.address.clone(),
            units::long(Duration::try_from_secs_f64(client.connected_s).unwrap_or_default()),
            client.requests.to_string(),
            units::rate(calls as f64 / seconds.max(0.001)),
            units::bytes(client.received_bytes),
            units::bytes(client.sent_bytes),
            client.in_flight.to_string(),
            client.waiting_locks.to_string(),
            client.open_fds.to_string(),
            (client.errors + client.refused_calls).to_string(),
            text(&client.version),
            text(&client.brick),
            text(&client.process),
        ]);
    }
    out.push_str(&if table.is_empty() { "  no clients\n".into() } else { table.text() });
    let others = now.clients.iter().filter(|client| client.brick.is_none()).count();
    if others > 0 {
        // Writing to a string cannot fail.
        let _ =
            writeln!(out, "  and {others} connected for volfiles, or before the handshake (--json has them)");
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn clients(requests: [u64; 2], age: f64) -> Clients {
        let client = |number: u64, requests: u64| ClientReport {
            client: number << 10,
            address: format!("10.0.0.{number}:1023"),
            connected_s: age,
            requests,
            received_bytes: 2048 * number,
            brick: Some("/b".into()),
            process: (number == 1).then(|| "CTX_ID:1".into()),
            ..ClientReport::default()
        };
        let about = json!({ "name": "b", "version": "0", "pid": 7, "mountpoint": "[::]:1", "source": "/b", "cores": 1,
                            "uptime_s": 61.0 });
        Clients {
            about: serde_json::from_value(about).unwrap(),
            clients: vec![client(1, requests[0]), client(2, requests[1])],
        }
    }

    fn order(by: ClientOrder) -> Vec<u64> {
        let mut sorted = clients([5, 9], 10.0);
        sort(&mut sorted, by);
        sorted.clients.iter().map(|client| client.client >> 10).collect()
    }

    #[test]
    fn the_order_is_as_asked() {
        assert_eq!(order(ClientOrder::Requests), [2, 1]);
        assert_eq!(order(ClientOrder::Bytes), [2, 1]);
        assert_eq!(order(ClientOrder::Address), [1, 2]);
        assert_eq!(order(ClientOrder::Errors), [1, 2], "of equals, the older first");
    }

    #[test]
    fn rates_are_since_the_last_look() {
        let (then, mut now) = (clients([5, 9], 10.0), clients([25, 9], 12.0));
        sort(&mut now, ClientOrder::Requests);
        let text = render(&now, Some(&then));
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[3][..5], ["10.0.0.1:1023", "12s", "25", "10.0", "2.00KiB"], "{text}");
        assert_eq!(lines[4][..4], ["10.0.0.2:1023", "12s", "9", "0"], "{text}");
        assert!(lines[3].ends_with(&["-", "/b", "CTX_ID:1"]), "{text}");
        now.clients[0].brick = None;
        assert!(
            render(&now, None)
                .ends_with("and 1 connected for volfiles, or before the handshake (--json has them)\n")
        );
        assert!(render(&Clients { clients: Vec::new(), ..now }, None).contains("no clients"));
    }
}
