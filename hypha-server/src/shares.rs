//! Limits the number of items per owner and in total. Beyond a limit, a new item evicts an older
//! item.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Items, each of which belongs to an owner, in the order of their insertion.
///
/// A new item is always accepted. If the owner of the new item then exceeds the limit per owner,
/// the owner's oldest item is evicted. If the total limit is exceeded, the oldest item of the owner
/// with the most items is evicted. So an owner evicts only its own items, or items of owners that
/// have at least as many items.
pub(crate) struct Shares<T> {
    /// Maximum number of items of one owner.
    per_owner: usize,
    /// Maximum number of items of all owners together.
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

    /// Inserts an item. Returns the number of the item, and the evicted item, if any.
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

/// Slots for waiting calls. A call that is evicted by a newer call is notified through
/// [`Slot::evicted`].
pub(crate) struct Slots(Mutex<Shares<oneshot::Sender<()>>>);

/// The slot of a waiting call. Dropping this value frees the slot.
pub(crate) struct Slot {
    slots: Arc<Slots>,
    number: u64,
    /// Receiver that completes when the slot is evicted, because the eviction drops the sender in
    /// `slots`.
    displaced: oneshot::Receiver<()>,
    is_evicted: bool,
}

impl Slots {
    /// Creates the slots: at most `per_owner` for each owner, and `in_all` for all owners.
    pub(crate) fn new(per_owner: usize, in_all: usize) -> Arc<Slots> {
        Arc::new(Slots(Mutex::new(Shares::new(per_owner, in_all))))
    }

    /// Takes a slot for a call of `owner`. Returns the slot, and whether another call was evicted.
    pub(crate) fn take(self: &Arc<Self>, owner: &str) -> (Slot, bool) {
        let (sender, displaced) = oneshot::channel();
        let (number, other) = self.0.lock().insert(owner, sender);
        let slot = Slot {
            slots: self.clone(),
            number,
            displaced,
            is_evicted: false,
        };
        // `other` is the sender of the evicted call. Dropping `other` here notifies that call.
        (slot, other.is_some())
    }

    /// Returns whether all slots are free.
    #[cfg(test)]
    pub(crate) fn are_free(&self) -> bool {
        self.0.lock().oldest().is_none()
    }
}

impl Slot {
    /// Waits until another call evicts this call. Returns immediately if this has already happened.
    ///
    /// # Cancellation
    ///
    /// Dropping the future has no effect: the method can be called again.
    pub(crate) async fn evicted(&mut self) {
        // The eviction is stored, because a oneshot receiver panics if it is polled after its
        // completion.
        if !self.is_evicted {
            // The result is always an error, because the sender is dropped without a value.
            let _ = (&mut self.displaced).await;
            self.is_evicted = true;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.0.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_above_its_limit_evicts_its_own_items() {
        let mut shares = Shares::new(2, 100);
        let (first, none) = shares.insert("a", 1);
        assert_eq!((none, shares.insert("a", 2).1), (None, None));
        assert_eq!(shares.insert("b", 3).1, None);
        assert_eq!(shares.insert("a", 4).1, Some(1));
        assert_eq!(shares.get_mut(first), None);
        assert_eq!(shares.oldest(), Some((1, &2)));
    }

    #[test]
    fn the_owner_with_the_most_items_loses_one() {
        let mut shares = Shares::new(3, 4);
        for item in 1..=3 {
            shares.insert("greedy", item);
        }
        shares.insert("modest", 4);
        assert_eq!(shares.insert("newcomer", 5).1, Some(1));
        assert_eq!(shares.insert("another", 6).1, Some(2));
        // Each owner now has one item, so the oldest of all items is evicted.
        assert_eq!(shares.insert("last", 7).1, Some(3));
        assert_eq!(shares.owners.len(), 4);
        for number in 3..7 {
            assert!(shares.remove(number).is_some());
        }
        assert!(shares.owners.is_empty() && shares.oldest().is_none());
    }
}
