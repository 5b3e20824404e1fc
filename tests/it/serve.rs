//! `benchdb serve` from outside: its pages, and what they say of a database that is not there.

use crate::made::Made;
use serde_json::Value;

use crate::served::{Reply, cells, filled, pages, unescaped};
use crate::support::{Expect as _, Sandbox, program, root, stdout_of, wait_for};

#[test]
fn every_page_answers_and_needs_nothing_of_others() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    for target in pages(&sandbox) {
        let reply = if target.starts_with("/report") { served.report(&target) } else { served.page(&target) };
        let text = reply.text();
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{target}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{target}");
        let policy = reply.header("content-security-policy").unwrap();
        for word in ["default-src 'none'", "style-src 'self'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(word), "{target}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{target}");
        }
        assert!(reply.header("access-control-allow-origin").is_none());
        // What the policy forbids is not there in the first place.
        for word in ["<script>", "<style", " style=\"", " onclick=", "javascript:", "http://", "https://"] {
            let found = text.match_indices(word).map(|(at, _)| text[at..].chars().take(60).collect::<String>());
            let found: Vec<String> = found.filter(|found| !found.starts_with("http://www.w3.org/")).collect();
            assert!(found.is_empty(), "{target}: {found:?}");
        }
    }
    let style = served.page("/style.css");
    assert!(style.text().contains("--paper") && style.header("cache-control").unwrap().contains("max-age"));
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert!(served.page("/script.js").text().contains("use strict"));
}

#[test]
fn pages_say_what_the_record_says() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    let overview = served.page("/").text();
    for word in ["Newest runs", "Measured runs by model and platform", "the device was lost", "resnet18"] {
        assert!(overview.contains(word), "{word}: {overview}");
    }
    let run = sandbox.count("SELECT max(run_id) FROM results WHERE engine = 'onnxruntime-cuda'");
    let text = served.page(&format!("/runs/{run}")).text();
    for word in ["RTX Made", "onnxruntime-cuda", "latency_p50_ms", "PyTorch 2.4.0"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let uuid = sandbox.value(&format!("SELECT uuid FROM run WHERE id = {run}"));
    assert!(served.page(&format!("/runs/{}", uuid.as_str().unwrap())).text().contains("onnxruntime-cuda"));
    let broken = sandbox.count("SELECT run_id FROM results WHERE status = 'failed'");
    assert!(served.page(&format!("/runs/{broken}")).text().contains("failed: the device was lost"));
    let history = sandbox.count("SELECT configuration_id FROM run ORDER BY id LIMIT 1");
    let text = served.page(&format!("/configurations/{history}")).text();
    for word in ["Verdicts", "regressed", "step", "chart-0"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_comparison_gives_the_verdict_of_the_command_line() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    let page = served.page("/compare?a.label=before&b.label=after");
    let text = page.text();
    for word in ["regressed", "+50 %", "two samples", "0.6667 x", "Side by side"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let engines = served.page("/compare?a.engine=pytorch&b.engine=onnxruntime-cuda&a.label=before").text();
    assert!(engines.contains("Matched on") && engines.contains("0.5000 x"), "{engines}");
    let nothing = served.page("/compare?a.label=nobody&b.label=neither").text();
    assert!(nothing.contains("There are no rows"), "{nothing}");
}

#[test]
fn a_report_says_what_that_of_the_command_line_says() {
    let sandbox = filled();
    sandbox.benchdb().args(["baseline", "save", "main", "--label", "before"]).succeeds();
    let served = sandbox.serve(&[]);
    let text = served.report("/report").text();
    for word in ["Summary", "Environment and validity", "Comparison", "Rankings", "Verdicts", "Recommendations", "step"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    let document: Value = sandbox.benchdb().args(["report", "--format", "json"]).json();
    let table = |title: &str| -> Vec<Value> {
        let sections = document["sections"].as_array().unwrap().iter();
        let mut tables = sections.flat_map(|section| section["tables"].as_array().cloned().unwrap_or_default());
        tables.find(|table| table["title"] == title).unwrap()["rows"].as_array().unwrap().clone()
    };
    let words = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let counts: Vec<Vec<String>> =
        table("Counts").iter().map(|row| vec![words(&row["what"]), words(&row["value"])]).collect();
    assert_eq!(cells(&text, "summary-1"), counts);
    assert_eq!(cells(&text, "comparison-1").len(), table("Comparison").len());
    // The statements behind tables are statements.
    let sql = text.split("id=\"summary-1\"").nth(1).and_then(|rest| rest.split("<code>").nth(1)).unwrap();
    assert_eq!(sandbox.sql(&unescaped(sql.split("</code>").next().unwrap())).len(), counts.len());
    // The charts have a page of their own, of the same selection.
    let narrow = served.report("/report?label=after&baseline=main");
    assert!(narrow.text().contains("against baseline main") && !narrow.text().contains("<figure"), "{}", narrow.text());
    assert!(cells(&narrow.text(), "verdicts-1").iter().any(|row| row.contains(&"regressed".to_owned())));
    assert_eq!(narrow.link("Charts of these runs").unwrap(), "/charts?label=after");
    let lenient = served.report("/report?label=after&baseline=main&regression-alert=90%25").text();
    assert!(!lenient.contains("1 regressed"), "{lenient}");
    let nothing = served.report("/report?label=nobody").text();
    assert!(nothing.contains("No run is selected, so there is nothing to report."), "{nothing}");
    // What is measured meanwhile is in the next one.
    sandbox.take(&[Made::taking(3.0).model("mobilenet_v2")]);
    assert!(served.report("/report").text().contains("mobilenet_v2"));
}

#[test]
fn what_a_page_says_can_be_typed() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    let folder = program().parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    for target in pages(&sandbox) {
        if target == "/compare" {
            continue;
        }
        let page = served.page(&target);
        assert!(!page.commands().is_empty(), "{target}: {}", page.text());
        for command in page.commands() {
            // A regression is an answer.
            let output = sandbox.wrapped("sh").args(["-c", &command]).env("PATH", &path).outcome();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{command}: {output:?}");
        }
    }
    // The statements behind tables are statements.
    let page = served.page("/runs?model=resnet18&rows=3").text();
    let sql = page.split("<code>").nth(1).and_then(|rest| rest.split("</code>").next()).unwrap();
    assert_eq!(sandbox.sql(&unescaped(sql)).len(), 20);
}

#[test]
fn leafing_through_shows_every_run_once() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    for selection in ["", "model=resnet18&", "label=after&", "hardware=cpu&", "framework=2.4&", "status=failed&"] {
        let ids = |page: &Reply| -> Vec<i64> {
            let text = page.text();
            let links = text.match_indices("<a href=\"/runs/");
            links.map(|(at, link)| text[at + link.len()..].split('"').next().unwrap().parse().unwrap()).collect()
        };
        let mut page = served.page(&format!("/runs?{selection}rows=3"));
        let mut seen = ids(&page);
        let first = seen.clone();
        let mut last = page.clone();
        while let Some(older) = page.link("Older") {
            page = served.page(&older);
            seen.extend(ids(&page));
            last = page.clone();
        }
        let export: Vec<i64> = {
            let options = selection.trim_end_matches('&').split('&').filter(|pair| !pair.is_empty());
            let mut command = sandbox.benchdb();
            command.args(["export", "--format", "csv"]);
            for pair in options {
                let (name, value) = pair.split_once('=').unwrap();
                command.args([format!("--{name}"), value.to_owned()]);
            }
            let text = stdout_of(&command.succeeds());
            text.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
        };
        assert_eq!(seen, export.into_iter().rev().collect::<Vec<_>>(), "{selection}");
        let mut back = last;
        while let Some(newer) = back.link("Newer") {
            back = served.page(&newer);
        }
        assert_eq!(ids(&back), first, "{selection}");
    }
}

#[test]
fn paths_lead_to_pages_and_to_nothing_else() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    for path in [
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/style.css/../../etc/passwd",
        "/runs/../../../etc/passwd",
        "/runs/%00",
        "/runs/-1",
        "/runs/1%20OR%201=1",
        "/runs/01",
        "/runs/99999999999999999999999",
        "/configurations/0",
        "/configurations/-7",
        "/configurations/1;DROP%20TABLE%20run",
        "/chart/../../x.svg",
        "/chart/throughput.exe",
        "/chart/throughput",
        "/chart/nothing.svg",
        "/benchdb.sqlite",
        "/runs/",
        "/nothing",
    ] {
        let reply = served.get(path);
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        assert!(!reply.text().contains("root:"), "{path}");
    }
    assert_eq!(served.raw(b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n").status / 100, 4);
}

#[test]
fn junk_in_the_address_gets_one_sentence() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    for target in [
        "/runs?model=%00",
        "/runs?model=a%0d%0aSet-Cookie:%20x=1",
        "/runs?model=%ff%fe",
        "/runs?mode=dreaming",
        "/runs?nothing=1",
        "/runs?help=1",
        "/runs?rows=0",
        "/runs?rows=-5",
        "/runs?rows=1e9",
        "/runs?rows=99999999999999999999",
        "/runs?before=x",
        "/runs?before=-1",
        "/runs?before=1&after=1",
        "/runs?before=1&before=2",
        "/runs?host=a&host=b",
        "/runs?since=yesterday",
        "/runs?campaign=nobody",
        "/configurations?page=-1",
        "/configurations?page=0",
        "/configurations?page=99999999999999999999",
        "/configurations?model=x",
        "/?model=x",
        "/compare?a.nothing=1",
        "/compare?c.engine=1",
        "/compare?a.engine=x&regression-alert=-1",
        "/compare?a.engine=x&metrics=nonsense",
        "/compare?a.baseline=nobody",
        "/charts?mode=dreaming",
        "/report?mode=dreaming",
        "/report?nothing=1",
        "/report?title=x",
        "/report?relative-to=weather%3Dfine",
        "/report?include-software=maybe",
        "/report?regression-alert=-1",
        "/report?baseline=nobody",
        "/report?relative-to=cpu&relative-to=cuda",
        "/report?campaign=nobody",
        "/chart/throughput.svg?mode=dreaming",
    ] {
        let reply = served.get(target);
        let text = reply.text();
        assert_eq!(reply.status, 400, "{target}: {text}");
        assert_eq!(text.matches("role=\"alert\"").count(), 1, "{target}: {text}");
        assert!(reply.header("set-cookie").is_none(), "{target}");
    }
    for target in ["/runs?model=%zz", "/runs?%", "/runs?&&=&a", "/runs?=1"] {
        assert!([200, 400].contains(&served.get(target).status), "{target}");
    }
    for target in ["/configurations?page=1000000", "/runs?before=1", "/runs?after=9223372036854775807"] {
        assert!(served.page(target).text().contains("There are no rows"), "{target}");
    }
}

#[test]
fn charts_come_as_files() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    let svg = served.chart("/chart/throughput.svg?model=resnet18");
    assert_eq!(svg.header("content-type"), Some("image/svg+xml; charset=utf-8"));
    assert!(svg.text().contains("<svg") && svg.text().contains("RTX Made"), "{}", svg.text());
    let png = served.chart("/chart/throughput.png?model=resnet18");
    assert_eq!(png.header("content-type"), Some("image/png"));
    assert!(png.body.starts_with(b"\x89PNG\r\n\x1a\n"));
    let none = served.chart("/chart/accuracy.svg");
    assert_eq!(none.status, 404);
    assert!(none.text().contains("There is nothing to draw"), "{}", none.text());
}

#[test]
fn what_is_measured_meanwhile_is_shown() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    // Whoever writes must not take the log away from under those who read: one change would be seen, and none after it.
    for model in ["mobilenet_v2", "distilbert", "resnet50"] {
        assert!(!served.page("/").text().contains(model));
        sandbox.take(&[Made::taking(3.0).model(model)]);
        assert!(served.page("/").text().contains(model), "{model}");
        wait_for("a chart of the new run", || {
            served.chart("/chart/throughput.svg").text().contains(model).then_some(())
        });
    }
}

#[test]
fn a_database_that_goes_is_missed_and_welcome_back() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    served.page("/");
    let set_aside = sandbox.path("aside.sqlite");
    let without_log = || {
        for ending in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(sandbox.path(&format!("benchdb.sqlite{ending}")));
        }
    };
    let says = |words: &str| {
        for target in ["/", "/runs", "/configurations", "/runs/1", "/report", "/charts", "/compare?a.label=x"] {
            let reply = served.get(target);
            assert_eq!(reply.status, 503, "{target}: {}", reply.text());
            assert!(reply.text().contains(words), "{words}, {target}: {}", reply.text());
        }
    };
    std::fs::rename(sandbox.db(), &set_aside).unwrap();
    without_log();
    says("No database at");
    std::fs::rename(&set_aside, sandbox.db()).unwrap();
    assert!(served.page("/").text().contains("resnet18"));
    std::fs::rename(sandbox.db(), &set_aside).unwrap();
    without_log();
    sandbox.write("benchdb.sqlite", "this was a database once");
    says("is not an SQLite database");
    std::fs::remove_file(sandbox.db()).unwrap();
    rusqlite::Connection::open(sandbox.db()).unwrap().execute("CREATE TABLE other (x)", []).unwrap();
    says("of another program");
    std::fs::remove_file(sandbox.db()).unwrap();
    std::fs::copy(root().join("fixtures/databases/schema-1.sqlite"), sandbox.db()).unwrap();
    says("init-db");
    std::fs::remove_file(sandbox.db()).unwrap();
    // Another one takes its place.
    let other = Sandbox::new();
    other.take(&[Made::taking(1.0).model("another_model")]);
    other.benchdb().args(["backup", sandbox.db().to_str().unwrap()]).succeeds();
    assert!(served.page("/").text().contains("another_model"));
    std::fs::remove_file(sandbox.db()).unwrap();
    without_log();
    let content = std::fs::read(&set_aside).unwrap();
    sandbox.write("benchdb.sqlite", &content[..content.len() / 2]);
    says("truncated");
}

#[test]
fn a_database_that_cannot_be_served_is_refused_and_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("serve").refuses(&["no database"], &["init-db"]);
    assert!(sandbox.listing().is_empty());
    std::fs::copy(root().join("fixtures/databases/schema-1.sqlite"), sandbox.db()).unwrap();
    let before = std::fs::read(sandbox.db()).unwrap();
    sandbox.benchdb().arg("serve").refuses(&["schema 1"], &["init-db"]);
    assert!(std::fs::read(sandbox.db()).unwrap() == before);
}

#[test]
fn a_database_that_is_locked_is_said_to_be() {
    let sandbox = filled();
    let other = sandbox.connection();
    // Without a write-ahead log, whoever writes keeps others from reading.
    let mode: String = other.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
    let served = sandbox.serve(&[]);
    served.page("/");
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for target in [
        "/",
        "/runs",
        "/configurations",
        "/runs/1",
        "/report",
        "/charts",
        "/chart/throughput.svg",
        "/compare?a.label=before",
    ] {
        let reply = served.get(target);
        assert_eq!(reply.status, 503, "{target}: {}", reply.text());
        assert!(reply.text().contains("locked by another process"), "{target}: {}", reply.text());
    }
    other.execute_batch("COMMIT").unwrap();
    served.page("/runs");
    assert_eq!(served.chart("/chart/throughput.svg").status, 200);
}
