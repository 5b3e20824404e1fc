//! Reports as text: Markdown that fits a pull request, and JSON for programs. Pages are in [`html`](super::html).

mod json;
mod markdown;

pub use json::json_text;
pub use markdown::{MOST_CHARACTERS, markdown_text};
