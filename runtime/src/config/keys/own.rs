//! Sampan's own keys, which LXC ignores.

use super::Key;

pub(super) const KEYS: &[Key] = &[
    noted("sampan.template", "the template it was made by"),
    noted("sampan.image", "the image it was made from"),
];

/// What is noted down when a container is made, and shown.
const fn noted(name: &'static str, meaning: &'static str) -> Key {
    Key::new(name, "TEXT", meaning, |_, _| Ok(()))
}
