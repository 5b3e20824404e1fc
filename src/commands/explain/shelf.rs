//! The cache as the command uses it: nothing that goes wrong with it keeps an explanation from being given.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::super::{CommandError, Context, ExitStatus, OutputArgs};
use crate::cache::{AttributionCache, CacheError, CacheKey, CacheStatistics, CachedAttribution};
use crate::domain::Table;
use crate::domain::text::{counted, one_line};
use crate::report::bytes;

/// A cache, or none.
#[derive(Debug)]
pub(super) struct Shelf {
    cache: Option<AttributionCache>,
    /// The first thing that went wrong, and how many did.
    trouble: RefCell<Option<(CacheError, usize)>>,
}

impl Shelf {
    /// The cache that the options name; says where there is none.
    pub(super) fn open(folder: Option<&Path>, limit: u64, none: bool, context: &Context) -> Self {
        let without = Self { cache: None, trouble: RefCell::new(None) };
        if none {
            return without;
        }
        let Some(folder) = folder.map(Path::to_path_buf).or_else(default_folder) else {
            context.detail("there is no cache: neither `--cache` nor HOME says where");
            return without;
        };
        match AttributionCache::open(&folder, limit) {
            Ok(cache) => Self { cache: Some(cache), ..without },
            Err(error) => {
                *without.trouble.borrow_mut() = Some((error, 0));
                without
            }
        }
    }

    /// Whether there is a cache.
    pub(super) fn is_there(&self) -> bool {
        self.cache.is_some()
    }

    /// What was computed before.
    pub(super) fn find(&self, key: &CacheKey) -> Option<CachedAttribution> {
        self.cache.as_ref()?.get(key)
    }

    /// Keeps what was computed.
    pub(super) fn keep(&self, key: &CacheKey, attribution: &CachedAttribution) {
        let Some(Err(error)) = self.cache.as_ref().map(|cache| cache.put(key, attribution)) else { return };
        let mut trouble = self.trouble.borrow_mut();
        match trouble.as_mut() {
            Some((_, count)) => *count += 1,
            None => *trouble = Some((error, 1)),
        }
    }

    /// Tells what went wrong, once.
    pub(super) fn say_trouble(&self, context: &Context) {
        let Some((error, count)) = self.trouble.borrow_mut().take() else { return };
        let lost = match count {
            0 => "nothing was kept".to_owned(),
            count => counted(count, "explanation was not kept", "explanations were not kept"),
        };
        let hint = error.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        context.note(&format!("warning: {lost}: {}{hint}", one_line(&error)));
    }
}

/// Where caches of programs lie on this system: `$XDG_CACHE_HOME` or `~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`.
fn default_folder() -> Option<PathBuf> {
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = if cfg!(windows) {
        named("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        named("HOME").map(|home| home.join("Library/Caches"))
    } else {
        named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")))
    };
    folder.map(|folder| folder.join("benchdb").join("explanations"))
}

/// The cache that is to be looked at or emptied.
///
/// # Errors
/// There is none.
pub(super) fn existing(folder: Option<&Path>, limit: u64) -> anyhow::Result<AttributionCache> {
    let Some(folder) = folder.map(Path::to_path_buf).or_else(default_folder) else {
        return Err(CommandError::new("neither `--cache` nor HOME says where the cache is", "give `--cache`").into());
    };
    Ok(AttributionCache::open_existing(&folder, limit)?)
}

/// Empties a cache.
///
/// # Errors
/// An entry that cannot be removed.
pub(super) fn clear(cache: &AttributionCache, context: &Context) -> anyhow::Result<ExitStatus> {
    let (entries, size) = cache.clear()?;
    let entries = counted(usize::try_from(entries).unwrap_or(usize::MAX), "explanation", "explanations");
    context.note(&format!("removed {entries}, {}, from `{}`", bytes(size), cache.folder().display()));
    Ok(ExitStatus::Ok)
}

/// Prints what a cache holds.
///
/// # Errors
/// A cache that cannot be read.
pub(super) fn show(cache: &AttributionCache, output: &OutputArgs, context: &Context) -> anyhow::Result<ExitStatus> {
    let statistics = cache.statistics()?;
    let utilisation = statistics.utilisation();
    let CacheStatistics { hits, misses, evictions, dropped, entries, bytes: size, limit } = statistics;
    let people = output.is_for_people();
    let columns = [
        "folder",
        "entries",
        "size_bytes",
        "limit_bytes",
        "utilisation",
        "hits",
        "misses",
        "hit_rate",
        "evicted",
        "damaged",
    ];
    let mut table = Table::new("", &columns);
    let share = |share: f64| if people { format!("{:.1} %", 100.0 * share).into() } else { share.into() };
    let number = |value: u64| if people { bytes(value).into() } else { value.into() };
    table.push([
        cache.folder().display().to_string().into(),
        entries.into(),
        number(size),
        number(limit),
        share(utilisation),
        hits.into(),
        misses.into(),
        statistics.hit_rate().map(share).into(),
        evictions.into(),
        dropped.into(),
    ]);
    if people {
        table.rename_column("size_bytes", "size");
        table.rename_column("limit_bytes", "limit");
    }
    context.print("explanation_cache", &[table], output)?;
    Ok(ExitStatus::Ok)
}
