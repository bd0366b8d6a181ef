//! `sampan doctor`: whether this machine can do what containers need.

mod cache;
mod templates;

use std::process::ExitCode;

use sampan_runtime::doctor::{Finding, Level, Subject, examine};

use crate::{context::Context, failure::Outcome, output};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line says what was looked at and what was found. Under a warning (something is limited) and a
problem (something does not work) stands the command that mends it. Looking changes nothing.
What needs root to look at is `unknown` without it. The exit code is 1 if there is a problem, else 0.
The names of the checks are in docs/json.md.")]
pub struct Args {
    /// Show warnings and problems only
    #[arg(long)]
    bad: bool,
}

/// Looks at everything.
pub fn run(context: &Context, args: &Args) -> Outcome<ExitCode> {
    let containers = context.containers();
    let directories = &context.directories;
    let subject = Subject {
        containers: &containers,
        directories: vec![
            ("state", directories.state.clone()),
            ("cache", directories.cache.clone()),
            ("run", directories.run.clone()),
            ("log", directories.log.clone()),
        ],
        monitor_program: sampan_runtime::StartOptions::default().monitor_program,
    };
    let mut findings = examine(&subject);
    findings.extend(templates::check(context));
    findings.extend(cache::check(context));
    let worst = findings.iter().map(|finding| finding.level).max();
    let shown: Vec<&Finding> = findings
        .iter()
        .filter(|finding| !args.bad || finding.level >= Level::Warning)
        .collect();
    output::print(context.global.format, &shown, |shown| {
        for_people(shown, &findings)
    })?;
    Ok(match worst {
        Some(Level::Problem) => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    })
}

fn for_people(shown: &[&Finding], all: &[Finding]) -> String {
    let width = shown.iter().map(|finding| finding.check.len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for finding in shown {
        let level = word(finding.level);
        // On one line, whatever a path or a template's error holds.
        let found = output::printable(&finding.found.replace('\n', " "));
        text.push_str(&format!("{level:<8} {:<width$}  {found}\n", finding.check));
        if let Some(mend) = &finding.mend {
            let mend = output::printable(&mend.replace('\n', " "));
            text.push_str(&format!("{:<8} {:<width$}  mend: {mend}\n", "", ""));
        }
    }
    let count = |level| all.iter().filter(|finding| finding.level == level).count();
    text.push_str(&format!(
        "ok: {}, unknown: {}, warnings: {}, problems: {}\n",
        count(Level::Ok),
        count(Level::Unknown),
        count(Level::Warning),
        count(Level::Problem)
    ));
    text
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Unknown => "unknown",
        Level::Warning => "warning",
        Level::Problem => "problem",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_line_for_each_finding_and_one_for_its_remedy() {
        let all = [
            Finding::ok("a.b", "fine"),
            Finding::problem("long.name", "bro\u{1b}ken", "mend it"),
        ];
        let shown: Vec<&Finding> = all.iter().collect();
        assert_eq!(
            for_people(&shown, &all),
            "ok       a.b        fine\n\
             problem  long.name  bro\u{fffd}ken\n                    \
             mend: mend it\n\
             ok: 1, unknown: 0, warnings: 0, problems: 1\n"
        );
    }
}
