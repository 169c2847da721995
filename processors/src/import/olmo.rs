//! OLMo's official configs, lists of checkpoints and provenance: `run_name` and settings from each YAML, kept whole; the
//! run that `load_path` names is its parent, at the step in that path.
//!
//! A list belongs to the only config without `load_path` that is read with it. Which config an ingredient of a
//! stage-2 list is the files do not say: the caller does, or its run is a placeholder.

mod files;

use super::{File, Gathering, Import, imported};
use crate::Error;
use cairn_schemas::events::training::{CheckpointListed, RunForked, RunImported, RunStarted};
use cairn_schemas::{Blake3, ProjectName, RawJson, Ref, RunId};
use files::{Config, List, Place, Sorted, Spot};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const IMPORTER: &str = "olmo";
const UNKNOWN: [&str; 5] = ["code", "environment", "dataset", "tokenizer", "graphs"];
const UNKNOWN_OF_PLACEHOLDERS: [&str; 8] =
    ["method", "config", "seed", "code", "environment", "dataset", "tokenizer", "graphs"];

/// What the files do not say.
pub struct Told<'a> {
    /// The `run_name` that an ingredient of a stage-2 list is.
    pub ingredients: &'a BTreeMap<String, String>,
    /// Whether the ledger knows a run already, which then needs no placeholder.
    pub is_known: &'a dyn Fn(&RunId) -> bool,
}

/// Reads configs, lists and provenance together: what one says of another counts.
pub fn read(files: &[File], project: &ProjectName, told: &Told<'_>) -> Result<Import, Error> {
    let mut gathering = Gathering::new(IMPORTER, project);
    let sorted = files::sorted(&mut gathering, files);
    if !gathering.problems.is_empty() {
        return gathering.finish();
    }
    let mut writer =
        Writer { begun: BTreeSet::new(), named: BTreeSet::new(), tokens_per_step: BTreeMap::new(), told, gathering };
    writer.all(&sorted)?;
    writer.gathering.finish()
}

struct Writer<'a, 'f> {
    /// Runs that have their beginning in this import.
    begun: BTreeSet<RunId>,
    /// Checkpoints that have their description.
    named: BTreeSet<(RunId, u64)>,
    /// Tokens of a step, by the run whose config says so.
    tokens_per_step: BTreeMap<RunId, u64>,
    told: &'a Told<'f>,
    gathering: Gathering<'a>,
}

impl Writer<'_, '_> {
    fn all(&mut self, sorted: &Sorted<'_>) -> Result<(), Error> {
        let firsts: Vec<&Config<'_>> = sorted.configs.iter().filter(|config| config.load_path.is_none()).collect();
        let plain: Vec<&List<'_>> = sorted.lists.iter().filter(|list| list.ingredient.is_none()).collect();
        let matched = match (&firsts[..], &plain[..]) {
            ([config], [list]) => Some((*config, *list)),
            _ => None,
        };
        if matched.is_none() && !plain.is_empty() {
            self.gathering.note(format!(
                "{} configs without load_path and {} lists of checkpoints were read; a list is matched with a config only where there is one of each",
                firsts.len(),
                plain.len()
            ));
        }
        for config in firsts {
            let list = matched.filter(|(matched, _)| matched.run_name == config.run_name).map(|(_, list)| list);
            self.config(config, list, sorted)?;
        }
        for list in plain.iter().filter(|_| matched.is_none()) {
            self.placeholder(&list.base, list.file);
            self.checkpoints(self.gathering.run(&list.base), list);
        }
        for config in sorted.configs.iter().filter(|config| config.load_path.is_some()) {
            self.config(config, self.ingredient_of(config, sorted), sorted)?;
        }
        for list in sorted.lists.iter().filter(|list| list.ingredient.is_some()) {
            self.ingredient(list, sorted)?;
        }
        Ok(())
    }

    /// The stage-2 list that the caller says is this config's.
    fn ingredient_of<'l>(&self, config: &Config<'_>, sorted: &'l Sorted<'_>) -> Option<&'l List<'l>> {
        let is_its = |list: &&List<'_>| {
            list.ingredient.as_ref().and_then(|number| self.told.ingredients.get(number)) == Some(&config.run_name)
        };
        sorted.lists.iter().find(is_its)
    }

    /// A list of an ingredient that no config takes.
    fn ingredient(&mut self, list: &List<'_>, sorted: &Sorted<'_>) -> Result<(), Error> {
        let number = list.ingredient.as_deref().unwrap_or_default();
        match self.told.ingredients.get(number) {
            Some(name) if sorted.configs.iter().any(|config| config.run_name == *name) => Ok(()),
            Some(name) => {
                let names: Vec<&str> = sorted.configs.iter().map(|config| config.run_name.as_str()).collect();
                let why = format!("no config that was read has this run_name; they are {}", names.join(", "));
                Err(Error::refused(format!("ingredient {number}, `{name}`"), why))
            }
            None => {
                self.placeholder(&list.base, list.file);
                self.checkpoints(self.gathering.run(&list.base), list);
                self.gathering.note(format!(
                    "{} does not say which config ingredient {number} is; its {} checkpoints are under a placeholder",
                    list.file.name,
                    list.rows.len()
                ));
                Ok(())
            }
        }
    }

    /// A run is known by where its checkpoints are, or else by its `run_name`. A config that begins from another run's
    /// checkpoint always by its `run_name`: whose list is whose is told from outside, and not each time.
    fn run_of(&self, config: &Config<'_>, list: Option<&List<'_>>) -> RunId {
        let base = list.filter(|_| config.load_path.is_none()).map(|list| list.base.as_str());
        self.gathering.run(base.unwrap_or(&config.run_name))
    }

    fn config(&mut self, config: &Config<'_>, list: Option<&List<'_>>, sorted: &Sorted<'_>) -> Result<(), Error> {
        let run = self.run_of(config, list);
        let parent = config.load_path.as_ref().map(|spot| self.parent(spot, config.file));
        let mut unknown = UNKNOWN.to_vec();
        if config.seed.is_none() {
            unknown.push("seed");
        }
        let started = RunStarted {
            run,
            method: if parent.is_some() { "midtrain" } else { "pretrain" }.into(),
            name: Some(config.run_name.clone()),
            attempt: 1,
            dataset: None,
            tokenizer: None,
            base_model: None,
            parent: parent.as_ref().map(|(run, _)| *run),
            code: RawJson::default(),
            config: RawJson::of(&config.settings),
            environment: RawJson::default(),
            seed: config.seed.unwrap_or(0),
            graphs: Vec::new(),
            identity: None,
            steps_planned: config.settings.get("stop_at").and_then(Value::as_u64),
        };
        self.begin(run, "started", started);
        if let (Some((from_run, checkpoint)), Some(spot)) = (parent, &config.load_path) {
            let forked = RunForked { run, from_run, from_step: spot.step, checkpoint };
            self.gathering.push(run, "forked", forked);
        }
        let mut notes = Vec::new();
        let tokens_per_step = config.tokens_per_step();
        match (list, tokens_per_step) {
            (Some(_), Some(_)) => notes.push(
                "tokens at a checkpoint are its step times global_train_batch_size times model.max_sequence_length"
                    .into(),
            ),
            (Some(_), None) => notes.push("the config does not say how many tokens a step has".into()),
            (None, _) => {}
        }
        let (data, provenance) = sorted.data_of(config);
        let mut event = imported(
            run,
            IMPORTER,
            self.gathering.keep(config.file),
            &unknown,
            RawJson::of(
                &json!({ "file": config.file.name, "checkpoints": list.map_or(0, |list| list.rows.len()), "data": data }),
            ),
            notes,
        );
        for file in provenance.into_iter().chain(list.map(|list| list.file)) {
            event.files.push(self.gathering.keep(file));
        }
        if let Some(list) = list {
            event.notes.push(match &list.ingredient {
                Some(number) => {
                    format!("ingredient {number} of {} is this run by the word of who imported it", list.file.name)
                }
                None => format!(
                    "{} is this run's list: no other list and no other config without load_path were read",
                    list.file.name
                ),
            });
        }
        self.gathering.push_said(run, "imported", event);
        self.gathering.import.summary.runs += 1;
        if let Some(tokens) = tokens_per_step {
            self.tokens_per_step.insert(run, tokens);
        }
        if let Some(list) = list {
            self.checkpoints(run, list);
        }
        Ok(())
    }

    /// The run that a path names, and the description of its checkpoint; both are made known where they are not.
    fn parent(&mut self, spot: &Spot, file: &File) -> (RunId, Ref) {
        let run = self.gathering.run(&spot.base);
        self.placeholder(&spot.base, file);
        let location = format!("{}/{}", spot.base, spot.folder);
        let text = format!("{}\n", json!({ "checkpoint_of": spot.base, "step": spot.step, "location": location }));
        let description = Ref::Artifact(Blake3::of(text.as_bytes()));
        if self.named.insert((run, spot.step)) {
            self.gathering.import.artifacts.push(text.into_bytes());
            let tokens = self.tokens_at(run, spot.step);
            let listed =
                CheckpointListed { run, step: spot.step, tokens, location, description: Some(description.clone()) };
            self.gathering.push_said(run, &format!("checkpoint/{}", spot.step), listed);
            self.gathering.import.summary.checkpoints += 1;
        }
        (run, description)
    }

    /// Makes a run known of which only the place of its checkpoints was met, if nothing else is known of it.
    fn placeholder(&mut self, base: &str, named_in: &File) {
        let run = self.gathering.run(base);
        if self.begun.contains(&run) || (self.told.is_known)(&run) {
            return;
        }
        let started = RunStarted {
            run,
            method: "unknown".into(),
            name: Some(base.rsplit('/').next().unwrap_or(base).to_owned()),
            attempt: 1,
            dataset: None,
            tokenizer: None,
            base_model: None,
            parent: None,
            code: RawJson::default(),
            config: RawJson::default(),
            environment: RawJson::default(),
            seed: 0,
            graphs: Vec::new(),
            identity: None,
            steps_planned: None,
        };
        self.begin(run, "placeholder/started", started);
        let file = self.gathering.keep(named_in);
        let event = RunImported {
            is_placeholder: true,
            notes: vec![format!("only named, by {}; no config of it was read", named_in.name)],
            ..imported(run, IMPORTER, file, &UNKNOWN_OF_PLACEHOLDERS, RawJson::of(&json!({ "location": base })), vec![])
        };
        self.gathering.push_said(run, "placeholder/imported", event);
        self.gathering.import.summary.placeholders += 1;
    }

    fn begin(&mut self, run: RunId, what: &str, event: RunStarted) {
        self.begun.insert(run);
        self.gathering.push(run, what, event);
    }

    fn tokens_at(&self, run: RunId, step: u64) -> Option<u64> {
        self.tokens_per_step.get(&run)?.checked_mul(step)
    }

    fn checkpoints(&mut self, run: RunId, list: &List<'_>) {
        for Place { step, location } in &list.rows {
            let tokens = self.tokens_at(run, *step);
            let listed = CheckpointListed { run, step: *step, tokens, location: location.clone(), description: None };
            self.gathering.push_said(run, &format!("checkpoint/{step}"), listed);
            self.gathering.import.summary.checkpoints += 1;
        }
    }
}
