//! What is kept of a Packages file: the fields that are ever looked at.
//!
//! They are less than half of it, and the whole of a large archive's list would be most of the
//! memory that a bootstrap takes.

use std::io::{self, BufRead, BufReader, Read};

use crate::packages::FIELDS;

/// How much is decoded at a time.
const PIECE: usize = 256 * 1024;

/// Reads a Packages file without the fields that nobody looks at. Whatever is no field is kept, for
/// the parser to complain of.
pub(super) fn read(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut reader = BufReader::with_capacity(PIECE, reader);
    let mut kept = Vec::new();
    let mut keep = true;
    loop {
        let begin = kept.len();
        if reader.read_until(b'\n', &mut kept)? == 0 {
            kept.shrink_to_fit();
            return Ok(kept);
        }
        let line = &kept[begin..];
        // A continuation line shares the fate of its field.
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            keep = match line.iter().position(|byte| *byte == b':') {
                Some(colon) => FIELDS
                    .iter()
                    .any(|field| field.as_bytes().eq_ignore_ascii_case(&line[..colon])),
                None => true,
            };
        }
        if !keep {
            kept.truncate(begin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deb822;
    use proptest::prelude::*;

    #[test]
    fn fields_that_count_stay_and_others_go_with_all_their_lines() {
        let text =
            "Package: a\nDescription: x\n y: z\n\tw\nDEPENDS: b,\n c\nTag: q\n\nPackage: b\nx\n";
        let kept = read(text.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(kept).unwrap(),
            "Package: a\nDEPENDS: b,\n c\n\nPackage: b\nx\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_looked_at_reads_the_same(
            stanzas in proptest::collection::vec(
                proptest::collection::vec(("[A-Z][a-z]{0,3}", "[ -~]{0,9}(\n [!-~]{1,5})?"), 1..6),
                0..4,
            )
        ) {
            let mut text = String::new();
            for fields in &stanzas {
                for (index, (name, value)) in fields.iter().enumerate() {
                    // Every other field is one that counts.
                    let name = match index % 2 {
                        0 => FIELDS[index % FIELDS.len()].to_owned(),
                        _ => format!("X-{index}-{name}"),
                    };
                    text.push_str(&format!("{name}:{value}\n"));
                }
                text.push('\n');
            }
            let kept = String::from_utf8(read(text.as_bytes()).unwrap()).unwrap();
            let values = |text: &str| -> Vec<Vec<Option<String>>> {
                deb822::stanzas(text, "list")
                    .map(|stanza| {
                        let stanza = stanza.unwrap();
                        FIELDS.iter().map(|field| stanza.get(field).map(str::to_owned)).collect()
                    })
                    .collect()
            };
            prop_assert_eq!(values(&kept), values(&text));
        }
    }
}
