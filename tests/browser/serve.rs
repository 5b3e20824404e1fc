//! The live pages of `benchdb serve`, as their readers use them.

use crate::charts::{chart_with_legend, point_at_first};
use crate::chromium::Browser;
use crate::made::{FIVE, Made, all_taking, of_campaign, times};
use crate::served::Served;
use crate::support::{Sandbox, wait_for};

/// A name that would be a script, if anybody let it.
const HOSTILE: &str = "<script>alert(1)</script>";

/// Two campaigns of one model, and more runs than fit on a page.
fn served() -> (Sandbox, Served) {
    let sandbox = Sandbox::new();
    sandbox.take(&of_campaign(all_taking(&[FIVE, FIVE].concat()), 1, "before"));
    sandbox.take(&of_campaign(all_taking(&times(&[FIVE, FIVE].concat(), 1.5)), 2, "after"));
    // With two percentiles the latencies have a legend.
    let other = |number: u32| Made::taking(3.0 + f64::from(number % 7) / 10.0).metric("latency_p95_ms", 4.0);
    sandbox.take(&(0..60).map(|number| other(number).model("bert-base-uncased")).collect::<Vec<_>>());
    let hostile = |time: &f64| Made::taking(*time).model(HOSTILE).device("cpu", HOSTILE);
    sandbox.take(&FIVE.iter().map(hostile).collect::<Vec<_>>());
    let served = sandbox.serve(&[]);
    // The charts are drawn in the background.
    wait_for("the charts", || served.page("/charts").text().contains("chart-throughput").then_some(()));
    (sandbox, served)
}

fn address(served: &Served, path: &str) -> String {
    format!("http://{}{path}", served.address)
}

/// A selector of a link by where it leads.
fn link_with(browser: &mut Browser, text: &str) -> String {
    let number = browser.value(&format!(
        "(() => {{ const all = Array.from(document.querySelectorAll('a'));
           const found = all.find((one) => one.textContent === '{text}'); if (!found) return -1;
           found.id ||= 'found-' + all.indexOf(found); return found.id; }})()"
    ));
    assert!(number.is_string(), "no link {text}");
    format!("#{}", number.as_str().unwrap())
}

#[test]
fn live_pages_are_quiet_and_ask_their_server_alone() {
    let Some(mut browser) = Browser::start() else { return };
    let (sandbox, served) = served();
    let run = sandbox.count("SELECT max(id) FROM run");
    let history = sandbox.count("SELECT configuration_id FROM run ORDER BY id LIMIT 1");
    served.report("/report");
    for path in [
        "/".to_owned(),
        "/runs".to_owned(),
        format!("/runs/{run}"),
        "/configurations".to_owned(),
        format!("/configurations/{history}"),
        "/charts".to_owned(),
        "/report".to_owned(),
        "/compare".to_owned(),
        "/compare?a.label=before&b.label=after".to_owned(),
        "/nothing".to_owned(),
    ] {
        browser.open(&address(&served, &path));
        let mut problems = browser.problems();
        // What is not there is said to be not there, and Chromium says it, too.
        problems.retain(|problem| !(path == "/nothing" && problem.contains("404")));
        assert_eq!(problems, Vec::<String>::new(), "{path}");
        let requests = browser.requests();
        assert!(requests.iter().all(|request| request.starts_with(&address(&served, "/"))), "{path}: {requests:?}");
        assert_eq!(browser.value("document.querySelector('main') !== null && window.bad === undefined"), true);
        // Nothing is wider than the page.
        let wide = browser.value("document.documentElement.scrollWidth > document.documentElement.clientWidth + 1");
        assert_eq!(wide, false, "{path}");
    }
    for (path, name) in [
        ("/".to_owned(), "serve-overview"),
        (format!("/configurations/{history}"), "serve-history"),
        ("/compare?a.label=before&b.label=after".to_owned(), "serve-compare"),
        ("/runs".to_owned(), "serve-runs"),
        ("/report".to_owned(), "serve-report"),
        (format!("/runs/{run}"), "serve-run"),
    ] {
        for colours in ["light", "dark"] {
            browser.look("screen", colours);
            browser.open(&address(&served, &path));
            browser.screenshot(&format!("{name}-{colours}"));
        }
    }
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn a_reader_leafs_through_the_runs_and_looks_at_one() {
    let Some(mut browser) = Browser::start() else { return };
    let (sandbox, served) = served();
    browser.open(&address(&served, "/"));
    let runs = link_with(&mut browser, "Runs");
    browser.follow(&runs);
    let first = "document.querySelector('#runs tbody tr td a').textContent";
    assert_eq!(browser.text(first), sandbox.count("SELECT max(id) FROM run").to_string());
    let older = link_with(&mut browser, "Older");
    browser.follow(&older);
    assert_eq!(browser.text(first), (sandbox.count("SELECT max(id) FROM run") - 50).to_string());
    let newer = link_with(&mut browser, "Newer");
    browser.follow(&newer);
    assert_eq!(browser.text(first), sandbox.count("SELECT max(id) FROM run").to_string());
    browser.follow("#runs tbody tr td a");
    assert!(browser.text("document.querySelector('main').textContent").contains(HOSTILE));
    let history = link_with(&mut browser, "History of this configuration");
    browser.follow(&history);
    assert!(browser.text("document.querySelector('main').textContent").contains("Verdicts"));
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn the_tables_of_a_live_report_sort() {
    let Some(mut browser) = Browser::start() else { return };
    let (_sandbox, served) = served();
    served.report("/report");
    browser.open(&address(&served, "/report"));
    let models = "Array.from(document.querySelectorAll('#summary-3 tbody tr'), (row) => row.cells[0].textContent)";
    let head = "#summary-3 thead th:first-child";
    for expected in ["ascending", "descending"] {
        browser.click(&format!("{head} button"));
        assert_eq!(browser.text(&format!("document.querySelector('{head}').getAttribute('aria-sort')")), expected);
        let names = browser.texts(models);
        assert!(names.len() == 3 && names.iter().any(|name| name == HOSTILE), "{names:?}");
        let at = |wanted: &str| names.iter().position(|name| name == wanted).unwrap();
        assert_eq!(at("bert-base-uncased") < at("resnet18"), expected == "ascending", "{names:?}");
    }
    assert_eq!(browser.problems(), Vec::<String>::new());
}

/// Fills the form of a comparison and sends it.
fn compare(browser: &mut Browser, served: &Served) {
    browser.open(&address(served, "/compare"));
    for (field, text) in [("a.label", "before"), ("b.label", "after")] {
        browser.focus(&format!("[name=\"{field}\"]"));
        browser.type_text(text);
    }
    browser.follow("form.ask button[type=submit]");
    let rows = browser.texts("Array.from(document.querySelectorAll('#verdicts tbody tr'), (row) => row.textContent)");
    assert!(rows.iter().any(|row| row.contains("regressed")), "{rows:?}");
    let value = browser.text("document.querySelector('[name=\"a.label\"]').value");
    assert_eq!(value, "before");
}

#[test]
fn the_comparison_is_built_in_a_form_and_can_be_linked_to() {
    let Some(mut browser) = Browser::start() else { return };
    let (_sandbox, served) = served();
    compare(&mut browser, &served);
    let link = browser.text("location.href");
    assert!(link.contains("a.label=before") && link.contains("b.label=after"), "{link}");
    browser.open(&link);
    assert!(browser.text("document.querySelector('#verdicts').textContent").contains("regressed"));
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn without_javascript_pages_and_forms_work() {
    let Some(mut browser) = Browser::start() else { return };
    let (_sandbox, served) = served();
    browser.without_scripts();
    compare(&mut browser, &served);
    browser.open(&address(&served, "/configurations"));
    browser.focus("[name=q]");
    browser.type_text("bert cuda");
    browser.follow("form.ask button[type=submit]");
    assert_eq!(browser.value("document.querySelectorAll('#configurations tbody tr').length"), 1);
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn charts_of_a_live_page_answer_the_pointer() {
    let Some(mut browser) = Browser::start() else { return };
    let (_sandbox, served) = served();
    browser.open(&address(&served, "/charts"));
    let charts = browser.value("document.querySelectorAll('figure.chart svg').length");
    assert!(charts.as_u64().unwrap() >= 3, "{charts}");
    let chart = chart_with_legend(&mut browser);
    let (tip, place, _) = point_at_first(&mut browser, &chart);
    let box_of = format!("{tip}.getBoundingClientRect()");
    let [left, top] = ["left", "top"].map(|side| browser.value(&format!("{box_of}.{side}")).as_f64().unwrap());
    let away = (left - place.x).hypot(top - place.y);
    assert!(away < 400.0, "the tip stands at {left}, {top}, {away} pixels from {place:?}");
    let button = format!("{chart} g.key[role=button]");
    let pressed = format!("document.querySelector('{button}').getAttribute('aria-pressed')");
    for expected in ["false", "true"] {
        browser.click(&button);
        assert_eq!(browser.text(&pressed), expected);
    }
    assert_eq!(browser.problems(), Vec::<String>::new());
}
