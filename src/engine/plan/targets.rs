//! Which devices a plan runs on, and by which engines: they are looked for in worker processes.

use std::collections::BTreeMap;

use super::{HardwareChoice, LeftOut, Plan, PlanRequest};
use crate::domain::{PlannedRun, Platform};
use crate::engine::registry::engines;
use crate::engine::{Engine, EngineError, ProbedDevice, Runner};

/// Something that a network runs on.
pub(super) struct Target {
    pub platform: Platform,
    pub engine: &'static dyn Engine,
    pub device_index: u32,
    pub probed: ProbedDevice,
}

impl Target {
    /// Whether the engine can do this, and the device too.
    pub fn supports(&self, planned: &PlannedRun) -> Result<(), EngineError> {
        let precision = planned.configuration.precision;
        self.engine.supports(planned.configuration.mode, precision)?;
        self.engine.accepts(planned)?;
        if self.probed.precisions.contains(&precision) {
            return Ok(());
        }
        Err(EngineError::Unsupported {
            engine: self.engine.name(),
            what: format!("{precision} on {}", self.probed.device.name),
            reason: "the device does not report it",
            nearest: Some("`--precision fp32`"),
        })
    }
}

/// Devices by engine, each asked for once.
pub(super) struct Probes<'r> {
    runner: &'r Runner,
    known: BTreeMap<&'static str, Result<Vec<ProbedDevice>, String>>,
}

impl<'r> Probes<'r> {
    pub fn new(runner: &'r Runner) -> Self {
        Self { runner, known: BTreeMap::new() }
    }

    fn devices(&mut self, engine: &'static dyn Engine) -> Result<Vec<ProbedDevice>, EngineError> {
        let (feature, compiled) = engine.feature();
        if !compiled {
            return Err(EngineError::NotCompiled { engine: engine.name(), feature });
        }
        self.known
            .entry(engine.name())
            .or_insert_with(|| self.runner.probe(engine.name()).map_err(|error| error.to_string()))
            .clone()
            .map_err(|message| EngineError::Device { message })
    }

    /// The device that a request means, with its index.
    fn choose(
        &mut self,
        platform: Platform,
        engine: &'static dyn Engine,
        request: &PlanRequest,
        software: bool,
    ) -> Result<Target, EngineError> {
        if !engine.platforms().contains(&platform) {
            return Err(EngineError::WrongPlatform {
                engine: engine.name(),
                platform,
                serves: engine.platforms().iter().map(Platform::to_string).collect::<Vec<_>>().join(", "),
            });
        }
        let devices = self.devices(engine)?;
        let wanted = request.device_index;
        let index = match (wanted, &request.device) {
            (Some(index), _) => index as usize,
            (None, Some(name)) => devices.iter().position(|probed| probed.device.name == *name).unwrap_or(0),
            (None, None) => devices.iter().position(|probed| !probed.device.software).unwrap_or(0),
        };
        let found = devices.len();
        let Some(probed) = devices.into_iter().nth(index) else {
            return Err(match wanted {
                Some(index) if found > 0 => EngineError::DeviceIndex { platform, index, found },
                _ => EngineError::NoDevice { platform },
            });
        };
        if let Some(name) = request.device.as_ref().filter(|name| **name != probed.device.name) {
            return Err(EngineError::OtherDevice { platform, wanted: name.clone(), found: probed.device.name });
        }
        if probed.device.software && !software {
            return Err(EngineError::OnlySoftware { platform, device: probed.device.name });
        }
        Ok(Target { platform, engine, device_index: u32::try_from(index).unwrap_or(u32::MAX), probed })
    }
}

pub(super) fn resolve_targets(
    request: &PlanRequest,
    chosen: &[&'static dyn Engine],
    probes: &mut Probes<'_>,
    plan: &mut Plan,
) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for choice in &request.hardware {
        let found = match choice {
            HardwareChoice::Platform(platform) => {
                let (found, reasons) = on_platform(*platform, request, chosen, probes, true);
                plan.left_out.extend(reasons);
                found
            }
            HardwareChoice::All => {
                let mut all = Vec::new();
                for platform in Platform::AUTO_ORDER {
                    let (found, reasons) = on_platform(platform, request, chosen, probes, request.include_software);
                    all.extend(found);
                    plan.left_out.extend(reasons);
                }
                all
            }
            HardwareChoice::Auto => auto(request, chosen, probes, plan),
        };
        for target in found {
            let known = |other: &Target| {
                other.platform == target.platform
                    && other.engine.name() == target.engine.name()
                    && other.device_index == target.device_index
            };
            if !targets.iter().any(known) {
                targets.push(target);
            }
        }
    }
    targets
}

fn auto(
    request: &PlanRequest,
    chosen: &[&'static dyn Engine],
    probes: &mut Probes<'_>,
    plan: &mut Plan,
) -> Vec<Target> {
    let mut reasons = Vec::new();
    for platform in Platform::AUTO_ORDER {
        let (found, why_not) = on_platform(platform, request, chosen, probes, request.include_software);
        if let Some(target) = found.first() {
            plan.notes.push(format!(
                "`auto` took `{platform}` ({}, {})",
                target.probed.device.name,
                found.iter().map(|target| target.engine.name()).collect::<Vec<_>>().join(", ")
            ));
            plan.left_out.extend(why_not.into_iter().filter(|_| !chosen.is_empty() && platform == Platform::Cpu));
            return found;
        }
        reasons.extend(why_not);
    }
    plan.left_out.extend(reasons);
    Vec::new()
}

/// What serves a platform: the chosen engines, or the first one that works.
fn on_platform(
    platform: Platform,
    request: &PlanRequest,
    chosen: &[&'static dyn Engine],
    probes: &mut Probes<'_>,
    software: bool,
) -> (Vec<Target>, Vec<LeftOut>) {
    let left_out = |what: String, reason| LeftOut { what, reason };
    let mut reasons = Vec::new();
    if chosen.is_empty() {
        let serving = engines().into_iter().filter(|engine| !engine.hidden() && engine.platforms().contains(&platform));
        for engine in serving {
            match probes.choose(platform, engine, request, software) {
                Ok(target) => return (vec![target], Vec::new()),
                Err(reason) => reasons.push(left_out(platform.to_string(), reason)),
            }
        }
        if reasons.is_empty() {
            reasons.push(left_out(platform.to_string(), EngineError::NoEngine { platform }));
        }
        return (Vec::new(), reasons);
    }
    let mut targets = Vec::new();
    for &engine in chosen {
        // The test engine pretends on purpose.
        match probes.choose(platform, engine, request, software || engine.hidden()) {
            Ok(target) => targets.push(target),
            Err(reason) => reasons.push(left_out(format!("{platform} by {}", engine.name()), reason)),
        }
    }
    (targets, reasons)
}
