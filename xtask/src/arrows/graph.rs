//! Graph of the modules inside one module: the root of a crate, or any module below it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::source::{Reference, Source};

/// Arrows from module to module, each with the references that cause it.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    arrows: BTreeMap<(String, String), Vec<&'a Reference>>,
}

/// One arrow. `Display` lists the file and line of each reference.
#[derive(Clone, Copy)]
pub(crate) struct Arrow<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    references: &'a [&'a Reference],
}

/// Set of modules that reach each other: a shortest cycle, and all arrows between the modules.
pub(crate) struct Cycle<'a> {
    way: Vec<&'a str>,
    arrows: Vec<Arrow<'a>>,
}

impl<'a> Graph<'a> {
    /// Returns the graph of the child modules of `parent`. Each child includes everything below it.
    ///
    /// The parent's own code is excluded, because a parent may use its children, and the children
    /// may use its items.
    pub(crate) fn of(source: &'a Source, parent: &[String]) -> Graph<'a> {
        let mut arrows: BTreeMap<_, Vec<&Reference>> = BTreeMap::new();
        let child_of = |module: &[String]| {
            let inside = module.starts_with(parent) && module.len() > parent.len();
            inside.then(|| module[..=parent.len()].join("::"))
        };
        for reference in &source.references {
            let Some(from) = child_of(&reference.from) else {
                continue;
            };
            let to = source.targets(reference);
            let to: BTreeSet<String> = to.iter().filter_map(|to| child_of(to)).collect();
            for to in to.into_iter().filter(|to| *to != from) {
                let references = arrows.entry((from.clone(), to)).or_default();
                references.push(reference);
            }
        }
        for references in arrows.values_mut() {
            // Report a name that a `use` declares only once, not at each place where it is used.
            if references.iter().any(|reference| reference.is_rooted()) {
                references.retain(|reference| reference.is_rooted());
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

/// Returns the shortest cycle through a module.
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

/// Returns whether a path of arrows leads from one module to another.
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
