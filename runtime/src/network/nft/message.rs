//! The bytes of nf_tables' messages: attributes, batches, and what the kernel answers.

/// Attributes in the making (libnl's and the kernel's `nlattr`: length, type, value, padding).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

/// An attribute's type says so if it holds others.
const NESTED: u16 = 1 << 15;

impl Attributes {
    /// One whose value is these bytes.
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // Names, addresses and expressions: far from what 16 bits can count.
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Numbers are in the network's order.
    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn long(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nested(self, kind: u16, inner: &Attributes) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    #[cfg(test)]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One message: header, family, attributes.
pub(super) fn message(
    kind: u16,
    flags: u16,
    sequence: u32,
    (family, resource): (u8, u16),
    attributes: &Attributes,
) -> Vec<u8> {
    let length = (20 + attributes.0.len()) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    // To the kernel, from this socket.
    bytes.extend(0u32.to_ne_bytes());
    bytes.push(family);
    // NFNETLINK_V0.
    bytes.push(0);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(&attributes.0);
    bytes
}

/// What the kernel said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer<'a> {
    pub(super) kind: u16,
    pub(super) sequence: u32,
    pub(super) payload: &'a [u8],
}

/// The messages of a datagram. What is cut short ends the list.
pub(super) fn answers(datagram: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = number(rest, 0)? as usize;
        let payload = rest.get(16..length)?;
        let answer = Answer {
            kind: short(rest, 4)?,
            sequence: number(rest, 8)?,
            payload,
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(answer)
    })
}

impl<'a> Answer<'a> {
    /// The error number of an answer that is one (0: an acknowledgement).
    pub(super) fn error(&self) -> i32 {
        number(self.payload, 0).map_or(libc::EPROTO, |code| (code as i32).wrapping_neg())
    }

    /// Its attributes, behind the family.
    pub(super) fn attributes(&self) -> Found<'a> {
        Found(self.payload.get(4..).unwrap_or_default())
    }
}

/// Attributes that the kernel sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found<'a>(&'a [u8]);

impl<'a> Found<'a> {
    /// The value of the first one of this type.
    pub(crate) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|(k, _)| *k == kind).map(|(_, v)| v)
    }

    /// Those inside of the first one of this type.
    pub(crate) fn inside(self, kind: u16) -> Found<'a> {
        Found(self.get(kind).unwrap_or_default())
    }

    pub(crate) fn text(self, kind: u16) -> Option<&'a str> {
        let value = self.get(kind)?;
        std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
    }

    pub(crate) fn long(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let length = short(rest, 0)? as usize;
            let kind = short(rest, 2)? & 0x3fff;
            let value = rest.get(4..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    pub(crate) fn of(bytes: &'a [u8]) -> Found<'a> {
        Found(bytes)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(two.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let inner = Attributes::default().number(7, 9).text(8, "odd");
        let all = Attributes::default().text(1, "table").nested(4, &inner);
        assert_eq!(all.as_bytes().len() % 4, 0);
        let bytes = message(0xa06, 5, 3, (1, 0), &all);
        let answer = answers(&bytes).next().unwrap();
        assert_eq!((answer.kind, answer.sequence), (0xa06, 3));
        let found = answer.attributes();
        assert_eq!(found.text(1), Some("table"));
        assert_eq!(found.inside(4).get(7), Some(&[0, 0, 0, 9][..]));
        assert_eq!(found.inside(4).text(8), Some("odd"));
        assert_eq!(found.get(5), None);
    }

    proptest::proptest! {
        #[test]
        fn no_datagram_makes_the_reader_panic_or_run_for_ever(bytes: Vec<u8>) {
            for answer in answers(&bytes) {
                answer.error();
                for (_, value) in answer.attributes().iter() {
                    Found::of(value).iter().count();
                }
            }
        }
    }
}
