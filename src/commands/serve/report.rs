//! The report of a selection: its sections are written in the background, because that may take longer than a page may.

use super::ask::{Pairs, is_reporting, is_selecting};
use super::runs::{ALERT_FIELD, Choices, SHOWN, filters, option_field, text_field};
use super::site::{Made, PAGE_PATIENCE, Pages, Problem, Words, at_hand, check_baseline, quiet, select};
use crate::commands::report::sections::in_tables;
use crate::commands::report::{SHOWN_ROWS, SubjectArgs};
use crate::report::html::{Drawn, Form, Link, LivePart};
use crate::store::Store;
use crate::store::list::Selection;

const ABOUT_REPORT: Words = Words {
    older: "The record has changed; this report shows it as it was. A newer one is being made: reload the page.",
    not_yet: "The report is being made: reload the page in a moment.",
    failed: "There is no report: ",
};

/// A section as it stands on the page.
#[derive(Debug)]
pub(super) struct Chapter {
    name: String,
    title: String,
    drawn: Drawn,
}

/// What was written of a selection; nothing where it selects no run.
pub(super) type Written = Option<Vec<Chapter>>;

pub(super) fn page(pages: &Pages, asked: &Pairs) -> Made {
    asked.only(|name| !is_reporting(name)).knows(&[])?;
    let options = asked.reporting()?;
    let (selection, choices) = pages.pool.with(|store| -> Result<_, Problem> {
        if let Some(baseline) = &options.baseline {
            check_baseline(store, baseline)?;
        }
        Ok((select(store, asked)?, store.list_choices()?))
    })?;
    let make = move |store: &mut Store| write(store, &selection, &options);
    let (report, note) = at_hand(pages.kept(&pages.reports, &asked.address(""), PAGE_PATIENCE, make)?, &ABOUT_REPORT);
    let mut parts = vec![LivePart::Form(form(asked, &choices))];
    parts.extend(note);
    match report.as_deref() {
        Some(Some(chapters)) => {
            let link = |chapter: &Chapter| Link::new(&chapter.title, ["#", &chapter.name].concat());
            let mut contents: Vec<Link> = chapters.iter().map(link).collect();
            contents.push(Link::new("Charts", "#charts"));
            parts.push(LivePart::Links("Contents of the report".to_owned(), contents));
            parts.extend(chapters.iter().map(|chapter| LivePart::Drawn(chapter.drawn.clone())));
            let selected = asked.only(is_selecting);
            parts.push(LivePart::Heading { id: "charts", text: "Charts".to_owned() });
            parts.push(LivePart::Links(
                "The same selection".to_owned(),
                vec![
                    Link::new("Charts of these runs", selected.address("/charts")),
                    Link::new("List of these runs", selected.address("/runs")),
                ],
            ));
        }
        Some(None) => {
            parts.push(LivePart::Note("No run is selected, so there is nothing to report.".to_owned()));
        }
        None => {}
    }
    let command = [&pages.program(), " report", &asked.options()].concat();
    let exact = [&command, " --format json"].concat();
    parts.push(LivePart::Again(vec![command, exact]));
    Ok(parts)
}

/// All sections but the charts, which have a page of their own.
fn write(store: &mut Store, selection: &Selection, options: &SubjectArgs) -> anyhow::Result<Written> {
    let quiet = quiet(store);
    let subject = options.subject(selection, true, Some(SHOWN_ROWS));
    let Some(sections) = in_tables(store, &subject, &quiet)? else { return Ok(None) };
    let mut chapters = Vec::with_capacity(sections.len());
    for section in sections {
        let drawn = Drawn::section(&section)?;
        chapters.push(Chapter { name: section.name, title: section.title, drawn });
    }
    Ok(Some(chapters))
}

fn form(asked: &Pairs, choices: &Choices) -> Form {
    let mut form = filters(asked, choices, "/report", &SHOWN);
    let texts = [
        ("relative-to", "speed-ups relative to", "cpu"),
        ("include-software", "rank software that pretends to be a device", "on"),
        ALERT_FIELD,
    ];
    let mut own = vec![option_field(asked, choices, "baseline", "baseline")];
    own.extend(texts.map(|text| text_field(asked, text)));
    form.groups.push(("Held against".to_owned(), own));
    form
}
