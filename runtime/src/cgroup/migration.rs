//! The wait before the first move between version 1 cgroups.

use std::fs;
use std::path::PathBuf;

use super::Hierarchies;

/// Begins that wait now, in a thread nobody waits for.
///
/// Whoever writes to a `cgroup.procs` takes a lock that all forks and exits pass, and the kernel
/// first waits until every processor has seen it closed: an RCU grace period, 4 ms and more. Those
/// who come a little later do not wait again. A start needs such a move once its init is cloned, and
/// has other work until then.
pub(crate) fn expect() {
    // Without it the start takes longer, that is all.
    let _ = std::thread::Builder::new().spawn(|| {
        if let Some(file) = own_members() {
            // This process, to where it is: nothing moves.
            let _ = fs::write(file, "0");
        }
    });
}

/// The `cgroup.procs` that lists this process in a version 1 hierarchy.
fn own_members() -> Option<PathBuf> {
    let hierarchies = Hierarchies::discover().ok()?;
    let named = |hierarchy: &&super::hierarchies::Hierarchy| !hierarchy.controllers.is_empty();
    let hierarchy = hierarchies.version_1.iter().find(named)?;
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = path_in(&text, &hierarchy.controllers)?;
    let file = hierarchy.root.join(path).join("cgroup.procs");
    // Else the hierarchy is mounted from some way down.
    file.exists().then_some(file)
}

/// Where a `/proc/PID/cgroup` (cgroups(7)) says that a process is, relative to the hierarchy's root.
fn path_in<'a>(text: &'a str, controllers: &[String]) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, path) = (fields.next()?, fields.next()?);
        let same = names.split(',').eq(controllers.iter().map(String::as_str));
        same.then(|| path.trim_start_matches('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_that_of_the_hierarchy_with_all_these_controllers() {
        let text = "12:pids:/a\n4:cpu,cpuacct:/b/c:d\n0::/e\n";
        let path = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            path_in(text, &names)
        };
        assert_eq!(path(&["pids"]), Some("a"));
        assert_eq!(path(&["cpu", "cpuacct"]), Some("b/c:d"));
        assert_eq!(path(&["cpu"]), None);
    }
}
