//! Finds excluded words. Also finds sentences that start with a word such as "What" or "Who" as
//! their subject.

use super::{File, paragraphs};

/// Excluded words and phrases. Each is followed by the usual term that replaces it.
const REPLACED: [(&str, &str); 12] = [
    ("limit of silence", "idle timeout"),
    ("whereabouts", "address"),
    ("whoever", "the client, caller or peer that"),
    ("whosoever", "the client, caller or peer that"),
    ("in vain", "without effect"),
    ("at its leisure", "later"),
    ("for good", "permanently"),
    ("by and by", "later"),
    ("henceforth", "from then on"),
    ("thereupon", "then"),
    ("heretofore", "so far"),
    ("nigh", "near"),
];

/// Words that hide who or what acts if they are the first word of a sentence. Questions may start
/// with these words.
const SUBJECTS: [&str; 6] = ["Who", "What", "How", "Whoever", "Whatever", "Whichever"];

/// Returns a message for each excluded word in a file, and for each sentence that starts with one
/// of [`SUBJECTS`].
pub(super) fn violations(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    // Skip this file, because it lists the excluded words.
    if file.path == "xtask/src/prose/words.rs" {
        return found;
    }
    for paragraph in paragraphs(file) {
        let place = format!("{}:{}", file.path, paragraph.line);
        let lower = paragraph.text.to_lowercase();
        for (word, instead) in REPLACED {
            if contains_word(&lower, word) {
                found.push(format!("{place}: `{word}`: write `{instead}`"));
            }
        }
        for sentence in sentences(&paragraph.text) {
            let first = sentence.split(|c: char| !c.is_alphabetic()).next();
            let hidden = SUBJECTS.iter().any(|subject| first == Some(*subject));
            if hidden && !sentence.ends_with('?') {
                let beginning: String = sentence.chars().take(60).collect();
                found.push(format!("{place}: name what acts: `{beginning}`"));
            }
        }
    }
    found
}

/// Returns whether `text` contains `word` as a whole word or phrase.
fn contains_word(text: &str, word: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(word).any(|(at, _)| {
        !letter(text[..at].chars().next_back()) && !letter(text[at + word.len()..].chars().next())
    })
}

/// Returns the sentences of a paragraph, with their punctuation.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['.', '?', '!', ':', ';'])
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn excluded_words_are_reported() {
        let page = file(
            "a.md",
            "Fine.\n\nA server knows the\nwhereabouts of a client.\n",
        );
        assert_eq!(
            violations(&page),
            ["a.md:3: `whereabouts`: write `address`"]
        );
        let part = file("a.md", "A knight, and `whoever` in code.\n");
        assert_eq!(violations(&part), [""; 0]);
    }

    #[test]
    fn hidden_subjects_are_reported() {
        let source = file("a.rs", "/// Closes it. How long\n/// it took is logged.\n");
        assert_eq!(
            violations(&source),
            ["a.rs:1: name what acts: `How long it took is logged.`"]
        );
        let heading = file("a.md", "## What a service is made of\n");
        assert_eq!(violations(&heading).len(), 1);
    }

    #[test]
    fn questions_and_later_words_are_fine() {
        let page = file(
            "a.md",
            "What is a service? It says how long\nit takes. However, a client waits.\n",
        );
        assert_eq!(violations(&page), [""; 0]);
    }
}
