//! `cairn run PIPELINE.yaml`: run the jobs in order; what is recorded already is not done twice.

use super::{Outcome, print_json};
use crate::render::progress::Progress;
use crate::{Globals, exit};
use cairn_processors::{Cancel, Context, JobInfo, JobOutcome, Pipeline, PipelineReport, RunOptions};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A pipeline, or a training config with base_model and dataset_version.
    #[arg(value_name = "PIPELINE.yaml")]
    pipeline: PathBuf,
    /// Also write models, registry and evaluations as plain files under this folder.
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Run only these jobs; others must be recorded already.
    #[arg(long, value_name = "JOB", value_delimiter = ',')]
    only: Option<Vec<String>>,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let pipeline = Pipeline::load(&args.pipeline)?;
    let context = Context::open(&globals.data)?;
    let cancel = Cancel::default();
    stop_on_signal(cancel.clone())?;
    let options = RunOptions { artifacts_dir: args.artifacts.clone(), cancel, only: args.only.clone() };
    let progress = Progress::new(globals.json);
    let report = cairn_processors::run_pipeline(&context, &pipeline, &options, &progress)?;
    progress.finish();
    conclude(globals, &report)
}

/// The first interrupt asks the jobs to stop and record that; a second one ends the process at once.
pub(crate) fn stop_on_signal(cancel: Cancel) -> anyhow::Result<()> {
    ctrlc::set_handler(move || {
        if cancel.is_cancelled() {
            std::process::exit(i32::from(exit::STOPPED));
        }
        eprintln!("stopping after this step; again to stop at once");
        cancel.cancel();
    })?;
    Ok(())
}

fn conclude(globals: &Globals, report: &PipelineReport) -> Outcome {
    let mut code = 0;
    let mut failures = Vec::new();
    for (job, outcome) in &report.jobs {
        match outcome {
            JobOutcome::Done { .. } | JobOutcome::Skipped { .. } => {}
            JobOutcome::Blocked { stops: false, .. } => {}
            JobOutcome::Blocked { reason, .. } => {
                code = exit::BLOCKED;
                failures.push(format!("{}: blocked: {reason}", job.name));
            }
            JobOutcome::Cancelled => code = exit::STOPPED,
            JobOutcome::Failed { error } => {
                code = exit::FAILED;
                failures.push(format!("{}: {}", job.name, error.chain()));
            }
        }
    }
    if globals.json {
        print_json(&serde_json::json!({ "jobs": jobs_json(report), "exit_code": code }));
    }
    for failure in failures {
        eprintln!("error: {failure}");
    }
    Ok(ExitCode::from(code))
}

fn jobs_json(report: &PipelineReport) -> Vec<serde_json::Value> {
    let one = |(job, outcome): &(JobInfo, JobOutcome)| {
        let (state, detail) = match outcome {
            JobOutcome::Done { summary } => ("done", summary.clone()),
            JobOutcome::Skipped { summary, .. } => ("skipped", summary.clone()),
            JobOutcome::Blocked { reason, summary, .. } => {
                ("blocked", serde_json::json!({ "reason": reason, "summary": summary }))
            }
            JobOutcome::Cancelled => ("cancelled", serde_json::Value::Null),
            JobOutcome::Failed { error } => ("failed", serde_json::json!({ "error": error.chain() })),
        };
        serde_json::json!({
            "name": job.name, "kind": job.kind.to_string(), "run": format!("run:{}", job.run),
            "attempt": job.attempt, "state": state, "summary": detail,
        })
    };
    report.jobs.iter().map(one).collect()
}
