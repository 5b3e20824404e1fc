//! Charts in HTML: the drawing, what can be pointed at in it, and its numbers as tables for those who do not see it.

use maud::{Markup, PreEscaped, html};
use serde_json::json;

use super::prose;
use super::table::{rows, statement};
use super::values::{PanelData, panel_data};
use crate::domain::chart::{Chart, Sheet};
use crate::domain::text::counted;
use crate::report::charts::{ChartError, Drawing, draw};

/// A chart, or the sentence that says why there is none. `id` is its name on the page; no two charts have the same.
///
/// # Errors
/// A chart that cannot be drawn.
pub fn sheet(sheet: &Sheet, id: &str) -> Result<Markup, ChartError> {
    match sheet {
        Sheet::Chart(data) => chart(data, id),
        Sheet::Nothing { name, reason } => {
            let reason = reason.trim_end_matches('.');
            Ok(html! { p.note { "No chart of " (name.replace(['_', '-'], " ")) ": " (prose(reason)) "." } })
        }
    }
}

/// A chart with its heading, notes, data and statement. `id` is its name on the page.
///
/// # Errors
/// A chart that cannot be drawn.
pub fn chart(chart: &Chart, id: &str) -> Result<Markup, ChartError> {
    // What stands around the drawing is text of the page.
    let bare = Chart { title: String::new(), subtitle: String::new(), notes: Vec::new(), ..chart.clone() };
    Ok(figure(chart, &draw(&bare)?, id))
}

/// A drawn chart.
fn figure(chart: &Chart, drawing: &Drawing, id: &str) -> Markup {
    let (title_id, about_id) = ([id, "-title"].concat(), [id, "-about"].concat());
    let spots: Vec<_> =
        drawing.spots.iter().map(|spot| json!([tenths(spot.x), tenths(spot.y), spot.series, spot.text])).collect();
    let data: Vec<PanelData> = chart.panels.iter().map(panel_data).collect();
    html! {
        figure.chart id=(id) data-width=(drawing.width) data-height=(drawing.height) data-keys=(json!(drawing.keys).to_string())
            data-spots=(json!(spots).to_string()) {
            figcaption {
                h3 id=(title_id) { (chart.title) }
                @if !chart.subtitle.is_empty() { p { (chart.subtitle) } }
            }
            div.scroll.drawing tabindex="0" role="group" aria-labelledby=(title_id) {
                (PreEscaped(labelled(&drawing.for_page(), drawing, &title_id, &about_id)))
            }
            @if !chart.notes.is_empty() {
                ul.notes { @for note in &chart.notes { li { (prose(note)) } } }
            }
            details.data aria-label=(format!("Numbers of the chart: {}", chart.title)) {
                summary { "Numbers of this chart" }
                p id=(about_id) { (about(chart, drawing)) }
                @for (index, panel) in data.iter().enumerate() {
                    @let panel_id = format!("{id}-data-{index}");
                    div.panel id=(format!("{panel_id}-rows")) {
                        h4 id=(panel_id) { @if panel.table.title.is_empty() { (chart.title) } @else { (panel.table.title) } }
                        (rows(&panel.table, &panel_id, None))
                        @for note in &panel.notes { p.note { (prose(note)) } }
                    }
                }
            }
            @if let Some(asked) = &chart.statement { (statement(asked, &chart.title)) }
        }
    }
}

/// A tenth of a pixel is enough.
fn tenths(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}

/// The drawing as a picture with a name and a description.
fn labelled(svg: &str, drawing: &Drawing, title_id: &str, about_id: &str) -> String {
    let Some((_, rest)) = svg.split_once("<svg ") else { return svg.to_owned() };
    let head = rest.split('>').next().unwrap_or_default();
    let view = if head.contains("viewBox") {
        String::new()
    } else {
        format!(" viewBox=\"0 0 {} {}\"", drawing.width, drawing.height)
    };
    // What stood before it (an XML declaration) is none of HTML's.
    format!("<svg role=\"img\" aria-labelledby=\"{title_id}\" aria-describedby=\"{about_id}\"{view} {rest}")
}

/// What the chart shows, for those who do not see it.
fn about(chart: &Chart, drawing: &Drawing) -> String {
    let panels = counted(chart.panels.len(), "panel", "panels");
    let keys = match drawing.keys.as_slice() {
        [] => String::new(),
        [one] => format!(", one series: {one}"),
        several => format!(", {} series: {}", several.len(), several.join(", ")),
    };
    format!("{panels}{keys}. Its numbers follow.")
}
