//! Tests task queues, through which the clients of a workspace share work.

use anyhow::{Context as _, Result};
use hypha_rpc::{Client, RemoteService, Value, args};
use hypha_server::Server;
use serde_json::json;

use crate::support::{self, server_with};

async fn queue(client: &Client) -> Result<RemoteService> {
    Ok(client.get_service("public/queue").await?)
}

fn task(number: i64) -> Value {
    Value::from(json!({"number": number, "more": ["x", null, 0.5]}))
}

async fn push(queue: &RemoteService, name: &str, task: Value) -> Result<(), String> {
    let pushed = queue.call::<Value>("push", args!(name, task)).await;
    pushed.map(drop).map_err(|error| error.to_string())
}

async fn pop(queue: &RemoteService, name: &str, timeout: f64) -> Result<Value> {
    let popped = queue.call("pop", args!(queue_name = name, timeout = timeout));
    Ok(popped.await?)
}

/// Connects another client to the workspace of `client`.
async fn colleague(server: &Server, client: &Client) -> Result<Client> {
    let token = client.manager().await?.generate_token(None).await?;
    let connecting = hypha_rpc::connect(server.url()).token(token);
    Ok(connecting.workspace(client.workspace()).await?)
}

#[tokio::test]
async fn the_clients_of_a_workspace_share_tasks() -> Result<()> {
    let server = support::server().await?;
    let boss = hypha_rpc::connect(server.url()).await?;
    let worker = colleague(&server, &boss).await?;
    let stranger = hypha_rpc::connect(server.url()).await?;
    let give = queue(&boss).await?;
    let (take, other) = (queue(&worker).await?, queue(&stranger).await?);

    assert_eq!(pop(&take, "q", 0.0).await?, Value::Null);
    assert_eq!(pop(&take, "q", 0.02).await?, Value::Null);
    for number in 1..=3 {
        push(&give, "q", task(number))
            .await
            .map_err(anyhow::Error::msg)?;
    }
    let length = async |queue: &RemoteService| -> Result<usize> {
        Ok(queue.call("get_length", args!(queue_name = "q")).await?)
    };
    assert_eq!((length(&take).await?, length(&other).await?), (3, 0));
    assert_eq!(pop(&other, "q", 0.0).await?, Value::Null);
    let first: Vec<Value> = take.call("peek", args!("q")).await?;
    assert_eq!(first, [task(1)]);
    let first: Vec<Value> = take.call("peek", args!("q", n = 2)).await?;
    assert_eq!(first, [task(1), task(2)]);
    for number in 1..=3 {
        assert_eq!(pop(&take, "q", 0.0).await?, task(number));
    }
    assert_eq!(length(&take).await?, 0);

    // Each waiting call gets one task.
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let take = take.clone();
            tokio::spawn(async move { pop(&take, "q", 20.0).await })
        })
        .collect();
    let mut got = Vec::new();
    for number in 1..=4 {
        push(&give, "q", task(number))
            .await
            .map_err(anyhow::Error::msg)?;
    }
    for one in waiting {
        got.push(one.await??);
    }
    for number in 1..=4 {
        assert!(got.contains(&task(number)), "{got:?}");
    }
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn a_task_is_any_value_that_json_can_represent() -> Result<()> {
    let server = support::server().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let queue = queue(&client).await?;
    let tasks = [
        json!("text"),
        json!(5),
        json!(-0.5),
        json!(true),
        json!([1, "x", null]),
        json!(null),
        json!({}),
    ];
    for task in &tasks {
        let pushed = push(&queue, "q", Value::from(task.clone())).await;
        pushed.map_err(anyhow::Error::msg)?;
    }
    let listed: Vec<Value> = queue.call("peek", args!("q", n = 100)).await?;
    assert_eq!(listed, tasks.clone().map(Value::from));
    for task in tasks {
        assert_eq!(pop(&queue, "q", 0.0).await?, Value::from(task));
    }
    assert_eq!(queue.call::<usize>("get_length", args!("q")).await?, 0);
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn tasks_are_limited_and_removed_with_their_workspace() -> Result<()> {
    let server = server_with(|limits| {
        limits.task_bytes = 1000;
        limits.workspace_tasks_bytes = 10_000;
        limits.task_waits_per_client = 1;
    })
    .await?;
    let client = hypha_rpc::connect(server.url()).reconnect(None).await?;
    let queue = queue(&client).await?;
    let text = |length: usize| Value::from(json!({"text": "x".repeat(length)}));
    let large = push(&queue, "q", text(1000))
        .await
        .err()
        .context("too large")?;
    assert!(large.contains("are more than 1000"), "{large}");
    let no_json = Value::from(hypha_rpc::Map::from_iter([(
        "bytes".to_owned(),
        Value::Bytes(bytes::Bytes::from_static(b"x")),
    )]));
    let no_json = push(&queue, "q", no_json).await.err().context("no JSON")?;
    assert!(
        no_json.contains("a value that JSON can represent"),
        "{no_json}"
    );
    let not_finite = push(&queue, "q", Value::Float(f64::NAN)).await;
    assert!(not_finite.is_err_and(|error| error.contains("`task` of `queue.push`")));
    let large = push(&queue, "q", Value::from("x".repeat(999))).await;
    assert!(large.is_err_and(|error| error.contains("are more than 1000")));
    for name in ["", "-q", "a b", "a/b", &"x".repeat(129)] {
        let refused = push(&queue, name, task(1)).await;
        let refused = refused.err().context("no name")?;
        assert!(refused.contains("Invalid queue name"), "{refused}");
    }
    let before = server.stats().memory_used;
    let full = loop {
        if let Err(full) = push(&queue, "q", text(900)).await {
            break full;
        }
    };
    assert!(
        full.contains("limit of 10000 bytes for all tasks"),
        "{full}"
    );
    let other = push(&queue, "other", text(900)).await;
    assert!(other.is_err(), "the limit is for all queues");
    assert!(
        server.stats().memory_used > before + 8000,
        "tasks are charged"
    );
    assert!(server.stats().tasks_refused >= 3);

    // There is one slot, so the second waiting call evicts the first.
    let waiting = [(); 2].map(|()| {
        let queue = queue.clone();
        tokio::spawn(async move { pop(&queue, "empty", 20.0).await })
    });
    while server.stats().displaced_task_waits == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    pop(&queue, "q", 0.0).await?;
    push(&queue, "empty", task(1))
        .await
        .map_err(anyhow::Error::msg)?;
    let (mut got, mut displaced) = (0, 0);
    for one in waiting {
        match one.await? {
            Ok(found) => got += usize::from(found == task(1)),
            Err(error) => displaced += usize::from(error.to_string().contains("evicted")),
        }
    }
    assert_eq!((got, displaced), (1, 1));

    client.disconnect().await;
    for _ in 0..500 {
        if server.stats().memory_used <= before {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(server.stats().memory_used <= before, "{:?}", server.stats());
    server.shutdown().await;
    Ok(())
}

#[tokio::test]
async fn an_embedding_program_offers_services_from_the_start() -> Result<()> {
    use hypha_rpc::service::{IncomingCall, Method, Service, Visibility};
    let greet = Method::new("greet", |call: IncomingCall| async move {
        let name: String = call.args(&["name"])?.required(0)?;
        call.reply(&format!("Hello {name}!"))
    });
    let greeter = Service::new("greeter").visibility(Visibility::Public);
    let builder = Server::builder()
        .bind("127.0.0.1:0")
        .startup_service(greeter.method(greet));
    let server = builder.start().await?;
    let client = hypha_rpc::connect(server.url()).await?;
    let greeter = client.get_service("public/greeter").await?;
    let said: String = greeter.call("greet", args!("Ann")).await?;
    assert_eq!(said, "Hello Ann!");
    let url = format!("{}/public/services/greeter/greet?name=Bob", server.url());
    let said = support::http().get(url).send().await?.text().await?;
    assert_eq!(said, "\"Hello Bob!\"");
    server.shutdown().await;
    Ok(())
}
