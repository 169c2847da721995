//! `cairn import KIND PATH...`: runs that others published, from files about them.

use super::{Outcome, done, print_json};
use crate::Globals;
use cairn_processors::import::{self, File, Import, datadecide, ladder, olmo};
use cairn_processors::{Context, Error};
use cairn_schemas::{ProjectName, Ref, RunId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(clap::Subcommand)]
enum Kind {
    /// Curves of the OLMo scaling ladder: files such as 190M-5xC.csv, each a run.
    Ladder {
        #[command(flatten)]
        from: From,
        /// Which rows' downstream scores are evaluations too.
        #[arg(long, value_enum, default_value = "last")]
        evaluations: Evaluations,
    },
    /// OLMo's official configs, lists of checkpoints and provenance.
    Olmo {
        #[command(flatten)]
        from: From,
        /// The run_name that an ingredient of a stage-2 list is: 1=OLMo2-7B-stage2-seed42. The files do not say.
        #[arg(long = "ingredient", value_name = "N=RUN_NAME", value_parser = ingredient)]
        ingredients: Vec<(String, String)>,
    },
    /// The list of DataDecide's models and their checkpoints.
    Datadecide {
        #[command(flatten)]
        from: From,
    },
}

#[derive(clap::Args)]
struct From {
    /// Files, or folders whose files are taken.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The project that the runs are filed under.
    #[arg(long, default_value_t, value_name = "P")]
    project: ProjectName,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Evaluations {
    None,
    Last,
    All,
}

fn ingredient(text: &str) -> Result<(String, String), String> {
    let (number, name) = text.split_once('=').ok_or("expected N=RUN_NAME, such as 1=OLMo2-7B-stage2-seed42")?;
    Ok((number.to_owned(), name.to_owned()))
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = Context::open(&globals.data)?;
    let import = read(&context, &args.kind)?;
    let recorded = import::record(&context, import)?;
    if globals.json {
        print_json(&serde_json::to_value(&recorded)?);
        return done();
    }
    let what = &recorded.summary;
    say!(
        "{} runs, {} placeholders, {} steps, {} checkpoints, {} evaluations",
        what.runs,
        what.placeholders,
        what.steps,
        what.checkpoints,
        what.evaluations
    );
    for note in &what.notes {
        say!("  note: {note}");
    }
    let last = recorded.last.map_or(0, |position| position.get());
    say!("{} events appended, {} were there already; last position {last}", recorded.appended, recorded.repeated);
    done()
}

fn read(context: &Context, kind: &Kind) -> anyhow::Result<Import> {
    Ok(match kind {
        Kind::Ladder { from, evaluations } => {
            let evaluations = match evaluations {
                Evaluations::None => ladder::Evaluations::None,
                Evaluations::Last => ladder::Evaluations::Last,
                Evaluations::All => ladder::Evaluations::All,
            };
            ladder::read(&files(&from.paths, &["csv"])?, &from.project, evaluations)?
        }
        Kind::Olmo { from, ingredients } => {
            context.projections().catch_up()?;
            let catalog = context.projections().catalog();
            let is_known = |run: &RunId| matches!(catalog.get(&Ref::Run(*run).to_string()), Ok(Some(_)));
            let ingredients: BTreeMap<String, String> = ingredients.iter().cloned().collect();
            let told = olmo::Told { ingredients: &ingredients, is_known: &is_known };
            olmo::read(&files(&from.paths, &["csv", "yaml", "yml"])?, &from.project, &told)?
        }
        Kind::Datadecide { from } => datadecide::read(&files(&from.paths, &["jsonl"])?, &from.project)?,
    })
}

/// The files named, and those with one of the endings in the folders named, in order of their names.
fn files(paths: &[PathBuf], endings: &[&str]) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(File::read(path)?);
            continue;
        }
        let mut inside = Vec::new();
        let unreadable = |source| Error::Io { action: "list", path: path.clone(), source };
        for entry in std::fs::read_dir(path).map_err(unreadable)? {
            inside.push(entry.map_err(unreadable)?.path());
        }
        let is_one = |path: &Path| path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending));
        inside.retain(|path| path.is_file() && is_one(path));
        inside.sort();
        if inside.is_empty() {
            let why = format!("holds no file that ends in .{}", endings.join(" or ."));
            return Err(Error::Refused { what: path.display().to_string(), why }.into());
        }
        for path in inside {
            files.push(File::read(&path)?);
        }
    }
    Ok(files)
}
