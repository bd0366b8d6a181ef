//! Numbered places for what an event loop waits for.

/// Places, up to a bound. A place's key is never that of what was there before.
pub(super) struct Slots<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    bound: usize,
}

/// A place, and which of its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) place: u32,
    /// Of 24 bits: it goes into an event's data beside the place.
    pub(super) generation: u32,
}

impl<T> Slots<T> {
    pub(super) fn new(bound: usize) -> Slots<T> {
        Slots {
            places: Vec::new(),
            free: Vec::new(),
            bound,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty() && self.places.len() >= self.bound
    }

    /// `None` if it is full.
    pub(super) fn insert(&mut self, value: T) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.places.push((0, None));
                // The bound is far below what a u32 holds.
                (self.places.len() - 1) as u32
            }
        };
        let slot = &mut self.places[place as usize];
        slot.1 = Some(value);
        Some(Key {
            place,
            generation: slot.0,
        })
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut T> {
        match self.places.get_mut(key.place as usize) {
            Some((generation, value)) if *generation == key.generation => value.as_mut(),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let slot = &mut self.places[key.place as usize];
        slot.0 = (slot.0 + 1) & 0x00ff_ffff;
        self.free.push(key.place);
        slot.1.take()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(place, slot)| {
            let key = Key {
                place: place as u32,
                generation: slot.0,
            };
            Some((key, slot.1.as_ref()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_only_good_for_what_it_was_given_for() {
        let mut slots = Slots::new(2);
        let a = slots.insert("a").unwrap();
        let b = slots.insert("b").unwrap();
        assert_eq!(slots.insert("c"), None);
        assert_eq!(slots.remove(a), Some("a"));
        assert_eq!(slots.remove(a), None);
        let c = slots.insert("c").unwrap();
        assert_eq!((c.place, slots.get(a)), (a.place, None));
        assert_eq!(slots.get(c), Some(&mut "c"));
        assert_eq!(slots.iter().map(|(key, _)| key).collect::<Vec<_>>(), [c, b]);
    }
}
