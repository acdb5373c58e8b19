//! Defines the graph of the dependencies between the child modules of one module. That module may
//! be the crate root.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use super::source::{Reference, Source};

/// Arrows (dependencies) between modules. Each arrow stores the references that cause it.
#[derive(Debug)]
pub(crate) struct Graph<'a> {
    arrows: BTreeMap<(String, String), Vec<&'a Reference>>,
}

/// One arrow, which means that the module `from` depends on the module `to`. `Display` lists the
/// references that cause the arrow.
#[derive(Clone, Copy)]
pub(crate) struct Arrow<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    references: &'a [&'a Reference],
}

/// Modules that depend on each other. Contains a shortest cycle through these modules, and all
/// arrows between them.
pub(crate) struct Cycle<'a> {
    cycle: Vec<&'a str>,
    arrows: Vec<Arrow<'a>>,
}

impl<'a> Graph<'a> {
    /// Returns the graph of the child modules of `parent`. A reference from or to a descendant of a
    /// child counts as a reference of the child.
    ///
    /// The graph does not contain the code of `parent` itself, because a module may use its
    /// children, and the children may use the items of the module.
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
            // Report only the `use` that imports a name, and not each place that uses the name.
            if references.iter().any(|reference| reference.is_rooted()) {
                references.retain(|reference| reference.is_rooted());
            }
        }
        Graph { arrows }
    }

    /// Returns all arrows, sorted by name.
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

    /// Returns one cycle for each set of modules that depend on each other.
    pub(crate) fn cycles(&self) -> Vec<Cycle<'_>> {
        let arrows = self.arrows();
        let modules: BTreeSet<&str> = arrows.iter().flat_map(|a| [a.from, a.to]).collect();
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut cycles = Vec::new();
        for &module in &modules {
            if known.contains(module) {
                continue;
            }
            let Some(cycle) = shortest_cycle(&arrows, module) else {
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
                cycle,
                arrows: among.copied().collect(),
            });
            known.extend(together);
        }
        cycles
    }
}

/// Returns the modules of a shortest cycle through `module`. Both the first and the last module of
/// the result are `module`.
fn shortest_cycle<'a>(arrows: &[Arrow<'a>], module: &'a str) -> Option<Vec<&'a str>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = VecDeque::from([module]);
    while let Some(at) = open.pop_front() {
        for arrow in arrows.iter().filter(|arrow| arrow.from == at) {
            if arrow.to == module {
                let mut cycle = vec![module, at];
                while let Some(earlier) = before.get(cycle[cycle.len() - 1]) {
                    cycle.push(earlier);
                }
                cycle.reverse();
                return Some(cycle);
            }
            if !before.contains_key(arrow.to) {
                before.insert(arrow.to, at);
                open.push_back(arrow.to);
            }
        }
    }
    None
}

/// Returns whether the module `from` depends on `to`, directly or indirectly.
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
        f.write_str(&self.cycle.join(" -> "))?;
        for arrow in &self.arrows {
            write!(f, "\n  {arrow}")?;
        }
        Ok(())
    }
}
