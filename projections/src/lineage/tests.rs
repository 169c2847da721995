//! The graph: both ways, deep, wide, in circles; as of a position; impact and paths. Against a plain list of edges: `model`.

mod model;

use super::{Direction, Graph, ImpactQuery, Limit, Lineage, PROJECTION, Relation, Start, Walk};
use crate::Error;
use crate::testing::{
    List, artifact, committed, document, ingested, job_completed, job_started, live, model, promoted, reference,
    response, run_id, training_started,
};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::events::dataset::DocumentsAdded;
use cairn_schemas::{Event, Position, RawJson, Ref};

const WIDE: Limit = Limit { nodes: 100_000, fan_out: 100_000 };

fn lineage(events: Vec<Event>) -> Lineage {
    Lineage::over(live(&PROJECTION, events))
}

fn deployment() -> Ref {
    reference("deployment:prod")
}

/// From documents to a deployment.
fn chain(documents: u64) -> Vec<Event> {
    let dataset = reference("ds://team/web@1.0.0");
    let mut events: Vec<Event> = vec![job_started(1, 1, "ingest", vec![]).into()];
    events.extend((0..documents).map(ingested));
    let all: Vec<Ref> = (0..documents).map(document).collect();
    for (page, documents) in (1..).zip(all.chunks(500)) {
        events.push(DocumentsAdded { dataset: dataset.clone(), page, documents: documents.to_vec() }.into());
    }
    events.push(committed(&dataset));
    events.push(job_started(2, 1, "train", vec![dataset]).into());
    events.push(job_completed(2, 1, vec![artifact("weights 1")]));
    events.push(model(1, 2));
    events.push(promoted("prod", 1));
    events.extend([response(1), response(1), response(1)]);
    events
}

fn custom<const U: usize, const P: usize>(used: [&Ref; U], produced: [&Ref; P]) -> Event {
    let (used, produced) = (used.map(Ref::clone).into(), produced.map(Ref::clone).into());
    CustomRecorded { kind: "a.b".into(), about: None, used, produced, data: RawJson::default() }.into()
}

fn names(graph: &Graph) -> Vec<String> {
    graph.nodes.iter().map(|node| node.reference.to_string()).collect()
}

#[test]
fn a_deployment_leads_up_to_its_documents_and_a_document_down_to_it() {
    let lineage = lineage(chain(3));
    let up = lineage.walk(&deployment(), Direction::Up, 20, WIDE).unwrap();
    assert!(!up.truncated);
    for expected in [
        reference("model://team/chat@1"),
        Ref::Run(run_id(2)),
        reference("ds://team/web@1.0.0"),
        document(2),
        Ref::Run(run_id(1)),
    ] {
        assert!(up.nodes.iter().any(|node| node.reference == expected), "{expected} in {:?}", names(&up));
    }
    assert!(up.nodes.windows(2).all(|pair| pair[0].depth <= pair[1].depth), "by depth");
    assert!(up.edges.windows(2).all(|pair| pair[0].position <= pair[1].position), "by position");

    let down = lineage.walk(&document(0), Direction::Down, 20, WIDE).unwrap();
    assert!(down.nodes.iter().any(|node| node.reference == deployment()));
    assert!(!down.nodes.iter().any(|node| node.reference == document(1)), "not to its siblings");

    let both = lineage.walk(&reference("ds://team/web@1.0.0"), Direction::Both, 20, WIDE).unwrap();
    assert!([deployment(), document(0)].iter().all(|end| both.nodes.iter().any(|node| node.reference == *end)));
    assert_eq!(lineage.walk(&document(99), Direction::Both, 20, WIDE).unwrap(), Graph::default());
}

#[test]
fn edges_say_which_events_made_them() {
    let lineage = lineage(chain(3));
    let graph = lineage.walk(&deployment(), Direction::Up, 1, 100).unwrap();
    let model = reference("model://team/chat@1");
    let edge = graph.edges.iter().find(|edge| edge.from == model).unwrap();
    assert_eq!((edge.to.clone(), edge.event_type), (deployment(), "cairn.deployment.promoted.v1"));
    let said = lineage.explain(&model, &deployment(), None).unwrap();
    let said: Vec<_> = said.iter().map(|s| (s.event_type, s.events, s.last.get() - s.first.get())).collect();
    // A response produces nothing: what it used is linked to what it is about.
    assert_eq!(said, [("cairn.deployment.promoted.v1", 1, 0), ("cairn.deployment.response_generated.v1", 3, 2)]);
    assert!(lineage.explain(&deployment(), &model, None).unwrap().is_empty());
    assert!(lineage.explain(&document(77), &model, None).unwrap().is_empty());
}

#[test]
fn thousands_of_documents_do_not_hide_the_rest() {
    let lineage = lineage(chain(3_000));
    let limit = Limit { nodes: 200, fan_out: 10 };
    let graph = lineage.walk(&deployment(), Direction::Up, 20, limit).unwrap();
    assert!(graph.truncated && graph.nodes.len() <= 200);
    let dataset = graph.nodes.iter().find(|node| node.kind == "dataset").unwrap();
    assert_eq!(dataset.more, [("document", 2_991)], "nine documents and the run that made it");
    assert!(graph.nodes.iter().any(|node| node.reference == Ref::Run(run_id(1))), "{:?}", names(&graph));
    assert_eq!(graph, lineage.walk(&deployment(), Direction::Up, 20, limit).unwrap(), "always the same");

    let shallow = lineage.walk(&deployment(), Direction::Up, 1, WIDE).unwrap();
    assert!(shallow.truncated, "for depth");
    let small = lineage.walk(&deployment(), Direction::Up, 20, 3).unwrap();
    assert!(small.truncated && small.nodes.len() == 3, "{:?}", names(&small));

    let dataset = reference("ds://team/web@1.0.0");
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = lineage.neighbours(&dataset, Direction::Up, Some("document"), None, after.as_deref(), 700).unwrap();
        assert_eq!(page.total, 3_000);
        found.extend(page.neighbours);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..3_000).map(document).collect::<Vec<_>>());
    let all = lineage.neighbours(&dataset, Direction::Up, None, None, None, 10).unwrap();
    assert_eq!((all.neighbours[0].clone(), all.total), (Ref::Run(run_id(1)), 3_001));
    let wrong = lineage.neighbours(&dataset, Direction::Up, None, None, Some("zz"), 10);
    assert!(matches!(wrong, Err(Error::Cursor { .. })));
    let wrong = lineage.neighbours(&dataset, Direction::Up, Some("doc"), None, None, 10).unwrap_err().to_string();
    assert!(wrong.contains("`doc`") && wrong.contains("document"), "{wrong}");
}

#[test]
fn circles_end() {
    let [a, b, c] = ["a", "b", "c"].map(artifact);
    let lineage = lineage(vec![custom([&a], [&b]), custom([&b], [&c]), custom([&c], [&a, &c])]);
    for direction in [Direction::Up, Direction::Down, Direction::Both] {
        let graph = lineage.walk(&a, direction, u32::MAX, WIDE).unwrap();
        assert_eq!((graph.nodes.len(), graph.edges.len(), graph.truncated), (3, 3, false), "{direction:?}");
    }
    assert_eq!(lineage.nodes_total().unwrap(), 3);
    let alone = lineage.walk(&a, Direction::Down, 0, WIDE).unwrap();
    assert_eq!((alone.nodes.len(), alone.nodes[0].more_total(), alone.truncated), (1, 1, true));
}

#[test]
fn kinds_that_are_not_shown_are_walked_through() {
    let lineage = lineage(chain(3));
    let kinds = vec!["dataset".to_owned(), "document".to_owned()];
    let walk = Walk { depth: 20, kinds, limit: WIDE, ..Walk::default() };
    let graph = lineage.explore(&deployment(), &walk).unwrap();
    let kinds: Vec<&str> = graph.nodes.iter().map(|node| node.kind).collect();
    assert_eq!(kinds, ["deployment", "dataset", "document", "document", "document"]);
    let edges: Vec<_> = graph.edges.iter().map(|e| (e.from.kind(), e.to.kind(), e.through)).collect();
    // From the model, which names its dataset: the model lies between.
    assert!(edges.contains(&("dataset", "deployment", 1)), "{edges:?}");
    assert_eq!(edges.iter().filter(|edge| **edge == ("document", "dataset", 0)).count(), 3);
    assert_eq!((edges.len(), graph.truncated), (4, false));
    let short = lineage.explore(&deployment(), &Walk { depth: 1, ..walk }).unwrap();
    assert_eq!((short.nodes.len(), short.truncated), (1, true));
    let wrong = Walk { kinds: vec!["table".into()], ..Walk::default() };
    let wrong = lineage.explore(&deployment(), &wrong).unwrap_err().to_string();
    assert!(wrong.contains("`table`") && wrong.contains("artifact"), "{wrong}");
}

#[test]
fn a_path_names_the_events_that_say_each_hop() {
    let lineage = lineage(chain(3));
    let path = lineage.path(&document(1), &deployment(), false, None).unwrap().unwrap();
    let hops: Vec<_> =
        path.steps.iter().map(|s| (s.from.kind(), s.to.kind(), s.is_along, s.said[0].event_type)).collect();
    assert_eq!(path.relation, Relation::WentInto);
    assert_eq!(
        hops,
        [
            ("document", "dataset", true, "cairn.dataset.documents_added.v1"),
            ("dataset", "model", true, "cairn.model.version_registered.v1"),
            ("model", "deployment", true, "cairn.deployment.promoted.v1"),
        ]
    );
    assert_eq!(path.steps[2].said[1].events, 3, "and the responses");
    let back = lineage.path(&deployment(), &document(1), false, None).unwrap().unwrap();
    assert_eq!(back.relation, Relation::MadeOf);
    assert!(back.steps.iter().all(|step| !step.is_along));
    assert_eq!(back.steps.len(), 3);
    assert_eq!(lineage.path(&document(1), &document(2), false, None).unwrap(), None);
    let related = lineage.path(&document(1), &document(2), true, None).unwrap().unwrap();
    assert_eq!((related.relation, related.steps.len()), (Relation::Related, 2), "by the run that ingested both");
    assert_eq!(lineage.path(&document(1), &document(1), true, None).unwrap().unwrap().relation, Relation::Same);
    assert_eq!(lineage.path(&document(1), &document(99), true, None).unwrap(), None);
}

#[test]
fn a_commit_leads_to_the_runs_of_its_code_and_to_what_they_made() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let mut events = chain(2);
    let code = RawJson::parse(&format!(r#"{{"git": {{"commit": "{commit}"}}}}"#)).unwrap();
    let Event::RunStarted(mut started) = training_started(3, 1) else { unreachable!("it makes one") };
    started.code = code;
    events.push(started.into());
    events.push(model(7, 3));
    let lineage = lineage(events);
    let impact = |text: &str| lineage.impact(&ImpactQuery::of(Start::Commit(text.to_owned())));
    for text in [commit, &commit[..7], &commit.to_uppercase(), &format!("commit:{commit}")] {
        let found = impact(text).unwrap();
        let items: Vec<_> = found.items.iter().map(|item| (item.reference.clone(), item.depth)).collect();
        assert_eq!(items[0], (Ref::Run(run_id(3)), 1), "{text}");
        assert_eq!(items[1], (reference("model://team/chat@7"), 2));
        assert_eq!(found.counts, [("model", 1), ("run", 1)]);
    }
    assert_eq!(lineage.runs_of_code(commit, None).unwrap().len(), 1);
    let before = Position::new(2);
    assert_eq!(lineage.runs_of_code(commit, before).unwrap(), []);
    assert_eq!(impact("fedcba9").unwrap().total, 0);
    for wrong in ["main", "0123", "", "commit:xyzxyzx"] {
        let error = impact(wrong).unwrap_err().to_string();
        assert!(error.contains("7 to 64 hexadecimal digits"), "{error}");
    }
}

#[test]
fn impact_is_counted_by_kind_and_listed_in_pages_of_one_position() {
    let list = List::of(chain(30));
    let live = live(&PROJECTION, []);
    live.apply(&list.all()).unwrap();
    let lineage = Lineage::over(live.clone());
    let whole = ImpactQuery::of(Start::Things(vec![document(0), document(1), document(99)]));
    let found = lineage.impact(&whole).unwrap();
    assert_eq!((found.starts, found.total, found.items.len() as u64), (2, found.total, found.total));
    let counted: u64 = found.counts.iter().map(|(_, count)| count).sum();
    assert_eq!(counted, found.total);
    assert!(found.items.windows(2).all(|pair| pair[0].depth <= pair[1].depth));
    assert!(!found.items.iter().any(|item| item.kind == "document"), "what was asked for is not among the answer");
    let page = lineage.impact(&ImpactQuery { first: 2, ..whole.clone() }).unwrap();
    // What is recorded between two pages is in neither.
    list.extend([custom([&document(0)], [&artifact("new")])]);
    live.apply(&list.all()).unwrap();
    let (mut paged, mut next) = (page.items.clone(), page.next);
    while let Some(after) = next {
        let page = lineage.impact(&ImpactQuery { first: 2, after: Some(after), ..whole.clone() }).unwrap();
        assert_eq!(page.total, found.total);
        paged.extend(page.items);
        next = page.next;
    }
    assert_eq!(paged, found.items);
    assert_eq!(lineage.impact(&whole).unwrap().total, found.total + 1);
    let models = ImpactQuery { kinds: vec!["model".into()], ..whole.clone() };
    assert_eq!(lineage.impact(&models).unwrap().counts, [("model", 1)]);
    let near = lineage.impact(&ImpactQuery { depth: 1, ..whole.clone() }).unwrap();
    assert!(near.truncated && near.total < found.total);
    let of_another = lineage.impact(&ImpactQuery { first: 2, ..models.clone() }).unwrap();
    assert!(of_another.next.is_none());
    let foreign = lineage.impact(&ImpactQuery { first: 1, ..whole.clone() }).unwrap().next;
    assert!(matches!(lineage.impact(&ImpactQuery { after: foreign, ..models }), Err(Error::Cursor { .. })));
}

#[test]
fn documents_are_compared_between_versions() {
    let [one, two] = ["ds://team/web@1.0.0", "ds://team/web@2.0.0"].map(reference);
    let page = |dataset: &Ref, documents: std::ops::Range<u64>| -> Event {
        DocumentsAdded { dataset: dataset.clone(), page: 1, documents: documents.map(document).collect() }.into()
    };
    let lineage = lineage(vec![page(&one, 0..10), committed(&one), page(&two, 4..17), committed(&two)]);
    let (before, after) = ([one.clone()], [two.clone()]);
    let diff = lineage.documents_diff(&before, &after, None, None, 100).unwrap();
    assert_eq!((diff.added, diff.removed, diff.kept, diff.items.len()), (7, 4, 6, 11));
    let removed: Vec<Ref> = (0..4).map(document).collect();
    let items: Vec<Ref> = diff.items.iter().map(|(document, _)| document.clone()).collect();
    assert_eq!(items[..4], removed);
    assert_eq!(items[4..], (10..17).map(document).collect::<Vec<_>>());
    let first = lineage.documents_diff(&before, &after, None, None, 6).unwrap();
    let rest = lineage.documents_diff(&before, &after, None, first.next.as_deref(), 6).unwrap();
    assert_eq!([first.items, rest.items].concat(), diff.items);
    assert_eq!(rest.next, None);
    let early = lineage.documents_diff(&before, &after, Position::new(2), None, 0).unwrap();
    assert_eq!((early.added, early.removed, early.kept), (0, 10, 0));
}
