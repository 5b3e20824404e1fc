//! Pages: HTML that needs nothing but itself, or the two files that a server of ours serves. Text from the record is
//! escaped by maud; what is written as it is are our own drawings, style and script.

mod chart;
mod document;
mod live;
mod svg;
mod table;
mod values;

use data_encoding::BASE64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::charts::FONT;

pub use chart::{chart, sheet};
pub use document::{body, document_page, section};
pub use live::{Drawn, Field, FieldKind, Form, LivePage, LivePart, LiveTable, live_page};
pub use table::{TableView, table};

/// What makes tables sort and filter and charts answer; a page can be read without it.
pub const SCRIPT: &str = include_str!("script.js");

/// A link to another page or to a part of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it says.
    pub text: String,
    /// Where it leads: `#summary`, `/history/12`.
    pub target: String,
    /// Whether it is the page that is shown.
    pub is_here: bool,
}

impl Link {
    /// A link to somewhere else.
    pub fn new(text: impl Into<String>, target: impl Into<String>) -> Self {
        Self { text: text.into(), target: target.into(), is_here: false }
    }
}

/// Where a page has its style and script from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assets {
    /// From itself: a file that can be sent to somebody.
    Inline,
    /// From `/style.css` and `/script.js` of the server that it came from; see [`style_sheet`], [`SCRIPT`] and
    /// [`SERVED_POLICY`].
    Served,
}

/// The content security policy of a page with [`Assets::Served`]: a header of the answer.
pub const SERVED_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; font-src data:; img-src data:; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The style of every page, with the font of the drawings.
pub fn style_sheet() -> String {
    let font = BASE64.encode(FONT);
    let face = ["@font-face{font-family:Roboto;src:url(data:font/ttf;base64,", &font, ") format(\"truetype\")}\n"];
    [&face.concat(), include_str!("style.css")].concat()
}

/// A sentence of ours, which may name things of the record: what stands between backticks is code, all of it is escaped.
pub fn prose(text: &str) -> Markup {
    let pieces: Vec<&str> = text.split('`').collect();
    html! {
        @if pieces.len().is_multiple_of(2) {
            (text)
        } @else {
            @for (index, piece) in pieces.iter().enumerate() {
                @if index.is_multiple_of(2) { (piece) } @else { code { (piece) } }
            }
        }
    }
}

/// A source in a policy: nothing but a text with this digest.
fn digest_source(text: &str) -> String {
    ["'sha256-", &BASE64.encode(&Sha256::digest(text.as_bytes())), "'"].concat()
}

/// The policy of a page that is all there is: nothing is fetched, and nothing runs but our own script.
fn inline_policy(style: &str) -> String {
    let (style, script) = (digest_source(style), digest_source(SCRIPT));
    format!(
        "default-src 'none'; style-src {style}; script-src {script}; img-src data:; font-src data:; form-action 'none'; \
         base-uri 'none'"
    )
}

/// A whole page: its head, a heading, links, and what it shows. `title` is escaped.
pub fn page(title: &str, nav: &[Link], body: &Markup, assets: Assets) -> String {
    let style = style_sheet();
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                @if assets == Assets::Inline {
                    meta http-equiv="Content-Security-Policy" content=(inline_policy(&style));
                }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="generator" content=(concat!("benchdb ", env!("CARGO_PKG_VERSION")));
                title { (title) }
                // A browser asks for an icon where none is named.
                link rel="icon" href="data:,";
                @match assets {
                    Assets::Inline => { style { (PreEscaped(&style)) } }
                    Assets::Served => { link rel="stylesheet" href="/style.css"; }
                }
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header {
                    h1 { (title) }
                    @if !nav.is_empty() {
                        nav aria-label="Contents" {
                            ul {
                                @for link in nav {
                                    li { a href=(link.target) aria-current=[link.is_here.then_some("page")] { (link.text) } }
                                }
                            }
                        }
                    }
                }
                main id="content" tabindex="-1" { (body) }
                footer { p { "Made by benchdb " (env!("CARGO_PKG_VERSION")) "." } }
                @match assets {
                    Assets::Inline => { script { (PreEscaped(SCRIPT)) } }
                    Assets::Served => { script src="/script.js" {} }
                }
            }
        }
    };
    markup.into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_names_the_digests_of_what_it_runs() {
        let text = page("<t>", &[Link::new("a&b", "#x")], &html! { p { "body" } }, Assets::Inline);
        let style = text.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).unwrap();
        let script = text.split("<script>").nth(1).and_then(|rest| rest.split("</script>").next()).unwrap();
        for content in [style, script] {
            assert!(text.contains(&digest_source(content)));
        }
        assert!(text.contains("<title>&lt;t&gt;</title>") && text.contains("a&amp;b"), "{}", &text[..400]);
        assert!(!text.contains("style="), "the policy forbids styles of elements");
    }

    #[test]
    fn a_served_page_holds_neither_style_nor_script() {
        let text = page("t", &[], &html! {}, Assets::Served);
        assert!(text.contains("href=\"/style.css\"") && text.contains("src=\"/script.js\""));
        assert!(!text.contains("<style>") && !text.contains("Content-Security-Policy") && !text.contains("<nav"));
    }

    #[test]
    fn our_own_files_cannot_end_their_element() {
        assert!(!SCRIPT.contains("</script") && !SCRIPT.contains("<!--") && !style_sheet().contains("</style"));
    }

    #[test]
    fn code_in_a_sentence_is_code() {
        assert_eq!(prose("a `<b>` c").into_string(), "a <code>&lt;b&gt;</code> c");
        assert_eq!(prose("a ` <c>").into_string(), "a ` &lt;c&gt;");
    }
}
