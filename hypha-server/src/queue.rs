//! Implements the service `public/queue`: task queues with which the clients of a workspace share
//! work.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hypha_rpc::service::{IntoService, Service};
use hypha_rpc::workspace::{ManagerError, Permission, Visibility};
use hypha_rpc::{Context, Value, hypha_service};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::registry::{RegistryError, task_bytes};
use crate::shares::Slots;
use crate::shown::shown;
use crate::state::State;

/// Maximum time that a call waits for a task.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Interval at which a waiting call checks whether other servers have added tasks.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Memory charged for a waiting call, in bytes: the tokio task and the slot of the call.
const WAIT_BYTES: usize = 4096;
/// Maximum length of the name of a queue, in bytes.
const NAME_MAX: usize = 128;
/// Maximum number of tasks that `peek` returns.
const PEEK_MAX: usize = 100;

type Answer<T> = Result<T, ManagerError>;

/// Returns the service `queue`.
pub(crate) fn service(state: &Arc<State>) -> Service {
    let limits = &state.settings.limits;
    let queue = TaskQueue {
        state: Arc::downgrade(state),
        slots: Slots::new(limits.task_waits_per_client, limits.task_waits),
        arrivals: Mutex::default(),
    };
    queue
        .into_service()
        .name("Task Queue Service")
        .description("Queues of tasks, by which the clients of a workspace share work.")
        .visibility(Visibility::Public)
}

/// A workspace and the name of a queue.
type Key = (String, String);

struct TaskQueue {
    // The reference is weak, because the state owns the client, and the client owns this service.
    state: Weak<State>,
    /// Slots of the waiting calls.
    slots: Arc<Slots>,
    /// For each queue, wakes the calls that wait for a task. A queue without waiting calls has no
    /// entry.
    arrivals: Mutex<HashMap<Key, Arc<Notify>>>,
}

/// Keeps the entry of a queue in `arrivals`. When the last call that waits for the queue ends,
/// removes the entry.
struct Arrival<'a> {
    queue: &'a TaskQueue,
    key: Key,
    notify: Arc<Notify>,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let mut arrivals = self.queue.arrivals.lock();
        // If only two references are left, they are `self.notify` and the reference in the map. No
        // other call then waits for this key.
        if Arc::strong_count(&self.notify) <= 2 {
            arrivals.remove(&self.key);
        }
    }
}

impl TaskQueue {
    fn state(&self) -> Answer<Arc<State>> {
        let state = self.state.upgrade();
        state.ok_or_else(|| ManagerError::Runtime("the server is shutting down".into()))
    }

    fn arrival(&self, key: Key) -> Arrival<'_> {
        let notify = self.arrivals.lock().entry(key.clone()).or_default().clone();
        Arrival {
            queue: self,
            key,
            notify,
        }
    }

    async fn pop_now(&self, workspace: &str, queue: &str) -> Answer<Option<Value>> {
        let state = self.state()?;
        let text = state.registry.pop_task(workspace, queue).await;
        text.map_err(failed)?.map(|text| read(&text)).transpose()
    }
}

fn failed(error: RegistryError) -> ManagerError {
    ManagerError::Runtime(error.to_string())
}

fn read(text: &str) -> Answer<Value> {
    serde_json::from_str(text).map_err(|error| {
        ManagerError::Value(format!("a task in the queue cannot be read: {error}"))
    })
}

/// Checks that the name of a queue is valid.
fn check(name: &str) -> Answer<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let begins = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !begins || name.len() > NAME_MAX || !name.bytes().all(is_plain) {
        return Err(ManagerError::Value(format!(
            "Invalid queue name: '{}'. Queue names must be 1-128 characters, start with \
             alphanumeric, and contain only alphanumeric, hyphens, underscores, and dots.",
            shown(name)
        )));
    }
    Ok(())
}

/// Returns the workspace of the caller. Fails if the caller may not read in this workspace.
fn workspace(ctx: &Context) -> Answer<&str> {
    let workspace = ctx.workspace();
    if !ctx.user().may(Permission::Read, workspace) {
        return Err(ManagerError::Permission(format!(
            "Permission denied for the queues of workspace {workspace}"
        )));
    }
    Ok(workspace)
}

/// Returns whether JSON can represent a value without loss.
fn is_json(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::String(_) => true,
        Value::Float(number) => number.is_finite(),
        Value::List(items) => items.iter().all(is_json),
        Value::Map(map) => map.values().all(is_json),
        _ => false,
    }
}

#[hypha_service(id = "queue")]
impl TaskQueue {
    /// Adds a task at the end of a queue in the caller's workspace.
    pub(crate) async fn push(
        &self,
        ctx: &Context,
        /// Name of the queue.
        queue_name: String,
        /// The task: any value that JSON can represent.
        task: Value,
    ) -> Answer<()> {
        check(&queue_name)?;
        let workspace = workspace(ctx)?;
        let state = self.state()?;
        if !is_json(&task) {
            return Err(ManagerError::Type(
                "argument `task` of `queue.push`: expected a value that JSON can represent".into(),
            ));
        }
        let text = serde_json::to_string(&task);
        let text = text.map_err(|error| ManagerError::Value(error.to_string()))?;
        let limits = &state.settings.limits;
        if text.len() > limits.task_bytes {
            state.counters.tasks_refused.add();
            return Err(ManagerError::Value(format!(
                "argument `task` of `queue.push`: {} bytes of JSON are more than {}",
                text.len(),
                limits.task_bytes
            )));
        }
        let account = state.memory.open(&state.account_owner(ctx));
        let charge = account.charge(task_bytes(&text)).await;
        let charge = charge.map_err(|error| {
            state.counters.tasks_refused.add();
            ManagerError::Runtime(format!("`queue.push`: {error}"))
        })?;
        let max = limits.workspace_tasks_bytes;
        let pushed = state
            .registry
            .push_task(workspace, &queue_name, text, charge, max)
            .await;
        pushed.map_err(|error| {
            if matches!(error, RegistryError::QueueFull { .. }) {
                state.counters.tasks_refused.add();
            }
            failed(error)
        })?;
        let arrivals = self.arrivals.lock();
        if let Some(arrival) = arrivals.get(&(workspace.to_owned(), queue_name)) {
            arrival.notify_one();
        }
        Ok(())
    }

    /// Removes and returns the first task of a queue in the caller's workspace. Returns null if no
    /// task arrives before the timeout, and for a task that is null itself.
    pub(crate) async fn pop(
        &self,
        ctx: &Context,
        /// Name of the queue.
        queue_name: String,
        /// Time to wait for a task in seconds, at most 300. 0 returns immediately.
        #[hypha(default = 30.0)]
        timeout: f64,
    ) -> Answer<Option<Value>> {
        check(&queue_name)?;
        let workspace = workspace(ctx)?;
        if let Some(task) = self.pop_now(workspace, &queue_name).await? {
            return Ok(Some(task));
        }
        let limit = Duration::try_from_secs_f64(timeout).unwrap_or_default();
        if limit.is_zero() {
            return Ok(None);
        }
        let state = self.state()?;
        let deadline = Instant::now() + limit.min(WAIT_MAX);
        let account = state.memory.open(&state.account_owner(ctx));
        let charge = account.try_charge(WAIT_BYTES);
        let _charge =
            charge.map_err(|error| ManagerError::Runtime(format!("`queue.pop`: {error}")))?;
        let (mut slot, displaced) = self.slots.take(account.owner());
        if displaced {
            state.counters.displaced_task_waits.add();
        }
        let has_others = state.router.bus().has_others();
        let stopped = state.shutdown.stopped();
        let mut stopped = std::pin::pin!(stopped);
        let arrival = self.arrival((workspace.to_owned(), queue_name.clone()));
        loop {
            // Check the queue again after the entry exists. A task that arrived before the entry
            // existed has notified nobody.
            if let Some(task) = self.pop_now(workspace, &queue_name).await? {
                return Ok(Some(task));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            let look = match has_others {
                true => deadline.min(Instant::now() + POLL_INTERVAL),
                false => deadline,
            };
            tokio::select! {
                _ = timeout_at(look, arrival.notify.notified()) => {}
                () = slot.evicted() => return Err(ManagerError::Runtime(
                    "`queue.pop` was evicted by newer calls: too many calls wait for a task".into(),
                )),
                () = state.departure(ctx) => return Ok(None),
                () = &mut stopped => return Ok(None),
            }
        }
    }

    /// Returns the number of tasks in a queue of the caller's workspace.
    pub(crate) async fn get_length(
        &self,
        ctx: &Context,
        /// Name of the queue.
        queue_name: String,
    ) -> Answer<usize> {
        check(&queue_name)?;
        let state = self.state()?;
        let count = state.registry.count_tasks(workspace(ctx)?, &queue_name);
        count.await.map_err(failed)
    }

    /// Returns the first tasks of a queue in the caller's workspace without removing them.
    pub(crate) async fn peek(
        &self,
        ctx: &Context,
        /// Name of the queue.
        queue_name: String,
        /// Maximum number of tasks to return, at most 100.
        #[hypha(default = 1)]
        n: usize,
    ) -> Answer<Vec<Value>> {
        check(&queue_name)?;
        let state = self.state()?;
        let (workspace, count) = (workspace(ctx)?, n.clamp(1, PEEK_MAX));
        let tasks = state.registry.peek_tasks(workspace, &queue_name, count);
        let tasks = tasks.await.map_err(failed)?;
        tasks.iter().map(|task| read(task)).collect()
    }
}
