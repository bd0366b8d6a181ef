//! The cache of images: what killed builds left.

use sampan_runtime::doctor::Finding;

use crate::{context::Context, words};

/// What a command leaves for a moment is no leftover.
const FEW: u64 = 64 << 20;

pub(super) fn check(context: &Context) -> Vec<Finding> {
    let name = "cache.leftovers";
    vec![match context.images().leftovers() {
        Err(error) => Finding::unknown(name, error.to_string()),
        Ok(left) if left.is_empty() => Finding::ok(name, "no killed build left anything"),
        Ok(left) => {
            let bytes: u64 = left.iter().map(|one| one.bytes).sum();
            let paths: Vec<String> = left
                .iter()
                .map(|one| one.path.display().to_string())
                .collect();
            let found = format!(
                "{} of killed builds and interrupted downloads: {}",
                words::bytes(bytes),
                paths.join(", ")
            );
            match bytes {
                ..FEW => Finding::ok(name, format!("{found}; the next build removes or uses it")),
                _ => Finding::warning(name, found, format!("rm -r {}", paths.join(" "))),
            }
        }
    }]
}
