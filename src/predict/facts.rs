//! What is known of a model's work, and what another row of the same model says where one does not.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::domain::{Example, Subject};

/// The work of one sample. What is not known is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Trainable parameters.
    pub parameter_count: Option<f64>,
    /// Multiply-adds.
    pub multiply_adds: Option<f64>,
    /// Elements that operators write.
    pub activation_count: Option<f64>,
    /// Elements of the input.
    pub input_elements: Option<f64>,
}

/// Multiply-adds of one sample that a network can have: from a hundred to a thousand times those of the largest there are.
pub const WORK: Range<f64> = 1e2..1e16;

/// Parameters, activations of one sample, elements of one input that a network can have.
pub const SIZES: Range<f64> = 1.0..1e13;

fn within(range: &Range<f64>, value: Option<f64>) -> Option<f64> {
    value.filter(|value| range.contains(value))
}

impl Facts {
    /// What a subject says itself; numbers that no network has are not known.
    pub fn of(subject: &Subject) -> Self {
        Self {
            parameter_count: within(&SIZES, subject.parameter_count),
            multiply_adds: within(&WORK, subject.multiply_adds),
            activation_count: within(&SIZES, subject.activation_count),
            input_elements: within(&SIZES, subject.input_elements()),
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            parameter_count: self.parameter_count.or(other.parameter_count),
            multiply_adds: self.multiply_adds.or(other.multiply_adds),
            activation_count: self.activation_count.or(other.activation_count),
            input_elements: self.input_elements.or(other.input_elements),
        }
    }

    /// The same model at another size of input: work and activations grow as the input does.
    fn resized(self, elements: Option<f64>) -> Self {
        let ratio = match (elements, self.input_elements) {
            (Some(new), Some(old)) => new / old,
            _ => return Self { multiply_adds: None, activation_count: None, ..self },
        };
        Self {
            multiply_adds: self.multiply_adds.map(|value| value * ratio),
            activation_count: self.activation_count.map(|value| value * ratio),
            ..self
        }
    }
}

/// Facts by model, variant and shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FactBook {
    /// By the model's name and variant: shapes with their facts.
    models: BTreeMap<String, Vec<(String, Facts)>>,
}

fn name_of(subject: &Subject) -> String {
    [subject.model.as_str(), subject.variant.as_str()].join("\u{1f}")
}

impl FactBook {
    /// What these examples say.
    pub fn new<'e>(examples: impl Iterator<Item = &'e Example>) -> Self {
        let mut book = Self::default();
        book.extend(examples);
        book
    }

    /// What more examples say; what is known stays.
    pub fn extend<'e>(&mut self, examples: impl Iterator<Item = &'e Example>) {
        for example in examples {
            let subject = &example.subject;
            let shapes = self.models.entry(name_of(subject)).or_default();
            let facts = Facts::of(subject);
            match shapes.iter_mut().find(|(shape, _)| *shape == subject.input_shape) {
                Some((_, known)) => *known = known.or(facts),
                None => shapes.push((subject.input_shape.clone(), facts)),
            }
        }
    }

    /// The shapes at which a model (of no variant) is known.
    pub fn shapes(&self, model: &str) -> Vec<&str> {
        let known = self.models.get(&[model, ""].join("\u{1f}"));
        known.into_iter().flatten().map(|(shape, _)| shape.as_str()).collect()
    }

    /// The models that are known, without their variants.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.keys().filter_map(|key| key.split('\u{1f}').next())
    }

    /// The facts of a subject: its own, those of the same shape, those of another shape at its size.
    pub fn facts(&self, subject: &Subject) -> Facts {
        let own = Facts::of(subject);
        let Some(shapes) = self.models.get(&name_of(subject)) else {
            return own;
        };
        let same = shapes.iter().find(|(shape, _)| *shape == subject.input_shape);
        let facts = same.map_or(own, |(_, facts)| own.or(*facts));
        let richest = shapes.iter().find(|(_, facts)| facts.multiply_adds.is_some()).or(shapes.first());
        richest.map_or(facts, |(_, other)| facts.or(other.resized(facts.input_elements)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::forecast::samples::subject;

    #[test]
    fn another_row_of_the_model_says_what_one_does_not() {
        let known = subject("resnet50", "x");
        let example = Example {
            subject: known.clone(),
            throughput: Some(1.0),
            latency_ms: None,
            host_memory_mb: None,
            device_memory_mb: None,
            runs: 1,
        };
        let book = FactBook::new(std::iter::once(&example));
        let mut asked = known.clone();
        (asked.multiply_adds, asked.parameter_count) = (None, None);
        assert_eq!(book.facts(&asked).multiply_adds, known.multiply_adds);
        asked.input_shape = "3x448x448".into();
        assert_eq!(book.facts(&asked).multiply_adds, known.multiply_adds.map(|work| work * 4.0));
        assert_eq!(book.facts(&asked).parameter_count, known.parameter_count);
        asked.model = "new".into();
        assert_eq!(book.facts(&asked).multiply_adds, None);
    }
}
