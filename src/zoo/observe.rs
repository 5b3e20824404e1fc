//! Observation: what whoever profiles sees of a network while it runs.
//!
//! The networks tell here which module and which operator runs: a layer with weights, or a function such as a
//! rectifier. What is computed is what inference and training compute; nothing is replaced, unlike by
//! [hooks](super::hooks). Nobody observes as a rule: then a network pays for one look at a variable of the thread at
//! each of these places.
//!
//! The backward pass has no modules. In training every operator therefore stands between two
//! boundaries (`boundary.rs`) that tell when the backward pass comes to its output and when it leaves its input.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::store::bridge;
use burn::tensor::{Bool, DType, Device, Int, Tensor};

pub use super::boundary::Side;
use super::boundary::{Ladder, boundary};

/// Whoever wants to know what runs. It is called on the thread that runs the network.
pub trait Observer: Send + Sync + std::fmt::Debug {
    /// A part begins; those that begin before it ends belong to it.
    fn begin(&self, part: Part);

    /// The part that began last, and did not end yet, ends. Operators say what they worked.
    fn end(&self, work: Option<Work>);

    /// The backward pass is at one side of an operator, by the operator's number in this forward pass; it has come to the
    /// output before the operator's gradients are computed, and to the input after that. An operator of several inputs
    /// leaves each of them, and one whose inputs need no gradient leaves none.
    ///
    /// `wait` waits until the device has done what it was given.
    fn backward(&self, operator: usize, side: Side, wait: &dyn Fn());
}

/// What begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A module, known by its parameters.
    Module(Vec<ParamId>),
    /// Something that computes by itself.
    Operator {
        /// Its number in this pass, from 0.
        number: usize,
        /// What it is.
        operator: Operator,
    },
}

/// Something that computes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// A layer, known by its weight.
    Layer(ParamId),
    /// A function without weights, by its name.
    Function(&'static str),
}

/// What an operator has to do at least.
///
/// Multiply-adds are those of [`cost`](super::cost): of convolutions, linear layers and the two products of attention.
/// Backward they count twice, once for the gradient of the input and once for that of the weights; once where the input
/// needs none. Functions and normalisations have none: what they compute is little beside what they read.
///
/// Bytes are those that no implementation can avoid: everything that is read is read once, and everything that is
/// written is written once. Forward these are the inputs, the weights and the output. Backward they are the gradient of the
/// output, the inputs and the weights that are read, and the gradients of both that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Forward.
    pub multiply_adds: u64,
    /// Forward, in bytes.
    pub bytes: u64,
    /// Backward; 0 without gradients.
    pub backward_multiply_adds: u64,
    /// Backward, in bytes; 0 without gradients.
    pub backward_bytes: u64,
}

/// What is known of an operator before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Multiply-adds for each element that it writes.
    pub depth: usize,
    /// Elements that it reads beside its inputs: its weights.
    pub weights: usize,
    /// Bytes of weights that are kept as integers and are none of those elements.
    pub integer_bytes: usize,
}

/// What is known once it ran.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Elements of all inputs.
    pub inputs: usize,
    /// Elements of the output.
    pub outputs: usize,
    /// Bytes of an element.
    pub element: usize,
    /// Whether gradients go on to an input.
    pub is_tracked: bool,
}

impl Shape {
    /// The same with this weight, one of its weights, as it is kept.
    pub fn of_weight<const D: usize>(self, weight: &Tensor<D>) -> Self {
        let (dtype, shape) = (weight.dtype(), weight.shape());
        if !matches!(dtype, DType::QFloat(_)) {
            return self;
        }
        let elements = shape.num_elements();
        Self { weights: self.weights.saturating_sub(elements), integer_bytes: bridge::data_len(dtype, &shape), ..self }
    }

    /// The work of an operator whose gradients are as large as what they belong to.
    pub fn work(self, sizes: Sizes) -> Work {
        let Sizes { inputs, outputs, element, is_tracked } = sizes;
        let multiply_adds = (outputs * self.depth) as u64;
        let gradients = if is_tracked { 2 } else { 1 };
        let backward =
            if is_tracked { outputs + 2 * inputs + 2 * self.weights } else { outputs + inputs + self.weights };
        Work {
            multiply_adds,
            bytes: ((inputs + self.weights + outputs) * element + self.integer_bytes) as u64,
            backward_multiply_adds: gradients * multiply_adds,
            // Nothing learns integers: they have no gradient.
            backward_bytes: (backward * element + self.integer_bytes) as u64,
        }
    }
}

/// Who observes a thread.
#[derive(Debug)]
struct Watch {
    observer: Arc<dyn Observer>,
    /// What keeps the operators of a backward pass apart.
    ladder: Ladder,
    /// Operators that began in this pass.
    operators: usize,
}

thread_local! {
    static IS_OBSERVED: Cell<bool> = const { Cell::new(false) };
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Observes networks of one device.
#[derive(Debug)]
pub struct Observation {
    /// `None` while it observes.
    watch: Option<Watch>,
}

/// Ends an observation, also where a network panics.
struct End<'o>(&'o mut Observation);

impl Drop for End<'_> {
    fn drop(&mut self) {
        IS_OBSERVED.set(false);
        self.0.watch = WATCH.take();
    }
}

impl Observation {
    /// For networks on this device.
    pub fn new(observer: Arc<dyn Observer>, device: &Device) -> Self {
        Self { watch: Some(Watch { observer, ladder: Ladder::new(device), operators: 0 }) }
    }

    /// Runs `pass` - a forward pass, or a whole training step - under observation, on this thread. Numbers of operators
    /// begin anew.
    pub fn observe<R>(&mut self, pass: impl FnOnce() -> R) -> R {
        if let Some(watch) = &mut self.watch {
            watch.operators = 0;
        }
        WATCH.set(self.watch.take());
        IS_OBSERVED.set(true);
        let _end = End(self);
        pass()
    }
}

fn with_watch<R>(act: impl FnOnce(&mut Watch) -> R) -> Option<R> {
    WATCH.with_borrow_mut(|watch| watch.as_mut().map(act))
}

fn observer() -> Option<Arc<dyn Observer>> {
    with_watch(|watch| watch.observer.clone())
}

/// Collects the parameters of a module, in order.
struct Parameters(Vec<ParamId>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        self.0.push(parameter.id);
    }

    fn visit_int<const D: usize>(&mut self, parameter: &Param<Tensor<D, Int>>) {
        self.0.push(parameter.id);
    }

    fn visit_bool<const D: usize>(&mut self, parameter: &Param<Tensor<D, Bool>>) {
        self.0.push(parameter.id);
    }
}

/// What a module does, with all that it calls.
pub(super) fn module<M: Module, R>(module: &M, body: impl FnOnce() -> R) -> R {
    if !IS_OBSERVED.get() {
        return body();
    }
    let Some(observer) = observer() else { return body() };
    let mut parameters = Parameters(Vec::new());
    module.visit(&mut parameters);
    observer.begin(Part::Module(parameters.0));
    let result = body();
    observer.end(None);
    result
}

/// A layer whose parameters do not tell which they are.
pub(super) fn layer<M: Module>(module: &M) -> Operator {
    let mut parameters = Parameters(Vec::new());
    if IS_OBSERVED.get() {
        module.visit(&mut parameters);
    }
    // Without anybody who observes, nobody asks for its name.
    parameters.0.first().map_or(Operator::Function("layer"), |first| Operator::Layer(*first))
}

/// What an operator of one input does, with the weights and the depth of its products.
pub(super) fn operator<const D: usize, const E: usize>(
    operator: Operator,
    shape: impl FnOnce() -> Shape,
    x: Tensor<D>,
    body: impl FnOnce(Tensor<D>) -> Tensor<E>,
) -> Tensor<E> {
    operator_of(operator, |sizes| shape().work(sizes), [x], |[x]| body(x))
}

/// What a function of one input does, which multiplies nothing.
pub(super) fn function<const D: usize, const E: usize>(
    name: &'static str,
    x: Tensor<D>,
    body: impl FnOnce(Tensor<D>) -> Tensor<E>,
) -> Tensor<E> {
    operator(Operator::Function(name), Shape::default, x, body)
}

/// What an operator of any number of inputs does.
pub(super) fn operator_of<const N: usize, const D: usize, const E: usize>(
    operator: Operator,
    work: impl FnOnce(Sizes) -> Work,
    inputs: [Tensor<D>; N],
    body: impl FnOnce([Tensor<D>; N]) -> Tensor<E>,
) -> Tensor<E> {
    if !IS_OBSERVED.get() {
        return body(inputs);
    }
    let started = with_watch(|watch| {
        let number = watch.operators;
        watch.operators += 1;
        (number, watch.observer.clone())
    });
    let Some((number, observer)) = started else { return body(inputs) };
    let is_tracked = inputs.iter().any(Tensor::is_tracked);
    let elements = inputs.iter().map(|input| input.shape().num_elements()).sum();
    // Ids are no part of the graph: what reads nothing else is computed backward last, wherever it stands.
    let rung = with_watch(|watch| watch.ladder.rung(if N == 0 { 0 } else { number })).flatten();
    let at = |side| (observer.clone(), number, side);
    let inputs = match &rung {
        Some(rung) => inputs.map(|input| boundary(input, rung.clone(), at(Side::Input))),
        None => inputs,
    };
    observer.begin(Part::Operator { number, operator });
    let output = body(inputs);
    let sizes =
        Sizes { inputs: elements, outputs: output.shape().num_elements(), element: output.dtype().size(), is_tracked };
    observer.end(Some(work(sizes)));
    match rung {
        Some(rung) => boundary(output, rung, at(Side::Output)),
        None => output,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use burn::tensor::quantization::{QuantValue, ScaleDtype};

    use super::*;
    use crate::domain::{HostData, TrainingOptimizer};
    use crate::zoo::{Batch, Targets, WeightSource, find, host_inputs, host_targets};

    /// What it was told.
    #[derive(Debug, Default)]
    struct Told {
        begun: Mutex<Vec<Part>>,
        work: Mutex<Vec<Work>>,
        open: Mutex<usize>,
        backward: Mutex<Vec<(usize, Side)>>,
    }

    impl Observer for Told {
        fn begin(&self, part: Part) {
            self.begun.lock().unwrap().push(part);
            *self.open.lock().unwrap() += 1;
        }

        fn end(&self, work: Option<Work>) {
            self.work.lock().unwrap().extend(work);
            *self.open.lock().unwrap() -= 1;
        }

        fn backward(&self, operator: usize, side: Side, wait: &dyn Fn()) {
            wait();
            self.backward.lock().unwrap().push((operator, side));
        }
    }

    impl Told {
        fn operators(&self) -> Vec<Operator> {
            let begun = self.begun.lock().unwrap();
            let operators = begun.iter().filter_map(|part| match part {
                Part::Operator { operator, .. } => Some(*operator),
                Part::Module(_) => None,
            });
            operators.collect()
        }
    }

    /// The inputs of a model, smaller where it takes that.
    fn small_inputs(model: &str) -> Vec<crate::domain::InputSpec> {
        let mut inputs = find(model).unwrap().inputs();
        match model {
            "resnet18" | "mobilenet_v2" | "detr-resnet-50" => inputs[0].shape = vec![3, 64, 64],
            "gpt2" | "smollm2-135m" | "distilbert-base-uncased" => inputs[0].shape = vec![8],
            _ => {}
        }
        inputs
    }

    #[test]
    fn operators_do_all_the_work_of_a_network_and_change_nothing() {
        let device = Device::flex();
        for model in ["cifar_cnn", "resnet18", "mobilenet_v2", "detr-resnet-50", "vit_b_16", "t5-small", "whisper-tiny"]
            .into_iter()
            .chain(["gpt2", "smollm2-135m", "distilbert-base-uncased", "clip-vit-base-patch32"])
        {
            let entry = find(model).unwrap();
            let network = entry.build_loaded(&WeightSource::Seeded(0), &device).unwrap();
            let inputs = small_inputs(model);
            let batch = Batch::from_host(&host_inputs(&inputs, 2, 0), &device).unwrap();
            let told = Arc::new(Told::default());
            let observed = Observation::new(told.clone(), &device).observe(|| network.forward(&batch)).unwrap();
            for (one, other) in network.forward(&batch).unwrap().iter().zip(&observed) {
                assert_eq!(one.to_host().unwrap(), other.to_host().unwrap(), "{model}");
            }
            let found: u64 = told.work.lock().unwrap().iter().map(|work| work.multiply_adds).sum();
            // Similarities are of every image with every text.
            let pairs = if model.starts_with("clip") { 2 * 512 } else { 0 };
            assert_eq!(found, 2 * entry.cost(&inputs).multiply_adds + pairs, "{model}");
            assert_eq!(*told.open.lock().unwrap(), 0, "{model}");
            assert!(told.backward.lock().unwrap().is_empty(), "{model}");
        }
    }

    fn train(model: &str, observation: Option<&mut Observation>, device: &Device) -> (f32, Vec<f32>) {
        let entry = find(model).unwrap();
        let inputs = small_inputs(model);
        let network = entry.build_loaded(&WeightSource::Seeded(0), device).unwrap();
        let targets = host_targets(entry.task, &inputs, entry.labels, 2, 0);
        let targets = Targets::from_host(entry.task, &targets, device).unwrap();
        let batch = Batch::from_host(&host_inputs(&inputs, 2, 0), device).unwrap();
        let mut trainer = network.into_trainer(TrainingOptimizer::Sgd);
        let mut step = || {
            trainer.forward(&batch).unwrap();
            trainer.loss(&batch, &targets).unwrap();
            trainer.backward().unwrap();
            trainer.step().unwrap();
        };
        match observation {
            Some(observation) => observation.observe(step),
            None => step(),
        }
        let loss = trainer.last_loss().unwrap();
        let weights = trainer.into_network().unwrap().weights().unwrap();
        let first = weights.iter().flat_map(|tensor| match &tensor.data {
            HostData::F32(values) => values[..values.len().min(50)].to_vec(),
            HostData::I64(_) => Vec::new(),
        });
        (loss, first.collect())
    }

    #[test]
    fn a_training_step_is_the_same_and_goes_back_operator_by_operator() {
        let device = Device::flex().autodiff();
        for model in ["cifar_cnn", "resnet18", "distilbert-base-uncased"] {
            let told = Arc::new(Told::default());
            let mut observation = Observation::new(told.clone(), &device);
            let (loss, weights) = train(model, Some(&mut observation), &device);
            let (plain_loss, plain_weights) = train(model, None, &device);
            assert_eq!(loss, plain_loss, "{model}");
            assert_eq!(weights, plain_weights, "{model}");

            let operators = told.operators();
            let backward = told.backward.lock().unwrap();
            let come: Vec<usize> =
                backward.iter().filter(|(_, side)| *side == Side::Output).map(|(number, _)| *number).collect();
            assert_eq!(come.len(), operators.len(), "{model}");
            // What reads ids alone is computed last, and is first.
            assert!(come.is_sorted_by(|one, other| one > other), "{model}: {come:?}");
            let mut inside = None;
            for (number, side) in backward.iter() {
                match side {
                    Side::Output => inside = Some(*number),
                    Side::Input => assert_eq!(inside, Some(*number), "{model}"),
                }
            }
        }
    }

    #[test]
    fn an_observation_ends_with_its_pass_and_with_a_panic() {
        let mut observation = Observation::new(Arc::new(Told::default()), &Device::flex());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            observation.observe(|| {
                assert!(IS_OBSERVED.get());
                panic!("stop")
            });
        }));
        assert!(panicked.is_err());
        assert!(!IS_OBSERVED.get() && observation.watch.is_some());
    }

    // A product of [4, 3] and [3, 5] with a bias: 20 elements of 3 multiply-adds; 12 + 15 + 5 + 20 elements.
    #[test]
    fn the_work_of_a_product_is_counted_by_hand() {
        let shape = Shape { depth: 3, weights: 15 + 5, integer_bytes: 0 };
        let sizes = Sizes { inputs: 12, outputs: 20, element: 4, is_tracked: true };
        let work = shape.work(sizes);
        assert_eq!((work.multiply_adds, work.bytes), (60, 4 * 52));
        // Read: 20 gradients, 12 inputs, 20 weights. Written: 12 and 20 gradients.
        assert_eq!((work.backward_multiply_adds, work.backward_bytes), (120, 4 * 84));
        let first = shape.work(Sizes { is_tracked: false, ..sizes });
        assert_eq!((first.backward_multiply_adds, first.backward_bytes), (60, 4 * 52));
    }

    #[test]
    fn weights_that_are_kept_as_integers_are_a_byte_each() {
        let device = Device::flex();
        let scheme = device.settings().quantization.scheme.with_value(QuantValue::Q8S).per_tensor(ScaleDtype::F32);
        let weight = Tensor::<2>::ones([64, 32], &device);
        let shape = Shape { depth: 64, weights: 64 * 32 + 32, integer_bytes: 0 };
        assert_eq!(shape.of_weight(&weight), shape);
        let kept = shape.of_weight(&weight.quantize_dynamic(&scheme));
        // The bias stays as it is; there are a few bytes of scale.
        assert_eq!((kept.depth, kept.weights), (64, 32));
        assert!((64 * 32..64 * 32 + 16).contains(&kept.integer_bytes), "{kept:?}");
        let sizes = Sizes { inputs: 64, outputs: 32, element: 4, is_tracked: false };
        assert_eq!(kept.work(sizes).bytes, 4 * (64 + 32 + 32) + kept.integer_bytes as u64);
        assert_eq!(kept.work(sizes).multiply_adds, 64 * 32);
    }
}
