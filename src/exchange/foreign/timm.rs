//! The benchmark tables of timm (huggingface/pytorch-image-models, `results/benchmark-*.csv`): one row a model at one
//! image size. Mode, precision, memory layout, versions and device stand in the file's name alone, so a file under
//! another name is refused. One row is the mean of a benchmark whose number of iterations nobody wrote down.
//!
//! The cost of a model (multiply-adds, activations) is that at the row's image size; it is kept with the run as two
//! metrics of its own too, because a model has several sizes.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use csv::StringRecord;
use serde_json::Value;

use super::draft::{Draft, count, item};
use crate::domain::metric::Better;
use crate::domain::{Category, DeviceKind, Environment, Mode, Platform, Precision, RunRecord, Task};
use crate::exchange::head::{lines_behind, pass_mark};
use crate::exchange::own_csv::unreadable;
use crate::exchange::{ColumnMap, ExchangeError, Head, Importer, Sink};

/// What a name must look like.
const EXAMPLE: &str = "benchmark-infer-amp-nchw-pt240-cu124-rtx4090.csv";

/// Reads timm's tables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timm;

/// The prefix of the measured columns: `infer` or `train`.
fn prefix(header: &StringRecord) -> Option<&'static str> {
    let has = |name: String| header.iter().any(|column| column.trim() == name);
    ["infer", "train"].into_iter().find(|prefix| {
        has("model".to_owned())
            && ["samples_per_sec", "step_time", "batch_size", "img_size"]
                .iter()
                .all(|name| has(format!("{prefix}_{name}")))
    })
}

/// Whether a table is one of timm's.
pub(super) fn is_timm(header: &StringRecord) -> bool {
    prefix(header).is_some()
}

impl<E: From<ExchangeError>> Importer<E> for Timm {
    fn format(&self) -> &'static str {
        "timm-csv"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        csv::Reader::from_reader(head.bytes).headers().is_ok_and(is_timm)
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let name = Name::parse(path)?;
        let failed = |source| ExchangeError::Read { path: path.to_owned(), source };
        pass_mark(content).map_err(failed)?;
        let behind = lines_behind(content.fill_buf().map_err(failed)?);
        let mut reader = csv::ReaderBuilder::new().flexible(true).buffer_capacity(1 << 16).from_reader(content);
        let header = reader.headers().map_err(|error| unreadable(path, error))?.clone();
        let columns = Columns::new(&header, &name, path)?;
        let mut record = StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| unreadable(path, error))? {
            let line = record.position().map_or(0, csv::Position::line) + behind;
            sink(item(line, columns.run(&record, &name)))?;
        }
        Ok(Vec::new())
    }
}

/// What a file's name says.
struct Name {
    mode: Mode,
    precision: Precision,
    layout: &'static str,
    compiled: bool,
    platform: Platform,
    device: String,
    kind: DeviceKind,
    environment: Environment,
}

impl Name {
    /// `benchmark-MODE-PRECISION-LAYOUT-ptVERSION[-cuVERSION]-DEVICE[-dynamo].csv`
    fn parse(path: &str) -> Result<Self, ExchangeError> {
        let stem = Path::new(path).file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
        let mut words: Vec<&str> = stem.split('-').collect();
        let compiled = words.contains(&"dynamo");
        words.retain(|word| *word != "dynamo");
        let untelling = |missing: &str| ExchangeError::UntellingName {
            path: path.to_owned(),
            missing: missing.to_owned(),
            example: EXAMPLE.to_owned(),
        };
        let find = |known: &[&'static str]| known.iter().copied().find(|word| words.contains(word));
        let mode = match find(&["infer", "train"]).ok_or_else(|| untelling("whether it is `infer` or `train`"))? {
            "train" => Mode::Training,
            _ => Mode::Inference,
        };
        let precision =
            match find(&["amp", "fp32", "float32", "fp16", "bf16"]).ok_or_else(|| untelling("the precision"))? {
                "amp" => Precision::Amp,
                "fp16" => Precision::Fp16,
                "bf16" => Precision::Bf16,
                _ => Precision::Fp32,
            };
        let layout = find(&["nchw", "nhwc"]).ok_or_else(|| untelling("the memory layout"))?;
        let digits = |prefix: &str| {
            words.iter().find_map(|word| {
                let digits = word.strip_prefix(prefix)?;
                (digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
            })
        };
        let pytorch = pytorch_version(digits("pt").ok_or_else(|| untelling("PyTorch's version"))?);
        // CUDA's minor version is the last digit: cu117 is 11.7, cu124 is 12.4.
        let cuda = digits("cu").map(|digits| format!("{}.{}", &digits[..2], &digits[2..]));
        let last = words.last().copied().unwrap_or_default();
        let behind_cpu = words.iter().position(|word| *word == "cpu").and_then(|at| words.get(at + 1));
        let (platform, kind, device) = if let Some(cpu) = behind_cpu {
            (Platform::Cpu, DeviceKind::Cpu, processor(cpu).ok_or_else(|| untelling("the device"))?)
        } else if cuda.is_some() {
            (Platform::Cuda, DeviceKind::Gpu, card(last).ok_or_else(|| untelling("the device"))?)
        } else {
            return Err(untelling("the device: `cpu-NAME`, or CUDA's version and a card"));
        };
        let framework = match &cuda {
            Some(cuda) => format!("PyTorch {pytorch}, CUDA {cuda}"),
            None => format!("PyTorch {pytorch}"),
        };
        Ok(Self {
            mode,
            precision,
            layout,
            compiled,
            platform,
            device,
            kind,
            environment: Environment {
                engine_version: Some(pytorch),
                framework_version: Some(framework),
                ..Environment::default()
            },
        })
    }
}

/// `113` is 1.13, `210` is 2.1.0: PyTorch 1 had two-digit minor versions, and the tables leave its patch out.
fn pytorch_version(digits: &str) -> String {
    match digits.split_at(1) {
        ("1", minor) => format!("1.{minor}"),
        (major, rest) => format!("{major}.{}.{}", &rest[..1], &rest[1..]),
    }
}

/// `rtx3090`, and `4090` for `rtx4090`.
fn card(word: &str) -> Option<String> {
    let number = word.strip_prefix("rtx").unwrap_or(word);
    let digits = number.bytes().take_while(u8::is_ascii_digit).count();
    (digits == 4 && digits == number.len()).then(|| format!("NVIDIA GeForce RTX {number}"))
}

/// `i9_10940x`
fn processor(word: &str) -> Option<String> {
    let (series, number) = word.split_once('_')?;
    let known = matches!(series, "i3" | "i5" | "i7" | "i9") && number.starts_with(|first: char| first.is_ascii_digit());
    known.then(|| format!("Intel Core {series}-{}", number.to_uppercase()))
}

/// The family of a model: the letters that its name begins with, where they name one (`resnet50`, `tf_efficientnetv2_s`).
fn family(model: &str) -> Option<String> {
    let word = model.split('_').find(|word| !matches!(*word, "tf" | "test" | "legacy" | "dm" | "nf"))?;
    let letters = word.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (name, rest) = word.split_at(letters);
    // `efficientnetv2` is an efficientnet; `res2net50` is no `res`.
    let name = if rest.is_empty() { name } else { name.strip_suffix('v').unwrap_or(name) };
    let goes_on = rest.bytes().filter(u8::is_ascii_alphabetic).count() > 2;
    (name.len() > 1 && !goes_on).then(|| name.to_owned())
}

/// Where the columns stand; some files lack the last three.
struct Columns {
    model: usize,
    samples_per_second: usize,
    step_time: usize,
    batch_size: usize,
    image_size: usize,
    parameter_count: Option<usize>,
    multiply_adds: Option<usize>,
    activations: Option<usize>,
}

impl Columns {
    fn new(header: &StringRecord, name: &Name, path: &str) -> Result<Self, ExchangeError> {
        let prefix = prefix(header).unwrap_or("infer");
        if (prefix == "train") != (name.mode == Mode::Training) {
            return Err(ExchangeError::Malformed {
                path: path.to_owned(),
                line: 1,
                reason: format!("the columns are those of `{prefix}`, the file's name says {}", name.mode),
            });
        }
        let place = |column: &str| header.iter().position(|name| name.trim() == column);
        let find = |column: &str| {
            let full = format!("{prefix}_{column}");
            place(&full)
                .or_else(|| place(column))
                .ok_or_else(|| ExchangeError::MissingColumns { path: path.to_owned(), columns: full })
        };
        Ok(Self {
            model: find("model")?,
            samples_per_second: find("samples_per_sec")?,
            step_time: find("step_time")?,
            batch_size: find("batch_size")?,
            image_size: find("img_size")?,
            parameter_count: find("param_count").ok(),
            multiply_adds: find("gmacs").ok(),
            activations: find("macts").ok(),
        })
    }

    fn run(&self, record: &StringRecord, name: &Name) -> Result<RunRecord, String> {
        let cell = |at: usize, what: &str| match record.get(at).map(str::trim) {
            Some("") | None => Err(format!("`{what}` is missing")),
            Some(text) => Ok(text),
        };
        let number = |at: usize, what: &str| {
            let text = cell(at, what)?;
            let value: Option<f64> = text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
            value.ok_or_else(|| format!("`{what}` is `{text}`, not a number that was measured"))
        };
        let cost = |at: Option<usize>, what: &str, unit: f64| match at {
            Some(at) if cell(at, what).is_ok() => Ok(Some((number(at, what)? * unit).round())),
            _ => Ok::<_, String>(None),
        };
        let model = cell(self.model, "model")?;
        let image_size = count(cell(self.image_size, "img_size")?).map_err(|reason| format!("`img_size`: {reason}"))?;
        let batch_size =
            count(cell(self.batch_size, "batch_size")?).map_err(|reason| format!("`batch_size`: {reason}"))?;
        let multiply_adds = cost(self.multiply_adds, "gmacs", 1e9)?;
        let activations = cost(self.activations, "macts", 1e6)?;
        let mut parameters = BTreeMap::from([("memory_layout".to_owned(), Value::from(name.layout))]);
        if name.compiled {
            parameters.insert("compiled".to_owned(), true.into());
        }
        let mut draft = Draft {
            model: model.to_owned(),
            family: family(model),
            category: Some(Category::Vision),
            task: None::<Task>,
            parameter_count: cost(self.parameter_count, "param_count", 1e6)?.map(|count| count as u64),
            multiply_adds: multiply_adds.map(|count| count as u64),
            activation_count: activations.map(|count| count as u64),
            platform: Some(name.platform),
            engine: "pytorch".to_owned(),
            precision: Some(name.precision),
            mode: Some(name.mode),
            batch_size: Some(batch_size),
            input_shape: format!("3x{image_size}x{image_size}"),
            parameters,
            environment: name.environment.clone(),
            ..Draft::default()
        };
        draft.name_device(&name.device, name.kind);
        draft.measured("throughput_samples_per_second", number(self.samples_per_second, "samples_per_sec")?)?;
        draft.measured("latency_mean_ms", number(self.step_time, "step_time")?)?;
        for (metric, value) in [("multiply_adds_per_sample", multiply_adds), ("activations_per_sample", activations)] {
            if let Some(value) = value {
                draft.extra(metric, "1", Better::None, value)?;
            }
        }
        draft.finish(&ColumnMap::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Name {
        Name::parse(name).unwrap()
    }

    #[test]
    fn a_name_says_what_the_rows_do_not() {
        let name = named("results/benchmark-infer-amp-nhwc-pt210-cu121-rtx3090.csv");
        assert_eq!((name.mode, name.precision, name.layout), (Mode::Inference, Precision::Amp, "nhwc"));
        assert_eq!((name.platform, name.device.as_str()), (Platform::Cuda, "NVIDIA GeForce RTX 3090"));
        assert_eq!(name.environment.engine_version.as_deref(), Some("2.1.0"));
        assert_eq!(name.environment.framework_version.as_deref(), Some("PyTorch 2.1.0, CUDA 12.1"));
        assert!(!name.compiled);
        let name = named("benchmark-infer-amp-nchw-pt291-cu128-4090-dynamo.csv");
        assert_eq!(name.device, "NVIDIA GeForce RTX 4090");
        assert_eq!(name.environment.engine_version.as_deref(), Some("2.9.1"));
        assert!(name.compiled);
        let name = named("benchmark-train-amp-nchw-pt112-cu113-rtx3090.csv");
        assert_eq!(name.mode, Mode::Training);
        assert_eq!(name.environment.framework_version.as_deref(), Some("PyTorch 1.12, CUDA 11.3"));
        let name = named("benchmark-infer-fp32-nchw-pt221-cpu-i9_10940x-dynamo.csv");
        assert_eq!((name.platform, name.device.as_str()), (Platform::Cpu, "Intel Core i9-10940X"));
        assert_eq!(name.environment.framework_version.as_deref(), Some("PyTorch 2.2.1"));
        assert_eq!(name.precision, Precision::Fp32);
    }

    #[test]
    fn a_name_that_does_not_say_it_is_refused() {
        for (name, missing) in [
            ("results.csv", "infer"),
            ("benchmark-infer.csv", "precision"),
            ("benchmark-infer-amp.csv", "layout"),
            ("benchmark-infer-amp-nchw.csv", "version"),
            ("benchmark-infer-amp-nchw-pt240-cu124.csv", "device"),
            ("benchmark-infer-amp-nchw-pt240-rtx4090.csv", "device"),
            ("benchmark-infer-amp-nchw-pt240-cpu.csv", "device"),
            ("benchmark-infer-amp-nchw-pt240-cu124-ünknown.csv", "device"),
        ] {
            let error = Name::parse(name).err().unwrap();
            assert!(error.to_string().contains(missing), "{name}: {error}");
            assert!(error.hint().unwrap().contains(EXAMPLE));
        }
    }

    #[test]
    fn families_are_named_where_the_name_has_one() {
        for (model, expected) in [
            ("resnet50", Some("resnet")),
            ("vit_base_patch16_224", Some("vit")),
            ("tf_efficientnetv2_s", Some("efficientnet")),
            ("mobilenetv3_large_150d", Some("mobilenet")),
            ("eva02_enormous_patch14_clip_224", Some("eva")),
            ("res2net50_26w_4s", None),
            ("cs3darknet_l", None),
            ("3d", None),
        ] {
            assert_eq!(family(model).as_deref(), expected, "{model}");
        }
    }
}
