//! The page that `benchdb report` writes, as its readers use it.

use std::path::PathBuf;

use serde_json::json;

use crate::charts::{chart_with_legend, point_at_first, spot};
use crate::chromium::{Browser, Place};
use crate::made::{Made, of_campaign, times};
use crate::support::{Expect as _, Sandbox};

/// A name that would be a script, if anybody let it.
const HOSTILE: &str = "<script>alert(1)</script>";

/// Runs of some models on three devices, with memory and energy; one name is hostile, one run broke.
fn filled() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut runs = Vec::new();
    for (index, model) in ["resnet18", "bert-base-uncased", "mobilenet_v2", HOSTILE].iter().enumerate() {
        let factor = [1.0, 3.5, 0.4, 2.0][index];
        for (device, platform, speed) in [("RTX Made", "cuda", 1.0), ("Old GPU", "cuda", 2.2), ("Some CPU", "cpu", 9.0)]
        {
            for batch in [1_u32, 4, 16] {
                let spread = [1.0, 1.01, 1.02, 1.03, 1.04];
                let time = 10.0 * factor * speed * f64::from(batch).powf(0.8);
                runs.extend(times(&spread, time).into_iter().map(|milliseconds| {
                    Made::taking(milliseconds)
                        .model(model)
                        .device(platform, device)
                        .batch(batch)
                        .metric("memory_host_peak_mb", 100.0 * factor + f64::from(batch))
                        .metric("energy_per_sample_j", 0.3 * factor * speed)
                        .metric("latency_p95_ms", milliseconds * 1.1)
                }));
            }
        }
    }
    runs.push(Made::taking(10.0).model("breaks").failed());
    sandbox.take(&of_campaign(runs, 1, "made"));
    sandbox
}

fn report(sandbox: &Sandbox, arguments: &[&str]) -> PathBuf {
    sandbox.benchdb().args(["report", "--output", "report.html"]).args(arguments).succeeds();
    sandbox.path("report.html")
}

/// A report on what was made, open in a browser; `None` where there is none.
fn opened(arguments: &[&str]) -> Option<(Sandbox, Browser)> {
    let mut browser = Browser::start()?;
    let sandbox = filled();
    browser.open_file(&report(&sandbox, arguments));
    Some((sandbox, browser))
}

/// An expression for the texts of a column of the comparison, as far as its rows are shown.
fn column(name: &str) -> String {
    format!(
        "(() => {{ const table = document.querySelector('#comparison-1 table');
           const heads = Array.from(table.tHead.rows[0].cells, (cell) => cell.textContent);
           const column = heads.indexOf('{name}');
           return Array.from(table.tBodies[0].rows).filter((row) => !row.hidden)
               .map((row) => row.cells[column].textContent); }})()"
    )
}

fn numbers(texts: &[String]) -> Vec<f64> {
    texts.iter().map(|text| text.trim_start_matches('~').split(' ').next().unwrap().parse().unwrap()).collect()
}

/// A selector of the button that sorts the comparison by a column.
fn sort_button(browser: &mut Browser, name: &str) -> String {
    let place = browser.value(&format!(
        "Array.from(document.querySelectorAll('#comparison-1 thead th'), (cell) => cell.textContent).indexOf('{name}') + 1"
    ));
    assert_ne!(place, 0, "no column {name}");
    format!("#comparison-1 thead th:nth-child({place}) button")
}

#[test]
fn a_report_is_quiet_and_asks_nobody() {
    let Some((_sandbox, mut browser)) = opened(&[]) else { return };
    assert_eq!(browser.problems(), Vec::<String>::new());
    let requests = browser.requests();
    assert!(requests.len() == 1 && requests[0].starts_with("file://"), "{requests:?}");
    // The policy lets nothing else run, and nothing out.
    let refused = browser.value(
        "(async () => { const script = document.createElement('script'); script.textContent = 'window.bad = 1';
           document.body.append(script);
           const sent = await fetch('https://example.org/').then(() => 'sent', () => 'refused');
           return [window.bad === undefined, sent]; })()",
    );
    assert_eq!(refused, serde_json::json!([true, "refused"]));
    let problems = browser.problems();
    assert!(problems.iter().any(|problem| problem.contains("Content Security Policy")), "{problems:?}");
    assert!(!browser.requests().iter().any(|address| address.starts_with("http")), "nothing left the page");
}

#[test]
fn tables_sort_by_click_and_by_keyboard() {
    let Some((_sandbox, mut browser)) = opened(&[]) else { return };
    let before = browser.texts(&column("ms"));
    let button = sort_button(&mut browser, "ms");
    let sorted = |texts: &[String], sign: f64| numbers(texts).windows(2).all(|pair| sign * pair[0] <= sign * pair[1]);
    assert!(!sorted(&before, 1.0), "they would be sorted before anybody asked");
    browser.click(&button);
    assert!(sorted(&browser.texts(&column("ms")), 1.0));
    let heading = format!("document.querySelector('{button}').parentElement.getAttribute('aria-sort')");
    assert_eq!(browser.text(&heading), "ascending");
    browser.focus(&button);
    browser.press("Enter");
    assert!(sorted(&browser.texts(&column("ms")), -1.0));
    assert_eq!(browser.text(&heading), "descending");
    browser.press(" ");
    assert_eq!(browser.texts(&column("ms")), before, "the order of the report comes back");
    assert_eq!(browser.value(&heading), serde_json::Value::Null);
    let model = sort_button(&mut browser, "model");
    browser.click(&model);
    let names = browser.texts(&column("model"));
    assert!(names.windows(2).all(|pair| pair[0].to_lowercase() <= pair[1].to_lowercase()), "{names:?}");
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn the_numbers_of_a_chart_sort_and_filter_too() {
    let Some((_sandbox, mut browser)) = opened(&[]) else { return };
    let chart = "figure.chart:has(.panel tbody tr:nth-child(8))";
    browser.click(&format!("{chart} details.data > summary"));
    let head = format!("{chart} .panel thead th:last-child");
    browser.click(&format!("{head} button"));
    assert_eq!(browser.text(&format!("document.querySelector('{head}').getAttribute('aria-sort')")), "ascending");
    let shown = format!(
        "Array.from(document.querySelector('{chart} .panel tbody').rows).filter((row) => !row.hidden)
             .map((row) => row.lastElementChild.textContent)"
    );
    let values = numbers(&browser.texts(&shown));
    assert!(values.len() >= 8 && values.is_sorted(), "{values:?}");
    browser.focus(&format!("{chart} .panel input[type=search]"));
    browser.type_text("resnet18");
    assert!((1..values.len()).contains(&browser.texts(&shown).len()));
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn tables_filter_and_say_how_many_are_left() {
    let Some((_sandbox, mut browser)) = opened(&[]) else { return };
    let all = browser.texts(&column("model")).len();
    browser.focus("#comparison-1-filter");
    browser.type_text("BERT cpu");
    let left = browser.texts(&column("model"));
    assert!(left.len() < all && !left.is_empty() && left.iter().all(|name| name.starts_with("bert")), "{left:?}");
    let status = browser.text("document.querySelector('#comparison-1 [role=status]').textContent");
    assert_eq!(status, format!("{} of {all} rows", left.len()));
    let live = browser.text("document.querySelector('#comparison-1 [role=status]').getAttribute('aria-live')");
    assert_eq!(live, "polite");
    browser.type_text(" nothing has this");
    assert!(browser.texts(&column("model")).is_empty());
}

#[test]
fn charts_say_the_value_that_is_pointed_at() {
    let Some((_sandbox, mut browser)) = opened(&[]) else { return };
    let chart = chart_with_legend(&mut browser);
    let (tip, _, text) = point_at_first(&mut browser, &chart);
    assert!(text.chars().any(|character| character.is_ascii_digit()), "{text}");
    browser.point_at(Place { x: 2.0, y: 2.0 });
    assert_eq!(browser.value(&format!("{tip}.hidden")), true);
    // By keyboard: from value to value.
    browser.focus(&format!("{chart} .drawing"));
    browser.press("ArrowRight");
    let first = browser.text(&format!("{tip}.textContent"));
    assert_eq!(first, text);
    browser.press("ArrowRight");
    assert_ne!(browser.text(&format!("{tip}.textContent")), first);
    browser.press("Home");
    assert_eq!(browser.text(&format!("{tip}.textContent")), first);
    browser.press("Escape");
    assert_eq!(browser.value(&format!("{tip}.hidden")), true);
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn series_can_be_hidden_and_shown_again() {
    let Some((_sandbox, mut browser)) = opened(&[]) else { return };
    let chart = chart_with_legend(&mut browser);
    let key = format!("{chart} g.key[data-series=\"0\"]");
    let hidden = format!(
        "Array.from(document.querySelectorAll('{chart} g.series[data-series=\"0\"]'))
            .every((group) => getComputedStyle(group).display === 'none')"
    );
    let pressed = format!("document.querySelector('{key}').getAttribute('aria-pressed')");
    assert_eq!(browser.value(&hidden), false);
    browser.click(&key);
    assert_eq!(browser.value(&hidden), true, "a click hides it");
    assert_eq!(browser.text(&pressed), "false");
    // What is hidden says nothing.
    let tip = format!("document.querySelector('{chart} .tip')");
    let (place, text) = spot(&mut browser, &chart, 0);
    browser.point_at(place);
    assert_ne!(browser.text(&format!("{tip}.hidden ? '' : {tip}.textContent")), text);
    for key_name in ["Enter", " "] {
        browser.focus(&key);
        browser.press(key_name);
        let expected = if key_name == "Enter" { "true" } else { "false" };
        assert_eq!(browser.text(&pressed), expected);
    }
    assert_eq!(browser.value(&hidden), true);
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn a_hostile_name_does_no_harm() {
    let Some((_sandbox, mut browser)) = opened(&["--title", "<img src=x onerror=alert(2)>"]) else { return };
    assert_eq!(browser.problems(), Vec::<String>::new());
    assert_eq!(browser.value("document.scripts.length"), 1, "our own");
    assert_eq!(browser.value("document.images.length"), 0);
    assert!(browser.texts(&column("model")).iter().any(|name| name == HOSTILE), "it is shown as it is");
    assert_eq!(browser.text("document.title"), "<img src=x onerror=alert(2)>");
    assert!(browser.text("document.body.innerText").contains(HOSTILE));
}

#[test]
fn without_javascript_everything_can_be_read() {
    let Some(mut browser) = Browser::start() else { return };
    let sandbox = filled();
    let page = report(&sandbox, &[]);
    browser.without_scripts();
    browser.open_file(&page);
    assert_eq!(
        browser.value("document.querySelectorAll('button, input, [role=button]').length"),
        0,
        "nothing to press"
    );
    assert_eq!(browser.value("Array.from(document.querySelectorAll('[hidden]')).length"), 0);
    let shown = browser.value(
        "Array.from(document.querySelectorAll('section.table > .scroll > table, figure.chart svg'))
             .every((one) => one.getBoundingClientRect().height > 20)",
    );
    assert_eq!(shown, true);
    let names = browser.accessible();
    assert!(names.iter().any(|(role, name)| role == "image" && !name.is_empty()), "charts are pictures with names");
    let text = browser.text("document.body.innerText");
    for expected in ["Summary", "resnet18", "Comparison", "Verdicts", "Recommendations", "SQL for these rows"] {
        assert!(text.contains(expected), "{expected} is missing");
    }
    // The statements and the charts' numbers are folded, and open without a script.
    browser.click("details.sql summary");
    assert_eq!(browser.value("document.querySelector('details.sql').open"), true);
    assert_eq!(browser.problems(), Vec::<String>::new());
}

#[test]
fn screen_readers_find_names_for_everything() {
    let Some((_sandbox, mut browser)) = opened(&[]) else { return };
    let found = browser.accessible();
    for role in ["table", "button", "region", "group", "searchbox", "navigation", "main", "heading", "link"] {
        let names: Vec<&String> = found.iter().filter(|(own, _)| own == role).map(|(_, name)| name).collect();
        assert!(!names.is_empty(), "there is no {role}");
        if role != "main" {
            assert!(names.iter().all(|name| !name.trim().is_empty()), "a {role} has no name: {names:?}");
        }
    }
    let levels = browser
        .value("Array.from(document.querySelectorAll('h1, h2, h3, h4'), (heading) => Number(heading.tagName[1]))");
    let levels: Vec<i64> = levels.as_array().unwrap().iter().map(|level| level.as_i64().unwrap()).collect();
    assert_eq!(levels.iter().filter(|level| **level == 1).count(), 1);
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "a level is left out: {levels:?}");
    // The first stop of the keyboard leads past the contents.
    browser.press("Tab");
    assert_eq!(browser.text("document.activeElement.textContent"), "Skip to the content");
    browser.press("Enter");
    assert_eq!(browser.text("document.activeElement.id"), "content");
    let ids = browser.value("(() => { const ids = Array.from(document.querySelectorAll('[id]'), (one) => one.id); return ids.length - new Set(ids).size; })()");
    assert_eq!(ids, 0, "no two things have one name");
}

#[test]
fn it_reads_in_light_and_dark_on_paper_and_on_a_telephone() {
    let Some((_sandbox, mut browser)) = opened(&[]) else { return };
    let colours = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]";
    browser.look("screen", "light");
    let light = browser.value(colours);
    browser.screenshot("report-light");
    browser.look("screen", "dark");
    let dark = browser.value(colours);
    browser.screenshot("report-dark");
    assert_ne!(light, dark);
    // Paper is white, whatever the screen is.
    browser.look("print", "dark");
    assert_eq!(browser.value(colours), light);
    let tools = "Array.from(document.querySelectorAll('.tools, nav, details.sql'))
        .every((one) => getComputedStyle(one).display === 'none')";
    assert_eq!(browser.value(tools), true, "what cannot be pressed on paper is not there");
    browser.screenshot("report-print");
    assert!(browser.print("report").starts_with(b"%PDF"));
    browser.look("screen", "light");
    for width in [400, 768] {
        browser.width(width);
        let overflow = browser.value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(overflow, 0, "at {width} pixels the page itself scrolls sideways");
        browser.screenshot(&format!("report-{width}"));
    }
}

#[test]
fn numbers_are_seen_before_anybody_scrolls() {
    let Some(mut browser) = Browser::start() else { return };
    let sandbox = Sandbox::new();
    let mut runs = Vec::new();
    for (platform, device, engine) in
        [("cpu", "Intel(R) Xeon(R) Processor E5", "burn-ndarray"), ("cuda", "NVIDIA GeForce RTX 4090", "tensorrt")]
    {
        for (model, shape) in [("bert-base-uncased", "128"), ("vision-transformer-base", "3x224x224")] {
            for mode in ["inference", "training"] {
                for (milliseconds, threads) in [(10.0, 1_u32), (10.5, 1), (7.0, 2)] {
                    runs.push(
                        Made::taking(milliseconds)
                            .model(model)
                            .device(platform, device)
                            .batch(1 + threads)
                            .with("/configuration/engine", engine)
                            .with("/configuration/mode", mode)
                            .with("/configuration/input_shape", shape)
                            .with("/configuration/threads", threads)
                            .with("/configuration/parameters", json!({ "optimizer": mode, "memory_layout": "nchw" })),
                    );
                }
            }
        }
    }
    sandbox.take(&runs);
    browser.open_file(&report(&sandbox, &[]));
    browser.width(1200);
    let seen = browser.value(
        "(() => { const box = document.querySelector('#comparison-1 .scroll').getBoundingClientRect();
           return Array.from(document.querySelectorAll('#comparison-1 thead th'))
               .filter((head) => head.getBoundingClientRect().right <= box.right)
               .map((head) => head.textContent); })()",
    );
    for name in ["ms", "interval", "samples/s", "speed-up"] {
        assert!(seen.as_array().unwrap().contains(&json!(name)), "{name}: {seen}");
    }
    // Where there is more, a shadow says so, and the keyboard gets there.
    let cue = browser.value(
        "Array.from(document.querySelectorAll('section.table > .scroll')).every((box) =>
             box.tabIndex === 0 && getComputedStyle(box).backgroundImage.includes('linear-gradient'))",
    );
    assert_eq!(cue, true);
    assert_eq!(browser.problems(), Vec::<String>::new());
}

/// A run with everything that a run can have: all metrics, or with what a watched one keeps, too.
fn full(milliseconds: f64, is_watched: bool) -> Made {
    let mut run = Made::taking(milliseconds);
    for (metric, value) in [
        ("latency_mean_ms", milliseconds * 1.01),
        ("latency_p95_ms", milliseconds * 1.1),
        ("latency_p99_ms", milliseconds * 1.3),
        ("memory_host_peak_mb", 200.0 + milliseconds.sqrt()),
        ("memory_device_peak_mb", 900.0 + milliseconds.ln()),
        ("energy_per_sample_j", milliseconds * 0.123),
        ("power_mean_w", 123.4),
        ("startup_ms", 321.5),
        ("compile_ms", 44.4),
        ("first_inference_ms", milliseconds * 7.7),
        ("accuracy_top1", 0.9 - 0.4 / (1.0 + milliseconds)),
        ("success_rate", 1.0),
        ("fidelity_relative_error", 1e-4 * milliseconds),
    ] {
        run = run.metric(metric, value);
    }
    if !is_watched {
        return run;
    }
    let nanoseconds: Vec<u64> =
        (0..400_u64).map(|place| (milliseconds * 1e6) as u64 + 10_000 * (place * 7919 % 37)).collect();
    let sensor = |sensor: &str, unit: &str, height: u32| {
        let offsets: Vec<u32> = (0..300).map(|place| 10 * place).collect();
        let values: Vec<u32> = (0..300).map(|place| height + place * 31 % 17).collect();
        json!({ "sensor": sensor, "unit": unit, "offsets_ms": offsets, "values": values })
    };
    run.with("/samples", json!([{ "phase": "iteration", "nanoseconds": nanoseconds }])).with(
        "/telemetry",
        json!([sensor("power", "W", 100), sensor("temperature", "C", 50), sensor("gpu_utilization", "%", 80)]),
    )
}

/// 1,000 runs that fill every section and every chart: 20 models with long names on two devices, in three precisions at
/// two batch sizes and in training, three times each, and eight methods that explain five of them, twice each.
fn everything() -> Vec<Made> {
    let devices = [("cuda", "NVIDIA GeForce RTX 4090", 1.0), ("cpu", "AMD Ryzen Threadripper PRO 5995WX", 8.0)];
    let name = |model: u32| format!("a_model_with_a_name_of_its_own_{model:02}");
    let mut runs = Vec::new();
    for (model, (platform, device, slow), repetition) in (0..20)
        .flat_map(|model| devices.map(|device| (model, device)))
        .flat_map(|(model, device)| (0..3).map(move |repetition| (model, device, repetition)))
    {
        let watched = repetition == 2;
        let time = (1.0 + 0.01 * f64::from(repetition)) * slow * (2.0 + f64::from(model));
        let of = |run: Made| run.model(&name(model)).device(platform, device);
        for (precision, share) in [("fp32", 1.0), ("fp16", 0.6), ("int8", 0.4)] {
            for batch in [1_u32, 8] {
                let run = full(time * share * f64::from(batch).powf(0.7), watched);
                runs.push(of(run).batch(batch).with("/configuration/precision", precision));
            }
        }
        let step = of(full(12.0 * time, watched)).batch(8).with("/configuration/mode", "training");
        runs.push(step.with("/configuration/parameters", json!({ "optimizer": "adam" })));
        if model >= 5 || watched {
            continue;
        }
        let methods = [
            "saliency",
            "occlusion",
            "grad_cam",
            "integrated_gradients",
            "smooth_grad",
            "guided_backprop",
            "lime",
            "kernel_shap",
        ];
        for (place, method) in methods.into_iter().enumerate() {
            let run = of(full(time * (1.0 + place as f64), false)).with("/configuration/mode", "explanation");
            runs.push(run.with("/configuration/parameters", json!({ "method": method, "steps": 50 })));
        }
    }
    runs
}

#[test]
fn a_thousand_runs_fit_in_two_megabytes() {
    let sandbox = Sandbox::new();
    let runs = everything();
    assert_eq!(runs.len(), 1000);
    sandbox.take(&of_campaign(runs, 1, "many"));
    let page = report(&sandbox, &[]);
    let size = std::fs::metadata(&page).unwrap().len();
    assert!(size < 2_000_000, "{size} bytes");
    // Nothing is small because it is not there.
    let text = std::fs::read_to_string(&page).unwrap();
    assert_eq!(text.matches("<figure").count(), 14, "every chart but the forecasts");
    assert!(!text.contains("No chart of "));
    let Some(mut browser) = Browser::start() else { return };
    browser.open_file(&page);
    assert_eq!(browser.problems(), Vec::<String>::new());
    browser.screenshot("report-thousand");
}
