//! A list of packages, its relations, and the choice of a set from it.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use sampan_debian_archive::{
    packages::{Index, is_archive_path, is_package_name},
    relation,
    resolve::{Excluded, Solver, first_alternatives},
};

fuzz_target!(|text: &str| {
    let mut index = Index::default();
    let _ = index.add(text, "Packages");
    for package in index.iter() {
        assert!(is_package_name(package.name));
        assert!(is_archive_path(package.filename.trim_start_matches("./")));
        for field in [package.depends, package.provides, package.conflicts] {
            for group in relation::parse(field, package.name).into_iter().flatten() {
                let shown = relation::display(&group);
                let again = relation::parse(&shown, package.name).expect("what was shown");
                assert_eq!(relation::display(&again[0]), shown);
            }
        }
    }
    let names = index.names();
    let excluded = Excluded::default();
    let _ = first_alternatives(&index, names.iter().copied(), &excluded);
    if let Ok(mut solver) = Solver::new(&index, &excluded, &BTreeMap::new()) {
        for name in names.iter().take(8) {
            let _ = solver.want(name);
        }
        let _ = solver.close();
    }
});
