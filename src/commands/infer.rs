//! `benchdb infer`: one forward pass, tensors in and out, for checking against other software.

use std::path::PathBuf;

use super::options::ModelArgs;
use super::{CommandError, Context, ExitStatus, path_text};
use crate::domain::{HostTensor, Precision};
use crate::engine::plan::{HardwareChoice, ModelChoice, NamedModel, PlanRequest, find_model, plan};
use crate::engine::{Runner, find_engine};
use crate::exchange::tensors::{read_tensors, write_tensors};

/// Options of `benchdb infer`.
#[derive(Debug, clap::Args)]
#[command(after_help = "A .npy holds the one input of a model; a .npz holds several by name (image, ids, ...).
A model with several outputs (bert-base-uncased, gpt2) writes a .npz, or the one that `--select` names.")]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The engine (the default one of the platform without)
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// The platform: cpu, cuda, rocm, mps, vulkan
    #[arg(long, value_enum, default_value = "cpu")]
    hardware: crate::domain::Platform,
    /// The precision
    #[arg(long, value_enum, default_value = "fp32")]
    precision: Precision,
    /// The input: .npy or .npz
    #[arg(long, short, value_name = "FILE")]
    input: PathBuf,
    /// The output: .npy or .npz
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Write this output alone
    #[arg(long, value_name = "NAME")]
    select: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// Files that cannot be read or written, inputs and weights that do not fit the model.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let same = std::fs::canonicalize(&args.input).ok().zip(std::fs::canonicalize(&args.output).ok());
    if same.is_some_and(|(input, output)| input == output) {
        return Err(CommandError::new("the output would overwrite the input", "choose another `--output`").into());
    }
    let entry = find_model(&args.model.model)?;
    let first = entry.inputs().first().map(|input| input.name.clone()).unwrap_or_default();
    let inputs = read_tensors(&args.input, &first)?;
    let request = PlanRequest {
        models: ModelChoice::Named(vec![NamedModel::plain(entry.name)]),
        hardware: vec![HardwareChoice::Platform(args.hardware)],
        engines: args.engine.iter().cloned().collect(),
        precisions: vec![args.precision],
        weights: args.model.weights.clone(),
        seed: args.model.seed,
        ..PlanRequest::default()
    };
    let mut made = plan(&request, &Runner::for_this_program()?)?;
    let Some(planned) = made.runs.pop() else {
        let refused = made.unsupported.pop().map(|(_, reason)| reason);
        let reason = refused.or_else(|| made.left_out.pop().map(|left_out| left_out.reason));
        return Err(match reason {
            Some(reason) => reason.into(),
            None => CommandError::new("nothing here can run it", "`benchdb hardware` lists what can").into(),
        });
    };
    let engine = find_engine(&planned.configuration.engine)?;
    let outputs = chosen(engine.infer(&planned, &inputs)?, args.select.as_deref())?;
    let archive = args.output.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"));
    let path = path_text(&args.output);
    context.write(Some(&args.output), |out| Ok(write_tensors(out, &outputs, archive, &path)?))?;
    for output in &outputs {
        context.note(&format!("{} {} to `{path}`", output.name, crate::domain::model::shape_text(&output.shape)));
    }
    Ok(ExitStatus::Ok)
}

fn chosen(outputs: Vec<HostTensor>, wanted: Option<&str>) -> anyhow::Result<Vec<HostTensor>> {
    let Some(wanted) = wanted else {
        return Ok(outputs);
    };
    let names: Vec<String> = outputs.iter().map(|output| output.name.clone()).collect();
    let found: Vec<HostTensor> = outputs.into_iter().filter(|output| output.name == wanted).collect();
    if found.is_empty() {
        return Err(CommandError::new(
            format!("the model has no output `{wanted}`"),
            format!("it has {}", names.join(", ")),
        )
        .into());
    }
    Ok(found)
}
