//! A report as one page.

use maud::{Markup, html};

use super::{Assets, Link, TableView, page, prose, sheet, table};
use crate::domain::document::{Block, Document, Section};
use crate::report::charts::ChartError;

/// A report as a page that needs nothing else.
///
/// # Errors
/// A chart that cannot be drawn.
pub fn document_page(document: &Document) -> Result<String, ChartError> {
    let nav: Vec<Link> =
        document.sections.iter().map(|section| Link::new(&section.title, ["#", &section.name].concat())).collect();
    Ok(page(&document.title, &nav, &body(document)?, Assets::Inline))
}

/// What stands in the page of a report.
///
/// # Errors
/// A chart that cannot be drawn.
pub fn body(document: &Document) -> Result<Markup, ChartError> {
    let sections: Vec<Markup> = document.sections.iter().map(section).collect::<Result<_, _>>()?;
    Ok(html! {
        @for sentence in &document.about { p.about { (prose(sentence)) } }
        @for section in sections { (section) }
    })
}

/// A section with its heading.
///
/// # Errors
/// A chart that cannot be drawn.
pub fn section(section: &Section) -> Result<Markup, ChartError> {
    let mut blocks = Vec::with_capacity(section.blocks.len());
    for (index, block) in section.blocks.iter().enumerate() {
        blocks.push(match block {
            Block::Table(block) => {
                let id = format!("{}-{}", section.name, index + 1);
                table(&TableView {
                    more: "the statement below gives all, as does `--limit 0`",
                    ..TableView::new(block, &id)
                })
            }
            Block::Sheet(one) => sheet(one, &format!("{}-{}", section.name, index + 1))?,
        });
    }
    let heading = [&section.name, "-heading"].concat();
    Ok(html! {
        section id=(section.name) aria-labelledby=(heading) {
            h2 id=(heading) { (section.title) }
            @for note in &section.notes { p.note { (prose(note)) } }
            @for block in blocks { (block) }
        }
    })
}
