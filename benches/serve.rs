//! How long each live page takes over a database of 100,000 runs (`BENCHDB_RUNS` for another size; the made-up database of
//! `generated/mod.rs`): the program serves it, one client asks, from the first byte sent to the last one read, on a
//! connection of its own each time. `BENCHDB_REQUESTS` says how often (100). Then `BENCHDB_CLIENTS` of them (8) at the same
//! time, alone and while somebody stores runs: every run makes the charts of everything old, and they are drawn anew.
//!
//! `cargo bench --features tract --bench serve`; with `--profile dev` the build that tests run.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench may panic and speak")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use benchdb::stats::{quantile, sorted};
use benchdb::store::{Access, Store};
use generated::Generated;

mod generated;

/// How long a writer waits before the next run.
const BETWEEN_RUNS: Duration = Duration::from_millis(100);

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The status and the whole answer.
fn get(address: &str, target: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = String::from_utf8_lossy(&answer[..answer.len().min(20)]).into_owned();
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), answer)
}

/// The address of a link by its text.
fn link(page: &[u8], text: &str) -> String {
    let page = String::from_utf8_lossy(page);
    let end = page.find(&format!("\">{text}</a>")).unwrap();
    let start = page[..end].rfind("href=\"").unwrap() + "href=\"".len();
    page[start..end].replace("&amp;", "&")
}

/// Median and 99th percentile.
fn middle_and_end(times: &[f64]) -> (f64, f64) {
    let ascending = sorted(times);
    let at = |share: f64| quantile(&ascending, share).unwrap();
    (at(0.5), at(0.99))
}

/// How many requests were answered in a second, and how long each took in ms, where every client asks for one target after
/// the other, each beginning with another one.
fn together(address: &str, targets: &[String], clients: u64, requests: u64) -> (f64, Vec<f64>) {
    let begun = Instant::now();
    let client = |first: u64| {
        let ask = |request: u64| {
            let target = &targets[((first + request) % targets.len() as u64) as usize];
            let begun = Instant::now();
            let (status, answer) = get(address, target);
            assert_eq!(status, 200, "{target}: {}", String::from_utf8_lossy(&answer));
            begun.elapsed().as_secs_f64() * 1e3
        };
        (0..requests).map(ask).collect::<Vec<f64>>()
    };
    let times: Vec<f64> = thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..clients).map(|first| scope.spawn(move || client(first))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    (times.len() as f64 / begun.elapsed().as_secs_f64(), times)
}

fn main() {
    let (runs, requests) = (number("BENCHDB_RUNS", 100_000), number("BENCHDB_REQUESTS", 100));
    let clients = number("BENCHDB_CLIENTS", 8);
    let generated = Generated::new(runs);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.sqlite");
    let (mut store, _) = Store::open(&path, Access::Create).unwrap();
    store.insert_runs(generated.runs()).unwrap();
    drop(store);
    let mut server = Command::new(env!("CARGO_BIN_EXE_benchdb"))
        .arg("--db")
        .arg(&path)
        .args(["serve", "--port", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();

    let begun = Instant::now();
    let first = get(&address, "/");
    println!("the first page, while the charts are being made: {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    assert_eq!(first.0, 200);
    loop {
        let (status, answer) = get(&address, "/chart/throughput.svg");
        let text = String::from_utf8_lossy(&answer);
        assert!(status == 200 || text.contains("is being made"), "{text}");
        if status == 200 {
            break;
        }
    }
    println!("the charts of all {runs} runs were there after {:.2} s", begun.elapsed().as_secs_f64());

    let middle = runs / 2;
    let (mut targets, run) = (Vec::new(), middle);
    let mut add = |name: &'static str, target: String| targets.push((name, target));
    add("overview", "/".to_owned());
    add("runs, the newest", "/runs".to_owned());
    add("runs, in the middle", format!("/runs?before={middle}"));
    add("runs, the oldest", "/runs?before=51".to_owned());
    add("runs of one model", "/runs?model=model_03".to_owned());
    add("runs of a device at batch 8", "/runs?device=GPU+B&batch-sizes=8".to_owned());
    add("runs of one host since a day", "/runs?host=host-03&since=2025-06-01".to_owned());
    add("runs of one label", "/runs?label=round-7".to_owned());
    add("runs that ran out of memory", "/runs?status=out_of_memory".to_owned());
    add("runs: nothing is found", "/runs?status=interrupted".to_owned());
    add("one run", format!("/runs/{run}"));
    add("configurations", "/configurations".to_owned());
    add("configurations, searched", "/configurations?q=model_03+gpu+b+pytorch".to_owned());
    add("configurations, the last page", link(&get(&address, "/configurations").1, "Last"));
    let page = String::from_utf8_lossy(&get(&address, &format!("/runs/{run}")).1).into_owned();
    let history = link(page.as_bytes(), "History of this configuration");
    add("history of one", history);
    add("charts of everything (kept)", "/charts".to_owned());
    add("charts of one model (kept)", "/charts?model=model_03".to_owned());
    add("one chart as SVG (kept)", "/chart/throughput.svg".to_owned());
    add("compare: the form", "/compare".to_owned());
    add("compare two labels", "/compare?a.label=round-7&b.label=round-30&model=model_03".to_owned());
    add("compare two labels, all models", "/compare?a.label=round-7&b.label=round-30".to_owned());
    add("compare two engines", "/compare?a.engine=pytorch&b.engine=burn-cuda&model=model_03&device=GPU+B".to_owned());
    add("style sheet", "/style.css".to_owned());

    let profile = if cfg!(debug_assertions) { "development" } else { "release" };
    println!("\n{runs} runs, {requests} requests a page, {profile} build\n");
    println!("| page | median ms | p99 ms | kB |\n| --- | --- | --- | --- |");
    for (name, target) in targets {
        // What is kept is made first.
        for _ in 0..50 {
            let (status, answer) = get(&address, &target);
            assert_eq!(status, 200, "{target}: {}", String::from_utf8_lossy(&answer));
            if !String::from_utf8_lossy(&answer).contains("are being made") {
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let mut size = 0;
        let times: Vec<f64> = (0..requests)
            .map(|_| {
                let begun = Instant::now();
                size = get(&address, &target).1.len();
                begun.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        let (middle, end) = middle_and_end(&times);
        println!("| {name} | {middle:.1} | {end:.1} | {} |", size / 1000);
    }

    let targets = ["/", "/runs", "/charts", "/configurations", "/runs?model=model_03"].map(str::to_owned);
    let targets = [&targets[..], &[format!("/runs/{run}")]].concat();
    println!("\n{clients} clients at the same time, {requests} requests each over {} pages\n", targets.len());
    println!("| meanwhile | requests a second | median ms | p99 ms |\n| --- | --- | --- | --- |");
    let tell = |meanwhile: &str, (rate, times): (f64, Vec<f64>)| {
        let (middle, end) = middle_and_end(&times);
        println!("| {meanwhile} | {rate:.0} | {middle:.1} | {end:.1} |");
    };
    tell("nothing", together(&address, &targets, clients, requests));
    let is_over = AtomicBool::new(false);
    let (measured, stored) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let (mut store, _) = Store::open(&path, Access::Write).unwrap();
            let mut stored = 0;
            while !is_over.load(Ordering::Relaxed) {
                store.insert_runs(std::iter::once(generated.run(runs + stored))).unwrap();
                stored += 1;
                thread::sleep(BETWEEN_RUNS);
            }
            stored
        });
        let measured = together(&address, &targets, clients, requests);
        is_over.store(true, Ordering::Relaxed);
        (measured, writer.join().unwrap())
    });
    tell(&format!("{stored} runs are stored, one by one"), measured);
    server.kill().unwrap();
    server.wait().unwrap();
}
