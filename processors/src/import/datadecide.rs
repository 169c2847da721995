//! The list of DataDecide's models: one JSON object a line, `model_name` being `<recipe>-<size>-<seed>` and `revisions`
//! the checkpoints kept at `checkpoints_location`, whose last folder says recipe, size and tokens once more.
//!
//! Both must say the same; where they do not, the line is refused. Tokens at a checkpoint the list does not say.

use super::{File, Gathering, Import, chinchilla_multiple, imported, nominal_parameters, text, whole};
use crate::Error;
use cairn_schemas::events::training::{CheckpointListed, RunStarted};
use cairn_schemas::{ProjectName, RawJson, Ref};
use serde::Deserialize;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

const IMPORTER: &str = "datadecide";
/// The seed whose folders end in no number, or in `-2`; every other seed stands at the end of its folder's name.
const DEFAULT_SEED: u64 = 6198;
const DEFAULT_SEED_FOLDERS: [Option<&str>; 2] = [None, Some("2")];
const UNKNOWN: [&str; 5] = ["code", "environment", "dataset", "tokenizer", "graphs"];

/// What the list's own README calls its recipes.
const RECIPES: [(&str, &str); 25] = [
    ("DCLM-baseline", "DCLM-Baseline"),
    ("c4", "C4"),
    ("dclm_ft7percentile_fw2", "DCLM-Baseline (QC 7%, FW2)"),
    ("dclm_ft7percentile_fw3", "DCLM-Baseline (QC 7%, FW3)"),
    ("dclm_fw_top10", "DCLM-Baseline (QC FW 10%)"),
    ("dclm_fw_top3", "DCLM-Baseline (QC FW 3%)"),
    ("dolma-v1-6-and-sources-baseline", "Dolma1.6++"),
    ("dolma17", "Dolma1.7"),
    ("dolma17-25p-DCLM-baseline-75p", "DCLM-Baseline 75% / Dolma 25%"),
    ("dolma17-50p-DCLM-baseline-50p", "DCLM-Baseline 50% / Dolma 50%"),
    ("dolma17-75p-DCLM-baseline-25p", "DCLM-Baseline 25% / Dolma 75%"),
    ("falcon", "Falcon"),
    ("falcon_and_cc", "Falcon+CC"),
    ("falcon_and_cc_eli5_oh_top10p", "Falcon+CC (QC 10%)"),
    ("falcon_and_cc_eli5_oh_top20p", "Falcon+CC (QC 20%)"),
    ("falcon_and_cc_og_eli5_oh_top10p", "Falcon+CC (QC Orig 10%)"),
    ("falcon_and_cc_tulu_qc_top10", "Falcon+CC (QC Tulu 10%)"),
    ("fineweb_edu_dedup", "FineWeb-Edu"),
    ("no_code", "Dolma1.7 (no code)"),
    ("no_flan", "Dolma1.7 (no Flan)"),
    ("no_math_no_code", "Dolma1.7 (no math, code)"),
    ("no_reddit", "Dolma1.7 (no Reddit)"),
    ("pos_eli5_oh_neg_dclm_refinedweb_steps_2000_lr3e4_top10p", "DCLM-Baseline (QC 10%)"),
    ("pos_eli5_oh_neg_dclm_refinedweb_steps_2000_lr3e4_top20p", "DCLM-Baseline (QC 20%)"),
    ("prox_fineweb_pro", "FineWeb-Pro"),
];

/// A line of the list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    model_name: String,
    checkpoints_location: String,
    revisions: Vec<String>,
}

/// A line, understood.
struct Model<'a> {
    recipe: &'a str,
    size: &'a str,
    seed: u64,
    tokens_multiple: &'a str,
    /// Step and name of each checkpoint.
    checkpoints: BTreeMap<u64, &'a str>,
}

/// Reads lists, each line of them a run.
pub fn read(files: &[File], project: &ProjectName) -> Result<Import, Error> {
    let mut gathering = Gathering::new(IMPORTER, project);
    for file in files {
        match text::utf8(file) {
            Ok(text) => list(&mut gathering, file, text),
            Err(problem) => gathering.refuse(problem),
        }
    }
    gathering.finish()
}

fn list(gathering: &mut Gathering<'_>, file: &File, text: &str) {
    let kept = gathering.keep(file);
    let (mut names, mut untitled) = (BTreeSet::new(), BTreeMap::<String, u64>::new());
    for (number, raw) in (1u64..).zip(text.lines()) {
        if raw.trim().is_empty() {
            continue;
        }
        let line: Line = match serde_json::from_str(raw) {
            Ok(line) => line,
            Err(e) => {
                let why = e.to_string();
                let why = why.split(" at line ").next().unwrap_or(&why).to_owned();
                gathering.refuse(file.problem(number, e.column() as u64, why));
                continue;
            }
        };
        match understood(&line) {
            Ok(_) if !names.insert(line.model_name.clone()) => {
                gathering.refuse(file.problem(number, 1, format!("a second line for `{}`", line.model_name)));
            }
            Ok(model) => {
                if title(model.recipe).is_none() {
                    *untitled.entry(model.recipe.to_owned()).or_default() += 1;
                }
                model_events(gathering, file, &kept, number, &line, &model);
            }
            Err(why) => gathering.refuse(file.problem(number, 1, why)),
        }
    }
    if names.is_empty() && gathering.problems.is_empty() {
        gathering.refuse(file.problem(1, 1, "no model is listed"));
    }
    for (recipe, runs) in untitled {
        gathering.note(format!(
            "{runs} models name the recipe `{recipe}`, which is not among the 25 that the list's README names; kept as written"
        ));
    }
}

fn title(recipe: &str) -> Option<&'static str> {
    RECIPES.iter().find(|(name, _)| *name == recipe).map(|(_, title)| *title)
}

fn understood(line: &Line) -> Result<Model<'_>, String> {
    let name = &line.model_name;
    let mut parts = name.rsplitn(3, '-');
    let (seed, size, recipe) = (parts.next(), parts.next(), parts.next());
    let whole_name = || format!("model_name `{name}` is not <recipe>-<size>-<seed>, such as c4-150M-14");
    let seed = seed.and_then(whole).ok_or_else(whole_name)?;
    let size = size.filter(|size| nominal_parameters(size).is_some()).ok_or_else(whole_name)?;
    let recipe = recipe.filter(|recipe| !recipe.is_empty()).ok_or_else(whole_name)?;
    let folder = line.checkpoints_location.rsplit('/').next().unwrap_or_default();
    let differs = || {
        format!(
            "checkpoints_location ends in `{folder}`, where model_name `{name}` asks for {recipe}-{size}-<multiple>xC[-{seed}]"
        )
    };
    let rest = folder.strip_prefix(&format!("{recipe}-{size}-")).ok_or_else(differs)?;
    let (tokens_multiple, suffix) =
        rest.split_once('-').map_or((rest, None), |(multiple, suffix)| (multiple, Some(suffix)));
    chinchilla_multiple(tokens_multiple).ok_or_else(differs)?;
    let by_default = seed == DEFAULT_SEED && DEFAULT_SEED_FOLDERS.contains(&suffix);
    if !by_default && suffix != Some(seed.to_string().as_str()) {
        return Err(differs());
    }
    let mut checkpoints = BTreeMap::new();
    for revision in &line.revisions {
        let step = revision.strip_prefix("step").and_then(|rest| whole(rest.strip_suffix("-unsharded-hf")?));
        let step = step.ok_or_else(|| format!("revision `{revision}` of `{name}` is not step<number>-unsharded-hf"))?;
        if checkpoints.insert(step, revision.as_str()).is_some() {
            return Err(format!("revision `{revision}` of `{name}` is listed twice"));
        }
    }
    Ok(Model { recipe, size, seed, tokens_multiple, checkpoints })
}

fn model_events(gathering: &mut Gathering<'_>, file: &File, kept: &Ref, number: u64, line: &Line, model: &Model<'_>) {
    let run = gathering.run(&line.model_name);
    let mut config = json!({
        "recipe": model.recipe,
        "size": model.size,
        "parameters_nominal": nominal_parameters(model.size),
        "tokens_multiple": model.tokens_multiple,
        "chinchilla_multiple": chinchilla_multiple(model.tokens_multiple),
        "seed": model.seed,
    });
    if let Some(title) = title(model.recipe) {
        config["recipe_title"] = json!(title);
    }
    let started = RunStarted {
        run,
        method: "pretrain".into(),
        name: Some(line.model_name.clone()),
        attempt: 1,
        dataset: None,
        tokenizer: None,
        base_model: None,
        parent: None,
        code: RawJson::default(),
        config: RawJson::of(&config),
        environment: RawJson::default(),
        seed: model.seed,
        graphs: Vec::new(),
        identity: None,
        steps_planned: None,
    };
    gathering.push(run, "started", started);
    let about = json!({
        "file": file.name,
        "line": number,
        "checkpoints": model.checkpoints.len(),
        "last_step": model.checkpoints.keys().next_back(),
        "location": line.checkpoints_location,
    });
    let imported = imported(run, IMPORTER, kept.clone(), &UNKNOWN, RawJson::of(&about), Vec::new());
    gathering.push(run, "imported", imported);
    gathering.import.summary.runs += 1;
    for (step, revision) in &model.checkpoints {
        let location = format!("{}/{revision}", line.checkpoints_location.trim_end_matches('/'));
        let listed = CheckpointListed { run, step: *step, tokens: None, location, description: None };
        gathering.push(run, &format!("checkpoint/{step}"), listed);
        gathering.import.summary.checkpoints += 1;
    }
}
