//! Forecasts, on a fixed subset of timm's public results: how good they are by each protocol, that nothing depends on the
//! number of threads, and that thin or wrong data give no confident number. benches/prediction.rs is the whole of it.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use benchdb::domain::configuration::sha256_hex;
use benchdb::domain::{Device, DeviceKind, Example, Platform, Subject, Tier};
use benchdb::exchange::{ColumnMap, ExchangeError, Head, importer_for};
use benchdb::predict::evaluate::{Protocol, Score, score, try_protocol};
use benchdb::predict::{Answerer, DeviceTable, FitOptions, Forecaster, PredictError, suggest_anchors};
use benchdb::store::imports::ImportSource;
use benchdb::store::list::Selection;
use benchdb::store::{Access, Store, StoreError};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

/// Some of the models of timm's inference files, through the importer and a database; empty where they are not there.
static EXAMPLES: LazyLock<Vec<Example>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/timm");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: {} is not there", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().contains("benchmark-infer-"));
    files.sort();
    let home = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(&home.path().join("timm.sqlite"), Access::Create).unwrap();
    for file in files {
        let (path, bytes) = (file.to_string_lossy().into_owned(), std::fs::read(&file).unwrap());
        let importer = importer_for::<Failure>(&Head::new(&path, &bytes), &ColumnMap::default()).unwrap();
        let source = ImportSource { path: path.clone(), format: "timm-csv".into(), content_sha256: sha256_hex(&bytes) };
        store
            .import_runs::<Failure>(&source, false, |sink| {
                importer.read(&path, &mut bytes.as_slice(), &mut |item| sink(&item)).map(drop)
            })
            .unwrap();
    }
    let mut examples = store.list_examples(&Selection::default()).unwrap();
    assert_eq!(examples.len(), 19_005);
    examples.retain(|example| sha256_hex(example.subject.model.as_bytes()).as_bytes()[0].is_multiple_of(6));
    examples
});

fn options() -> FitOptions {
    let mut options = FitOptions::default();
    options.time.boosting.rounds = 80;
    options.time.boosting.learning_rate = 0.15;
    options
}

fn learned(protocol: Protocol, folds: usize) -> Option<(Score, Vec<Score>)> {
    if EXAMPLES.is_empty() {
        return None;
    }
    let trials = try_protocol(&EXAMPLES, protocol, &DeviceTable::built_in(), &options(), folds).unwrap();
    let mut scores = score(&EXAMPLES, protocol, &trials);
    eprintln!("{:#?}", scores[0]);
    let learned = scores.remove(0);
    assert_eq!(learned.answerer, Answerer::Learned);
    Some((learned, scores))
}

fn beats(learned: &Score, plain: &[Score]) {
    for other in plain {
        assert!(learned.median_error_percent < other.median_error_percent, "{other:?}");
    }
}

#[test]
fn a_model_that_was_measured_elsewhere_is_forecast_well() {
    let Some((learned, plain)) = learned(Protocol::Pair, 1) else { return };
    assert!(learned.median_error_percent < 7.0, "{learned:?}");
    assert!(learned.within_20_percent > 0.86, "{learned:?}");
    assert!((0.86..0.95).contains(&learned.coverage_90.unwrap()), "{learned:?}");
    assert!(learned.regret_percent.unwrap() < 2.0, "{learned:?}");
    beats(&learned, &plain);
}

#[test]
fn a_new_family_is_forecast_within_its_interval() {
    let Some((learned, plain)) = learned(Protocol::Family, 1) else { return };
    assert!(learned.median_error_percent < 13.0, "{learned:?}");
    assert!((0.85..0.97).contains(&learned.coverage_90.unwrap()), "{learned:?}");
    beats(&learned, &plain);
}

#[test]
fn a_new_card_is_forecast_from_its_data_sheet() {
    let Some((learned, _)) = learned(Protocol::Device { anchors: 0 }, 1) else { return };
    assert!(learned.median_error_percent < 13.0, "{learned:?}");
    // Cards and processors, each hidden in turn; nearly all rows of processors lie within their wide intervals.
    assert!((0.86..0.96).contains(&learned.coverage_90.unwrap()), "{learned:?}");
    assert!(learned.worst_device_coverage_90.unwrap() > 0.8, "{learned:?}");
}

#[test]
fn few_rows_of_a_new_card_say_how_far_its_forecasts_reach() {
    let Some((learned, _)) = learned(Protocol::Device { anchors: 10 }, 1) else { return };
    assert!(learned.median_error_percent < 11.0, "{learned:?}");
    assert!((0.86..0.96).contains(&learned.coverage_90.unwrap()), "{learned:?}");
}

#[test]
fn a_small_database_is_enough_for_a_rough_answer() {
    let Some((learned, _)) = learned(Protocol::Own { rows: 50 }, 4) else { return };
    assert!(learned.median_error_percent < 19.5, "{learned:?}");
    assert!((0.87..0.96).contains(&learned.coverage_90.unwrap()), "{learned:?}");
}

/// A few hundred rows, for what is about behaviour and not about accuracy.
fn few() -> Option<Vec<&'static Example>> {
    (!EXAMPLES.is_empty()).then(|| EXAMPLES.iter().step_by(10).collect())
}

#[test]
fn the_number_of_threads_changes_nothing_and_json_carries_all() {
    let Some(few) = few() else { return };
    let fit = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Forecaster::fit(&few, &DeviceTable::built_in(), &options()).unwrap().to_json().unwrap())
    };
    let json = fit(1);
    assert_eq!(sha256_hex(json.as_bytes()), sha256_hex(fit(3).as_bytes()));
    let again = Forecaster::from_json(&json).unwrap();
    let first = Forecaster::fit(&few, &DeviceTable::built_in(), &options()).unwrap();
    for example in few.iter().step_by(9) {
        let (one, other) =
            (first.forecast(&example.subject, false).unwrap(), again.forecast(&example.subject, false).unwrap());
        assert_eq!(one, other);
        let Subject { batch_size, .. } = example.subject;
        assert!((one.latency_ms.median * one.throughput.median / 1e3 / f64::from(batch_size) - 1.0).abs() < 1e-9);
        let (half, ninety) = (one.throughput.half, one.throughput.ninety);
        assert!(ninety.0 <= half.0 && half.0 <= one.throughput.median && half.1 <= ninety.1);
        assert!(one.throughput.median <= half.1 && ninety.0 > 0.0 && ninety.1.is_finite());
    }
    assert!(matches!(Forecaster::from_json("{}"), Err(PredictError::NotAModel { .. })));
    assert!(matches!(Forecaster::from_json(r#"{"format":99}"#), Err(PredictError::OtherVersion { found: 99, .. })));
}

#[test]
fn thin_or_constant_data_are_refused() {
    let Some(few) = few() else { return };
    let fit = |examples: &[&Example]| Forecaster::fit(examples, &DeviceTable::built_in(), &options());
    assert!(matches!(fit(&few[..1]), Err(PredictError::TooFew { found: 1, .. })));
    assert!(matches!(fit(&[]), Err(PredictError::TooFew { found: 0, .. })));
    let constant: Vec<Example> =
        few[..40].iter().map(|example| Example { throughput: Some(5.0), ..(*example).clone() }).collect();
    assert!(matches!(fit(&constant.iter().collect::<Vec<_>>()), Err(PredictError::Constant { rows: 40 })));
    let absurd: Vec<Example> =
        few[..40].iter().map(|example| Example { throughput: Some(1e300), ..(*example).clone() }).collect();
    assert!(fit(&absurd.iter().collect::<Vec<_>>()).is_err());
}

#[test]
fn noise_gives_a_wide_interval() {
    let Some(few) = few() else { return };
    let noise: Vec<Example> = few
        .iter()
        .take(120)
        .enumerate()
        .map(|(at, example)| Example {
            throughput: Some(10_f64.powf((at * 7919 % 101) as f64 / 20.0)),
            ..(*example).clone()
        })
        .collect();
    let forecaster = Forecaster::fit(&noise.iter().collect::<Vec<_>>(), &DeviceTable::built_in(), &options()).unwrap();
    let forecast = forecaster.forecast(&few[150].subject, false).unwrap();
    assert!(forecast.throughput.ninety.1 / forecast.throughput.ninety.0 > 50.0, "{:?}", forecast.throughput);
}

#[test]
fn what_nothing_is_known_of_is_refused() {
    let Some(few) = few() else { return };
    let cards: Vec<&Example> =
        few.iter().copied().filter(|example| example.subject.device.kind == DeviceKind::Gpu).collect();
    let forecaster = Forecaster::fit(&cards, &DeviceTable::built_in(), &options()).unwrap();
    let known = &cards[0].subject;
    let on = |kind: DeviceKind, name: &str, platform: Platform| Subject {
        device: Device { kind, name: name.into(), ..known.device.clone() },
        platform,
        ..known.clone()
    };
    let processor = on(DeviceKind::Cpu, "Intel Core i9-10940X", Platform::Cpu);
    assert!(matches!(forecaster.forecast(&processor, false), Err(PredictError::NewKind { .. })));
    let far = forecaster.forecast(&processor, true).unwrap();
    assert_eq!(far.tier, Tier::D);
    assert!(far.throughput.ninety.1 / far.throughput.ninety.0 > 100.0);
    let unknown = on(DeviceKind::Gpu, "Nonesuch 1", Platform::Cuda);
    assert!(matches!(forecaster.forecast(&unknown, false), Err(PredictError::UnknownDevice { .. })));
    let card = on(DeviceKind::Gpu, "NVIDIA GeForce RTX 3080", Platform::Cuda);
    let forecast = forecaster.forecast(&card, false).unwrap();
    assert_eq!(forecast.tier, Tier::C);
    for (absurd, work) in [(0, Some(1e9)), (8, Some(f64::NAN)), (8, Some(-1.0)), (8, Some(1e40))] {
        let asked = Subject { model: "new".into(), batch_size: absurd, multiply_adds: work, ..known.clone() };
        assert!(
            matches!(forecaster.forecast(&asked, false), Err(PredictError::BadQuestion { .. })),
            "{absurd} {work:?}"
        );
    }
}

#[test]
fn anchors_are_different_and_leave_less_and_less() {
    let Some(few) = few() else { return };
    let forecaster = Forecaster::fit(&few, &DeviceTable::built_in(), &options()).unwrap();
    let candidates: Vec<Subject> = few.iter().map(|example| example.subject.clone()).collect();
    let anchors = suggest_anchors(forecaster.time(), &candidates, &[], 8);
    assert_eq!(anchors.len(), 8);
    assert!(anchors.windows(2).all(|pair| pair[1].variance_left <= pair[0].variance_left));
    assert!(anchors[7].variance_left < 0.8);
    let distinct: std::collections::BTreeSet<usize> = anchors.iter().map(|anchor| anchor.candidate).collect();
    assert_eq!(distinct.len(), 8);
}
