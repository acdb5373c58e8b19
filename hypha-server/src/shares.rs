//! Places that owners share: each has a bound, and all of them together have one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Items of owners, in the order in which they came.
///
/// A new item always finds a place. If its owner has too many, the owner's oldest gives way; if
/// there are too many in all, the oldest of the owner with the most. So an owner takes places only
/// from itself, or from owners with more than it has.
pub(crate) struct Shares<T> {
    per_owner: usize,
    in_all: usize,
    next: u64,
    items: BTreeMap<u64, (Arc<str>, T)>,
    owners: HashMap<Arc<str>, BTreeSet<u64>>,
}

impl<T> Shares<T> {
    pub(crate) fn new(per_owner: usize, in_all: usize) -> Shares<T> {
        Shares {
            per_owner,
            in_all,
            next: 0,
            items: BTreeMap::new(),
            owners: HashMap::new(),
        }
    }

    /// Adds an item. Returns its number, and the item that has given way to it.
    pub(crate) fn insert(&mut self, owner: &str, item: T) -> (u64, Option<T>) {
        let own = self.owners.get(owner);
        let displaced = if own.is_some_and(|own| own.len() >= self.per_owner) {
            own.and_then(BTreeSet::first).copied()
        } else if self.items.len() >= self.in_all {
            let largest = self
                .owners
                .values()
                .max_by_key(|numbers| (numbers.len(), std::cmp::Reverse(numbers.first())));
            largest.and_then(BTreeSet::first).copied()
        } else {
            None
        };
        let displaced = displaced.and_then(|number| self.remove(number));
        let number = self.next;
        self.next += 1;
        let owner = match self.owners.get_key_value(owner) {
            Some((owner, _)) => owner.clone(),
            None => Arc::from(owner),
        };
        self.owners.entry(owner.clone()).or_default().insert(number);
        self.items.insert(number, (owner, item));
        (number, displaced)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.items.get_mut(&number).map(|(_, item)| item)
    }

    /// Returns the oldest item.
    pub(crate) fn oldest(&self) -> Option<(u64, &T)> {
        let (number, (_, item)) = self.items.first_key_value()?;
        Some((*number, item))
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let (owner, item) = self.items.remove(&number)?;
        if let Some(numbers) = self.owners.get_mut(&owner) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.owners.remove(&owner);
            }
        }
        Some(item)
    }
}

/// Places for calls that wait. A call whose place another one takes is told.
pub(crate) struct Places(Mutex<Shares<oneshot::Sender<()>>>);

/// The place of a call that waits. Dropping it gives the place back.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    displaced: oneshot::Receiver<()>,
    is_lost: bool,
}

impl Places {
    pub(crate) fn new(per_owner: usize, in_all: usize) -> Arc<Places> {
        Arc::new(Places(Mutex::new(Shares::new(per_owner, in_all))))
    }

    /// Takes a place. Returns also whether another call has lost its own.
    pub(crate) fn take(self: &Arc<Self>, owner: &str) -> (Place, bool) {
        let (sender, displaced) = oneshot::channel();
        let (number, other) = self.0.lock().insert(owner, sender);
        let place = Place {
            places: self.clone(),
            number,
            displaced,
            is_lost: false,
        };
        // Dropping the sender tells the other call.
        (place, other.is_some())
    }

    #[cfg(test)]
    pub(crate) fn are_free(&self) -> bool {
        self.0.lock().oldest().is_none()
    }
}

impl Place {
    /// Waits until another call has taken the place.
    pub(crate) async fn lost(&mut self) {
        // A channel must not be asked again after its end.
        if !self.is_lost {
            let _ = (&mut self.displaced).await;
            self.is_lost = true;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_takes_places_from_itself_first() {
        let mut shares = Shares::new(2, 100);
        let (first, none) = shares.insert("a", 1);
        assert_eq!((none, shares.insert("a", 2).1), (None, None));
        assert_eq!(shares.insert("b", 3).1, None);
        assert_eq!(shares.insert("a", 4).1, Some(1));
        assert_eq!(shares.get_mut(first), None);
        assert_eq!(shares.oldest(), Some((1, &2)));
    }

    #[test]
    fn the_owner_with_the_most_gives_way() {
        let mut shares = Shares::new(3, 4);
        for item in 1..=3 {
            shares.insert("greedy", item);
        }
        shares.insert("modest", 4);
        assert_eq!(shares.insert("newcomer", 5).1, Some(1));
        assert_eq!(shares.insert("another", 6).1, Some(2));
        // Now each of them has one, and the oldest of all gives way.
        assert_eq!(shares.insert("last", 7).1, Some(3));
        assert_eq!(shares.owners.len(), 4);
        for number in 3..7 {
            assert!(shares.remove(number).is_some());
        }
        assert!(shares.owners.is_empty() && shares.oldest().is_none());
    }
}
