//! Comparison of Debian versions (Debian Policy 5.6.12, deb-version(7)).

use std::cmp::Ordering;

/// Compares two versions. Missing parts count as `0`; letters sort before other characters and
/// `~` before everything, even the end.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (split(a), split(b));
    a.epoch
        .cmp(&b.epoch)
        .then_with(|| compare_part(a.upstream, b.upstream))
        .then_with(|| compare_part(a.revision, b.revision))
}

/// Whether a text may stand as a version: the characters of Policy 5.6.12, and an epoch of digits
/// only if there is a colon.
pub fn is_valid(version: &str) -> bool {
    let characters = !version.is_empty()
        && version
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".+-~:".contains(&b));
    characters
        && version.split_once(':').is_none_or(|(epoch, rest)| {
            !epoch.is_empty()
                && epoch.len() <= 9
                && epoch.bytes().all(|b| b.is_ascii_digit())
                && !rest.is_empty()
        })
}

struct Parts<'a> {
    epoch: u64,
    upstream: &'a [u8],
    revision: &'a [u8],
}

fn split(version: &str) -> Parts<'_> {
    let (epoch, rest) = match version.split_once(':') {
        Some((epoch, rest)) => (epoch.parse().unwrap_or(0), rest),
        None => (0, version),
    };
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    Parts {
        epoch,
        upstream: upstream.as_bytes(),
        revision: revision.as_bytes(),
    }
}

fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = take(a, |byte| !byte.is_ascii_digit());
        let (text_b, rest_b) = take(b, |byte| !byte.is_ascii_digit());
        for i in 0..text_a.len().max(text_b.len()) {
            let order = weight(text_a.get(i)).cmp(&weight(text_b.get(i)));
            if order != Ordering::Equal {
                return order;
            }
        }
        let (number_a, rest_a) = take(rest_a, |byte| byte.is_ascii_digit());
        let (number_b, rest_b) = take(rest_b, |byte| byte.is_ascii_digit());
        let order = compare_digits(number_a, number_b);
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn take(bytes: &[u8], wanted: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|b| !wanted(b)).unwrap_or(bytes.len());
    bytes.split_at(end)
}

/// The end of a part weighs as much as a digit would: more than `~`, less than a letter.
fn weight(byte: Option<&u8>) -> i32 {
    match byte {
        None => 0,
        Some(b'~') => -1,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    }
}

/// Numbers of any length: without leading zeros the longer one is the larger one.
fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    let (_, a) = take(a, |byte| *byte == b'0');
    let (_, b) = take(b, |byte| *byte == b'0');
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_sort_as_the_policy_says() {
        let sorted = [
            "0~~",
            "0~~a",
            "0~",
            "0",
            "0.1",
            "1.0~beta1~svn1245",
            "1.0~beta1",
            "1.0-1~deb12u1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0-2",
            "1.0-10",
            "1.0a",
            "1.0+",
            "1.0.1",
            "1:0",
            "2:0.1",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} against {b}");
            }
        }
        assert_eq!(compare("1.0", "1.0-0"), Ordering::Equal);
        assert_eq!(compare("0:1.00", "1.0"), Ordering::Equal);
    }

    #[test]
    fn versions_with_forbidden_characters_are_not_valid() {
        assert!(is_valid("1:2.36-9+deb12u10"));
        for bad in ["", "1/2", "1 2", "a:1", ":1", "1:", "1\n"] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[0-9a~.+:-]{0,8}", b in "[0-9a~.+:-]{0,8}", c in "[0-9a~.+:-]{0,8}") {
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            if compare(&a, &b) != Ordering::Greater && compare(&b, &c) != Ordering::Greater {
                prop_assert_ne!(compare(&a, &c), Ordering::Greater);
            }
        }

        #[test]
        fn nothing_makes_it_panic(a in ".*", b in ".*") {
            let _ = (compare(&a, &b), is_valid(&a));
        }
    }
}
