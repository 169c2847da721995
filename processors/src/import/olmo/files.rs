//! The kinds of files beside OLMo's configs, told apart by what they hold, and read into values.

use crate::import::{File, Gathering, Problem, text, whole};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Where a checkpoint is: `<base>/step<step>-unsharded`.
pub(super) struct Spot {
    pub(super) base: String,
    pub(super) folder: String,
    pub(super) step: u64,
}

impl Spot {
    fn of(location: &str) -> Option<Self> {
        let (base, folder) = location.trim_end_matches('/').rsplit_once('/')?;
        let number = folder.strip_prefix("step")?;
        let step = whole(number.strip_suffix("-unsharded").unwrap_or(number))?;
        Some(Self { base: base.to_owned(), folder: folder.to_owned(), step })
    }
}

const SPOT: &str = "a place that ends in step<number>-unsharded";

/// A training config.
pub(super) struct Config<'a> {
    pub(super) file: &'a File,
    pub(super) settings: Value,
    pub(super) run_name: String,
    pub(super) seed: Option<u64>,
    pub(super) load_path: Option<Spot>,
}

impl Config<'_> {
    pub(super) fn tokens_per_step(&self) -> Option<u64> {
        let batch = self.settings.get("global_train_batch_size")?.as_u64()?;
        batch.checked_mul(self.settings.pointer("/model/max_sequence_length")?.as_u64()?)
    }
}

/// The checkpoints of one run.
pub(super) struct List<'a> {
    pub(super) file: &'a File,
    /// The number in a stage-2 list.
    pub(super) ingredient: Option<String>,
    pub(super) base: String,
    pub(super) rows: Vec<Place>,
}

pub(super) struct Place {
    pub(super) step: u64,
    pub(super) location: String,
}

/// The files of an import by what they are.
#[derive(Default)]
pub(super) struct Sorted<'a> {
    pub(super) configs: Vec<Config<'a>>,
    pub(super) lists: Vec<List<'a>>,
    /// The dataset that each file of data is a part of, by the file's name without protocol and ending.
    provenance: Option<(&'a File, BTreeMap<String, String>)>,
}

impl<'a> Sorted<'a> {
    /// How many files of data a config reads, by dataset, and the file that says so.
    pub(super) fn data_of(&self, config: &Config<'_>) -> (Value, Option<&'a File>) {
        let paths = config.settings.pointer("/data/paths").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let (mut datasets, mut unnamed) = (BTreeMap::<&str, u64>::new(), 0u64);
        for path in paths.iter().filter_map(Value::as_str) {
            match self.provenance.as_ref().and_then(|(_, known)| known.get(bare(path))) {
                Some(dataset) => *datasets.entry(dataset).or_default() += 1,
                None => unnamed += 1,
            }
        }
        let file = self.provenance.as_ref().filter(|_| !datasets.is_empty()).map(|(file, _)| *file);
        let data = json!({ "files": paths.len(), "files_by_dataset": datasets, "files_without_provenance": unnamed });
        (data, file)
    }
}

/// A path without its protocol and ending: provenance names `https://….csv.gz` what a config names `http://….npy`.
fn bare(path: &str) -> &str {
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    path.strip_suffix(".npy").or_else(|| path.strip_suffix(".csv.gz")).unwrap_or(path)
}

pub(super) fn sorted<'a>(gathering: &mut Gathering<'_>, files: &'a [File]) -> Sorted<'a> {
    let mut sorted = Sorted::default();
    for file in files {
        if let Err(problem) = sort(&mut sorted, file) {
            gathering.refuse(problem);
        }
    }
    for (at, config) in sorted.configs.iter().enumerate() {
        if sorted.configs[..at].iter().any(|other| other.run_name == config.run_name) {
            let line = line_of(config.file, "run_name");
            gathering.refuse(config.file.problem(
                line,
                1,
                format!("a second config with run_name `{}`", config.run_name),
            ));
        }
    }
    if sorted.configs.is_empty() && sorted.lists.is_empty() && gathering.problems.is_empty() {
        let name = files.first().map_or("nothing", |file| file.name.as_str());
        gathering.refuse(Problem {
            file: name.into(),
            line: 1,
            column: 1,
            why: "no config and no list of checkpoints was given".into(),
        });
    }
    sorted
}

fn sort<'a>(sorted: &mut Sorted<'a>, file: &'a File) -> Result<(), Problem> {
    if file.name.ends_with(".yaml") || file.name.ends_with(".yml") {
        sorted.configs.push(config(file)?);
        return Ok(());
    }
    let table = text::table(file)?;
    match table.columns.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["Step", "Checkpoint Directory"] => sorted.lists.extend(lists(file, &table, None, 0, 1)?),
        ["Ingredient", "Step", "Checkpoint Directory"] => sorted.lists.extend(lists(file, &table, Some(0), 1, 2)?),
        ["Dataset", "Data Directory"] => {
            let rows = table.rows.iter().map(|row| (bare(&row.fields[1]).to_owned(), row.fields[0].clone()));
            sorted.provenance = Some((file, rows.collect()));
        }
        _ => {
            return Err(file.problem(
                1,
                1,
                format!(
                    "columns are {}; expected Step,Checkpoint Directory or Ingredient,Step,Checkpoint Directory (lists of checkpoints) or Dataset,Data Directory (provenance)",
                    table.columns.join(",")
                ),
            ));
        }
    }
    Ok(())
}

fn config(file: &File) -> Result<Config<'_>, Problem> {
    let text = text::utf8(file)?;
    // YAML 1.2, as training configs elsewhere: `no` and `on` are words.
    let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
    let settings: Map<String, Value> = serde_saphyr::from_str_with_options(text, options).map_err(|e| {
        let (line, column) = e.location().map_or((1, 1), |place| (place.line(), place.column()));
        file.problem(line, column, e.without_snippet().to_string())
    })?;
    let wrong = |key: &str, expected: &str| {
        let found = settings.get(key).unwrap_or(&Value::Null);
        file.problem(line_of(file, key), 1, format!("{key} is {found}; expected {expected}"))
    };
    let run_name = settings.get("run_name").and_then(Value::as_str).filter(|name| !name.is_empty());
    let run_name = run_name.ok_or_else(|| wrong("run_name", "the run's name"))?.to_owned();
    let seed = match settings.get("seed") {
        None | Some(Value::Null) => None,
        Some(seed) => Some(seed.as_u64().ok_or_else(|| wrong("seed", "a whole number"))?),
    };
    let load_path = match settings.get("load_path") {
        None | Some(Value::Null) => None,
        Some(path) => Some(path.as_str().and_then(Spot::of).ok_or_else(|| wrong("load_path", SPOT))?),
    };
    Ok(Config { file, run_name, seed, load_path, settings: Value::Object(settings) })
}

/// The line of a key at the top of a mapping; 1 where it is not there.
fn line_of(file: &File, key: &str) -> u64 {
    let text = String::from_utf8_lossy(&file.bytes);
    let is_key = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'));
    (1..).zip(text.lines()).find(|(_, line)| is_key(line)).map_or(1, |(number, _)| number)
}

/// The lists in a file: one, or one an ingredient. All rows of a list are in one place.
fn lists<'a>(
    file: &'a File,
    table: &text::Table,
    ingredient: Option<usize>,
    step: usize,
    location: usize,
) -> Result<Vec<List<'a>>, Problem> {
    let mut lists: Vec<List<'a>> = Vec::new();
    for row in &table.rows {
        let wrong = |column: usize, why: String| file.problem(row.line, column as u64 + 1, why);
        let named = ingredient.map(|column| row.fields[column].clone());
        let number = whole(&row.fields[step])
            .ok_or_else(|| wrong(step, format!("step `{}` is no whole number", row.fields[step])))?;
        let place = &row.fields[location];
        let spot = Spot::of(place).ok_or_else(|| wrong(location, format!("`{place}`; expected {SPOT}")))?;
        if spot.step != number {
            return Err(wrong(location, format!("`{place}` is of step {}, where the row says {number}", spot.step)));
        }
        let at = lists.iter().position(|list| list.ingredient == named).unwrap_or_else(|| {
            lists.push(List { file, ingredient: named, base: spot.base.clone(), rows: Vec::new() });
            lists.len() - 1
        });
        let list = &mut lists[at];
        if list.base != spot.base {
            return Err(wrong(location, format!("`{place}` is not in {}, as the rows before are", list.base)));
        }
        if list.rows.iter().any(|row| row.step == number) {
            return Err(wrong(step, format!("step {number} a second time")));
        }
        list.rows.push(Place { step: number, location: format!("{}/{}", spot.base, spot.folder) });
    }
    match lists.is_empty() {
        true => Err(file.problem(2, 1, "no rows follow the names of the columns")),
        false => Ok(lists),
    }
}
