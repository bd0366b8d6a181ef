//! What is chosen and why not, on made-up archives.

use proptest::prelude::*;

use super::*;

fn packages(stanzas: &[&str]) -> String {
    stanzas
        .iter()
        .map(|stanza| {
            format!(
                "Package: {stanza}\nArchitecture: all\nFilename: x.deb\nSize: 1\nSHA256: {}\n\n",
                "0".repeat(64)
            )
        })
        .collect()
}

fn solve(stanzas: &[&str], wants: &[&str]) -> std::result::Result<String, String> {
    let text = packages(stanzas);
    let mut index = Index::default();
    index
        .add(&text, "Packages")
        .map_err(|error| error.to_string())?;
    let excluded = Excluded::default();
    let mut solver = Solver::new(&index, &excluded, &BTreeMap::new()).map_err(|e| e.to_string())?;
    let solved = wants
        .iter()
        .try_for_each(|want| solver.want(want))
        .and_then(|()| solver.close());
    match solved {
        Ok(set) => {
            let words: Vec<String> = set
                .values()
                .map(|p| format!("{} {}", p.name, p.version))
                .collect();
            Ok(words.join(", "))
        }
        Err(error) => Err(format!("{error} [{}]", error.hint().unwrap_or_default())),
    }
}

#[test]
fn the_highest_version_and_what_it_needs_are_chosen() {
    let there = [
        "a\nVersion: 1",
        "a\nVersion: 2\nDepends: b (>= 1)",
        "b\nVersion: 1",
    ];
    assert_eq!(solve(&there, &["a"]).unwrap(), "a 2, b 1");
    assert_eq!(solve(&there, &["a=1"]).unwrap(), "a 1");
}

#[test]
fn a_virtual_package_is_served_by_the_most_important_provider() {
    let there = [
        "x\nVersion: 1\nProvides: mta",
        "y\nVersion: 1\nProvides: mta (= 3)\nPriority: important",
        "a\nVersion: 1\nDepends: mta",
        "b\nVersion: 1\nDepends: mta (>= 4)",
    ];
    assert_eq!(solve(&there, &["a"]).unwrap(), "a 1, y 1");
    assert_eq!(solve(&there, &["x", "a"]).unwrap(), "a 1, x 1");
    assert!(solve(&there, &["b"]).is_err());
}

#[test]
fn a_set_that_cannot_be_names_package_dependency_and_versions() {
    let there = ["a\nVersion: 1\nDepends: b (>= 2)", "b\nVersion: 1"];
    let error = solve(&there, &["a"]).unwrap_err();
    assert_eq!(
        error,
        "cannot install a: a 1 depends on b (>= 2), but of b there is only 1 []"
    );
    let error = solve(&["nano\nVersion: 1"], &["nanno"]).unwrap_err();
    assert!(
        error.contains("no package nanno") && error.contains("`nano`"),
        "{error}"
    );
}

#[test]
fn an_alternative_without_conflict_is_preferred() {
    let there = [
        "a\nVersion: 1\nConflicts: b",
        "b\nVersion: 1",
        "c\nVersion: 1",
        "d\nVersion: 1\nDepends: b | c",
    ];
    assert_eq!(solve(&there, &["a", "d"]).unwrap(), "a 1, c 1, d 1");
    let error = solve(&there, &["a", "b"]).unwrap_err();
    assert!(
        error.contains("but a 1, which is chosen already, conflicts with b"),
        "{error}"
    );
}

#[test]
fn debootstraps_rule_takes_first_alternatives_and_passes_over_what_is_missing() {
    let text = packages(&[
        "a\nVersion: 1\nDepends: usrmerge | usr-is-merged, ghost, b | c (>= 9)",
        "b\nVersion: 1",
        "c\nVersion: 1",
        "usrmerge\nVersion: 1",
        "usr-is-merged\nVersion: 1",
    ]);
    let mut index = Index::default();
    index.add(&text, "Packages").unwrap();
    let chosen = first_alternatives(&index, ["a"], &Excluded::default()).unwrap();
    let names: Vec<&str> = chosen.into_keys().collect();
    assert_eq!(names, ["a", "b", "usr-is-merged"]);
}

#[test]
fn a_choice_that_turns_out_to_be_impossible_is_taken_back() {
    let there = [
        "a\nVersion: 1\nDepends: first | second",
        "first\nVersion: 1\nDepends: ghost",
        "second\nVersion: 1",
        "late\nVersion: 1\nConflicts: second-of-two",
        "b\nVersion: 1\nDepends: second-of-two | third, late",
        "second-of-two\nVersion: 1",
        "third\nVersion: 1",
        "c\nVersion: 2\nDepends: third (>= 2)",
        "c\nVersion: 1",
    ];
    assert_eq!(solve(&there, &["a"]).unwrap(), "a 1, second 1");
    assert_eq!(solve(&there, &["b"]).unwrap(), "b 1, late 1, third 1");
    assert_eq!(solve(&there, &["c"]).unwrap(), "c 1");
}

#[test]
fn an_error_tells_the_chain_from_what_was_asked_for() {
    let there = [
        "a\nVersion: 1\nDepends: b",
        "b\nVersion: 2\nDepends: c",
        "c\nVersion: 3\nDepends: d (>= 5)",
        "d\nVersion: 4",
        "d\nVersion: 4.1",
    ];
    assert_eq!(
        solve(&there, &["a"]).unwrap_err(),
        "cannot install c: c 3 depends on d (>= 5), but of d there is only 4, 4.1; c is needed by \
         b 2; b is needed by a 1 []"
    );
}

#[test]
fn architectures_of_relations_are_dpkgs() {
    let there = [
        "a\nVersion: 1\nDepends: p:any",
        "b\nVersion: 1\nDepends: q:any",
        "p\nVersion: 1\nMulti-Arch: allowed",
        "q\nVersion: 1\nMulti-Arch: foreign",
    ];
    assert_eq!(solve(&there, &["a"]).unwrap(), "a 1, p 1");
    let error = solve(&there, &["b"]).unwrap_err();
    assert!(error.contains("q is not there as q:any"), "{error}");
    assert_eq!(solve(&there, &["q:native=1"]).unwrap(), "q 1");
    assert!(solve(&there, &["q:riscv64"]).is_err());
}

#[test]
fn what_is_excluded_is_named_with_who_needs_it() {
    let text = packages(&[
        "a\nVersion: 1\nDepends: b | c",
        "b\nVersion: 1",
        "c\nVersion: 1",
        "d\nVersion: 1\nDepends: b",
        "dash\nVersion: 1\nEssential: yes",
    ]);
    let mut index = Index::default();
    index.add(&text, "Packages").unwrap();
    let solve = |want, exclude: &[&str]| {
        let excluded = Excluded::new(&index, exclude)?;
        let mut solver = Solver::new(&index, &excluded, &BTreeMap::new())?;
        solver.want(want)?;
        let set = solver.close()?;
        Ok::<_, crate::Error>(set.into_keys().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(solve("a", &["b"]).unwrap(), "a c");
    let says = |want, exclude| solve(want, exclude).unwrap_err().to_string();
    assert_eq!(
        says("d", &["b"]),
        "cannot install d: d 1 depends on b, but b is excluded"
    );
    assert_eq!(says("a", &["a"]), "cannot include a, but a is excluded");
    assert!(says("a", &["dash"]).contains("marked Essential"));
    assert!(says("a", &["dahs"]).contains("no such package"));
}

#[test]
fn a_search_without_end_is_given_up_with_a_hint() {
    // Pigeons and holes: hard for every search of this kind.
    let (pigeons, holes) = (10, 9);
    let mut stanzas: Vec<String> = Vec::new();
    for pigeon in 0..pigeons {
        let places: Vec<String> = (0..holes).map(|hole| format!("p{pigeon}h{hole}")).collect();
        stanzas.push(format!(
            "p{pigeon}\nVersion: 1\nDepends: {}",
            places.join(" | ")
        ));
        for hole in 0..holes {
            stanzas.push(format!(
                "p{pigeon}h{hole}\nVersion: 1\nProvides: hole{hole}\nConflicts: hole{hole}"
            ));
        }
    }
    let stanzas: Vec<&str> = stanzas.iter().map(String::as_str).collect();
    let text = packages(&stanzas);
    let mut index = Index::default();
    index.add(&text, "Packages").unwrap();
    let names: Vec<String> = (0..pigeons).map(|pigeon| format!("p{pigeon}")).collect();
    let excluded = Excluded::default();
    let mut solver = Solver::new(&index, &excluded, &BTreeMap::new()).unwrap();
    for name in &names {
        solver.want(name).unwrap();
    }
    let error = solver.close_within(2_000).unwrap_err();
    assert!(
        error.to_string().contains("2000 choices were tried"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("include"));
}

/// A made-up archive of six names with up to two versions each, and what is wanted of it.
fn universe() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let relation =
        ("[a-g]", proptest::option::of(("(=|>=|<<)", 1..3_u8))).prop_map(|(name, constraint)| {
            match constraint {
                Some((operator, version)) => format!("{name} ({operator} {version})"),
                None => name,
            }
        });
    let group = proptest::collection::vec(relation.clone(), 1..3).prop_map(|all| all.join(" | "));
    let depends = proptest::collection::vec(group, 0..3).prop_map(|all| all.join(", "));
    let conflicts = proptest::collection::vec(relation, 0..2).prop_map(|all| all.join(", "));
    let provides = proptest::option::of(("[a-g]", proptest::option::of(1..3_u8))).prop_map(|one| {
        one.map_or(String::new(), |(name, version)| {
            name + &version.map_or(String::new(), |version| format!(" (= {version})"))
        })
    });
    let package = (depends, conflicts, provides, any::<bool>());
    proptest::collection::vec(package, 12).prop_flat_map(|packages| {
        let mut stanzas = Vec::new();
        for (number, (depends, conflicts, provides, there)) in packages.into_iter().enumerate() {
            if there {
                let name = char::from(b'a' + number as u8 / 2);
                let version = 1 + number % 2;
                let breaks = if number % 3 == 0 {
                    "Breaks"
                } else {
                    "Conflicts"
                };
                stanzas.push(format!(
                    "{name}\nVersion: {version}\nDepends: {depends}\n{breaks}: {conflicts}\n\
                     Provides: {provides}"
                ));
            }
        }
        (
            Just(stanzas),
            proptest::collection::vec("[a-g](=[12])?", 1..3),
        )
    })
}

fn meets(package: &Package<'_>, relation: &Relation<'_>) -> bool {
    (package.name == relation.name && relation.allows(package.version))
        || provided(package)
            .unwrap()
            .iter()
            .any(|(name, version)| *name == relation.name && serves(relation, *version))
}

/// Whether a set has what is wanted and needed, and no conflicts: by the rules, one by one.
fn is_right(set: &[&Package<'_>], wants: &[String]) -> bool {
    let has = |relation: &Relation<'_>| set.iter().any(|package| meets(package, relation));
    let wanted = wants.iter().all(|want| match want.split_once('=') {
        Some((name, version)) => {
            let text = format!("{name} (= {version})");
            has(&relation::single(&text, "test").unwrap())
        }
        None => has(&relation::single(want, "test").unwrap()),
    });
    wanted
        && set.iter().all(|package| {
            needs(package)
                .unwrap()
                .iter()
                .all(|group| group.iter().any(has))
                && refusals(package).unwrap().iter().all(|relation| {
                    !set.iter()
                        .any(|other| other.name != package.name && meets(other, relation))
                })
        })
}

/// Whether any set is right: all are looked at.
fn exists<'t>(
    names: &[&str],
    index: &Index<'t>,
    set: &mut Vec<Package<'t>>,
    wants: &[String],
) -> bool {
    let Some((name, rest)) = names.split_first() else {
        return is_right(&set.iter().collect::<Vec<_>>(), wants);
    };
    if exists(rest, index, set, wants) {
        return true;
    }
    let versions: Vec<Package<'t>> = index.versions(name).copied().collect();
    versions.into_iter().any(|package| {
        set.push(package);
        let found = exists(rest, index, set, wants);
        set.pop();
        found
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_set_is_found_exactly_when_there_is_one((stanzas, wants) in universe()) {
        let stanzas: Vec<&str> = stanzas.iter().map(String::as_str).collect();
        let text = packages(&stanzas);
        let mut index = Index::default();
        index.add(&text, "Packages").unwrap();
        let excluded = Excluded::default();
        let mut solver = Solver::new(&index, &excluded, &BTreeMap::new()).unwrap();
        for want in &wants {
            solver.want(want).unwrap();
        }
        let solved = solver.close();
        let there = exists(&index.names(), &index, &mut Vec::new(), &wants);
        match solved {
            Ok(set) => {
                prop_assert!(is_right(&set.values().collect::<Vec<_>>(), &wants), "{text}");
            }
            Err(error) => prop_assert!(!there, "{wants:?} in\n{text}\n{error}"),
        }
    }
}
