//! Connections and memory of the clients that open connections to this client.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use hypha_wire::{MemoryCharge, PeerMemory};

/// Part of the connections that one client may open: one of this number.
const SHARE_OF_CALLER: usize = 4;

/// Connections and memory of the callers, by their address.
#[derive(Debug)]
pub(super) struct Accounts {
    slots: Arc<Semaphore>,
    /// Maximum number of connections of one caller.
    most_of_caller: usize,
    usage: Mutex<HashMap<String, Usage>>,
    /// Maximum memory of all callers, in bytes. One caller may use half of it.
    max_bytes: usize,
    /// Accounts of the whole program, which are charged too.
    outer: Option<Arc<dyn PeerMemory>>,
}

/// Resources that one caller uses.
#[derive(Debug, Default)]
struct Usage {
    connections: usize,
    bytes: usize,
}

/// Place of one connection. Dropping it makes room for another one.
pub(super) struct Seat {
    accounts: Arc<Accounts>,
    caller: String,
    _slot: OwnedSemaphorePermit,
}

impl Accounts {
    pub(super) fn new(
        max_connections: usize,
        max_bytes: usize,
        outer: Option<Arc<dyn PeerMemory>>,
    ) -> Self {
        let most = max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Accounts {
            slots: Arc::new(Semaphore::new(most)),
            most_of_caller: most.div_ceil(SHARE_OF_CALLER),
            usage: Mutex::default(),
            max_bytes,
            outer,
        }
    }

    /// Reserves a place for a connection of `caller`.
    pub(super) fn seat(self: &Arc<Self>, caller: &str) -> Result<Seat, String> {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            return Err("this client has too many peer connections".to_owned());
        };
        let most = self.most_of_caller;
        self.change(caller, |usage| {
            if usage.connections >= most {
                return Err(format!("{caller} has {most} peer connections already"));
            }
            usage.connections += 1;
            Ok(())
        })?;
        Ok(Seat {
            accounts: Arc::clone(self),
            caller: caller.to_owned(),
            _slot: slot,
        })
    }

    /// Changes the usage of a caller. Forgets callers that use nothing.
    fn change<T>(&self, caller: &str, change: impl FnOnce(&mut Usage) -> T) -> T {
        let mut usage = self.usage.lock();
        let entry = usage.entry(caller.to_owned()).or_default();
        let outcome = change(entry);
        if entry.connections == 0 && entry.bytes == 0 {
            usage.remove(caller);
        }
        outcome
    }
}

impl Seat {
    /// Returns the memory account of the caller.
    pub(super) fn memory(&self) -> Arc<dyn PeerMemory> {
        Arc::new(CallerMemory {
            accounts: Arc::clone(&self.accounts),
            caller: self.caller.clone(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.accounts
            .change(&self.caller, |usage| usage.connections -= 1);
    }
}

/// Memory account of one caller for all of its connections. The address in messages is that of the
/// connection, which the caller chooses, so it is not used.
#[derive(Debug)]
struct CallerMemory {
    accounts: Arc<Accounts>,
    caller: String,
}

/// Memory charged to a caller.
struct Charge {
    accounts: Arc<Accounts>,
    caller: String,
    bytes: usize,
    _outer: Option<MemoryCharge>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        let bytes = self.bytes;
        self.accounts
            .change(&self.caller, |usage| usage.bytes -= bytes);
    }
}

impl PeerMemory for CallerMemory {
    fn charge(&self, _: &str, bytes: usize) -> Result<MemoryCharge, String> {
        let outer = self.accounts.outer.as_ref();
        let outer = outer.map(|outer| outer.charge(&self.caller, bytes));
        let outer = outer.transpose()?;
        let mut usage = self.accounts.usage.lock();
        let all: usize = usage.values().map(|usage| usage.bytes).sum();
        let of_caller = usage.get(&self.caller).map_or(0, |usage| usage.bytes);
        let most = self.accounts.max_bytes;
        if all.saturating_add(bytes) > most || of_caller.saturating_add(bytes) > most / 2 {
            return Err(format!(
                "the peer connections of {} occupy {of_caller} bytes, those of all clients {all} \
                 of {most}",
                self.caller
            ));
        }
        usage.entry(self.caller.clone()).or_default().bytes += bytes;
        drop(usage);
        Ok(Box::new(Charge {
            accounts: Arc::clone(&self.accounts),
            caller: self.caller.clone(),
            bytes,
            _outer: outer,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_may_use_half_of_the_memory() {
        let accounts = Arc::new(Accounts::new(4, 100, None));
        let memory = |caller: &str| CallerMemory {
            accounts: Arc::clone(&accounts),
            caller: caller.to_owned(),
        };
        let (a, b, c) = (memory("ws/a"), memory("ws/b"), memory("ws/c"));
        // Another connection of a client has the same account.
        let held = (a.charge("x/1", 30), memory("ws/a").charge("x/2", 20));
        a.charge("x/3", 1).expect_err("a has half of the memory");
        let other = b.charge("x/1", 50).expect("there is room");
        c.charge("x/1", 1).expect_err("there is no room");
        drop(held);
        c.charge("x/1", 50).expect("there is room again");
        drop(other);
        assert!(accounts.usage.lock().is_empty());
    }
}
