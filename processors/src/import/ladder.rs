//! The curves of the OLMo scaling ladder: one CSV a run, named `<size>-<multiple>xC.csv`, one row a checkpoint.
//!
//! Each row is a step with all its columns as metrics. The step is the row's tokens divided by the batch's. Downstream
//! scores are also evaluations of the run at that step: the same number asked as "which was best".

use super::{File, Gathering, Import, Problem, chinchilla_multiple, imported, nominal_parameters, text};
use crate::Error;
use cairn_schemas::events::evaluation::{EvaluationCompleted, Measure};
use cairn_schemas::events::training::{MetricValue, RunStarted, StepLogged};
use cairn_schemas::{Blake3, ProjectName, RawJson, Real, Ref, RunId};
use serde_json::json;
use std::collections::BTreeMap;

const IMPORTER: &str = "ladder";
const TOKENS: &str = "throughput/total_tokens";
const BATCH: &str = "batch_size_in_tokens";
const PEAK: &str = "learning_rate_peak";
/// Columns of one value for all rows: they are settings too.
const SETTINGS: [&str; 2] = [BATCH, PEAK];
/// What evaluations of the ladder are filed under.
const SUITE: &str = "olmo-ladder";
const UNKNOWN: [&str; 6] = ["seed", "code", "environment", "dataset", "tokenizer", "graphs"];

/// Which rows are evaluations too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluations {
    /// No row.
    None,
    /// The last row of each file: the finished model.
    Last,
    /// Every row.
    All,
}

/// Reads the files of the ladder, each of them a run.
pub fn read(files: &[File], project: &ProjectName, evaluations: Evaluations) -> Result<Import, Error> {
    let mut gathering = Gathering::new(IMPORTER, project);
    for file in files {
        if let Err(problem) = run(&mut gathering, file, evaluations) {
            gathering.refuse(problem);
        }
    }
    gathering.finish()
}

/// What a file's name says of its run.
struct Name<'a> {
    size: &'a str,
    multiple: &'a str,
}

fn name(file: &File) -> Result<Name<'_>, Problem> {
    let parts = file.stem().split_once('-').filter(|_| file.name.ends_with(".csv"));
    let known =
        parts.filter(|(size, multiple)| nominal_parameters(size).is_some() && chinchilla_multiple(multiple).is_some());
    let (size, multiple) = known.ok_or_else(|| {
        file.problem(
            1,
            1,
            "the name says neither size nor tokens; expected <size>-<multiple>xC.csv, such as 190M-5xC.csv",
        )
    })?;
    Ok(Name { size, multiple })
}

fn run(gathering: &mut Gathering<'_>, file: &File, evaluations: Evaluations) -> Result<(), Problem> {
    let name = name(file)?;
    let table = text::table(file)?;
    let place = |column: &str| {
        let why = format!("no column is called `{column}`; a file of the ladder has it");
        table.column(column).ok_or_else(|| file.problem(1, 1, why))
    };
    let (tokens, batch) = (place(TOKENS)?, place(BATCH)?);
    let run = gathering.run(file.stem());
    let rows = rows(gathering, file, &table, tokens, batch);
    let Some(first) = rows.first() else {
        return match gathering.problems.is_empty() {
            true => Err(file.problem(2, 1, "no rows follow the names of the columns")),
            false => Ok(()),
        };
    };
    let mut config = json!({
        "size": name.size,
        "parameters_nominal": nominal_parameters(name.size),
        "tokens_multiple": name.multiple,
        "chinchilla_multiple": chinchilla_multiple(name.multiple),
    });
    for column in SETTINGS.iter().filter(|column| table.column(column).is_some()) {
        let value = setting(file, &table, column)?;
        config[*column] = if *column == BATCH { json!(first.batch) } else { json!(value) };
    }
    let started = RunStarted {
        run,
        method: "pretrain".into(),
        name: Some(file.stem().to_owned()),
        attempt: 1,
        dataset: None,
        tokenizer: None,
        base_model: None,
        parent: None,
        code: RawJson::default(),
        config: RawJson::of(&config),
        environment: RawJson::default(),
        seed: 0,
        graphs: Vec::new(),
        identity: None,
        steps_planned: None,
    };
    gathering.push(run, "started", started);
    let about = RawJson::of(&json!({ "file": file.name, "rows": rows.len(), "last_step": rows[rows.len() - 1].step }));
    let notes = vec![format!(
        "steps are `{TOKENS}` divided by `{BATCH}`; the file gives no times, so that a time is that of the import"
    )];
    let kept = gathering.keep(file);
    gathering.push(run, "imported", imported(run, IMPORTER, kept, &UNKNOWN, about, notes));
    gathering.import.summary.runs += 1;
    let last = rows.len() - 1;
    for (at, row) in rows.into_iter().enumerate() {
        if evaluations == Evaluations::All || evaluations == Evaluations::Last && at == last {
            evaluate(gathering, run, &row);
        }
        let logged =
            StepLogged { run, attempt: 1, step: row.step, tokens: row.tokens, time: None, metrics: row.metrics };
        gathering.push(run, &format!("step/{}", row.step), logged);
        gathering.import.summary.steps += 1;
    }
    Ok(())
}

/// A row, checked.
struct Row {
    step: u64,
    tokens: u64,
    batch: u64,
    metrics: Vec<MetricValue>,
}

fn rows(gathering: &mut Gathering<'_>, file: &File, table: &text::Table, tokens: usize, batch: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::with_capacity(table.rows.len());
    for row in &table.rows {
        match checked(file, table, row, tokens, batch, rows.last()) {
            Ok(row) => rows.push(row),
            Err(problem) => gathering.refuse(problem),
        }
    }
    rows
}

fn checked(
    file: &File,
    table: &text::Table,
    row: &text::Row,
    tokens: usize,
    batch: usize,
    before: Option<&Row>,
) -> Result<Row, Problem> {
    let at = |column: usize, why: String| file.problem(row.line, column as u64 + 1, why);
    let count = |column: usize| {
        let (name, field) = (&table.columns[column], &row.fields[column]);
        let why = || at(column, format!("`{name}` is `{field}`; expected a whole number from 1"));
        super::whole(field).filter(|number| *number > 0).ok_or_else(why)
    };
    let (seen, size) = (count(tokens)?, count(batch)?);
    if seen % size != 0 {
        return Err(at(tokens, format!("{seen} tokens are no whole number of steps of {size}")));
    }
    if let Some(before) = before.filter(|before| before.tokens >= seen) {
        return Err(at(tokens, format!("{seen} tokens after {} in the row before; rows go up", before.tokens)));
    }
    let mut metrics = Vec::with_capacity(row.fields.len());
    for (column, field) in
        row.fields.iter().enumerate().filter(|(column, field)| *column != tokens && !field.is_empty())
    {
        let name = &table.columns[column];
        let value: f64 = field.parse().map_err(|_| {
            at(column, format!("`{name}` is `{field}`; expected a number, or nothing where there is none"))
        })?;
        metrics.push(MetricValue { name: name.as_str().into(), value: Real(value) });
    }
    Ok(Row { step: seen / size, tokens: seen, batch: size, metrics })
}

/// The value of a column that has one for all rows.
fn setting(file: &File, table: &text::Table, column: &str) -> Result<f64, Problem> {
    let at = table.column(column).expect("its caller looked");
    let first = &table.rows[0].fields[at];
    match table.rows.iter().find(|row| row.fields[at] != *first) {
        Some(row) => {
            let why = format!(
                "`{column}` is `{}`, where the first row has `{first}`; it is a setting of the run",
                row.fields[at]
            );
            Err(file.problem(row.line, at as u64 + 1, why))
        }
        None => first
            .parse()
            .map_err(|_| file.problem(table.rows[0].line, at as u64 + 1, format!("`{first}` is no number"))),
    }
}

/// A score's task, metric, and whether more is better; `None` for what is no score of a downstream task.
fn score(column: &str) -> Option<(&str, &'static str, bool)> {
    if let Some(task) = column.strip_prefix("eval/downstream_bpb/") {
        return Some((task.strip_suffix("_bpb_bpb")?, "bits_per_byte", false));
    }
    let task = column.strip_prefix("eval/downstream/")?;
    match task.strip_suffix("_len_norm") {
        Some(task) => Some((task, "accuracy_length_normalized", true)),
        None => Some((task.strip_suffix("_acc")?, "accuracy", true)),
    }
}

/// One evaluation a task. How many samples it is over the file does not say.
fn evaluate(gathering: &mut Gathering<'_>, run: RunId, row: &Row) {
    let mut tasks: BTreeMap<&str, Vec<(&str, Measure)>> = BTreeMap::new();
    for metric in &row.metrics {
        let Some((task, name, higher_is_better)) = score(&metric.name) else { continue };
        let unit = (name == "bits_per_byte").then(|| "bits/byte".to_owned());
        let (name, value) = (name.to_owned(), metric.value);
        let measure = Measure { name, value, n: 0, standard_error: None, higher_is_better, unit };
        tasks.entry(task).or_default().push((&metric.name, measure));
    }
    for (task, measured) in tasks {
        let id = format!("{run}/{}/{task}", row.step);
        let columns: Vec<&str> = measured.iter().map(|(column, _)| *column).collect();
        let protocol = RawJson::of(&json!({
            "evaluated_by": "OLMo in-loop evaluation", "columns": columns, "samples": "not said by the file",
        }));
        let event = EvaluationCompleted {
            evaluation: Ref::Eval(id),
            subject: Ref::Run(run),
            run: Some(run),
            suite: SUITE.into(),
            task: task.to_owned(),
            dataset: None,
            slice: "all".into(),
            metrics: measured.into_iter().map(|(_, measure)| measure).collect(),
            protocol_digest: Blake3::of(protocol.as_str().as_bytes()),
            protocol,
            samples: None,
            step: Some(row.step),
        };
        gathering.push(run, &format!("evaluation/{}/{task}", row.step), event);
        gathering.import.summary.evaluations += 1;
    }
}
