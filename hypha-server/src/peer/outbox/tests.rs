use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::memory::{Budget, MemoryLimits};

const A: u64 = 1;
const B: u64 = 2;

fn frame(length: usize) -> Bytes {
    Bytes::from(vec![0; length])
}

fn budget(account: usize) -> Arc<Budget> {
    Budget::new(MemoryLimits {
        process: 1 << 30,
        owner: 1 << 30,
        account,
        patience: Duration::from_secs(10),
    })
}

fn outbox(capacity: usize) -> (Outbox, Queue) {
    Outbox::new(capacity, budget(1 << 29).open("receiver"))
}

async fn taken(queue: &mut Queue) -> Vec<(u64, usize)> {
    let mut batch = Vec::new();
    assert!(queue.take(&mut batch, 1000).await);
    let each = batch.iter();
    each.map(|q| (q.held.lane, q.held.cost - FRAME_OVERHEAD))
        .collect()
}

async fn blocks(sending: impl Future<Output = Result<(), Unsent>>) -> bool {
    let sent = tokio::time::timeout(Duration::from_secs(60), sending).await;
    sent.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_sender_waits_for_room_and_the_server_does_not() {
    let (outbox, mut queue) = outbox(4000);
    outbox.send(A, frame(700)).await.unwrap();
    outbox.send(A, frame(700)).await.unwrap();
    assert!(
        blocks(outbox.send(A, frame(700))).await,
        "the share of the lane is full"
    );
    outbox.push(frame(800)).unwrap();
    assert_eq!(taken(&mut queue).await.len(), 3);
    outbox.send(A, frame(700)).await.unwrap();
    let lanes = outbox.shared.lanes.lock();
    assert_eq!((lanes.own, lanes.lanes.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_small_frame_passes_a_lane_that_has_filled_its_share() {
    let (outbox, mut queue) = outbox(2 << 20);
    while let Ok(None) = outbox.queue_now(A, Outgoing::Binary(frame(100_000).into())) {}
    assert!(blocks(outbox.send(A, frame(100_000))).await);
    outbox.send(B, frame(100)).await.unwrap();
    // The small frame does not wait until all earlier frames are sent.
    let first = taken(&mut queue).await;
    assert!(first.contains(&(B, 100)), "{first:?}");
}

#[tokio::test(start_paused = true)]
async fn lanes_take_turns_by_bytes_and_keep_their_order() {
    let (outbox, mut queue) = outbox(8 << 20);
    for _ in 0..12 {
        outbox.send(A, frame(60_000)).await.unwrap();
    }
    for number in 0..60 {
        outbox.send(B, frame(10_000 + number)).await.unwrap();
    }
    let mut order = Vec::new();
    while order.len() < 72 {
        order.extend(taken(&mut queue).await);
    }
    let sizes: Vec<_> = order.iter().filter(|(lane, _)| *lane == B).collect();
    assert!(sizes.is_sorted(), "the order of one sender has changed");
    // In the first half, both senders have sent about the same number of bytes.
    let half: Vec<_> = order.iter().take(36).collect();
    let bytes = |of: u64| -> usize {
        let own = half.iter().filter(|(lane, _)| *lane == of);
        own.map(|(_, bytes)| bytes).sum()
    };
    assert!(bytes(A).abs_diff(bytes(B)) <= 2 * QUANTUM, "{half:?}");
}

#[tokio::test]
async fn an_event_about_a_sender_does_not_overtake_its_frames() {
    let (outbox, mut queue) = outbox(8 << 20);
    outbox.send(A, frame(900_000)).await.unwrap();
    outbox.send(A, frame(900_000)).await.unwrap();
    outbox.push_behind(A, frame(1)).unwrap();
    outbox.push(frame(2)).unwrap();
    let mut order = Vec::new();
    while order.len() < 4 {
        order.extend(taken(&mut queue).await);
    }
    let of_a: Vec<_> = order.iter().filter(|(lane, _)| *lane == A).collect();
    assert_eq!(of_a, [&(A, 900_000), &(A, 900_000), &(A, 1)]);
}

#[tokio::test]
async fn a_frame_larger_than_the_queue_passes_alone() {
    let (outbox, mut queue) = outbox(1000);
    outbox.send(A, frame(50_000)).await.unwrap();
    assert_eq!(taken(&mut queue).await.len(), 1);
    outbox.send(A, frame(10)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn frames_larger_than_the_queue_come_one_at_a_time() {
    let budget = budget(1 << 29);
    let (outbox, mut queue) = Outbox::new(10_000, budget.open("receiver"));
    let outbox = Arc::new(outbox);
    let senders: Vec<_> = (1..10)
        .map(|sender| {
            let outbox = outbox.clone();
            tokio::spawn(async move { outbox.send(sender, frame(1_000_000)).await })
        })
        .collect();
    for _ in 1..10 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(
            budget.stats().used < 1_100_000,
            "the receiver is charged for the memory"
        );
        // Small frames need not wait.
        outbox.send(77, frame(100)).await.unwrap();
        assert_eq!(taken(&mut queue).await.len(), 2);
    }
    for sender in senders {
        sender.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn all_waiting_senders_are_served() {
    let (outbox, mut queue) = outbox(10_000);
    let outbox = Arc::new(outbox);
    let senders: Vec<_> = (1..200)
        .map(|sender| {
            let outbox = outbox.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    outbox.send(sender, frame(1500)).await?;
                }
                Ok::<_, Unsent>(())
            })
        })
        .collect();
    let mut count = 0;
    while count < 199 * 5 {
        let next = tokio::time::timeout(Duration::from_secs(1), taken(&mut queue)).await;
        count += next.expect("nobody goes on").len();
    }
    for sender in senders {
        sender.await.unwrap().unwrap();
    }
    let lanes = outbox.shared.lanes.lock();
    assert_eq!((lanes.room, lanes.small, lanes.lanes.len()), (0, 0, 0));
}

#[tokio::test]
async fn queued_frames_are_charged_to_the_receiver() {
    let budget = budget(1 << 29);
    let (outbox, mut queue) = Outbox::new(2 << 20, budget.open("receiver"));
    outbox.send(A, frame(1000)).await.unwrap();
    assert_eq!(budget.stats().used, 0, "covered by the standing charge");
    for _ in 0..100 {
        outbox.send(A, frame(1000)).await.unwrap();
    }
    assert!(budget.stats().used >= 100_000);
    outbox.send(B, frame(300_000)).await.unwrap();
    assert!(budget.stats().used >= 400_000);
    while outbox.shared.lanes.lock().room > 0 {
        taken(&mut queue).await;
    }
    assert_eq!(budget.stats().used, 0);
    outbox.send(B, frame(300_000)).await.unwrap();
    drop(queue);
    assert_eq!(budget.stats().used, 0);
    assert_eq!(outbox.send(A, frame(1)).await, Err(Unsent::Disconnected));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_without_memory_refuses_peers_and_is_closed_by_the_server() {
    let (outbox, queue) = Outbox::new(8 << 20, budget(1 << 20).open("receiver"));
    outbox.send(A, frame(900_000)).await.unwrap();
    let refused = outbox.send(B, frame(900_000)).await;
    assert!(matches!(refused, Err(Unsent::OverBudget(_))), "{refused:?}");
    // A small frame is still accepted.
    while outbox.push(frame(10_000)).is_ok() {}
    let order = queue.closed().await;
    assert_eq!((order.code, order.error_frame), (1013, true));
    assert!(order.reason.contains("memory limit"), "{}", order.reason);
    assert_eq!(outbox.send(A, frame(1)).await, Err(Unsent::Disconnected));
}

#[tokio::test]
async fn an_offer_without_room_is_dropped() {
    let (outbox, mut queue) = outbox(4000);
    outbox.offer(A, frame(800)).unwrap();
    while outbox.offer(A, frame(800)).is_ok() {}
    assert_eq!(outbox.offer(A, frame(800)), Err(NoRoom));
    taken(&mut queue).await;
    outbox.offer(A, frame(800)).unwrap();
}

#[tokio::test]
async fn closing_fails_the_waiting_senders() {
    let (outbox, queue) = outbox(1000);
    let outbox = Arc::new(outbox);
    outbox.send(A, frame(1000)).await.unwrap();
    let waiting = tokio::spawn({
        let outbox = outbox.clone();
        async move {
            outbox.send(A, frame(1000)).await?;
            outbox.send(A, frame(1000)).await
        }
    });
    tokio::task::yield_now().await;
    outbox.close(CloseOrder::new(1001, "bye"));
    assert_eq!(waiting.await.unwrap(), Err(Unsent::Disconnected));
    assert_eq!(queue.closed().await.reason, "bye");
}

#[tokio::test]
async fn the_queue_ends_when_its_outbox_is_dropped() {
    let (outbox, mut queue) = outbox(1000);
    outbox.send(A, frame(10)).await.unwrap();
    drop(outbox);
    assert_eq!(taken(&mut queue).await, [(A, 10)]);
    assert!(!queue.take(&mut Vec::new(), 1).await);
}
