//! Lists that are found through indexes are those that a look at every run finds.

use super::super::samples::{broken, new_store, of_model, on_gpu, run, with};
use super::*;
use crate::domain::{Cell, Mode, Platform, Precision, RunStatus};
use crate::store::list::Detail;
use crate::store::query::QueryLimits;

/// A series: its configuration, its runs, their first metric.
type Numbers = (Option<i64>, Vec<Option<i64>>, Vec<f64>);

/// Runs that differ in everything that a selection can mean.
fn filled() -> (tempfile::TempDir, Store) {
    let (folder, mut store) = new_store();
    let mut runs = Vec::new();
    for number in 1..=40_u32 {
        let mut one = run(number);
        if number.is_multiple_of(3) {
            one = of_model(one, "gpt2");
        }
        if number.is_multiple_of(4) {
            one = on_gpu(one);
        }
        if number.is_multiple_of(5) {
            one = broken(one, RunStatus::Failed);
        }
        if number.is_multiple_of(7) {
            one.environment.host = Some("elsewhere".into());
            one.environment.git_commit = Some("c0ffee".into());
        }
        if number.is_multiple_of(11) {
            one.configuration.batch_size = 8;
            one.configuration.variant = "pruned".into();
            one.configuration.parameters.insert("layout".into(), "nchw".into());
        }
        if number.is_multiple_of(13) {
            // Some imports do not know when.
            one.started_at = None;
        }
        runs.push(one);
    }
    store.insert_runs(runs.iter()).unwrap();
    let ids: Vec<i64> = vec![2, 9, 33];
    store.save_baseline("kept", None, &ids, false).unwrap();
    (folder, store)
}

fn selections(store: &Store) -> Vec<Selection> {
    let all = Selection::default;
    let uuid = store.list_runs(&all(), Detail::Row).unwrap()[4].1.uuid.clone();
    vec![
        all(),
        Selection { runs: vec!["7".into(), uuid, "nothing".into(), "07".into(), "7x".into()], ..all() },
        Selection { models: vec!["gpt2".into()], ..all() },
        Selection { models: vec!["gpt2".into()], platforms: vec![Platform::Cuda], ..all() },
        Selection { models: vec!["nobody".into()], ..all() },
        Selection { device: Some("GRAPH".into()), ..all() },
        Selection { variant: Some("pruned".into()), ..all() },
        Selection { engines: vec!["burn-cuda".into()], precisions: vec![Precision::Fp32], ..all() },
        Selection { modes: vec![Mode::Inference], batch_sizes: vec![8], ..all() },
        Selection { parameters: [("layout".to_owned(), "nchw".into())].into(), ..all() },
        Selection { parameters: [("layout".to_owned(), serde_json::Value::Null)].into(), ..all() },
        Selection { statuses: vec![RunStatus::Failed], ..all() },
        Selection { host: Some("elsewhere".into()), ..all() },
        Selection { git_commit: Some("c0f".into()), models: vec!["gpt2".into()], ..all() },
        Selection { since: Some("2026-11-21T08:00:20.000Z".into()), ..all() },
        Selection { until: Some("2026-11-21T08:00:20.000Z".into()), host: Some("elsewhere".into()), ..all() },
        Selection { framework: Some("0.22".into()), ..all() },
        Selection { baseline: Some("kept".into()), ..all() },
        Selection { imports: vec![1], ..all() },
        Selection { label: Some("nothing".into()), ..all() },
        Selection { campaign: Some("nothing".into()), ..all() },
        Selection { configurations: vec![1, 2], ..all() },
    ]
}

fn ids(page: &RunPage) -> Vec<i64> {
    let id = |row: &Vec<Cell>| match row[0] {
        Cell::Integer(id) => id,
        _ => panic!("{row:?}"),
    };
    page.table.rows.iter().map(id).collect()
}

#[test]
fn a_page_finds_what_a_selection_means() {
    let (_folder, store) = filled();
    for selection in selections(&store) {
        let mut meant: Vec<i64> =
            store.list_runs(&selection, Detail::Row).unwrap().into_iter().map(|(id, _)| id).collect();
        meant.reverse();
        assert_eq!(store.find_runs(&selection, 1000).unwrap(), meant, "{selection:?}");
        let page = store.page_of_runs(&selection, Paging::Newest, 1000).unwrap();
        assert_eq!(ids(&page), meant, "{selection:?}");
        assert!(page.total.is_none_or(|total| total == meant.len() as u64), "{selection:?}: {:?}", page.total);
        assert!(!page.has_newer && !page.has_older);
    }
}

#[test]
fn few_runs_of_a_selection_are_the_same_series() {
    let (_folder, store) = filled();
    let metrics: Vec<_> = crate::domain::metric::standard_metrics().iter().collect();
    for mut selection in selections(&store) {
        let found = store.read_series(&selection, metrics.clone()).unwrap();
        // A selection that means the same and is looked for among all runs.
        let all = store.list_runs(&Selection::default(), Detail::Row).unwrap();
        let meant: std::collections::BTreeSet<i64> =
            store.list_runs(&selection, Detail::Row).unwrap().into_iter().map(|(id, _)| id).collect();
        selection = Selection { statuses: vec![], ..Selection::default() };
        let mut plain = store.read_series(&selection, metrics.clone()).unwrap();
        assert_eq!(plain.run_count(), all.len());
        plain.retain_runs(|run| run.run_id.is_some_and(|id| meant.contains(&id)));
        let numbers = |set: &crate::domain::SeriesSet| -> Vec<Numbers> {
            let one = |series: &crate::domain::Series| {
                let runs = series.runs.iter().map(|run| run.run_id).collect();
                (series.configuration_id, runs, series.values(0))
            };
            set.series.iter().map(one).collect()
        };
        assert_eq!(numbers(&found), numbers(&plain));
    }
}

#[test]
fn pages_follow_each_other_in_both_directions() {
    let (_folder, store) = filled();
    let all = Selection::default();
    let (mut seen, mut paging) = (Vec::new(), Paging::Newest);
    loop {
        let page = store.page_of_runs(&all, paging, 7).unwrap();
        seen.extend(ids(&page));
        assert_eq!(page.has_newer, paging != Paging::Newest);
        if !page.has_older {
            break;
        }
        paging = Paging::Before(seen[seen.len() - 1]);
    }
    assert_eq!(seen, (1..=40).rev().collect::<Vec<i64>>());
    let back = store.page_of_runs(&all, Paging::After(5), 7).unwrap();
    assert_eq!((ids(&back), back.has_newer, back.has_older), ((6..=12).rev().collect(), true, true));
    let end = store.page_of_runs(&all, Paging::Before(1), 7).unwrap();
    assert_eq!((ids(&end).len(), end.has_newer, end.has_older), (0, true, false));
    for nowhere in [Paging::Before(i64::MIN), Paging::After(i64::MAX)] {
        assert!(ids(&store.page_of_runs(&all, nowhere, 7).unwrap()).is_empty());
    }
}

#[test]
fn a_run_is_found_by_its_id_and_its_uuid_with_all_it_has() {
    let (_folder, store) = filled();
    let (id, record) = store.list_runs(&Selection::default(), Detail::Whole).unwrap().swap_remove(8);
    let found = store.find_run(&id.to_string()).unwrap().unwrap();
    assert_eq!((found.id, &found.record), (id, &record));
    assert_eq!(store.find_run(&record.uuid).unwrap().unwrap(), found);
    for nothing in ["", "0", "-1", "09", "9 ", "x", "99999999999999999999"] {
        assert_eq!(store.find_run(nothing).unwrap(), None, "{nothing}");
    }
}

#[test]
fn configurations_are_found_by_words() {
    let (_folder, store) = filled();
    let found = |store: &Store, words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (table, count) = store.page_of_configurations(&words, 0, 100).unwrap();
        assert_eq!(table.rows.len() as u64, count);
        count
    };
    let all = found(&store, &[]);
    assert_eq!(all, store.summary().unwrap().configurations);
    let gpt2 = found(&store, &["gpt2"]);
    assert!(gpt2 > 0 && gpt2 < all);
    assert!(found(&store, &["gpt2", "graphics"]) < gpt2);
    assert_eq!(found(&store, &["gpt2", "nowhere"]), 0);
    assert_eq!(found(&store, &["%"]), 0, "a word is no pattern");
    assert!(found(&store, &["batch=8", "pruned", "nchw"]) > 0);
    let (second, count) = store.page_of_configurations(&[], 2, 2).unwrap();
    assert_eq!((second.rows.len().min(2), count), (2.min(all as usize - 2), all));
    assert!(store.page_of_configurations(&[], u64::MAX, 2).unwrap().0.rows.is_empty());
    // A configuration is there as long as it has runs.
    let runs: Vec<i64> =
        store.find_runs(&Selection { models: vec!["gpt2".into()], ..Selection::default() }, 1000).unwrap();
    assert!(!runs.is_empty());
    store
        .connection
        .execute("DELETE FROM run WHERE id IN (SELECT value FROM json_each(?1))", [json_ids(&runs)])
        .unwrap();
    assert_eq!(found(&store, &["gpt2"]), 0);
}

#[test]
fn words_to_choose_from_are_those_of_the_record() {
    let (_folder, store) = filled();
    let choices = store.list_choices().unwrap();
    assert_eq!(choices["model"], ["gpt2", "resnet18"]);
    assert_eq!(choices["batch-sizes"], ["1", "8"]);
    assert_eq!(choices["baseline"], ["kept"]);
    assert_eq!(choices["variant"], ["pruned"]);
    assert!(choices["git-commit"].contains(&"c0ffee".to_owned()));
    assert!(!choices.contains_key("label"));
}

#[test]
fn a_question_that_takes_too_long_is_given_up() {
    let (_folder, mut store) = new_store();
    store.limit_time(Duration::ZERO).unwrap();
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n";
    // A query that may take longer by itself does not lift the limit, neither for itself nor for what follows.
    let limits = QueryLimits { time: Duration::from_secs(3600), rows: None };
    assert!(store.query(endless, &[], limits).unwrap().cut_by_time);
    let error = store.table(endless, &[]).unwrap_err();
    assert!(matches!(error, StoreError::OutOfTime { .. }), "{error:?}");
    assert!(error.hint().is_some());
}

#[test]
fn a_change_by_somebody_else_is_seen() {
    let (folder, mut store) = new_store();
    let watch = crate::store::samples::open(&folder.path().join("test.sqlite"));
    let before = watch.data_version().unwrap();
    assert_eq!(watch.data_version().unwrap(), before);
    store.insert_runs([with(run(1), &[("latency_p50_ms", 1.0)])].iter()).unwrap();
    assert_ne!(watch.data_version().unwrap(), before);
}
