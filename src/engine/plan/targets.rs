//! Which devices a plan runs on, and by which engines: they are looked for in worker processes.

use std::collections::BTreeMap;

use clap::ValueEnum as _;

use super::{HardwareChoice, LeftOut, Plan, PlanRequest};
use crate::domain::{PlannedRun, Platform};
use crate::engine::protocol::Words;
use crate::engine::registry::engines;
use crate::engine::{Engine, EngineError, Form, ProbedDevice, Runner};

/// Something that a network runs on.
pub(super) struct Target {
    pub platform: Platform,
    pub engine: &'static dyn Engine,
    pub device_index: u32,
    pub probed: ProbedDevice,
    /// Why the engine cannot run, where it was named and is known to belong here.
    pub missing: Option<Words>,
}

impl Target {
    /// Whether the engine can do this, and the device too.
    pub fn supports(&self, planned: &PlannedRun) -> Result<(), EngineError> {
        if let Some(Words { message, hint }) = self.missing.clone() {
            return Err(EngineError::NotHere { message, hint });
        }
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
    pub runner: &'r Runner,
    known: BTreeMap<&'static str, Result<Vec<ProbedDevice>, Words>>,
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
            .or_insert_with(|| {
                let probed = self.runner.probe(engine.name());
                probed.map(|probed| probed.devices).map_err(|error| Words::of(&error))
            })
            .clone()
            .map_err(|Words { message, hint }| EngineError::NotHere { message, hint })
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
        let devices = match engine.known_devices(platform) {
            Some(devices) => devices,
            None => self.devices(engine)?,
        };
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
        let device_index = u32::try_from(index).unwrap_or(u32::MAX);
        Ok(Target { platform, engine, device_index, probed, missing: None })
    }
}

/// What networks of a form run on. Where engines were chosen, those of them that take the form.
pub(super) fn resolve_targets(
    request: &PlanRequest,
    form: Form,
    chosen: &[&'static dyn Engine],
    probes: &mut Probes<'_>,
    plan: &mut Plan,
) -> Vec<Target> {
    let wanted = Wanted { request, form, chosen };
    let mut targets: Vec<Target> = Vec::new();
    for choice in &request.hardware {
        let found = match choice {
            HardwareChoice::Platform(platform) => {
                let (found, reasons) = on_platform(*platform, &wanted, probes, true);
                plan.left_out.extend(reasons);
                found
            }
            HardwareChoice::All => {
                let mut all = Vec::new();
                for platform in wanted.all_platforms() {
                    let (found, reasons) = on_platform(platform, &wanted, probes, request.include_software);
                    all.extend(found);
                    plan.left_out.extend(reasons);
                }
                all
            }
            HardwareChoice::Auto => auto(&wanted, probes, plan),
        };
        for target in found {
            let program = |target: &Target| target.engine.external().map(|engine| engine.program().clone());
            let known = |other: &Target| {
                other.platform == target.platform
                    && program(other) == program(&target)
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

/// What the targets are for.
struct Wanted<'w> {
    request: &'w PlanRequest,
    form: Form,
    /// The engines that were named, and take the form.
    chosen: &'w [&'static dyn Engine],
}

impl Wanted<'_> {
    /// Every platform that is looked at where all are meant.
    fn all_platforms(&self) -> Vec<Platform> {
        let more = self.other_platforms();
        Platform::AUTO_ORDER.into_iter().chain(more).collect()
    }

    /// Platforms that no order names and some engine for the form serves.
    fn other_platforms(&self) -> Vec<Platform> {
        let serves = |platform: &Platform| {
            let engines = engines().into_iter().filter(|engine| !engine.hidden() && engine.takes(self.form));
            engines.flat_map(|engine| engine.platforms()).any(|served| served == platform)
        };
        let all = Platform::value_variants().iter().filter(|platform| !Platform::AUTO_ORDER.contains(platform));
        all.filter(|platform| serves(platform)).copied().collect()
    }

    /// The same for those of the named engines that serve a platform of the usual order, and for the others.
    fn by_order(&self) -> (Vec<&'static dyn Engine>, Vec<&'static dyn Engine>) {
        let usual = |engine: &&'static dyn Engine| {
            engine.platforms().iter().any(|platform| Platform::AUTO_ORDER.contains(platform))
        };
        self.chosen.iter().copied().partition(usual)
    }
}

/// The first platform that works; an engine that was named and serves none of them runs on its own.
fn auto(wanted: &Wanted<'_>, probes: &mut Probes<'_>, plan: &mut Plan) -> Vec<Target> {
    let (usual, others) = wanted.by_order();
    let mut found = Vec::new();
    if !usual.is_empty() || others.is_empty() {
        found.extend(first_that_works(&Wanted { chosen: &usual, ..*wanted }, probes, plan));
    }
    for engine in others {
        let own = [engine];
        let alone = Wanted { chosen: &own, ..*wanted };
        for &platform in engine.platforms() {
            let (targets, reasons) = on_platform(platform, &alone, probes, wanted.request.include_software);
            found.extend(targets);
            plan.left_out.extend(reasons);
        }
    }
    found
}

fn first_that_works(wanted: &Wanted<'_>, probes: &mut Probes<'_>, plan: &mut Plan) -> Vec<Target> {
    let Wanted { request, chosen, .. } = *wanted;
    let mut reasons = Vec::new();
    for platform in Platform::AUTO_ORDER {
        let (found, why_not) = on_platform(platform, wanted, probes, request.include_software);
        if let Some(target) = found.first() {
            let note = format!(
                "`auto` took `{platform}` ({}, {})",
                target.probed.device.name,
                found.iter().map(|target| target.engine.name()).collect::<Vec<_>>().join(", ")
            );
            if !plan.notes.contains(&note) {
                plan.notes.push(note);
            }
            plan.left_out.extend(why_not.into_iter().filter(|_| !chosen.is_empty() && platform == Platform::Cpu));
            return found;
        }
        reasons.extend(why_not);
    }
    // That an engine does not serve a platform is news only where there is no other.
    let others = |left_out: &LeftOut| !matches!(left_out.reason, EngineError::WrongPlatform { .. });
    if reasons.iter().any(others) {
        reasons.retain(others);
    }
    plan.left_out.extend(reasons);
    Vec::new()
}

/// What serves a platform: the chosen engines, or the first one that works.
fn on_platform(
    platform: Platform,
    wanted: &Wanted<'_>,
    probes: &mut Probes<'_>,
    software: bool,
) -> (Vec<Target>, Vec<LeftOut>) {
    let Wanted { request, form, chosen } = *wanted;
    let left_out = |what: String, reason| LeftOut { what, reason };
    let mut reasons = Vec::new();
    if chosen.is_empty() {
        let serves = |engine: &&'static dyn Engine| {
            !engine.hidden() && engine.takes(form) && engine.platforms().contains(&platform)
        };
        let serving = engines().into_iter().filter(serves);
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
            Err(EngineError::NotHere { message, hint }) if engine.home().is_some() => {
                targets.extend(engine.home().map(|device| Target {
                    platform,
                    engine,
                    device_index: 0,
                    probed: ProbedDevice { device, precisions: Vec::new() },
                    missing: Some(Words { message, hint }),
                }));
            }
            Err(reason) => reasons.push(left_out(format!("{platform} by {}", engine.name()), reason)),
        }
    }
    (targets, reasons)
}
