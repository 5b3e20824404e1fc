//! Charts in HTML: the drawing, what can be pointed at in it, and its numbers as tables for those who do not see it.

use std::collections::HashMap;

use maud::{Markup, PreEscaped, html};
use serde_json::json;

use super::prose;
use super::svg::{INHERITED, compact};
use super::table::{rows, statement};
use super::values::{PanelData, panel_data};
use crate::domain::chart::{Chart, Sheet};
use crate::domain::text::counted;
use crate::report::charts::{ChartError, Drawing, Spot, draw};

/// Spots of a chart on a page, before they are thinned: more than a reader tells apart.
const MOST_SPOTS: usize = 1_000;

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
    let (lines, spots) = encoded(&fewer(&drawing.spots));
    let data: Vec<PanelData> = chart.panels.iter().map(panel_data).collect();
    html! {
        figure.chart id=(id) data-width=(drawing.width) data-height=(drawing.height) data-keys=(json!(drawing.keys).to_string())
            data-lines=(json!(lines).to_string()) data-spots=(json!(spots).to_string()) {
            figcaption {
                h3 id=(title_id) { (chart.title) }
                @if !chart.subtitle.is_empty() { p { (chart.subtitle) } }
            }
            div.scroll.drawing tabindex="0" role="group" aria-labelledby=(title_id) {
                (PreEscaped(labelled(&compact(&drawing.for_page()), drawing, &title_id, &about_id)))
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

/// What can be pointed at on a page. Of very many spots those go that stand a few pixels beside the one before: nobody could
/// point at them.
fn fewer(spots: &[Spot]) -> Vec<&Spot> {
    let mut kept: Vec<&Spot> = spots.iter().collect();
    for reach in [1.0, 2.0, 4.0, 8.0, 16.0] {
        if kept.len() <= MOST_SPOTS {
            break;
        }
        let mut last: Option<&Spot> = None;
        kept.retain(|spot| {
            let is_near = |last: &Spot| {
                last.series == spot.series && (last.x - spot.x).abs() <= reach && (last.y - spot.y).abs() <= reach
            };
            let stays = !last.is_some_and(is_near);
            if stays {
                last = Some(*spot);
            }
            stays
        });
    }
    kept
}

/// The lines that spots say, each of them once, and the spots: x, y and series, then the places of their lines. Names and
/// details come again and again.
fn encoded<'s>(spots: &[&'s Spot]) -> (Vec<&'s str>, Vec<Vec<usize>>) {
    let (mut lines, mut places) = (Vec::new(), HashMap::new());
    let mut place = |line: &'s str| {
        *places.entry(line).or_insert_with(|| {
            lines.push(line);
            lines.len() - 1
        })
    };
    // A whole pixel is what a drawing is made of.
    let pixel = |place: f64| place.round().max(0.0) as usize;
    let encoded = spots.iter().map(|spot| {
        let mut numbers = vec![pixel(spot.x), pixel(spot.y), spot.series];
        numbers.extend(spot.text.split('\n').map(&mut place));
        numbers
    });
    let encoded = encoded.collect();
    (lines, encoded)
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
    format!("<svg role=\"img\" {INHERITED} aria-labelledby=\"{title_id}\" aria-describedby=\"{about_id}\"{view} {rest}")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(x: f64, series: usize, text: &str) -> Spot {
        Spot { x, y: 10.0, series, text: text.to_owned() }
    }

    #[test]
    fn a_line_that_comes_again_is_written_once() {
        let spots = [spot(1.0, 0, "a\n1 ms\nmedian of 3 runs"), spot(20.4, 1, "a\n2 ms\nmedian of 3 runs")];
        let (lines, encoded) = encoded(&spots.iter().collect::<Vec<_>>());
        assert_eq!(lines, ["a", "1 ms", "median of 3 runs", "2 ms"]);
        assert_eq!(encoded, [vec![1, 10, 0, 0, 1, 2], vec![20, 10, 1, 0, 3, 2]]);
    }

    #[test]
    fn of_very_many_spots_neighbours_go() {
        let line = |count: usize, step: f64| -> Vec<Spot> {
            (0..count).map(|index| spot(index as f64 * step, index * 2 / count, &index.to_string())).collect()
        };
        assert_eq!(fewer(&line(MOST_SPOTS, 0.1)).len(), MOST_SPOTS, "few stay as they are");
        let thick = line(20_000, 0.05);
        let kept = fewer(&thick);
        assert!(kept.len() <= MOST_SPOTS && kept.len() > MOST_SPOTS / 4, "{}", kept.len());
        // None is farther away than a reader would reach.
        assert!(kept.windows(2).all(|pair| pair[1].x - pair[0].x <= 8.0));
        let series = |spots: &[&Spot]| spots.iter().filter(|spot| spot.series == 1).count();
        assert!(series(&kept) > 100, "each series keeps its own");
    }
}
