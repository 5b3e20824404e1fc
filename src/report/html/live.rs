//! Pages that a server makes: the tables and charts of a report, with forms, links between pages, and how to get the same
//! on the command line. Everything works without the script.

use maud::{Markup, html};

use super::{Assets, Link, TableView, page, section, sheet, table};
use crate::domain::chart::Sheet;
use crate::domain::document::{Section, TableBlock};
use crate::report::charts::ChartError;

/// A page.
#[derive(Debug, Default)]
pub struct LivePage {
    /// Its heading.
    pub title: String,
    /// Links to the other pages.
    pub nav: Vec<Link>,
    /// What it shows, in order.
    pub parts: Vec<LivePart>,
}

/// A part of a page.
#[derive(Debug)]
pub enum LivePart {
    /// A heading of the second order; `id` is its name on the page.
    Heading {
        /// Its name on the page.
        id: &'static str,
        /// What it says.
        text: String,
    },
    /// A sentence.
    Note(String),
    /// A sentence that must not be overlooked.
    Alert(String),
    /// A table.
    Table(LiveTable),
    /// A chart or a section of a report that was drawn before.
    Drawn(Drawn),
    /// A form.
    Form(Form),
    /// Links side by side, with a name: `Pages`.
    Links(String, Vec<Link>),
    /// How to get the same on the command line, or in SQL.
    Again(Vec<String>),
}

/// A table whose cells may lead somewhere.
#[derive(Debug, Default)]
pub struct LiveTable {
    /// The table.
    pub block: TableBlock,
    /// Its name on the page.
    pub id: &'static str,
    /// Columns whose cells are links: the column's name, and where each row's cell leads.
    pub links: Vec<(String, Vec<Option<String>>)>,
}

/// A chart, or a section of a report, as it stands on a page.
#[derive(Clone, Debug)]
pub struct Drawn(Markup);

impl Drawn {
    /// Draws a chart; `id` is its name on the page. What cannot be drawn becomes a sentence.
    ///
    /// # Errors
    /// A chart that cannot be drawn.
    pub fn new(data: &Sheet, id: &str) -> Result<Self, ChartError> {
        Ok(Self(sheet(data, id)?))
    }

    /// Draws a section of a report; its name is its name on the page.
    ///
    /// # Errors
    /// A chart that cannot be drawn.
    pub fn section(data: &Section) -> Result<Self, ChartError> {
        Ok(Self(section(data)?))
    }
}

/// A form that asks by the address alone (`GET`), so that what it finds can be linked to.
#[derive(Debug, Default)]
pub struct Form {
    /// Where it leads: `/runs`.
    pub action: String,
    /// What its button says.
    pub button: &'static str,
    /// What it is for, for those who do not see it.
    pub label: &'static str,
    /// Groups of fields with their legends; a group without one has an empty text.
    pub groups: Vec<(String, Vec<Field>)>,
}

/// One field of a form.
#[derive(Debug, Default)]
pub struct Field {
    /// Its name in the address.
    pub name: String,
    /// What it says.
    pub label: String,
    /// What stands in it.
    pub value: String,
    /// What stands there while it is empty.
    pub example: String,
    /// What it is made from.
    pub kind: FieldKind,
}

/// How a field is filled.
#[derive(Debug, Default)]
pub enum FieldKind {
    /// By any text.
    #[default]
    Text,
    /// By any text, with words to choose from.
    Words(Vec<String>),
    /// By one of these words, or none.
    Choice(Vec<String>),
}

/// Writes a page.
pub fn live_page(live: &LivePage) -> String {
    let body = html! { @for part in &live.parts { (one(part)) } };
    page(&live.title, &live.nav, &body, Assets::Served)
}

fn one(part: &LivePart) -> Markup {
    match part {
        LivePart::Heading { id, text } => html! { h2 id=(id) { (text) } },
        LivePart::Note(sentence) => html! { p.note { (sentence) } },
        LivePart::Alert(sentence) => html! { p role="alert" { strong { (sentence) } } },
        LivePart::Table(live) => live_table(live),
        LivePart::Drawn(Drawn(markup)) => html! { (markup) },
        LivePart::Form(data) => form(data),
        LivePart::Links(name, links) => html! {
            nav aria-label=(name) {
                ul {
                    @for link in links {
                        li {
                            @if link.is_here { span aria-current="page" { (link.text) } }
                            @else { a href=(link.target) { (link.text) } }
                        }
                    }
                }
            }
        },
        LivePart::Again(lines) => html! {
            details.sql {
                summary { "The same on the command line" }
                pre tabindex="0" { code { (lines.join("\n")) } }
            }
        },
    }
}

fn live_table(live: &LiveTable) -> Markup {
    let columns = &live.block.table.columns;
    let target = |row: usize, column: usize| -> Option<String> {
        let name = columns.get(column)?;
        let (_, targets) = live.links.iter().find(|(linked, _)| linked == name)?;
        targets.get(row)?.clone()
    };
    table(&TableView { link: Some(&target), ..TableView::new(&live.block, live.id) })
}

fn form(data: &Form) -> Markup {
    html! {
        form.ask method="get" action=(data.action) aria-label=(data.label) {
            @for (legend, fields) in &data.groups {
                @if legend.is_empty() {
                    @for one in fields { (field(one)) }
                } @else {
                    fieldset { legend { (legend) } @for one in fields { (field(one)) } }
                }
            }
            button type="submit" { (data.button) }
        }
    }
}

fn field(field: &Field) -> Markup {
    let list = ["words-", &field.name].concat();
    html! {
        label {
            (field.label)
            @match &field.kind {
                FieldKind::Text => input name=(field.name) value=(field.value) placeholder=(field.example) autocomplete="off";,
                FieldKind::Words(words) => {
                    input name=(field.name) value=(field.value) placeholder=(field.example) list=(list) autocomplete="off";
                    datalist id=(list) { @for word in words { option value=(word) {} } }
                },
                FieldKind::Choice(words) => select name=(field.name) {
                    option value="" { "any" }
                    @for word in words { option value=(word) selected[*word == field.value] { (word) } }
                    // What was asked for and is not there any more is still what was asked for.
                    @if !field.value.is_empty() && !words.contains(&field.value) {
                        option value=(field.value) selected { (field.value) }
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Table;

    fn evil() -> String {
        "<script>alert(1)</script>\" onload=\"x".to_owned()
    }

    #[test]
    fn what_the_record_says_is_text_wherever_it_stands() {
        let mut table = Table::new(&evil(), &["run", &evil()]);
        table.push([1_u32.into(), evil().into()]);
        let links = vec![(evil(), vec![Some(["/runs?model=", &evil()].concat())])];
        let words = || vec![evil()];
        let field = |kind| Field { name: evil(), label: evil(), value: evil(), example: evil(), kind };
        let page = live_page(&LivePage {
            title: evil(),
            nav: vec![Link::new(evil(), evil())],
            parts: vec![
                LivePart::Note(evil()),
                LivePart::Alert(evil()),
                LivePart::Heading { id: "x", text: evil() },
                LivePart::Table(LiveTable { block: TableBlock::whole(table), id: "runs", links }),
                LivePart::Links(evil(), vec![Link::new(evil(), evil())]),
                LivePart::Again(vec![evil()]),
                LivePart::Form(Form {
                    action: evil(),
                    groups: vec![
                        (String::new(), vec![field(FieldKind::Text)]),
                        (evil(), vec![field(FieldKind::Words(words())), field(FieldKind::Choice(words()))]),
                    ],
                    ..Form::default()
                }),
            ],
        });
        assert!(!page.contains("<script>alert"), "{page}");
        assert!(!page.contains("\" onload=\""), "{page}");
        assert!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count() >= 15, "{page}");
    }

    #[test]
    fn links_go_with_their_columns() {
        let mut table = Table::new("Runs", &["run", "model"]);
        table.push([7_u32.into(), "a".into()]);
        table.push([8_u32.into(), "b".into()]);
        let links = vec![("run".to_owned(), vec![Some("/runs/7".to_owned()), None])];
        let live = LiveTable { block: TableBlock::whole(table), id: "runs", links };
        let text = live_page(&LivePage { parts: vec![LivePart::Table(live)], ..LivePage::default() });
        assert!(text.contains("<a href=\"/runs/7\">7</a>") && !text.contains("/runs/8"), "{text}");
    }

    #[test]
    fn a_word_that_has_gone_stays_chosen() {
        let field = Field {
            name: "engine".to_owned(),
            value: "gone".to_owned(),
            kind: FieldKind::Choice(vec!["here".to_owned()]),
            ..Field::default()
        };
        let text = super::field(&field).into_string();
        assert!(text.contains("<option value=\"gone\" selected>gone</option>"), "{text}");
    }
}
