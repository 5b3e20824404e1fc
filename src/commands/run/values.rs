//! The values that options of `benchdb run` take, read from their words.

use std::time::Duration;

use crate::commands::options::duration;
use crate::domain::Platform;
use crate::engine::plan::HardwareChoice;
use crate::onnx::ShapeChoice;

pub(super) fn hardware_choice(text: &str) -> Result<HardwareChoice, String> {
    use clap::ValueEnum as _;
    match text.to_lowercase().as_str() {
        "auto" => Ok(HardwareChoice::Auto),
        "all" => Ok(HardwareChoice::All),
        name => Platform::from_str(name, true).map(HardwareChoice::Platform).map_err(|_| {
            let known: Vec<String> = Platform::value_variants().iter().map(Platform::to_string).collect();
            let near = crate::domain::names::nearest(name, known.iter().map(String::as_str));
            match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it is one of auto, all, {}", known.join(", ")),
            }
        }),
    }
}

/// `NAME=1,3,224,224`, or the extents alone; `x` separates them, too.
pub(super) fn shape(text: &str) -> Result<ShapeChoice, String> {
    // Names in files hold all kinds of characters, extents do not.
    let (input, extents) = match text.rsplit_once('=') {
        Some((name, extents)) => (Some(name.trim().to_owned()), extents),
        None => (None, text),
    };
    let extent = |word: &str| match word.trim().parse::<usize>() {
        Ok(extent) if extent > 0 => Ok(extent),
        _ => Err(format!("`{word}` is no extent; a shape is `NAME=1,3,224,224`")),
    };
    let extents = extents.split([',', 'x']).map(extent).collect::<Result<_, _>>()?;
    Ok(ShapeChoice { input, extents })
}

pub(in crate::commands) fn telemetry_interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(10);
    match duration(text)? {
        interval if interval.is_zero() || interval >= SHORTEST => Ok(interval),
        _ => Err("it is below 10ms, where reading would disturb what is measured; 0 reads nothing".to_owned()),
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("it is a share between 0 and 1: 0.01 is one per cent".to_owned()),
    }
}
