//! The codecs of exports: whatever a run holds comes back, and no file makes a reader panic.

use benchdb::domain::metric::{Better, standard_metrics};
use benchdb::domain::run::{ExtraMetric, ModelRecord, ModelSource, OperatorTime, TelemetrySeries};
use benchdb::domain::{
    Campaign, Configuration, Device, DeviceKind, Environment, ImportItem, Measurement, MetricSet, Mode, Platform,
    Precision, RunRecord, RunStatus, SampleSeries, StopReason, Validity,
};
use benchdb::exchange::{ExchangeError, Exporter, Head, Importer, OwnCsv, OwnJson};
use proptest::prelude::*;
use serde_json::Value;

fn text() -> impl Strategy<Value = String> {
    // Neither empty nor with blanks at the ends: CSV has no way to tell those.
    r#"[a-zA-Zäß"',;\\{}:-][ -~äß\n"',;]{0,12}[a-zA-Zß"',;}]"#
}

fn uuid() -> impl Strategy<Value = String> {
    any::<u128>().prop_map(|number| {
        let hex = format!("{number:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    })
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("JSON has finite numbers alone", |number| number.is_finite())
}

prop_compose! {
    fn configuration()(
        model in text(), variant in prop_oneof![Just(String::new()), text()], name in text(), engine in text(),
        batch_size in 1_u32.., threads in any::<u32>(), software in any::<bool>(), parameter in text(),
        value in finite(), input_shape in prop_oneof![Just(String::new()), Just("3x224x224".to_owned())],
    ) -> Configuration {
        Configuration {
            model, variant, platform: Platform::Cuda, engine, precision: Precision::Int8w, mode: Mode::Training,
            device: Device { kind: DeviceKind::Gpu, vendor: String::new(), name, compute_units: None,
                memory_bytes: None, software },
            batch_size, input_shape, threads,
            parameters: [("a".to_owned(), Value::from(parameter)), ("b".to_owned(), Value::from(value))].into(),
        }
    }
}

prop_compose! {
    /// A run that fits into a row of CSV.
    fn flat_run()(
        uuid in uuid(), campaign in proptest::option::of((uuid(), proptest::option::of(text()))),
        configuration in configuration(), host in proptest::option::of(text()), commit in proptest::option::of(text()),
        ok in any::<bool>(), error in text(), iterations in any::<u32>(),
        values in proptest::collection::vec(proptest::option::of(finite()), standard_metrics().len()),
    ) -> RunRecord {
        let started_at = "2026-11-21T08:00:00.123Z".to_owned();
        let status = if ok { RunStatus::Ok } else { RunStatus::OutOfMemory };
        let mut metrics = MetricSet::default();
        for (metric, value) in standard_metrics().iter().zip(values) {
            // Whatever is a share is one.
            let share = metric.unit == "1";
            metrics.set_optional(&metric.name, value.map(|value| if share { value.abs() % 1.0 } else { value.abs() }));
        }
        RunRecord {
            uuid,
            campaign: campaign.map(|(uuid, label)| Campaign {
                uuid, started_at: started_at.clone(), command_line: String::new(), label, seed: None,
            }),
            model: ModelRecord {
                name: configuration.model.clone(), family: None, category: None, task: None,
                source: ModelSource::Imported, parameter_count: None, multiply_adds: None, activation_count: None,
            },
            configuration,
            environment: Environment { host, git_commit: commit, ..Environment::default() },
            artifact: None,
            weight_seed: None,
            repetition: 1,
            started_at: Some(started_at),
            duration_s: None,
            measurement: Measurement {
                validity: if ok { Validity::TooFewSamples } else { Validity::NotMeasured },
                stop_reason: None,
                iterations: iterations.into(),
                error: (!ok).then_some(error),
                metrics,
                ..Measurement::without_numbers(status, String::new(), None)
            },
        }
    }
}

prop_compose! {
    /// A run with all that only JSON can hold.
    fn whole_run()(
        run in flat_run(), nanoseconds in proptest::collection::vec(any::<u64>(), 0..20),
        readings in proptest::collection::vec((finite(), finite()), 0..20), sensor in text(), value in finite(),
        seed in 0..=i64::MAX as u64, hint in text(),
    ) -> RunRecord {
        let mut run = run;
        run.weight_seed = Some(seed);
        run.duration_s = Some(value.abs());
        let measurement = &mut run.measurement;
        measurement.hint = Some(hint);
        measurement.stop_reason = Some(StopReason::MaxTime);
        measurement.samples = vec![SampleSeries { phase: "iteration".into(), nanoseconds }];
        let (offsets_ms, values) = readings.into_iter().unzip();
        measurement.telemetry = vec![TelemetrySeries { sensor: sensor.clone(), unit: "W".into(), offsets_ms, values }];
        measurement.extra_metrics =
            vec![ExtraMetric { name: sensor.clone(), unit: String::new(), better: Better::Higher, value }];
        measurement.operator_times =
            vec![OperatorTime { path: sensor, calls: 3, total_nanoseconds: seed, own_nanoseconds: 1 }];
        run
    }
}

fn there_and_back<X: Exporter + Importer<ExchangeError>>(mut format: X, runs: &[RunRecord]) -> Vec<ImportItem> {
    let mut bytes = Vec::new();
    format.begin(&mut bytes).unwrap();
    for (index, run) in runs.iter().enumerate() {
        format.write(&mut bytes, index as i64, run).unwrap();
    }
    format.end(&mut bytes).unwrap();
    assert!(format.recognises(&Head::new("test", &bytes)));
    let mut items = Vec::new();
    let notes = format.read("test", &mut bytes.as_slice(), &mut |item| {
        items.push(item);
        Ok(())
    });
    assert!(notes.unwrap().is_empty());
    items
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_brings_every_run_back(runs in proptest::collection::vec(whole_run(), 0..4)) {
        let expected: Vec<_> = runs.iter().cloned().map(|run| ImportItem::Run(Box::new(run))).collect();
        prop_assert_eq!(there_and_back(OwnJson::default(), &runs), expected);
    }

    #[test]
    fn csv_brings_every_row_back(runs in proptest::collection::vec(flat_run(), 0..4)) {
        let expected: Vec<_> = runs.iter().cloned().map(|run| ImportItem::Run(Box::new(run))).collect();
        prop_assert_eq!(there_and_back(OwnCsv, &runs), expected);
    }

    #[test]
    fn no_file_makes_an_importer_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), json in any::<bool>()) {
        let opening: &[u8] = if json {
            b"{\"schema\":\"benchdb/1\",\"kind\":\"runs\",\"runs\":["
        } else {
            b"run_uuid,model,platform,device,device_kind,engine,precision,mode,batch_size,status\n"
        };
        let bytes = [opening, &*bytes].concat();
        let mut sink = |_: ImportItem| Ok::<(), ExchangeError>(());
        let content = &mut bytes.as_slice();
        // Whatever it answers.
        let _ = if json { OwnJson::default().read("test", content, &mut sink) } else { OwnCsv.read("test", content, &mut sink) };
    }
}
