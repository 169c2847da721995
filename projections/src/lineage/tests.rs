//! The graph: both ways, deep, wide, in circles.

use super::{Direction, Graph, Limit, Lineage, PROJECTION};
use crate::Error;
use crate::testing::{
    artifact, committed, document, ingested, job_completed, job_started, live, model, promoted, reference, response,
    run_id,
};
use cairn_schemas::events::custom::CustomRecorded;
use cairn_schemas::events::dataset::DocumentsAdded;
use cairn_schemas::{Event, RawJson, Ref};

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
    assert_eq!((edge.to.clone(), edge.event_type.as_str()), (deployment(), "cairn.deployment.promoted.v1"));
    let said = lineage.explain(&model, &deployment()).unwrap();
    let said: Vec<_> = said.iter().map(|s| (s.event_type.as_str(), s.events, s.last.get() - s.first.get())).collect();
    // A response produces nothing: what it used is linked to what it is about.
    assert_eq!(said, [("cairn.deployment.promoted.v1", 1, 0), ("cairn.deployment.response_generated.v1", 3, 2)]);
    assert!(lineage.explain(&deployment(), &model).unwrap().is_empty());
    assert!(lineage.explain(&document(77), &model).unwrap().is_empty());
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
        let page = lineage.neighbours(&dataset, Direction::Up, Some("document"), after.as_deref(), 700).unwrap();
        assert_eq!(page.total, 3_000);
        found.extend(page.neighbours);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, (0..3_000).map(document).collect::<Vec<_>>());
    let all = lineage.neighbours(&dataset, Direction::Up, None, None, 10).unwrap();
    assert_eq!((all.neighbours[0].clone(), all.total), (Ref::Run(run_id(1)), 3_001));
    let wrong = lineage.neighbours(&dataset, Direction::Up, None, Some("zz"), 10);
    assert!(matches!(wrong, Err(Error::Cursor { .. })));
    let wrong = lineage.neighbours(&dataset, Direction::Up, Some("doc"), None, 10).unwrap_err().to_string();
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
