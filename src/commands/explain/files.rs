//! What is written to files: heat maps, attributions, contact sheets.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use image::RgbImage;

use super::super::{CommandError, Context, path_text};
use super::session::{Done, Waiting};
use crate::dataset::InputFile;
use crate::domain::text::counted;
use crate::domain::{HostData, HostTensor};
use crate::exchange::tensors::write_tensors;
use crate::heatmap::{Caption, HeatMap, SheetCell, contact_sheet, figure, grey_picture, png};
use crate::measure::StageProfiler;

/// A map, and what it explains.
#[derive(Debug)]
pub(super) struct Drawn {
    method: &'static str,
    map: HeatMap,
    picture: Option<RgbImage>,
    caption: Caption,
}

impl Drawn {
    /// The map of an explanation; `None` where it is none, as of a text.
    pub(super) fn new(model: &str, method: &'static str, waiting: &Waiting, done: &Done) -> Option<Self> {
        let HostData::F32(values) = &done.attribution.data else { return None };
        let map = HeatMap::new(&done.attribution.shape, values)?;
        let spectrogram = spectrogram(&waiting.sample.inputs);
        let map = if spectrogram.is_some() { map.upside_down() } else { map };
        let picture = waiting.sample.picture.clone().or(spectrogram);
        let caption = Caption { title: method.to_owned(), detail: detail(model, waiting, done) };
        Some(Self { method, map, picture, caption })
    }
}

/// What is explained: the model, the sample, the class, and who said so.
fn detail(model: &str, waiting: &Waiting, done: &Done) -> String {
    let target = done.facts.target;
    let position = target.position.map(|position| format!(" at {position}")).unwrap_or_default();
    let whose = if waiting.target.is_none() { " (the network's answer)" } else { "" };
    format!("{model}, {}, class {}{position}{whose}", waiting.sample.name, target.class)
}

/// The first spectrogram of a sample, its lowest frequency at the foot.
fn spectrogram(inputs: &[HostTensor]) -> Option<RgbImage> {
    let mel = inputs.iter().find(|tensor| tensor.name == "mel")?;
    let ([1, bins, frames], HostData::F32(values)) = (&mel.shape[..], &mel.data) else { return None };
    let rows: Vec<f32> = values.chunks_exact((*frames).max(1)).rev().flatten().copied().collect();
    grey_picture(*frames, *bins, &rows)
}

/// What was written for one explanation.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub(super) picture: Option<PathBuf>,
    pub(super) attribution: Option<PathBuf>,
}

/// Where files go.
#[derive(Debug)]
pub(super) struct Destination {
    /// A folder, or the one picture of one sample.
    output: PathBuf,
    single: bool,
    /// The attribution of one sample by one method.
    attribution: Option<PathBuf>,
    /// Whether a single picture is a contact sheet.
    several_methods: bool,
}

/// Endings of files that nobody means as the name of a folder.
const OTHER_PICTURES: [&str; 7] = ["jpg", "jpeg", "gif", "webp", "bmp", "svg", "pdf"];

impl Destination {
    /// # Errors
    /// One file for several inputs or attributions, or one that would overwrite an input.
    pub(super) fn new(
        output: &Path,
        attribution: Option<&Path>,
        files: &[InputFile],
        methods: usize,
    ) -> Result<Self, CommandError> {
        let ending = output.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        if OTHER_PICTURES.contains(&ending.as_str()) && !output.is_dir() {
            let message = format!("`{}`: heat maps are written as .png", output.display());
            return Err(CommandError::new(message, "name a file that ends in .png, or a folder"));
        }
        let single = output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) && !output.is_dir();
        for (target, option) in [(single.then_some(output), "--output"), (attribution, "--save-attribution")] {
            let whole = |path: &Path| std::fs::canonicalize(path).ok();
            let target = target.and_then(whole);
            if target.is_some() && files.iter().any(|file| whole(&file.path) == target) {
                let message = "the output would overwrite an input";
                return Err(CommandError::new(message, format!("choose another `{option}`")));
            }
        }
        if attribution.is_some() && methods > 1 {
            let message = format!("`--save-attribution` is one file, there are {methods} methods");
            return Err(CommandError::new(message, "the folder of `--output` gets one for each"));
        }
        let destination = Self {
            output: output.to_path_buf(),
            single,
            attribution: attribution.map(Path::to_path_buf),
            several_methods: methods > 1,
        };
        destination.check(files.len(), 1)?;
        Ok(destination)
    }

    /// One file is for one sample.
    ///
    /// # Errors
    /// There are more.
    pub(super) fn check(&self, files: usize, samples: usize) -> Result<(), CommandError> {
        if files * samples < 2 || !(self.single || self.attribution.is_some()) {
            return Ok(());
        }
        let option = if self.single { "--output" } else { "--save-attribution" };
        let message = format!("`{option}` is one file, there are {} inputs", files.max(samples));
        Err(CommandError::new(message, "name a folder with `--output`: it gets files for each"))
    }

    /// Writes the heat map and the attribution of one explanation.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(super) fn write(
        &self,
        context: &Context,
        profiler: &StageProfiler,
        waiting: &Waiting,
        method: &str,
        done: &Done,
        drawn: Option<&Drawn>,
    ) -> anyhow::Result<Written> {
        let mut written = Written::default();
        let name = [&waiting.sample.name, ".", method].concat();
        let array = match (&self.attribution, self.single) {
            (Some(path), _) => Some(path.clone()),
            (None, true) => None,
            (None, false) => Some(self.in_folder(&name, "npy")?),
        };
        if let Some(path) = array {
            let text = path_text(&path);
            let single = std::slice::from_ref(&done.attribution);
            profiler
                .time("write", || context.write(Some(&path), |out| Ok(write_tensors(out, single, false, &text)?)))?;
            written.attribution = Some(path);
        }
        if let Some(drawn) = drawn.filter(|_| !(self.single && self.several_methods)) {
            let path = if self.single { self.output.clone() } else { self.in_folder(&name, "png")? };
            save(context, profiler, &path, || figure(&drawn.map, drawn.picture.as_ref(), &drawn.caption))?;
            written.picture = Some(path);
        }
        Ok(written)
    }

    /// Writes what all methods say of one sample.
    ///
    /// # Errors
    /// What the file system refuses.
    pub(super) fn write_sheet(
        &self,
        context: &Context,
        profiler: &StageProfiler,
        waiting: &Waiting,
        drawn: &[Drawn],
    ) -> anyhow::Result<()> {
        let Some(first) = drawn.first() else { return Ok(()) };
        let detail = first.caption.detail.clone();
        let path =
            if self.single { self.output.clone() } else { self.in_folder(&waiting.sample.name, "contact_sheet.png")? };
        let cell = |drawn: &Drawn| SheetCell { title: drawn.method.to_owned(), map: drawn.map.clone() };
        let cells: Vec<SheetCell> = drawn.iter().map(cell).collect();
        let title = counted(cells.len(), "attribution method", "attribution methods");
        let caption = Caption { title, detail };
        save(context, profiler, &path, || contact_sheet(&cells, first.picture.as_ref(), &caption))?;
        context.note(&format!("wrote `{}`", path.display()));
        Ok(())
    }

    /// A file in the folder, which is made with its first one.
    fn in_folder(&self, name: &str, ending: &str) -> anyhow::Result<PathBuf> {
        std::fs::create_dir_all(&self.output).with_context(|| {
            CommandError::new(
                format!("cannot make the folder `{}`", self.output.display()),
                "choose another `--output`: a folder, or a file that ends in .png",
            )
        })?;
        Ok(self.output.join([name, ".", ending].concat()))
    }
}

fn save(
    context: &Context,
    profiler: &StageProfiler,
    path: &Path,
    draw: impl FnOnce() -> RgbImage,
) -> anyhow::Result<()> {
    let bytes = profiler.time("draw", || png(&draw()))?;
    profiler.time("write", || context.write(Some(path), |out| Ok(out.write_all(&bytes)?)))
}
