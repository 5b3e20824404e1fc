//! Which model runs on which target: engines take networks in one form or another, and pairs that do not fit are left out
//! with one line, not with one row each.

use std::collections::BTreeSet;

use super::models::Chosen;
use super::targets::{Probes, Target, resolve_targets};
use super::{LeftOut, Plan, PlanRequest};
use crate::engine::{Engine, EngineError, Form};

/// The targets of each form.
#[derive(Default)]
pub(super) struct Pairing {
    zoo: Vec<Target>,
    onnx: Vec<Target>,
}

impl Pairing {
    /// Looks for the targets of the forms in which `models` come.
    pub fn new(
        request: &PlanRequest,
        models: &[Chosen],
        chosen: &[&'static dyn Engine],
        probes: &mut Probes<'_>,
        plan: &mut Plan,
    ) -> Self {
        let mut of = |form: Form| {
            if models.iter().all(|model| model.form() != form) {
                return Vec::new();
            }
            let (able, unable): (Vec<_>, Vec<_>) = chosen.iter().copied().partition(|engine| engine.takes(form));
            leave_out(models, form, &unable, &able, plan);
            if able.is_empty() && !chosen.is_empty() {
                return Vec::new();
            }
            resolve_targets(request, form, &able, probes, plan)
        };
        let pairing = Self { zoo: of(Form::Zoo), onnx: of(Form::Onnx) };
        // What is not here is not here for either form.
        let mut told = BTreeSet::new();
        plan.left_out.retain(|left_out| told.insert((left_out.what.clone(), left_out.reason.to_string())));
        pairing
    }

    /// What a model runs on.
    pub fn targets(&self, model: &Chosen) -> &[Target] {
        match model.form() {
            Form::Zoo => &self.zoo,
            Form::Onnx => &self.onnx,
        }
    }
}

/// Says which of the named engines do not take the models of a form. A model that comes in the other form, too, is
/// measured by them all the same, so there is nothing to say.
fn leave_out(
    models: &[Chosen],
    form: Form,
    unable: &[&'static dyn Engine],
    able: &[&'static dyn Engine],
    plan: &mut Plan,
) {
    let other_form = if form == Form::Zoo { Form::Onnx } else { Form::Zoo };
    let measured_all_the_same = |model: &Chosen| {
        !able.is_empty()
            && models.iter().any(|other| other.name == model.name && other.form() != form)
            && unable.iter().all(|engine| engine.takes(other_form))
    };
    let concerned: Vec<&Chosen> =
        models.iter().filter(|model| model.form() == form && !measured_all_the_same(model)).collect();
    if let (Some(first), false) = (concerned.first(), unable.is_empty()) {
        let titles: Vec<String> = concerned.iter().map(|model| model.title()).collect();
        let engines: Vec<&str> = unable.iter().map(|engine| engine.name()).collect();
        let reason = EngineError::WrongForm { engines: engines.join(", "), form, model: first.name.clone() };
        plan.left_out.push(LeftOut { what: titles.join(", "), reason });
    }
}
