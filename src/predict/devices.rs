//! What public specification sheets say of devices: `data/devices.csv`, rows of the user's own, and measured probes.

use serde::{Deserialize, Serialize};

use super::PredictError;
use crate::domain::{Device, DeviceKind, Precision};

/// One row of the table. What is not known is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Part of the device's name.
    pub name: String,
    /// The maker.
    #[serde(default)]
    pub vendor: String,
    /// The kind of silicon.
    pub kind: DeviceKind,
    /// The generation.
    #[serde(default)]
    pub architecture: String,
    /// Cores, compute units.
    #[serde(default)]
    pub compute_units: Option<f64>,
    /// Peak rate in single precision, 1e12 operations a second.
    #[serde(default)]
    pub fp32_tflops: Option<f64>,
    /// With 19-bit products.
    #[serde(default)]
    pub tf32_tflops: Option<f64>,
    /// In half precision.
    #[serde(default)]
    pub fp16_tflops: Option<f64>,
    /// In bfloat16.
    #[serde(default)]
    pub bf16_tflops: Option<f64>,
    /// With 8-bit integers.
    #[serde(default)]
    pub int8_tops: Option<f64>,
    /// Memory.
    #[serde(default)]
    pub memory_gb: Option<f64>,
    /// Memory bandwidth.
    #[serde(default)]
    pub bandwidth_gb_per_second: Option<f64>,
    /// Last-level cache.
    #[serde(default)]
    pub cache_mb: Option<f64>,
    /// Thermal design power.
    #[serde(default)]
    pub tdp_w: Option<f64>,
    /// Launch price.
    #[serde(default)]
    pub launch_price_usd: Option<f64>,
    /// Whether every number was found where `source` says: `yes`, or `partly`.
    #[serde(default)]
    pub checked: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
}

impl DeviceSpec {
    /// The peak rate that bounds products in this precision, in 1e12 operations a second; single precision where the sheet
    /// does not name the other.
    pub fn peak_tflops(&self, precision: Precision) -> Option<f64> {
        let rate = match precision {
            Precision::Fp32 | Precision::Int8w => None,
            Precision::Tf32 => self.tf32_tflops,
            Precision::Fp16 => self.fp16_tflops.or(self.bf16_tflops),
            Precision::Bf16 => self.bf16_tflops.or(self.fp16_tflops),
            // Mixed precision on a processor is bfloat16 at best; its sheet names no rate, and single precision holds.
            Precision::Amp => self.fp16_tflops.or(self.bf16_tflops),
            Precision::Int8 => self.int8_tops,
        };
        rate.or(self.fp32_tflops)
    }
}

/// A table of devices; later rows win.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceTable {
    rows: Vec<DeviceSpec>,
}

impl Default for DeviceTable {
    fn default() -> Self {
        Self::built_in()
    }
}

impl DeviceTable {
    /// The table that comes with benchdb.
    pub fn built_in() -> Self {
        // The file is compiled in, and a test reads every row.
        Self { rows: read_specs(include_str!("../../data/devices.csv")).unwrap_or_default() }
    }

    /// Adds the rows of a file; a row of the same name and kind takes the place of the older one.
    ///
    /// # Errors
    /// A row that cannot be read, or with an absurd number.
    pub fn extend(&mut self, text: &str) -> Result<usize, PredictError> {
        let added = read_specs(text)?;
        let count = added.len();
        for spec in added {
            self.set(spec);
        }
        Ok(count)
    }

    /// Adds one row, for example of a measured probe; it takes the place of one of the same name and kind.
    pub fn set(&mut self, spec: DeviceSpec) {
        self.rows.retain(|row| row.kind != spec.kind || !row.name.eq_ignore_ascii_case(&spec.name));
        self.rows.push(spec);
    }

    /// All rows.
    pub fn rows(&self) -> &[DeviceSpec] {
        &self.rows
    }

    /// The row of a device: the longest name of its kind that stands in the device's as words of their own.
    pub fn find(&self, device: &Device) -> Option<&DeviceSpec> {
        self.find_named(&device.name, device.kind)
    }

    /// As [`Self::find`], by name.
    pub fn find_named(&self, device: &str, kind: DeviceKind) -> Option<&DeviceSpec> {
        // A card whose name goes on with `Ti` is another one, unless the table knows only the plain one.
        self.rows
            .iter()
            .filter(|spec| spec.kind == kind && has_words(device, &spec.name))
            .max_by_key(|spec| spec.name.len())
    }
}

/// Whether `words` stand in a name, in whatever case, and not as a part of longer ones.
fn has_words(name: &str, words: &str) -> bool {
    let goes_on = |neighbour: Option<&u8>| neighbour.is_some_and(u8::is_ascii_alphanumeric);
    let (name, words) = (name.as_bytes(), words.as_bytes());
    name.windows(words.len()).enumerate().any(|(start, found)| {
        found.eq_ignore_ascii_case(words)
            && !goes_on(start.checked_sub(1).and_then(|before| name.get(before)))
            && !goes_on(name.get(start + words.len()))
    })
}

fn read_specs(text: &str) -> Result<Vec<DeviceSpec>, PredictError> {
    let bad = |reason: String| PredictError::BadDevices { reason };
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
    let mut specs = Vec::new();
    for row in reader.deserialize::<DeviceSpec>() {
        let spec = row.map_err(|error| bad(error.to_string()))?;
        let numbers = [
            spec.compute_units,
            spec.fp32_tflops,
            spec.tf32_tflops,
            spec.fp16_tflops,
            spec.bf16_tflops,
            spec.int8_tops,
            spec.memory_gb,
            spec.bandwidth_gb_per_second,
            spec.cache_mb,
            spec.tdp_w,
            spec.launch_price_usd,
        ];
        if spec.name.is_empty() {
            return Err(bad("a row has no name".to_owned()));
        }
        if let Some(absurd) = numbers.iter().flatten().find(|number| !(number.is_finite() && **number > 0.0)) {
            return Err(bad(format!("`{}` has the number {absurd}; leave empty what is not known", spec.name)));
        }
        specs.push(spec);
    }
    if specs.is_empty() {
        return Err(bad("it holds no row".to_owned()));
    }
    Ok(specs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_and_has_a_source() {
        let lines = include_str!("../../data/devices.csv").lines().filter(|line| !line.starts_with('#')).count();
        let table = read_specs(include_str!("../../data/devices.csv")).unwrap();
        assert_eq!(table.len(), lines - 1);
        assert!(table.iter().all(|spec| !spec.source.is_empty() && !spec.vendor.is_empty()));
        assert!(table.iter().all(|spec| ["yes", "partly"].contains(&spec.checked.as_str())));
        assert!((30..=120).contains(&table.len()));
    }

    #[test]
    fn devices_are_found_by_their_longest_name_and_kind() {
        let table = DeviceTable::built_in();
        let found = |name: &str, kind| table.find_named(name, kind).map(|spec| spec.name.clone());
        assert_eq!(found("NVIDIA GeForce RTX 4090", DeviceKind::Gpu).as_deref(), Some("GeForce RTX 4090"));
        assert_eq!(found("NVIDIA GeForce RTX 3090 Ti", DeviceKind::Gpu).as_deref(), Some("GeForce RTX 3090 Ti"));
        assert_eq!(found("NVIDIA A100-SXM4-80GB", DeviceKind::Gpu).as_deref(), Some("A100-SXM4-80GB"));
        assert_eq!(found("NVIDIA L40S", DeviceKind::Gpu).as_deref(), Some("L40S"));
        assert_eq!(found("NVIDIA A100 80GB PCIe", DeviceKind::Gpu).as_deref(), Some("A100 80GB PCIe"));
        assert_eq!(
            found("NVIDIA GeForce RTX 4070 Ti SUPER", DeviceKind::Gpu).as_deref(),
            Some("GeForce RTX 4070 Ti SUPER")
        );
        assert_eq!(found("Intel(R) Arc(TM) A770 Graphics", DeviceKind::Gpu).as_deref(), Some("A770"));
        assert_eq!(found("Intel(R) Core(TM) i9-10940X CPU @ 3.30GHz", DeviceKind::Cpu).as_deref(), Some("i9-10940X"));
        assert_eq!(found("Intel Core i9-10940X", DeviceKind::Cpu).as_deref(), Some("i9-10940X"));
        assert_eq!(found("13th Gen Intel(R) Core(TM) i9-13900K", DeviceKind::Cpu).as_deref(), Some("i9-13900K"));
        assert_eq!(found("Intel(R) Xeon(R) Platinum 8480+", DeviceKind::Cpu).as_deref(), Some("Platinum 8480+"));
        assert_eq!(found("Apple M1", DeviceKind::Cpu), None);
        assert_eq!(found("NVIDIA GeForce RTX 9999", DeviceKind::Gpu), None);
    }

    #[test]
    fn rows_of_a_file_take_the_place_of_ours() {
        let mut table = DeviceTable::built_in();
        let rows = "name,kind,fp32_tflops,bandwidth_gb_per_second\nGeForce RTX 4090,gpu,1,2\nAbacus,cpu,0.001,\n";
        assert_eq!(table.extend(rows).unwrap(), 2);
        assert_eq!(table.find_named("GeForce RTX 4090", DeviceKind::Gpu).unwrap().fp32_tflops, Some(1.0));
        assert_eq!(table.find_named("my Abacus", DeviceKind::Cpu).unwrap().bandwidth_gb_per_second, None);
        for absurd in
            ["name,kind,tdp_w\nX,gpu,-1\n", "name,kind,tdp_w\nX,gpu,inf\n", "name,kind\nX,toaster\n", "a\n1\n"]
        {
            assert!(matches!(table.extend(absurd), Err(PredictError::BadDevices { .. })), "{absurd}");
        }
    }

    #[test]
    fn a_precision_without_a_rate_is_bounded_by_single_precision() {
        let table = DeviceTable::built_in();
        let chip = table.find_named("Apple M1", DeviceKind::Gpu).unwrap();
        assert_eq!(chip.peak_tflops(Precision::Fp16), chip.fp32_tflops);
        assert_eq!(chip.peak_tflops(Precision::Fp32), Some(2.6));
    }
}
