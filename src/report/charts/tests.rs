//! Sheets as a whole: they are well-formed, nothing lies on anything else, and they say what is in the data.

use resvg::usvg::roxmltree::{Document, Node};

use super::canvas::width_of;
use super::{Drawing, draw, letters_without_glyphs, png};
use crate::domain::chart::{
    Axis, Chart, Content, Histogram, Join, Mark, Matrix, Panel, Place, Plane, PlaneSeries, Point, RowSeries, RowShape,
    Rows, Scale, Tone, Value,
};

/// A value that is different for each place.
fn value(place: usize, spread: f64) -> Value {
    let value = 3.0 * spread.powf((place * 37 % 101) as f64 / 100.0);
    Value { value, interval: Some((value * 0.9, value * 1.2)), detail: format!("{place} runs") }
}

fn sheet(contents: Vec<Content>, columns: usize) -> Chart {
    Chart {
        name: "made".into(),
        title: "A title that says what is shown".into(),
        subtitle: "fp32, 2 threads, burn-flex; bars are 95 % intervals of the median".into(),
        panels: contents.into_iter().map(|content| Panel { title: "a panel".into(), content }).collect(),
        columns,
        notes: vec!["3 runs were left out because they were throttled.".repeat(6)],
        ..Chart::default()
    }
}

fn name(place: usize) -> String {
    format!("resnet{place} burn-flex batch {}", 1 << (place % 8))
}

fn rows(count: usize, series: usize, shape: RowShape, spread: f64) -> Content {
    let series = (0..series).map(|number| RowSeries {
        name: format!("p{number}"),
        values: (0..count).map(|row| (row % 7 != 3).then(|| value(row + number, spread))).collect(),
    });
    Content::Rows(Rows {
        axis: Axis::new("latency", "ms"),
        names: (0..count).map(name).collect(),
        series: series.collect(),
        shape,
    })
}

fn plane(series: usize, join: Join, x: Scale, spread: f64) -> Content {
    let series = (0..series).map(|number| PlaneSeries {
        name: name(number),
        points: (0..7)
            .map(|place| Point {
                x: f64::from(1 << place),
                y: value(number + place, spread),
                label: if join == Join::Scatter { format!("variant {number}/{place}") } else { String::new() },
            })
            .collect(),
        join,
    });
    let mark = |x, label: &str, tone| Mark { place: Place::Vertical(x), label: label.into(), tone };
    let marks = vec![
        mark(8.0, "slower by 12 %", Tone::Bad),
        mark(9.0, "faster by 30 %", Tone::Good),
        mark(64.0, "at the edge of it all", Tone::Neutral),
        Mark { place: Place::Horizontal(5.0), label: "idle".into(), tone: Tone::Neutral },
        Mark { place: Place::Horizontal(5.05), label: "nearly idle".into(), tone: Tone::Bad },
    ];
    let series = series.collect();
    Content::Plane(Plane { x: Axis::new("batch size", "").scaled(x), y: Axis::new("latency", "ms"), series, marks })
}

fn matrix(rows: usize, columns: usize) -> Content {
    let cells = (0..rows).map(|row| (0..columns).map(|column| Some(value(row + column, 100.0))).collect()).collect();
    Content::Matrix(Matrix {
        axis: Axis::new("speed-up", "x"),
        rows: (0..rows).map(name).collect(),
        columns: (0..columns).map(name).collect(),
        cells,
        neutral: 10.0,
    })
}

fn histogram() -> Content {
    let mark = |x: f64, label: &str| Mark { place: Place::Vertical(x), label: label.into(), tone: Tone::Neutral };
    Content::Histogram(Histogram {
        axis: Axis::new("latency", "ms"),
        counted: "iterations".into(),
        start: 3.0,
        width: 0.25,
        counts: (0..40).map(|place| place * 13 % 29).collect(),
        marks: vec![mark(5.0, "median 5.0 ms"), mark(5.3, "mean 5.3 ms"), mark(12.0, "p99 12 ms")],
    })
}

/// Everything that there is, small and large.
fn sheets() -> Vec<Chart> {
    let mut sheets = Vec::new();
    for count in [1, 2, 60] {
        for spread in [3.0, 1000.0] {
            for shape in [RowShape::Bars, RowShape::Stacked, RowShape::Dots] {
                sheets.push(sheet(vec![rows(count, 3, shape, spread)], 1));
            }
            sheets.push(sheet(vec![rows(count, 1, RowShape::Bars, spread)], 1));
            for join in [Join::Scatter, Join::LineAndPoints, Join::Line, Join::Steps] {
                sheets.push(sheet(vec![plane(count, join, Scale::PowersOfTwo, spread)], 1));
            }
        }
        sheets.push(sheet(
            vec![plane(count, Join::Line, Scale::Time, 3.0), plane(count, Join::Line, Scale::Linear, 9.0)],
            2,
        ));
        sheets.push(sheet(vec![matrix(count, count.min(12))], 1));
    }
    sheets.push(sheet(vec![histogram(), plane(1, Join::Line, Scale::Linear, 2.0)], 2));
    sheets.push(sheet((0..6).map(|_| rows(13, 1, RowShape::Bars, 90.0)).collect(), 3));
    sheets
}

fn number(node: &Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).unwrap().parse().unwrap()
}

/// The box of a text: left, top, right, bottom.
fn words_box(node: &Node<'_, '_>) -> [f64; 4] {
    let words = node.text().unwrap().trim();
    let size = number(node, "font-size");
    let width = f64::from(width_of(words, size));
    let (x, y) = (number(node, "x"), number(node, "y"));
    let dy: f64 = match node.attribute("dy").unwrap() {
        "0.76em" => 0.76 * size,
        // The x-height of Roboto is 0.53 em.
        "0.5ex" => 0.26 * size,
        _ => -0.26 * size,
    };
    let baseline = y + dy;
    let left = match node.attribute("text-anchor").unwrap() {
        "start" => x,
        "middle" => x - width / 2.0,
        _ => x - width,
    };
    let flat = [left, baseline - 0.72 * size, left + width, baseline + 0.1 * size];
    match node.attribute("transform") {
        Some(turn) if turn.starts_with("rotate(270") => {
            // A quarter turn to the left about (x, y).
            let turned = |[from, to]: [f64; 2]| (x + (to - y), y - (from - x));
            let (a, b) = (turned([flat[0], flat[1]]), turned([flat[2], flat[3]]));
            [a.0.min(b.0), a.1.min(b.1), a.0.max(b.0), a.1.max(b.1)]
        }
        _ => flat,
    }
}

fn texts<'d>(document: &'d Document<'_>) -> Vec<(&'d str, [f64; 4])> {
    let nodes = document.descendants().filter(|node| node.has_tag_name("text"));
    nodes.map(|node| (node.text().unwrap().trim(), words_box(&node))).collect()
}

/// Looks for words that lie on other words or leave the sheet.
fn check(drawing: &Drawing, chart: &Chart) {
    let document = Document::parse(&drawing.svg).unwrap();
    let texts = texts(&document);
    let sheet = [0.0, 0.0, f64::from(drawing.width), f64::from(drawing.height)];
    for (number, (words, a)) in texts.iter().enumerate() {
        assert!(
            a[0] >= sheet[0] && a[1] >= sheet[1] && a[2] <= sheet[2] && a[3] <= sheet[3],
            "`{words}` leaves the sheet: {a:?} of {sheet:?} in {chart:?}"
        );
        for (other, b) in &texts[..number] {
            let apart = a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
            assert!(apart, "`{words}` {a:?} lies on `{other}` {b:?} in {chart:?}");
        }
    }
    for spot in &drawing.spots {
        assert!((0.0..=sheet[2]).contains(&spot.x) && (0.0..=sheet[3]).contains(&spot.y), "{spot:?}");
        assert!(spot.series < drawing.keys.len().max(1), "{spot:?}");
    }
}

#[test]
fn no_words_lie_on_others_or_leave_the_sheet() {
    for chart in sheets() {
        check(&draw(&chart).unwrap(), &chart);
    }
}

#[test]
fn rows_and_columns_that_differ_are_drawn_with_different_names() {
    let long =
        |number: usize| format!("{} {number} {}", "convnext_base on a card".repeat(6), "nchw, 3x224x224".repeat(6));
    let names: Vec<String> = (0..4).map(long).collect();
    let (mut bars, mut map) = (rows(4, 1, RowShape::Bars, 3.0), matrix(4, 4));
    if let (Content::Rows(rows), Content::Matrix(matrix)) = (&mut bars, &mut map) {
        rows.names.clone_from(&names);
        matrix.rows.clone_from(&names);
        matrix.columns.clone_from(&names);
    }
    for (content, shown) in [(bars, 4), (map, 8)] {
        let chart = sheet(vec![content], 1);
        let drawing = draw(&chart).unwrap();
        check(&drawing, &chart);
        let document = Document::parse(&drawing.svg).unwrap();
        let words: Vec<&str> = texts(&document).into_iter().map(|(words, _)| words).collect();
        let own: Vec<&&str> = words.iter().filter(|words| words.starts_with("convnext_base")).collect();
        let distinct: std::collections::BTreeSet<_> = own.iter().collect();
        // Rows and columns are cut to different lengths.
        assert_eq!((own.len(), distinct.len()), (shown, shown), "{own:?}");
    }
}

#[test]
fn only_what_is_joined_has_a_line_in_the_legend() {
    let mut chart = sheet(vec![plane(2, Join::Scatter, Scale::Linear, 3.0)], 1);
    if let Content::Plane(plane) = &mut chart.panels[0].content {
        plane.series[1].join = Join::Steps;
    }
    let drawing = draw(&chart).unwrap();
    let document = Document::parse(&drawing.svg).unwrap();
    let keys = document.descendants().filter(|node| node.attribute("class") == Some("key"));
    let lines: Vec<bool> = keys.map(|key| key.descendants().any(|node| node.has_tag_name("polyline"))).collect();
    assert_eq!(lines, [false, true]);
}

#[test]
fn every_value_can_be_pointed_at_and_is_told_with_its_interval() {
    let chart = sheet(vec![rows(2, 2, RowShape::Dots, 3.0)], 1);
    let drawing = draw(&chart).unwrap();
    assert_eq!(drawing.spots.len(), 4);
    assert_eq!(drawing.spots[0].text, format!("{}\np0\nlatency: 3.000 ms (2.700 to 3.600)\n0 runs", name(0)));
    assert_eq!(drawing.keys, ["p0", "p1"]);
}

#[test]
fn every_series_has_a_group_and_an_entry_of_the_legend() {
    let drawing = draw(&sheet(vec![plane(60, Join::LineAndPoints, Scale::PowersOfTwo, 3.0)], 1)).unwrap();
    let document = Document::parse(&drawing.svg).unwrap();
    for class in ["series", "key"] {
        let groups = document.descendants().filter(|node| node.attribute("class") == Some(class));
        let numbers: Vec<&str> = groups.map(|node| node.attribute("data-series").unwrap()).collect();
        assert_eq!(numbers.len(), 60, "{class}");
    }
    let alone = draw(&sheet(vec![plane(1, Join::LineAndPoints, Scale::PowersOfTwo, 3.0)], 1)).unwrap();
    assert!(!alone.svg.contains("class=\"key\""), "one series needs no legend");
}

#[test]
fn hostile_names_do_no_harm() {
    let mut chart = sheet(vec![rows(1, 2, RowShape::Dots, 3.0), plane(2, Join::Line, Scale::Linear, 3.0)], 1);
    let evil = "<script>alert(1)</script>\u{1b}[2J\u{0}&amp;\"'";
    chart.title = evil.into();
    if let Content::Rows(rows) = &mut chart.panels[0].content {
        rows.names[0] = evil.repeat(40);
        rows.series[0].name = evil.into();
    }
    let drawing = draw(&chart).unwrap();
    assert!(!drawing.svg.contains("<script"));
    let document = Document::parse(&drawing.svg).unwrap();
    assert!(texts(&document).iter().any(|(words, _)| words.starts_with("<script>alert(1)</script>")));
    check(&drawing, &chart);
}

#[test]
fn what_is_no_number_is_not_drawn() {
    let point = |x, y| Point { x, y: Value::plain(y), label: String::new() };
    let series = PlaneSeries {
        name: "s".into(),
        points: vec![point(f64::NAN, 1.0), point(1.0, f64::INFINITY), point(2.0, 2.0)],
        join: Join::LineAndPoints,
    };
    let plane = Plane { series: vec![series], ..Plane::default() };
    let drawing = draw(&sheet(vec![Content::Plane(plane)], 1)).unwrap();
    assert_eq!(drawing.spots.len(), 1);
    let empty = draw(&sheet(vec![Content::Plane(Plane::default()), rows(0, 0, RowShape::Bars, 1.0)], 2)).unwrap();
    assert!(empty.spots.is_empty());
}

#[test]
fn a_page_has_its_own_colours() {
    let drawing = draw(&sheet(vec![rows(3, 1, RowShape::Bars, 3.0)], 1)).unwrap();
    let page = drawing.for_page();
    for name in ["--ink", "--soft", "--grid", "--paper", "--series-0"] {
        assert!(page.contains(&format!("\"var({name})\"")), "{name}");
    }
    assert!(!page.contains("#1B1F24"));
}

#[test]
fn pictures_need_no_fonts_of_the_system() {
    let drawing = draw(&sheet(vec![rows(3, 1, RowShape::Bars, 3.0)], 1)).unwrap();
    let without = drawing.svg.replace("<text", "<desc").replace("</text", "</desc");
    let words = png(&drawing, 1.0).unwrap();
    let none = png(&Drawing { svg: without, ..drawing.clone() }, 1.0).unwrap();
    assert_ne!(words, none, "words are drawn by the embedded font");
    let twice = png(&drawing, 2.0).unwrap();
    assert_eq!(&twice[16..20], (2 * drawing.width).to_be_bytes(), "the width in the head of a PNG");
    assert!(png(&drawing, 0.0).is_err());
}

#[test]
fn a_letter_that_the_font_lacks_is_a_question_mark_in_a_picture() {
    let named = |name: &str| {
        let mut chart = sheet(vec![rows(1, 1, RowShape::Bars, 3.0)], 1);
        chart.title = name.to_owned();
        draw(&chart).unwrap()
    };
    assert!(letters_without_glyphs(&named("naïve Ωμέγα Жук \u{2026}")).is_empty());
    let foreign = named("模型 \u{1f680} a");
    assert_eq!(letters_without_glyphs(&foreign).into_iter().collect::<String>(), "型模\u{1f680}");
    let marks = Drawing { svg: foreign.svg.replace(['模', '型', '\u{1f680}'], "?"), ..foreign.clone() };
    assert_eq!(png(&foreign, 1.0).unwrap(), png(&marks, 1.0).unwrap());
    assert_ne!(png(&foreign, 1.0).unwrap(), png(&named("a"), 1.0).unwrap());
}

#[test]
#[ignore = "for people: writes every sheet as a picture into the folder BENCHDB_SHEETS"]
fn all_sheets_as_pictures() {
    let folder = std::path::PathBuf::from(std::env::var("BENCHDB_SHEETS").unwrap());
    for (number, chart) in sheets().iter().enumerate() {
        let picture = png(&draw(chart).unwrap(), 1.0).unwrap();
        std::fs::write(folder.join(format!("{number:02}.png")), picture).unwrap();
    }
}
