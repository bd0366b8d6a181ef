//! `sampan template`: what can be built.

use sampan_core::{Description, OptionKind};
use sampan_plugins::{PluginError, Templates};
use serde::Serialize;

use crate::{context::Context, failure::Outcome, output};

/// The subcommands.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the templates
    Ls,
    /// Show a template and its options
    #[command(after_help = "Example:\n  sampan template show debian")]
    Show {
        /// The template's name
        name: String,
    },
}

#[derive(Serialize)]
struct Row {
    name: String,
    version: Option<String>,
    summary: Option<String>,
    path: String,
    shadowed: bool,
    /// Why it cannot be used.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Shown {
    name: String,
    version: String,
    summary: String,
    licence: String,
    homepage: String,
    path: String,
    abi_version: String,
    architectures: Vec<String>,
    options: Vec<ShownOption>,
}

#[derive(Serialize)]
struct ShownOption {
    name: String,
    kind: &'static str,
    default: Option<String>,
    allowed: Vec<String>,
    changes_image: bool,
    help: String,
}

/// Runs the subcommand.
pub fn run(context: &Context, command: &Command) -> Outcome {
    match command {
        Command::Ls => ls(context),
        Command::Show { name } => show(context, name),
    }
}

fn ls(context: &Context) -> Outcome {
    context.need_root("asking templates what they are")?;
    let workshop = context.workshop()?;
    let session = workshop.session();
    let mut rows = Vec::new();
    for found in Templates::from_environment().list()? {
        let described = match found.shadowed {
            true => None,
            false => Some(session.describe(&found)),
        };
        let (description, problem) = match described {
            None => (None, None),
            Some(Ok(template)) => (Some(template.description), None),
            Some(Err(
                PluginError::Untrusted { reason, .. } | PluginError::Unusable { reason, .. },
            )) => (None, Some(reason)),
            Some(Err(error)) => (None, Some(error.to_string())),
        };
        rows.push(Row {
            name: found.name,
            version: description.as_ref().map(|d| d.version.clone()),
            summary: description.map(|d| d.summary),
            path: found.path.display().to_string(),
            shadowed: found.shadowed,
            problem,
        });
    }
    output::print(context.global.format, &rows, |rows| {
        output::table(
            ["NAME", "VERSION", "SUMMARY", "PATH"],
            rows.iter().map(|row| {
                let summary = match (&row.problem, row.shadowed) {
                    (Some(problem), _) => format!("cannot be used: {problem}"),
                    (None, true) => "shadowed by the one above".to_owned(),
                    (None, false) => row.summary.clone().unwrap_or_default(),
                };
                let version = row.version.clone().unwrap_or_else(|| "-".to_owned());
                [row.name.clone(), version, summary, row.path.clone()]
            }),
        )
    })
}

fn show(context: &Context, name: &str) -> Outcome {
    context.need_root("asking a template what it is")?;
    let template = context.workshop()?.template(name)?;
    let path = template.found.path.display().to_string();
    let shown = shown(template.description, path, template.abi_version);
    output::print(context.global.format, &shown, for_people)
}

fn shown(description: Description, path: String, abi_version: String) -> Shown {
    Shown {
        name: description.name,
        version: description.version,
        summary: description.summary,
        licence: description.licence,
        homepage: description.homepage,
        path,
        abi_version,
        architectures: description.architectures,
        options: description
            .options
            .into_iter()
            .map(|option| ShownOption {
                kind: kind(option.kind),
                default: match option.kind {
                    OptionKind::Mirror => Some(format!(
                        "this machine's own {} mirror, else {}",
                        option.mirror_of,
                        option.default.as_deref().unwrap_or("none")
                    )),
                    _ => option.default,
                },
                name: option.name,
                allowed: option.allowed,
                changes_image: option.changes_image,
                help: option.help,
            })
            .collect(),
    }
}

fn kind(kind: OptionKind) -> &'static str {
    match kind {
        OptionKind::Text => "text",
        OptionKind::Boolean => "true or false",
        OptionKind::Integer => "number",
        OptionKind::List => "list",
        OptionKind::File => "file",
        OptionKind::Mirror => "address",
        _ => "unknown to this release",
    }
}

fn for_people(shown: &Shown) -> String {
    let nonempty = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let mut text = output::fields([
        (
            "template",
            Some(format!("{} {}", shown.name, shown.version)),
        ),
        ("summary", nonempty(&shown.summary)),
        ("licence", nonempty(&shown.licence)),
        ("homepage", nonempty(&shown.homepage)),
        ("builds for", Some(shown.architectures.join(", "))),
        (
            "library",
            Some(format!("{} (ABI {})", shown.path, shown.abi_version)),
        ),
    ]);
    if shown.options.is_empty() {
        return text;
    }
    text.push_str("\nOptions, given as -o NAME=VALUE:\n");
    for option in &shown.options {
        text.push_str(&format!("  {} ({})\n", option.name, option.kind));
        for line in option.help.lines() {
            text.push_str(&format!("      {line}\n"));
        }
        if !option.allowed.is_empty() {
            text.push_str(&format!("      one of: {}\n", option.allowed.join(", ")));
        }
        if let Some(default) = &option.default {
            text.push_str(&format!("      default: {default}\n"));
        }
    }
    text
}
