//! Keeps the task queues of workspaces in memory.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use super::RegistryError;
use crate::memory::Charge;

/// Size that is counted for a task in addition to its string, in bytes. It covers the task's
/// entries in collections, and the charge of the task.
const TASK_BYTES: usize = 128;

/// Returns the size that is counted for a task, in bytes.
pub(crate) fn task_bytes(text: &str) -> usize {
    text.len() + TASK_BYTES
}

/// A task, with the charge of the user who has added the task.
struct Task {
    text: String,
    _charge: Charge,
}

/// The queues of one workspace, by name. Empty queues are removed.
#[derive(Default)]
struct Queues {
    by_name: HashMap<Box<str>, VecDeque<Task>>,
    bytes: usize,
}

#[derive(Default)]
pub(super) struct Tasks(Mutex<HashMap<Box<str>, Queues>>);

impl Tasks {
    /// Adds a task at the end of a queue. `max` limits the size of all tasks of the workspace, in
    /// bytes.
    pub(super) fn push(
        &self,
        workspace: &str,
        queue: &str,
        text: String,
        charge: Charge,
        max: usize,
    ) -> Result<(), RegistryError> {
        let mut all = self.0.lock();
        let inside = all.entry(workspace.into()).or_default();
        let bytes = task_bytes(&text);
        if inside.bytes + bytes > max {
            if inside.by_name.is_empty() {
                all.remove(workspace);
            }
            return Err(full(workspace, queue, bytes, max));
        }
        inside.bytes += bytes;
        let task = Task {
            text,
            _charge: charge,
        };
        let tasks = inside.by_name.entry(queue.into()).or_default();
        tasks.push_back(task);
        Ok(())
    }

    /// Removes and returns the first task of a queue.
    pub(super) fn pop(&self, workspace: &str, queue: &str) -> Option<String> {
        let mut all = self.0.lock();
        let inside = all.get_mut(workspace)?;
        let tasks = inside.by_name.get_mut(queue)?;
        let task = tasks.pop_front()?;
        if tasks.is_empty() {
            inside.by_name.remove(queue);
        }
        inside.bytes -= task_bytes(&task.text);
        if inside.by_name.is_empty() {
            all.remove(workspace);
        }
        Some(task.text)
    }

    pub(super) fn len(&self, workspace: &str, queue: &str) -> usize {
        let all = self.0.lock();
        let tasks = all
            .get(workspace)
            .and_then(|inside| inside.by_name.get(queue));
        tasks.map_or(0, VecDeque::len)
    }

    /// Returns up to `count` tasks from the front of a queue.
    pub(super) fn peek(&self, workspace: &str, queue: &str, count: usize) -> Vec<String> {
        let all = self.0.lock();
        let tasks = all
            .get(workspace)
            .and_then(|inside| inside.by_name.get(queue));
        let tasks = tasks.into_iter().flatten().take(count);
        tasks.map(|task| task.text.clone()).collect()
    }

    /// Removes the queues of a workspace.
    pub(super) fn remove(&self, workspace: &str) {
        let removed = self.0.lock().remove(workspace);
        // The charges of the tasks are released after the lock is released.
        drop(removed);
    }
}

/// Returns the error for a task that would exceed the limit.
pub(super) fn full(workspace: &str, queue: &str, bytes: usize, max: usize) -> RegistryError {
    RegistryError::QueueFull {
        queue: queue.to_owned(),
        workspace: workspace.to_owned(),
        bytes,
        max,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::memory::{Account, Budget, MemoryLimits};

    fn account() -> (Arc<Budget>, Account) {
        let budget = Budget::new(MemoryLimits {
            process: 1 << 20,
            owner: 1 << 20,
            account: 1 << 20,
            patience: Duration::ZERO,
        });
        let account = budget.open("ann");
        (budget, account)
    }

    #[test]
    fn tasks_are_returned_in_order_and_free_their_memory() {
        let (tasks, (budget, account)) = (Tasks::default(), account());
        let push = |workspace: &str, text: &str| {
            let charge = account.try_charge(task_bytes(text)).unwrap();
            tasks.push(workspace, "q", text.into(), charge, 300)
        };
        push("a", "1").unwrap();
        push("a", "2").unwrap();
        let error = push("a", "3").unwrap_err().to_string();
        assert!(error.contains("300 bytes"), "{error}");
        push("b", "4").unwrap();
        assert!(
            tasks
                .push("c", "q", "5".into(), account.try_charge(1).unwrap(), 1)
                .is_err()
        );
        assert_eq!((tasks.len("a", "q"), tasks.len("c", "q")), (2, 0));
        assert_eq!(tasks.peek("a", "q", 1), ["1"]);
        assert_eq!(tasks.pop("a", "q").as_deref(), Some("1"));
        push("a", "3").unwrap();
        assert_eq!(tasks.peek("a", "q", 9), ["2", "3"]);
        tasks.remove("a");
        assert_eq!(tasks.pop("a", "q"), None);
        assert_eq!(tasks.pop("b", "other"), None);
        assert_eq!(tasks.pop("b", "q").as_deref(), Some("4"));
        assert!(tasks.0.lock().is_empty());
        assert_eq!(budget.stats().used, 0);
    }
}
