//! `benchdb serve` from outside: who may ask, and what it does about requests that mean no good.

use std::io::{ErrorKind, Read as _, Write as _};
use std::process::Command;
use std::time::Duration;

use crate::made::{FIVE, Made, of_campaign};
use crate::served::{Reply, Served, filled, pages};
use crate::support::{Expect as _, Sandbox, wait_for};

const TOKEN: &str = "0123456789abcdef0123";

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
        for target in [
            "/configurations?q=",
            "/compare?a.label=",
            "/compare?a.baseline=",
            "/compare?ignore=",
            "/report?baseline=",
            "/report?relative-to=",
            "/runs?campaign=",
        ] {
            let reply = served.get(&[target, attack].concat());
            assert!([200, 400].contains(&reply.status), "{target}{attack}: {}", reply.text());
        }
    }
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), runs);
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
    for target in
        ["/report".to_owned(), format!("/report?label={query}"), format!("/report?relative-to=model%3D{query}")]
    {
        assert!(served.report(&target).text().contains("&lt;script&gt;alert(1)"), "{target}");
        targets.push(target);
    }
    targets.push(format!("/compare?a.label={query}&b.label={query}"));
    for target in targets {
        let text = served.get(&target).text();
        assert!(!text.contains("<script>") && !text.contains("<img"), "{target}: {text}");
    }
    assert!(served.page("/").text().contains("&lt;script&gt;alert(1)"));
    for name in ["throughput", "latency", "history"] {
        let reply = served.chart(&format!("/chart/{name}.svg"));
        assert!(!reply.text().contains("<script>"), "{name}");
    }
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
    // What listens everywhere names an address that can be opened.
    let mut command = sandbox.benchdb();
    command.args(["serve", "--port", "0", "--listen", "0.0.0.0"]).env("BENCHDB_TOKEN", TOKEN);
    let served = sandbox.served_by(&mut command);
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
    let everywhere = format!("GET / HTTP/1.1\r\nHost: 0.0.0.0:{port}\r\n\r\n");
    let reply = served.raw(everywhere.as_bytes());
    assert_eq!(reply.status, 421);
    let named = [format!("http://{}/", served.address), "any address of this machine".to_owned()];
    assert!(named.iter().all(|words| reply.text().contains(words)), "{}", reply.text());
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
    let (hasty, patient) = (sandbox.serve(&["--patience", "500ms"]), sandbox.serve(&["--patience", "1h"]));
    let [mut ending, mut lasting] = [&hasty, &patient].map(Served::connect);
    wait_for("the end of the connection", || {
        std::thread::sleep(Duration::from_millis(50));
        let sent = [&mut ending, &mut lasting].map(|stream| stream.write_all(b"X"));
        sent[0].is_err().then_some(())
    });
    // The other one got the same bytes, and is there still: nothing but its patience ended the first.
    lasting.set_nonblocking(true).unwrap();
    let silence = lasting.read(&mut [0]).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
}

#[test]
fn whoever_is_refused_keeps_no_connection() {
    let sandbox = filled();
    let served = sandbox.serve(&["--patience", "1h", "--token", TOKEN]);
    let (address, bearer) = (served.address, format!("Authorization: Bearer {TOKEN}"));
    for (status, request) in [
        (401, format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n")),
        (421, format!("GET / HTTP/1.1\r\nHost: rebound.example\r\n{bearer}\r\n\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{bearer}\r\n\r\n")),
        (403, format!("GET / HTTP/1.1\r\nHost: {address}\r\nSec-Fetch-Site: cross-site\r\n{bearer}\r\n\r\n")),
        (405, format!("PUT / HTTP/1.1\r\nHost: {address}\r\n{bearer}\r\n\r\n")),
    ] {
        let mut stream = served.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        // There is an end, which the client did not ask for.
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
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
