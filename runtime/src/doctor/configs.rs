//! The configs of the containers.

use super::{Finding, Host};

pub(super) fn check(host: &Host<'_>) -> Vec<Finding> {
    let name = "containers.configs";
    if let Some(why) = &host.unread {
        return vec![Finding::unknown(name, why)];
    }
    let faulty = host.configs.iter().filter_map(|one| {
        let error = one.settings.as_ref().err()?;
        Some(match host.root {
            true => Finding::problem(
                name,
                format!("{} cannot be started: {}", one.name, error.chain()),
                format!("sampan config edit {}", one.name),
            ),
            false => Finding::unknown(name, format!("{}: {}", one.name, error.chain())),
        })
    });
    let faulty: Vec<Finding> = faulty.collect();
    if !faulty.is_empty() {
        return faulty;
    }
    vec![Finding::ok(
        name,
        format!("those of {} containers can be obeyed", host.configs.len()),
    )]
}
