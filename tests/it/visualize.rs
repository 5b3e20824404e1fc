//! `benchdb visualize`: a file a chart, and a reason for each that has nothing to show.

use crate::made::{FIVE, Made, all_taking};
use crate::support::{Expect as _, Sandbox, root, said, skip, stderr_of, stdout_of};

/// The charts of the command, which are all that there are.
pub const CHARTS: [&str; 15] = [
    "throughput",
    "latency",
    "memory",
    "batch_scaling",
    "training_inference",
    "precision",
    "speedup",
    "energy",
    "accuracy",
    "cold_start",
    "telemetry",
    "samples",
    "history",
    "predicted",
    "explanations",
];

fn files(sandbox: &Sandbox, folder: &str) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(sandbox.path(folder))
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

fn svg(sandbox: &Sandbox, chart: &str) -> String {
    let text = sandbox.read(&format!("charts/{chart}.svg"));
    assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"), "{chart}: {text}");
    text
}

#[track_caller]
fn draws(sandbox: &Sandbox, arguments: &[&str]) {
    sandbox.benchdb().arg("visualize").args(arguments).succeeds();
}

/// Everything that a matrix of configurations can be: batch sizes, modes, precisions, devices, energies, accuracies.
fn matrix() -> Vec<Made> {
    let mut runs = Vec::new();
    for (platform, device, factor) in [("cpu", "Processor", 10.0), ("cuda", "RTX Made", 1.0)] {
        for model in ["resnet18", "bert"] {
            for batch in [1, 4, 16] {
                let run = |speed: f64| {
                    Made::taking(factor * (1.0 + f64::from(batch)) / speed)
                        .model(model)
                        .with("/model/multiply_adds", if model == "bert" { 11_200_000_000_u64 } else { 1_810_000_000 })
                        .device(platform, device)
                        .batch(batch)
                };
                runs.push(
                    run(1.0)
                        .metric("latency_p95_ms", factor * (2.0 + f64::from(batch)))
                        .metric("memory_host_peak_mb", 100.0 + 3.0 * f64::from(batch))
                        .metric("energy_per_sample_j", 0.1 * factor)
                        .metric("accuracy_top1", 0.9)
                        .metric("startup_ms", 30.0)
                        .metric("first_inference_ms", 12.0 * factor),
                );
                // Faster, and less accurate: both are on the front.
                runs.push(run(2.0).with("/configuration/precision", "bf16").metric("accuracy_top1", 0.88));
                runs.push(
                    run(1.0)
                        .with("/configuration/mode", "training")
                        .with("/configuration/parameters/optimizer", "adam")
                        .metric("memory_host_peak_mb", 900.0),
                );
            }
        }
    }
    for method in ["saliency", "occlusion"] {
        let parameters = serde_json::json!({ "method": method });
        runs.push(
            Made::taking(if method == "saliency" { 4.0 } else { 80.0 })
                .with("/configuration/mode", "explanation")
                .with("/configuration/parameters", parameters)
                .metric("success_rate", 1.0)
                .metric("memory_host_peak_mb", 120.0),
        );
    }
    runs
}

#[test]
fn every_chart_of_a_matrix_is_a_file_with_its_names() {
    let sandbox = Sandbox::new();
    sandbox.take(&matrix());
    let output = sandbox.benchdb().arg("visualize").succeeds();
    let table = stdout_of(&output);
    for chart in CHARTS {
        assert!(table.contains(chart), "{chart}: {table}");
    }
    // Imports keep neither samples nor telemetry, and every configuration was measured once.
    let nothing = ["telemetry", "samples", "history"];
    let mut expected: Vec<String> =
        CHARTS.iter().filter(|chart| !nothing.contains(chart)).map(|chart| format!("{chart}.svg")).collect();
    expected.sort();
    assert_eq!(files(&sandbox, "charts"), expected, "{}", said(&output));
    for (chart, words) in [
        ("throughput", &["resnet18", "bert", "RTX Made", "samples/s", "inference", "training"][..]),
        ("latency", &["median", "p95", "[ms]"]),
        ("memory", &["of the process", "[MB]"]),
        ("batch_scaling", &["batch size", "resnet18"]),
        ("training_inference", &["training", "inference", "adam"]),
        ("precision", &["bf16", "times fp32"]),
        ("speedup", &["Speed-up", "RTX Made"]),
        ("energy", &["[J]"]),
        ("accuracy", &["top-1 accuracy [%]", "Pareto front"]),
        ("cold_start", &["build", "first inference"]),
        ("predicted", &["measured throughput", "forecast throughput"]),
        ("explanations", &["saliency", "occlusion", "success rate", "speed against memory", "Not measured: power"]),
    ] {
        let svg = svg(&sandbox, chart);
        for word in words {
            assert!(svg.contains(word), "`{word}` on {chart}");
        }
        assert!(!svg.contains("NaN"), "{chart} has places that are no numbers");
    }
}

#[test]
fn real_runs_have_samples_sensors_a_history_and_intervals() {
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        let watched = ["--telemetry-interval", "20ms", "--min-time", "300ms", "--iterations", "12"];
        let run = ["run", "--hardware", "cpu", "--model", "cifar_cnn", "--engine", "burn-flex", "--max-time", "30"];
        sandbox.benchdb().args(run).args(watched).succeeds();
    }
    draws(&sandbox, &["samples", "telemetry", "history", "cold_start", "latency", "--run", "1,2"]);
    assert!(svg(&sandbox, "samples").contains("run 2"), "the newest of those that are selected");
    draws(&sandbox, &["samples", "--run", "1"]);
    let samples = svg(&sandbox, "samples");
    for words in ["run 1", "median", "p99", "distribution", "sequence", "cifar_cnn"] {
        assert!(samples.contains(words), "{words}");
    }
    let telemetry = svg(&sandbox, "telemetry");
    for words in ["iterations", "utilisation [%]", "time since the first iteration [s]", "cpu utilization"] {
        assert!(telemetry.contains(words), "{words}");
    }
    let history = svg(&sandbox, "history");
    assert!(history.contains("too few runs to tell changes") && history.contains("UTC"), "two runs are no change");
    assert!(svg(&sandbox, "cold_start").contains("first inference"));
    assert!(svg(&sandbox, "latency").contains("range of the runs"));
    // The interval of a single run is that of its iterations.
    draws(&sandbox, &["latency", "--run", "2"]);
    assert!(svg(&sandbox, "latency").contains("within the only run"));
}

#[test]
fn a_history_shows_the_step_and_what_was_judged() {
    let sandbox = Sandbox::new();
    let level = |height: f64| (0..12).map(|run| height * (1.0 + 0.002 * f64::from(run % 5))).collect::<Vec<_>>();
    sandbox.take(&all_taking(&[level(100.0), level(130.0)].concat()));
    draws(&sandbox, &["history"]);
    let history = svg(&sandbox, "history");
    for words in ["median latency: regressed", "step +30 %", "level", "24 runs from 2026-03-"] {
        assert!(history.contains(words), "{words}");
    }
}

#[test]
fn a_chart_with_nothing_to_show_says_why_and_writes_no_file() {
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("init-db").succeeds();
    let output = sandbox.benchdb().arg("visualize").ends_with(3);
    assert_eq!(stdout_of(&output).matches("nothing: ").count(), CHARTS.len(), "{}", said(&output));
    assert!(stderr_of(&output).contains("there is nothing to draw") && stderr_of(&output).contains("hint:"));
    assert!(!sandbox.path("charts").exists(), "not even a folder");
    sandbox.take(&[Made::taking(10.0), Made::taking(11.0).failed()]);
    let output = sandbox.benchdb().args(["visualize", "throughput", "energy", "batch-scaling", "speedup"]).succeeds();
    assert_eq!(files(&sandbox, "charts"), ["throughput.svg"]);
    for words in [
        "no selected configuration has an energy",
        "no selected configuration was measured at two batch sizes",
        "no configuration with platform cpu is selected",
    ] {
        let table = stdout_of(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(table.contains(words), "{words}: {}", said(&output));
    }
    assert!(svg(&sandbox, "throughput").contains("1 run that failed"));
    sandbox.benchdb().args(["visualize", "throughput", "--model", "no-such-model"]).ends_with(3);
    sandbox.benchdb().args(["visualize", "thruput"]).ends_with(2);
}

#[test]
fn software_that_pretends_is_left_out_unless_it_is_asked_for() {
    let sandbox = Sandbox::new();
    let soft = Made::taking(1.0).device("vulkan", "llvmpipe").with("/configuration/device/software", true);
    sandbox.take(&[soft, Made::taking(10.0)]);
    draws(&sandbox, &["throughput"]);
    let plain = svg(&sandbox, "throughput");
    assert!(plain.contains("RTX Made") && plain.contains("software that pretends") && !plain.contains("llvmpipe"));
    draws(&sandbox, &["throughput", "--include-software"]);
    assert!(svg(&sandbox, "throughput").contains("llvmpipe"));
    // Two runs of it are a history, which is hidden and not missing.
    let again = Made::taking(1.1).device("vulkan", "llvmpipe").with("/configuration/device/software", true);
    sandbox.take(&[again]);
    let none = sandbox.benchdb().args(["visualize", "history"]).ends_with(3);
    let said = stdout_of(&none).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains("only software that pretends to be a device") && said.contains("--include-software"),
        "{said}"
    );
    draws(&sandbox, &["history", "--include-software"]);
    assert!(svg(&sandbox, "history").contains("llvmpipe"));
}

#[test]
fn hostile_and_very_long_names_do_no_harm() {
    let sandbox = Sandbox::new();
    let long = "n".repeat(4_000);
    let names =
        ["<script>alert(1)</script>", "a & b \"c\" 'd' ]]>", long.as_str(), "\u{202e}reversed", "tab\tand\u{7}bell"];
    let mut runs: Vec<Made> = names.iter().map(|name| Made::taking(5.0).model(name)).collect();
    for name in names {
        runs.push(Made::taking(7.0).model(name).batch(8));
        runs.push(Made::taking(7.0).model(name).device("cpu", name).batch(8).metric("accuracy_top1", 0.5));
    }
    sandbox.take(&runs);
    draws(&sandbox, &["throughput", "latency", "batch_scaling", "speedup", "accuracy", "predicted"]);
    for chart in ["throughput", "latency", "batch_scaling", "speedup", "accuracy"] {
        let svg = svg(&sandbox, chart);
        assert!(!svg.contains("<script"), "{chart}");
        assert!(!svg.chars().any(|character| character.is_control() && character != '\n'), "{chart}");
        assert!(svg.len() < 400_000, "{chart}: {} bytes", svg.len());
    }
    assert!(svg(&sandbox, "throughput").contains("&lt;script&gt;"));
}

#[test]
fn pictures_of_pixels_have_the_size_that_was_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.take(&all_taking(&FIVE));
    let size = |scale: &[&str]| {
        draws(&sandbox, &[&["throughput", "--format", "png", "--output", "made/here"][..], scale].concat());
        let bytes = std::fs::read(sandbox.path("made/here/throughput.png")).unwrap();
        assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        (number(16), number(20))
    };
    let (one, two) = (size(&["--scale", "1"]), size(&[]));
    assert!(one.0 > 300 && one.1 > 100, "{one:?}");
    assert_eq!((2 * one.0, 2 * one.1), two);
    for wrong in ["0", "9", "x", "-1", "NaN"] {
        sandbox.benchdb().args(["visualize", "--format", "png", &format!("--scale={wrong}")]).ends_with(2);
    }
    sandbox.benchdb().args(["visualize", "--scale", "2"]).refuses(&["an SVG has no scale"], &["--format png"]);
}

#[test]
fn a_folder_that_cannot_be_is_refused_in_one_sentence() {
    let sandbox = Sandbox::new();
    sandbox.take(&[Made::taking(10.0)]);
    sandbox.write("file", "kept");
    let into = |folder: &str| {
        let mut command = sandbox.benchdb();
        command.args(["visualize", "throughput", "--output", folder]);
        command
    };
    into("file").refuses(&["`file` is a file, and charts need a folder"], &["--output"]);
    into("file/below").refuses(&["cannot make the folder `file/below`"], &["--output"]);
    into("/proc/charts").refuses(&["cannot make the folder `/proc/charts`"], &["--output"]);
    assert_eq!(sandbox.read("file"), "kept");
    std::fs::create_dir_all(sandbox.path("taken/throughput.svg")).unwrap();
    into("taken").refuses(&["cannot write `taken/throughput.svg`"], &["writable"]);
    // The database does not become a picture, under whatever name it is reached.
    std::fs::create_dir(sandbox.path("linked")).unwrap();
    std::os::unix::fs::symlink(sandbox.db(), sandbox.path("linked/throughput.svg")).unwrap();
    into("linked").refuses(&["overwrite the database"], &["--output"]);
    let mut command = sandbox.benchdb();
    std::fs::create_dir(sandbox.path("named")).unwrap();
    std::fs::copy(sandbox.db(), sandbox.path("named/throughput.svg")).unwrap();
    command.args(["visualize", "throughput", "--db", "named/throughput.svg", "--output", "named"]);
    command.refuses(&["overwrite the database"], &["--output"]);
    sandbox.benchdb().args(["visualize", "--db", "not-there.sqlite"]).refuses(&["not-there.sqlite"], &["init-db"]);
}

#[test]
fn timm_is_drawn_and_says_what_it_leaves_out() {
    let folder = root().join("../shared/data/timm");
    if !folder.is_dir() {
        return skip("the folder ../shared/data/timm with timm's results is not there");
    }
    let sandbox = Sandbox::new();
    let infer =
        ["amp-nchw-pt240-cu124-rtx3090", "amp-nhwc-pt240-cu124-rtx3090", "fp32-nchw-pt240-cpu-i9_10940x-dynamo"];
    let mut command = sandbox.benchdb();
    command.arg("import");
    for file in infer {
        command.arg(folder.join(format!("benchmark-infer-{file}.csv")));
    }
    command.arg(folder.join("benchmark-train-amp-nchw-pt112-cu113-rtx3090.csv")).succeeds();
    draws(&sandbox, &["throughput", "latency", "speedup", "batch_scaling"]);
    let throughput = svg(&sandbox, "throughput");
    let count = sandbox.count("SELECT count(DISTINCT configuration_id) FROM run JOIN configuration ON configuration.id = configuration_id WHERE mode = 'inference'");
    assert!(count > 3_000);
    assert!(
        throughput.contains(&format!("30 fastest of {count} configurations in inference")),
        "inference and training share the sheet"
    );
    assert!(svg(&sandbox, "latency").contains("Means stand in"));
    draws(&sandbox, &["speedup", "--model", "resnet50", "--relative-to", "device=3090"]);
    assert!(svg(&sandbox, "speedup").contains("resnet50"));
}
