//! The key that leaves a session: pressed and followed by `q`.

/// Looks for the key in what a person types.
#[derive(Debug)]
pub(super) struct Escape {
    key: Option<u8>,
    pressed: bool,
}

impl Escape {
    /// `None`: every key is the guest's.
    pub(super) fn new(key: Option<u8>) -> Escape {
        Escape {
            key,
            pressed: false,
        }
    }

    /// Appends to `out` what is the guest's. `true`: the person wants to leave; what they typed
    /// after that is nobody's.
    pub(super) fn filter(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(key) = self.key else {
            out.extend_from_slice(typed);
            return false;
        };
        for byte in typed {
            if !self.pressed {
                self.pressed = *byte == key;
                if !self.pressed {
                    out.push(*byte);
                }
                continue;
            }
            self.pressed = false;
            match *byte {
                b'q' => return true,
                // Twice sends it once.
                again if again == key => out.push(key),
                other => out.extend([key, other]),
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(key: Option<u8>, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
        let (mut escape, mut out) = (Escape::new(key), Vec::new());
        let left = pieces.iter().any(|piece| escape.filter(piece, &mut out));
        (out, left)
    }

    #[test]
    fn the_key_and_q_leave_also_when_they_arrive_apart() {
        assert_eq!(typed(Some(1), &[b"ab\x01qcd"]), (b"ab".to_vec(), true));
        assert_eq!(typed(Some(1), &[b"a\x01", b"q"]), (b"a".to_vec(), true));
    }

    #[test]
    fn the_key_twice_sends_one_and_with_another_both() {
        assert_eq!(typed(Some(1), &[b"\x01\x01q"]), (b"\x01q".to_vec(), false));
        assert_eq!(typed(Some(1), &[b"\x01x"]), (b"\x01x".to_vec(), false));
    }

    #[test]
    fn without_a_key_everything_is_the_guests() {
        assert_eq!(typed(None, &[b"\x01q"]), (b"\x01q".to_vec(), false));
    }
}
