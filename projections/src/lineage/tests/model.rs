//! The graph against a plain list of edges, at every position, in batches of any size.

use super::WIDE;
use crate::lineage::{Direction, ImpactQuery, Lineage, PROJECTION, Start, Walk};
use crate::testing::{List, Random, artifact, document, live, model as registered, reference, response, run_id};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::{Event, Position, RawJson, Recorded, Ref};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// A thing used, a thing produced, and the event that says so.
type Said = (Ref, Ref, &'static str, u64);

/// The model: every edge that every event says, in order.
struct Plain {
    said: Vec<Said>,
    mentioned: BTreeMap<Ref, u64>,
}

impl Plain {
    fn of(events: &[Recorded]) -> Self {
        let (mut said, mut mentioned) = (Vec::new(), BTreeMap::new());
        for event in events {
            let position = event.position.get();
            let about = (event.produced.is_empty() && !event.used.is_empty()).then(|| event.stream.parse::<Ref>().ok());
            let produced: Vec<Ref> = event.produced.iter().cloned().chain(about.flatten()).collect();
            for thing in event.used.iter().chain(&produced) {
                mentioned.entry(thing.clone()).or_insert(position);
            }
            for used in &event.used {
                for made in produced.iter().filter(|made| *made != used) {
                    said.push((used.clone(), made.clone(), event.event.type_name(), position));
                }
            }
        }
        Self { said, mentioned }
    }

    /// Each edge by its ends, with the first event that says it.
    fn edges(&self, as_of: u64) -> BTreeMap<(Ref, Ref), (&'static str, u64)> {
        let mut edges = BTreeMap::new();
        for (from, to, event, position) in self.said.iter().filter(|said| said.3 <= as_of) {
            edges.entry((from.clone(), to.clone())).or_insert((*event, *position));
        }
        edges
    }
}

/// Things by their distance from one, over edges that `step` leads along.
fn distances(of: &[Ref], step: &HashMap<Ref, Vec<Ref>>, depth: u32) -> BTreeMap<Ref, u32> {
    let mut found: BTreeMap<Ref, u32> = of.iter().map(|thing| (thing.clone(), 0)).collect();
    let mut waiting: VecDeque<Ref> = of.iter().cloned().collect();
    while let Some(thing) = waiting.pop_front() {
        let at = found[&thing];
        for next in step.get(&thing).into_iter().flatten().filter(|_| at < depth) {
            if !found.contains_key(next) {
                found.insert(next.clone(), at + 1);
                waiting.push_back(next.clone());
            }
        }
    }
    found
}

type Steps = HashMap<Ref, Vec<Ref>>;

fn steps<'a>(edges: impl Iterator<Item = &'a (Ref, Ref)>) -> (Steps, Steps, Steps) {
    let (mut up, mut down, mut any): (Steps, Steps, Steps) = Default::default();
    for (from, to) in edges {
        up.entry(to.clone()).or_default().push(from.clone());
        down.entry(from.clone()).or_default().push(to.clone());
        any.entry(to.clone()).or_default().push(from.clone());
        any.entry(from.clone()).or_default().push(to.clone());
    }
    (up, down, any)
}

fn thing(random: &mut Random) -> Ref {
    let number = random.below(9);
    match random.below(5) {
        0 => Ref::Run(run_id(number)),
        1 => reference(&format!("model://team/chat@{}", number + 1)),
        2 => artifact(&number.to_string()),
        3 => reference(&format!("ds://team/web@{number}.0.0")),
        _ => document(number),
    }
}

/// A few things, of which many events speak, so that edges are said often and in circles.
fn history(random: &mut Random, length: u64) -> Vec<Event> {
    (0..length)
        .map(|_| match random.below(6) {
            0 => registered(random.below(9) + 1, random.below(9)),
            1 => response(random.below(2) + 1),
            _ => {
                let mut some = |most: u64| -> Vec<Ref> { (0..random.below(most)).map(|_| thing(random)).collect() };
                let (used, produced) = (some(4), some(3));
                CustomRecorded { kind: "a.b".into(), about: None, used, produced, data: RawJson::default() }.into()
            }
        })
        .collect()
}

fn in_batches(events: &[Recorded], random: &mut Random) -> Lineage {
    let live = live(&PROJECTION, []);
    let lineage = Lineage::over(live.clone());
    let mut rest = events;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at((1 + random.below(9) as usize).min(rest.len()));
        live.apply(batch).unwrap();
        // The view is loaded somewhere on the way, and kept in step from then on.
        if random.below(3) == 0 {
            lineage.walk(&document(1), Direction::Both, 3, WIDE).unwrap();
        }
        rest = after;
    }
    lineage
}

#[test]
fn walks_paths_and_impact_are_those_of_a_plain_list_at_every_position() {
    for seed in 0..12 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let events = List::of(history(&mut random, 60)).all();
        let (lineage, model) = (in_batches(&events, &mut random), Plain::of(&events));
        for as_of in 0..=events.len() as u64 {
            let position = Position::new(as_of);
            if position.is_none() {
                continue;
            }
            let edges = model.edges(as_of);
            let (up, down, any) = steps(edges.keys());
            let (one, other, depth) = (thing(&mut random), thing(&mut random), random.below(6) as u32);
            let known = |thing: &Ref| model.mentioned.get(thing).is_some_and(|first| *first <= as_of);
            for (direction, step) in [(Direction::Up, &up), (Direction::Down, &down)] {
                let walk = Walk { direction, depth, limit: WIDE, as_of: position, ..Walk::default() };
                let graph = lineage.explore(&one, &walk).unwrap();
                let expected =
                    if known(&one) { distances(std::slice::from_ref(&one), step, depth) } else { BTreeMap::new() };
                let found: BTreeMap<Ref, u32> = graph.nodes.iter().map(|n| (n.reference.clone(), n.depth)).collect();
                assert_eq!(found, expected, "{one} {direction:?} {depth} as of {as_of}");
                for edge in &graph.edges {
                    let said = edges[&(edge.from.clone(), edge.to.clone())];
                    assert_eq!((edge.event_type, edge.position.get(), edge.through), (said.0, said.1, 0));
                }
                let walked = edges.keys().filter(|(from, to)| {
                    let (near, far) = if direction == Direction::Up { (to, from) } else { (from, to) };
                    expected.get(near).is_some_and(|at| *at < depth) && expected.contains_key(far)
                });
                assert_eq!(graph.edges.len(), walked.count());
                let left: u64 = graph.nodes.iter().map(crate::lineage::Node::more_total).sum();
                let ends = expected.iter().filter(|(_, at)| **at >= depth);
                let beyond: usize = ends.map(|(thing, _)| step.get(thing).map_or(0, Vec::len)).sum();
                assert_eq!((left, graph.truncated), (beyond as u64, beyond > 0), "what is left out is counted");
            }
            paths_agree(&lineage, &one, &other, position, &edges, [&down, &up, &any], known(&one) && known(&other));
            impact_agrees(&lineage, &one, &other, position, &down, &known);
            explanations_agree(&lineage, &model, &one, &other, as_of);
        }
    }
}

fn paths_agree(
    lineage: &Lineage,
    one: &Ref,
    other: &Ref,
    position: Option<Position>,
    edges: &BTreeMap<(Ref, Ref), (&'static str, u64)>,
    steps: [&Steps; 3],
    are_known: bool,
) {
    let length = |step: &Steps| distances(std::slice::from_ref(one), step, u32::MAX).get(other).copied();
    let expected = steps.into_iter().find_map(length).filter(|_| are_known);
    let found = lineage.path(one, other, true, position).unwrap();
    assert_eq!(found.as_ref().map(|path| path.steps.len() as u32), expected, "{one} to {other} as of {position:?}");
    let mut at = one;
    for step in found.iter().flat_map(|path| &path.steps) {
        let (from, to) = if step.is_along { (&step.from, &step.to) } else { (&step.to, &step.from) };
        assert_eq!(at, from);
        assert!(edges.contains_key(&(step.from.clone(), step.to.clone())) && !step.said.is_empty());
        at = to;
    }
    assert!(found.is_none() || at == other);
}

fn impact_agrees(
    lineage: &Lineage,
    one: &Ref,
    other: &Ref,
    as_of: Option<Position>,
    down: &Steps,
    known: &dyn Fn(&Ref) -> bool,
) {
    let starts: BTreeSet<Ref> = [one, other].into_iter().filter(|thing| known(thing)).cloned().collect();
    let starts: Vec<Ref> = starts.into_iter().collect();
    let query = ImpactQuery { as_of, ..ImpactQuery::of(Start::Things(vec![one.clone(), other.clone()])) };
    let found = lineage.impact(&query).unwrap();
    let mut expected = distances(&starts, down, u32::MAX);
    expected.retain(|thing, _| !starts.contains(thing));
    let items: BTreeMap<Ref, u32> = found.items.iter().map(|item| (item.reference.clone(), item.depth)).collect();
    assert_eq!((items, found.starts), (expected.clone(), starts.len() as u64));
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    expected.keys().for_each(|thing| *counts.entry(thing.kind()).or_default() += 1);
    assert_eq!(found.counts.into_iter().collect::<BTreeMap<_, _>>(), counts);
}

fn explanations_agree(lineage: &Lineage, model: &Plain, one: &Ref, other: &Ref, as_of: u64) {
    let mut expected: Vec<(&str, u64, u64, u64)> = Vec::new();
    for (_, _, event, position) in model.said.iter().filter(|s| s.0 == *one && s.1 == *other && s.3 <= as_of) {
        match expected.iter_mut().find(|said| said.0 == *event) {
            Some(said) => (said.2, said.3) = (*position, said.3 + 1),
            None => expected.push((event, *position, *position, 1)),
        }
    }
    let found = lineage.explain(one, other, Position::new(as_of)).unwrap();
    let found: Vec<_> = found.iter().map(|s| (s.event_type, s.first.get(), s.last.get(), s.events)).collect();
    assert_eq!(found, expected);
}

/// A thing with thousands of neighbours, and an edge that is said hundreds of times.
#[test]
fn hubs_and_repeats_are_exact_at_any_position() {
    for seed in 0..3 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let dataset = reference("ds://team/web@1.0.0");
        let mut events: Vec<Event> = Vec::new();
        for number in 0..1_500 {
            let used = (0..3).map(|at| document(number * 2 + at)).collect();
            let produced = vec![dataset.clone()];
            let custom = CustomRecorded { kind: "a.b".into(), about: None, used, produced, data: RawJson::default() };
            events.push(custom.into());
            if random.below(2) == 0 {
                events.push(response(1));
            }
        }
        let events = List::of(events).all();
        let (lineage, model) = (in_batches(&events, &mut random), Plain::of(&events));
        for _ in 0..40 {
            let as_of = 1 + random.below(events.len() as u64);
            let position = Position::new(as_of);
            let edges = model.edges(as_of);
            let expected = edges.keys().filter(|(_, to)| *to == dataset).count() as u64;
            let mut pages = (Vec::new(), None);
            loop {
                let page = lineage
                    .neighbours(&dataset, Direction::Up, Some("document"), position, pages.1.as_deref(), 999)
                    .unwrap();
                assert_eq!(page.total, expected);
                pages.0.extend(page.neighbours);
                pages.1 = page.next;
                if pages.1.is_none() {
                    break;
                }
            }
            assert_eq!(pages.0, (0..expected).map(document).collect::<Vec<_>>(), "as of {as_of}");
            let (chat, prod) = (reference("model://team/chat@1"), reference("deployment:prod"));
            explanations_agree(&lineage, &model, &chat, &prod, as_of);
            explanations_agree(&lineage, &model, &document(random.below(2_000)), &dataset, as_of);
        }
    }
}

#[test]
fn rows_do_not_depend_on_batches() {
    let mut random = Random::new(9);
    let events = List::of(history(&mut random, 400)).all();
    let digest = |sizes: &mut dyn FnMut() -> usize| {
        let live = live(&PROJECTION, []);
        let mut rest = &events[..];
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(sizes().min(rest.len()));
            live.apply(batch).unwrap();
            rest = after;
        }
        live.with(|filled| filled.digest(&PROJECTION).unwrap())
    };
    let whole = digest(&mut || usize::MAX);
    assert_eq!(digest(&mut || 1), whole);
    assert_eq!(digest(&mut || 1 + random.below(30) as usize), whole);
}
