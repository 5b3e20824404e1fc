//! How long explanations of `cifar_cnn` take on burn-flex, method by method.
//!
//! `cargo bench --bench explanations -- [METHOD]... [--batch-sizes 1,16] [--threads N] [--seconds S] [--json]` prints the
//! median and the quartiles of the time for one explanation of a batch, divided by the batch; all methods that have a
//! Captum twin if none is named.
//!
//! `--serve` is for `benches/captum.py`: every line of standard input is a request, every line of standard output its
//! answer, both JSON.

#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use benchdb::domain::HostData;
use benchdb::explain::{Prepared, Subject, Target, explain, registry};
use benchdb::zoo::activation::Activation;
use benchdb::zoo::hooks::{Hooks, NoHooks, Weighted};
use benchdb::zoo::{Network, WeightSource, find, host_inputs};
use burn::nn::LinearConfig;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2dConfig;
use burn::nn::pool::MaxPool2dConfig;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Those that Captum has, too.
const METHODS: [&str; 13] = [
    "saliency",
    "input_x_gradient",
    "integrated_gradients",
    "gradient_shap",
    "deeplift",
    "deeplift_shap",
    "grad_cam",
    "guided_grad_cam",
    "guided_backpropagation",
    "deconvolution",
    "occlusion",
    "lrp",
    "smooth_grad",
];

/// Iterations that are not counted, and the fewest that are.
const WARMUP: usize = 2;
const FEWEST: usize = 5;

type Failure = Box<dyn Error>;

/// One request of `--serve`.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    /// Times for the method.
    Time {
        method: String,
        #[serde(default)]
        parameters: Map<String, Value>,
        batch: usize,
        inner_batch: Option<usize>,
        seconds: f64,
    },
    /// The attribution itself.
    Values {
        method: String,
        #[serde(default)]
        parameters: Map<String, Value>,
        batch: usize,
    },
    /// Times for each operation, forward and backward.
    Operations { batch: usize, seconds: f64 },
    /// What the look whether anybody watches costs.
    Hooks,
}

struct Bench {
    network: Box<dyn Network>,
    device: Device,
}

impl Bench {
    fn new() -> Result<Self, Failure> {
        let device = Device::flex();
        let entry = find("cifar_cnn").ok_or("no cifar_cnn")?;
        Ok(Self { network: entry.build_loaded(&WeightSource::Seeded(0), &device)?, device })
    }

    /// Samples with targets: class 3, 7, 1, 5, 9 and again.
    fn prepared(&self, batch: usize, inner_batch: Option<usize>) -> Result<Prepared, Failure> {
        let entry = find("cifar_cnn").ok_or("no cifar_cnn")?;
        let targets: Vec<Target> = (0..batch).map(|sample| Target::class((3 + 4 * sample) % 10)).collect();
        let inputs = host_inputs(&entry.inputs(), batch, 0);
        let mut subject = Subject::new(self.network.as_ref(), &inputs)?.with_targets(&targets)?;
        if let Some(rows) = inner_batch {
            subject = subject.with_inner_batch(rows);
        }
        Ok(subject.prepared())
    }

    fn time(&self, method: &str, parameters: &Map<String, Value>, size: Size) -> Result<Vec<f64>, Failure> {
        let method = registry::find(method)?.build(parameters)?;
        let prepared = self.prepared(size.batch, size.inner_batch)?;
        timed(size.seconds, || {
            explain(method.as_ref(), &prepared.clone().of(self.network.as_ref()))?;
            Ok(self.device.sync()?)
        })
    }

    fn answer(&self, request: &Request) -> Result<Value, Failure> {
        match request {
            Request::Time { method, parameters, batch, inner_batch, seconds } => {
                let size = Size { batch: *batch, inner_batch: *inner_batch, seconds: *seconds };
                Ok(json!({ "ms": self.time(method, parameters, size)? }))
            }
            Request::Values { method, parameters, batch } => {
                let method = registry::find(method)?.build(parameters)?;
                let found = explain(method.as_ref(), &self.prepared(*batch, None)?.of(self.network.as_ref()))?;
                let found = found.to_host()?;
                let HostData::F32(values) = found.data else { return Err("an attribution of integers".into()) };
                Ok(json!({ "shape": found.shape, "values": values }))
            }
            Request::Operations { batch, seconds } => operations(&self.device, *batch, *seconds),
            Request::Hooks => Ok(hooks(&self.device)),
        }
    }
}

#[derive(Clone, Copy)]
struct Size {
    batch: usize,
    inner_batch: Option<usize>,
    seconds: f64,
}

/// Milliseconds of every iteration, for so many seconds.
fn timed(seconds: f64, mut work: impl FnMut() -> Result<(), Failure>) -> Result<Vec<f64>, Failure> {
    for _ in 0..WARMUP {
        work()?;
    }
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut times = Vec::new();
    while times.len() < FEWEST || Instant::now() < end {
        let started = Instant::now();
        work()?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Medians in milliseconds of an operation forward, and of it forward and backward from ones to its input.
fn operation<const D: usize, const E: usize>(
    device: &Device,
    shape: [usize; D],
    seconds: f64,
    forward: impl Fn(Tensor<D>) -> Tensor<E>,
) -> Result<[f64; 2], Failure> {
    let x = Tensor::random(shape, Distribution::Normal(0.0, 1.0), device);
    let alone = timed(seconds, || {
        drop(forward(x.clone()));
        Ok(())
    })?;
    let both = timed(seconds, || {
        let leaf = x.clone().autodiff().require_grad();
        let mut gradients = forward(leaf.clone()).backward();
        leaf.grad_remove(&mut gradients).ok_or("no gradient")?;
        Ok(())
    })?;
    Ok([quantile(alone, 0.5), quantile(both, 0.5)])
}

/// The operations of the network with their shapes, as Burn has them and as explanations run them: `{name: {"burn":
/// [forward, forward and backward], "own": [..]}}`.
fn operations(device: &Device, batch: usize, seconds: f64) -> Result<Value, Failure> {
    let mut found = Map::new();
    let convolutions = [(3, 32, 32), (32, 32, 32), (32, 64, 16), (64, 64, 16), (64, 128, 8), (128, 128, 8)];
    for (number, (narrow, wide, size)) in convolutions.into_iter().enumerate() {
        let layer = Conv2dConfig::new([narrow, wide], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        let (layer, shape) = (layer.init(device), [batch, narrow, size, size]);
        let burn = operation(device, shape, seconds, |x| layer.forward(x))?;
        let own = operation(device, shape, seconds, |x| Weighted::Conv2d(&layer).forward(x))?;
        found.insert(format!("conv{}", number + 1), json!({ "burn": burn, "own": own }));
    }
    for (number, (narrow, wide)) in [(2048, 256), (256, 10)].into_iter().enumerate() {
        let layer = LinearConfig::new(narrow, wide).init(device);
        let times = operation(device, [batch, narrow], seconds, |x| layer.forward(x))?;
        found.insert(format!("fc{}", number + 1), json!({ "burn": times, "own": times }));
    }
    for (channels, size) in [(32, 32), (64, 16), (128, 8)] {
        let shape = [batch, channels, size, size];
        let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
        let burn = operation(device, shape, seconds, |x| pool.forward(x))?;
        let own = operation(device, shape, seconds, |x| NoHooks.max_pool(&pool, x))?;
        found.insert(format!("pool{size}"), json!({ "burn": burn, "own": own }));
        let shape = [batch, channels * size * size];
        let burn = operation(device, shape, seconds, relu::<2>)?;
        let own = operation(device, shape, seconds, |x| NoHooks.activation(Activation::Relu, x))?;
        found.insert(format!("relu{size}"), json!({ "burn": burn, "own": own }));
    }
    Ok(Value::Object(found))
}

/// Nanoseconds of a function of one number with and without the look whether anybody watches the thread, which nobody does:
/// medians of alternating groups of calls.
fn hooks(device: &Device) -> Value {
    const GROUPS: usize = 400;
    const CALLS: usize = 500;
    let x = Tensor::<2>::ones([1, 1], device);
    let group = |function: fn(Tensor<2>) -> Tensor<2>| {
        let started = Instant::now();
        for _ in 0..CALLS {
            black_box(function(x.clone()));
        }
        started.elapsed().as_secs_f64() * 1e9 / CALLS as f64
    };
    let (with, without): (Vec<f64>, Vec<f64>) =
        (0..GROUPS).map(|_| (group(benchdb::zoo::activation::relu::<2>), group(relu::<2>))).unzip();
    let differences = with.iter().zip(&without).map(|(with, without)| with - without).collect();
    json!({ "with": quantile(with, 0.5), "without": quantile(without, 0.5), "difference": quantile(differences, 0.5) })
}

fn quantile(mut times: Vec<f64>, at: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * at).round() as usize]
}

struct Options {
    methods: Vec<String>,
    batches: Vec<usize>,
    inner_batch: Option<usize>,
    seconds: f64,
    json: bool,
    serve: bool,
}

fn options() -> Result<Options, Failure> {
    let mut options = Options {
        methods: Vec::new(),
        batches: vec![1, 16],
        inner_batch: None,
        seconds: 1.0,
        json: false,
        serve: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--bench" => {} // cargo says so
            "--json" => options.json = true,
            "--serve" => options.serve = true,
            "--threads" => {
                // Burn's kernels and its matrix products work on rayon's own pool.
                rayon::ThreadPoolBuilder::new().num_threads(value()?.parse()?).build_global()?;
            }
            "--seconds" => options.seconds = value()?.parse()?,
            "--inner-batch" => options.inner_batch = Some(value()?.parse()?),
            "--batch-sizes" => options.batches = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?,
            name if !name.starts_with('-') => options.methods.push(registry::find(name)?.name.to_owned()),
            other => return Err(format!("there is no option {other}").into()),
        }
    }
    if options.methods.is_empty() {
        options.methods = METHODS.map(str::to_owned).into();
    }
    Ok(options)
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let bench = Bench::new()?;
    if options.serve {
        for line in std::io::stdin().lock().lines() {
            let answer = serde_json::from_str(&line?).map_err(Failure::from).and_then(|request| bench.answer(&request));
            println!("{}", answer.unwrap_or_else(|error| json!({ "error": error.to_string() })));
            std::io::stdout().flush()?;
        }
        return Ok(());
    }
    for method in &options.methods {
        for &batch in &options.batches {
            let size = Size { batch, inner_batch: options.inner_batch, seconds: options.seconds };
            let times: Vec<f64> =
                bench.time(method, &Map::new(), size)?.into_iter().map(|time| time / batch as f64).collect();
            let [low, median, high] = [0.25, 0.5, 0.75].map(|at| quantile(times.clone(), at));
            if options.json {
                println!("{}", json!({ "method": method, "batch": batch, "ms_per_explanation": times }));
            } else {
                println!("{method:24} batch {batch:3}: {median:9.3} ms ({low:.3} to {high:.3}), {} runs", times.len());
            }
        }
    }
    Ok(())
}
