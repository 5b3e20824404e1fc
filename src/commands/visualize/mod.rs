//! `benchdb visualize`: charts of the selected runs, a file each.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;

use super::sheets::{SheetOptions, sheets};
use super::{CommandError, Context, ExitStatus, OutputArgs, SelectArgs};
use crate::analysis::charts::ChartName;
use crate::analysis::compare::Reference;
use crate::domain::chart::{Chart, Sheet};
use crate::domain::{Cell, Table};
use crate::report::charts::{draw, letters_without_glyphs, png};
use crate::store::Access;

/// Pixels of a PNG for each of the sheet, where nothing else is said: sharp on today's screens.
const SCALE: f32 = 2.0;

/// Options of `benchdb visualize`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb visualize
  benchdb visualize throughput latency --model resnet50 --format png
  benchdb visualize speedup --framework 2.4.0 --relative-to device=3090
  benchdb visualize samples telemetry --run 12 --output pictures")]
pub struct Args {
    /// The charts; all without
    #[arg(value_enum, value_name = "CHARTS", ignore_case = true)]
    charts: Vec<ChartName>,
    /// Write the files to this folder, which is made where it is not there
    #[arg(long, short, value_name = "DIR", default_value = "charts")]
    output: PathBuf,
    /// The format of the files
    #[arg(long, value_enum, default_value_t)]
    format: PictureFormat,
    /// Pixels of a PNG for each of the sheet, from 0.25 to 8 [default: 2]
    #[arg(long, value_name = "FACTOR", value_parser = scale)]
    scale: Option<f32>,
    /// What speed-ups are relative to: a platform, or `part=value` pairs (`engine=tract`, `device=3090,precision=fp32`)
    #[arg(long, value_name = "REFERENCE", default_value = "cpu", value_parser = Reference::parse)]
    relative_to: Reference,
    /// Show software that pretends to be a device, too
    #[arg(long)]
    include_software: bool,
    #[command(flatten)]
    select: SelectArgs,
}

/// The format of a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PictureFormat {
    /// Scalable: sharp at every size, with text that can be searched.
    #[default]
    Svg,
    /// Pixels.
    Png,
}

impl PictureFormat {
    fn ending(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Png => "png",
        }
    }
}

fn scale(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(factor) if (0.25..=8.0).contains(&factor) => Ok(factor),
        _ => Err("it is a number from 0.25 to 8".to_owned()),
    }
}

/// Runs the command.
///
/// # Errors
/// A database that cannot be read, a folder or a file that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    if args.scale.is_some() && args.format == PictureFormat::Svg {
        return Err(CommandError::new("an SVG has no scale of its own", "`--scale` goes with `--format png`").into());
    }
    let store = context.open(Access::Read)?;
    let selection = args.select.selection(|wanted| store.find_campaign(wanted).map(|campaign| campaign.uuid))?;
    let mut wanted = args.charts.clone();
    if wanted.is_empty() {
        wanted = ChartName::value_variants().to_vec();
    }
    // A chart that is named twice is one file.
    let mut seen = Vec::new();
    wanted.retain(|chart| {
        !seen.contains(chart) && {
            seen.push(*chart);
            true
        }
    });
    let options = SheetOptions {
        charts: wanted,
        relative_to: args.relative_to.clone(),
        include_software: args.include_software,
        ..SheetOptions::default()
    };
    let made = sheets(&store, &selection, &options)?;
    drop(store);
    let mut table = Table::new("Charts", &["chart", "file", "shows"]);
    let mut drawn = 0;
    for sheet in &made {
        let row: [Cell; 3] = match sheet {
            Sheet::Nothing { name, reason } => [name.as_str().into(), Cell::Null, format!("nothing: {reason}").into()],
            Sheet::Chart(chart) => {
                let path = write(chart, args, context)?;
                drawn += 1;
                [chart.name.as_str().into(), path.display().to_string().into(), chart.title.as_str().into()]
            }
        };
        table.push(row);
    }
    context.print("charts", &[table], &OutputArgs::default())?;
    if drawn > 0 {
        return Ok(ExitStatus::Ok);
    }
    context.complain(
        "there is nothing to draw, and no file was written; the table says why",
        Some("`benchdb status` shows what the database holds; fewer options select more of it"),
    );
    Ok(ExitStatus::NotJudged)
}

/// Draws a chart into a file of its name.
fn write(chart: &Chart, args: &Args, context: &Context) -> anyhow::Result<PathBuf> {
    let drawing = draw(chart)?;
    let bytes = match args.format {
        PictureFormat::Svg => drawing.svg.into_bytes(),
        PictureFormat::Png => {
            let letters: String = letters_without_glyphs(&drawing).into_iter().collect();
            if !letters.is_empty() {
                context.note(&format!(
                    "the font of pictures lacks `{letters}`: {} shows a ? for each; `--format svg` leaves them to the viewer",
                    chart.name
                ));
            }
            png(&drawing, args.scale.unwrap_or(SCALE))?
        }
    };
    make_folder(&args.output)?;
    let path = args.output.join(&chart.name).with_extension(args.format.ending());
    context.write(Some(&path), |out| Ok(out.write_all(&bytes)?))?;
    Ok(path)
}

/// Makes the folder of the files, where it is not there.
fn make_folder(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() && !folder.is_dir() {
        return Err(CommandError::new(
            format!("`{}` is a file, and charts need a folder", folder.display()),
            "choose another `--output`",
        )
        .into());
    }
    std::fs::create_dir_all(folder).with_context(|| {
        CommandError::new(
            format!("cannot make the folder `{}`", folder.display()),
            "choose an `--output` where you may write, with room on its disk",
        )
    })
}
