//! Memory accounts: the server charges the memory that it holds for a peer to that peer.
//!
//! There are three levels. A [`Budget`] bounds the process, an [`Owner`] is a user or an IP
//! address, and an [`Account`] is a connection or a request of that owner. A [`Charge`] counts at
//! all three levels until it is dropped. The code that allocates charges before it allocates; the
//! value that owns the memory owns the charge.
//!
//! An exhausted account slows its own connection down: [`Account::charge`] waits for room, and
//! fails after the patience of the budget. If the process is full, the largest account of the
//! largest owner must give way ([`Account::gives_way`]): the task that serves it closes the
//! connection. If the account that asks for more belongs to the largest owner, it is refused
//! instead.
//!
//! A sixteenth of the budget is reserved for owners that hold little. They need not even wait until
//! a large account has given way.
//!
//! In a process of its own, a server also counts the memory that no account shows (`overhead`).
//!
//! The counters are atomics, so that charging takes no lock. Lock order: `giving_way`, then
//! `owners` or the `accounts` of an owner, never both. None is held across an await.

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
/// for the manager. It never gives way, and counts as an owner that holds little. No user has this
/// id, because ids must not contain `*`.
pub(crate) const SERVER_OWNER: &str = "*";

/// Divisor: this part of the budget is reserved for owners that hold little.
const RESERVE: usize = 16;
/// Divisor: an owner holds little if it has at most this part of the budget.
const LITTLE: usize = 256;

/// Divisor: this part of the budget stays for peers, however large the overhead is. Otherwise
/// memory that the allocator never gives back would end the service.
const FOR_PEERS: usize = 2;
/// Divisor: the overhead takes at most this part of the budget from owners that hold little.
const OF_LITTLE: usize = 4;
/// Divisor: this part of the budget is withheld from owners that hold much while the memory of the
/// process is counted. Charged memory becomes resident a moment later, so the overhead is
/// known too late.
const MARGIN: usize = 5;

/// Divisor: at least this part of the budget is made free at once, because an account that asks for
/// memory usually asks for more.
const NEXT_STEPS: usize = 32;
/// Interval at which a task that waits for memory of the process tries again. In each interval one
/// more large account is told to give way, until there is room.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Upper bounds of the three levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemoryLimits {
    /// Bytes of all accounts together, and of the overhead if it is counted.
    pub(crate) process: usize,
    /// Bytes of the accounts of one user or address.
    pub(crate) owner: usize,
    /// Bytes of one account.
    pub(crate) account: usize,
    /// Longest wait of [`Account::charge`] for room.
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

/// The error of a charge that exceeds the limit of a level. Clients receive its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OverBudget {
    /// The first level without room, from the account up.
    pub(crate) level: Level,
    /// The user or IP address.
    pub(crate) owner: String,
    /// Bytes that were asked for.
    pub(crate) bytes: usize,
    /// Upper bound of the level, in bytes. For the process, the most that it ever allows to such an
    /// owner.
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

/// The memory of the process that peers may occupy. All accounts of a server share one budget.
pub(crate) struct Budget {
    limits: MemoryLimits,
    /// Bytes on all accounts.
    used: AtomicUsize,
    /// Bytes of the process that no account shows; 0 unless the process is counted.
    overhead: AtomicUsize,
    /// The memory of the process is counted.
    counts_process: AtomicBool,
    /// Largest value of `used`.
    peak: AtomicUsize,
    /// Charges that have failed.
    refused: AtomicUsize,
    /// Accounts that were told to give way.
    gave_way: AtomicUsize,
    /// The owners with open accounts, by name. The accounts keep them alive.
    owners: Mutex<HashMap<String, Weak<Owner>>>,
    /// The accounts that were told to give way, and when.
    giving_way: Mutex<Vec<(Weak<Inner>, Instant)>>,
    /// Notified when bytes are given back while tasks wait for them.
    freed: Notify,
    /// Tasks that wait for room. Without any, giving back need not touch `freed`.
    waiting: AtomicUsize,
}

/// The accounts of one user or IP address.
pub(crate) struct Owner {
    name: String,
    /// Bytes on all accounts of the owner.
    used: AtomicUsize,
    accounts: Mutex<Vec<Weak<Inner>>>,
    budget: Arc<Budget>,
}

/// The memory that the server holds for one connection or request. Clones are the same account.
#[derive(Clone)]
pub(crate) struct Account(Arc<Inner>);

/// The state of an account.
struct Inner {
    /// Bytes on the account.
    used: AtomicUsize,
    owner: Arc<Owner>,
    /// The account was told to give way. Never reset.
    must_give_way: AtomicBool,
    /// Notified when `must_give_way` is set.
    gives_way: Notify,
    /// Tasks in [`Account::gives_way`]. An account without any is never told to give way, because
    /// nobody would close its connection.
    watchers: AtomicUsize,
}

/// Bytes that are charged to an account. Dropping it gives them back and wakes tasks that wait for
/// room.
pub(crate) struct Charge {
    account: Account,
    bytes: usize,
}

/// The state of the accounts, for metrics; see [`Stats`](crate::Stats). Sizes are in bytes.
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
    /// Creates a budget without accounts, which does not count the process.
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

    /// Opens an account of the owner `name`: a user id, or `ip:` and the address of a client
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
            must_give_way: AtomicBool::new(false),
            gives_way: Notify::new(),
            watchers: AtomicUsize::new(0),
        });
        let mut accounts = owner.accounts.lock();
        // Closed accounts are removed only when the list is full, so that opening an account costs
        // constant time on average.
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

    /// Returns the state of the accounts. The values are read one after the other, so they may not
    /// fit together exactly.
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

    /// Counts the memory that this process occupies beyond its present one towards the budget, also
    /// what is on no account. Returns false where the system does not report it.
    ///
    /// # Errors
    ///
    /// Fails if the report cannot be read, or the thread that reads it cannot be started.
    pub(crate) fn count_process(self: &Arc<Self>) -> std::io::Result<bool> {
        let counts = overhead::watch(self)?;
        self.counts_process.store(counts, Ordering::Relaxed);
        Ok(counts)
    }

    /// Sets the bytes of the process that no account shows.
    fn set_overhead(&self, bytes: usize) {
        let before = self.overhead.swap(bytes, Ordering::Relaxed);
        if bytes < before {
            self.gave_back();
        }
    }

    /// Returns the bytes up to which all accounts together may grow by a charge of an owner, which
    /// holds `little` or much. The overhead leaves more to owners that hold little, because they
    /// have not caused it.
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

    /// Returns [`room`](Self::room) with the present overhead.
    fn room_now(&self, little: bool) -> usize {
        self.room(little, self.overhead.load(Ordering::Relaxed))
    }

    /// Tells the largest account of the largest owner to give way, in favor of `asking`, which
    /// wants `bytes`.
    ///
    /// Does nothing if `asking` belongs to the largest owner, because then `asking` itself is
    /// refused, or while accounts that were told already hold enough. An account that has not given
    /// way within [`ASK_AGAIN`] no longer counts as one that will. Accounts that no task watches
    /// are passed over.
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
            // Set before the notification, because a task in `gives_way` registers first and then
            // reads it. Never reset: the account ends with its connection.
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

    /// Wakes the tasks that wait for room.
    fn gave_back(&self) {
        // Not synchronized with tasks that begin to wait just now, because one that is missed tries
        // again after `ASK_AGAIN` anyway.
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
        // Checked, because `open` may have put a new owner of this name there, after the last
        // account of this one was dropped and before the lock was taken.
        if owners
            .get(&self.name)
            .is_some_and(|o| o.strong_count() == 0)
        {
            owners.remove(&self.name);
        }
    }
}

/// Adds `bytes` if the sum stays within `limit`. Returns whether it did.
///
/// Adds first and takes back afterwards, so that two charges at the same time never exceed the
/// limit. One of them may be refused although it would fit alone.
fn add(counter: &AtomicUsize, bytes: usize, limit: usize) -> bool {
    let before = counter.fetch_add(bytes, Ordering::AcqRel);
    let fits = before.saturating_add(bytes) <= limit;
    if !fits {
        counter.fetch_sub(bytes, Ordering::AcqRel);
    }
    fits
}

impl Account {
    /// Charges `bytes` if there is room at every level now. Never waits.
    ///
    /// # Errors
    ///
    /// Returns the first level without room. If that is the process, an account is told to give
    /// way, so a later attempt may succeed.
    pub(crate) fn try_charge(&self, bytes: usize) -> Result<Charge, OverBudget> {
        self.add(bytes).inspect_err(|error| {
            self.budget().refused.fetch_add(1, Ordering::Relaxed);
            if error.level == Level::Process {
                self.budget().make_room(&self.0, bytes);
            }
        })?;
        Ok(self.charged(bytes))
    }

    /// Charges `bytes` if there is room now, otherwise returns `None`. For memory that the caller
    /// can do without: no account has to give way for it, and no refusal is counted.
    pub(crate) fn charge_spare(&self, bytes: usize) -> Option<Charge> {
        self.add(bytes).ok()?;
        Some(self.charged(bytes))
    }

    /// Charges `bytes`. Waits for room at all levels, up to the patience of the budget.
    ///
    /// # Errors
    ///
    /// Fails at once if a level could never hold them, or if this account must give way; otherwise
    /// after the wait.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, nothing is charged.
    pub(crate) async fn charge(&self, bytes: usize) -> Result<Charge, OverBudget> {
        self.wait_for(bytes).await?;
        Ok(self.charged(bytes))
    }

    /// Charges `bytes` even if that exceeds the limits. For small frames that must not be refused
    /// and are gone in a moment.
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

    /// Waits until the account must give way because the process is out of memory. The caller then
    /// ends the connection or request as soon as it can. Completes at once after that.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any time. While no task waits in it, the account is not told to
    /// give way.
    pub(crate) async fn gives_way(&self) {
        let _watcher = Counted::new(&self.0.watchers);
        let mut notified = std::pin::pin!(self.0.gives_way.notified());
        // Registered before the flag is read. Otherwise a notification in between would be lost.
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

    /// Returns the name of the owner: a user id, or `ip:` and an address.
    pub(crate) fn owner(&self) -> &str {
        &self.0.owner.name
    }

    /// Returns the charge for bytes that have been added already.
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

    /// Adds `bytes` to the counters of all levels, or to none. From the account up, so that a peer
    /// without room of its own does not touch the counters that all share.
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
            // The room without any overhead, because a charge that exceeds even that need not wait.
            let most = budget.room(little, 0);
            return Err(self.over(Level::Process, bytes, most));
        }
        let used = budget.used.load(Ordering::Relaxed);
        if used > budget.peak.load(Ordering::Relaxed) {
            budget.peak.fetch_max(used, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives back `bytes` at all levels, and wakes the tasks that wait for room.
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
                // Registered before the attempt. Otherwise bytes that are given back in between
                // would not wake this task.
                let mut freed = std::pin::pin!(budget.freed.notified());
                freed.as_mut().enable();
                match self.add(bytes) {
                    Ok(()) => return Ok(()),
                    Err(still) => error = still,
                }
                if error.level == Level::Process {
                    budget.make_room(&self.0, bytes);
                }
                // This account may have to give way itself: if large accounts wait for each other,
                // none would give anything back.
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
            // A last attempt after the timeout, because it also yields the present reason.
            Err(_) => self.add(bytes),
        };
        result.inspect_err(|_| {
            budget.refused.fetch_add(1, Ordering::Relaxed);
        })
    }
}

/// Counts a task for as long as this exists, so that a future that is dropped is no longer counted.
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
    /// Fails if there is no room now. The charge stays as it was.
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
    /// Fails like [`Account::charge`]. The charge stays as it was.
    pub(crate) async fn grow(&mut self, more: usize) -> Result<(), OverBudget> {
        self.account.wait_for(more).await?;
        self.bytes += more;
        Ok(())
    }

    /// Gives back all but `bytes`. Does nothing if fewer are charged.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.bytes -= back;
        if back > 0 {
            self.account.subtract(back);
        }
    }

    /// Adds this charge to another one, which must be of the same account.
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
