//! Tests the blocking API, with services in the same process.

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::sync::mpsc;
use std::time::Duration;

use hypha_rpc::call::Object;
use hypha_rpc::error::{ErrorKind, RejectKind};
use hypha_rpc::prelude::*;
use hypha_rpc::testing::in_process;

/// Error type of [`Desk`].
#[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum DeskError {
    /// The divisor is zero.
    #[error("division by zero")]
    DivisionByZero,
}

/// A contract whose methods are not async.
#[hypha_service]
trait Desk {
    /// Divide one number by another.
    fn divide(&self, a: f64, #[hypha(default = 2.0)] b: f64) -> Result<f64, DeskError>;

    /// Name the caller.
    fn greet(&self, ctx: &Context, name: &str) -> String;

    /// Name the thread.
    fn thread(&self) -> String;

    /// Call a function for each number.
    fn each(&self, numbers: Vec<u32>, run: Callback<u32, u32, String>) -> Result<u32, String>;

    /// Count.
    fn count(&self, to: u32) -> RemoteStream<u32>;

    /// Add numbers.
    fn sum(&self, numbers: RemoteStream<u32>) -> Result<u32, String>;

    /// Return a file with this content.
    fn file(&self, content: Vec<u8>) -> RemoteFile;

    /// Read a file.
    fn content(&self, file: RemoteFile) -> anyhow::Result<String>;

    /// Wait for the other side of a channel.
    fn wait_for_test(&self);

    /// Return an object.
    fn counter(&self) -> Object<CounterProxy>;

    /// Panic.
    fn panic(&self) {
        panic!("asked to")
    }
}

#[hypha_service]
trait Counter {
    /// Count calls.
    fn next(&self) -> u32;
}

#[derive(Default)]
struct Calls(std::sync::atomic::AtomicU32);

impl Counter for Calls {
    fn next(&self) -> u32 {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

struct Plain {
    gate: std::sync::Mutex<mpsc::Receiver<()>>,
}

impl Desk for Plain {
    fn divide(&self, a: f64, b: f64) -> Result<f64, DeskError> {
        if b == 0.0 {
            return Err(DeskError::DivisionByZero);
        }
        Ok(a / b)
    }

    fn greet(&self, ctx: &Context, name: &str) -> String {
        format!("{name} in {}", ctx.workspace())
    }

    fn thread(&self) -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    fn each(&self, numbers: Vec<u32>, run: Callback<u32, u32, String>) -> Result<u32, String> {
        let mut sum = 0;
        for number in numbers {
            // The service calls a function of the caller, and waits for the result.
            sum += run.call(number).wait().map_err(|e| e.to_string())?;
        }
        Ok(sum)
    }

    fn count(&self, to: u32) -> RemoteStream<u32> {
        RemoteStream::from_blocking_iter((0..to).inspect(|_| {
            assert!(
                tokio::task::try_id().is_some(),
                "not on a thread of the runtime"
            );
            std::thread::sleep(Duration::from_micros(10));
        }))
    }

    fn sum(&self, mut numbers: RemoteStream<u32>) -> Result<u32, String> {
        let mut sum = 0;
        for number in &mut numbers {
            sum += number.map_err(|e| e.to_string())?;
        }
        Ok(sum)
    }

    fn file(&self, content: Vec<u8>) -> RemoteFile {
        RemoteFile::from_blocking_reader(Cursor::new(content))
    }

    fn content(&self, mut file: RemoteFile) -> anyhow::Result<String> {
        let mut content = String::new();
        file.read_to_string(&mut content)?;
        Ok(content)
    }

    fn wait_for_test(&self) {
        let _ = self.gate.lock().expect("no panic").recv();
    }

    fn counter(&self) -> Object<CounterProxy> {
        Object::new(CounterService::new(Calls::default()))
    }
}

/// Starts the service. Dropping the sender makes `wait_for_test` return.
fn desk() -> (DeskProxy, mpsc::Sender<()>) {
    let (open, gate) = mpsc::channel();
    let gate = std::sync::Mutex::new(gate);
    let desk = in_process(DeskService::new(Plain { gate })).wait();
    (desk.expect("starts"), open)
}

#[test]
fn calls_wait_for_their_results() {
    let (desk, _gate) = desk();
    assert_eq!(desk.divide(1.0, 4.0).wait().unwrap(), 0.25);
    let half: f64 = desk
        .service()
        .call("divide", hypha_rpc::args!(1))
        .wait()
        .unwrap();
    assert_eq!(half, 0.5);
    let error = desk.divide(1.0, 0.0).wait().unwrap_err();
    assert!(
        matches!(error, Error::Service(DeskError::DivisionByZero)),
        "{error}"
    );
    assert_eq!(desk.greet("Ada").wait().unwrap(), "Ada in test");
    let error = desk.panic().wait().unwrap_err().to_string();
    assert!(error.contains("desk.panic panicked: asked to"), "{error}");
    let missing = desk.service().call::<()>("missing", hypha_rpc::args!());
    let error = missing.wait().unwrap_err();
    assert!(
        matches!(&error, Error::Rejected(e) if e.kind == RejectKind::UnknownMethod),
        "{error}"
    );
    desk.greet("nobody").blocking_send().unwrap();
}

#[test]
fn blocking_methods_run_on_blocking_threads() {
    let (desk, gate) = desk();
    assert_eq!(desk.thread().wait().unwrap(), "hypha-blocking");
    // Block more methods than the runtime has worker threads.
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let desk = desk.clone();
            std::thread::spawn(move || desk.wait_for_test().wait())
        })
        .collect();
    // The service still responds to other calls.
    assert_eq!(desk.divide(1.0, 1.0).wait().unwrap(), 1.0);
    drop(gate);
    for thread in waiting {
        thread.join().unwrap().unwrap();
    }
}

#[test]
fn a_wait_ends_with_the_timeout_of_its_call() {
    let (desk, gate) = desk();
    let limit = Duration::from_millis(20);
    let error = desk.wait_for_test().timeout(limit).wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("desk.wait_for_test"), "{error}");
    drop(gate);
    assert_eq!(desk.divide(1.0, 1.0).wait().unwrap(), 1.0);
}

#[test]
fn callbacks_are_plain_closures() {
    let (desk, _gate) = desk();
    let (seen, numbers) = mpsc::channel();
    let mut count = 0;
    let run = Callback::try_blocking(move |number: u32| {
        count += 1;
        seen.send((count, number)).map_err(|e| e.to_string())?;
        if number == 9 {
            Err("nine".to_owned())
        } else {
            Ok(2 * number)
        }
    });
    assert_eq!(desk.each(vec![1, 2, 3], run.clone()).wait().unwrap(), 12);
    assert_eq!(
        numbers.try_iter().collect::<Vec<_>>(),
        [(1, 1), (2, 2), (3, 3)]
    );
    let error = desk.each(vec![9], run).wait().unwrap_err().to_string();
    assert!(error.contains("nine"), "{error}");
    let panics = Callback::<u32, u32>::blocking(|_| panic!("asked to"));
    let panics = Callback::from_function(panics.function().clone());
    let error = desk.each(vec![1], panics).wait().unwrap_err().to_string();
    assert!(error.contains("panicked: asked to"), "{error}");
}

#[test]
fn calls_of_a_blocking_callback_keep_their_order() {
    let (seen, numbers) = mpsc::channel();
    let note = Callback::<u32>::blocking(move |number| {
        if number == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = seen.send(number);
    });
    /// Calls the callback `to` the given number of times without waiting for responses.
    struct Sender(u32);

    #[hypha_service]
    impl Sender {
        pub fn send(&self, to: Callback<u32>) -> Result<(), Error> {
            for number in 0..self.0 {
                to.call(number).blocking_send()?;
            }
            to.call(self.0).wait()
        }
    }

    let sender = in_process(Sender(20)).wait().unwrap();
    sender.send(note).wait().unwrap();
    assert_eq!(
        numbers.try_iter().collect::<Vec<_>>(),
        (0..=20).collect::<Vec<_>>()
    );
}

#[test]
fn streams_are_iterators() {
    let (desk, _gate) = desk();
    let mut numbers = desk.count(50).wait().unwrap();
    let first: Result<Vec<u32>, Error> = (&mut numbers).into_iter().take(3).collect();
    assert_eq!(first.unwrap(), [0, 1, 2]);
    let rest: Result<Vec<u32>, Error> = numbers.into_iter().collect();
    assert_eq!(rest.unwrap(), (3..50).collect::<Vec<_>>());

    let (give, received) = mpsc::channel::<u32>();
    let mut items = RemoteStream::<u32>::from_blocking_iter(received).into_iter();
    let limit = Duration::from_millis(5);
    let late = items.next_within(limit).unwrap().unwrap_err();
    assert_eq!(late.to_string(), "a stream: no response within 5ms");
    give.send(7).unwrap();
    assert_eq!(items.next().unwrap().unwrap(), 7);
    drop(give);
    assert!(items.next_within(Duration::from_secs(30)).is_none());

    let numbers = RemoteStream::from_iter([1, 2, 3]);
    assert_eq!(desk.sum(numbers).wait().unwrap(), 6);
    let panics = (0..).inspect(|number| assert!(*number < 2, "asked to"));
    let error = desk.sum(RemoteStream::from_blocking_iter(panics)).wait();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("asked to"), "{error}");
}

#[test]
fn files_have_the_traits_of_the_standard_library() {
    let (desk, _gate) = desk();
    let content: Vec<u8> = (0..600_000_u32).map(|n| n as u8).collect();
    let mut file = desk.file(content.clone()).wait().unwrap();
    let mut received = Vec::new();
    file.read_to_end(&mut received).unwrap();
    assert!(received == content);

    let mut file = RemoteFile::from_bytes("0123456789");
    assert_eq!(file.seek(SeekFrom::Start(4)).unwrap(), 4);
    let mut three = [0; 3];
    file.read_exact(&mut three).unwrap();
    assert_eq!(&three, b"456");
    let refused = file.write_all(b"x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
    assert_eq!(
        desk.content(RemoteFile::from_bytes("text")).wait().unwrap(),
        "text"
    );
}

#[test]
fn files_of_this_machine_are_read_and_written() {
    let path = std::env::temp_dir().join(format!("hypha-blocking-{}", std::process::id()));
    let options = std::fs::File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut file = RemoteFile::from_std(options);
    file.write_all(b"a file").unwrap();
    file.flush().unwrap();
    file.rewind().unwrap();
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    file.blocking_close().unwrap();
    let opened = RemoteFile::blocking_open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!((content.as_str(), opened.size()), ("a file", Some(6)));
}

#[test]
fn objects_are_called_without_async() {
    let (desk, _gate) = desk();
    let counter = desk.counter().wait().unwrap();
    let proxy = counter.proxy();
    assert_eq!(proxy.next().wait().unwrap(), 0);
    assert_eq!(proxy.next().wait().unwrap(), 1);
    counter.blocking_dispose().unwrap();
    let own = Object::<CounterProxy>::new(CounterService::new(Calls::default()));
    assert_eq!(own.proxy().next().wait().unwrap(), 0);
}

#[test]
fn functions_of_this_program_are_called() {
    let double = Function::blocking(|call| {
        let n: i64 = call.args(&["n"])?.required(0)?;
        call.reply(&(2 * n))
    });
    assert_eq!(double.call::<i64>(hypha_rpc::args!(4)).wait().unwrap(), 8);
}

#[tokio::test]
async fn a_wait_on_a_thread_of_a_runtime_is_an_error() {
    let (desk, _gate) = tokio::task::spawn_blocking(desk).await.unwrap();
    let error = desk.divide(1.0, 4.0).wait().unwrap_err().to_string();
    assert_eq!(
        error,
        "`wait` of desk.divide would block a thread of a tokio runtime: use `.await` there, or run \
         it in `tokio::task::spawn_blocking`"
    );
    // An asynchronous call still works with the same proxy.
    assert_eq!(desk.divide(1.0, 4.0).await.unwrap(), 0.25);
    let error = in_process(CounterService::new(Calls::default())).wait();
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    let mut items = RemoteStream::<u32>::from_iter([1]).into_iter();
    assert_eq!(
        items.next().unwrap().unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert!(items.next().is_none());
    let error = RemoteFile::from_bytes("x").read(&mut [0]).unwrap_err();
    assert!(error.to_string().contains("`AsyncReadExt`"), "{error}");
    let error = hypha_rpc::blocking::connect("http://127.0.0.1:9").unwrap_err();
    assert!(
        error.to_string().contains("`hypha_rpc::connect(..).await`"),
        "{error}"
    );
    let waits = tokio::task::spawn_blocking(move || desk.divide(1.0, 4.0).wait());
    assert_eq!(waits.await.unwrap().unwrap(), 0.25);
}

#[test]
fn async_services_cannot_wait_in_methods() {
    struct Mixed;

    #[hypha_service]
    impl Mixed {
        pub async fn waits(&self, run: Callback<u32>) -> String {
            run.call(1).wait().unwrap_err().to_string()
        }
    }

    let mixed = in_process(Mixed).wait().unwrap();
    let error = mixed.waits(Callback::blocking(|_| ())).wait().unwrap();
    assert!(error.contains("would block a thread"), "{error}");
}

#[test]
fn connect_errors_equal_those_of_the_async_api() {
    let error = hypha_rpc::blocking::connect("nonsense").unwrap_err();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let other = runtime.block_on(async { hypha_rpc::connect("nonsense").await });
    assert_eq!(error.to_string(), other.unwrap_err().to_string());
}
