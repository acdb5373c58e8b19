//! The graph of the top-level modules of a crate.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::source::{Reference, Source};

/// Arrows from module to module, each with the references that make it.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    arrows: BTreeMap<(String, String), Vec<&'a Reference>>,
}

/// One arrow. It is shown with the file and line of each reference.
#[derive(Clone, Copy)]
pub(crate) struct Arrow<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    references: &'a [&'a Reference],
}

/// Modules that reach each other: a shortest way round, and all arrows among them.
pub(crate) struct Cycle<'a> {
    way: Vec<&'a str>,
    arrows: Vec<Arrow<'a>>,
}

impl<'a> Graph<'a> {
    /// Makes the graph of a crate. References of the root belong to no module.
    pub(crate) fn of(source: &'a Source) -> Graph<'a> {
        let mut arrows: BTreeMap<_, Vec<&Reference>> = BTreeMap::new();
        for reference in &source.references {
            let Some(from) = reference.from.first() else {
                continue;
            };
            for to in source.targets(reference) {
                if to != *from {
                    let references = arrows.entry((from.clone(), to)).or_default();
                    references.push(reference);
                }
            }
        }
        Graph { arrows }
    }

    /// Returns all arrows, by name.
    pub(crate) fn arrows(&self) -> Vec<Arrow<'_>> {
        let arrows = self.arrows.iter();
        arrows
            .map(|((from, to), references)| Arrow {
                from,
                to,
                references,
            })
            .collect()
    }

    /// Returns a cycle for each set of modules that reach each other.
    pub(crate) fn cycles(&self) -> Vec<Cycle<'_>> {
        let arrows = self.arrows();
        let modules: BTreeSet<&str> = arrows.iter().flat_map(|a| [a.from, a.to]).collect();
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut cycles = Vec::new();
        for &module in &modules {
            if known.contains(module) {
                continue;
            }
            let Some(way) = way_round(&arrows, module) else {
                continue;
            };
            let together: BTreeSet<&str> = modules
                .iter()
                .copied()
                .filter(|other| reaches(&arrows, module, other) && reaches(&arrows, other, module))
                .collect();
            let among = arrows
                .iter()
                .filter(|a| together.contains(a.from) && together.contains(a.to));
            cycles.push(Cycle {
                way,
                arrows: among.copied().collect(),
            });
            known.extend(together);
        }
        cycles
    }
}

/// The shortest way from a module back to itself.
fn way_round<'a>(arrows: &[Arrow<'a>], module: &'a str) -> Option<Vec<&'a str>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = VecDeque::from([module]);
    while let Some(at) = open.pop_front() {
        for arrow in arrows.iter().filter(|arrow| arrow.from == at) {
            if arrow.to == module {
                let mut way = vec![module, at];
                while let Some(earlier) = before.get(way[way.len() - 1]) {
                    way.push(earlier);
                }
                way.reverse();
                return Some(way);
            }
            if !before.contains_key(arrow.to) {
                before.insert(arrow.to, at);
                open.push_back(arrow.to);
            }
        }
    }
    None
}

fn reaches(arrows: &[Arrow<'_>], from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        for arrow in arrows.iter().filter(|arrow| arrow.from == at) {
            if seen.insert(arrow.to) {
                open.push(arrow.to);
            }
        }
    }
    false
}

impl fmt::Display for Arrow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.from, self.to)?;
        for reference in self.references {
            let Reference {
                file, line, path, ..
            } = reference;
            write!(f, "\n    {file}:{line}  {}", path.join("::"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Cycle<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.way.join(" -> "))?;
        for arrow in &self.arrows {
            write!(f, "\n  {arrow}")?;
        }
        Ok(())
    }
}
