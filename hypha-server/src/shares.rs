//! Limits the number of items per owner and in total. Beyond a limit, a new item evicts an older
//! one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Items of owners, in the order of their insertion.
///
/// A new item is always accepted. If its owner then exceeds the limit per owner, the owner's oldest
/// item is evicted. If all items exceed the total limit, the oldest item of the owner with the most
/// items is evicted. So an owner evicts only its own items, or items of owners that have at least
/// as many.
pub(crate) struct Shares<T> {
    /// Maximum number of items of one owner.
    per_owner: usize,
    /// Maximum number of items of all owners.
    in_all: usize,
    /// Number of the next item.
    next: u64,
    /// Owners and items by number, oldest first.
    items: BTreeMap<u64, (Arc<str>, T)>,
    /// Numbers of each owner's items. Owners without items are removed.
    owners: HashMap<Arc<str>, BTreeSet<u64>>,
}

impl<T> Shares<T> {
    /// Creates an empty collection.
    pub(crate) fn new(per_owner: usize, in_all: usize) -> Shares<T> {
        Shares {
            per_owner,
            in_all,
            next: 0,
            items: BTreeMap::new(),
            owners: HashMap::new(),
        }
    }

    /// Inserts an item. Returns its number, and the item that it has evicted, if any.
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

    /// Returns the item with this number.
    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        self.items.get_mut(&number).map(|(_, item)| item)
    }

    /// Returns the oldest item and its number.
    pub(crate) fn oldest(&self) -> Option<(u64, &T)> {
        let (number, (_, item)) = self.items.first_key_value()?;
        Some((*number, item))
    }

    /// Removes and returns the item with this number.
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

/// Slots for waiting calls. A call that is evicted by a newer one is notified through
/// [`Place::lost`].
pub(crate) struct Places(Mutex<Shares<oneshot::Sender<()>>>);

/// The slot of a waiting call. Dropping it frees the slot.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    /// Completes on eviction: the sender in `places` is then dropped.
    displaced: oneshot::Receiver<()>,
    is_lost: bool,
}

impl Places {
    /// Creates the slots: at most `per_owner` for each owner, and `in_all` for all owners.
    pub(crate) fn new(per_owner: usize, in_all: usize) -> Arc<Places> {
        Arc::new(Places(Mutex::new(Shares::new(per_owner, in_all))))
    }

    /// Takes a slot for a call of `owner`. The flag says whether another call was evicted.
    pub(crate) fn take(self: &Arc<Self>, owner: &str) -> (Place, bool) {
        let (sender, displaced) = oneshot::channel();
        let (number, other) = self.0.lock().insert(owner, sender);
        let place = Place {
            places: self.clone(),
            number,
            displaced,
            is_lost: false,
        };
        // `other` is the sender of the evicted call, which is notified by the drop here.
        (place, other.is_some())
    }

    /// Returns whether all slots are free.
    #[cfg(test)]
    pub(crate) fn are_free(&self) -> bool {
        self.0.lock().oldest().is_none()
    }
}

impl Place {
    /// Waits until another call evicts this one. Completes immediately after that.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any time, and called again.
    pub(crate) async fn lost(&mut self) {
        // Remembered, because a oneshot receiver panics if it is polled after its completion.
        if !self.is_lost {
            // Always an error, because the sender is dropped without a value.
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
        // Each of them now has one item, so the oldest of all is evicted.
        assert_eq!(shares.insert("last", 7).1, Some(3));
        assert_eq!(shares.owners.len(), 4);
        for number in 3..7 {
            assert!(shares.remove(number).is_some());
        }
        assert!(shares.owners.is_empty() && shares.oldest().is_none());
    }
}
