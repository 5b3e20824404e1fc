//! One source for the text of an enum: the names that clap takes are the names that are stored and printed.

use clap::ValueEnum;

/// The text of an enum's value, as on the command line, in the database and in exports.
pub fn label<T: ValueEnum>(value: &T) -> String {
    value.to_possible_value().map(|possible| possible.get_name().to_owned()).unwrap_or_default()
}

/// The value that a text names; `None` for an unknown text.
pub fn parse_label<T: ValueEnum>(text: &str) -> Option<T> {
    T::from_str(text, true).ok()
}

/// Implements `Display` through [`label`] for enums of the domain.
macro_rules! display_as_label {
    ($($name:ty),+ $(,)?) => {
        $(impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&$crate::domain::label::label(self))
            }
        })+
    };
}
pub(crate) use display_as_label;

display_as_label!(super::Category, super::Task);
