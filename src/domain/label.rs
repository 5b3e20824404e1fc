//! One source for the text of an enum: the names that clap takes are the names that are stored and printed.

use clap::ValueEnum;

/// The text of an enum's value, as on the command line, in the database and in exports.
pub fn label<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map(|possible| possible.get_name().to_owned()).unwrap_or_default()
}

/// An enum whose texts are kept, for where one is asked for a million times.
pub trait Labelled: ValueEnum + PartialEq + 'static {
    /// The texts of [`ValueEnum::value_variants`], in their order.
    fn labels() -> &'static [String];

    /// [`label`] without making a new text.
    fn label(&self) -> &'static str {
        let place = Self::value_variants().iter().position(|variant| variant == self);
        place.and_then(|place| Self::labels().get(place)).map_or("", String::as_str)
    }

    /// The value of exactly this text; [`parse_label`] is for what people wrote.
    fn of_label(text: &str) -> Option<Self> {
        let place = Self::labels().iter().position(|label| label == text)?;
        Self::value_variants().get(place).cloned()
    }
}

/// The value that a text names; `None` for an unknown text.
pub fn parse_label<T: ValueEnum>(text: &str) -> Option<T> {
    T::from_str(text, true).ok()
}

/// Implements [`Labelled`], and `Display` through it, for enums of the domain.
macro_rules! display_as_label {
    ($($name:ty),+ $(,)?) => {
        $(impl $crate::domain::label::Labelled for $name {
            fn labels() -> &'static [String] {
                static LABELS: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
                    <$name as clap::ValueEnum>::value_variants().iter().map($crate::domain::label::label).collect()
                });
                &LABELS
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad($crate::domain::label::Labelled::label(self))
            }
        })+
    };
}
pub(crate) use display_as_label;

display_as_label!(super::Category, super::Task);

#[cfg(test)]
mod tests {
    use super::super::{Precision, RunStatus};
    use super::*;

    #[test]
    fn kept_texts_are_those_of_the_command_line() {
        for status in RunStatus::value_variants() {
            assert_eq!(status.label(), label(status));
            assert_eq!(parse_label(status.label()), Some(*status));
            assert_eq!(RunStatus::of_label(status.label()), Some(*status));
        }
        assert_eq!(RunStatus::of_label("OK"), None);
        assert_eq!(Precision::Int8w.to_string(), "int8w");
    }
}
