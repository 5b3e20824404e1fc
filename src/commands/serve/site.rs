//! Which page an address leads to, and what is said where there is none.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use clap::ValueEnum as _;

use super::ask::{Pairs, Unclear, program};
use super::gallery::{Failure, Gallery, Look};
use super::pool::Pool;
use super::report::{self, Written};
use super::{compare, configurations, overview, runs};
use crate::analysis::charts::ChartName;
use crate::commands::sheets::{SheetOptions, sheets};
use crate::commands::{CommandError, Context, GlobalArgs, hint_of};
use crate::domain::chart::Sheet;
use crate::domain::text::{one_line, printable};
use crate::report::charts::{draw, png};
use crate::report::html::{Drawn, Link, LivePage, LivePart, SCRIPT, live_page, style_sheet};
use crate::serve::{Answer, Asked, Site};
use crate::store::list::Selection;
use crate::store::{Store, StoreError};

/// How long a page waits for charts, or for a report, that are not there yet.
pub(super) const PAGE_PATIENCE: Duration = Duration::from_millis(40);

/// How long the statements may take together of what is made in the background.
const MAKING_TIME: Duration = Duration::from_secs(120);

/// Selections whose charts are made at the same time.
const DRAWERS: usize = 2;

/// Selections whose reports are.
const WRITERS: usize = 1;

/// Pixels of a PNG for each of a drawing's.
const SCALE: f32 = 2.0;

/// How long a picture waits for that. It keeps others from being answered meanwhile, so not for long.
const PICTURE_PATIENCE: Duration = Duration::from_secs(3);

/// When to come back for what is being made, in seconds.
const COME_BACK: u32 = 5;

static STYLE: LazyLock<String> = LazyLock::new(style_sheet);

/// What a page shows, before it is written.
pub(super) type Parts = Vec<LivePart>;

/// A page, or why there is none.
pub(super) type Made = Result<Parts, Problem>;

/// Why a page is not shown.
#[derive(Debug)]
pub(super) enum Problem {
    /// There is no such thing.
    NotThere(String),
    /// The address cannot be understood.
    Unclear(String),
    /// It is being made.
    NotYet(String),
    /// The database says no, or something broke.
    Broken(anyhow::Error),
}

impl From<Unclear> for Problem {
    fn from(error: Unclear) -> Self {
        Self::Unclear(error.0)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoCampaign { .. } => Self::Unclear(format!("There is {error}.")),
            error => Self::Broken(error.into()),
        }
    }
}

impl From<anyhow::Error> for Problem {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<StoreError>() {
            Ok(error) => error.into(),
            // A command that cannot be done as it was asked for.
            Err(error) if error.is::<CommandError>() => Self::Unclear(sentence(&error)),
            Err(error) => Self::Broken(error),
        }
    }
}

/// An error and its way out, for people.
fn sentence(error: &anyhow::Error) -> String {
    let way_out = hint_of(error).map(|hint| format!(" ({hint})")).unwrap_or_default();
    crate::domain::text::sentence(&[one_line(error.as_ref()), way_out].concat())
}

/// A chart, and how it stands on a page.
#[derive(Debug)]
pub(super) struct Picture {
    sheet: Sheet,
    drawn: Drawn,
}

/// What a page says of what is made in the background, where it is not there as it should be.
pub(super) struct Words {
    /// That it shows the record as it was.
    pub(super) older: &'static str,
    /// That it is being made.
    pub(super) not_yet: &'static str,
    /// What a reason follows.
    pub(super) failed: &'static str,
}

const ABOUT_CHARTS: Words = Words {
    older: "The record has changed; these charts show it as it was. Newer ones are being made: reload the page.",
    not_yet: "The charts are being made: reload the page in a moment.",
    failed: "There are no charts: ",
};

/// What there is to show, if anything, and what has to be said about it.
pub(super) fn at_hand<T>(look: Look<T>, words: &Words) -> (Option<Arc<T>>, Option<LivePart>) {
    match look {
        Look::Ready(made) => (Some(made), None),
        Look::Older(made) => (Some(made), Some(LivePart::Note(words.older.to_owned()))),
        Look::NotYet => (None, Some(LivePart::Note(words.not_yet.to_owned()))),
        Look::Failed(reason) => (None, Some(LivePart::Alert([words.failed, &reason].concat()))),
    }
}

/// All pages over one database.
pub(super) struct Pages {
    pub(super) pool: Arc<Pool>,
    charts: Gallery<Vec<Picture>>,
    pub(super) reports: Gallery<Written>,
}

/// The pages that every page leads to.
const MAIN_PAGES: [(&str, &str); 6] = [
    ("/", "Overview"),
    ("/runs", "Runs"),
    ("/configurations", "Configurations"),
    ("/report", "Report"),
    ("/charts", "Charts"),
    ("/compare", "Compare"),
];

impl Pages {
    pub(super) fn new(db: PathBuf) -> Self {
        Self { pool: Arc::new(Pool::new(db)), charts: Gallery::new(DRAWERS), reports: Gallery::new(WRITERS) }
    }

    /// Begins with the charts of the whole record, which take longest.
    pub(super) fn warm_up(&self) {
        // Whatever goes wrong is said to whoever looks at them.
        let _ = self.look("", &Selection::default(), Duration::ZERO);
    }

    /// What begins a command that asks this database.
    pub(super) fn program(&self) -> String {
        program(self.pool.path())
    }

    /// What a gallery keeps under a key, of the database as it is; `make` makes it in the background where it is not there.
    pub(super) fn kept<T: Send + Sync + 'static>(
        &self,
        gallery: &Gallery<T>,
        key: &str,
        patience: Duration,
        make: impl FnOnce(&mut Store) -> anyhow::Result<T> + Send + 'static,
    ) -> Result<Look<T>, StoreError> {
        let change = self.pool.changes()?;
        let pool = Arc::clone(&self.pool);
        Ok(gallery.look(key, change, patience, move || {
            pool.within(MAKING_TIME, make).map_err(|error| match error.downcast_ref() {
                Some(StoreError::Locked { .. }) => Failure::Passing,
                _ => Failure::Lasting(sentence(&error)),
            })
        }))
    }

    /// The charts of a selection. `key` names it.
    fn look(&self, key: &str, selection: &Selection, patience: Duration) -> Result<Look<Vec<Picture>>, StoreError> {
        let selection = selection.clone();
        self.kept(&self.charts, key, patience, move |store| {
            sheets(store, &selection, &SheetOptions::default()).map(pictures)
        })
    }

    /// The charts of a selection as parts of a page; `wanted` of them, or all.
    pub(super) fn charts(&self, asked: &Pairs, selection: &Selection, wanted: Option<&[ChartName]>) -> Made {
        let key = asked.address("");
        let (pictures, note) = at_hand(self.look(&key, selection, PAGE_PATIENCE)?, &ABOUT_CHARTS);
        let mut parts: Parts = note.into_iter().collect();
        for picture in pictures.iter().flat_map(|pictures| pictures.iter()) {
            let name = name_of(&picture.sheet);
            if wanted.is_none_or(|wanted| wanted.iter().any(|chart| chart.to_string() == name)) {
                parts.push(LivePart::Drawn(picture.drawn.clone()));
                if picture.sheet.chart().is_some() {
                    let link = |ending: &str| {
                        let path = ["/chart/", name, ".", ending].concat();
                        Link::new(ending.to_uppercase(), asked.address(&path))
                    };
                    parts.push(LivePart::Links(format!("{name} as a file"), vec![link("svg"), link("png")]));
                }
            }
        }
        Ok(parts)
    }

    fn route(&self, asked: &Asked) -> Result<Answer, Problem> {
        let pairs = Pairs::new(&asked.query)?;
        let found = match asked.path.as_str() {
            "/style.css" => return Ok(lasting("text/css; charset=utf-8", STYLE.as_bytes())),
            "/script.js" => return Ok(lasting("text/javascript; charset=utf-8", SCRIPT.as_bytes())),
            "/" => ("benchdb".to_owned(), overview::page(self, &pairs)?),
            "/runs" => ("Runs".to_owned(), runs::page(self, &pairs)?),
            "/configurations" => ("Configurations".to_owned(), configurations::page(self, &pairs)?),
            "/report" => ("Report".to_owned(), report::page(self, &pairs)?),
            "/charts" => ("Charts".to_owned(), overview::charts_page(self, &pairs)?),
            "/compare" => ("Compare".to_owned(), compare::page(self, &pairs)?),
            other => {
                if let Some(file) = other.strip_prefix("/chart/") {
                    return self.picture(file, &pairs);
                }
                if let Some(wanted) = other.strip_prefix("/runs/") {
                    (["Run ", wanted].concat(), runs::one(self, wanted)?)
                } else if let Some(wanted) = other.strip_prefix("/configurations/") {
                    (["Configuration ", wanted].concat(), configurations::one(self, wanted)?)
                } else {
                    return Err(Problem::NotThere("There is no such page.".to_owned()));
                }
            }
        };
        Ok(self.write(200, &found.0, &asked.path, found.1))
    }

    fn write(&self, status: u16, title: &str, path: &str, parts: Parts) -> Answer {
        let nav = MAIN_PAGES.map(|(target, text)| Link { is_here: target == path, ..Link::new(text, target) }).to_vec();
        Answer::html(status, live_page(&LivePage { title: title.to_owned(), nav, parts }))
    }

    /// A chart as a file.
    fn picture(&self, file: &str, pairs: &Pairs) -> Result<Answer, Problem> {
        let not_there = || {
            let names: Vec<String> = ChartName::value_variants().iter().map(ChartName::to_string).collect();
            Problem::NotThere(format!(
                "Charts are /chart/NAME.svg and /chart/NAME.png, NAME being one of {}.",
                names.join(", ")
            ))
        };
        let (name, ending) = file.split_once('.').ok_or_else(not_there)?;
        if !ChartName::value_variants().iter().any(|chart| chart.to_string() == name)
            || !matches!(ending, "svg" | "png")
        {
            return Err(not_there());
        }
        pairs.knows(&[])?;
        let selection = self.selection(pairs)?;
        let pictures = match self.look(&pairs.address(""), &selection, PICTURE_PATIENCE)? {
            Look::Ready(pictures) | Look::Older(pictures) => pictures,
            Look::NotYet => {
                return Err(Problem::NotYet("The chart is being made: ask again in a few seconds.".to_owned()));
            }
            Look::Failed(reason) => return Err(Problem::Broken(anyhow::anyhow!(reason))),
        };
        match pictures.iter().map(|picture| &picture.sheet).find(|sheet| name_of(sheet) == name) {
            Some(Sheet::Chart(chart)) => {
                let drawing = draw(chart).map_err(anyhow::Error::from)?;
                if ending == "png" {
                    let png = png(&drawing, SCALE).map_err(anyhow::Error::from)?;
                    return Ok(Answer::file("image/png", png));
                }
                Ok(Answer::file("image/svg+xml; charset=utf-8", drawing.svg.into_bytes()))
            }
            Some(Sheet::Nothing { reason, .. }) => {
                Err(Problem::NotThere(format!("There is nothing to draw: {}.", reason.trim_end_matches('.'))))
            }
            None => Err(Problem::NotThere("That chart is not made here; `benchdb visualize` draws all.".to_owned())),
        }
    }

    /// The selection of an address.
    pub(super) fn selection(&self, pairs: &Pairs) -> Result<Selection, Problem> {
        let args = pairs.selecting()?;
        if args.campaign.is_none() {
            return Ok(args.selection(|_| Err(anyhow::anyhow!("no campaign was named")))?);
        }
        self.pool.with(|store| select(store, pairs))
    }
}

/// The selection of an address, where a connection is at hand.
pub(super) fn select(store: &Store, pairs: &Pairs) -> Result<Selection, Problem> {
    Ok(pairs.selecting()?.selection(|wanted| store.find_campaign(wanted).map(|campaign| campaign.uuid))?)
}

/// Looks whether there is such a baseline.
pub(super) fn check_baseline(store: &Store, name: &str) -> Result<(), Problem> {
    if store.list_baselines()?.iter().any(|known| known.name == name) {
        Ok(())
    } else {
        Err(Problem::Unclear(format!("There is no baseline `{name}`.")))
    }
}

/// An invocation that prints nothing, for what commands do.
pub(super) fn quiet(store: &Store) -> Context {
    let db = store.path().to_path_buf();
    Context::new(GlobalArgs { db, quiet: true, verbose: false, color: clap::ColorChoice::Never })
}

/// The charts as they stand on pages; one that cannot be drawn says so in its place.
fn pictures(sheets: Vec<Sheet>) -> Vec<Picture> {
    let picture = |sheet: Sheet| {
        let id = ["chart-", name_of(&sheet)].concat();
        match Drawn::new(&sheet, &id) {
            Ok(drawn) => Some(Picture { sheet, drawn }),
            Err(error) => {
                let broken = Sheet::Nothing { name: name_of(&sheet).to_owned(), reason: one_line(&error) };
                Drawn::new(&broken, &id).ok().map(|drawn| Picture { sheet: broken, drawn })
            }
        }
    };
    sheets.into_iter().filter_map(picture).collect()
}

fn name_of(sheet: &Sheet) -> &str {
    match sheet {
        Sheet::Chart(chart) => &chart.name,
        Sheet::Nothing { name, .. } => name,
    }
}

fn lasting(content_type: &'static str, body: &[u8]) -> Answer {
    Answer { lasting: true, ..Answer::file(content_type, body.to_vec()) }
}

impl Site for Pages {
    fn answer(&self, asked: &Asked) -> Answer {
        let problem = match self.route(asked) {
            Ok(answer) => return answer,
            Err(problem) => problem,
        };
        let (status, title, text, come_back) = match problem {
            Problem::NotThere(text) => (404, "Not there", text, None),
            Problem::Unclear(text) => (400, "Not clear", text, None),
            Problem::NotYet(text) => (503, "Not yet", text, Some(COME_BACK)),
            Problem::Broken(error) => (503, "Not now", sentence(&error), None),
        };
        let page = self.write(status, title, &asked.path, vec![LivePart::Alert(printable(&text))]);
        Answer { come_back, ..page }
    }
}
