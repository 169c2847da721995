//! Questions to the results: leaderboards, the best, all of them, the grid in which what is missing is shown, comparisons.
#![allow(clippy::too_many_arguments, reason = "the arguments of a field are those of its function")]

mod comparison;
mod matrix;

use crate::cursor;
use crate::problem::Problem;
use async_graphql::{Context, InputObject, Object, Result, SimpleObject};
use cairn_projections::evals::{At, Board, Filter, Grid, Place};
use cairn_schemas::Blake3;

use super::as_of::AsOf;
use super::connection::{Connection, Edge, PageInfo, page_cost, page_length};
use super::query::wait;
use super::results::{Standing, Task, at};
use super::scalars::{Long, Position, Real, Ref, Timestamp};
use comparison::Comparison;
use matrix::Matrix;

/// What a comparison costs beside its fields: some seconds of work, so that two go into one request.
const COMPARISON_COST: usize = 20_000;
/// Columns that a grid is taken to have.
const COLUMNS_COST: usize = 10;

/// Which results. In texts * stands for any characters; what is absent takes all.
#[derive(Clone, Debug, Default, InputObject)]
pub(crate) struct ResultFilter {
    /// The suite that the task belongs to.
    suite: Option<String>,
    /// all, or the name of a part.
    slice: Option<String>,
    /// The dataset that it was measured on: ds://team/web@* is every version.
    dataset: Option<String>,
    /// The first digits of the protocol's digest.
    protocol: Option<String>,
    /// What was measured: model://team/chat@* is every version.
    subject: Option<String>,
    /// From this step of a checkpoint on.
    from_step: Option<Long>,
    /// Up to this step of a checkpoint.
    to_step: Option<Long>,
}

impl ResultFilter {
    fn of(given: Option<Self>, task: Option<String>, metric: Option<String>) -> Filter {
        let given = given.unwrap_or_default();
        Filter {
            suite: given.suite,
            task,
            metric,
            slice: given.slice,
            dataset: given.dataset,
            protocol: given.protocol,
            subject: given.subject,
            from_step: given.from_step.map(|step| step.0),
            to_step: given.to_step.map(|step| step.0),
        }
    }
}

/// A page of a leaderboard. The pages behind one another are as of one position, whatever is recorded meanwhile.
#[derive(SimpleObject)]
struct Leaderboard {
    /// The results, best first, each with its cursor.
    edges: Vec<Edge<Standing>>,
    /// The results, best first.
    nodes: Vec<Standing>,
    /// Where the page lies.
    page_info: PageInfo,
    /// Results on the whole board.
    total: Long,
}

/// The best of the results that are comparable with one another.
#[derive(SimpleObject)]
struct Best {
    /// The result.
    standing: Standing,
    /// Results of its suite, slice and protocol that it stands before or beside, itself among them.
    among: Long,
}

pub(super) struct Evaluations;

#[Object]
impl Evaluations {
    /// The subjects' latest results on a metric of a task, best first. A subject stands once for each suite, slice, step
    /// and protocol; superseded results are left out; NaN comes last. Ranks are given among comparable results only: those
    /// of one suite, slice and protocol.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn leaderboard(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The task: `tasks` names those there are.")] task: String,
        #[graphql(desc = "The metric.")] metric: String,
        #[graphql(name = "where", desc = "Which results.")] filter: Option<ResultFilter>,
        #[graphql(desc = "As it stood then, which never changes; now where absent.")] as_of: Option<AsOf>,
        #[graphql(
            desc = "Only what had occurred by then, as its producer says: for history that was imported late. Of a \
                          subject the latest measurement stands, not the latest record."
        )]
        valid_at: Option<Timestamp>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Leaderboard> {
        let app = wait(ctx, at_least).await?;
        let length = page_length("first", first)?;
        let at = at(ctx, as_of, valid_at).await?;
        let board = Board { task, metric, filter: ResultFilter::of(filter, None, None), at };
        let has_previous_page = after.is_some();
        let page =
            app.read(move |ctx| Ok(ctx.projections().evals().leaderboard(&board, after.as_deref(), length)?)).await?;
        let page_info = PageInfo {
            has_previous_page,
            has_next_page: page.has_more,
            start_cursor: page.items.first().map(|item| item.cursor.clone()),
            end_cursor: page.items.last().map(|item| item.cursor.clone()),
        };
        let edge = |item: cairn_projections::evals::Ranked| Edge { cursor: item.cursor.clone(), node: item.into() };
        let edges: Vec<Edge<Standing>> = page.items.into_iter().map(edge).collect();
        let nodes = edges.iter().map(|edge| edge.node.clone()).collect();
        Ok(Leaderboard { edges, nodes, page_info, total: Long(page.total) })
    }

    /// The best result on a metric of a task, as of any time: one for each suite, slice and protocol, since unlike ones are
    /// not ranked against one another. The protocol that was used last comes first.
    async fn best(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The task: `tasks` names those there are.")] task: String,
        #[graphql(desc = "The metric.")] metric: String,
        #[graphql(name = "where", desc = "Which results.")] filter: Option<ResultFilter>,
        #[graphql(desc = "As it stood then, which never changes; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Only what had occurred by then, as its producer says.")] valid_at: Option<Timestamp>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Vec<Best>> {
        let app = wait(ctx, at_least).await?;
        let at = at(ctx, as_of, valid_at).await?;
        let board = Board { task, metric, filter: ResultFilter::of(filter, None, None), at };
        let found = app.read(move |ctx| Ok(ctx.projections().evals().best(&board)?)).await?;
        Ok(found.into_iter().map(|best| Best { standing: best.standing.into(), among: Long(best.among) }).collect())
    }

    /// All results in order of position, superseded ones marked.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn results(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only this task; * stands for any characters.")] task: Option<String>,
        #[graphql(desc = "Only this metric; * stands for any characters.")] metric: Option<String>,
        #[graphql(name = "where", desc = "Which results.")] filter: Option<ResultFilter>,
        #[graphql(desc = "As it stood then, which never changes; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Only what had occurred by then, as its producer says.")] valid_at: Option<Timestamp>,
        #[graphql(desc = "How many; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Connection<Standing>> {
        let app = wait(ctx, at_least).await?;
        let length = page_length("first", first)?;
        let at = at(ctx, as_of, valid_at).await?;
        let filter = ResultFilter::of(filter, task, metric);
        let family = family(&filter, &at);
        let place = after.as_deref().map(|after| place(&family, after)).transpose()?;
        // Counting goes over all of them, so it is done where it is asked for.
        let is_counted = ctx.look_ahead().field("totalCount").exists();
        let found = app.read(move |ctx| {
            let evals = ctx.projections().evals();
            let total = if is_counted { Some(evals.results_total(&filter, &at)?) } else { None };
            Ok((evals.results(&filter, &at, place, length)?, total))
        });
        let ((rows, more), total) = found.await?;
        let item = |row: cairn_projections::evals::Standing| {
            (cursor::encode(&family, &format!("{}-{}", row.position, row.ordinal)), Standing::from(row))
        };
        let mut connection = Connection::of(rows.into_iter().map(item).collect(), after.is_some(), more);
        connection.total_count = total.map(Long);
        Ok(connection)
    }

    /// The grid of subjects and tasks, in which what is missing is shown as missing: failed, superseded or never evaluated.
    #[graphql(complexity = "page_cost(first, child_complexity.saturating_mul(COLUMNS_COST))")]
    async fn matrix(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The rows in this order, whether or not anything is known of them; where absent every subject \
                          that `where` takes, in order of name."
        )]
        subjects: Option<Vec<Ref>>,
        #[graphql(desc = "Only these tasks; * stands for any characters.")] task: Option<String>,
        #[graphql(desc = "Only these metrics; * stands for any characters.")] metric: Option<String>,
        #[graphql(name = "where", desc = "Which results and subjects.")] filter: Option<ResultFilter>,
        #[graphql(
            desc = "A row for each step of a subject, among them checkpoints that were never evaluated.",
            default
        )]
        by_step: bool,
        #[graphql(desc = "As it stood then, which never changes; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Only what had occurred by then, as its producer says.")] valid_at: Option<Timestamp>,
        #[graphql(desc = "How many rows; 20 where absent, at most 500.")] first: Option<i32>,
        #[graphql(desc = "Begins after this cursor.")] after: Option<String>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Matrix> {
        let app = wait(ctx, at_least).await?;
        let length = page_length("first", first)?;
        let at = at(ctx, as_of, valid_at).await?;
        let subjects = subjects.unwrap_or_default().into_iter().map(|subject| subject.0).collect();
        let grid = Grid { subjects, by_step, filter: ResultFilter::of(filter, task, metric), at };
        let has_previous = after.is_some();
        let found = app.read(move |ctx| Ok(ctx.projections().evals().matrix(&grid, after.as_deref(), length)?)).await?;
        Ok(Matrix::of(found, has_previous))
    }

    /// 2 to 4 subjects on a metric of a task, by their latest results of one protocol; sample by sample where samples were
    /// kept: McNemar's exact test where they are right or wrong, else the paired permutation test, with the paired
    /// bootstrap's intervals and Holm's correction over the pairs. Results of unlike protocols are refused, with the fields
    /// that differ.
    #[graphql(complexity = "COMPARISON_COST + child_complexity")]
    async fn compare_evaluations(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Refs of models, runs or evaluations; run:<uuid>#2000 is a checkpoint by its step.")]
        subjects: Vec<String>,
        #[graphql(desc = "The task.")] task: String,
        #[graphql(desc = "The metric; may be absent where the task has one.")] metric: Option<String>,
        #[graphql(name = "where", desc = "Which results of them.")] filter: Option<ResultFilter>,
        #[graphql(desc = "Shows unlike protocols beside each other, without a verdict.", default)] side_by_side: bool,
        #[graphql(
            desc = "Of the intervals, and of the verdicts together; inside 0 to 1.",
            default_with = "Real(0.95)"
        )]
        confidence: Real,
        #[graphql(desc = "Draws of the bootstrap, 100 to 100,000.", default = 10_000)] resamples: i32,
        #[graphql(desc = "The same seed gives the same answer.", default_with = "Long(17)")] seed: Long,
        #[graphql(desc = "Samples to show at most, 0 to 500: those on which the scores differ most.", default = 0)]
        samples: i32,
        #[graphql(desc = "As it stood then, which never changes; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Only what had occurred by then, as its producer says.")] valid_at: Option<Timestamp>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Comparison> {
        let app = wait(ctx, at_least).await?;
        let at = at(ctx, as_of, valid_at).await?;
        let filter = ResultFilter::of(filter, None, None);
        let numbers = comparison::Numbers { confidence: confidence.0, resamples, seed: seed.0, samples };
        let question = comparison::question(&subjects, task, metric, filter, at, side_by_side, numbers)?;
        let found = app.read(move |ctx| Ok(cairn_processors::comparison::compare(ctx, &question)?)).await?;
        Ok(Comparison::from(found))
    }

    /// The tasks and metrics that results exist for.
    async fn tasks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "As it stood then, which never changes; now where absent.")] as_of: Option<AsOf>,
        #[graphql(desc = "Only what had occurred by then, as its producer says.")] valid_at: Option<Timestamp>,
        #[graphql(desc = "Waits until this position is covered.")] at_least: Option<Position>,
    ) -> Result<Vec<Task>> {
        let app = wait(ctx, at_least).await?;
        let at = at(ctx, as_of, valid_at).await?;
        let rows = app.read(move |ctx| Ok(ctx.projections().evals().tasks(&at)?)).await?;
        Ok(rows.into_iter().map(Task::from).collect())
    }
}

/// The family of cursors of one question to the results.
fn family(filter: &Filter, at: &At) -> String {
    let question = Blake3::of(format!("{filter:?} {at:?}").as_bytes());
    format!("results/{}", &question.to_hex()[..12])
}

fn place(family: &str, text: &str) -> Result<Place, Problem> {
    let wrong = || Problem::malformed("the cursor's place is not one that an answer gave; begin without `after`");
    let place = cursor::decode(family, text)?;
    let (position, ordinal) = place.split_once('-').ok_or_else(wrong)?;
    let position = position.parse().map_err(|_| wrong())?;
    Ok(Place { position, ordinal: ordinal.parse().map_err(|_| wrong())? })
}
