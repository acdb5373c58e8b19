//! Tests `hypha call`.

use hypha_rpc::prelude::*;

#[cfg(unix)]
use crate::support::interrupt;
use crate::support::{Host, output};

#[tokio::test]
async fn arguments_are_values_files_and_the_standard_input() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let call = async |method: &str, arguments: &[&str]| {
        let target = host.target(method);
        host.stdout(&[&["call", &target], arguments].concat()).await
    };
    assert_eq!(call("divide", &["1", "b=4"]).await?, "0.25\n");
    assert_eq!(call("divide", &["-3"]).await?, "-3.0\n");
    assert_eq!(call("greet", &["Ada"]).await?, "Hello Ada\n");
    // A parameter of type string receives a string, even if the argument is also a number.
    assert_eq!(call("greet", &["42"]).await?, "Hello 42\n");
    assert_eq!(
        call("echo", &["{\"a\": [1, null]}", "--json"]).await?,
        "{\n  \"a\": [\n    1,\n    null\n  ]\n}\n"
    );

    std::fs::write(host.folder.path("a.json"), "[1, 2]")?;
    let file = format!("@{}", host.folder.name("a.json"));
    assert_eq!(call("echo", &[&file]).await?, "[\n  1,\n  2\n]\n");
    std::fs::write(host.folder.path("a.png"), b"\x89PNG\r\n\x1a\n")?;
    let file = format!("value=@{}", host.folder.name("a.png"));
    assert_eq!(call("echo", &[&file]).await?, "PNG image, 8 bytes\n");

    let target = host.target("echo");
    let found = output(host.command(&["call", &target, "-"]), b"{\"a\": 1}").await?;
    assert_eq!(String::from_utf8(found.stdout)?, "{\n  \"a\": 1\n}\n");
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn bytes_come_from_any_file() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let target = host.target("weigh");
    // Text, other bytes, and files whose extension has a meaning for other parameters.
    for (name, content) in [
        ("a.bin", &b"text"[..]),
        ("b.bin", b"\xff\x00"),
        ("c.json", b"[1, 2]"),
        ("d.npy", b"\x93NUMPY"),
    ] {
        std::fs::write(host.folder.path(name), content)?;
        let len = format!("{}\n", content.len());
        for word in ["@", "raw=@"] {
            let argument = format!("{word}{}", host.folder.name(name));
            assert_eq!(host.stdout(&["call", &target, &argument]).await?, len);
        }
        let found = output(host.command(&["call", &target, "-"]), content).await?;
        assert_eq!(String::from_utf8(found.stdout)?, len, "{name}");
    }
    let found = host
        .stdout(&["call", &target, r#"{"$bytes": "00ff"}"#])
        .await?;
    assert_eq!(found, "2\n");
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn the_schema_decides_what_an_argument_is() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let call = async |method: &str, arguments: &[&str]| {
        let target = host.target(method);
        host.stdout(&[&["call", &target, "--json"], arguments].concat())
            .await
    };
    // A newtype is a string, and an optional function with a result gets no value.
    assert_eq!(call("measure", &["12"]).await?, "[\n  2\n]\n");
    let times = call("since", &["1400000000.5", "NaN"]).await?;
    let expected = "[\n  1400000000.5,\n  {\n    \"$float\": \"NaN\"\n  }\n]\n";
    assert_eq!(times, expected);
    let again = call("since", &["1400000000.5", r#"{"$float": "NaN"}"#]).await?;
    assert_eq!(again, expected);
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn arrays_are_read_from_and_written_to_files() -> anyhow::Result<()> {
    let host = Host::start().await?;
    // `numpy.save` wrote this header for `numpy.array([[1, 2], [3, 4]], dtype="<f4")`.
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
    let mut file = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    file.extend(format!("{header:<117}\n").as_bytes());
    file.extend([1f32, 2.0, 3.0, 4.0].iter().flat_map(|n| n.to_le_bytes()));
    std::fs::write(host.folder.path("in.npy"), &file)?;

    let target = host.target("brighten");
    let image = format!("@{}", host.folder.name("in.npy"));
    let shown = host.stdout(&["call", &target, &image]).await?;
    assert_eq!(shown, "array float32 [2, 2]: [[2.0,4.0],[6.0,8.0]]\n");
    let shown = host.stdout(&["call", &target, &image, "--json"]).await?;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&shown)?,
        serde_json::json!([[2.0, 4.0], [6.0, 8.0]])
    );

    let out = host.folder.name("out.npy");
    let shown = host
        .stdout(&["call", &target, &image, "--output", &out])
        .await?;
    assert_eq!(shown, "");
    let written = std::fs::read(&out)?;
    assert_eq!(written[..file.len() - 16], file[..file.len() - 16]);
    let again = host.stdout(&["call", &target, &format!("@{out}")]).await?;
    assert_eq!(again, "array float32 [2, 2]: [[4.0,8.0],[12.0,16.0]]\n");
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 2, 1);
    encoder.set_color(png::ColorType::Grayscale);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&[1, 100])?;
    writer.finish()?;
    std::fs::write(host.folder.path("in.png"), &file)?;
    let picture = format!("@{}", host.folder.name("in.png"));
    let shown = host.stdout(&["call", &target, &picture]).await?;
    assert_eq!(shown, "array uint8 [1, 2]: [[2,200]]\n");

    let out = host.folder.name("out.json");
    host.stdout(&["call", &target, &image, "-o", &out]).await?;
    let written: Vec<Vec<f32>> = serde_json::from_slice(&std::fs::read(&out)?)?;
    assert_eq!(written, [[2.0, 4.0], [6.0, 8.0]]);
    let said = host
        .failure(&["call", &target, &image, "-o", "a.txt"], 2)
        .await?;
    assert_eq!(
        said,
        "hypha: the result is an array; use a name that ends with .npy or .json\n"
    );
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn functions_streams_and_files_are_shown_as_they_arrive() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let target = host.target("count");
    // The schema declares the function, so the argument may be omitted.
    for arguments in [&[][..], &["on_number=@callback"], &["@callback"]] {
        let output = host.run(&[&["call", &target], arguments].concat()).await?;
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout)?, "null\n");
        let live = String::from_utf8(output.stderr)?;
        assert_eq!(live, "on_number: 1\non_number: 2\non_number: 3\n");
    }
    let target = host.target("numbers");
    assert_eq!(host.stdout(&["call", &target, "3"]).await?, "0\n1\n2\n");
    assert_eq!(
        host.stdout(&["call", &target, "to=2", "--json"]).await?,
        "0\n1\n"
    );
    let out = host.folder.name("numbers.txt");
    assert_eq!(host.stdout(&["call", &target, "2", "-o", &out]).await?, "");
    assert_eq!(std::fs::read_to_string(&out)?, "0\n1\n");

    let file = host.folder.name("data.bin");
    std::fs::write(&file, vec![0; 300_000])?;
    let length = host.target("length");
    for file in [format!("@file:{file}"), format!("file=@{file}")] {
        assert_eq!(host.stdout(&["call", &length, &file]).await?, "300000\n");
    }
    let report = host.target("report");
    let shown = host.stdout(&["call", &report]).await?;
    assert_eq!(
        shown,
        "file report.txt, 9 bytes; `--output FILE` stores it\n"
    );
    let shown = host.stdout(&["call", &report, "-o", "-"]).await?;
    assert_eq!(shown, "a report\n");
    host.stop().await;
    Ok(())
}

#[tokio::test]
async fn failures_have_exit_codes() -> anyhow::Result<()> {
    let host = Host::start().await?;
    let (divide, wait) = (host.target("divide"), host.target("wait"));
    let said = host.failure(&["call", &divide, "1", "0"], 6).await?;
    assert!(said.contains("division by zero"), "{said}");
    let said = host.failure(&["call", &divide, "1", "c=0"], 6).await?;
    assert!(said.contains("unknown argument `c`"), "{said}");
    let said = host.failure(&["call", &host.target("sum"), "1"], 4).await?;
    assert!(
        said.contains("has no method `sum` (methods: brighten, count, divide"),
        "{said}"
    );
    let said = host.failure(&["call", "nobody.add"], 4).await?;
    assert!(said.starts_with("hypha: cannot find `nobody`: "), "{said}");
    let said = host.failure(&["call", "desk"], 2).await?;
    assert!(said.contains("write SERVICE.METHOD"), "{said}");
    let said = host.failure(&["call", &divide, "a=1", "2"], 2).await?;
    assert!(said.contains("follows a named argument"), "{said}");
    let said = host
        .failure(&["call", &wait, "--timeout", "50ms"], 7)
        .await?;
    assert_eq!(said.lines().count(), 1, "{said}");
    let said = host
        .failure(&["call", &wait, "--timeout", "soon"], 2)
        .await?;
    assert!(said.contains("--timeout"), "{said}");
    let protected = host
        .client
        .register_service(hypha_rpc::Service::new("secret"))
        .await?;
    let target = format!("{}.read", protected.id);
    let said = host.failure(&["call", &target], 5).await?;
    assert!(said.contains("ermission denied"), "{said}");
    host.stop().await;
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_ends_a_call_and_its_handler() -> anyhow::Result<()> {
    use std::process::Stdio;

    struct Clock(tokio::sync::mpsc::UnboundedSender<&'static str>);

    #[hypha_service(id = "clock", visibility = "public")]
    impl Clock {
        /// Wait until the caller has disconnected.
        pub(crate) async fn run(&self, ctx: &Context) {
            let _ = self.0.send("begun");
            ctx.cancellation().cancelled().await;
            let _ = self.0.send("cancelled");
        }
    }

    let host = Host::start().await?;
    let (events, mut happened) = tokio::sync::mpsc::unbounded_channel();
    let id = host.client.register_service(Clock(events)).await?.id;
    let mut command = host.command(&["call", &format!("{id}.run")]);
    command.stderr(Stdio::piped());
    let child = command.spawn()?;
    assert_eq!(happened.recv().await, Some("begun"));
    interrupt(&child).await?;
    let output = child.wait_with_output().await?;
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr)?, "hypha: interrupted\n");
    assert_eq!(happened.recv().await, Some("cancelled"));
    host.stop().await;
    Ok(())
}
