//! The templates: found, safe to load, and what they say when they are asked.

use sampan_plugins::{Found, PluginError, Templates};
use sampan_runtime::doctor::Finding;

use crate::context::{Context, Workshop};

pub(super) fn check(context: &Context) -> Vec<Finding> {
    let templates = Templates::from_environment();
    let found = match templates.list() {
        Ok(found) => found,
        // The home of somebody else, who called this by su(1).
        Err(error) if !nix::unistd::geteuid().is_root() => {
            return vec![Finding::unknown("templates.found", error.to_string())];
        }
        Err(error) => {
            return vec![Finding::problem(
                "templates.found",
                error.to_string(),
                "ls -ld the directory, and chmod go+rx it",
            )];
        }
    };
    if found.is_empty() {
        let searched = templates.directories().iter();
        let searched: Vec<String> = searched.map(|path| path.display().to_string()).collect();
        return vec![Finding::problem(
            "templates.found",
            format!("no template is in {}", searched.join(", ")),
            "export SAMPAN_TEMPLATE_PATH=DIRECTORY, or install Sampan's templates",
        )];
    }
    let names: Vec<&str> = found
        .iter()
        .filter(|template| !template.shadowed)
        .map(|template| template.name.as_str())
        .collect();
    let mut findings = vec![Finding::ok("templates.found", names.join(", "))];
    let workshop = match nix::unistd::geteuid().is_root() {
        true => context.workshop().map_err(|failure| failure.words()),
        false => Err("asking it needs root".to_owned()),
    };
    for template in &found {
        findings.push(match template.shadowed {
            true => Finding::ok(
                "templates.shadowed",
                format!(
                    "{} is not used: another {} comes before it",
                    template.path.display(),
                    template.name
                ),
            ),
            false => usable(workshop.as_ref(), template),
        });
    }
    findings
}

fn usable(workshop: Result<&Workshop<'_>, &String>, template: &Found) -> Finding {
    let name = "templates.usable";
    let path = template.path.display();
    if let Err(error) = template.check() {
        return unusable(name, template, &error);
    }
    let workshop = match workshop {
        Ok(workshop) => workshop,
        // The cache cannot be made, which the cache's own check tells.
        Err(why) => {
            let why = why.lines().next().unwrap_or_default();
            return Finding::unknown(name, format!("{path}: {why}"));
        }
    };
    match workshop.session().describe(template) {
        Ok(answer) => Finding::ok(
            name,
            format!("{} {} ({path})", template.name, answer.description.version),
        ),
        Err(error) => unusable(name, template, &error),
    }
}

fn unusable(name: &'static str, template: &Found, error: &PluginError) -> Finding {
    let path = template.path.display();
    let mend = match error {
        PluginError::Untrusted { .. } => format!(
            "chown root: {path} && chmod go-w {path} {}",
            template
                .path
                .parent()
                .map(|directory| directory.display().to_string())
                .unwrap_or_default()
        ),
        _ => format!("rm {path}, or build it anew against this release's sampan-core"),
    };
    Finding::problem(name, error.to_string(), mend)
}
