//! Tests the help, the completions and the manual pages.

use crate::support::{Folder, command};

async fn stdout(arguments: &[&str]) -> anyhow::Result<String> {
    let output = command(arguments).output().await?;
    anyhow::ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns the names of the subcommands in a help.
fn subcommands(help: &str) -> Vec<String> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let list = list.take_while(|line| !line.trim().is_empty());
    let names = list.filter_map(|line| line.strip_prefix("  "));
    // The continuation lines of descriptions are indented further.
    let names = names.filter(|line| !line.starts_with(' '));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_subcommand_has_an_example() -> anyhow::Result<()> {
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    let mut count = 0;
    while let Some(path) = open.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let help = stdout(&[&words[..], &["--help"]].concat()).await?;
        if words != ["serve"] {
            let nested = subcommands(&help);
            open.extend(nested.into_iter().map(|name| [&path[..], &[name]].concat()));
        }
        if path.is_empty() {
            assert!(help.contains("Exit codes:"), "{help}");
            continue;
        }
        count += 1;
        assert!(
            help.contains("\nExample"),
            "no example in `hypha {}`:\n{help}",
            words.join(" ")
        );
        if words != ["serve"] {
            let command = format!("hypha {}", words.join(" "));
            let examples = &help[help.find("\nExample").unwrap_or_default()..];
            assert!(examples.contains(&command), "{command}:\n{examples}");
        }
    }
    assert!(count > 25, "{count}");
    Ok(())
}

#[tokio::test]
async fn completions_include_the_options_of_the_server() -> anyhow::Result<()> {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell]).await?;
        for word in ["describe", "concurrency", "redis-uri"] {
            assert!(
                script.contains(word),
                "`{word}` is not in the completions of {shell}"
            );
        }
    }
    let output = command(&["completions", "csh"]).output().await?;
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}

#[tokio::test]
async fn manual_pages_are_written() -> anyhow::Result<()> {
    let page = stdout(&["man"]).await?;
    assert!(
        page.contains(".TH hypha 1") && page.contains("Exit codes"),
        "{page}"
    );
    let folder = Folder::new()?;
    stdout(&["man", "--folder", &folder.name("man1")]).await?;
    let page = std::fs::read_to_string(folder.path("man1/hypha-call.1"))?;
    assert!(page.contains("SERVICE.METHOD"), "{page}");
    Ok(())
}
