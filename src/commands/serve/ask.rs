//! What an address asks for: the options of the command line by their names, read by the parser of the command line, and
//! written back as an address or as a command.

use std::sync::LazyLock;

use clap::Parser;

use crate::commands::SelectArgs;
use crate::commands::report::SubjectArgs;
use crate::commands::verdicts::JudgeArgs;
use crate::domain::text::quoted;

/// Why an address is not answered: one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unclear(pub(super) String);

/// Which runs, as an address says it.
#[derive(Debug, Default, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct SelectOptions {
    #[command(flatten)]
    select: SelectArgs,
}

/// How strictly two sets of runs are compared, as an address says it.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct JudgeOptions {
    #[command(flatten)]
    judging: JudgeArgs,
}

/// What a report holds the runs against, as an address says it.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct ReportOptions {
    #[command(flatten)]
    subject: SubjectArgs,
}

/// Names and values of a query; what is empty was not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// The pairs of an address.
    ///
    /// # Errors
    /// Characters that no name and no value has.
    pub(super) fn new(query: &[(String, String)]) -> Result<Self, Unclear> {
        let asked: Vec<(String, String)> = query.iter().filter(|(_, value)| !value.is_empty()).cloned().collect();
        if asked.iter().any(|(name, value)| has_control(name) || has_control(value)) {
            return Err(Unclear("The address has control characters or broken UTF-8 in it.".to_owned()));
        }
        Ok(Self(asked))
    }

    /// The value of a name that may stand there once.
    ///
    /// # Errors
    /// A name that stands there again.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Unclear> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Unclear(format!("`{name}` stands in the address more than once."))),
            (value, None) => Ok(value),
        }
    }

    /// A whole number of a name, between these.
    ///
    /// # Errors
    /// What is no number, or lies elsewhere.
    pub(super) fn number(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Unclear> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        match text.parse::<i64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => Err(Unclear(format!("`{name}` is a whole number between {least} and {most}."))),
        }
    }

    /// What stands in a field of a form: all values of a name.
    pub(super) fn text(&self, name: &str) -> String {
        let values: Vec<&str> = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
        values.join(",")
    }

    /// Those whose name begins so, without that beginning.
    pub(super) fn after(&self, prefix: &str) -> Self {
        let stripped =
            self.0.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone())));
        Self(stripped.collect())
    }

    /// Those for whose names `keep` is true.
    pub(super) fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(name, _)| keep(name)).cloned().collect())
    }

    /// The same with another value, or without one.
    pub(super) fn with(&self, name: &str, value: Option<&str>) -> Self {
        let mut changed = self.only(|known| known != name);
        changed.0.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        changed
    }

    /// These, and those of the others whose names are not among them.
    pub(super) fn or(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.0.extend(other.0.iter().filter(|(name, _)| !self.has(name)).cloned());
        all
    }

    /// Whether a name stands there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// The names, each once.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Whether nothing was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first name that is none of these and no option of a selection.
    ///
    /// # Errors
    /// It, in a sentence.
    pub(super) fn knows(&self, others: &[&str]) -> Result<(), Unclear> {
        match self.0.iter().find(|(name, _)| !is_selecting(name) && !others.contains(&name.as_str())) {
            Some((name, _)) => Err(Unclear(format!(
                "There is no option `{name}` here; those of a selection are {}.",
                SELECTING.join(", ")
            ))),
            None => Ok(()),
        }
    }

    /// An address: a path with these as its query.
    pub(super) fn address(&self, path: &str) -> String {
        let pairs: Vec<String> = self.0.iter().map(|(name, value)| [escaped(name), escaped(value)].join("=")).collect();
        if pairs.is_empty() { path.to_owned() } else { [path, &pairs.join("&")].join("?") }
    }

    /// Options of the command line: ` --model resnet50 --mode inference`.
    pub(super) fn options(&self) -> String {
        let option = |(name, value): &(String, String)| match switch(name, value) {
            None => [" --", name, " ", &quoted(value)].concat(),
            Some(Ok(true)) => [" --", name].concat(),
            Some(_) => String::new(),
        };
        self.0.iter().map(option).collect()
    }

    /// The selection that they make.
    ///
    /// # Errors
    /// What the command line would say.
    pub(super) fn selecting(&self) -> Result<SelectArgs, Unclear> {
        self.parsed::<SelectOptions>(is_selecting).map(|parsed| parsed.select)
    }

    /// How strictly is judged.
    ///
    /// # Errors
    /// What the command line would say.
    pub(super) fn judging(&self) -> Result<JudgeArgs, Unclear> {
        self.parsed::<JudgeOptions>(is_judging).map(|parsed| parsed.judging)
    }

    /// What a report holds the runs against.
    ///
    /// # Errors
    /// What the command line would say.
    pub(super) fn reporting(&self) -> Result<SubjectArgs, Unclear> {
        self.parsed::<ReportOptions>(is_reporting).map(|parsed| parsed.subject)
    }

    /// What a parser of the command line makes of those for whose names `keep` is true.
    fn parsed<P: Parser>(&self, keep: fn(&str) -> bool) -> Result<P, Unclear> {
        P::try_parse_from(self.only(keep).arguments()?).map_err(unclear)
    }

    /// One argument a pair, so that no value is taken for an option.
    fn arguments(&self) -> Result<Vec<String>, Unclear> {
        let argument = |(name, value): &(String, String)| match switch(name, value) {
            None => Some(Ok(["--", name, "=", value].concat())),
            Some(Ok(true)) => Some(Ok(["--", name].concat())),
            Some(Ok(false)) => None,
            Some(Err(unclear)) => Some(Err(unclear)),
        };
        self.0.iter().filter_map(argument).collect()
    }
}

static SELECTING: LazyLock<Vec<String>> = LazyLock::new(|| option_names::<SelectOptions>(|_| true));
static JUDGING: LazyLock<Vec<String>> = LazyLock::new(|| option_names::<JudgeOptions>(|_| true));
static REPORTING: LazyLock<Vec<String>> = LazyLock::new(|| option_names::<ReportOptions>(|_| true));

/// Options without a value.
static SWITCHES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let has_none = |argument: &clap::Arg| !argument.get_action().takes_values();
    let of_judging = option_names::<JudgeOptions>(has_none);
    [option_names::<SelectOptions>(has_none), of_judging, option_names::<ReportOptions>(has_none)].concat()
});

/// Whether a name is an option of a selection.
pub(super) fn is_selecting(name: &str) -> bool {
    SELECTING.iter().any(|known| known == name)
}

/// Whether a name is an option of judging; a page has no exit code that `fail-on` could change.
pub(super) fn is_judging(name: &str) -> bool {
    JUDGING.iter().any(|known| known == name) && name != "fail-on"
}

/// Whether a name is an option of a report's own.
pub(super) fn is_reporting(name: &str) -> bool {
    REPORTING.iter().any(|known| known == name)
}

/// Whether an option without a value is on; `None` for all other options. An address always has a value: a browser sends
/// `on` for a box that is ticked.
fn switch(name: &str, value: &str) -> Option<Result<bool, Unclear>> {
    SWITCHES.iter().any(|known| known == name).then(|| match value {
        "on" | "1" | "true" => Ok(true),
        "off" | "0" | "false" => Ok(false),
        _ => Err(Unclear(format!("`{name}` is `on` or `off`."))),
    })
}

/// The names of a parser's options, those for which `keep` is true.
fn option_names<P: clap::CommandFactory>(keep: impl Fn(&clap::Arg) -> bool) -> Vec<String> {
    let command = P::command();
    let kept = command.get_arguments().filter(|argument| keep(argument));
    kept.filter_map(|argument| argument.get_long().map(str::to_owned)).collect()
}

/// What the parser says, as one sentence.
fn unclear(error: clap::Error) -> Unclear {
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("For more information") && !line.starts_with("Usage:"))
        .collect();
    let sentence = lines.join(" ");
    let sentence = sentence.trim_start_matches("error: ").replace("'--", "'");
    Unclear(format!("The address is not clear: {sentence}."))
}

fn has_control(text: &str) -> bool {
    text.chars().any(|character| character.is_control() || character == char::REPLACEMENT_CHARACTER)
}

/// A text as a part of an address (RFC 3986, unreserved characters as they are).
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// What a command line has to say first, so that it asks this database.
pub(super) fn program(db: &std::path::Path) -> String {
    ["benchdb --db ", &quoted(&db.display().to_string())].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Mode;

    fn pairs(query: &[(&str, &str)]) -> Pairs {
        Pairs::new(&query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
            .unwrap()
    }

    #[test]
    fn an_address_is_read_as_the_command_line_is() {
        let select = pairs(&[("model", "a,b"), ("mode", "training"), ("host", "--help"), ("device", "")]);
        let args = select.selecting().unwrap();
        assert_eq!((args.models, args.modes), (vec!["a".to_owned(), "b".to_owned()], vec![Mode::Training]));
        assert_eq!((args.host.as_deref(), args.device), (Some("--help"), None));
        let wrong = pairs(&[("mode", "dreaming")]).selecting().unwrap_err().to_string();
        assert!(wrong.contains("dreaming") && wrong.contains("training") && !wrong.contains('\n'), "{wrong}");
        assert!(pairs(&[("host", "a"), ("host", "b")]).selecting().is_err());
        assert!(pairs(&[("help", "1")]).knows(&[]).is_err());
    }

    #[test]
    fn what_was_asked_comes_back() {
        let asked = pairs(&[("model", "it's <b>&=é"), ("after", "3")]);
        assert_eq!(asked.address("/runs"), "/runs?model=it%27s%20%3Cb%3E%26%3D%C3%A9&after=3");
        assert_eq!(asked.only(is_selecting).options(), " --model 'it'\\''s <b>&=é'");
        assert_eq!(asked.with("after", None).address("/"), "/?model=it%27s%20%3Cb%3E%26%3D%C3%A9");
    }

    #[test]
    fn characters_that_no_name_has_are_refused() {
        for value in ["a\0b", "a\nb", "\u{fffd}", "\u{1b}[31m"] {
            assert!(Pairs::new(&[("model".to_owned(), value.to_owned())]).is_err());
        }
    }

    #[test]
    fn numbers_have_bounds() {
        for text in ["-1", "0", "1e3", "99999999999999999999", "x"] {
            assert!(pairs(&[("page", text)]).number("page", 1, 1000).is_err(), "{text}");
        }
        assert_eq!(pairs(&[("page", "7")]).number("page", 1, 1000).unwrap(), Some(7));
    }

    #[test]
    fn judging_has_its_options_too() {
        let judging =
            pairs(&[("regression-alert", "5%"), ("no-floors", "on"), ("ignore", "engine")]).judging().unwrap();
        assert!((judging.regression_alert - 0.05).abs() < 1e-12 && judging.no_floors);
        assert!(pairs(&[("regression-alert", "-3")]).judging().is_err());
    }

    #[test]
    fn a_report_has_its_options_too() {
        let asked =
            pairs(&[("model", "a"), ("baseline", "main"), ("include-software", "on"), ("relative-to", "engine=tract")]);
        let selection = asked.selecting().unwrap().selection(|_| Err(anyhow::anyhow!("none"))).unwrap();
        let subject = asked.reporting().unwrap().subject(&selection, true, None);
        assert_eq!((subject.baseline.as_deref(), subject.include_software), (Some("main"), true));
        assert!((subject.alert - 0.1).abs() < 1e-12 && subject.reference.to_string().contains("tract"));
        assert!(pairs(&[("relative-to", "nonsense=1")]).reporting().is_err());
    }

    #[test]
    fn what_has_no_value_is_on_or_off() {
        assert_eq!(*SWITCHES, ["no-floors", "all-runs", "include-software"]);
        for (value, is_on, option) in [("on", true, " --no-floors"), ("1", true, " --no-floors"), ("off", false, "")] {
            let asked = pairs(&[("no-floors", value)]);
            assert_eq!((asked.judging().unwrap().no_floors, asked.options().as_str()), (is_on, option), "{value}");
        }
        let wrong = pairs(&[("no-floors", "maybe")]).judging().unwrap_err().to_string();
        assert!(wrong.contains("no-floors") && wrong.contains("on"), "{wrong}");
    }
}
