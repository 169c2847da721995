//! Sizes for the pipeline: names, splits that are not empty, and as many steps as the data and a few minutes allow.

use super::look::{Group, sanitised};
use crate::Error;
use crate::jobs::dataset::Assigner;
use crate::pipeline::SplitSpec;
use cairn_schemas::Ref;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Bytes that one token stands for, about, with a vocabulary of 2,048 on English.
const BYTES_A_TOKEN: u64 = 3;
/// Tokens of a row; the longer one where questions with what they are about do not fit the shorter.
const SEQUENCE_LENGTH: u64 = 256;
const SEQUENCE_LENGTH_LONG: u64 = 512;
/// Tokens of a batch, which decide how long a step takes.
const BATCH_TOKENS: u64 = 2_048;
/// Documents that hold a smaller share of what was given are worth a warning.
const COVERED_SHARE_MIN: f64 = 0.2;
/// Fields left out that the warning names, the largest first.
const LEFT_OUT_NAMED_MAX: usize = 8;
/// Steps that take one to two minutes on two cores, at 15,000 tokens a second.
const PRETRAIN_STEPS_MAX: u64 = 600;
const SFT_STEPS_MAX: u64 = 400;
const STEPS_MIN: u64 = 60;
/// How often small data is gone over.
const EPOCHS: u64 = 6;
/// Fewest rows that validation and test need to say anything.
const VALIDATION_ROWS_MIN: usize = 2;
const TEST_ROWS_MIN: usize = 5;
/// Test rows that are answered one by one.
const ANSWERS_MAX: usize = 100;
const SHARES: [(f64, f64); 4] = [(0.05, 0.05), (0.1, 0.1), (0.15, 0.2), (0.2, 0.3)];
const SEEDS: std::ops::Range<u64> = 17..81;
/// Names that the other jobs of the pipeline have.
const TAKEN: [&str; 10] =
    ["corpus", "vocabulary", "base", "tuned", "base-exam", "exam", "judgments", "better", "ready", "endpoint"];

/// How rows are split.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Splits {
    /// By hash, with the shares of validation and test.
    Hashed { validation: f64, test: f64 },
    /// Files that say they are for testing are the test split; validation is taken from the others.
    HeldOut { validation: f64 },
    /// Too few documents to hold any out.
    All,
}

/// Everything that the text is written from.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) project: String,
    pub(super) seed: u64,
    pub(super) groups: Vec<Group>,
    pub(super) splits: Splits,
    pub(super) documents: usize,
    pub(super) bytes: u64,
    pub(super) small_parts: Vec<SmallPart>,
    pub(super) sequence_length: u64,
    pub(super) batch_size: u64,
    pub(super) vocabulary: u64,
    pub(super) pretrain_steps: u64,
    /// None where there are no pairs.
    pub(super) sft_steps: Option<u64>,
    /// Split that is examined, and how many of its rows.
    pub(super) exam_split: &'static str,
    pub(super) exam_rows: usize,
    pub(super) answer: Option<Answer>,
}

/// A path of which documents hold only a small part.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SmallPart {
    pub(super) path: PathBuf,
    pub(super) taken: u64,
    pub(super) bytes: u64,
    /// The largest fields that nothing is made of, and how many more there are.
    pub(super) left_out: Vec<(String, u64)>,
    pub(super) more: usize,
}

/// What answers look like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    /// Whether they end in `#### number`.
    pub(super) has_final_number: bool,
    pub(super) max_new_tokens: u64,
    pub(super) max_chars: usize,
}

impl Plan {
    pub(super) fn of(groups: Vec<Group>) -> Result<Self, Error> {
        let project = project_of(&groups);
        let small_parts = small_parts(&groups);
        let sequence_length = sequence_length(&groups);
        let groups = named(merged(groups));
        let documents = groups.iter().map(|group| group.kept.len()).sum();
        let bytes: u64 = groups.iter().flat_map(|group| &group.kept).map(|kept| kept.bytes).sum();
        let (splits, seed, exam_rows) = splits_of(&groups);
        let exam_split = if splits == Splits::All { "train" } else { "test" };
        let tokens = (bytes / BYTES_A_TOKEN).max(1);
        let steps = |most: u64| (EPOCHS * tokens / BATCH_TOKENS).clamp(STEPS_MIN, most);
        let answer = answer_of(&groups);
        Ok(Self {
            project,
            seed,
            documents,
            bytes,
            small_parts,
            sequence_length,
            batch_size: BATCH_TOKENS / sequence_length,
            vocabulary: match bytes {
                0..20_000 => 512,
                20_000..400_000 => 1_024,
                _ => 2_048,
            },
            pretrain_steps: steps(PRETRAIN_STEPS_MAX),
            sft_steps: answer.is_some().then(|| steps(SFT_STEPS_MAX)),
            exam_split,
            exam_rows: exam_rows.min(ANSWERS_MAX),
            answer,
            groups,
            splits,
        })
    }

    /// The split of a group's rows.
    pub(super) fn split_of(&self, group: &Group) -> SplitSpec {
        match (&self.splits, group.held_out) {
            (Splits::All, _) => SplitSpec::One("train".to_owned()),
            (Splits::HeldOut { .. }, Some(split)) => SplitSpec::One(split.to_owned()),
            (Splits::HeldOut { validation }, None) if *validation == 0.0 => SplitSpec::One("train".to_owned()),
            (Splits::HeldOut { validation }, None) => shares(*validation, 0.0),
            (Splits::Hashed { validation, test }, _) => shares(*validation, *test),
        }
    }
}

/// Rounded, so that it is written as a person would.
fn shares(validation: f64, test: f64) -> SplitSpec {
    let rounded = |share: f64| (share * 100.0).round() / 100.0;
    let all = [("train", 1.0 - validation - test), ("validation", validation), ("test", test)];
    let given = all.into_iter().filter(|(_, share)| *share > 0.0);
    SplitSpec::Shares(given.map(|(name, share)| (name.to_owned(), rounded(share))).collect())
}

/// Groups of one shape whose documents repeat each other become one, so that ingestion removes the repeats.
fn merged(groups: Vec<Group>) -> Vec<Group> {
    let mut out: Vec<Group> = Vec::new();
    for group in groups {
        match out
            .iter_mut()
            .find(|other| other.shape == group.shape && other.records == group.records && other.overlaps(&group))
        {
            Some(other) => {
                other.paths.extend(group.paths);
                other.kept.extend(group.kept);
                other.outputs.extend(group.outputs);
                other.output_chars_max = other.output_chars_max.max(group.output_chars_max);
                other.held_out = None;
                group
                    .rejected
                    .iter()
                    .for_each(|(rule, count)| *other.rejected.entry(rule.clone()).or_default() += count);
            }
            None => out.push(group),
        }
    }
    out
}

/// The paths of which little becomes a document, with what is left out.
fn small_parts(groups: &[Group]) -> Vec<SmallPart> {
    let mut origins: Vec<&PathBuf> = groups.iter().map(|group| &group.origin).collect();
    origins.dedup();
    let part = |origin: &PathBuf| {
        let groups = || groups.iter().filter(|group| group.origin == *origin);
        let taken: u64 = groups().flat_map(|group| &group.kept).map(|kept| kept.bytes).sum();
        let bytes: u64 = groups().map(|group| group.source_bytes).sum();
        let mut left_out: BTreeMap<String, u64> = BTreeMap::new();
        for (name, size) in groups().flat_map(|group| &group.left_out) {
            *left_out.entry(name.clone()).or_default() += size;
        }
        let mut left_out: Vec<(String, u64)> = left_out.into_iter().collect();
        left_out.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        let more = left_out.len().saturating_sub(LEFT_OUT_NAMED_MAX);
        left_out.truncate(LEFT_OUT_NAMED_MAX);
        let is_small = (taken as f64) < COVERED_SHARE_MIN * bytes as f64;
        is_small.then(|| SmallPart { path: origin.clone(), taken, bytes, left_out, more })
    };
    origins.into_iter().filter_map(part).collect()
}

/// So long that nine of ten exchanges fit, or as long as is quick enough.
fn sequence_length(groups: &[Group]) -> u64 {
    let mut exchanges: Vec<u64> = groups.iter().flat_map(|group| &group.exchange_bytes).copied().collect();
    exchanges.sort_unstable();
    match exchanges.get(exchanges.len() * 9 / 10) {
        Some(long) if long / BYTES_A_TOKEN > SEQUENCE_LENGTH => SEQUENCE_LENGTH_LONG,
        _ => SEQUENCE_LENGTH,
    }
}

fn named(mut groups: Vec<Group>) -> Vec<Group> {
    let mut count: BTreeMap<String, u32> = BTreeMap::new();
    for group in &mut groups {
        if TAKEN.contains(&group.name.as_str()) {
            group.name.push_str("-documents");
        }
        let nth = count.entry(group.name.clone()).or_default();
        *nth += 1;
        if *nth > 1 {
            group.name = format!("{}-{nth}", group.name);
        }
    }
    groups
}

/// The folder that the first file stands in, or the folder itself.
fn project_of(groups: &[Group]) -> String {
    let path = groups.first().and_then(|group| group.paths.first());
    let folder = path.map(|path| if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new("")) });
    let name = folder.and_then(Path::file_name).map(|name| sanitised(&name.to_string_lossy()));
    name.unwrap_or_else(|| "default".to_owned())
}

/// The first split that leaves every part enough rows, with its seed and the rows that are examined.
fn splits_of(groups: &[Group]) -> (Splits, u64, usize) {
    let tested: usize = groups.iter().filter(|g| g.held_out == Some("test")).map(|g| g.kept.len()).sum();
    let validated = groups.iter().any(|g| g.held_out == Some("validation"));
    let open = || groups.iter().filter(|group| group.held_out.is_none());
    if tested >= TEST_ROWS_MIN && open().next().is_some() {
        let validation = if validated { 0.0 } else { 0.03 };
        let split = shares(validation, 0.0);
        for seed in SEEDS {
            let count = |name: &str| counted(open(), seed, &split, name);
            if validated || count("validation") >= VALIDATION_ROWS_MIN && count("train") >= TEST_ROWS_MIN {
                return (Splits::HeldOut { validation }, seed, tested);
            }
        }
        return (Splits::HeldOut { validation: 0.0 }, SEEDS.start, tested);
    }
    for (validation, test) in SHARES {
        let split = shares(validation, test);
        for seed in SEEDS {
            let count = |name: &str| counted(groups.iter(), seed, &split, name);
            let rows = count("test");
            if count("validation") >= VALIDATION_ROWS_MIN && rows >= TEST_ROWS_MIN && count("train") >= TEST_ROWS_MIN {
                return (Splits::Hashed { validation, test }, seed, rows);
            }
        }
    }
    let all = groups.iter().map(|group| group.kept.len()).sum();
    (Splits::All, SEEDS.start, all)
}

fn counted<'a>(groups: impl Iterator<Item = &'a Group>, seed: u64, split: &SplitSpec, name: &str) -> usize {
    let assigner = Assigner::new(seed, split);
    let kept = groups.flat_map(|group| &group.kept);
    kept.filter(|kept| assigner.split(&Ref::Doc(kept.document)) == name).count()
}

fn answer_of(groups: &[Group]) -> Option<Answer> {
    let outputs: Vec<&String> = groups.iter().flat_map(|group| &group.outputs).collect();
    if outputs.is_empty() {
        return None;
    }
    let has_final = |output: &&&String| {
        let last = output.trim_end().lines().next_back().unwrap_or_default();
        last.strip_prefix("####")
            .is_some_and(|number| number.trim().starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    let with_final = outputs.iter().filter(has_final).count();
    let mut lengths: Vec<usize> = outputs.iter().map(|output| output.chars().count()).collect();
    lengths.sort_unstable();
    let typical = lengths[lengths.len() * 9 / 10] as u64;
    let longest = groups.iter().map(|group| group.output_chars_max).max().unwrap_or(1);
    Some(Answer {
        has_final_number: with_final * 20 >= outputs.len() * 19,
        max_new_tokens: (typical / 2).clamp(16, 160),
        max_chars: (longest * 2).max(16),
    })
}
