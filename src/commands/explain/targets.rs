//! What is to be explained, as people write it: `3`, `3,7`, `3@0`.

use super::super::CommandError;
use super::seam::Explained;

/// A target of the command line.
pub(super) type TargetChoice = Explained;

/// Reads `CLASS` or `CLASS@POSITION`.
pub(super) fn target(text: &str) -> Result<TargetChoice, String> {
    let number = |text: &str| {
        text.trim().parse().map_err(|_| "it is a class (3), or a class at a position of the output (3@0)".to_owned())
    };
    let (class, position) = match text.split_once('@') {
        Some((class, position)) => (class, Some(number(position)?)),
        None => (text, None),
    };
    Ok(Explained { class: number(class)?, position })
}

/// Hands the targets to samples that come one after another.
#[derive(Debug)]
pub(super) struct Targets<'a> {
    given: &'a [TargetChoice],
    taken: usize,
}

impl<'a> Targets<'a> {
    pub(super) fn new(given: &'a [TargetChoice]) -> Self {
        Self { given, taken: 0 }
    }

    /// The target of the next sample; `None` for the network's own answer.
    ///
    /// # Errors
    /// Fewer targets than samples.
    pub(super) fn next(&mut self) -> Result<Option<TargetChoice>, CommandError> {
        let place = self.taken;
        self.taken += 1;
        match self.given {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            many => many.get(place).copied().map(Some).ok_or_else(|| uneven(many.len(), "more")),
        }
    }

    /// All samples have their targets.
    ///
    /// # Errors
    /// More targets than samples.
    pub(super) fn end(&self) -> Result<(), CommandError> {
        match self.given {
            many if many.len() > 1 && self.taken < many.len() => Err(uneven(many.len(), &self.taken.to_string())),
            _ => Ok(()),
        }
    }
}

fn uneven(targets: usize, samples: &str) -> CommandError {
    CommandError::new(
        format!("`--target` names {targets} classes, and there are {samples} inputs"),
        "give one class for all inputs, or one for each in their order",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_may_have_a_position() {
        assert_eq!(target("7"), Ok(Explained { class: 7, position: None }));
        assert_eq!(target("7@12"), Ok(Explained { class: 7, position: Some(12) }));
        for wrong in ["", "cat", "-1", "3@", "@3", "1.5"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_is_for_all_and_many_are_one_for_each() {
        let class = |class| Explained { class, position: None };
        let given = [class(3), class(7)];
        let mut one = Targets::new(&given[..1]);
        assert_eq!([one.next().unwrap(), one.next().unwrap()], [Some(class(3)); 2]);
        let mut each = Targets::new(&given);
        assert_eq!(each.next().unwrap(), Some(class(3)));
        assert!(each.end().unwrap_err().to_string().contains("2 classes, and there are 1 inputs"));
        assert_eq!(each.next().unwrap(), Some(class(7)));
        each.end().unwrap();
        assert!(each.next().is_err());
        assert_eq!(Targets::new(&[]).next().unwrap(), None);
    }
}
