//! What is written to a file: one attribution with what it explains and what its colours mean, or several side by side.

use image::RgbImage;

use super::canvas::{BLACK, GREY, LINE, Weight, canvas, fitting, frame, number, put, shortened, text_width, write};
use super::colours::Palette;
use super::map::HeatMap;
use super::overlay::{enlarged, heat_over};

/// Space around everything, in pixels.
const MARGIN: u32 = 16;

/// Space between two panels.
const GAP: u32 = 12;

/// The width of a colour bar.
const BAR: u32 = 16;

/// About as large is a panel of a figure of its own, and one of a sheet.
const FIGURE_SIDE: u32 = 384;
const SHEET_SIDE: u32 = 224;

/// What is written above the panels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caption {
    /// In bold: the method, or what all share.
    pub title: String,
    /// Below it: the model, the file, the class.
    pub detail: String,
}

/// One method's map on a contact sheet.
#[derive(Clone, Debug)]
pub struct SheetCell {
    /// The method.
    pub title: String,
    /// Its map.
    pub map: HeatMap,
}

/// How much larger the pixels of a panel are, so that it is about `side` pixels long; at least as large as they are.
fn factor(width: u32, height: u32, side: u32) -> u32 {
    let longer = width.max(height).max(1);
    ((side + longer / 2) / longer).max(1)
}

/// A map as a figure: what it explains, the map over it, the map alone, and its colours with their values. Without a
/// picture the map alone.
pub fn figure(map: &HeatMap, picture: Option<&RgbImage>, caption: &Caption) -> RgbImage {
    let (width, height) = picture.map_or((map.width() as u32, map.height() as u32), RgbImage::dimensions);
    let factor = factor(width, height, FIGURE_SIDE);
    let mut panels = Vec::new();
    if let Some(picture) = picture {
        panels.push(("input", enlarged(picture, factor)));
        panels.push(("attribution over the input", heat_over(map, Some(picture), factor)));
    }
    panels.push(("attribution", alone(map, (width, height), factor)));
    let (width, height) = (width * factor, height * factor);
    // What is wide, as a spectrogram, stands one above the other.
    let stacked = width > 2 * height;
    let (across, down) = if stacked { (1, panels.len() as u32) } else { (panels.len() as u32, 1) };
    let labels = bar_labels(map);
    let label_width = labels.iter().map(|(_, label)| text_width(label)).max().unwrap_or(0);
    let bar_left = MARGIN + across * (width + GAP) + GAP;
    let top = MARGIN + 2 * LINE + GAP;
    let step = height + LINE + GAP;
    let mut out = canvas(bar_left + BAR + 8 + label_width + MARGIN, top + down * step - GAP + MARGIN);
    headline(&mut out, caption);
    for (index, (name, panel)) in (0..).zip(&panels) {
        let (left, above) = if stacked { (MARGIN, top + index * step) } else { (MARGIN + index * (width + GAP), top) };
        frame(&mut out, left, above, width, height);
        put(&mut out, panel, left, above);
        write(&mut out, left, above + height + 4, &shortened(name, width), GREY, Weight::Regular);
    }
    colour_bar(&mut out, map.is_signed(), &labels, bar_left, top + (down - 1) * step, height);
    out
}

/// The map alone, as large as the picture that it explains.
fn alone(map: &HeatMap, (width, height): (u32, u32), factor: u32) -> RgbImage {
    let whole = (width as usize, height as usize) == (map.width(), map.height());
    if whole {
        return heat_over(map, None, factor);
    }
    let palette = Palette::of(map.is_signed());
    // Its own places are shown: what is interpolated over the picture is coarser than it looks.
    RgbImage::from_fn(width * factor, height * factor, |x, y| {
        let place = |at: u32, length: u32, places: usize| at as usize * places / (length * factor) as usize;
        palette.colour(map.share(place(x, width, map.width()), place(y, height, map.height())))
    })
}

fn headline(out: &mut RgbImage, caption: &Caption) {
    let room = out.width() - 2 * MARGIN;
    write(out, MARGIN, MARGIN, &shortened(&caption.title, room), BLACK, Weight::Bold);
    write(out, MARGIN, MARGIN + LINE, &shortened(&caption.detail, room), GREY, Weight::Regular);
}

/// Where values stand on a colour bar (0 at its foot, 1 at its head), and their texts.
fn bar_labels(map: &HeatMap) -> Vec<(f32, String)> {
    let bound = map.bound();
    if bound == 0.0 {
        // Nothing anywhere: the bar has no scale.
        return vec![(if map.is_signed() { 0.5 } else { 0.0 }, number(0.0))];
    }
    let [above, below] = if map.is_clipped() { [">= ", "<= "] } else { [""; 2] };
    let mut labels = vec![(1.0, [above, &number(bound)].concat())];
    if map.is_signed() {
        labels.extend([(0.5, number(0.0)), (0.0, [below, &number(-bound)].concat())]);
    } else {
        labels.push((0.0, number(0.0)));
    }
    labels
}

fn colour_bar(out: &mut RgbImage, signed: bool, labels: &[(f32, String)], left: u32, top: u32, height: u32) {
    frame(out, left, top, BAR, height);
    put(out, &ramp(signed, BAR, height, true), left, top);
    for (place, label) in labels {
        let y = top + ((1.0 - place) * (height - 1) as f32) as u32;
        write(out, left + BAR + 8, y.saturating_sub(LINE / 2).max(top), label, GREY, Weight::Regular);
    }
}

/// The colours of a palette, from its least to its most: upwards, or to the right.
fn ramp(signed: bool, width: u32, height: u32, upwards: bool) -> RgbImage {
    let palette = Palette::of(signed);
    RgbImage::from_fn(width, height, |x, y| {
        let place =
            if upwards { 1.0 - y as f32 / (height - 1).max(1) as f32 } else { x as f32 / (width - 1).max(1) as f32 };
        palette.colour(if signed { 2.0 * place - 1.0 } else { place })
    })
}

/// Several maps of one picture side by side, each in its own range, with the picture first.
pub fn contact_sheet(cells: &[SheetCell], picture: Option<&RgbImage>, caption: &Caption) -> RgbImage {
    let first = cells.first().map(|cell| (cell.map.width() as u32, cell.map.height() as u32)).unwrap_or((1, 1));
    let (width, height) = picture.map_or(first, RgbImage::dimensions);
    let factor = factor(width, height, SHEET_SIDE);
    let (panel_width, panel_height) = (width * factor, height * factor);
    let (cell_width, cell_height) = (panel_width + GAP, panel_height + 2 * LINE + GAP);
    let count = cells.len() as u32 + u32::from(picture.is_some());
    let columns = columns(count, cell_width, cell_height);
    let top = MARGIN + 2 * LINE + GAP;
    let rows = count.div_ceil(columns);
    let legend_top = top + rows * cell_height;
    let mut out = canvas(2 * MARGIN + columns * cell_width - GAP, legend_top + LINE + MARGIN);
    headline(&mut out, caption);
    let input = picture.map(|picture| ("input", String::new(), enlarged(picture, factor)));
    let maps = cells.iter().map(|cell| {
        let panel = match picture {
            Some(picture) => heat_over(&cell.map, Some(picture), factor),
            None => alone(&cell.map, (width, height), factor),
        };
        (cell.title.as_str(), range_text(&cell.map), panel)
    });
    for (index, (title, range, panel)) in (0..).zip(input.into_iter().chain(maps)) {
        let left = MARGIN + index % columns * cell_width;
        let above = top + index / columns * cell_height;
        frame(&mut out, left, above, panel_width, panel_height);
        put(&mut out, &panel, left, above);
        write(&mut out, left, above + panel_height + 3, &shortened(title, panel_width), BLACK, Weight::Bold);
        write(&mut out, left, above + panel_height + 3 + LINE, &shortened(&range, panel_width), GREY, Weight::Regular);
    }
    legend(&mut out, cells, legend_top);
    out
}

/// The range of a map's colours.
fn range_text(map: &HeatMap) -> String {
    let (low, bound) = (if map.is_signed() { -map.bound() } else { 0.0 }, number(map.bound()));
    if map.bound() == 0.0 { "nothing anywhere".to_owned() } else { [&number(low), " to ", &bound].concat() }
}

/// As many columns as make the sheet about as wide as people's screens: 3 to 2.
fn columns(count: u32, cell_width: u32, cell_height: u32) -> u32 {
    let wide = (1.5 * f64::from(count * cell_height) / f64::from(cell_width.max(1))).sqrt().round() as u32;
    let columns = wide.clamp(1, count.max(1));
    // No row that is nearly empty where fewer columns do as well.
    count.div_ceil(count.div_ceil(columns).max(1)).max(1)
}

/// What the colours mean, for those palettes that occur.
fn legend(out: &mut RgbImage, cells: &[SheetCell], top: u32) {
    const RAMP: u32 = 96;
    let meanings = [(true, "against", "for the class"), (false, "nothing", "strong")];
    let mut left = MARGIN;
    for (signed, low, high) in meanings {
        if !cells.iter().any(|cell| cell.map.is_signed() == signed) {
            continue;
        }
        let needed = text_width(low) + 8 + RAMP + 8 + text_width(high);
        if fitting(out.width().saturating_sub(left + MARGIN)) < fitting(needed) {
            return;
        }
        write(out, left, top, low, GREY, Weight::Regular);
        let ramp_left = left + text_width(low) + 8;
        frame(out, ramp_left, top + 2, RAMP, LINE - 8);
        put(out, &ramp(signed, RAMP, LINE - 8, false), ramp_left, top + 2);
        write(out, ramp_left + RAMP + 8, top, high, GREY, Weight::Regular);
        left += needed + 3 * GAP;
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;
    use crate::heatmap::png;

    fn caption() -> Caption {
        Caption { title: "saliency".into(), detail: "cifar_cnn, cat.png, class 3".into() }
    }

    fn map(side: usize, sign: f32) -> HeatMap {
        let values: Vec<f32> = (0..side * side).map(|place| (place as f32 / 7.0).sin() + sign).collect();
        HeatMap::new(&[1, side, side], &values).unwrap()
    }

    #[test]
    fn small_inputs_are_enlarged_and_large_ones_are_not() {
        assert_eq!([factor(32, 32, 384), factor(224, 224, 384), factor(800, 600, 384)], [12, 2, 1]);
        assert_eq!([factor(32, 32, 224), factor(224, 224, 224), factor(1, 1, 4)], [7, 1, 4]);
    }

    #[test]
    fn a_figure_has_its_panels_side_by_side() {
        let picture = RgbImage::from_pixel(32, 32, Rgb([200, 100, 0]));
        let figure = figure(&map(32, 0.0), Some(&picture), &caption());
        let (width, height) = figure.dimensions();
        assert!(width > 3 * 384 && width < 3 * 384 + 250 && height > 384 && height < 384 + 150, "{width} x {height}");
        assert_eq!(*figure.get_pixel(MARGIN + 5, MARGIN + 2 * LINE + GAP + 5), Rgb([200, 100, 0]));
        let file = png(&figure).unwrap();
        assert_eq!(image::load_from_memory(&file).unwrap().into_rgb8(), figure);
    }

    #[test]
    fn what_is_wide_is_stacked() {
        let values: Vec<f32> = (0..80 * 3000).map(|place| (place as f32).sin()).collect();
        let map = HeatMap::new(&[80, 3000], &values).unwrap();
        let picture = RgbImage::from_pixel(3000, 80, Rgb([50; 3]));
        let (width, height) = figure(&map, Some(&picture), &caption()).dimensions();
        assert!(width < 3300 && height > 3 * 80, "{width} x {height}");
    }

    #[test]
    fn maps_of_any_size_make_a_figure() {
        let picture = RgbImage::from_pixel(1, 3, Rgb([9; 3]));
        let nothing = HeatMap::new(&[7, 7], &[0.0; 49]).unwrap();
        let broken = HeatMap::new(&[1, 1], &[f32::NAN]).unwrap();
        for map in [map(1, 0.0), map(7, 2.0), nothing, broken] {
            for picture in [None, Some(&picture)] {
                figure(&map, picture, &caption());
                contact_sheet(&[SheetCell { title: "x".into(), map: map.clone() }], picture, &caption());
            }
        }
        contact_sheet(&[], Some(&picture), &caption());
        contact_sheet(&[], None, &caption());
    }

    #[test]
    fn a_sheet_has_no_row_that_is_nearly_empty() {
        for count in 1..40 {
            let columns = columns(count, 236, 276);
            let rows = count.div_ceil(columns);
            assert!(columns * rows >= count && columns * rows - count < rows, "{count} in {columns} columns");
        }
        assert_eq!((columns(16, 236, 276), columns(1, 236, 276)), (4, 1));
    }
}
