//! The work of the command on a network that is a scalar product, whose explanations are known.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use clap::ColorChoice;
use image::{Rgb, RgbImage};
use serde_json::{Map, Value, json};

use super::super::{CommandError, Context, ExitStatus, GlobalArgs};
use super::choice::chosen;
use super::files::Destination;
use super::seam::{Answer, Explained, Explainer, Failure, Job, Request};
use super::session::Session;
use super::shelf::Shelf;
use super::tables::Report;
use crate::dataset::{InputFile, SampleReader, input_files};
use crate::domain::{HostData, HostTensor, InputKind, InputSpec, Table};
use crate::exchange::tensors::{read_tensors, write_tensors};
use crate::measure::StageProfiler;

const METHODS: [&str; 3] = ["product", "magnitude", "nothing_fits"];

/// The red channel of a picture's first pixel that this network cannot stand.
const POISON: u8 = 255;

/// Remembers how many samples it was asked for at once.
#[derive(Default)]
struct Linear {
    calls: RefCell<Vec<(&'static str, usize)>>,
}

struct LinearJob<'e> {
    network: &'e Linear,
    method: &'static str,
    parameters: Map<String, Value>,
}

/// The class's weight of a feature.
fn weight(class: usize, feature: usize) -> f32 {
    ((feature * 7 + class * 3) % 11) as f32 - 5.0
}

impl Explainer for Linear {
    fn method_names(&self) -> Vec<&'static str> {
        METHODS.to_vec()
    }

    fn compares(&self, _: &str) -> bool {
        true
    }

    fn engine(&self) -> &str {
        "a test"
    }

    fn job<'e>(&'e self, name: &str, own: &Map<String, Value>, _: bool) -> anyhow::Result<Box<dyn Job + 'e>> {
        let Some(method) = METHODS.into_iter().find(|known| *known == name) else {
            return Err(CommandError::new(format!("unknown method `{name}`"), "none").into());
        };
        if let Some(strange) = own.keys().find(|key| *key != "scale" || method != "product") {
            return Err(CommandError::new(format!("{method} has no `{strange}`"), "none").into());
        }
        let mut parameters = own.clone();
        if method == "product" {
            parameters.entry("scale").or_insert_with(|| 1.into());
        }
        Ok(Box::new(LinearJob { network: self, method, parameters }))
    }
}

impl Job for LinearJob<'_> {
    fn name(&self) -> &'static str {
        self.method
    }

    fn parameters(&self) -> Value {
        Value::Object(self.parameters.clone())
    }

    fn explain(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let input = &request.inputs[0];
        let samples = input.shape[0];
        self.network.calls.borrow_mut().push((self.method, samples));
        if self.method == "nothing_fits" {
            return Err(Failure::Unsupported("there is no convolution".to_owned()));
        }
        let values: Vec<f32> = match &input.data {
            HostData::F32(values) => values.clone(),
            HostData::I64(values) => values.iter().map(|value| *value as f32).collect(),
        };
        let size = values.len() / samples;
        // White is 2.05 or more in every channel of CIFAR-10.
        if values.chunks(size).any(|sample| sample[0] > 2.0) {
            return Err(Failure::Error(CommandError::new("the network cannot stand it", "take another").into()));
        }
        let target =
            |sample: usize| request.targets.get(sample).copied().unwrap_or(Explained { class: 4, position: None });
        let scale = self.parameters.get("scale").and_then(Value::as_f64).unwrap_or(1.0) as f32;
        let product = |(place, value): (usize, &f32)| {
            let product = weight(target(place / size).class, place % size) * value * scale;
            if self.method == "magnitude" { product.abs() } else { product }
        };
        let data = HostData::F32(values.iter().enumerate().map(product).collect());
        Ok(Answer {
            attribution: HostTensor { name: "attribution".into(), shape: input.shape.clone(), data },
            targets: (0..samples).map(target).collect(),
            passes: [1.0, 1.0],
            inner_batch: None,
        })
    }
}

struct Bench {
    folder: tempfile::TempDir,
    network: Linear,
    context: Context,
}

impl Bench {
    fn new() -> Self {
        let db = PathBuf::from("unused.sqlite");
        let global = GlobalArgs { db, quiet: true, verbose: false, color: ColorChoice::Never };
        Self { folder: tempfile::tempdir().unwrap(), network: Linear::default(), context: Context::new(global) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn picture(&self, name: &str, red: u8) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(32, 32, |x, y| Rgb([red, x as u8 * 8, y as u8 * 8])).save(&path).unwrap();
        path
    }

    fn calls(&self) -> Vec<(&'static str, usize)> {
        self.network.calls.take()
    }

    fn listing(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn explain(&self, what: &What<'_>) -> anyhow::Result<Report> {
        let profiler = StageProfiler::off();
        let names: Vec<String> = what.methods.split(',').map(str::to_owned).collect();
        let methods = chosen(&names, what.parameters, false, &self.network)?;
        let files: Vec<InputFile> = input_files(what.files)?;
        let output = self.path(what.output);
        let save = what.save.map(|name| self.path(name));
        let session = Session {
            explainer: &self.network,
            methods: &methods,
            all: what.methods == "all",
            reader: SampleReader::of_model(what.model, &inputs_of(what.model)),
            model: what.model,
            weights: "seed 0",
            targets: what.targets,
            baselines: None,
            batch_size: 2,
            shelf: Shelf::open(Some(&self.path(what.cache)), 100_000_000, what.cache.is_empty(), &self.context),
            destination: Destination::new(&output, save.as_deref(), &files, methods.len())?,
            profiler: &profiler,
            context: &self.context,
        };
        session.run(&files)
    }
}

fn inputs_of(model: &str) -> Vec<InputSpec> {
    let (name, kind, shape) = match model {
        "cifar_cnn" => ("image", InputKind::Float, vec![3, 32, 32]),
        _ => ("ids", InputKind::Tokens { vocabulary: 100 }, vec![128]),
    };
    vec![InputSpec { name: name.into(), kind, shape }]
}

#[derive(Clone, Copy)]
struct What<'a> {
    model: &'a str,
    methods: &'a str,
    parameters: &'a [(String, Value)],
    files: &'a [PathBuf],
    targets: &'a [Explained],
    output: &'a str,
    save: Option<&'a str>,
    cache: &'a str,
}

const USUAL: What<'static> = What {
    model: "cifar_cnn",
    methods: "product",
    parameters: &[],
    files: &[],
    targets: &[],
    output: "out",
    save: None,
    cache: "cache",
};

/// The texts of a column.
fn column(table: &Table, name: &str) -> Vec<String> {
    let at = table.columns.iter().position(|column| column == name).unwrap();
    table
        .rows
        .iter()
        .map(|row| serde_json::to_value(&row[at]).unwrap())
        .map(|value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        })
        .collect()
}

fn values(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let tensor = read_tensors(path, "x").unwrap().remove(0);
    match tensor.data {
        HostData::F32(values) => (tensor.shape, values),
        HostData::I64(_) => panic!("integers"),
    }
}

#[test]
fn all_methods_that_fit_write_heat_maps_attributions_and_a_contact_sheet() {
    let bench = Bench::new();
    let files = [bench.picture("set/cat/1.png", 10), bench.picture("set/dog/1.png", 20)];
    let what = What { methods: "all", files: &[bench.path("set")], ..USUAL };
    let mut report = bench.explain(&what).unwrap();
    assert_eq!(report.status().unwrap(), ExitStatus::Ok);
    let expected = [
        "cat_1.contact_sheet.png",
        "cat_1.magnitude.npy",
        "cat_1.magnitude.png",
        "cat_1.product.npy",
        "cat_1.product.png",
        "dog_1.contact_sheet.png",
        "dog_1.magnitude.npy",
        "dog_1.magnitude.png",
        "dog_1.product.npy",
        "dog_1.product.png",
    ];
    assert_eq!(bench.listing("out"), expected);
    let reader = SampleReader::of_model("cifar_cnn", &inputs_of("cifar_cnn"));
    let file = input_files(&files[1..]).unwrap().remove(0);
    let sample = reader.read(&file).unwrap().remove(0);
    let HostData::F32(input) = &sample.inputs[0].data else { panic!("integers") };
    let products: Vec<f32> = input.iter().enumerate().map(|(place, value)| weight(4, place) * value).collect();
    assert_eq!(values(&bench.path("out/dog_1.product.npy")), (vec![3, 32, 32], products));
    assert!(image::open(bench.path("out/dog_1.product.png")).unwrap().width() > 1000);
    let table = report.tables(false).remove(0);
    assert_eq!(column(&table, "status"), ["ok", "ok", "ok", "ok", "unsupported", "unsupported"]);
    assert_eq!(column(&table, "class")[..2], ["4", "4"]);
    assert_eq!(column(&table, "predicted")[..2], ["yes", "yes"]);
    assert!(column(&table, "reason")[4].contains("no convolution"));
}

#[test]
fn what_was_explained_before_is_not_explained_again() {
    let bench = Bench::new();
    let files = [bench.picture("a.png", 10), bench.picture("b.png", 20), bench.picture("c.png", 30)];
    let explain = |what: What<'_>| {
        let table = bench.explain(&what).unwrap().tables(false).remove(0);
        (bench.calls(), column(&table, "cached"))
    };
    let first = What { files: &files[..2], ..USUAL };
    assert_eq!(explain(first), (vec![("product", 2)], vec!["no".to_owned(); 2]));
    let computed = std::fs::read(bench.path("out/b.product.npy")).unwrap();
    let picture = std::fs::read(bench.path("out/b.product.png")).unwrap();
    std::fs::remove_dir_all(bench.path("out")).unwrap();
    // Of three, one is new; it is the only one that is computed.
    let more = What { files: &files, ..USUAL };
    assert_eq!(explain(more), (vec![("product", 1)], ["yes", "yes", "no"].map(str::to_owned).to_vec()));
    assert_eq!(std::fs::read(bench.path("out/b.product.npy")).unwrap(), computed);
    assert_eq!(std::fs::read(bench.path("out/b.product.png")).unwrap(), picture);
    // The same picture under another name.
    std::fs::copy(&files[0], bench.path("d.png")).unwrap();
    assert!(explain(What { files: &[bench.path("d.png")], ..USUAL }).0.is_empty());
    // Another method, parameter or target is another explanation.
    let scale = [("scale".to_owned(), json!(2))];
    let target = [Explained { class: 4, position: None }];
    for other in [
        What { methods: "magnitude", ..first },
        What { parameters: &scale, ..first },
        What { targets: &target, ..first },
    ] {
        assert_eq!(explain(other).0.len(), 1);
        assert!(explain(other).0.is_empty());
    }
    assert_eq!(explain(What { cache: "", ..first }).0.len(), 1, "without a cache");
}

#[test]
fn batches_are_as_large_as_they_may_be() {
    let bench = Bench::new();
    for number in 0..5 {
        bench.picture(&format!("set/{number}.png"), number * 10);
    }
    bench.explain(&What { files: &[bench.path("set")], methods: "product,magnitude", cache: "", ..USUAL }).unwrap();
    let expected: Vec<(&str, usize)> =
        [2, 2, 1].into_iter().flat_map(|samples| [("product", samples), ("magnitude", samples)]).collect();
    assert_eq!(bench.calls(), expected);
}

#[test]
fn one_bad_input_fails_alone() {
    let bench = Bench::new();
    let files =
        [bench.picture("a.png", 10), bench.picture("b.png", POISON), bench.path("c.png"), bench.picture("d.png", 40)];
    std::fs::write(&files[2], "no picture").unwrap();
    let mut report = bench.explain(&What { files: &files, ..USUAL }).unwrap();
    assert_eq!(report.status().unwrap(), ExitStatus::Failed);
    let table = report.tables(true).remove(0);
    let mut rows: Vec<(String, String)> = column(&table, "sample").into_iter().zip(column(&table, "status")).collect();
    rows.sort();
    let expected = [("a", "ok"), ("b", "failed"), ("c", "failed"), ("d", "ok")];
    assert_eq!(rows, expected.map(|(sample, status)| (sample.to_owned(), status.to_owned())));
    assert!(column(&table, "reason").iter().any(|reason| reason.ends_with("b.png`: the network cannot stand it")));
    // Alone, it is the error of the command.
    let mut report = bench.explain(&What { files: &files[1..2], ..USUAL }).unwrap();
    assert_eq!(report.status().unwrap_err().to_string(), "the network cannot stand it");
}

#[test]
fn a_cache_that_cannot_be_used_keeps_nothing_from_being_explained() {
    let bench = Bench::new();
    let file = bench.picture("a.png", 10);
    std::fs::write(bench.path("file"), "").unwrap();
    let mut report = bench.explain(&What { files: &[file], cache: "file/cache", ..USUAL }).unwrap();
    assert_eq!(report.status().unwrap(), ExitStatus::Ok);
    assert_eq!(bench.listing("out"), ["a.product.npy", "a.product.png"]);
}

#[test]
fn one_file_is_for_one_input() {
    let bench = Bench::new();
    let files = [bench.picture("a.png", 10), bench.picture("b.png", 20)];
    let refused = |what: &What<'_>| bench.explain(what).unwrap_err().to_string();
    let one = What { files: &files[..1], output: "map.png", ..USUAL };
    bench.explain(&What { save: Some("raw.npy"), ..one }).unwrap();
    assert_eq!(values(&bench.path("raw.npy")).0, [3, 32, 32]);
    assert!(image::open(bench.path("map.png")).is_ok());
    bench.explain(&What { methods: "all", output: "sheet.png", ..one }).unwrap();
    assert!(image::open(bench.path("sheet.png")).is_ok());
    assert_eq!(bench.listing("."), ["a.png", "b.png", "cache", "map.png", "raw.npy", "sheet.png"]);
    assert!(refused(&What { files: &files, ..one }).contains("`--output` is one file, there are 2 inputs"));
    assert!(refused(&What { methods: "all", save: Some("x.npy"), ..one }).contains("there are 3 methods"));
    assert!(refused(&What { output: "a.png", ..one }).contains("overwrite an input"));
    let batch = HostTensor { name: "image".into(), shape: vec![2, 3, 32, 32], data: HostData::F32(vec![0.5; 6144]) };
    let path = bench.path("two.npy");
    write_tensors(&mut std::fs::File::create(&path).unwrap(), &[batch], false, "two.npy").unwrap();
    assert!(refused(&What { files: &[path], ..one }).contains("there are 2 inputs"));
}

#[test]
fn targets_are_for_all_or_one_for_each() {
    let bench = Bench::new();
    let files = [bench.picture("a.png", 10), bench.picture("b.png", 20)];
    let class = |class| Explained { class, position: None };
    let classes = |targets: &[Explained]| {
        let report = bench.explain(&What { files: &files, targets, ..USUAL })?;
        let table = report.tables(false).remove(0);
        anyhow::Ok((column(&table, "class"), column(&table, "predicted")))
    };
    assert_eq!(classes(&[class(3)]).unwrap().0, ["3", "3"]);
    let each = classes(&[class(3), class(7)]).unwrap();
    assert_eq!(each, (["3", "7"].map(str::to_owned).to_vec(), vec!["no".to_owned(); 2]));
    assert!(classes(&[class(1), class(2), class(3)]).unwrap_err().to_string().contains("3 classes"));
}

#[test]
fn a_text_is_explained_word_by_word() {
    let bench = Bench::new();
    let ids = HostTensor { name: "ids".into(), shape: vec![1, 3], data: HostData::I64(vec![1, 0, 2]) };
    let path = bench.path("text.npy");
    write_tensors(&mut std::fs::File::create(&path).unwrap(), &[ids], false, "text.npy").unwrap();
    let report = bench.explain(&What { model: "gpt2", methods: "product,magnitude", files: &[path], ..USUAL }).unwrap();
    assert_eq!(bench.listing("out"), ["text.magnitude.npy", "text.product.npy"]);
    let rows = report.tables(false).remove(1);
    assert_eq!(column(&rows, "token"), ["1", "0", "2", "1", "0", "2"]);
    let product: Vec<f32> = (0..3).map(|place| weight(4, place) * [1.0, 0.0, 2.0][place]).collect();
    let found: Vec<f32> = column(&rows, "attribution").iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(found[..3], product);
    assert_eq!(found[3..], product.iter().map(|value| value.abs()).collect::<Vec<_>>());
    let side_by_side = report.tables(true).remove(1);
    assert_eq!(side_by_side.columns, ["sample", "position", "token", "product", "magnitude"]);
    assert_eq!(side_by_side.rows.len(), 3);
}

#[test]
fn parameters_are_for_all_methods_or_for_one() {
    let bench = Bench::new();
    let names = |methods: &str| methods.split(',').map(str::to_owned).collect::<Vec<_>>();
    let refused = |methods: &str, parameters: &[(String, Value)]| {
        chosen(&names(methods), parameters, false, &bench.network).err().unwrap().to_string()
    };
    let scale = [("scale".to_owned(), json!(3))];
    let own = [("product.scale".to_owned(), json!(3))];
    let made = chosen(&names("product,magnitude,product"), &own, false, &bench.network).unwrap();
    assert_eq!(made.iter().map(|job| job.name()).collect::<Vec<_>>(), ["product", "magnitude"]);
    assert_eq!(made[0].parameters(), json!({"scale": 3}));
    assert_eq!(chosen(&names("product"), &scale, false, &bench.network).unwrap()[0].parameters(), json!({"scale": 3}));
    assert!(refused("product,magnitude", &scale).contains("is for all of them, and magnitude does not take it"));
    assert!(refused("magnitude", &own).contains("`--set product.scale` is for a method that is not asked for"));
    assert!(refused("magnitude", &scale).contains("magnitude has no `scale`"));
    assert!(refused("gradcam", &[]).contains("unknown method `gradcam`"));
}
