//! What the speed features bring, as a table: `cargo test --test explain speed -- --ignored --nocapture` on a quiet machine.
#![cfg(feature = "flex")]

use std::time::Instant;

use benchdb::domain::model::HostTensor;
use benchdb::explain::{Crew, Method, Prepared, Target, Work, optimize_for_inference};
use benchdb::zoo::{WeightSource, find, host_inputs};
use burn::tensor::Device;
use serde_json::{Value, json};

use crate::support::method;

const ROUNDS: usize = 5;

struct Way {
    name: &'static str,
    crew: Crew,
    parts: Vec<Prepared>,
}

impl Way {
    fn new(name: &'static str, mut crew: Crew, inputs: &[HostTensor], inner_batch: usize) -> Self {
        let targets = [Target::class(3)];
        let work = Work { inputs, targets: &targets, baselines: None, inner_batch };
        let parts = crew.prepare(&work).unwrap();
        let parts = crew.resolve(&parts).unwrap();
        Self { name, crew, parts }
    }

    fn seconds(&mut self, method: &dyn Method) -> f64 {
        let start = Instant::now();
        self.crew.explain(method, &self.parts).unwrap().to_host().unwrap();
        start.elapsed().as_secs_f64()
    }
}

/// The ways in turns, so that a machine that slows down slows them all; the median of each.
fn compare(title: &str, name: &str, parameters: Value, samples: usize, ways: &mut [Way]) {
    let method = method(name, parameters);
    let mut times = vec![Vec::new(); ways.len()];
    for round in 0..=ROUNDS {
        for (way, times) in ways.iter_mut().zip(&mut times) {
            let seconds = way.seconds(method.as_ref());
            if round > 0 {
                times.push(seconds);
            }
        }
    }
    for (way, times) in ways.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let (median, spread) = (times[ROUNDS / 2], times[ROUNDS - 1] - times[0]);
        let rate = samples as f64 / median;
        eprintln!("{title} {name}: {}: {rate:.2} explanations/s, spread {:.0} %", way.name, 100.0 * spread / median);
    }
}

#[test]
#[ignore = "a measurement"]
fn speed_of_workers_and_constants() {
    for (model, samples) in [("cifar_cnn", 16), ("resnet18", 4)] {
        let entry = find(model).unwrap();
        let inputs = host_inputs(&entry.inputs(), samples, 0);
        let plain = || entry.build_loaded(&WeightSource::Seeded(0), &Device::flex()).unwrap();
        let tracked = || entry.build_loaded(&WeightSource::Seeded(0), &Device::flex().autodiff()).unwrap();
        let mut ways = [
            Way::new("tracked parameters", Crew::alone(tracked()), &inputs, 16),
            Way::new("optimized", Crew::alone(optimize_for_inference(tracked()).0), &inputs, 16),
            Way::new("one worker, own threads", Crew::new(plain(), 1, 2).unwrap(), &inputs, 16),
            Way::new("two workers", Crew::new(plain(), 2, 2).unwrap(), &inputs, 16),
            Way::new("two workers, inner batch 8", Crew::new(plain(), 2, 2).unwrap(), &inputs, 8),
            Way::new("inner batch 4", Crew::alone(plain()), &inputs, 4),
        ];
        for (name, parameters) in [
            ("saliency", json!({})),
            ("integrated_gradients", json!({ "steps": if samples > 4 { 50 } else { 4 } })),
            ("occlusion", json!({})),
            ("lrp", json!({})),
        ] {
            compare(model, name, parameters, samples, &mut ways);
        }
    }
}
