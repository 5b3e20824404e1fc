//! `benchdb serve` from outside: its pages, and what it does about requests that mean no good.

use std::io::{Read as _, Write as _};
use std::process::Command;

use crate::made::{FIVE, Made, all_taking, of_campaign, times};
use crate::served::{Reply, Served, unescaped};
use crate::support::{Expect as _, PATIENCE, Sandbox, program, root, stdout_of, wait_for};

const TOKEN: &str = "0123456789abcdef0123";

/// A database with two campaigns, another engine, another device, and a run that broke.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.take(&of_campaign(all_taking(&FIVE), 1, "before"));
    sandbox.take(&of_campaign(all_taking(&times(&FIVE, 1.5)), 2, "after"));
    let slower = |time: &f64| Made::taking(*time).with("/configuration/engine", "onnxruntime-cuda");
    sandbox.take(&times(&FIVE, 2.0).iter().map(slower).collect::<Vec<_>>());
    let processor = |time: &f64| Made::taking(*time).device("cpu", "CPU Made");
    sandbox.take(&times(&FIVE, 20.0).iter().map(processor).collect::<Vec<_>>());
    sandbox.take(&[Made::taking(10.0).model("vit_b_16").failed()]);
    sandbox
}

/// Every kind of page.
fn pages(sandbox: &Sandbox) -> Vec<String> {
    let run = sandbox.count("SELECT min(id) FROM run");
    let configuration = sandbox.count("SELECT configuration_id FROM run ORDER BY id LIMIT 1");
    vec![
        "/".to_owned(),
        "/runs".to_owned(),
        "/runs?model=resnet18&hardware=cuda&rows=3".to_owned(),
        format!("/runs/{run}"),
        "/configurations".to_owned(),
        "/configurations?q=resnet18+cuda".to_owned(),
        format!("/configurations/{configuration}"),
        "/charts".to_owned(),
        "/charts?model=resnet18".to_owned(),
        "/compare".to_owned(),
        "/compare?a.label=before&b.label=after".to_owned(),
        "/compare?a.engine=pytorch&b.engine=onnxruntime-cuda&model=resnet18".to_owned(),
    ]
}

#[test]
fn every_page_answers_and_needs_nothing_of_others() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    for target in pages(&sandbox) {
        let reply = served.page(&target);
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
fn only_the_names_of_the_server_are_answered() {
    let sandbox = filled();
    let served = sandbox.serve(&["--allow-host", "bench.example"]);
    let port = served.address.port();
    let ask = |host: &str| served.raw(format!("GET / HTTP/1.1\r\n{host}Connection: close\r\n\r\n").as_bytes());
    for host in [format!("localhost:{port}"), format!("[::1]:{port}"), "bench.example".to_owned()] {
        assert_eq!(ask(&format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    for host in [
        format!("rebound.example:{port}"),
        format!("127.0.0.1.rebound.example:{port}"),
        format!("localhost:{}", port.wrapping_add(1)),
        "localhost".to_owned(),
        format!("0.0.0.0:{port}"),
        format!("192.168.0.1:{port}"),
    ] {
        let reply = ask(&format!("Host: {host}\r\n"));
        assert_eq!(reply.status, 421, "{host}: {}", reply.text());
        assert!(reply.text().contains("does not go by the name") && !reply.text().contains("resnet18"), "{host}");
        assert!(reply.header("content-security-policy").is_some(), "{host}");
    }
    assert_eq!(ask("").status, 400);
    assert_eq!(ask(&format!("Host: localhost:{port}\r\nHost: localhost:{port}\r\n")).status, 400);
    assert_eq!(ask(&format!("Host: localhost:{port}\r\nHost: rebound.example\r\n")).status, 400);
    assert_eq!(ask("Host: \r\n").status, 400);
    let absolute =
        format!("GET http://rebound.example/ HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    assert_eq!(served.raw(absolute.as_bytes()).status, 400);
    assert_eq!(served.raw(b"GET / HTTP/1.0\r\n\r\n").status, 400);
}

#[test]
fn pages_of_others_embed_and_fetch_nothing() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    let ask = |site: &str, mode: &str| {
        served.ask("GET", "/", &[&format!("Sec-Fetch-Site: {site}"), &format!("Sec-Fetch-Mode: {mode}")]).status
    };
    assert_eq!((ask("cross-site", "no-cors"), ask("same-site", "cors"), ask("cross-site", "cors")), (403, 403, 403));
    assert_eq!(
        (ask("cross-site", "navigate"), ask("same-origin", "no-cors"), ask("none", "navigate")),
        (200, 200, 200)
    );
}

#[test]
fn nothing_but_reading_is_done() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
        let reply = served.ask(method, "/runs", &[]);
        assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    assert_eq!(served.ask("CONNECT", "localhost:80", &[]).status / 100, 4);
    let head = served.ask("HEAD", "/runs", &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    let body = served.ask("GET", "/", &["Content-Length: 5"]);
    assert_eq!(body.status, 413, "{}", body.text());
    assert_eq!(served.ask("GET", "/", &["Transfer-Encoding: chunked"]).status, 413);
    assert_eq!(served.page("/").status, 200);
}

#[test]
fn two_requests_go_over_one_connection() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    let mut stream = served.connect();
    let request = format!("HEAD / HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
    let mut answers = String::new();
    for number in 1..=2 {
        stream.write_all(request.as_bytes()).unwrap();
        let mut piece = [0; 4096];
        while answers.matches("\r\n\r\n").count() < number {
            let read = stream.read(&mut piece).unwrap();
            assert!(read > 0, "{answers}");
            answers.push_str(&String::from_utf8_lossy(&piece[..read]));
        }
    }
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
}

#[test]
fn large_requests_are_refused() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    let long = "a".repeat(9_000);
    assert_eq!(served.get(&format!("/runs?model={long}")).status, 414);
    assert_eq!(served.ask("GET", "/", &[&format!("X-Long: {}", "a".repeat(20_000))]).status, 431);
    let endless = format!("GET / HTTP/1.1\r\nHost: {}\r\nX: {}\r\n\r\n", served.address, "a".repeat(2_000_000));
    assert!([0, 431].contains(&served.raw(endless.as_bytes()).status));
    let many: Vec<String> = (0..2_000).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!([0, 431].contains(&served.ask("GET", "/", &many).status));
    assert!([0, 400, 414, 431].contains(&served.raw(&vec![b'A'; 1_000_000]).status));
    assert!([0, 400].contains(&served.raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not HTTP\r\n\r\n").status));
    served.page("/");
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
fn what_is_asked_for_is_never_run() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    let runs = sandbox.count("SELECT count(*) FROM run");
    let attacks = [
        "'%20OR%20'1'='1",
        "x'%3B%20DROP%20TABLE%20run%3B--",
        "%27)%20UNION%20SELECT%20sql%20FROM%20sqlite_schema--",
        "%22%5D%2C%5B%22",
        "%5B%22anything%22%5D",
        "--help",
        "--db=/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
    ];
    let options =
        ["model", "variant", "device", "engine", "host", "label", "git-commit", "framework", "parameter", "run"];
    for attack in attacks {
        for option in options {
            let reply = served.get(&format!("/runs?{option}={attack}"));
            let text = reply.text();
            let page =
                text.split("<form").next().unwrap_or_default().to_owned() + text.split("</form>").nth(1).unwrap_or("");
            assert!([200, 400].contains(&reply.status), "{option}={attack}: {text}");
            assert!(!page.contains("<a href=\"/runs/"), "{option}={attack}: {text}");
            assert!(!text.contains("CREATE TABLE") && !text.contains("root:"), "{option}={attack}");
        }
        for target in
            ["/configurations?q=", "/compare?a.label=", "/compare?a.baseline=", "/compare?ignore=", "/runs?campaign="]
        {
            let reply = served.get(&[target, attack].concat());
            assert!([200, 400].contains(&reply.status), "{target}{attack}: {}", reply.text());
        }
    }
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), runs);
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
fn names_of_the_record_do_no_harm() {
    let sandbox = Sandbox::new();
    let evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'";
    let made = |time: &f64| {
        Made::taking(*time)
            .model(evil)
            .device("cuda", evil)
            .with("/configuration/engine", evil)
            .with("/configuration/variant", evil)
            .with("/environment/host", evil)
            .commit(evil)
    };
    sandbox.take(&of_campaign(FIVE.iter().map(made).collect(), 1, evil));
    sandbox.take(&[made(&1.0).failed().with("/error", evil).with("/hint", evil)]);
    let served = sandbox.serve(&[]);
    let mut targets = pages(&sandbox);
    let failed = sandbox.count("SELECT run_id FROM results WHERE status = 'failed'");
    targets.push(format!("/runs/{failed}"));
    let query = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cimg%20src%3Dx%20onerror%3Dalert(2)%3E%22%27";
    for target in
        ["/runs?model=", "/charts?model=", "/configurations?q=", "/compare?a.engine=", "/runs?mode=", "/runs?"]
    {
        targets.push([target, query].concat());
    }
    targets.push(format!("/compare?a.label={query}&b.label={query}"));
    for target in targets {
        let text = served.get(&target).text();
        assert!(!text.contains("<script>") && !text.contains("<img"), "{target}: {text}");
    }
    assert!(served.page("/").text().contains("&lt;script&gt;alert(1)"));
    for name in ["throughput", "latency", "history"] {
        let reply = served.get(&format!("/chart/{name}.svg"));
        assert!(!reply.text().contains("<script>"), "{name}");
    }
}

#[test]
fn charts_come_as_files() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    let svg = served.page("/chart/throughput.svg?model=resnet18");
    assert_eq!(svg.header("content-type"), Some("image/svg+xml; charset=utf-8"));
    assert!(svg.text().contains("<svg") && svg.text().contains("RTX Made"), "{}", svg.text());
    let png = served.page("/chart/throughput.png?model=resnet18");
    assert_eq!(png.header("content-type"), Some("image/png"));
    assert!(png.body.starts_with(b"\x89PNG\r\n\x1a\n"));
    let none = served.get("/chart/accuracy.svg");
    assert_eq!(none.status, 404);
    assert!(none.text().contains("There is nothing to draw"), "{}", none.text());
}

#[test]
fn what_is_measured_meanwhile_is_shown() {
    let sandbox = filled();
    let served = sandbox.serve(&[]);
    assert!(!served.page("/").text().contains("mobilenet_v2"));
    sandbox.take(&[Made::taking(3.0).model("mobilenet_v2")]);
    assert!(served.page("/").text().contains("mobilenet_v2"));
    wait_for("a chart of the new run", || {
        served.page("/chart/throughput.svg").text().contains("mobilenet_v2").then_some(())
    });
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
        for target in ["/", "/runs", "/configurations", "/runs/1", "/charts", "/compare?a.label=x"] {
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
fn others_need_a_token_and_a_good_one() {
    let sandbox = filled();
    let serve = |arguments: &[&str]| {
        let mut command = sandbox.benchdb();
        command.args(["serve", "--port", "0"]).args(arguments).env_remove("BENCHDB_TOKEN");
        command
    };
    serve(&["--listen", "0.0.0.0"]).refuses(&["0.0.0.0", "no token"], &["BENCHDB_TOKEN"]);
    serve(&["--listen", "::"]).refuses(&["no token"], &["BENCHDB_TOKEN"]);
    serve(&["--listen", "0.0.0.0", "--token", "short"]).refuses(&["16 characters"], &["openssl"]);
    serve(&["--listen", "0.0.0.0", "--token", ""]).refuses(&["no token"], &["BENCHDB_TOKEN"]);
    serve(&["--token", "with spaces in it, many"]).refuses(&["ASCII"], &["openssl"]);
    serve(&["--listen", "192.0.2.1", "--token", TOKEN]).refuses(&["192.0.2.1"], &["--listen"]);
    serve(&["--listen", "everywhere"]).ends_with(2);
    serve(&["--allow-host", "http://x/"]).ends_with(2);
}

#[test]
fn a_port_that_is_taken_is_said_to_be() {
    let sandbox = filled();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    sandbox.benchdb().args(["serve", "--port", &port]).refuses(&["cannot listen", &port], &["--port 0"]);
}

#[test]
fn the_token_opens_and_nothing_else_does() {
    let sandbox = filled();
    let mut command = sandbox.benchdb();
    command.args(["serve", "--port", "0", "--listen", "0.0.0.0"]).env("BENCHDB_TOKEN", TOKEN);
    let mut served = Served::start(&mut command);
    // What listens everywhere is reached by any of the machine's addresses.
    served.address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    let port = served.address.port();
    let with = |line: &str| served.ask("GET", "/runs", &[line]);
    let refused = |reply: &Reply| {
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")), "{}", reply.text());
        assert!(!reply.text().contains("resnet18") && reply.header("set-cookie").is_none());
    };
    for target in ["/", "/runs", "/style.css", "/script.js", "/chart/throughput.svg", "/nothing"] {
        refused(&served.get(target));
    }
    refused(&with("Authorization: Bearer 0123456789abcdef0124"));
    refused(&with("Authorization: Bearer"));
    refused(&with(&format!("Authorization: Basic {TOKEN}")));
    refused(&with(&format!("Cookie: benchdb_{port}={TOKEN}")));
    refused(&served.get("/runs?token=0123456789abcdef0124"));
    refused(&served.get("/runs?token="));
    assert_eq!(with(&format!("Authorization: Bearer {TOKEN}")).status, 200);
    assert_eq!(with(&format!("authorization: bearer {TOKEN}")).status, 200);

    let exchanged = served.get(&format!("/runs?model=resnet18&token={TOKEN}&rows=3"));
    assert_eq!((exchanged.status, exchanged.header("location")), (303, Some("/runs?model=resnet18&rows=3")));
    let cookie = exchanged.header("set-cookie").unwrap();
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert!(!cookie.contains(TOKEN) && !exchanged.text().contains(TOKEN));
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(with(&format!("Cookie: other=1; {pair}")).status, 200);
    refused(&with(&format!("Cookie: {}x", pair)));
    refused(&with(&format!("Cookie: {}", pair.replace(&port.to_string(), "1"))));
    assert_eq!(served.get(&format!("//rebound.example/?token={TOKEN}")).header("location"), Some("/rebound.example/"));
    // A name is still a name.
    let rebound = format!(
        "GET / HTTP/1.1\r\nHost: rebound.example:{port}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(served.raw(rebound.as_bytes()).status, 421);
}

#[test]
fn whoever_is_slow_is_not_waited_for() {
    let sandbox = filled();
    let served = sandbox.serve(&["--patience", "500ms"]);
    let mut slow = served.connect();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
    let mut silent = served.connect();
    served.page("/");
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(!String::from_utf8_lossy(&rest).contains("200 OK"), "{rest:?}");
    silent.read_to_end(&mut rest).unwrap();
    // More of them than there are places: whoever comes after them is answered once their time is over.
    let all: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = served.connect();
            let _ = stream.write_all(b"GET /");
            stream
        })
        .collect();
    served.page("/");
    drop(all);
}

#[test]
fn a_byte_now_and_then_does_not_keep_a_connection() {
    let sandbox = filled();
    let served = sandbox.serve(&["--patience", "500ms"]);
    let mut stream = served.connect();
    let begun = std::time::Instant::now();
    wait_for("the end of the connection", || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let sent = stream.write_all(b"X");
        sent.is_err().then_some(())
    });
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn a_signal_ends_it_well() {
    for signal in ["INT", "TERM"] {
        let sandbox = filled();
        let mut served = sandbox.serve(&[]);
        served.page("/");
        // One connection is open and idle, another one half a request.
        let _idle = served.connect();
        let mut half = served.connect();
        half.write_all(b"GET / HT").unwrap();
        let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", served.child.id())]).status().unwrap();
        assert!(sent.success());
        let status = wait_for("the end of the server", || served.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(sandbox.benchdb().arg("check").succeeds().status.success());
    }
}
