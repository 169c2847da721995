//! The grid of subjects and tasks.

use async_graphql::{Enum, SimpleObject};
use cairn_projections::evals;

use super::super::connection::PageInfo;
use super::super::results::{FailedEvaluation, Standing};
use super::super::scalars::{Long, Ref};

/// A page of the grid of subjects and tasks.
#[derive(SimpleObject)]
pub(super) struct Matrix {
    /// What was measured, in order of suite, task, metric and slice; the same on all pages.
    columns: Vec<MatrixColumn>,
    /// The rows of this page.
    rows: Vec<MatrixRow>,
    /// Rows of the whole grid.
    total: Long,
    /// Where the page lies.
    page_info: PageInfo,
}

/// A metric of a task.
#[derive(SimpleObject)]
struct MatrixColumn {
    /// The suite that the task belongs to.
    suite: String,
    /// The task.
    task: String,
    /// The metric; null where nothing is known of the task but that its evaluations failed.
    metric: Option<String>,
    /// all, or the name of a part; null where the metric is.
    slice: Option<String>,
    /// Whether the values on this page are of one protocol. Unlike ones are shown beside each other, not compared.
    comparable: bool,
}

/// A subject, or one checkpoint of it.
#[derive(SimpleObject)]
struct MatrixRow {
    /// What was measured, or was to be.
    subject: Ref,
    /// The checkpoint's step, where rows are steps.
    step: Option<Long>,
    /// A cell for each column, in their order.
    cells: Vec<MatrixCell>,
    /// Where this row stands: pass it as `after`.
    cursor: String,
}

/// What is known of a subject in a column.
#[derive(SimpleObject)]
struct MatrixCell {
    /// Which of the others is set.
    state: CellState,
    /// The latest result that counts; where it is superseded, the one that was.
    result: Option<Standing>,
    /// The evaluation that failed.
    failure: Option<FailedEvaluation>,
}

/// What is known of a subject in a column of the grid.
#[derive(Clone, Copy, PartialEq, Eq, Enum)]
enum CellState {
    /// There is a result that counts.
    Value,
    /// There is none, and the last attempt at one ended by an error.
    Failed,
    /// There was one, which is no longer to be relied on.
    Superseded,
    /// It was never evaluated.
    NeverEvaluated,
}

impl Matrix {
    pub(super) fn of(found: evals::Matrix, has_previous_page: bool) -> Self {
        let page_info = PageInfo {
            has_previous_page,
            has_next_page: found.has_more,
            start_cursor: found.rows.first().map(|row| row.cursor.clone()),
            end_cursor: found.rows.last().map(|row| row.cursor.clone()),
        };
        let column = |column: evals::Column| MatrixColumn {
            suite: column.suite,
            task: column.task,
            metric: column.metric,
            slice: column.slice,
            comparable: column.is_comparable,
        };
        let row = |row: evals::GridRow| MatrixRow {
            subject: Ref(row.subject),
            step: row.step.map(Long),
            cells: row.cells.into_iter().map(MatrixCell::from).collect(),
            cursor: row.cursor,
        };
        Self {
            columns: found.columns.into_iter().map(column).collect(),
            rows: found.rows.into_iter().map(row).collect(),
            total: Long(found.rows_total),
            page_info,
        }
    }
}

impl From<evals::Cell> for MatrixCell {
    fn from(cell: evals::Cell) -> Self {
        let of = |state, result: Option<Box<evals::Standing>>, failure: Option<Box<evals::Missing>>| Self {
            state,
            result: result.map(|result| Standing::from(*result)),
            failure: failure.map(|failure| FailedEvaluation::from(*failure)),
        };
        match cell {
            evals::Cell::Value(result) => of(CellState::Value, Some(result), None),
            evals::Cell::Failed(failure) => of(CellState::Failed, None, Some(failure)),
            evals::Cell::Superseded(result) => of(CellState::Superseded, Some(result), None),
            evals::Cell::NeverEvaluated => of(CellState::NeverEvaluated, None, None),
        }
    }
}
