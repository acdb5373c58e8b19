use futures_util::FutureExt;

use super::*;

fn budget() -> Arc<Budget> {
    Budget::new(MemoryLimits {
        // A large owner may charge 1000 bytes, because large owners may not use the reserve.
        process: 1066,
        owner: 600,
        account: 400,
        patience: Duration::from_secs(5),
    })
}

#[test]
fn a_charge_counts_on_every_level_until_it_is_dropped() {
    let budget = budget();
    let account = budget.open("ada");
    let charge = account.try_charge(300).unwrap();
    assert_eq!((account.used(), budget.stats().used), (300, 300));
    assert_eq!(budget.stats().owners, 1);
    drop(charge);
    assert_eq!((account.used(), budget.stats().used), (0, 0));
    assert_eq!(budget.stats().peak, 300);
    drop(account);
    assert_eq!(budget.stats().owners, 0);
    assert!(budget.owners.lock().is_empty());
}

#[test]
fn the_error_names_the_full_level_and_nothing_is_charged() {
    let budget = budget();
    let (first, second) = (budget.open("ada"), budget.open("ada"));
    let _held = first.try_charge(400).unwrap();
    let error = first.try_charge(1).err().unwrap();
    assert_eq!((error.level, error.limit), (Level::Account, 400));
    let error = second.try_charge(201).err().unwrap();
    assert_eq!((error.level, error.limit), (Level::Owner, 600));
    assert!(error.to_string().contains("`ada`"), "{error}");
    let _other = budget.open("bob").try_charge(400).unwrap();
    let error = budget.open("eve").try_charge(201).err().unwrap();
    assert_eq!((error.level, error.limit), (Level::Process, 1000));
    assert_eq!(budget.stats().used, 800);
    assert_eq!(budget.stats().refused, 3);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_account_waits_for_its_own_bytes() {
    let budget = budget();
    let account = budget.open("ada");
    let held = account.try_charge(400).unwrap();
    let mut waiting = std::pin::pin!(account.charge(100));
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(held);
    assert_eq!(waiting.await.unwrap().bytes(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_charge_fails_after_the_timeout() {
    let budget = budget();
    let account = budget.open("ada");
    let _held = account.try_charge(400).unwrap();
    assert_eq!(
        account.charge(100).await.err().unwrap().level,
        Level::Account
    );
    let never = account.charge(401).now_or_never();
    assert!(
        never.unwrap().is_err(),
        "the charge exceeds the limit of the account"
    );
}

#[tokio::test(start_paused = true)]
async fn the_largest_account_is_evicted_for_a_small_one() {
    let budget = budget();
    let (large, larger) = (budget.open("ada"), budget.open("bob"));
    let _one = large.try_charge(400).unwrap();
    let _two = budget.open("ada").try_charge(150).unwrap();
    let three = larger.try_charge(400).unwrap();
    let mut watched = std::pin::pin!(large.gives_way());
    assert!(watched.as_mut().now_or_never().is_none());

    let small = budget.open("eve");
    let mut waiting = std::pin::pin!(small.charge(100));
    assert!(waiting.as_mut().now_or_never().is_none());
    // `ada` has 550 bytes, more than `bob`.
    assert!(watched.now_or_never().is_some());
    assert!(larger.gives_way().now_or_never().is_none());
    drop(three);
    assert!(waiting.await.is_ok());
    assert_eq!(budget.stats().gave_way, 1);
}

#[test]
fn the_reserve_is_for_small_owners() {
    let budget = Budget::new(MemoryLimits {
        process: 256_000,
        owner: 256_000,
        account: 256_000,
        patience: Duration::from_secs(5),
    });
    let large = budget.open("ada");
    assert_eq!(large.try_charge(240_001).err().unwrap().limit, 240_000);
    let _most = large.try_charge(240_000).unwrap();
    let small = budget.open("bob");
    assert!(small.try_charge(1001).is_err());
    let _all = small.try_charge(1000).unwrap();
    assert!(small.try_charge(1).is_err());
    assert!(budget.open("eve").try_charge(1000).is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_overhead_reduces_the_budget_of_large_accounts() {
    let budget = budget();
    let (ada, bob) = (budget.open("ada"), budget.open("bob"));
    let _held = ada.try_charge(400).unwrap();
    budget.set_overhead(500);
    let error = bob.try_charge(200).err().unwrap();
    assert_eq!(error.level, Level::Process);
    let mut waiting = std::pin::pin!(bob.charge(200));
    assert!(waiting.as_mut().now_or_never().is_none());
    budget.set_overhead(100);
    let charge = waiting.await.unwrap();
    assert_eq!(budget.stats().overhead, 100);
    drop(charge);

    // Half of the budget stays for peers, however large the overhead is.
    budget.set_overhead(usize::MAX);
    assert!(bob.try_charge(60).is_ok());
    assert!(bob.try_charge(100).is_err());
    // Small owners have not caused the overhead.
    let _more = bob.try_charge(60).unwrap();
    let eve = budget.open("eve");
    assert!(eve.try_charge(4).is_ok());
    // The server counts as a small owner.
    assert!(budget.open(SERVER_OWNER).try_charge(200).is_ok());
}

#[tokio::test(start_paused = true)]
async fn large_accounts_that_wait_for_each_other_are_evicted_in_turn() {
    let budget = budget();
    let begun = Instant::now();
    let owners = ["ada", "bob", "cyd", "dan", "eve"].map(|name| budget.open(name));
    let holders = owners.map(|account| async move {
        let held = account.try_charge(200).unwrap();
        tokio::task::yield_now().await;
        let more = account.charge(150).await;
        drop(held);
        more.is_ok()
    });
    let went_on = futures_util::future::join_all(holders).await;
    assert!(went_on.contains(&true) && went_on.contains(&false));
    assert!(
        begun.elapsed() < budget.limits().patience,
        "every charge waits until the timeout"
    );
}

#[tokio::test(start_paused = true)]
async fn the_server_itself_is_never_evicted() {
    let budget = budget();
    let (own, ada) = (budget.open(SERVER_OWNER), budget.open("ada"));
    let _own = own.try_charge(400).unwrap();
    let _also = budget.open(SERVER_OWNER).try_charge(200).unwrap();
    let _large = ada.try_charge(300).unwrap();
    let (mut owns, mut adas) = (Box::pin(own.gives_way()), Box::pin(ada.gives_way()));
    assert!(owns.as_mut().now_or_never().is_none() && adas.as_mut().now_or_never().is_none());
    assert!(budget.open("eve").try_charge(200).is_err());
    assert!(owns.now_or_never().is_none());
    assert!(adas.now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_largest_owner_is_refused_without_an_eviction() {
    let budget = budget();
    let (ada, bob) = (budget.open("ada"), budget.open("bob"));
    let _one = ada.try_charge(400).unwrap();
    let _two = budget.open("ada").try_charge(200).unwrap();
    let _three = bob.try_charge(400).unwrap();
    assert!(budget.open("ada").try_charge(100).is_err());
    assert!(bob.gives_way().now_or_never().is_none());
}

#[tokio::test]
async fn a_charge_grows_and_shrinks() {
    let account = budget().open("ada");
    let mut charge = account.try_charge(100).unwrap();
    charge.try_grow(100).unwrap();
    charge.grow(100).await.unwrap();
    assert!(charge.try_grow(200).is_err());
    assert_eq!((charge.bytes(), account.used()), (300, 300));
    charge.shrink_to(50);
    assert_eq!((charge.bytes(), account.used()), (50, 50));
    drop(account.force_charge(1000));
    assert_eq!(account.used(), 50);
}
