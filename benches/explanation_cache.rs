//! The explanation cache: what a hit and a new entry take for an attribution of 3 x 224 x 224. A hit is to take less than
//! 0.5 ms, and less than a fiftieth of integrated gradients; the digest of the input comes once for all methods.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::hint::black_box;

use benchdb::cache::{AttributionCache, CacheKey, CachedAttribution, InputDigest, Work};
use benchdb::domain::{HostData, HostTensor};
use benchdb::explain::{Subject, explain, registry};
use benchdb::zoo::{WeightSource, find, host_inputs};
use burn::tensor::Device;
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};

const SHAPE: [usize; 3] = [3, 224, 224];

fn tensor(name: &str, shape: Vec<usize>) -> HostTensor {
    let values = (0..shape.iter().product()).map(|place: usize| (place as f32 * 0.37).sin()).collect();
    HostTensor { name: name.to_owned(), shape, data: HostData::F32(values) }
}

fn key(input: &InputDigest, number: u64) -> CacheKey {
    let parameters = json!({"baseline": "zeros", "steps": number, "quadrature": "gauss_legendre"});
    let work = Work {
        model: "resnet50",
        weights: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        engine: "burn-flex fp32",
        version: "0.1.0",
        method: "integrated_gradients",
        parameters: &parameters,
        target: &Value::Null,
        baselines: "",
    };
    CacheKey::new(input, &work)
}

fn cache(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let cache = AttributionCache::open(folder.path(), 300_000_000).unwrap();
    let input = [tensor("image", [&[1][..], &SHAPE].concat())];
    let attribution = CachedAttribution {
        values: tensor("attribution", SHAPE.to_vec()),
        facts: json!({"target": {"class": 207, "position": null}, "passes": [50.0, 50.0]}),
    };
    let digest = InputDigest::of(&input);
    cache.put(&key(&digest, 0), &attribution).unwrap();
    criterion.bench_function("explanation_cache/digest_of_the_input", |bencher| {
        bencher.iter(|| InputDigest::of(black_box(&input)));
    });
    criterion.bench_function("explanation_cache/hit", |bencher| {
        bencher.iter(|| cache.get(&key(&digest, 0)).unwrap());
    });
    criterion.bench_function("explanation_cache/digest_and_hit", |bencher| {
        bencher.iter(|| cache.get(&key(&InputDigest::of(black_box(&input)), 0)).unwrap());
    });
    criterion.bench_function("explanation_cache/miss", |bencher| {
        bencher.iter(|| cache.get(&key(&digest, u64::MAX)));
    });
    // What a hit of cifar_cnn saves: integrated gradients with their 50 steps.
    let entry = find("cifar_cnn").unwrap();
    let network = entry.build_loaded(&WeightSource::Seeded(0), &Device::flex()).unwrap();
    let small = host_inputs(&entry.inputs(), 1, 0);
    let method = registry::find("integrated_gradients").unwrap().default_method().unwrap();
    let compute = || {
        let subject = Subject::new(network.as_ref(), &small).unwrap();
        explain(method.as_ref(), &subject).unwrap().to_host().unwrap()
    };
    let computed = CachedAttribution { values: compute(), facts: json!({}) };
    cache.put(&key(&InputDigest::of(&small), 0), &computed).unwrap();
    criterion.bench_function("explanation_cache/cifar_cnn/digest_and_hit", |bencher| {
        bencher.iter(|| cache.get(&key(&InputDigest::of(black_box(&small)), 0)).unwrap());
    });
    criterion.bench_function("explanation_cache/cifar_cnn/integrated_gradients", |bencher| bencher.iter(compute));
    // New entries all the time, which drive out old ones.
    let mut number = 0;
    criterion.bench_function("explanation_cache/new_entry", |bencher| {
        bencher.iter(|| {
            number += 1;
            cache.put(&key(&digest, number), &attribution).unwrap();
        });
    });
}

criterion_group!(benches, cache);
criterion_main!(benches);
