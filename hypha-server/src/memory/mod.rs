//! Accounts of memory: every byte that the server holds for somebody is charged to them.
//!
//! There are three levels. A [`Budget`] bounds the process, an [`Owner`] is a user or an IP
//! address, and an [`Account`] is a connection or a request of that owner. A [`Charge`] counts on
//! all three until it is dropped.
//!
//! An exhausted account slows its own connection down: [`Account::charge`] waits for room, and
//! refuses after the patience of the budget. When the process is full, the largest account of the
//! largest owner is told to give way ([`Account::gives_way`]), unless it is the one that asks for
//! more. A sixteenth of the budget is for owners that hold little, so that a peer whose account is
//! small does not pay for one whose account is large, not even until that one has given way.
//!
//! In a process of its own, a server also counts what no account shows (`overhead`).

mod overhead;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// The owner of what the server holds for all of its clients, such as calls that wait for the
/// manager. It never gives way, and counts as one that holds little. No user has this id.
pub(crate) const SERVER_OWNER: &str = "*";

/// The part of the budget that is for owners that hold little: one of so many parts.
const RESERVE: usize = 16;
/// An owner holds little if it has at most one of so many parts of the budget.
const LITTLE: usize = 256;

/// The overhead takes all but one of so many parts of the budget at most: memory that the allocator
/// never gives back must not end the service.
const FOR_PEERS: usize = 2;
/// The overhead takes one of so many parts at most from owners that hold little.
const OF_LITTLE: usize = 4;
/// If the process counts, one of so many parts of the budget is not for owners that hold much:
/// charged memory is occupied a moment later, and what grows meanwhile is seen too late.
const MARGIN: usize = 5;

/// Who asks for memory will ask for more: at least one of so many parts of the budget is made free.
const NEXT_STEPS: usize = 32;
/// Interval in which a task that waits for the process to have room asks again: one large account
/// after the other gives way until it has.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Bounds of the three levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryLimits {
    /// Bytes of all accounts together.
    pub(crate) process: usize,
    /// Bytes of the accounts of one user or address.
    pub(crate) owner: usize,
    /// Bytes of one account.
    pub(crate) account: usize,
    /// Longest wait for room.
    pub(crate) patience: Duration,
}

/// The level whose limit a charge exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Account,
    Owner,
    Process,
}

/// A charge that does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OverBudget {
    /// The first level without room.
    pub(crate) level: Level,
    /// The user or address.
    pub(crate) owner: String,
    /// Bytes asked for.
    pub(crate) bytes: usize,
    /// Bytes allowed at this level.
    pub(crate) limit: usize,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, limit) = (self.bytes, self.limit);
        match self.level {
            Level::Account => write!(
                f,
                "memory limit of this connection: {bytes} more bytes exceed {limit}"
            ),
            Level::Owner => write!(
                f,
                "memory limit of `{}`: {bytes} more bytes exceed {limit} of all its connections",
                self.owner
            ),
            Level::Process => write!(
                f,
                "the server is out of memory: {bytes} more bytes exceed its budget of {limit}; try \
                 again later"
            ),
        }
    }
}

impl std::error::Error for OverBudget {}

/// The memory of the process that peers may occupy.
pub(crate) struct Budget {
    limits: MemoryLimits,
    used: AtomicUsize,
    /// Memory of the process that no account shows, if it counts.
    overhead: AtomicUsize,
    counts_process: AtomicBool,
    peak: AtomicUsize,
    refused: AtomicUsize,
    gave_way: AtomicUsize,
    owners: Mutex<HashMap<String, Weak<Owner>>>,
    /// The accounts that were told to give way, and when.
    giving_way: Mutex<Vec<(Weak<Inner>, Instant)>>,
    /// Notified when bytes are given back while somebody waits for them.
    freed: Notify,
    waiting: AtomicUsize,
}

/// The accounts of one user or address.
pub(crate) struct Owner {
    name: String,
    used: AtomicUsize,
    accounts: Mutex<Vec<Weak<Inner>>>,
    budget: Arc<Budget>,
}

/// The memory held for one connection or request. Clones are the same account.
#[derive(Clone)]
pub(crate) struct Account(Arc<Inner>);

struct Inner {
    used: AtomicUsize,
    owner: Arc<Owner>,
    must_give_way: AtomicBool,
    gives_way: Notify,
    /// Those that would notice. Others are never told: nothing would come of it.
    watchers: AtomicUsize,
}

/// Bytes on an account, given back when this is dropped.
pub(crate) struct Charge {
    account: Account,
    bytes: usize,
}

/// The state of the accounts, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryStats {
    pub(crate) used: usize,
    pub(crate) overhead: usize,
    pub(crate) peak: usize,
    pub(crate) limit: usize,
    pub(crate) owners: usize,
    pub(crate) largest_owner: usize,
    pub(crate) refused: usize,
    pub(crate) gave_way: usize,
}

impl Budget {
    pub(crate) fn new(limits: MemoryLimits) -> Arc<Budget> {
        Arc::new(Budget {
            limits,
            used: AtomicUsize::new(0),
            overhead: AtomicUsize::new(0),
            counts_process: AtomicBool::new(false),
            peak: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            gave_way: AtomicUsize::new(0),
            owners: Mutex::default(),
            giving_way: Mutex::default(),
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Opens an account of the owner `name`: a user id, or an address for those without one.
    pub(crate) fn open(self: &Arc<Self>, name: &str) -> Account {
        let owner = {
            let mut owners = self.owners.lock();
            match owners.get(name).and_then(Weak::upgrade) {
                Some(owner) => owner,
                None => {
                    let owner = Arc::new(Owner {
                        name: name.to_owned(),
                        used: AtomicUsize::new(0),
                        accounts: Mutex::default(),
                        budget: self.clone(),
                    });
                    owners.insert(name.to_owned(), Arc::downgrade(&owner));
                    owner
                }
            }
        };
        let inner = Arc::new(Inner {
            used: AtomicUsize::new(0),
            owner: owner.clone(),
            must_give_way: AtomicBool::new(false),
            gives_way: Notify::new(),
            watchers: AtomicUsize::new(0),
        });
        let mut accounts = owner.accounts.lock();
        // Amortized: closed accounts are removed before the list would grow.
        if accounts.len() == accounts.capacity() {
            accounts.retain(|account| account.strong_count() > 0);
        }
        accounts.push(Arc::downgrade(&inner));
        drop(accounts);
        Account(inner)
    }

    pub(crate) fn limits(&self) -> &MemoryLimits {
        &self.limits
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        let owners: Vec<_> = self.owners.lock().values().cloned().collect();
        let used = owners.iter().filter_map(Weak::upgrade);
        let used: Vec<_> = used.map(|o| o.used.load(Ordering::Relaxed)).collect();
        MemoryStats {
            used: self.used.load(Ordering::Relaxed),
            overhead: self.overhead.load(Ordering::Relaxed),
            peak: self.peak.load(Ordering::Relaxed),
            limit: self.limits.process,
            owners: used.len(),
            largest_owner: used.into_iter().max().unwrap_or(0),
            refused: self.refused.load(Ordering::Relaxed),
            gave_way: self.gave_way.load(Ordering::Relaxed),
        }
    }

    /// Counts the memory that this process takes from now on towards the budget. Returns false
    /// where the system does not report it.
    pub(crate) fn count_process(self: &Arc<Self>) -> std::io::Result<bool> {
        let counts = overhead::watch(self)?;
        self.counts_process.store(counts, Ordering::Relaxed);
        Ok(counts)
    }

    /// Sets the memory of the process that no account shows.
    fn set_overhead(&self, bytes: usize) {
        let before = self.overhead.swap(bytes, Ordering::Relaxed);
        if bytes < before {
            self.gave_back();
        }
    }

    /// Returns the bytes that all accounts may have, for the sake of an owner that holds `little`
    /// or much, when no account shows `overhead` bytes of the process. Those that hold little have
    /// not caused it, and it leaves them more.
    fn room(&self, little: bool, overhead: usize) -> usize {
        let process = self.limits.process;
        if little {
            return process - overhead.min(process / OF_LITTLE);
        }
        let room = process - overhead.min(process - process / FOR_PEERS) - process / RESERVE;
        match self.counts_process.load(Ordering::Relaxed) {
            true => room - process / MARGIN,
            false => room,
        }
    }

    fn room_now(&self, little: bool) -> usize {
        self.room(little, self.overhead.load(Ordering::Relaxed))
    }

    /// Tells the largest account of the largest owner to give way, in favour of `asking`, which
    /// wants so many `bytes`. Does nothing if `asking` belongs to that owner, because then it is
    /// the one to be refused, or while other accounts that give way hold enough. One that has not
    /// done so in time is passed over, and so is one that nobody watches.
    fn make_room(&self, asking: &Inner, bytes: usize) {
        let mut giving_way = self.giving_way.lock();
        let mut soon = 0;
        giving_way.retain(|(account, since)| {
            let account = account.upgrade();
            let used = account.map_or(0, |account| account.used.load(Ordering::Relaxed));
            let counts = used > 0 && since.elapsed() < ASK_AGAIN;
            soon += if counts { used } else { 0 };
            counts
        });
        if soon >= bytes.max(self.limits.process / NEXT_STEPS) {
            return;
        }
        let owners: Vec<_> = self.owners.lock().values().cloned().collect();
        let owners = owners.iter().filter_map(Weak::upgrade);
        let mut owners: Vec<_> = owners.filter(|owner| owner.name != SERVER_OWNER).collect();
        owners.sort_by_cached_key(|owner| Reverse(owner.used.load(Ordering::Relaxed)));
        for owner in owners {
            if Arc::ptr_eq(&owner, &asking.owner) {
                return;
            }
            let accounts: Vec<_> = owner.accounts.lock().clone();
            let accounts = accounts.iter().filter_map(Weak::upgrade);
            let accounts = accounts.filter(|account| account.can_give_way());
            let Some(account) = accounts.max_by_key(|account| account.used.load(Ordering::Relaxed))
            else {
                continue;
            };
            giving_way.push((Arc::downgrade(&account), Instant::now()));
            drop(giving_way);
            // Once: its bytes come back when its connection has ended.
            account.must_give_way.store(true, Ordering::Release);
            self.gave_way.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                owner = owner.name,
                bytes = owner.used.load(Ordering::Relaxed),
                "the memory budget is exhausted; the largest account gives way"
            );
            account.gives_way.notify_waiters();
            return;
        }
    }

    /// Wakes those that wait for room.
    fn gave_back(&self) {
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.freed.notify_waiters();
        }
    }
}

impl Inner {
    /// Returns whether a task watches the account, and the account was not told to give way yet.
    fn can_give_way(&self) -> bool {
        self.watchers.load(Ordering::Acquire) > 0 && !self.must_give_way.load(Ordering::Acquire)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut owners = self.budget.owners.lock();
        // A new owner of this name may have taken the place already.
        if owners
            .get(&self.name)
            .is_some_and(|o| o.strong_count() == 0)
        {
            owners.remove(&self.name);
        }
    }
}

/// Adds `bytes` if the sum stays within `limit`.
fn add(counter: &AtomicUsize, bytes: usize, limit: usize) -> bool {
    let before = counter.fetch_add(bytes, Ordering::AcqRel);
    let fits = before.saturating_add(bytes) <= limit;
    if !fits {
        counter.fetch_sub(bytes, Ordering::AcqRel);
    }
    fits
}

impl Account {
    /// Charges `bytes` if there is room at every level.
    pub(crate) fn try_charge(&self, bytes: usize) -> Result<Charge, OverBudget> {
        self.add(bytes).inspect_err(|error| {
            self.budget().refused.fetch_add(1, Ordering::Relaxed);
            if error.level == Level::Process {
                self.budget().make_room(&self.0, bytes);
            }
        })?;
        Ok(self.charged(bytes))
    }

    /// Charges `bytes` if there is room, and else does nothing: for what would be of use and need
    /// not be, so that nobody gives way for it.
    pub(crate) fn charge_spare(&self, bytes: usize) -> Option<Charge> {
        self.add(bytes).ok()?;
        Some(self.charged(bytes))
    }

    /// Charges `bytes`; waits for room, at most for the patience of the budget.
    ///
    /// # Errors
    ///
    /// At once if the account alone could never hold them, else after the wait.
    pub(crate) async fn charge(&self, bytes: usize) -> Result<Charge, OverBudget> {
        self.wait_for(bytes).await?;
        Ok(self.charged(bytes))
    }

    /// Charges `bytes` without a check: for bytes that are there already and go in a moment.
    pub(crate) fn force_charge(&self, bytes: usize) -> Charge {
        let budget = self.budget();
        self.0.used.fetch_add(bytes, Ordering::AcqRel);
        self.0.owner.used.fetch_add(bytes, Ordering::AcqRel);
        let before = budget.used.fetch_add(bytes, Ordering::AcqRel);
        budget.peak.fetch_max(before + bytes, Ordering::Relaxed);
        if before + bytes > budget.room_now(true) {
            budget.make_room(&self.0, bytes);
        }
        self.charged(bytes)
    }

    /// Waits until the account must give way because the process is out of memory.
    pub(crate) async fn gives_way(&self) {
        let _watcher = Counted::new(&self.0.watchers);
        let mut notified = std::pin::pin!(self.0.gives_way.notified());
        // Registered before the flag is read: a notification in between is not lost.
        notified.as_mut().enable();
        if !self.0.must_give_way.load(Ordering::Acquire) {
            notified.await;
        }
    }

    /// Returns the bytes on this account.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Returns the user or address that the account belongs to.
    pub(crate) fn owner(&self) -> &str {
        &self.0.owner.name
    }

    fn charged(&self, bytes: usize) -> Charge {
        Charge {
            account: self.clone(),
            bytes,
        }
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.0.owner.budget
    }

    fn over(&self, level: Level, bytes: usize, limit: usize) -> OverBudget {
        OverBudget {
            level,
            owner: self.0.owner.name.clone(),
            bytes,
            limit,
        }
    }

    /// Adds to the counters of all levels, or to none.
    fn add(&self, bytes: usize) -> Result<(), OverBudget> {
        let (budget, owner) = (self.budget(), &self.0.owner);
        let limits = &budget.limits;
        if !add(&self.0.used, bytes, limits.account) {
            return Err(self.over(Level::Account, bytes, limits.account));
        }
        if !add(&owner.used, bytes, limits.owner) {
            self.0.used.fetch_sub(bytes, Ordering::AcqRel);
            return Err(self.over(Level::Owner, bytes, limits.owner));
        }
        let little = owner.used.load(Ordering::Relaxed) <= limits.process / LITTLE
            || owner.name == SERVER_OWNER;
        let room = budget.room_now(little);
        if !add(&budget.used, bytes, room) {
            self.0.used.fetch_sub(bytes, Ordering::AcqRel);
            owner.used.fetch_sub(bytes, Ordering::AcqRel);
            // The most that there can be: who asks for more need not wait.
            let most = budget.room(little, 0);
            return Err(self.over(Level::Process, bytes, most));
        }
        let used = budget.used.load(Ordering::Relaxed);
        if used > budget.peak.load(Ordering::Relaxed) {
            budget.peak.fetch_max(used, Ordering::Relaxed);
        }
        Ok(())
    }

    fn subtract(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::AcqRel);
        self.0.owner.used.fetch_sub(bytes, Ordering::AcqRel);
        self.budget().used.fetch_sub(bytes, Ordering::AcqRel);
        self.budget().gave_back();
    }

    async fn wait_for(&self, bytes: usize) -> Result<(), OverBudget> {
        let Err(error) = self.add(bytes) else {
            return Ok(());
        };
        let budget = self.budget();
        let waiting = Counted::new(&budget.waiting);
        let room = async {
            let mut error = error;
            loop {
                if bytes > error.limit {
                    return Err(error);
                }
                let mut freed = std::pin::pin!(budget.freed.notified());
                freed.as_mut().enable();
                match self.add(bytes) {
                    Ok(()) => return Ok(()),
                    Err(still) => error = still,
                }
                if error.level == Level::Process {
                    budget.make_room(&self.0, bytes);
                }
                // If all wait for each other, nobody gives anything back.
                tokio::select! {
                    () = freed => {}
                    () = tokio::time::sleep(ASK_AGAIN) => {}
                    () = self.gives_way() => return Err(error),
                }
            }
        };
        let result = timeout(budget.limits.patience, room).await;
        drop(waiting);
        let result = match result {
            Ok(result) => result,
            Err(_) => self.add(bytes),
        };
        result.inspect_err(|_| {
            budget.refused.fetch_add(1, Ordering::Relaxed);
        })
    }
}

/// Counts a task that waits, also when its future is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Counted<'a> {
        count.fetch_add(1, Ordering::AcqRel);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Charge {
    /// Returns the bytes charged.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Charges `more` bytes if there is room.
    pub(crate) fn try_grow(&mut self, more: usize) -> Result<(), OverBudget> {
        self.account.try_charge(more)?.join(self);
        Ok(())
    }

    /// Charges `more` bytes like [`Account::charge_spare`]. Returns whether there was room.
    pub(crate) fn grow_spare(&mut self, more: usize) -> bool {
        let charge = self.account.charge_spare(more);
        charge.map(|charge| charge.join(self)).is_some()
    }

    /// Charges `more` bytes; waits for room like [`Account::charge`].
    pub(crate) async fn grow(&mut self, more: usize) -> Result<(), OverBudget> {
        self.account.wait_for(more).await?;
        self.bytes += more;
        Ok(())
    }

    /// Gives back all but `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes -= back;
        if back > 0 {
            self.account.subtract(back);
        }
    }

    /// Adds this charge to another one of the same account.
    fn join(mut self, other: &mut Charge) {
        other.bytes += std::mem::take(&mut self.bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.account.subtract(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests;
