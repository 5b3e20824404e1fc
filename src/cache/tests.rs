//! The cache as its users see it: alone, with others, on a disk that is full, among damaged files.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{AttributionCache, CacheError, CacheKey, CacheStatistics, CachedAttribution, InputDigest, Work, folder};
use crate::domain::{HostData, HostTensor};

/// A key like no other of another number.
pub(super) fn key(number: u64) -> CacheKey {
    let target = json!(number);
    let work = Work {
        model: "cifar_cnn",
        weights: "",
        engine: "",
        version: "",
        method: "saliency",
        parameters: &json!({}),
        target: &target,
        baselines: "",
    };
    CacheKey::new(&InputDigest::of(&[]), &work)
}

/// An attribution of this shape that nobody mistakes for one of another number.
pub(super) fn attribution(shape: &[usize], number: u64) -> CachedAttribution {
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|place| (place as f32 - 3.5) * (number as f32 + 0.25)).collect();
    CachedAttribution {
        values: HostTensor { name: "attribution".into(), shape: shape.into(), data: HostData::F32(values) },
        facts: json!({"target": {"class": number}, "seconds": 0.125}),
    }
}

/// Small ones: they take one block each.
fn small(number: u64) -> CachedAttribution {
    attribution(&[1, 3, 4, 4], number)
}

fn open(folder: &Path, blocks: u64) -> AttributionCache {
    AttributionCache::open(folder, blocks * folder::charged(1)).unwrap()
}

/// Which of the entries 0..count are there; does not count as a use.
fn present(folder: &Path, count: u64) -> Vec<u64> {
    (0..count).filter(|number| folder.join(folder::file_name(&key(*number))).exists()).collect()
}

fn names(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_was_kept_is_found_by_the_next_process_too() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("not/yet/there");
    let cache = open(&folder, 10);
    assert_eq!(cache.get(&key(1)), None);
    cache.put(&key(1), &small(1)).unwrap();
    assert_eq!(cache.get(&key(1)), Some(small(1)));
    assert_eq!(cache.get(&key(2)), None);
    drop(cache);
    let cache = AttributionCache::open_existing(&folder, 8192).unwrap();
    assert_eq!(cache.get(&key(1)), Some(small(1)));
    let expected =
        CacheStatistics { hits: 2, misses: 2, evictions: 0, dropped: 0, entries: 1, bytes: 4096, limit: 8192 };
    let statistics = cache.statistics().unwrap();
    assert_eq!(statistics, expected);
    assert_eq!((statistics.hit_rate(), statistics.utilisation()), (Some(0.5), 0.5));
    assert!(std::fs::read_to_string(folder.join("CACHEDIR.TAG")).unwrap().starts_with("Signature: 8a477f597d28d172"));
}

#[test]
fn the_least_recently_used_goes_first() {
    let temporary = tempfile::tempdir().unwrap();
    let cache = open(temporary.path(), 4);
    for number in 0..4 {
        cache.put(&key(number), &small(number)).unwrap();
    }
    // By use: 1, 3, 0, 2.
    for number in [0, 2] {
        assert!(cache.get(&key(number)).is_some());
    }
    cache.put(&key(4), &small(4)).unwrap();
    // Room is made for a little more than one: a tenth of the limit stays free.
    assert_eq!(present(temporary.path(), 5), [0, 2, 4]);
    cache.put(&key(5), &small(5)).unwrap();
    assert_eq!(present(temporary.path(), 6), [0, 2, 4, 5]);
    cache.put(&key(6), &small(6)).unwrap();
    assert_eq!(present(temporary.path(), 7), [4, 5, 6]);
    let statistics = cache.statistics().unwrap();
    assert_eq!((statistics.evictions, statistics.entries), (4, 3));
    assert!(statistics.utilisation() <= 1.0);
}

#[test]
fn an_entry_that_is_written_again_counts_once() {
    let temporary = tempfile::tempdir().unwrap();
    let cache = open(temporary.path(), 3);
    for _ in 0..5 {
        cache.put(&key(1), &small(1)).unwrap();
    }
    cache.put(&key(2), &small(2)).unwrap();
    cache.put(&key(1), &small(8)).unwrap();
    assert_eq!(cache.get(&key(1)), Some(small(8)));
    let statistics = cache.statistics().unwrap();
    assert_eq!((statistics.entries, statistics.bytes, statistics.evictions), (2, 8192, 0));
}

#[test]
fn what_is_larger_than_all_may_be_is_not_kept_and_drives_nobody_out() {
    let temporary = tempfile::tempdir().unwrap();
    let cache = open(temporary.path(), 2);
    cache.put(&key(1), &small(1)).unwrap();
    let large = attribution(&[1, 3, 64, 64], 2);
    let error = cache.put(&key(2), &large).unwrap_err();
    assert!(matches!(error, CacheError::TooLarge { bytes: 53_248, limit: 8192 }), "{error}");
    assert!(error.hint().unwrap().contains("--cache-limit"));
    assert_eq!(present(temporary.path(), 3), [1]);
}

#[test]
fn a_smaller_limit_is_kept_from_the_next_entry_on() {
    let temporary = tempfile::tempdir().unwrap();
    let cache = open(temporary.path(), 20);
    for number in 0..10 {
        cache.put(&key(number), &small(number)).unwrap();
    }
    let cache = open(temporary.path(), 3);
    assert!(cache.statistics().unwrap().utilisation() > 3.0);
    cache.put(&key(10), &small(10)).unwrap();
    assert_eq!(present(temporary.path(), 11), [9, 10]);
}

#[test]
fn damaged_entries_are_dropped_and_not_served() {
    let temporary = tempfile::tempdir().unwrap();
    let cache = open(temporary.path(), 10);
    let path = |number| temporary.path().join(folder::file_name(&key(number)));
    let damages: [&dyn Fn(Vec<u8>) -> Vec<u8>; 4] = [
        &|bytes| bytes[..bytes.len() / 2].to_vec(),
        &|_| Vec::new(),
        &|mut bytes| {
            bytes[200] ^= 1;
            bytes
        },
        &|bytes| [bytes, vec![0; 9]].concat(),
    ];
    for (number, damage) in (0..).zip(damages) {
        cache.put(&key(number), &small(number)).unwrap();
        let whole = std::fs::read(path(number)).unwrap();
        std::fs::write(path(number), damage(whole)).unwrap();
        assert_eq!(cache.get(&key(number)), None, "{number}");
        assert!(!path(number).exists(), "{number}");
    }
    // A good entry under a name that is not its own.
    cache.put(&key(5), &small(5)).unwrap();
    std::fs::copy(path(5), path(6)).unwrap();
    assert_eq!(cache.get(&key(6)), None);
    assert_eq!(cache.get(&key(5)), Some(small(5)));
    let statistics = cache.statistics().unwrap();
    assert_eq!((statistics.dropped, statistics.misses, statistics.entries), (5, 5, 1));
}

#[test]
fn clearing_takes_entries_and_nothing_else() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    std::fs::write(folder.join("mine.npy"), "not yours").unwrap();
    std::fs::write(folder.join("ABCDEF.npy"), "not yours").unwrap();
    let cache = open(folder, 10);
    cache.put(&key(1), &small(1)).unwrap();
    cache.put(&key(2), &small(2)).unwrap();
    cache.get(&key(1));
    assert_eq!(cache.clear().unwrap(), (2, 8192));
    assert_eq!(cache.statistics().unwrap(), CacheStatistics { limit: 40_960, ..CacheStatistics::default() });
    let left: Vec<String> = names(folder).into_iter().collect();
    assert_eq!(left, ["ABCDEF.npy", "CACHEDIR.TAG", "ledger.json", "mine.npy"]);
    cache.put(&key(1), &small(1)).unwrap();
    assert_eq!(cache.get(&key(1)), Some(small(1)));
}

#[test]
fn a_lost_or_broken_ledger_is_made_anew() {
    let temporary = tempfile::tempdir().unwrap();
    let ledger = temporary.path().join("ledger.json");
    let cache = open(temporary.path(), 3);
    for number in 0..3 {
        cache.put(&key(number), &small(number)).unwrap();
    }
    for content in [&b"\xff\xfe{"[..], b"", b"{\"counts\": 7}"] {
        std::fs::write(&ledger, content).unwrap();
        assert_eq!(cache.statistics().unwrap().entries, 3);
    }
    std::fs::write(&ledger, "").unwrap();
    // The next entry must know that there is no room left.
    cache.put(&key(3), &small(3)).unwrap();
    assert!(cache.statistics().unwrap().utilisation() <= 1.0);
}

#[test]
fn what_a_dead_writer_left_is_swept_up() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let cache = open(folder, 3);
    for number in 0..2 {
        cache.put(&key(number), &small(number)).unwrap();
    }
    // Died while writing, with the folder changed and the ledger not.
    std::fs::write(folder.join(".draft-abc"), vec![0; 9000]).unwrap();
    let mut locked = cache.ledger.lock().unwrap();
    locked.begin().unwrap();
    drop(locked);
    std::fs::copy(folder.join(folder::file_name(&key(0))), folder.join(folder::file_name(&key(2)))).unwrap();
    cache.put(&key(3), &small(3)).unwrap();
    assert!(!names(folder).iter().any(|name| name.starts_with(".draft")), "{:?}", names(folder));
    let statistics = cache.statistics().unwrap();
    assert!(statistics.utilisation() <= 1.0, "{statistics:?}");
}

#[test]
fn a_folder_that_cannot_be_used_is_one_clear_sentence() {
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = AttributionCache::open(&file.join("cache"), 1).unwrap_err();
    assert!(error.to_string().starts_with("the explanation cache `") && error.to_string().ends_with("cannot be used"));
    assert!(error.hint().unwrap().contains("--no-cache"));
    let error = AttributionCache::open_existing(temporary.path(), 1).unwrap_err();
    assert!(matches!(error, CacheError::None { .. }));
    assert_eq!(names(temporary.path()).len(), 1, "looking makes no cache");
}

#[test]
fn a_folder_that_goes_away_is_an_error_of_putting_and_a_miss_of_getting() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("cache");
    let cache = open(&folder, 10);
    cache.put(&key(1), &small(1)).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(cache.get(&key(1)), None);
    assert!(matches!(cache.put(&key(1), &small(1)), Err(CacheError::Write { .. })));
}

#[test]
fn threads_share_one_cache() {
    let temporary = tempfile::tempdir().unwrap();
    let cache = open(temporary.path(), 12);
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            let cache = &cache;
            scope.spawn(move || work_on(cache, worker));
        }
    });
    let statistics = cache.statistics().unwrap();
    assert_eq!(statistics.hits + statistics.misses, 4 * ROUNDS);
    assert_eq!(statistics.dropped, 0);
    assert!(statistics.utilisation() <= 1.0, "{statistics:?}");
}

const ROUNDS: u64 = 200;

/// Looks up and keeps entries of 20 keys, of which 12 have room; nothing that is found may be another's.
fn work_on(cache: &AttributionCache, worker: u64) {
    let mut random = fastrand::Rng::with_seed(worker);
    for _ in 0..ROUNDS {
        let number = random.u64(0..20);
        match cache.get(&key(number)) {
            Some(found) => assert_eq!(found, small(number)),
            None => cache.put(&key(number), &small(number)).unwrap(),
        }
    }
}

/// Set in the processes that the tests start.
const CHILD_FOLDER: &str = "BENCHDB_TEST_CACHE";

/// This test program again, which runs the test `child` alone.
fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = ["cache::tests::", test].concat();
    command.args(["--exact", &test, "--ignored", "--nocapture"]).env(CHILD_FOLDER, folder);
    command
}

#[test]
fn processes_share_one_folder_and_one_may_be_killed() {
    let temporary = tempfile::tempdir().unwrap();
    // Leaves room for 12, as the children see it.
    let cache = open(temporary.path(), 12);
    let mut victim = child("child_that_never_ends", temporary.path()).spawn().unwrap();
    let mut others: Vec<_> = (0..3).map(|_| child("child_that_works", temporary.path()).spawn().unwrap()).collect();
    std::thread::sleep(Duration::from_millis(50));
    victim.kill().unwrap();
    victim.wait().unwrap();
    for other in &mut others {
        assert!(other.wait().unwrap().success());
    }
    let statistics = cache.statistics().unwrap();
    assert!(statistics.hits + statistics.misses >= 3 * ROUNDS, "{statistics:?}");
    assert!(statistics.utilisation() <= 1.0, "{statistics:?}");
    let counted = present(temporary.path(), 20).len() as u64;
    assert_eq!((statistics.entries, statistics.dropped), (counted, 0));
    assert!(counted > 0);
}

#[test]
#[ignore = "a child of another test"]
fn child_that_works() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    work_on(&open(Path::new(&folder), 12), u64::from(std::process::id()));
}

#[test]
#[ignore = "a child of another test"]
fn child_that_never_ends() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let cache = open(Path::new(&folder), 12);
    for round in 0.. {
        work_on(&cache, round);
    }
}

/// The limit on the size of a file stands for a disk that is full: writing fails in the middle.
#[cfg(unix)]
#[test]
fn a_full_disk_is_an_error_of_putting_and_leaves_the_cache_whole() {
    let temporary = tempfile::tempdir().unwrap();
    let cache = open(temporary.path(), 100);
    cache.put(&key(1), &small(1)).unwrap();
    let command = child("child_without_room", temporary.path());
    let mut shell = Command::new("sh");
    // In blocks of 512 or 1024 bytes, as the shell has it.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""]).arg(command.get_program());
    shell.args(command.get_args()).env(CHILD_FOLDER, temporary.path());
    assert!(shell.output().unwrap().status.success());
    let statistics = cache.statistics().unwrap();
    assert_eq!((statistics.entries, statistics.dropped, statistics.hits), (2, 0, 2));
    assert!(!names(temporary.path()).iter().any(|name| name.starts_with(".draft")));
}

#[test]
#[ignore = "a child of another test"]
fn child_without_room() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let cache = open(Path::new(&folder), 100);
    let error = cache.put(&key(2), &attribution(&[1, 3, 64, 64], 2)).unwrap_err();
    assert!(matches!(error, CacheError::Write { .. }), "{error}");
    assert!(error.to_string().ends_with("cannot be written"), "{error}");
    assert_eq!(cache.get(&key(1)), Some(small(1)));
    assert_eq!(cache.get(&key(2)), None);
    cache.put(&key(3), &small(3)).unwrap();
    assert_eq!(cache.get(&key(3)), Some(small(3)));
}

#[test]
fn looking_up_never_waits_for_a_writer() {
    let temporary = tempfile::tempdir().unwrap();
    let (writer, reader) = (open(temporary.path(), 10), open(temporary.path(), 10));
    writer.put(&key(1), &small(1)).unwrap();
    let locked = writer.ledger.lock().unwrap();
    // Would never end if it waited.
    assert_eq!(reader.get(&key(1)), Some(small(1)));
    assert_eq!(reader.get(&key(2)), None);
    drop(locked);
    drop(reader);
    let statistics = writer.statistics().unwrap();
    assert_eq!((statistics.hits, statistics.misses), (1, 1));
}

#[test]
fn an_entry_that_is_used_is_as_young_as_its_use() {
    let temporary = tempfile::tempdir().unwrap();
    let cache = open(temporary.path(), 10);
    cache.put(&key(1), &small(1)).unwrap();
    let path = temporary.path().join(folder::file_name(&key(1)));
    let old = SystemTime::now() - Duration::from_secs(1000);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
    cache.get(&key(1)).unwrap();
    assert!(std::fs::metadata(&path).unwrap().modified().unwrap() > old + Duration::from_secs(900));
}
