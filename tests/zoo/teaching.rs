//! Fine-tuning and distillation on a small set that is made here: ten colours under noise.
#![cfg(feature = "flex")]

use std::ops::ControlFlow;

use benchdb::domain::LabelledBatch;
use benchdb::domain::model::{HostData, HostTensor};
use benchdb::optimize::{LabelledImages, OptimizeError, Progress, Schedule, Teaching, train};
use benchdb::zoo::cifar_cnn::CifarCnnConfig;
use benchdb::zoo::error::Cause;
use benchdb::zoo::network::boxed;
use benchdb::zoo::vit::VitConfig;
use benchdb::zoo::{Batch, Network, WeightSource, ZooError, find, rule};
use burn::tensor::Device;

use crate::support::f32_values;

/// Pictures whose class is their colour.
struct Colours {
    count: usize,
    classes: usize,
    /// What was asked for.
    asked: Vec<Vec<usize>>,
}

impl Colours {
    fn new(count: usize) -> Self {
        Self { count, classes: 10, asked: Vec::new() }
    }

    fn class(&self, index: usize) -> usize {
        index % self.classes
    }

    fn pictures(&self, indices: &[usize]) -> HostTensor {
        let mut values = Vec::new();
        for &index in indices {
            let noise = rule::floats(&format!("picture {index}"), 3 * 32 * 32, 0);
            let angle = self.class(index) as f32 / self.classes as f32 * std::f32::consts::TAU;
            values.extend(noise.iter().enumerate().map(|(place, noise)| {
                let third = (place / (32 * 32)) as f32 * std::f32::consts::TAU / 3.0;
                (angle + third).cos() + 0.2 * noise
            }));
        }
        HostTensor { name: "image".into(), shape: vec![indices.len(), 3, 32, 32], data: HostData::F32(values) }
    }
}

impl LabelledImages for Colours {
    fn len(&self) -> usize {
        self.count
    }

    fn batch(&mut self, indices: &[usize]) -> Result<LabelledBatch, Cause> {
        self.asked.push(indices.to_vec());
        Ok(LabelledBatch {
            image: self.pictures(indices),
            labels: indices.iter().map(|index| self.class(*index)).collect(),
        })
    }
}

fn schedule(epochs: usize) -> Schedule {
    Schedule { classes: 10, epochs, batch_size: 20, learning_rate: 1e-3, seed: 3 }
}

fn small(classes: usize, device: &Device) -> Box<dyn Network> {
    let mut network = boxed(CifarCnnConfig { channels: [8, 8, 8], hidden: 16, classes }.init(device), device);
    network.load(&WeightSource::Seeded(0)).unwrap();
    network
}

/// The most likely class of every picture.
fn choices(network: &dyn Network, data: &Colours) -> Vec<usize> {
    let indices: Vec<usize> = (0..data.count).collect();
    let batch = Batch::from_host(&[data.pictures(&indices)], &network.device()).unwrap();
    let logits = network.forward(&batch).unwrap()[0].to_host().unwrap();
    f32_values(&logits).chunks(10).map(|row| (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()).collect()
}

fn agreement(a: &[usize], b: &[usize]) -> f64 {
    a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / a.len() as f64
}

/// Trains, and gives the losses too.
fn trained(
    student: Box<dyn Network>,
    teaching: Option<Teaching<'_>>,
    data: &mut Colours,
    schedule: &Schedule,
) -> Result<(Box<dyn Network>, Vec<f32>), OptimizeError> {
    let mut losses = Vec::new();
    let network = train(student, teaching, data, schedule, &mut |progress: Progress| {
        losses.push(progress.loss);
        ControlFlow::Continue(())
    })?;
    Ok((network, losses))
}

#[test]
fn a_student_learns_from_labels_and_another_from_it() {
    let (plain, autodiff) = (Device::flex(), Device::flex().autodiff());
    let mut data = Colours::new(40);
    let (teacher, losses) = trained(small(10, &autodiff), None, &mut data, &schedule(30)).unwrap();
    eprintln!("teacher: {losses:?}");
    assert!(losses[losses.len() - 1] < 0.7 * losses[0], "{losses:?}");
    let taught = choices(teacher.as_ref(), &data);

    let entry = find("cifar_cnn").unwrap();
    let fresh = |device: &Device| entry.build_loaded(&WeightSource::Seeded(1), device).unwrap();
    let before = agreement(&choices(fresh(&plain).as_ref(), &data), &taught);
    let teaching = Teaching { teacher: teacher.as_ref(), temperature: 4.0, alpha: 0.9 };
    let (student, losses) = trained(fresh(&autodiff), Some(teaching), &mut data, &schedule(8)).unwrap();
    let after = agreement(&choices(student.as_ref(), &data), &taught);
    eprintln!("student: agreement {before} to {after}, {losses:?}");
    assert!(losses[losses.len() - 1] < 0.7 * losses[0], "{losses:?}");
    assert!(after >= before + 0.2, "agreement {before} to {after}");
    // The teacher learns nothing by teaching.
    assert_eq!(choices(teacher.as_ref(), &data), taught);
}

#[test]
fn epochs_see_whole_batches_in_an_order_that_the_seed_decides() {
    let device = Device::flex().autodiff();
    let order = |seed| {
        let mut data = Colours::new(7);
        let schedule = Schedule { batch_size: 3, seed, ..schedule(2) };
        trained(small(10, &device), None, &mut data, &schedule).unwrap();
        data.asked
    };
    let first = order(1);
    assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 3]);
    for epoch in first.chunks(2) {
        let mut seen = epoch.concat();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 6);
    }
    assert_ne!(first[..2], first[2..]);
    assert_eq!(order(1), first);
    assert_ne!(order(2), first);

    let mut few = Colours::new(2);
    trained(small(10, &device), None, &mut few, &schedule(1)).unwrap();
    assert_eq!(few.asked.len(), 1);
}

fn refused(
    student: Box<dyn Network>,
    teaching: Option<Teaching<'_>>,
    mut data: Colours,
    schedule: &Schedule,
) -> OptimizeError {
    trained(student, teaching, &mut data, schedule).err().unwrap()
}

#[test]
fn teachers_that_do_not_fit_are_refused() {
    let (plain, autodiff) = (Device::flex(), Device::flex().autodiff());
    let by = |teacher: &dyn Network| {
        let teaching = Teaching { teacher, temperature: 2.0, alpha: 0.5 };
        refused(small(10, &autodiff), Some(teaching), Colours::new(4), &schedule(1))
    };
    let error = by(small(3, &plain).as_ref());
    assert_eq!(error.to_string(), "the teacher tells 3 classes apart, the student 10");
    assert!(matches!(by(small(10, &autodiff).as_ref()), OptimizeError::TeacherGradients));
    let config = VitConfig { image: 8, patch: 4, width: 8, heads: 2, layers: 1, hidden: 8, classes: 10 };
    let mut vit = boxed(config.init(&plain), &plain);
    vit.load(&WeightSource::Seeded(0)).unwrap();
    let error = by(vit.as_ref());
    assert!(matches!(error, OptimizeError::TeacherInput { .. }), "{error}");
    assert!(error.hint().unwrap().contains("size of the student"));

    let teacher = small(10, &plain);
    for (temperature, alpha) in [(0.0, 0.5), (-1.0, 0.5), (f64::NAN, 0.5), (2.0, 1.5), (2.0, f64::NAN)] {
        let teaching = Teaching { teacher: teacher.as_ref(), temperature, alpha };
        let error = refused(small(10, &autodiff), Some(teaching), Colours::new(4), &schedule(1));
        assert!(matches!(error, OptimizeError::Option { .. }), "{error}");
    }
}

#[test]
fn data_and_schedules_that_do_not_fit_are_refused() {
    let device = Device::flex().autodiff();
    let student = || small(10, &device);
    assert!(matches!(refused(student(), None, Colours::new(0), &schedule(1)), OptimizeError::NoData));
    let many = Colours { classes: 12, ..Colours::new(12) };
    let error = refused(student(), None, many, &schedule(1));
    assert!(error.to_string().ends_with("and the student tells 10 classes apart"), "{error}");
    let error = refused(student(), None, Colours::new(4), &schedule(0));
    assert_eq!(error.to_string(), "the number of epochs 0 is not at least 1");
    let wild = Schedule { learning_rate: f64::INFINITY, ..schedule(1) };
    assert!(matches!(refused(student(), None, Colours::new(4), &wild), OptimizeError::Option { .. }));
    let plain = small(10, &Device::flex());
    let error = refused(plain, None, Colours::new(4), &schedule(1));
    assert!(matches!(error, OptimizeError::Network(ZooError::NoGradients)), "{error}");
}

#[test]
fn whoever_follows_the_progress_can_stop_it() {
    let mut seen = Vec::new();
    let mut data = Colours::new(40);
    let stopped = train(small(10, &Device::flex().autodiff()), None, &mut data, &schedule(2), &mut |progress| {
        seen.push((progress.epoch, progress.step, progress.steps, progress.epochs));
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped.err().unwrap(), OptimizeError::Stopped));
    assert_eq!(seen, [(1, 1, 2, 2), (1, 2, 2, 2), (2, 1, 2, 2)]);
}
