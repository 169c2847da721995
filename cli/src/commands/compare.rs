//! `cairn compare A B [C D] --task T`: subjects on one task, sample by sample.

use super::best::{Chosen, subject};
use super::{Outcome, done, print_json, reader};
use crate::Globals;
use crate::render::table::Table;
use cairn_processors::comparison::{self, Compared, Contender, Method, Pair, Question, Verdict};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// 2 to 4 models, runs or evaluations; run:UUID#2000 is a checkpoint by its step.
    #[arg(required = true, num_args = 2..=4, value_name = "SUBJECT")]
    subjects: Vec<String>,
    #[arg(long, value_name = "T")]
    task: String,
    /// May be left out where the task has one metric.
    #[arg(long, value_name = "M")]
    metric: Option<String>,
    #[command(flatten)]
    chosen: Chosen,
    /// Show unlike protocols beside each other, without a verdict.
    #[arg(long)]
    side_by_side: bool,
    /// Of the intervals, and of the verdicts together.
    #[arg(long, default_value_t = 0.95, value_name = "P")]
    confidence: f64,
    /// Draws of the bootstrap.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    resamples: u32,
    /// The same seed gives the same answer.
    #[arg(long, default_value_t = 17, value_name = "N")]
    seed: u64,
    /// Show so many samples on which the scores differ most.
    #[arg(long, default_value_t = 0, value_name = "N")]
    samples: usize,
}

pub(crate) fn run(globals: &Globals, args: &Args) -> Outcome {
    let context = reader(globals)?;
    let subjects = args.subjects.iter().map(|text| text.parse()).collect::<Result<Vec<Contender>, _>>()?;
    let question = Question {
        filter: args.chosen.filter(),
        at: args.chosen.at(&context)?,
        side_by_side: args.side_by_side,
        confidence: args.confidence,
        resamples: args.resamples,
        seed: args.seed,
        samples_max: args.samples,
        ..Question::new(subjects, args.task.clone(), args.metric.clone())
    };
    let found = comparison::compare(&context, &question)?;
    if globals.json {
        print_json(&serde_json::to_value(&found)?);
        return done();
    }
    show(&found);
    done()
}

fn show(found: &Compared) {
    let mut sides = Table::new(&["", "subject", &found.metric, "± s.e.", "n", "evaluation", "protocol", "recorded"]);
    for (number, side) in found.sides.iter().enumerate() {
        sides.row([
            name(number),
            subject(side),
            format!("{:.4}", side.value),
            side.standard_error.map(|error| format!("{error:.4}")).unwrap_or_else(|| "-".into()),
            side.n.to_string(),
            side.evaluation.to_string(),
            side.protocol_digest.to_hex()[..8].to_owned(),
            side.recorded_at.to_string(),
        ]);
    }
    say_raw!("{sides}");
    for difference in &found.differences {
        say!("differs: {difference}");
    }
    let percent = found.confidence * 100.0;
    let interval = format!("{percent}% interval");
    let mut pairs =
        Table::new(&["pair", "difference", &interval, "higher", "lower", "same", "p", "p (Holm)", "verdict"]);
    let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let p = |p: Option<f64>| p.map_or_else(|| "-".to_owned(), |p| format!("{p:.2e}"));
    for pair in &found.pairs {
        pairs.row([
            format!("{} → {}", name(pair.first), name(pair.second)),
            format!("{:+.4}", pair.difference),
            pair.interval.map_or_else(|| "-".to_owned(), |(low, high)| format!("{low:+.4} to {high:+.4}")),
            count(pair.higher),
            count(pair.lower),
            count(pair.ties),
            p(pair.p_value),
            p(pair.p_adjusted),
            verdict(pair),
        ]);
    }
    say_raw!("{pairs}");
    match (&found.no_verdict, found.method) {
        (Some(why), _) => say!("no verdict: {why}"),
        (None, Some(Method::Mcnemar)) => say!("{} samples in pairs; McNemar's exact test", found.paired),
        (None, Some(Method::Permutation)) => say!("{} samples in pairs; paired permutation test", found.paired),
        (None, None) => {}
    }
    for sample in &found.samples {
        let scores: Vec<String> = sample.scores.iter().map(ToString::to_string).collect();
        say!("{}  {}", sample.sample, scores.join("  "));
    }
}

fn name(number: usize) -> String {
    char::from(b'A' + number as u8).to_string()
}

fn verdict(pair: &Pair) -> String {
    match pair.verdict {
        None => "-".to_owned(),
        Some(Verdict::FirstIsBetter) => format!("{} is better", name(pair.first)),
        Some(Verdict::SecondIsBetter) => format!("{} is better", name(pair.second)),
        Some(Verdict::Undecided) => "may be chance".to_owned(),
    }
}
