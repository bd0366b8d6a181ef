//! Limits of processes, and kernel parameters of the guest.

use super::Key;
use super::value::switch;
use crate::config::effective::Assignment;
use crate::config::values::resource_limit;

pub(super) const KEYS: &[Key] = &[
    Key::new(
        "lxc.prlimit.*",
        "SOFT[:HARD], each a number or unlimited",
        "a limit of getrlimit(2) by its name in small letters, as nofile",
        |draft, line| {
            let limits = &mut draft.settings.limits;
            limits.retain(|limit| limit.name != line.rest());
            if !line.value.is_empty() {
                let limit = resource_limit(line.rest(), &line.value)
                    .ok_or_else(|| line.wrong("is not a limit of getrlimit(2)"))?;
                limits.push(limit);
            }
            Ok(())
        },
    ),
    Key::new(
        "lxc.sysctl.*",
        "VALUE",
        "a kernel parameter of the guest's namespaces, as net.ipv4.ip_forward",
        |draft, line| {
            let name = file_name(line, "/proc/sys")?;
            set(&mut draft.settings.sysctls, name, line);
            Ok(())
        },
    ),
    Key::new(
        "lxc.proc.*",
        "VALUE",
        "a file of /proc/PID of init, as oom_score_adj",
        |draft, line| {
            let name = file_name(line, "/proc/PID")?;
            set(&mut draft.settings.proc_files, name, line);
            Ok(())
        },
    ),
    Key::new(
        "lxc.sched.core",
        "0 or 1",
        "1: nobody else's threads on its cores",
        |draft, line| {
            draft.settings.core_scheduling = switch(line)?;
            Ok(())
        },
    )
    .refused_but(&["0"]),
];

/// The rest of the key, which becomes a path below `root` with its dots as slashes.
fn file_name(line: &Assignment, root: &str) -> Result<String, String> {
    let name = line.rest();
    if name.contains('\0') || name.split(['.', '/']).any(str::is_empty) {
        return Err(format!("does not name a file of {root}"));
    }
    Ok(name.to_owned())
}

fn set(pairs: &mut Vec<(String, String)>, name: String, line: &Assignment) {
    pairs.retain(|(known, _)| *known != name);
    if !line.value.is_empty() {
        pairs.push((name, line.value.clone()));
    }
}
