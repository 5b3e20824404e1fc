//! llama.cpp's `llama-bench -o json` and `-o jsonl`: one object a test, with one sample a repetition.
//!
//! A test is prompt processing (`n_prompt`), generation (`n_gen`) or both, at a context depth: different work, so all
//! of them are parameters. Quantised weights are the catch: `Q8_0` is `int8w` (8-bit weights, products in float), but
//! benchdb has no precision for fewer bits, and such a test is refused unless the user names one; the weights' format
//! stays in the parameters.

use std::io::BufRead;
use std::path::Path;

use serde_json::Value;

use super::draft::{Draft, item, utc};
use super::json;
use crate::domain::{Category, DeviceKind, Environment, Mode, Platform, Precision, RunRecord};
use crate::exchange::{ColumnMap, ExchangeError, Head, Importer, Sink};

/// What changes the work, where the file has it.
const PARAMETERS: [&str; 20] = [
    "n_prompt",
    "n_gen",
    "n_depth",
    "n_batch",
    "n_ubatch",
    "type_k",
    "type_v",
    "n_gpu_layers",
    "n_cpu_moe",
    "split_mode",
    "no_kv_offload",
    "flash_attn",
    "tensor_split",
    "tensor_buft_overrides",
    "use_mmap",
    "load_mode",
    "embeddings",
    "no_op_offload",
    "repack",
    "devices",
];

/// Reads llama-bench's results.
#[derive(Clone, Debug, Default)]
pub struct LlamaBench {
    map: ColumnMap,
}

impl LlamaBench {
    /// An importer that takes the user's word where the file is silent.
    pub fn new(map: ColumnMap) -> Self {
        Self { map }
    }
}

impl<E: From<ExchangeError>> Importer<E> for LlamaBench {
    fn format(&self) -> &'static str {
        "llama-bench"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        let names = ["model_filename", "n_prompt", "n_gen", "avg_ts"];
        let outline = head.outline();
        outline.first == b'[' && outline.has_all(2, &names) || outline.first == b'{' && outline.has_all(1, &names)
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let text = json::text(path, content)?;
        json::records(path, &text, sink, |line, test: Value, sink| sink(item(line, self.run(&test))))?;
        Ok(Vec::new())
    }
}

impl LlamaBench {
    fn run(&self, test: &Value) -> Result<RunRecord, String> {
        let text = |key: &str| json::string(test, &[key]);
        let model_type = text("model_type").unwrap_or_default();
        let (model, weights) = split_model(model_type);
        let file = text("model_filename").and_then(|file| Path::new(file).file_stem()?.to_str());
        let prompt = json::whole(test, &["n_prompt"]).ok_or("`n_prompt` is missing")?;
        let generated = json::whole(test, &["n_gen"]).ok_or("`n_gen` is missing")?;
        let mut draft = Draft {
            model: if model.is_empty() { file.unwrap_or_default() } else { &model }.to_owned(),
            category: Some(Category::Text),
            parameter_count: json::whole(test, &["model_n_params"]).filter(|count| *count > 0),
            engine: "llama.cpp".to_owned(),
            mode: Some(Mode::Inference),
            // One sequence; `n_batch` is how many of its tokens are processed at once.
            batch_size: Some(1),
            threads: json::whole(test, &["n_threads"]).and_then(|threads| threads.try_into().ok()).unwrap_or(0),
            started_at: text("test_time").and_then(utc),
            environment: Environment {
                cpu_name: text("cpu_info").map(str::to_owned),
                engine_version: version(test),
                ..Environment::default()
            },
            ..Draft::default()
        };
        for name in PARAMETERS {
            if let Some(value) = json::at(test, &[name]) {
                draft.parameters.insert(name.to_owned(), value.clone());
            }
        }
        if !weights.is_empty() {
            draft.parameters.insert("weight_format".to_owned(), weights.as_str().into());
        }
        self.place(&mut draft, test, generated > 0 && prompt == 0)?;
        draft.precision = precision(&weights);
        if draft.precision.is_none() && !self.map.sets(super::draft::Part::Precision) {
            return Err(match weights.as_str() {
                "" => format!(
                    "`model_type` is `{model_type}`: it does not say the weights' format; `--map precision==fp16` does"
                ),
                _ => format!(
                    "the weights are {weights}, for which benchdb has no precision; \
                     `--map precision==fp16` takes the test as what its products are in"
                ),
            });
        }
        let samples = match json::at(test, &["samples_ns"]).and_then(Value::as_array) {
            Some(samples) => samples
                .iter()
                .map(|sample| sample.as_u64().ok_or_else(|| format!("`samples_ns` holds {sample}, no duration")))
                .collect::<Result<Vec<_>, _>>()?,
            None => Vec::new(),
        };
        if !samples.is_empty() {
            draft.take_iterations(samples);
        } else if let Some(mean) = json::number(test, &["avg_ns"]) {
            draft.measured("latency_mean_ms", mean / 1e6)?;
            if let Some(deviation) = json::number(test, &["stddev_ns"]) {
                draft.measured("latency_std_ms", deviation / 1e6)?;
            }
        }
        let speed = json::number(test, &["avg_ts"]).ok_or("`avg_ts` is missing")?;
        draft.measured("throughput_tokens_per_second", speed)?;
        if let Some(bytes) = json::number(test, &["model_size"]).filter(|bytes| *bytes > 0.0) {
            draft.measured("model_size_mb", bytes / 1e6)?;
        }
        draft.finish(&self.map)
    }

    /// Where the test ran. Without layers on the GPU, generation runs on the processor, and a prompt partly on either.
    fn place(&self, draft: &mut Draft, test: &Value, generation: bool) -> Result<(), String> {
        let text = |key: &str| json::string(test, &[key]);
        let said = text("backends").unwrap_or_default();
        let backends: Vec<String> = said.split(',').map(|name| name.trim().to_lowercase()).collect();
        // Before 2025 each backend was a flag of its own.
        let has = |name: &str| {
            backends.iter().any(|backend| backend.trim_end_matches(|last: char| last.is_ascii_digit()) == name)
                || json::at(test, &[name]) == Some(&Value::Bool(true))
        };
        let gpu = [
            ("cuda", Platform::Cuda),
            ("rocm", Platform::Rocm),
            ("hip", Platform::Rocm),
            ("metal", Platform::Mps),
            ("mtl", Platform::Mps),
            ("vulkan", Platform::Vulkan),
            ("webgpu", Platform::Webgpu),
        ]
        .into_iter()
        .find(|(name, _)| has(name));
        let processor = |draft: &mut Draft| {
            draft.platform = Some(Platform::Cpu);
            draft.name_device(text("cpu_info").unwrap_or_default(), DeviceKind::Cpu);
        };
        match gpu {
            Some((_, platform)) => {
                let on_host = json::whole(test, &["n_gpu_layers"]) == Some(0);
                let offloads = json::at(test, &["no_op_offload"])
                    .is_none_or(|flag| flag == &Value::Bool(false) || flag.as_u64() == Some(0));
                if on_host && (generation || !offloads) {
                    processor(draft);
                } else if on_host && !self.map.sets(super::draft::Part::Platform) {
                    return Err(format!(
                        "no layer is on the GPU, but backend `{said}` may have processed the prompt there; \
                         `--map platform==cpu` or `--map platform=={platform}` says where"
                    ));
                } else {
                    draft.platform = Some(platform);
                    draft.name_device(text("gpu_info").unwrap_or_default(), DeviceKind::Gpu);
                }
            }
            // Libraries for the processor; anything else is a backend that benchdb has no platform for.
            None if backends.iter().all(|name| matches!(name.as_str(), "cpu" | "blas" | "accelerate" | "")) => {
                let cpu_alone = said.is_empty() && text("gpu_info").is_some();
                if !cpu_alone {
                    processor(draft);
                }
            }
            None => {}
        }
        Ok(())
    }
}

/// `b5163 (8cf427ff)`, or what there is of it.
fn version(test: &Value) -> Option<String> {
    let number = json::whole(test, &["build_number"]).filter(|number| *number > 0).map(|number| format!("b{number}"));
    let commit = json::string(test, &["build_commit"]).filter(|commit| *commit != "unknown");
    match (number, commit) {
        (Some(number), Some(commit)) => Some(format!("{number} ({commit})")),
        (number, commit) => number.or_else(|| commit.map(str::to_owned)),
    }
}

/// `qwen2 7B Q4_K - Medium` is the model `qwen2 7B` with weights in `Q4_K - Medium`.
fn split_model(model_type: &str) -> (String, String) {
    let words: Vec<&str> = model_type.split_whitespace().filter(|word| *word != "(guessed)").collect();
    let is_format = |word: &str| {
        let upper = word.to_uppercase();
        let quantised = ["Q", "IQ", "TQ", "MXFP", "NVFP"].iter().any(|prefix| {
            upper.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        });
        // `Qwen2` begins with a Q too, but goes on with a letter.
        quantised && !upper.ends_with('B') || matches!(upper.as_str(), "F16" | "F32" | "BF16")
    };
    // The architecture comes first: a format cannot.
    let Some(at) = words.iter().skip(1).position(|word| is_format(word)).map(|at| at + 1) else {
        return (words.join(" "), String::new());
    };
    let before: Vec<&str> = words[..at].iter().copied().filter(|word| !matches!(*word, "mostly" | "all")).collect();
    (before.join(" "), words[at..].join(" "))
}

fn precision(weights: &str) -> Option<Precision> {
    match weights.to_uppercase().as_str() {
        "F32" => Some(Precision::Fp32),
        "F16" => Some(Precision::Fp16),
        "BF16" => Some(Precision::Bf16),
        "Q8_0" => Some(Precision::Int8w),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_the_weights_is_no_part_of_the_model() {
        for (text, model, weights) in [
            ("qwen2 7B Q4_K - Medium", "qwen2 7B", "Q4_K - Medium"),
            ("llama 7B mostly Q4_0", "llama 7B", "Q4_0"),
            ("llama 1B all F32", "llama 1B", "F32"),
            ("gemma3 4B BF16", "gemma3 4B", "BF16"),
            ("llama 8B Q8_0 (guessed)", "llama 8B", "Q8_0"),
            ("gpt-oss 20B MXFP4 MoE", "gpt-oss 20B", "MXFP4 MoE"),
            ("llama 7B IQ2_XXS - 2.0625 bpw", "llama 7B", "IQ2_XXS - 2.0625 bpw"),
            ("fixture", "fixture", ""),
            ("", "", ""),
        ] {
            assert_eq!(split_model(text), (model.to_owned(), weights.to_owned()), "{text}");
        }
        assert_eq!(precision("Q8_0"), Some(Precision::Int8w));
        assert_eq!(precision("Q6_K"), None);
    }
}
