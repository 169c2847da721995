//! A lineage graph as a tree: each thing once in full, repeats by name, long lists cut with their count.

use cairn_processors::Context;
use cairn_projections::lineage::{Direction, Graph};
use cairn_schemas::Ref;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

/// Most children of one kind that are listed under one thing.
const SHOWN_OF_A_KIND: usize = 4;

/// A thing's ref and the few words that say what it is.
pub(crate) fn label(context: &Context, reference: &str) -> String {
    let shown = match reference.split_once(':') {
        Some((kind @ ("doc" | "artifact"), digest)) if digest.len() > 16 => format!("{kind}:{}…", &digest[..16]),
        _ => reference.to_owned(),
    };
    let Ok(Some(entity)) = context.projections().catalog().get(reference) else { return shown };
    let mut words = Vec::new();
    for path in ["/job/kind", "/job/name", "/source_uri", "/rows", "/outcome", "/task", "/filename"] {
        match entity.attributes.pointer(path) {
            Some(serde_json::Value::String(text)) => words.push(text.clone()),
            Some(serde_json::Value::Number(number)) => words.push(format!("{number} {}", path.trim_start_matches('/'))),
            _ => {}
        }
    }
    if !entity.state.is_empty() && !words.contains(&entity.state) {
        words.push(entity.state);
    }
    if words.is_empty() { shown } else { format!("{shown}  ({})", words.join(", ")) }
}

pub(crate) fn lineage(root: &Ref, direction: Direction, graph: &Graph, label: &dyn Fn(&str) -> String) -> String {
    let mut children: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for edge in &graph.edges {
        let (parent, child) = match direction {
            Direction::Down => (&edge.from, &edge.to),
            _ => (&edge.to, &edge.from),
        };
        let list = children.entry(parent.to_string()).or_default();
        if !list.contains(&child.to_string()) {
            list.push(child.to_string());
        }
    }
    let more = graph.nodes.iter().map(|node| (node.reference.to_string(), node.more.clone())).collect();
    let mut tree = Tree { children, more, label, seen: HashSet::new(), out: String::new() };
    let root = root.to_string();
    let _ = writeln!(tree.out, "{}", label(&root));
    tree.seen.insert(root.clone());
    tree.descend(&root, "");
    if graph.truncated {
        tree.out.push_str("(not everything is shown: --depth and --limit show more)\n");
    }
    tree.out
}

struct Tree<'a> {
    children: BTreeMap<String, Vec<String>>,
    /// What the walk left out of each thing's neighbours, by kind.
    more: BTreeMap<String, Vec<(&'static str, u64)>>,
    label: &'a dyn Fn(&str) -> String,
    seen: HashSet<String>,
    out: String,
}

impl Tree<'_> {
    fn descend(&mut self, parent: &str, indent: &str) {
        let lines = self.lines(parent);
        let last = lines.len();
        for (index, line) in lines.into_iter().enumerate() {
            let (branch, below) = if index + 1 == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let _ = write!(self.out, "{indent}{branch}");
            match line {
                Line::Thing(reference) if self.seen.insert(reference.clone()) => {
                    let _ = writeln!(self.out, "{}", (self.label)(&reference));
                    self.descend(&reference, &format!("{indent}{below}"));
                }
                Line::Thing(reference) => {
                    let _ = writeln!(self.out, "{}  (above)", short(&reference));
                }
                Line::More(count, kind) => {
                    let plural = if count == 1 { "" } else { "s" };
                    let _ = writeln!(self.out, "… and {count} more {kind}{plural}");
                }
            }
        }
    }

    /// The children of a thing, grouped by kind in order of first mention, each group cut.
    fn lines(&self, parent: &str) -> Vec<Line> {
        let mut groups: Vec<(&'static str, Vec<String>)> = Vec::new();
        for child in self.children.get(parent).into_iter().flatten() {
            let kind = child.parse::<Ref>().map_or("thing", |reference| reference.kind());
            match groups.iter_mut().find(|(k, _)| *k == kind) {
                Some((_, members)) => members.push(child.clone()),
                None => groups.push((kind, vec![child.clone()])),
            }
        }
        let mut lines = Vec::new();
        for (kind, members) in groups {
            let left_out =
                self.more.get(parent).into_iter().flatten().filter(|(k, _)| *k == kind).map(|(_, n)| n).sum::<u64>();
            let rest = members.len().saturating_sub(SHOWN_OF_A_KIND) as u64 + left_out;
            lines.extend(members.into_iter().take(SHOWN_OF_A_KIND).map(Line::Thing));
            if rest > 0 {
                lines.push(Line::More(rest, kind));
            }
        }
        lines
    }
}

enum Line {
    Thing(String),
    More(u64, &'static str),
}

fn short(reference: &str) -> String {
    match reference.char_indices().nth(48) {
        Some((end, _)) => format!("{}…", &reference[..end]),
        None => reference.to_owned(),
    }
}
