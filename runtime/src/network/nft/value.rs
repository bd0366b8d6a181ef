//! What rules compare with, as bytes.

use std::net::IpAddr;

/// A rule's user data that is a comment, as nft(8) writes it: type 0, length, text.
pub(super) fn of_comment(text: &str) -> Vec<u8> {
    // Its length has one byte.
    let text = text.get(..120).unwrap_or(text);
    let mut data = vec![0, text.len() as u8 + 1];
    data.extend(text.as_bytes());
    data.push(0);
    data
}

/// The comment in a rule's user data.
pub(super) fn comment(data: &[u8]) -> Option<String> {
    let mut rest = data;
    while let [kind, length, more @ ..] = rest {
        let value = more.get(..usize::from(*length))?;
        if *kind == 0 {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = more.get(usize::from(*length)..)?;
    }
    None
}

/// An interface's name as the kernel compares it.
pub(crate) fn interface_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    bytes
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(super) fn mask(address: IpAddr, bits: u8) -> Vec<u8> {
    let length = octets(address).len();
    (0..length)
        .map(|at| {
            let here = usize::from(bits).saturating_sub(at * 8).min(8);
            (0xff00u16 >> here) as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_have_as_many_bits_as_said() {
        let v4 = "10.0.0.0".parse().unwrap();
        assert_eq!(mask(v4, 24), [255, 255, 255, 0]);
        assert_eq!(mask(v4, 20), [255, 255, 240, 0]);
        assert_eq!(mask(v4, 0), [0; 4]);
        let v6: IpAddr = "fd00::".parse().unwrap();
        assert_eq!(
            mask(v6, 64)[..9],
            [255, 255, 255, 255, 255, 255, 255, 255, 0]
        );
    }

    #[test]
    fn a_comment_is_read_back() {
        assert_eq!(
            comment(&of_comment("sampan web")).as_deref(),
            Some("sampan web")
        );
        assert_eq!(comment(&[0]), None);
        assert_eq!(comment(&[9, 200, 1]), None);
    }
}
