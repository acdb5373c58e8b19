//! Limits the memory that the server holds for its peers. The server charges this memory to
//! accounts of the peers.
//!
//! There are three levels. A [`Budget`] limits the process. An [`Owner`] is a user or an IP
//! address. An [`Account`] is a connection or a request of an owner. A [`Charge`] counts at all
//! three levels until it is dropped. Code charges memory before it allocates the memory; the value
//! that owns the memory owns the charge.
//!
//! If an account is exhausted, [`Account::charge`] waits for room, which slows only the connection
//! of this account down. The wait fails after the budget's timeout (`patience`).
//!
//! If the process has no room, the largest account of the largest owner is evicted
//! ([`Account::gives_way`]): the task that serves this account closes its connection. If the
//! account that needs memory belongs to the largest owner, the charge is refused instead.
//!
//! A sixteenth of the budget is reserved for small owners, which are owners that hold little
//! memory. Therefore small owners do not have to wait for the eviction of a large account.
//!
//! If no other program shares the process with the server, the server also counts the memory that
//! is charged to no account (`overhead`).
//!
//! The counters are atomics, so that charging takes no lock. A task may lock `evicted` before
//! `owners`, or `evicted` before the `accounts` of an owner, but never `owners` and `accounts`
//! together. No lock is held across an await.

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

/// The owner of the memory that the server holds for all clients together, such as calls that wait
/// for the manager. This owner is never evicted, and always counts as a small owner. No user has
/// this id, because ids of users must not contain `*`.
pub(crate) const SERVER_OWNER: &str = "*";

/// The reserve for small owners is the budget divided by this number.
const RESERVE: usize = 16;
/// An owner is small if its memory is at most the budget divided by this number, and large
/// otherwise.
const SMALL_OWNER: usize = 256;

/// However large the overhead is, peers may use at least the budget divided by this number.
/// Otherwise, memory that the allocator never returns would stop the service.
const PEER_SHARE: usize = 2;
/// For small owners, the overhead reduces the budget by at most the budget divided by this number.
const SMALL_OWNER_OVERHEAD: usize = 4;
/// While the memory of the process is counted, large owners may not use the budget divided by this
/// number. The margin is needed because charged memory becomes resident a moment later, so the
/// measured overhead lags behind.
const MARGIN: usize = 5;

/// An eviction frees at least the budget divided by this number, because an account that needs
/// memory usually needs more memory soon.
const EVICTION_MIN: usize = 32;
/// Interval at which a task that waits for room in the process tries again. Each try evicts one
/// more large account, until there is room.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Limits of the three levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryLimits {
    /// Maximum number of bytes over all accounts, including the overhead if it is counted.
    pub(crate) process: usize,
    /// Maximum number of bytes of the accounts of one user or address.
    pub(crate) owner: usize,
    /// Maximum number of bytes of one account.
    pub(crate) account: usize,
    /// Maximum time for which [`Account::charge`] waits for room.
    pub(crate) patience: Duration,
}

/// A level of the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// One connection or request.
    Account,
    /// One user or IP address.
    Owner,
    /// The process.
    Process,
}

/// The error of a charge that exceeds the limit of a level. Clients receive the error text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OverBudget {
    /// The lowest level without room.
    pub(crate) level: Level,
    /// The user or IP address.
    pub(crate) owner: String,
    /// Size of the failed charge, in bytes.
    pub(crate) bytes: usize,
    /// Limit of the level, in bytes. For the process, the limit without any overhead.
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

/// The memory that peers may use in this process. All accounts of a server share one budget.
pub(crate) struct Budget {
    limits: MemoryLimits,
    /// Bytes charged to all accounts.
    used: AtomicUsize,
    /// Bytes of the process that are charged to no account. 0 unless the memory of the process is
    /// counted.
    overhead: AtomicUsize,
    /// Whether the memory of the process is counted.
    counts_process: AtomicBool,
    /// Maximum of `used` since the start.
    peak: AtomicUsize,
    /// Number of charges that have failed.
    refused: AtomicUsize,
    /// Number of evicted accounts.
    gave_way: AtomicUsize,
    /// The owners with open accounts, by name. The accounts keep their owners alive.
    owners: Mutex<HashMap<String, Weak<Owner>>>,
    /// The evicted accounts, each with the time of its eviction.
    evicted: Mutex<Vec<(Weak<Inner>, Instant)>>,
    /// Notified when bytes are released while tasks wait for room.
    freed: Notify,
    /// Number of tasks that wait for room. If no task waits, a release need not touch `freed`.
    waiting: AtomicUsize,
}

/// The accounts of one user or IP address.
pub(crate) struct Owner {
    name: String,
    /// Bytes charged to all accounts of the owner.
    used: AtomicUsize,
    accounts: Mutex<Vec<Weak<Inner>>>,
    budget: Arc<Budget>,
}

/// The memory that the server holds for one connection or request. Clones refer to the same
/// account.
#[derive(Clone)]
pub(crate) struct Account(Arc<Inner>);

/// The state of an account.
struct Inner {
    /// Bytes charged to the account.
    used: AtomicUsize,
    owner: Arc<Owner>,
    /// Whether the account is evicted. Never reset.
    is_evicted: AtomicBool,
    /// Notified when `is_evicted` is set.
    gives_way: Notify,
    /// Number of tasks in [`Account::gives_way`]. An account without such a task is never evicted,
    /// because no task would close its connection.
    watchers: AtomicUsize,
}

/// Bytes charged to an account. Dropping the charge releases the bytes and wakes tasks that wait
/// for room.
pub(crate) struct Charge {
    account: Account,
    bytes: usize,
}

/// The state of the accounts, for metrics: see [`Stats`](crate::Stats). Sizes are in bytes.
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
    /// Creates a budget without accounts. The budget does not count the memory of the process yet.
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
            evicted: Mutex::default(),
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Opens an account of the owner `name`: a user id, or `ip:` and the IP address of a client
    /// without credentials.
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
            is_evicted: AtomicBool::new(false),
            gives_way: Notify::new(),
            watchers: AtomicUsize::new(0),
        });
        let mut accounts = owner.accounts.lock();
        // Closed accounts are removed only when the list is full, so that opening an account takes
        // amortized constant time.
        if accounts.len() == accounts.capacity() {
            accounts.retain(|account| account.strong_count() > 0);
        }
        accounts.push(Arc::downgrade(&inner));
        drop(accounts);
        Account(inner)
    }

    /// Returns the limits of the budget.
    pub(crate) fn limits(&self) -> &MemoryLimits {
        &self.limits
    }

    /// Returns the state of the accounts. The values are read one after another, so they may
    /// contradict each other.
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

    /// Starts to count the memory growth of this process towards the budget, including memory that
    /// is charged to no account. Returns false on systems that do not report the memory of a
    /// process.
    ///
    /// # Errors
    ///
    /// Fails if the system's report cannot be read, or if the thread that reads the report cannot
    /// be started.
    pub(crate) fn count_process(self: &Arc<Self>) -> std::io::Result<bool> {
        let counts = overhead::watch(self)?;
        self.counts_process.store(counts, Ordering::Relaxed);
        Ok(counts)
    }

    /// Sets the number of bytes of the process that are charged to no account.
    fn set_overhead(&self, bytes: usize) {
        let before = self.overhead.swap(bytes, Ordering::Relaxed);
        if bytes < before {
            self.gave_back();
        }
    }

    /// Returns the limit on the bytes of all accounts together. The limit depends on whether the
    /// owner that charges memory is small. The overhead reduces the limit less for small owners,
    /// because small owners have not caused the overhead.
    fn room(&self, is_small: bool, overhead: usize) -> usize {
        let process = self.limits.process;
        if is_small {
            return process - overhead.min(process / SMALL_OWNER_OVERHEAD);
        }
        let room = process - overhead.min(process - process / PEER_SHARE) - process / RESERVE;
        match self.counts_process.load(Ordering::Relaxed) {
            true => room - process / MARGIN,
            false => room,
        }
    }

    /// Returns [`room`](Self::room) with the current overhead.
    fn room_now(&self, is_small: bool) -> usize {
        self.room(is_small, self.overhead.load(Ordering::Relaxed))
    }

    /// Evicts the largest account of the largest owner, so that the account `asking` can charge
    /// `bytes`.
    ///
    /// Does nothing if `asking` itself belongs to the largest owner, because the charge is then
    /// refused. Does nothing while the accounts that are already evicted will free enough memory.
    /// An account that has not closed within [`RETRY_INTERVAL`] no longer counts as evicted. Skips
    /// accounts without a task in [`Account::gives_way`].
    fn make_room(&self, asking: &Inner, bytes: usize) {
        let mut evicted = self.evicted.lock();
        let mut soon = 0;
        evicted.retain(|(account, since)| {
            let account = account.upgrade();
            let used = account.map_or(0, |account| account.used.load(Ordering::Relaxed));
            let counts = used > 0 && since.elapsed() < RETRY_INTERVAL;
            soon += if counts { used } else { 0 };
            counts
        });
        if soon >= bytes.max(self.limits.process / EVICTION_MIN) {
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
            let accounts = accounts.filter(|account| account.can_be_evicted());
            let Some(account) = accounts.max_by_key(|account| account.used.load(Ordering::Relaxed))
            else {
                continue;
            };
            evicted.push((Arc::downgrade(&account), Instant::now()));
            drop(evicted);
            // The flag is set before the notification, because a task in `gives_way` registers
            // first and then reads the flag. The flag is never reset, because the account ends with
            // its connection.
            account.is_evicted.store(true, Ordering::Release);
            self.gave_way.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                owner = owner.name,
                bytes = owner.used.load(Ordering::Relaxed),
                "the memory budget is exhausted; the largest account is evicted"
            );
            account.gives_way.notify_waiters();
            return;
        }
    }

    /// Wakes the tasks that wait for room.
    fn gave_back(&self) {
        // A task that starts to wait at this moment may miss the notification. Such a task tries
        // again after `RETRY_INTERVAL`.
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.freed.notify_waiters();
        }
    }
}

impl Inner {
    /// Returns whether the account can be evicted: a task waits in [`Account::gives_way`], and the
    /// account was not evicted before.
    fn can_be_evicted(&self) -> bool {
        self.watchers.load(Ordering::Acquire) > 0 && !self.is_evicted.load(Ordering::Acquire)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut owners = self.budget.owners.lock();
        // The entry is checked, because `open` may have inserted a new owner of this name after the
        // last account of this owner was dropped and before the lock was taken.
        if owners
            .get(&self.name)
            .is_some_and(|o| o.strong_count() == 0)
        {
            owners.remove(&self.name);
        }
    }
}

/// Adds `bytes` if the sum stays within `limit`. Returns whether the bytes were added.
///
/// Adds first, and subtracts again if the sum exceeds the limit, so that two concurrent charges
/// never exceed the limit together. One of the two charges may be refused although it would fit
/// alone.
fn add(counter: &AtomicUsize, bytes: usize, limit: usize) -> bool {
    let before = counter.fetch_add(bytes, Ordering::AcqRel);
    let fits = before.saturating_add(bytes) <= limit;
    if !fits {
        counter.fetch_sub(bytes, Ordering::AcqRel);
    }
    fits
}

impl Account {
    /// Charges `bytes` if every level has room now. Never waits.
    ///
    /// # Errors
    ///
    /// Returns the first level without room. If that level is the process, an account is evicted,
    /// so a later attempt may succeed.
    pub(crate) fn try_charge(&self, bytes: usize) -> Result<Charge, OverBudget> {
        self.add(bytes).inspect_err(|error| {
            self.budget().refused.fetch_add(1, Ordering::Relaxed);
            if error.level == Level::Process {
                self.budget().make_room(&self.0, bytes);
            }
        })?;
        Ok(self.charged(bytes))
    }

    /// Charges `bytes` if there is room now, otherwise returns `None`. Used for optional memory: a
    /// failure evicts no account and is not counted as a refusal.
    pub(crate) fn charge_spare(&self, bytes: usize) -> Option<Charge> {
        self.add(bytes).ok()?;
        Some(self.charged(bytes))
    }

    /// Charges `bytes`. Waits for room at all levels, up to the budget's timeout (`patience`).
    ///
    /// # Errors
    ///
    /// Fails immediately if `bytes` exceeds the limit of a level, or if this account is evicted.
    /// Fails after the timeout if there is still no room.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, nothing is charged.
    pub(crate) async fn charge(&self, bytes: usize) -> Result<Charge, OverBudget> {
        self.wait_for(bytes).await?;
        Ok(self.charged(bytes))
    }

    /// Charges `bytes` even if they exceed the limits. Used for small frames that must not be
    /// refused and are freed soon.
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

    /// Waits until the account is evicted because the process is out of memory. Returns immediately
    /// if this has already happened. The caller must then end the connection or request.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any time. While no task waits in this method, the account is
    /// not evicted.
    pub(crate) async fn gives_way(&self) {
        let _watcher = Counted::new(&self.0.watchers);
        let mut notified = std::pin::pin!(self.0.gives_way.notified());
        // The task registers before it reads the flag. Otherwise the task would miss an eviction in
        // between.
        notified.as_mut().enable();
        if !self.0.is_evicted.load(Ordering::Acquire) {
            notified.await;
        }
    }

    /// Returns the bytes charged to this account.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Returns the name of the owner: a user id, or `ip:` and an address.
    pub(crate) fn owner(&self) -> &str {
        &self.0.owner.name
    }

    /// Returns the charge for bytes that were already added.
    fn charged(&self, bytes: usize) -> Charge {
        Charge {
            account: self.clone(),
            bytes,
        }
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.0.owner.budget
    }

    /// Returns the error of a charge of `bytes` at a level with this limit.
    fn over(&self, level: Level, bytes: usize, limit: usize) -> OverBudget {
        OverBudget {
            level,
            owner: self.0.owner.name.clone(),
            bytes,
            limit,
        }
    }

    /// Adds `bytes` to the counters of all levels, or to none of them. Starts with the account, so
    /// that a peer at its own limit does not touch the counters that all peers share.
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
        let is_small = owner.used.load(Ordering::Relaxed) <= limits.process / SMALL_OWNER
            || owner.name == SERVER_OWNER;
        let room = budget.room_now(is_small);
        if !add(&budget.used, bytes, room) {
            self.0.used.fetch_sub(bytes, Ordering::AcqRel);
            owner.used.fetch_sub(bytes, Ordering::AcqRel);
            // Reports the limit without any overhead, because a charge that exceeds even this limit
            // need not wait.
            let most = budget.room(is_small, 0);
            return Err(self.over(Level::Process, bytes, most));
        }
        let used = budget.used.load(Ordering::Relaxed);
        if used > budget.peak.load(Ordering::Relaxed) {
            budget.peak.fetch_max(used, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Subtracts `bytes` at all levels, and wakes the tasks that wait for room.
    fn subtract(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::AcqRel);
        self.0.owner.used.fetch_sub(bytes, Ordering::AcqRel);
        self.budget().used.fetch_sub(bytes, Ordering::AcqRel);
        self.budget().gave_back();
    }

    /// Waits until `bytes` can be added, and adds them.
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
                // The task registers before the attempt, because bytes that are released in between
                // would otherwise not wake the task.
                let mut freed = std::pin::pin!(budget.freed.notified());
                freed.as_mut().enable();
                match self.add(bytes) {
                    Ok(()) => return Ok(()),
                    Err(still) => error = still,
                }
                if error.level == Level::Process {
                    budget.make_room(&self.0, bytes);
                }
                // This account may itself be evicted while it waits. Without this branch, large
                // accounts that wait for each other would never free memory.
                tokio::select! {
                    () = freed => {}
                    () = tokio::time::sleep(RETRY_INTERVAL) => {}
                    () = self.gives_way() => return Err(error),
                }
            }
        };
        let result = timeout(budget.limits.patience, room).await;
        drop(waiting);
        let result = match result {
            Ok(result) => result,
            // The task tries once more after the timeout, because the attempt also returns the
            // current reason for a failure.
            Err(_) => self.add(bytes),
        };
        result.inspect_err(|_| {
            budget.refused.fetch_add(1, Ordering::Relaxed);
        })
    }
}

/// Counts a task that waits for room until this value is dropped. If the task's future is dropped,
/// the task is therefore no longer counted.
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

    /// Charges `more` bytes like [`Account::try_charge`].
    ///
    /// # Errors
    ///
    /// Fails if there is no room now. The charge is then unchanged.
    pub(crate) fn try_grow(&mut self, more: usize) -> Result<(), OverBudget> {
        self.account.try_charge(more)?.join(self);
        Ok(())
    }

    /// Charges `more` bytes like [`Account::charge_spare`]. Returns whether there was room.
    pub(crate) fn grow_spare(&mut self, more: usize) -> bool {
        let charge = self.account.charge_spare(more);
        charge.map(|charge| charge.join(self)).is_some()
    }

    /// Charges `more` bytes like [`Account::charge`]. Waits for room.
    ///
    /// # Errors
    ///
    /// Fails like [`Account::charge`]. The charge is then unchanged.
    pub(crate) async fn grow(&mut self, more: usize) -> Result<(), OverBudget> {
        self.account.wait_for(more).await?;
        self.bytes += more;
        Ok(())
    }

    /// Reduces the charge to `bytes`. Does nothing if fewer bytes are charged.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes -= back;
        if back > 0 {
            self.account.subtract(back);
        }
    }

    /// Adds this charge to another charge of the same account.
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
