//! The text of the pipeline: every line that decides something has a comment that says why.

use super::look::Group;
use super::plan::{Plan, SmallPart, Splits};
use super::shape::Shape;
use crate::pipeline::SplitSpec;
use std::fmt::Write;

/// An answer that ends in the final number, and that number.
const FINAL_FORM: &str = r"####\s*-?[\d,.]+\s*$";
const FINAL_NUMBER: &str = r"####\s*(-?[\d,.]+)";
/// Loss at which a model knows clearly more than the size of its vocabulary.
const LOSS_SHARE_OF_UNIFORM: f64 = 0.9;

pub(super) fn pipeline(plan: &Plan) -> String {
    let mut out = String::new();
    head(&mut out, plan);
    for group in &plan.groups {
        ingest(&mut out, group);
    }
    dataset(&mut out, plan);
    train(&mut out, plan);
    exams(&mut out, plan);
    gates(&mut out, plan);
    out
}

/// A text as YAML reads it back: JSON's quoting is YAML's.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text serialises")
}

/// A text in single quotes, in which `\` means itself.
fn pattern(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn head(out: &mut String, plan: &Plan) {
    let Plan { documents, bytes, project, seed, .. } = plan;
    let _ = writeln!(
        out,
        "# Written by `cairn init` from {documents} documents ({bytes} bytes of text). Run it with `cairn run FILE`.\n\
         # Jobs run in order; a job whose inputs and settings did not change is not run again."
    );
    for part in &plan.small_parts {
        small_part(out, part);
    }
    let _ = writeln!(
        out,
        "project: {project}   # part of every ref, such as ds://{project}/corpus@1.0.0\n\
         seed: {seed}   # decides splits, initial weights and the order of training\n\
         jobs:"
    );
}

/// A comment, so nothing of a name may end its line.
fn small_part(out: &mut String, part: &SmallPart) {
    let SmallPart { path, taken, bytes, left_out, more } = part;
    let share = 100.0 * *taken as f64 / *bytes as f64;
    let path = quoted(&path.display().to_string());
    let _ =
        writeln!(out, "#\n# Look here first: documents hold {taken} of the {bytes} bytes in {path} ({share:.1} %).");
    let fields: Vec<String> = left_out.iter().map(|(name, size)| format!("{} ({size})", quoted(name))).collect();
    if fields.is_empty() {
        let _ = writeln!(out, "# What is missing was turned away as each ingest job below says.\n#");
        return;
    }
    let more = if *more > 0 { format!(" and {more} more") } else { String::new() };
    let _ = writeln!(
        out,
        "# Left out, with their bytes: {}{more}.\n# Name them in the job's `text` template, or in `records` where they hold records, if they should be learned.\n#",
        fields.join(", ")
    );
}

fn ingest(out: &mut String, group: &Group) {
    let more = if group.more { " (more were not looked at)" } else { "" };
    let rejected: Vec<String> = group.rejected.iter().map(|(rule, count)| format!("{count} by {rule}")).collect();
    let rejected = if rejected.is_empty() { String::new() } else { format!("; turns away {}", rejected.join(", ")) };
    let _ = writeln!(out, "\n  # {}; keeps {} documents{rejected}{more}.", group.shape.describe(), group.kept.len());
    let _ = writeln!(out, "  - name: {}\n    ingest:\n      paths:", group.name);
    for path in &group.paths {
        let _ = writeln!(out, "        - {}", quoted(&path.display().to_string()));
    }
    if let Some(records) = &group.records {
        let _ = writeln!(out, "      records: {}   # where the records stand in the files", quoted(records));
    }
    let _ = writeln!(out, "      author: unknown            # who wrote them, where a record does not say");
    let _ = writeln!(out, "      access_policy: internal    # the tag of who may read them");
    let _ = writeln!(out, "      # licence: MIT             # name it before you share what is trained on them");
    if let Some(text) = group.shape.text() {
        let _ = writeln!(out, "      text: {}", quoted(&text));
    }
    let _ =
        writeln!(out, "      redact: true               # e-mail addresses, phone numbers, keys … become placeholders");
    let _ = writeln!(out, "      dedup: {{ jaccard: 0.8 }}    # more alike than this is a duplicate; or `off`");
}

fn dataset(out: &mut String, plan: &Plan) {
    let why = match plan.splits {
        Splits::Hashed { .. } => "A document's split is decided by its hash, and stays when others come.",
        Splits::HeldOut { .. } => "What the file names hold out is the test split.",
        Splits::All => "Too few documents to hold any out: the exam below is on what was trained on, and says little.",
    };
    let _ = writeln!(
        out,
        "\n  # {why}\n  - name: corpus\n    dataset:\n      version: 1.0.0             # other content under this version is refused"
    );
    let _ = writeln!(out, "      rows:");
    for group in &plan.groups {
        let _ = writeln!(out, "        - from: {}", group.name);
        if let Shape::Pair { instruction, input, output, .. } = &group.shape {
            let _ = writeln!(out, "          instruction: {}", quoted(instruction));
            if let Some(input) = input {
                let _ = writeln!(out, "          input: {}", quoted(input));
            }
            let _ = writeln!(out, "          output: {}", quoted(output));
        }
        let _ = writeln!(out, "          text: \"{{{{ text }}}}\"       # what pretraining reads: the document");
        let _ = writeln!(out, "          split: {}", split(&plan.split_of(group)));
    }
    let _ = writeln!(
        out,
        "\n  # Learns its entries from the training split alone.\n  - name: vocabulary\n    tokenizer: {{ dataset: corpus, split: train, vocabulary: {} }}",
        plan.vocabulary
    );
}

fn split(split: &SplitSpec) -> String {
    match split {
        SplitSpec::One(name) => name.clone(),
        SplitSpec::Shares(shares) => {
            let shares: Vec<String> = shares.iter().map(|(name, share)| format!("{name}: {share}")).collect();
            format!("{{ {} }}", shares.join(", "))
        }
    }
}

fn train(out: &mut String, plan: &Plan) {
    let _ =
        writeln!(out, "\n  # A small decoder from nothing. More layers, width and steps learn more and take longer.");
    let _ = writeln!(out, "  - name: base\n    train:\n      method: pretrain           # every token of every text");
    let _ = writeln!(
        out,
        "      base_model: \"scratch:layers=4,width=128,heads=2,feed_forward=352,context={}\"",
        plan.sequence_length
    );
    let _ = writeln!(out, "      tokenizer: vocabulary");
    training(out, plan, plan.pretrain_steps, "4.0e-3", "base");
    if let Some(steps) = plan.sft_steps {
        let _ = writeln!(out, "\n  # Goes on from the base model; the loss is on the answers only.");
        let _ = writeln!(out, "  - name: tuned\n    train:\n      method: sft\n      base_model: base");
        training(out, plan, steps, "2.0e-3", "tuned");
    }
}

fn training(out: &mut String, plan: &Plan, steps: u64, learning_rate: &str, register: &str) {
    let Plan { batch_size, sequence_length, .. } = plan;
    let _ = writeln!(
        out,
        "      dataset: corpus\n      split: train\n      steps: {steps}\n      batch_size: {batch_size}\n      \
         sequence_length: {sequence_length}\n      learning_rate: {learning_rate}\n      \
         schedule: {{ kind: cosine, warmup_steps: {}, final_fraction: 0.1 }}\n      \
         checkpoint_every: {}       # a killed run goes on from its last checkpoint\n      register: {register}",
        (steps / 10).clamp(1, 40),
        (steps / 4).max(10),
    );
}

fn exams(out: &mut String, plan: &Plan) {
    let subjects: &[(&str, &str)] = match plan.answer {
        Some(_) => &[("base-exam", "base"), ("exam", "tuned")],
        None => &[("exam", "base")],
    };
    let _ = writeln!(out, "\n  # Measured on the {} split, the first {} rows.", plan.exam_split, plan.exam_rows);
    for (name, subject) in subjects {
        let _ = writeln!(
            out,
            "  - name: {name}\n    evaluate:\n      subject: {subject}\n      suite: corpus\n      dataset: corpus\n      \
             split: {}\n      limit: {}\n      tasks:\n        - {{ name: loss, kind: perplexity }}",
            plan.exam_split, plan.exam_rows
        );
        if let Some(answer) = &plan.answer {
            let _ = writeln!(
                out,
                "        - name: answers\n          kind: generate\n          max_new_tokens: {}",
                answer.max_new_tokens
            );
            if answer.has_final_number {
                let _ = writeln!(out, "          metrics: [exact_match, f1, format_validity]");
                let _ = writeln!(out, "          format: {}   # answers end in `#### number`", pattern(FINAL_FORM));
                let _ = writeln!(
                    out,
                    "          extract: {}         # the number is what is compared",
                    pattern(FINAL_NUMBER)
                );
            } else {
                let _ = writeln!(out, "          metrics: [exact_match, f1]");
            }
        }
    }
    let Some(answer) = &plan.answer else { return };
    let _ = writeln!(out, "\n  # Rules that every answer is judged by, one judgment each.");
    let _ = writeln!(
        out,
        "  - name: judgments\n    judge:\n      evaluation: exam\n      task: answers\n      validators:"
    );
    let _ = writeln!(
        out,
        "        - {{ name: length, kind: length, min_chars: 1, max_chars: {} }}   # twice the longest seen",
        answer.max_chars
    );
    let _ = writeln!(out, "        - {{ name: no-personal-data, kind: no_pii }}");
    if answer.has_final_number {
        let _ = writeln!(out, "        - {{ name: final-number, kind: numeric_answer }}");
    }
}

fn gates(out: &mut String, plan: &Plan) {
    let subject = if plan.answer.is_some() { "tuned" } else { "base" };
    if plan.answer.is_some() {
        let _ = writeln!(
            out,
            "\n  # Does tuning help? Answers are compared pair by pair. With few rows or steps it may be undecided, which blocks;\n  \
             # nothing below depends on it, so the pipeline goes on.\n  \
             - name: better\n    gate:\n      subject: tuned\n      baseline: base\n      evaluations: [exam]\n      \
             baseline_evaluations: [base-exam]\n      \
             compare: [ {{ metric: answers.f1, test: bootstrap, better_by: 0.0, confidence: 0.95 }} ]\n      on_block: continue"
        );
    }
    let uniform = (plan.vocabulary as f64).ln();
    let _ = writeln!(
        out,
        "\n  # What must hold before it is deployed. This asks little: a model that guesses evenly among {} entries has a loss\n  \
         # of {uniform:.2}. Ask for what your use needs, such as \"answers.f1 >= 0.3\".\n  \
         - name: ready\n    gate:\n      subject: {subject}\n      evaluations: [exam]\n      require: [ \"loss.loss <= {:.2}\" ]\n      \
         on_block: stop             # the default: nothing is deployed that did not pass",
        plan.vocabulary,
        uniform * LOSS_SHARE_OF_UNIFORM
    );
    let _ = writeln!(
        out,
        "\n  # Then: cairn ask {}-helper \"…\"\n  - name: endpoint\n    deploy: {{ model: {subject}, gate: ready, deployment: {}-helper }}",
        plan.project, plan.project
    );
}
