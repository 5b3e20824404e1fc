//! timm's results, sixteen files of them: what `import`, `analyze` and the other commands answer is what the numbers in
//! the files say when they are put together by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::made::{close, table, verdicts};
use crate::support::{Expect as _, Sandbox, json_of, root, rows, said, skip, stderr_of, stdout_of};

fn analysis(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    sandbox.benchdb().args(["analyze", "--format", "json"]).args(arguments).json()
}

const PT240: &str = "benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv";
const PT291: &str = "benchmark-infer-amp-nchw-pt291-cu128-4090.csv";
const NHWC_4090: &str = "benchmark-infer-amp-nhwc-pt240-cu124-rtx4090.csv";
const NHWC_3090: &str = "benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv";

fn timm() -> Option<PathBuf> {
    let folder = root().join("../shared/data/timm");
    if folder.is_dir() {
        return Some(folder.canonicalize().unwrap());
    }
    skip("the folder ../shared/data/timm with timm's results is not there");
    None
}

/// Batch size and samples a second, by model and image size.
fn results(folder: &Path, file: &str) -> BTreeMap<(String, String), (f64, f64)> {
    let mut reader = csv::Reader::from_path(folder.join(file)).unwrap();
    let header = reader.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let columns = ["model", "infer_img_size", "infer_batch_size", "infer_samples_per_sec"].map(at);
    let mut results = BTreeMap::new();
    for record in reader.records() {
        let record = record.unwrap();
        let [model, size, batch, rate] = columns.map(|column| record[column].to_owned());
        let known = results.insert((model, size), (batch.parse().unwrap(), rate.parse().unwrap()));
        assert_eq!(known, None, "{record:?}");
    }
    results
}

#[test]
fn all_of_timm_comes_in_once() {
    let Some(folder) = timm() else { return };
    let sandbox = Sandbox::new();
    let sums = |output: &std::process::Output| {
        let rows = rows(&json_of(output));
        let sum = |name: &str| rows.iter().map(|row| row[name].as_i64().unwrap_or(0)).sum::<i64>();
        (rows.len(), sum("taken"), sum("refused"))
    };
    let import = || {
        let mut command = sandbox.benchdb();
        command.arg("import").arg(&folder).args(["--format", "json"]);
        command
    };
    let output = import().ends_with(1);
    assert_eq!(sums(&output), (16, 20_677, 2), "two rows have no batch size: {}", said(&output));
    for line in [1293, 1294] {
        let named = format!("benchmark-infer-amp-nchw-pt210-cu121-rtx3090.csv:{line}: `batch_size` is missing");
        assert!(stderr_of(&output).contains(&named), "{}", said(&output));
    }
    let output = import().outcome();
    assert_eq!(sums(&output).1, 0, "{}", said(&output));
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 20_677);
    assert_eq!(sandbox.count("SELECT count(*) FROM import_batch"), 16);
    assert_eq!(sandbox.count("SELECT count(DISTINCT device) FROM results"), 4);
    sandbox.benchdb().arg("check").succeeds();
}

#[test]
fn timm_on_the_4090_against_the_3090() {
    let Some(folder) = timm() else { return };
    let (before, after) = (results(&folder, NHWC_3090), results(&folder, NHWC_4090));
    let mut ratios: Vec<f64> = after.iter().filter_map(|(key, (_, rate))| Some(rate / before.get(key)?.1)).collect();
    ratios.sort_by(f64::total_cmp);
    assert_eq!(ratios.len(), 1429);
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("import").arg(&folder).ends_with(1);
    let document = analysis(
        &sandbox,
        &[
            "--framework",
            "2.4.0",
            "--parameter",
            "memory_layout=nhwc",
            "--precision",
            "amp",
            "--mode",
            "inference",
            "--relative-to",
            "device=3090",
            "--ignore",
            "batch_size",
            "--sections",
            "overall",
        ],
    );
    let overall = table(&document, "overall");
    assert_eq!(overall.len(), 1, "{document}");
    assert!(overall[0]["device"].as_str().unwrap().contains("4090"));
    assert!(overall[0]["relative_to"].as_str().unwrap().contains("3090"));
    assert_eq!(overall[0]["matched"], 1429);
    close(&overall[0]["geometric_mean_speed_up"], mean);
    close(&overall[0]["median"], ratios[714]);
}

#[test]
fn timm_on_pytorch_291_against_240() {
    let Some(folder) = timm() else { return };
    let (before, after) = (results(&folder, PT240), results(&folder, PT291));
    let matched: Vec<_> = before.iter().filter_map(|(key, was)| Some((key, *was, *after.get(key)?))).collect();
    assert_eq!(matched.len(), 1442);
    let differing = matched.iter().filter(|(_, was, is)| was.0 != is.0).count();
    let fallen: BTreeSet<(String, String)> = matched
        .iter()
        .filter(|(_, was, is)| was.1 / is.1 >= 1.1)
        .map(|((model, size), ..)| (model.clone(), format!("3x{size}x{size}")))
        .collect();
    assert_eq!(fallen.len(), 34);
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("import").arg(&folder).ends_with(1);
    let baseline = folder.join(PT240);
    let arguments = [
        "analyze",
        "--compare-to",
        baseline.to_str().unwrap(),
        "--regression-alert",
        "0.1",
        "--framework",
        "2.9.1",
        "--parameter",
        "memory_layout=nchw",
        "--parameter",
        "compiled=",
        "--metrics",
        "throughput",
        "--match-on",
        "model,input_shape",
    ];
    let document = json_of(&sandbox.benchdb().args(arguments).args(["--format", "json"]).ends_with(1));
    assert_eq!(document["judged"], 1442);
    assert_eq!(document["by_threshold"], 1442);
    assert_eq!(document["counts"]["missing"], before.len() - 1442);
    assert_eq!(document["counts"]["new"], after.len() - 1442);
    let found: BTreeSet<(String, String)> = verdicts(&document)
        .iter()
        .filter(|verdict| verdict["verdict"] == "regressed")
        .map(|verdict| {
            let part = |name: &str| verdict["identity"][name].as_str().unwrap().to_owned();
            (part("model"), part("input_shape"))
        })
        .collect();
    assert_eq!(found, fallen);
    for verdict in verdicts(&document).iter().filter(|verdict| verdict["verdict"] == "regressed").take(5) {
        let model = verdict["identity"]["model"].as_str().unwrap().to_owned();
        let size = verdict["identity"]["input_shape"].as_str().unwrap().rsplit('x').next().unwrap().to_owned();
        let key = (model, size);
        close(&verdict["effect"], (before[&key].1 / after[&key].1).ln());
    }
    assert!((90..=110).contains(&differing), "{differing}");
    let said_of_batches = format!("batch_size differs in {differing} of the matched pairs");
    assert!(document["notes"].to_string().contains(&said_of_batches), "{}", document["notes"]);
    let output = sandbox.benchdb().args(arguments).ends_with(1);
    let printed = stdout_of(&output);
    assert!(printed.contains("34 regressed"), "{printed}");
    assert!(printed.contains("2.4.0 -> ") && printed.contains("2.9.1"), "the versions are suspects: {printed}");
    assert!(printed.contains("1442 judged by the threshold alone"), "{printed}");
    // Where nobody chose a metric it is throughput, as batch sizes may differ; of latencies they may not.
    let judged = |metrics: &[&str], code: i32| {
        let mut command = sandbox.benchdb();
        command.args(&arguments[..11]).args(metrics).args(["--match-on", "model,input_shape", "--format", "json"]);
        json_of(&command.ends_with(code))
    };
    assert_eq!(judged(&[], 1)["counts"], document["counts"]);
    let by_latency = judged(&["--metrics", "latency_mean_ms"], 1);
    assert_eq!(by_latency["judged"], 1442 - differing);
    assert_eq!(by_latency["counts"]["incomparable"], differing);
}

#[test]
fn timm_as_a_folder_is_fast_to_ask() {
    let Some(folder) = timm() else { return };
    let sandbox = Sandbox::new();
    sandbox.benchdb().arg("import").arg(&folder).ends_with(1);
    for command in [
        &["analyze"][..],
        &["analyze", "--model", "resnet50"],
        &["regress", "--history"],
        &["recommend", "--model", "resnet50"],
        &["recommend", "--objective", "cost"],
        &["baseline", "save", "all"],
        &["regress", "--baseline", "all"],
        &["regress", "--import", "7", "--against", "import:5", "--ignore", "batch_size"],
    ] {
        let start = std::time::Instant::now();
        let output = sandbox.benchdb().args(command).outcome();
        assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{command:?}: {}", said(&output));
        assert!(start.elapsed().as_secs() < 20, "{command:?} took {:?}", start.elapsed());
    }
}
