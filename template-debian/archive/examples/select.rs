//! Prints what would be installed: a developer's tool to compare with other programs.
//!
//!     select VARIANT INCLUDE,… EXCLUDE,… PACKAGES…
//!
//! PACKAGES are unpacked Packages files; nothing is verified.

#![forbid(unsafe_code)]

use sampan_core::split_list;
use sampan_debian_archive::{
    packages::Index,
    selection::{Choice, Selection, Variant},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [variant, include, exclude, files @ ..] = &arguments[..] else {
        return Err("select VARIANT INCLUDE,… EXCLUDE,… PACKAGES…".into());
    };
    let variant = Variant::parse(variant).ok_or("there is no such variant")?;
    let texts = files
        .iter()
        .map(std::fs::read_to_string)
        .collect::<Result<Vec<_>, _>>()?;
    let mut index = Index::default();
    for (text, file) in texts.iter().zip(files) {
        index.add(text, file)?;
    }
    let choice = Choice {
        include: &split_list(include),
        exclude: &split_list(exclude),
        asked: &[],
    };
    let selection = Selection::new(&index, variant, &choice, false)?;
    for package in selection.iter() {
        println!("{} {}", package.name, package.version);
    }
    Ok(())
}
