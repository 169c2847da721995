//! What differs between two runs, and between sets of documents.

use super::super::as_of::{AsOf, resolve};
use super::super::connection::{Connection, page_cost, page_length};
use super::super::scalars::{Long, Position, Real, Ref};
use crate::problem::Problem;
use crate::state::App;
use async_graphql::{Context, Enum, Object, OutputType, Result, SimpleObject};
use cairn_processors::diff as found;
use cairn_projections::lineage as rows;
use cairn_schemas::{self as schemas, Blake3, RunId};
use serde_json::Value;

/// What became of a document from one side to the other.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "rows::DocumentChange", name = "DocumentChangeKind")]
pub(crate) enum ChangeKind {
    /// The first side has it, the other has not.
    Removed,
    /// The other side has it, the first has not.
    Added,
}

/// A document that only one side has.
#[derive(Clone, SimpleObject)]
pub(crate) struct DocumentChange {
    /// The document.
    #[graphql(name = "ref")]
    reference: Ref,
    /// Which side has it.
    change: ChangeKind,
}

/// How two sets of documents differ.
#[derive(SimpleObject)]
pub(crate) struct DocumentsDiff {
    /// How many only the second has.
    added: Long,
    /// How many only the first has.
    removed: Long,
    /// How many both have.
    kept: Long,
    /// What was removed, then what was added, each in the order in which the ledger first heard of it.
    documents: Connection<DocumentChange>,
}

impl From<rows::DocumentsDiff> for DocumentsDiff {
    fn from(diff: rows::DocumentsDiff) -> Self {
        let one = |(at, (document, change)): (usize, &(schemas::Ref, rows::DocumentChange))| {
            let reference = Ref(document.clone());
            (diff.cursors.after(at), DocumentChange { reference, change: (*change).into() })
        };
        let documents = diff.items.iter().enumerate().map(one).collect();
        Self {
            added: Long(diff.added),
            removed: Long(diff.removed),
            kept: Long(diff.kept),
            documents: Connection::of(documents, diff.cursors.is_later(), diff.next.is_some()),
        }
    }
}

/// What became of a value from the first run to the second.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum ValueChangeKind {
    /// The second run has it, be it as null; the first has not.
    Added,
    /// The first run has it, be it as null; the second has not.
    Removed,
    /// Both have it, and it differs.
    Changed,
}

/// One place where two runs differ.
#[derive(Clone, SimpleObject)]
pub(crate) struct ValueChange {
    /// Where: names joined by dots, elements of lists in brackets.
    path: String,
    /// Which of the two runs has a value there.
    change: ValueChangeKind,
    /// The first run's value; null where it is that, or has none.
    before: Option<Value>,
    /// The second run's value; null where it is that, or has none.
    after: Option<Value>,
}

impl From<&found::Change> for ValueChange {
    fn from(change: &found::Change) -> Self {
        let kind = match (&change.before, &change.after) {
            (None, _) => ValueChangeKind::Added,
            (_, None) => ValueChangeKind::Removed,
            _ => ValueChangeKind::Changed,
        };
        Self { path: change.path.clone(), change: kind, before: change.before.clone(), after: change.after.clone() }
    }
}

/// A metric as a run's points have it.
#[derive(Clone, SimpleObject)]
pub(crate) struct MetricFigure {
    /// Points that count.
    points: Long,
    /// The step of the last one.
    last_step: Long,
    /// Its value.
    last: Real,
    /// The least value.
    min: Real,
    /// The greatest value.
    max: Real,
}

impl From<&found::Figure> for MetricFigure {
    fn from(figure: &found::Figure) -> Self {
        Self {
            points: Long(figure.points),
            last_step: Long(figure.last_step),
            last: Real(figure.last.0),
            min: Real(figure.min.0),
            max: Real(figure.max.0),
        }
    }
}

/// A metric that differs, or that only one of two runs has.
#[derive(Clone, SimpleObject)]
pub(crate) struct MetricChange {
    /// Its name.
    metric: String,
    /// In the first run; null where it has none.
    before: Option<MetricFigure>,
    /// In the second run; null where it has none.
    after: Option<MetricFigure>,
}

impl From<&found::MetricChange> for MetricChange {
    fn from(change: &found::MetricChange) -> Self {
        let figure = |figure: &Option<found::Figure>| figure.as_ref().map(MetricFigure::from);
        Self { metric: change.metric.clone(), before: figure(&change.before), after: figure(&change.after) }
    }
}

pub(crate) struct RunDiff(found::RunDiff);

impl RunDiff {
    /// A page of one of the lists. A cursor is of this list of these two runs.
    fn page<'a, F, T>(
        &self,
        list: &str,
        all: &'a [F],
        first: Option<i32>,
        after: Option<&str>,
    ) -> Result<Connection<T>, Problem>
    where
        T: OutputType + Clone + From<&'a F>,
    {
        let of = Blake3::of(format!("{list} {} {} {:?}", self.0.before, self.0.after, self.0.position).as_bytes());
        let of = &of.to_hex()[..16];
        let cursor = |at: usize| format!("{of}{at:08x}");
        let begin = match after {
            None => 0,
            Some(given) => {
                let at = given.strip_prefix(of).and_then(|at| usize::from_str_radix(at, 16).ok());
                let wrong = || {
                    Problem::malformed(format!(
                        "the cursor `{given}` does not belong to this list; use one of a page of the same list, as of the \
                         same position"
                    ))
                };
                at.filter(|at| *at < all.len()).ok_or_else(wrong)? + 1
            }
        };
        let count = page_length("first", first)?;
        let page = all.iter().enumerate().skip(begin).take(count);
        let items: Vec<(String, T)> = page.map(|(at, item)| (cursor(at), T::from(item))).collect();
        let is_more = begin + items.len() < all.len();
        Ok(Connection::of(items, begin > 0, is_more))
    }
}

/// How two runs differ. A list without entries says that they are equal there.
#[Object]
impl RunDiff {
    /// The position that this is as of.
    async fn position(&self) -> Option<Position> {
        self.0.position.map(Position)
    }
    /// Whether code, config, environment and data are the same: what was measured does not count.
    async fn same_work(&self) -> bool {
        self.0.is_same_work()
    }
    /// Kind, method, state, parent, seed, tokenizer, …
    async fn facts(&self) -> Vec<ValueChange> {
        self.0.facts.iter().map(ValueChange::from).collect()
    }
    /// Program, version, digest.
    async fn code(&self) -> Vec<ValueChange> {
        self.0.code.iter().map(ValueChange::from).collect()
    }
    /// Library, device, threads.
    async fn environment(&self) -> Vec<ValueChange> {
        self.0.environment.iter().map(ValueChange::from).collect()
    }
    /// Settings, by path.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn config(
        &self,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
    ) -> Result<Connection<ValueChange>> {
        Ok(self.page("config", &self.0.config, first, after.as_deref())?)
    }
    /// Figures of jobs that are no trainings, by path.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn summary(
        &self,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
    ) -> Result<Connection<ValueChange>> {
        Ok(self.page("summary", &self.0.summary, first, after.as_deref())?)
    }
    /// Metrics whose figures differ, or that one of the two does not have, by name.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn metrics(
        &self,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
    ) -> Result<Connection<MetricChange>> {
        Ok(self.page("metrics", &self.0.metrics, first, after.as_deref())?)
    }
    /// How many metrics are equal in both.
    async fn metrics_equal(&self) -> Long {
        Long(self.0.metrics_equal)
    }
    /// Dataset versions that the first run used, or else made.
    async fn datasets_before(&self) -> Vec<Ref> {
        self.0.data.datasets_before.iter().cloned().map(Ref).collect()
    }
    /// Dataset versions that the second run used, or else made.
    async fn datasets_after(&self) -> Vec<Ref> {
        self.0.data.datasets_after.iter().cloned().map(Ref).collect()
    }
    /// What only the first run used, besides datasets.
    async fn inputs_removed(&self) -> Vec<Ref> {
        self.0.data.inputs_removed.iter().cloned().map(Ref).collect()
    }
    /// What only the second run used, besides datasets.
    async fn inputs_added(&self) -> Vec<Ref> {
        self.0.data.inputs_added.iter().cloned().map(Ref).collect()
    }
    /// Documents of the two runs' datasets, or of the runs where they ingest.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn documents(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
    ) -> Result<DocumentsDiff> {
        let mut query = found::DiffQuery::of(self.0.before, self.0.after);
        (query.as_of, query.documents_first) = (self.0.position, page_length("first", first)?);
        query.documents_after = after;
        let documents = ctx.data::<App>()?.read(move |ctx| Ok(found::documents(ctx, &query)?));
        Ok(documents.await?.into())
    }
}

pub(super) async fn runs(ctx: &Context<'_>, before: &str, after: &str, as_of: Option<AsOf>) -> Result<RunDiff> {
    let run = |text: &str| text.parse::<RunId>().map_err(|e| Problem::malformed(e.to_string()));
    let app = ctx.data::<App>()?;
    let mut query = found::DiffQuery::of(run(before)?, run(after)?);
    // The documents are asked for by their own field.
    (query.as_of, query.documents_first) = (resolve(ctx, as_of).await?, 0);
    Ok(RunDiff(app.read(move |ctx| Ok(found::diff(ctx, &query)?)).await?))
}
