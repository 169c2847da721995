//! Lineage at size: a graph of `CAIRN_LINEAGE_NODES` things (1,000,000 where absent) and five times as many edges, in
//! layers as made things lie, built from events in a ledger; then the questions, warm, beside their limit. The view's
//! first load, and the rows on disk, beside them.

use cairn_ledger::{Ledger, Options};
use cairn_projections::Projections;
use cairn_projections::lineage::{Direction, ImpactQuery, Limit, Start, Walk};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::{Blake3, NewEvent, RawJson, Ref, TenantId};
use std::time::{Duration, Instant};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NODES_DEFAULT: u64 = 1_000_000;
/// Things that an event produces, and uses: five edges a thing.
const MADE: u64 = 10;
const USED: u64 = 5;
/// How far back, in layers, what is used was made.
const LAYERS: u64 = 24;
const EVENTS_OF_A_BATCH: u64 = 500;
/// The target: a walk or a closure 20 deep over 1 M things and 5 M edges.
const LIMIT: Duration = Duration::from_millis(50);
const ROUNDS: usize = 15;

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn thing(number: u64) -> Ref {
    Ref::Artifact(Blake3::of(&number.to_le_bytes()))
}

/// Event `number` makes ten things of five that were made a layer before.
fn event(number: u64, layer: u64, state: &mut u64) -> NewEvent {
    let first = number * MADE;
    let made = (first..first + MADE).map(thing).collect();
    let before = (first / layer).saturating_sub(1) * layer;
    let used = (0..USED).filter(|_| first >= layer).map(|_| thing(before + random(state) % layer)).collect();
    let event =
        CustomRecorded { kind: "bench.made".into(), about: None, used, produced: made, data: RawJson::default() };
    NewEvent::new("bench", &number.to_string(), event)
}

fn filled(ledger: &Ledger, tenant: &TenantId, nodes: u64, layer: u64) {
    let mut state = 7;
    let mut number = 0;
    while number < nodes / MADE {
        let batch = (number..(number + EVENTS_OF_A_BATCH).min(nodes / MADE)).map(|n| event(n, layer, &mut state));
        let batch: Vec<NewEvent> = batch.collect();
        number += batch.len() as u64;
        ledger.append(tenant, batch).expect("the ledger takes events");
    }
}

/// Median and worst of some rounds.
fn measured(what: &str, limit: Option<Duration>, mut ask: impl FnMut(usize) -> String) {
    let mut said = ask(0);
    let mut took: Vec<Duration> = (1..=ROUNDS)
        .map(|round| {
            let begun = Instant::now();
            said = ask(round);
            begun.elapsed()
        })
        .collect();
    took.sort();
    let (median, worst) = (took[ROUNDS / 2], took[ROUNDS - 1]);
    let beside = limit.map_or(String::new(), |limit| {
        format!("  limit {limit:?}: {}", if median <= limit { "held" } else { "MISSED" })
    });
    println!("{what:<46} median {median:>10.2?}  worst {worst:>10.2?}{beside}  ({said})");
}

fn main() {
    let nodes = std::env::var("CAIRN_LINEAGE_NODES").ok().and_then(|n| n.parse().ok()).unwrap_or(NODES_DEFAULT);
    let layer = (nodes / LAYERS).max(MADE) / MADE * MADE;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let tenant = TenantId::default();
    let ledger = Ledger::open(&dir.path().join("data"), Options::default()).expect("a new ledger");
    let begun = Instant::now();
    filled(&ledger, &tenant, nodes, layer);
    println!("{} events appended in {:.1?}", nodes / MADE, begun.elapsed());
    let projections = Projections::open(&dir.path().join("projections"), ledger, tenant).expect("new projections");
    let begun = Instant::now();
    projections.catch_up().expect("events that apply");
    let took = begun.elapsed();
    println!("all projections followed in {took:.1?}: {:.0} edges/s", nodes as f64 * 5.0 / took.as_secs_f64());
    let lineage = projections.lineage();
    println!("{} things", lineage.nodes_total().expect("a store"));
    let begun = Instant::now();
    lineage.walk(&thing(nodes - 1), Direction::Up, 1, 10).expect("a walk");
    println!("{:<46} once   {:>10.2?}", "the view is loaded (first question)", begun.elapsed());

    // From the last layer up, and from the first down: both reach every layer.
    let (last, half) = (|round: usize| thing(nodes - 1 - round as u64 * 997 % layer), projections.reached());
    let half = half.and_then(|reached| cairn_schemas::Position::new(reached.get() / 2));
    // Of the first layer, things that something was made of; less than half of them are.
    let is_used = |thing: &Ref| lineage.walk(thing, Direction::Down, 1, 2).expect("a walk").nodes.len() > 1;
    let used: Vec<Ref> = (0..layer).map(|n| thing(n * 997 % layer)).filter(is_used).take(ROUNDS + 1).collect();
    let first = |round: usize| used[round % used.len()].clone();
    measured("walk up, depth 20, 1,000 things", Some(LIMIT), |round| {
        let graph = lineage.walk(&last(round), Direction::Up, 20, Limit::default()).expect("a walk");
        format!("{} things, {} edges", graph.nodes.len(), graph.edges.len())
    });
    measured("walk both, depth 20, 10,000 things", None, |round| {
        let graph = lineage.walk(&last(round), Direction::Both, 20, 10_000).expect("a walk");
        format!("{} things, {} edges", graph.nodes.len(), graph.edges.len())
    });
    let impact = |round: usize, as_of| {
        let query = ImpactQuery { depth: 20, as_of, ..ImpactQuery::of(Start::Things(vec![first(round)])) };
        let found = lineage.impact(&query).expect("a closure");
        format!("{} things counted, {} listed", found.total, found.items.len())
    };
    measured("impact, depth 20: all that it went into", Some(LIMIT), |round| impact(round, None));
    measured("the same as of half way", Some(LIMIT), |round| impact(round, half));
    measured("shortest path over all layers", Some(LIMIT), |round| {
        let path = lineage.path(&first(round), &last(round), false, None).expect("a search");
        path.map_or("none".to_owned(), |path| format!("{} hops", path.steps.len()))
    });
    measured("walk up as of half way, depth 20", Some(LIMIT), |round| {
        let walk = Walk { depth: 20, as_of: half, ..Walk::default() };
        let graph = lineage.explore(&thing(nodes / 2 - layer - round as u64), &walk).expect("a walk");
        format!("{} things", graph.nodes.len())
    });
}
