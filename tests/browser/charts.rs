//! Charts on a page: where to point at, and which of them have a legend.

use crate::chromium::{Browser, Place};

/// Where a spot of a chart is in the window.
pub fn spot(browser: &mut Browser, chart: &str, number: usize) -> (Place, String) {
    browser.place_of(&format!("{chart} svg"));
    let found = browser.value(&format!(
        "(() => {{ const figure = document.querySelector('{chart}');
           const [x, y, , ...said] = JSON.parse(figure.dataset.spots)[{number}];
           const lines = JSON.parse(figure.dataset.lines);
           const text = said.map((line) => lines[line]).join('\\n');
           const box = figure.querySelector('svg').getBoundingClientRect();
           const by = box.width / Number(figure.dataset.width);
           window.scrollBy(0, box.y + y * by - window.innerHeight / 2);
           const moved = figure.querySelector('svg').getBoundingClientRect();
           return [moved.x + x * by, moved.y + y * by, text]; }})()"
    ));
    let place = Place { x: found[0].as_f64().unwrap(), y: found[1].as_f64().unwrap() };
    (place, found[2].as_str().unwrap().to_owned())
}

/// The first chart that has a legend.
pub fn chart_with_legend(browser: &mut Browser) -> String {
    let id = browser.text("document.querySelector('figure.chart:has(g.key)')?.id ?? ''");
    assert!(!id.is_empty(), "no chart has a legend");
    format!("#{id}")
}

/// Points at the first spot of a chart, whose tip was hidden and has to say what the spot says; gives the tip, as JavaScript,
/// the place and the text.
#[track_caller]
pub fn point_at_first(browser: &mut Browser, chart: &str) -> (String, Place, String) {
    let tip = format!("document.querySelector('{chart} .tip')");
    assert_eq!(browser.value(&format!("{tip}.hidden")), true);
    let (place, text) = spot(browser, chart, 0);
    browser.point_at(place);
    assert_eq!(browser.value(&format!("{tip}.hidden")), false, "nothing is said at {place:?}");
    assert_eq!(browser.text(&format!("{tip}.textContent")), text);
    (tip, place, text)
}
