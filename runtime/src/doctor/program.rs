//! The monitor beside this program.

use std::process::{Command, Stdio};

use super::{Finding, Host};

pub(super) fn check(host: &Host<'_>) -> Vec<Finding> {
    let name = "program.monitor";
    let path = &host.subject.monitor_program;
    let shown = path.display();
    let again = "apt-get install --reinstall sampan, or copy sampan-monitor of this release there";
    let answer = Command::new(path)
        .arg(crate::monitor::VERSION_ARGUMENT)
        .env_clear()
        .stdin(Stdio::null())
        .output();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    vec![match answer {
        Err(error) => Finding::problem(name, format!("{shown} cannot be executed: {error}"), again),
        Ok(answer) if said(&answer.stdout) == crate::VERSION => {
            Finding::ok(name, format!("{shown}, version {}", crate::VERSION))
        }
        Ok(answer) => {
            let version = said(&answer.stdout);
            let version = if version.is_empty() {
                "another version"
            } else {
                &version
            };
            Finding::problem(
                name,
                format!("{shown} is {version}, and this is {}", crate::VERSION),
                again,
            )
        }
    }]
}
