//! Options of `run` for programs of others that are engines.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::commands::CommandError;
use crate::commands::options::{duration, parameter};
use crate::domain::program::split_words;
use crate::domain::{AnswerTimes, ExternalProgram};

/// A worker that says nothing for half an hour is taken for one that hangs; its program must be quicker.
const LONGEST: Duration = Duration::from_secs(25 * 60);

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Programs of others")]
pub(super) struct ExternalArgs {
    /// Command line of a program that is an engine, too; docs/external.md has its protocol, adapters/ has some. May be
    /// given several times
    #[arg(long = "external", value_name = "COMMAND")]
    externals: Vec<String>,
    /// An option for these programs, which becomes part of the configuration: `compile=true`
    #[arg(long = "external-option", value_name = "NAME=VALUE", value_parser = option, requires = "externals")]
    external_options: Vec<(String, Value)>,
    /// How long they may take over an answer: hello, prepare, steps, outputs or bye, as in `prepare=15m`
    #[arg(long = "external-timeout", value_name = "ANSWER=TIME", value_delimiter = ',', value_parser = answer_time, requires = "externals")]
    external_timeouts: Vec<(Answer, Duration)>,
}

/// An answer that a program may be late with.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Hello,
    Prepare,
    Steps,
    Outputs,
    Bye,
}

fn option(text: &str) -> Result<(String, Value), String> {
    match parameter(text)? {
        (name, _) if name.is_empty() => Err("the option has no name".to_owned()),
        (_, Value::Null) => Err("the option has no value".to_owned()),
        option => Ok(option),
    }
}

fn answer_time(text: &str) -> Result<(Answer, Duration), String> {
    let (name, time) = text.split_once('=').ok_or("it has the form `prepare=15m`")?;
    let answer = match name.trim() {
        "hello" => Answer::Hello,
        "prepare" => Answer::Prepare,
        "steps" => Answer::Steps,
        "outputs" => Answer::Outputs,
        "bye" => Answer::Bye,
        other => return Err(format!("there is no answer `{other}`: hello, prepare, steps, outputs, bye")),
    };
    match duration(time)? {
        time if time.is_zero() => Err("nobody answers in no time".to_owned()),
        time if time > LONGEST => Err("25 minutes are the most".to_owned()),
        time => Ok((answer, time)),
    }
}

impl ExternalArgs {
    /// The programs, to be started in the current folder.
    pub fn programs(&self) -> anyhow::Result<Vec<ExternalProgram>> {
        if self.externals.is_empty() {
            return Ok(Vec::new());
        }
        let folder = std::env::current_dir().context("cannot find out the current folder")?;
        let mut times = AnswerTimes::default();
        for &(answer, time) in &self.external_timeouts {
            *match answer {
                Answer::Hello => &mut times.hello,
                Answer::Prepare => &mut times.prepare,
                Answer::Steps => &mut times.steps,
                Answer::Outputs => &mut times.outputs,
                Answer::Bye => &mut times.bye,
            } = time;
        }
        let options: BTreeMap<String, Value> = self.external_options.iter().cloned().collect();
        let program = |command: &String| {
            let words = split_words(command).map_err(|reason| {
                let message = format!("`--external {command}` is no command line: {reason}");
                CommandError::new(message, "`--external 'python3 adapters/pytorch.py'`")
            })?;
            anyhow::Ok(ExternalProgram {
                command: command.clone(),
                words,
                folder: folder.clone(),
                times,
                options: options.clone(),
                version: String::new(),
                framework: String::new(),
            })
        };
        self.externals.iter().map(program).collect()
    }
}
