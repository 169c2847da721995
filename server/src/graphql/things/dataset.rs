//! Datasets and the documents they are made of.

use crate::state::App;
use async_graphql::{Context, MergedObject, Object, Result, SimpleObject};
use cairn_projections::catalog::{Entity, NamedDocument};
use serde_json::Value;

use super::super::connection::{Connection, page_cost, page_length};
use super::super::scalars::{Long, Ref};
use super::list::Place;
use super::{Run, Thing};

/// A version of a dataset.
#[derive(Clone, MergedObject)]
pub(crate) struct Dataset(pub(crate) Thing, DatasetFields);

impl From<Thing> for Dataset {
    fn from(thing: Thing) -> Self {
        Self(thing.clone(), DatasetFields(thing))
    }
}

/// A part of a version.
#[derive(Clone, SimpleObject)]
pub(crate) struct Split {
    /// train, validation, test, …
    name: String,
    /// Number of rows.
    rows: Long,
    /// BLAKE3 of the rows in order.
    digest: String,
    /// The artifacts that hold the rows.
    shards: Vec<Ref>,
}

/// What only datasets have.
#[derive(Clone)]
struct DatasetFields(Thing);

#[Object]
impl DatasetFields {
    /// Number of rows; null while it is being built.
    async fn rows(&self) -> Option<Long> {
        self.0.long(&["rows"])
    }
    /// Number of documents it is made of.
    async fn document_count(&self) -> Long {
        self.0.long(&["documents"]).unwrap_or(Long(0))
    }
    /// Its splits.
    async fn splits(&self) -> Result<Vec<Split>> {
        let splits = self.0.json(&["splits"]).unwrap_or_else(|| Value::Array(Vec::new()));
        let splits: Vec<cairn_schemas::events::dataset::Split> = serde_json::from_value(splits)?;
        let split = |split: cairn_schemas::events::dataset::Split| Split {
            name: split.name,
            rows: Long(split.rows),
            digest: split.digest.to_string(),
            shards: split.shards.into_iter().map(Ref).collect(),
        };
        Ok(splits.into_iter().map(split).collect())
    }
    /// The artifact whose digest is the version's content address.
    async fn manifest(&self) -> Option<Ref> {
        self.0.a_ref(&["manifest"])
    }
    /// The artifact with a description for people.
    async fn card(&self) -> Option<Ref> {
        self.0.a_ref(&["card"])
    }
    /// What decided its content: templates, splits, seed, redaction.
    async fn config(&self) -> Option<Value> {
        self.0.json(&["config"])
    }
    /// Why it must no longer be used.
    async fn withdrawn_because(&self) -> Option<String> {
        self.0.text(&["withdrawn_because"])
    }
    /// The run that built it.
    async fn run(&self, ctx: &Context<'_>) -> Result<Option<Run>> {
        self.0.linked_run(ctx, &["run"]).await
    }
    /// Versions that it was derived from.
    async fn parents(&self, ctx: &Context<'_>) -> Result<Vec<Dataset>> {
        let parents = self.0.all_linked(ctx, self.0.refs(&["parents"])).await?;
        Ok(parents.into_iter().map(Dataset::from).collect())
    }
    /// The documents it is made of, in the order of its pages; as many as documentCount says. One that was never ingested is
    /// there too: its state is `named`, and only its ref is known.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn documents(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Documents of the page; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Goes on after this cursor.")] after: Option<String>,
    ) -> Result<Connection<Document>> {
        let length = page_length("first", first)?;
        let (app, dataset, as_of) = (ctx.data::<App>()?, self.0.reference()?, self.0.as_of);
        let (family, project) = (format!("documents of {dataset}"), self.0.entity().project.clone());
        let place = after.as_deref().map(|text| Place::decode(&family, text)).transpose()?.unwrap_or_default();
        let page = app.read(move |ctx| {
            let catalog = ctx.projections().catalog();
            let page = catalog.documents(&dataset, as_of, place.after.as_deref(), place.seen + length)?;
            let wanted: Vec<_> = page.items[place.seen.min(page.items.len())..].iter().collect();
            let keys: Vec<_> = wanted.iter().map(|named| (named.document.to_string(), as_of)).collect();
            let mut documents = Vec::with_capacity(wanted.len());
            for (index, (named, entity)) in wanted.into_iter().zip(catalog.states(&keys)?).enumerate() {
                let seen = Place { after: place.after.clone(), seen: place.seen + index + 1 };
                let entity = entity.unwrap_or_else(|| unknown(named, &project));
                documents.push((seen.encode(&family), Document::from(Thing::new(entity, as_of))));
            }
            Ok((documents, page.next.map(|next| Place { after: Some(next), seen: 0 }.encode(&family))))
        });
        let (items, next) = page.await?;
        let mut connection = Connection::of(items, after.is_some(), next.is_some());
        connection.page_info.end_cursor = next.or(connection.page_info.end_cursor);
        Ok(connection)
    }
}

/// What is known of a document that a dataset names and no event says to have been ingested.
fn unknown(named: &NamedDocument, project: &str) -> Entity {
    let reference = named.document.to_string();
    Entity {
        kind: "document".into(),
        name: reference.clone(),
        reference,
        state: "named".into(),
        project: project.to_owned(),
        created_position: named.position,
        created_at: named.recorded_at,
        updated_position: named.position,
        updated_at: named.recorded_at,
        attributes: Value::Object(serde_json::Map::new()),
        owner: None,
        tags: serde_json::Map::new(),
        notes: Vec::new(),
    }
}

/// A document as it was ingested; its text is in the artifacts of the run that ingested it.
#[derive(Clone, MergedObject)]
pub(crate) struct Document(pub(crate) Thing, DocumentFields);

impl From<Thing> for Document {
    fn from(thing: Thing) -> Self {
        Self(thing.clone(), DocumentFields(thing))
    }
}

/// What only documents have.
#[derive(Clone)]
struct DocumentFields(Thing);

#[Object]
impl DocumentFields {
    /// Where it came from.
    async fn source_uri(&self) -> Option<String> {
        self.0.text(&["source_uri"])
    }
    /// The source it was read from.
    async fn source(&self) -> Option<String> {
        self.0.text(&["source"])
    }
    /// Who wrote it.
    async fn author(&self) -> Option<String> {
        self.0.text(&["author"])
    }
    /// Tag of the policy that governs access to it.
    async fn access_policy(&self) -> Option<String> {
        self.0.text(&["access_policy"])
    }
    /// Media type.
    async fn content_type(&self) -> Option<String> {
        self.0.text(&["content_type"])
    }
    /// BCP 47 tag; und where it could not be told.
    async fn language(&self) -> Option<String> {
        self.0.text(&["language"])
    }
    /// Length of its text as kept.
    async fn bytes(&self) -> Option<Long> {
        self.0.long(&["bytes"])
    }
    /// SHA-256 of its text as kept; its ref has the BLAKE3.
    async fn sha256(&self) -> Option<String> {
        self.0.text(&["sha256"])
    }
    /// Personal data findings that were redacted, by kind.
    async fn redactions(&self) -> Option<Value> {
        self.0.json(&["redactions"])
    }
    /// The run that ingested it.
    async fn run(&self, ctx: &Context<'_>) -> Result<Option<Run>> {
        self.0.linked_run(ctx, &["run"]).await
    }
}
