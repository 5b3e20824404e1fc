//! What public specification sheets say of devices: `data/devices.csv`, rows of the user's own, and measured probes.

use serde::{Deserialize, Serialize};

use super::PredictError;
use crate::domain::{Device, DeviceKind, DeviceProbe, Precision};

/// What `checked` says of a row that was measured by `benchdb hardware --probe`.
const MEASURED: &str = "measured";

/// No number of a data sheet reaches this, in the units of the table.
const MOST: f64 = 1e7;

/// One row of the table. What is not known is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// Whether every number was found where `source` says: `yes`, or `partly`; `measured` where none is from a data sheet.
    #[serde(default)]
    pub checked: String,
    /// Who says so.
    #[serde(default)]
    pub source: String,
}

impl DeviceSpec {
    /// Whether the rates were measured, which is less than the peak of a data sheet.
    pub fn is_measured(&self) -> bool {
        self.checked == MEASURED
    }

    /// Whether it says how fast the device is: its arithmetic, and its memory.
    pub fn has_rates(&self) -> bool {
        self.fp32_tflops.is_some() && self.bandwidth_gb_per_second.is_some()
    }

    /// Whether the row is about this device: a data sheet, if its name stands in the device's as words of their own; a
    /// measurement holds for the very device alone, with as many units - processors of unlike size share names.
    pub fn describes(&self, device: &Device) -> bool {
        let same_units = match (self.compute_units, device.compute_units) {
            (Some(own), Some(units)) => own == f64::from(units),
            _ => true,
        };
        self.kind == device.kind
            && if self.is_measured() {
                same_units && self.name.eq_ignore_ascii_case(&device.name)
            } else {
                has_words(&device.name, &self.name)
            }
    }

    /// A row of a probed device, without rates yet.
    fn of_probed(device: &Device) -> Self {
        Self {
            name: device.name.clone(),
            vendor: device.vendor.clone(),
            kind: device.kind,
            architecture: String::new(),
            compute_units: device.compute_units.map(f64::from),
            fp32_tflops: None,
            tf32_tflops: None,
            fp16_tflops: None,
            bf16_tflops: None,
            int8_tops: None,
            memory_gb: device.memory_bytes.map(|bytes| bytes as f64 / 1e9),
            bandwidth_gb_per_second: None,
            cache_mb: None,
            tdp_w: None,
            launch_price_usd: None,
            checked: MEASURED.to_owned(),
            source: "`benchdb hardware --probe`".to_owned(),
        }
    }

    /// Takes the rates of a probe where they are higher than those of another engine: what the device can do at most.
    fn raise(&mut self, probe: &DeviceProbe) {
        let tflops = match probe.precision {
            Precision::Fp32 => Some(&mut self.fp32_tflops),
            Precision::Tf32 => Some(&mut self.tf32_tflops),
            Precision::Fp16 => Some(&mut self.fp16_tflops),
            Precision::Bf16 => Some(&mut self.bf16_tflops),
            Precision::Int8 => Some(&mut self.int8_tops),
            Precision::Amp | Precision::Int8w => None,
        };
        let rates = [
            (tflops, probe.peak_gflop_per_second.map(|rate| rate / 1e3)),
            (Some(&mut self.bandwidth_gb_per_second), probe.copy_bandwidth_gb_per_second),
        ];
        for (known, measured) in rates {
            if let (Some(known), Some(measured)) = (known, measured.filter(|rate| rate.is_finite() && *rate > 0.0)) {
                *known = Some(known.map_or(measured, |known| known.max(measured)));
            }
        }
    }

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

    /// Adds one row; it takes the place of one of the same name and kind.
    pub fn set(&mut self, spec: DeviceSpec) {
        self.rows.retain(|row| row.kind != spec.kind || !row.name.eq_ignore_ascii_case(&spec.name));
        self.add(spec);
    }

    /// Adds one row beside all others.
    pub(super) fn add(&mut self, spec: DeviceSpec) {
        self.rows.push(spec);
    }

    /// Adds the devices of probes, the newest of each engine and precision, of which the table has no data sheet. A device
    /// whose product in fp32 or whose copy was not measured stays unknown: a guess would stand in for the other. Software
    /// that pretends to be a device says nothing of devices, and is left out.
    pub fn add_probes(&mut self, probes: &[DeviceProbe]) {
        for probe in probes.iter().filter(|probe| !probe.device.software) {
            match self.rows.iter().position(|row| row.describes(&probe.device)) {
                Some(at) if self.rows[at].is_measured() => self.rows[at].raise(probe),
                Some(_) => {}
                None => {
                    let mut spec = DeviceSpec::of_probed(&probe.device);
                    spec.raise(probe);
                    self.add(spec);
                }
            }
        }
        self.rows.retain(|row| !row.is_measured() || row.has_rates());
    }

    /// All rows.
    pub fn rows(&self) -> &[DeviceSpec] {
        &self.rows
    }

    /// The row of a device: the longest name of its kind that stands in the device's as words of their own; a data sheet
    /// before a measurement.
    pub fn find(&self, device: &Device) -> Option<&DeviceSpec> {
        // A card whose name goes on with `Ti` is another one, unless the table knows only the plain one.
        self.rows.iter().filter(|spec| spec.describes(device)).max_by_key(|spec| (!spec.is_measured(), spec.name.len()))
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
        if let Some(absurd) = numbers.iter().flatten().find(|number| !(**number > 0.0 && **number < MOST)) {
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

    fn device(name: &str, kind: DeviceKind) -> Device {
        Device {
            kind,
            vendor: String::new(),
            name: name.to_owned(),
            compute_units: None,
            memory_bytes: None,
            software: false,
        }
    }

    fn probe(device: Device, precision: Precision, gflop: f64, bandwidth: Option<f64>) -> DeviceProbe {
        DeviceProbe {
            device,
            engine: "burn-flex".into(),
            precision,
            probed_at: "2026-11-21T08:00:00.000Z".into(),
            peak_gflop_per_second: Some(gflop),
            copy_bandwidth_gb_per_second: bandwidth,
            tool_version: None,
        }
    }

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
        let found = |name: &str, kind| table.find(&device(name, kind)).map(|spec| spec.name.clone());
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
        assert_eq!(table.find(&device("GeForce RTX 4090", DeviceKind::Gpu)).unwrap().fp32_tflops, Some(1.0));
        assert_eq!(table.find(&device("my Abacus", DeviceKind::Cpu)).unwrap().bandwidth_gb_per_second, None);
        for absurd in
            ["name,kind,tdp_w\nX,gpu,-1\n", "name,kind,tdp_w\nX,gpu,inf\n", "name,kind\nX,toaster\n", "a\n1\n"]
        {
            assert!(matches!(table.extend(absurd), Err(PredictError::BadDevices { .. })), "{absurd}");
        }
    }

    #[test]
    fn a_precision_without_a_rate_is_bounded_by_single_precision() {
        let table = DeviceTable::built_in();
        let chip = table.find(&device("Apple M1", DeviceKind::Gpu)).unwrap();
        assert_eq!(chip.peak_tflops(Precision::Fp16), chip.fp32_tflops);
        assert_eq!(chip.peak_tflops(Precision::Fp32), Some(2.6));
    }
    #[test]
    fn a_probe_makes_a_device_known_by_its_best_rates() {
        let mut table = DeviceTable::built_in();
        let mine = Device { compute_units: Some(2), ..device("Some Processor", DeviceKind::Cpu) };
        table.add_probes(&[
            probe(mine.clone(), Precision::Fp32, 100.0, Some(12.0)),
            probe(mine.clone(), Precision::Fp32, 150.0, Some(11.0)),
            probe(mine.clone(), Precision::Bf16, 40.0, None),
            probe(mine.clone(), Precision::Int8w, 900.0, None),
        ]);
        let spec = table.find(&mine).unwrap();
        assert!(spec.is_measured());
        assert_eq!((spec.fp32_tflops, spec.bf16_tflops, spec.int8_tops), (Some(0.15), Some(0.04), None));
        assert_eq!(spec.bandwidth_gb_per_second, Some(12.0));
        // Others of that name, larger ones and longer names, are other devices.
        assert_eq!(table.find(&Device { compute_units: Some(64), ..mine.clone() }), None);
        assert_eq!(table.find(&device("Some Processor Gold", DeviceKind::Cpu)), None);
        let large = Device { compute_units: Some(64), ..mine.clone() };
        table.add_probes(&[probe(large.clone(), Precision::Fp32, 4000.0, None)]);
        assert_eq!(table.find(&large), None, "half a probe");
        table.add_probes(&[probe(large.clone(), Precision::Fp32, 4000.0, Some(150.0))]);
        assert_eq!(table.find(&large).unwrap().fp32_tflops, Some(4.0));
        assert_eq!(table.find(&mine).unwrap().fp32_tflops, Some(0.15));
    }

    #[test]
    fn a_data_sheet_goes_before_a_probe_and_software_is_no_device() {
        let mut table = DeviceTable::built_in();
        let card = device("NVIDIA GeForce RTX 4090", DeviceKind::Gpu);
        let sheet = table.find(&card).unwrap().clone();
        let software = Device { software: true, ..device("llvmpipe", DeviceKind::Gpu) };
        table.add_probes(&[
            probe(card.clone(), Precision::Fp32, 1.0, None),
            probe(software, Precision::Fp32, 1.0, None),
        ]);
        assert_eq!(table, DeviceTable::built_in());
        assert_eq!(table.find(&card), Some(&sheet));
        // A sheet that comes later, too.
        let new = device("NewCard 1", DeviceKind::Gpu);
        table.add_probes(&[probe(new.clone(), Precision::Fp32, 1.0, Some(1.0))]);
        assert_eq!(table.find(&new).unwrap().fp32_tflops, Some(0.001));
        table.extend("name,kind,fp32_tflops\nNewCard,gpu,2\n").unwrap();
        assert_eq!(table.find(&new).unwrap().fp32_tflops, Some(2.0));
    }
}
