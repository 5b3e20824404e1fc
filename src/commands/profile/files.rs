//! The files of a profile and of a comparison.

use std::io::Write;
use std::path::Path;

use anyhow::Context as _;

use super::super::{CommandError, Context, path_text};
use super::tables::{Shown, operators};
use crate::domain::profile::ProfiledPart;
use crate::domain::run::OperatorTime;
use crate::report::profile::{
    Flame, Frames, chrome_trace, cpu_lines, difference_graph, difference_lines, flame_graph, operator_lines, speedscope,
};
use crate::report::{Format, Style, renderer};

/// Makes a folder, if it is not there.
///
/// # Errors
/// What the file system refuses.
pub(super) fn make_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| {
        CommandError::new(
            format!("cannot make the folder `{}`", folder.display()),
            "`--output` names a folder, and the one above it must be writable",
        )
    })
}

/// Writes one file into a folder and says so.
fn file(
    folder: &Path,
    name: &str,
    context: &Context,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let path = folder.join(name);
    context.write(Some(&path), |out| Ok(write(out)?))?;
    context.note(&format!("wrote `{}`", path_text(&path)));
    Ok(())
}

/// Writes a profile: both flame graphs, both timelines and all operators.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn write(folder: &Path, shown: &Shown<'_>, context: &Context) -> anyhow::Result<()> {
    let configuration = &shown.record.configuration;
    let what = format!("{}, {}", configuration.model, configuration.mode);
    let place = format!(
        "{} on {}, {}, batch {}",
        configuration.engine, configuration.device.name, configuration.precision, configuration.batch_size
    );
    let profile = shown.profile;
    let times: Vec<OperatorTime> = profile.parts.iter().map(ProfiledPart::time).collect();
    let lines = operator_lines(&times, profile.pairs.len() as u64);
    let flame = Flame {
        title: &format!("Operators of {what}: one iteration"),
        subtitle: &place,
        unit: "ns",
        frames: Frames::Operators,
    };
    file(folder, "operators.svg", context, |out| flame_graph(&lines, &flame, out))?;
    let lines = profile.cpu.as_ref().map(cpu_lines).unwrap_or_default();
    if !lines.is_empty() {
        let flame = Flame {
            title: &format!("Processor during {what}"),
            subtitle: &place,
            unit: "samples",
            frames: Frames::Functions,
        };
        file(folder, "samples.svg", context, |out| flame_graph(&lines, &flame, out))?;
    } else if profile.cpu.is_some() {
        context.note(
            "the processor was never seen at work: there is no `samples.svg`; a higher `--sampling-rate` sees more",
        );
    }
    file(folder, "operators.speedscope.json", context, |out| speedscope(profile, &what, out))?;
    file(folder, "operators.trace.json", context, |out| chrome_trace(profile, &what, out))?;
    let table = operators(shown, None, false);
    file(folder, "operators.csv", context, |out| {
        renderer(Format::Csv, Style::default()).render("operators", std::slice::from_ref(&table), out)
    })
}

/// Writes the differential flame graph of two profiles: operator times and iterations before and after.
///
/// # Errors
/// A file that cannot be written.
pub(super) fn write_difference(
    folder: &Path,
    title: &str,
    subtitle: &str,
    [before, after]: [(&[OperatorTime], u64); 2],
    context: &Context,
) -> anyhow::Result<()> {
    make_folder(folder)?;
    let lines = difference_lines(before, after);
    let flame = Flame { title, subtitle, unit: "ns", frames: Frames::Operators };
    file(folder, "difference.svg", context, |out| difference_graph(&lines, &flame, out))
}
