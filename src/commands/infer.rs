//! `benchdb infer`: one forward pass, tensors in and out, for checking against other software.

use std::path::PathBuf;

use super::options::{ModelArgs, hardware_of, only_run};
use super::run::named_model;
use super::{CommandError, Context, ExitStatus, path_text};
use crate::domain::{HostTensor, Platform, Precision};
use crate::engine::plan::{ModelChoice, PlanRequest, find_model};
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
    /// The platform: cpu, cuda, rocm, mps, vulkan, openvino [default: that of the engine, or cpu]
    #[arg(long, value_enum)]
    hardware: Option<Platform>,
    /// The precision [default: fp32; for an ONNX file its own]
    #[arg(long, value_enum)]
    precision: Option<Precision>,
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
    let named = named_model(&args.model.model).map_err(|reason| {
        CommandError::new(format!("`--model {}`: {reason}", args.model.model), "`resnet50`, or `FILE.onnx`")
    })?;
    let onnx = named.is_onnx() || args.model.weights.as_deref().is_some_and(crate::onnx::is_onnx);
    let first = if onnx {
        String::new()
    } else {
        let entry = find_model(&named.name)?;
        entry.inputs().first().map(|input| input.name.clone()).unwrap_or_default()
    };
    let inputs = read_tensors(&args.input, &first)?;
    let samples = inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(1);
    let request = PlanRequest {
        models: ModelChoice::Named(vec![named]),
        hardware: vec![hardware_of(args.hardware, args.engine.as_deref())],
        engines: args.engine.iter().cloned().collect(),
        precisions: args.precision.into_iter().collect(),
        weights: args.model.weights.clone(),
        // Networks of benchdb take the tensors themselves.
        input: onnx.then(|| args.input.clone()),
        batch_sizes: vec![if onnx { u32::try_from(samples).unwrap_or(u32::MAX) } else { 1 }],
        seed: args.model.seed,
        ..PlanRequest::default()
    };
    let runner = Runner::for_this_program()?;
    let planned = only_run(&request, &runner)?;
    let outputs = if onnx {
        // Its libraries are found by worker processes alone.
        runner.infer(&planned)?
    } else {
        find_engine(&planned.configuration.engine)?.infer(&planned, &inputs)?
    };
    let outputs = chosen(outputs, args.select.as_deref())?;
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
