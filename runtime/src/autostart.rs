//! Which containers start with the machine, and in which order.

use std::collections::BTreeMap;

use crate::config::Autostart;
use crate::containers::Containers;
use crate::error::{Error, Result};
use crate::name::ContainerName;

/// Which containers are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of these groups, in this order; the empty name means those in no group. `None`: of any.
    pub groups: Option<Vec<String>>,
    /// Also those without `lxc.start.auto = 1`.
    pub ignore_auto: bool,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Which.
    pub name: ContainerName,
    /// The group by which it was chosen; `None` if groups did not matter.
    pub group: Option<String>,
    /// What its config says.
    pub settings: Autostart,
}

/// What there is to start, and in which order; or to stop, in reverse.
#[derive(Debug, Default)]
pub struct Order {
    /// Each stage after the one before it; those of one stage at once.
    pub stages: Vec<Vec<Chosen>>,
    /// Containers that would be meant, but whose config cannot be understood.
    pub broken: Vec<(ContainerName, Error)>,
}

impl Containers {
    /// The containers of a selection, by group, `lxc.start.order` and name.
    pub fn autostart(&self, selection: &Selection) -> Result<Order> {
        let mut all = Vec::new();
        let mut broken = Vec::new();
        for name in self.names()? {
            let Ok(container) = self.open(&name) else {
                // It was destroyed in this moment.
                continue;
            };
            match container.settings() {
                Ok(settings) => all.push((name, settings.autostart)),
                Err(error) => {
                    let says_so = || container.config().ok()?.get("lxc.start.auto");
                    if selection.ignore_auto || says_so().is_some_and(|value| value == "1") {
                        broken.push((name, error));
                    }
                }
            }
        }
        Ok(Order {
            stages: order(all, selection),
            broken,
        })
    }
}

fn order(mut all: Vec<(ContainerName, Autostart)>, selection: &Selection) -> Vec<Vec<Chosen>> {
    all.retain(|(_, settings)| settings.auto || selection.ignore_auto);
    let groups: Vec<Option<&String>> = match &selection.groups {
        None => vec![None],
        Some(groups) => groups.iter().map(Some).collect(),
    };
    let mut stages = Vec::new();
    for group in groups {
        let mut by_order: BTreeMap<i32, Vec<Chosen>> = BTreeMap::new();
        // Who was chosen by one group is not chosen by another once more.
        all.retain(|(name, settings)| {
            let is_in = match group {
                None => true,
                Some(group) if group.is_empty() => settings.groups.is_empty(),
                Some(group) => settings.groups.contains(group),
            };
            if is_in {
                by_order.entry(settings.order).or_default().push(Chosen {
                    name: name.clone(),
                    group: group.cloned(),
                    settings: settings.clone(),
                });
            }
            !is_in
        });
        stages.extend(by_order.into_values().map(|mut stage| {
            stage.sort_by(|a, b| a.name.cmp(&b.name));
            stage
        }));
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(
        name: &str,
        auto: bool,
        order: i32,
        groups: &[&str],
    ) -> (ContainerName, Autostart) {
        let settings = Autostart {
            auto,
            order,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Autostart::default()
        };
        (name.parse().unwrap(), settings)
    }

    fn all() -> Vec<(ContainerName, Autostart)> {
        vec![
            container("zeta", true, 5, &[]),
            container("alpha", true, 5, &[]),
            container("first", true, -1, &[]),
            container("by-hand", false, 0, &[]),
            container("web", true, 0, &["web", "onboot"]),
            container("webmail", true, 0, &["webmail"]),
            container("db", true, 9, &["onboot"]),
        ]
    }

    fn names(groups: Option<&[&str]>, ignore_auto: bool) -> Vec<String> {
        let selection = Selection {
            groups: groups.map(|groups| groups.iter().map(|g| (*g).to_owned()).collect()),
            ignore_auto,
        };
        order(all(), &selection)
            .iter()
            .map(|stage| {
                let names: Vec<&str> = stage.iter().map(|chosen| chosen.name.as_str()).collect();
                names.join("+")
            })
            .collect()
    }

    #[test]
    fn without_groups_those_in_no_group_by_order_and_name() {
        assert_eq!(names(Some(&[""]), false), ["first", "alpha+zeta"]);
    }

    #[test]
    fn groups_come_in_the_order_given_and_each_container_once() {
        assert_eq!(
            names(Some(&["onboot", "", "web"]), false),
            ["web", "db", "first", "alpha+zeta"]
        );
    }

    #[test]
    fn a_group_is_its_whole_name() {
        assert_eq!(names(Some(&["web"]), false), ["web"]);
        assert!(names(Some(&["we"]), false).is_empty());
    }

    #[test]
    fn all_ignores_groups_and_the_flag_can_be_ignored_too() {
        assert_eq!(
            names(None, false),
            ["first", "web+webmail", "alpha+zeta", "db"]
        );
        assert_eq!(
            names(None, true),
            ["first", "by-hand+web+webmail", "alpha+zeta", "db"]
        );
    }
}
