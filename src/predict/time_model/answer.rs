//! What the fitted model of time answers: on a known device, and on a new one.

use super::super::devices::DeviceSpec;
use super::super::encoder::{size_of, version_number};
use super::super::facts::Facts;
use super::super::gaussian_process::Point;
use super::super::roofline::{Base, is_compiled, terms_of};
use super::super::transfer::{Gap, device_key, model_key};
use super::{FAMILY_SHARE, KIN_SHARE, LogTime, TimeModel, kin_key};
use crate::domain::{Device, Subject, Tier};

impl TimeModel {
    /// What the Gaussian process sees of a subject.
    pub fn point(&self, subject: &Subject, facts: &Facts) -> Point {
        self.point_with(subject, facts, self.spec(subject))
    }

    pub(super) fn point_with(&self, subject: &Subject, facts: &Facts, spec: Option<&DeviceSpec>) -> Point {
        let [work, activations, parameters, input] = size_of(facts);
        let base = self.roofline.base(subject, terms_of(subject, facts, spec), None);
        let shares = base.map_or((0.5, 0.4), |base| (base.compute_share, base.activation_share));
        let raw = [
            (work - 21.5) / 1.6,
            (activations - 16.5) / 1.2,
            (parameters - 17.0) / 1.2,
            (work - activations - 5.4) / 0.8,
            (input - 12.0) / 0.8,
            (shares.0 - 0.5) * 2.0,
            (f64::from(subject.batch_size.max(1)).ln() - 4.0) / 3.0,
        ];
        let parameters_text: Vec<String> =
            subject.parameters.iter().map(|(name, value)| [name, "=", &value.to_string()].concat()).collect();
        let way =
            [&subject.precision.to_string(), &subject.mode.to_string(), &subject.engine, &parameters_text.join(",")]
                .map(String::as_str)
                .join("|");
        Point {
            sizes: raw.iter().map(|value| if value.is_finite() { value.clamp(-4.0, 4.0) } else { 0.0 }).collect(),
            words: self.encoder.words_of(&subject.model),
            device: hash(&device_key(subject)),
            way: hash(&way),
            version: version_number(subject),
            model: hash(&model_key(subject)),
            family: hash(subject.leading_word()),
        }
    }

    /// The forecast. `None` where nothing at all is known of the model's work and no row helps.
    pub fn predict(&self, subject: &Subject) -> Option<LogTime> {
        let tier = self.tier(subject);
        let anchor = self.anchored.get(&device_key(subject));
        let log_seconds = match tier {
            // Whether it is compiled changes the work as another device does.
            Tier::A | Tier::B if self.knows_way(subject) == Some(false) => self.on_new_device(subject)?,
            Tier::A | Tier::B => self.on_known_device(subject, tier)?,
            Tier::C => {
                let correction = anchor.map_or(0.0, |anchors| anchors.offset(is_compiled(subject)));
                self.on_new_device(subject)? + correction
            }
            Tier::D => self.roofline(subject)?,
        };
        log_seconds.is_finite().then_some(LogTime { log_seconds, tier, anchored: anchor.is_some() })
    }

    fn on_known_device(&self, subject: &Subject, tier: Tier) -> Option<f64> {
        let facts = self.facts(subject);
        let spec = self.spec(subject);
        let base = self.roofline.base(subject, terms_of(subject, &facts, spec), None)?;
        let asked = self.transfer.ask(subject, &facts, &self.encoder);
        let plain = self.encoder.encode(subject, &facts, Some(base), spec, asked.words());
        let thin = self.thin.as_ref().map(|thin| {
            let process = thin.process.predict(&self.point_with(subject, &facts, spec));
            let ridge = thin.ridge.as_ref().map(|ridge| ridge.predict_row(&plain));
            ridge.map_or(process, |ridge| 0.75 * process + 0.25 * ridge.clamp(process - 0.5, process + 0.5))
        });
        let (stage, gap) = match (&self.pair, &self.family) {
            (Some(pair), Some(_)) if tier == Tier::A => (Some(pair), Gap::Pair),
            (Some(pair), None) => (Some(pair), Gap::Pair),
            (_, family) => (family.as_ref(), Gap::Family),
        };
        let boosted = stage.map(|stage| self.transfer.mean_of(&asked) + self.deviation(stage, gap, &asked, &plain));
        let kin = (gap == Gap::Family)
            .then(|| self.kin.get(&kin_key(subject)))
            .flatten()
            .map(|process| self.transfer.mean_of(&asked) + process.predict(&self.point_with(subject, &facts, spec)));
        let thin = match (thin, kin) {
            (Some(thin), Some(kin)) => Some(KIN_SHARE * kin + (1.0 - KIN_SHARE) * thin),
            (thin, kin) => thin.or(kin),
        };
        let residual = match (thin, boosted) {
            (Some(_), Some(boosted)) if gap == Gap::Pair && self.boosted_share >= 1.0 => boosted,
            (Some(thin), Some(boosted)) => {
                // Deviations elsewhere say more than sizes do, as soon as there are any.
                let share = match gap {
                    Gap::Pair => self.boosted_share.max(0.6),
                    Gap::Family => self.boosted_share.min(FAMILY_SHARE),
                };
                share * boosted + (1.0 - share) * thin
            }
            (thin, boosted) => thin.or(boosted)?,
        };
        // What the model did on this very device, in another way or at another batch size, holds here by and large.
        let measured = self.transfer.measured_here(&asked);
        let corrected = measured.map_or(residual, |(deviation, weight)| {
            weight * (self.transfer.mean_of(&asked) + deviation) + (1.0 - weight) * residual
        });
        Some(base.log_seconds + corrected)
    }

    /// A device that was not measured: as on known ones of its kind, moved by the difference of the rooflines.
    pub(super) fn on_new_device(&self, subject: &Subject) -> Option<f64> {
        let spec = self.devices.find(&subject.device);
        let mut near: Vec<(f64, &Device)> = self
            .known_devices
            .values()
            .filter(|device| device.kind == subject.device.kind && self.has_rates(device))
            .map(|device| {
                let gap = |one: Option<f64>, other: Option<f64>| match (one, other) {
                    (Some(one), Some(other)) => (one / other).ln().powi(2),
                    _ => 2.0,
                };
                let known = self.devices.find(device);
                let peak = |spec: Option<&DeviceSpec>| spec?.peak_tflops(subject.precision);
                let width = |spec: Option<&DeviceSpec>| spec?.bandwidth_gb_per_second;
                let vendor = if device.vendor == subject.device.vendor { 0.0 } else { 1.0 };
                (gap(peak(spec), peak(known)) + gap(width(spec), width(known)) + vendor, device)
            })
            .collect();
        near.sort_by(|one, other| one.0.total_cmp(&other.0).then_with(|| one.1.name.cmp(&other.1.name)));
        near.truncate(3);
        let facts = self.facts(subject);
        let terms = terms_of(subject, &facts, spec);
        let (mut sum, mut weights) = (0.0, 0.0);
        for (distance, device) in near {
            let mut like = Subject { device: device.clone(), ..subject.clone() };
            let compiled = is_compiled(subject);
            if self.transfer.knows_way(&device_key(&like), subject.mode, compiled) == Some(false) {
                like.parameters.insert("compiled".to_owned(), (!compiled).into());
                if compiled {
                    like.parameters.remove("compiled");
                }
            }
            let there = self.roofline.base(&like, terms_of(&like, &facts, self.spec(&like)), None)?;
            let here = self.roofline.base(subject, terms, Some(&like))?;
            let tier = self.tier(&like);
            let known = self.on_known_device(&like, tier)?;
            let weight = 1.0 / (0.2 + distance);
            let moved = moved(known, there, here);
            sum += weight * moved;
            weights += weight;
        }
        (weights > 0.0).then(|| sum / weights)
    }
}

/// A time on a known device, moved to another. What the model took there beyond its roofline is no arithmetic: the share of
/// the arithmetic is that of the time it really took.
fn moved(known: f64, there: Base, here: Base) -> f64 {
    let plain = here.log_seconds - there.log_seconds;
    let arithmetic = (here.compute_share / there.compute_share * plain.exp()).max(1e-6);
    let rest_here = (1.0 - here.compute_share) * plain.exp();
    let rest = rest_here / (1.0 - there.compute_share).max(1e-6);
    let share = (there.compute_share * (there.log_seconds - known).exp()).clamp(0.02, 0.9);
    let ratio = share * arithmetic + (1.0 - share) * rest;
    if ratio.is_finite() && ratio > 0.0 { known + ratio.ln() } else { known + plain }
}

/// FNV-1a: the same number for a text in every release.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
