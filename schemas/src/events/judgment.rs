//! Family `judgment`: one schema for human, rule and LLM judges, and the gates that rest on them.

use super::{Fact, facts, words};
use crate::personal::{EachText, Text, TextField, TextLike, Texts, texts};
use crate::{Blake3, Links, RawJson, Real, Ref, RunId};

words! {
    /// Who judged.
    pub enum JudgeKind { Human, Rule, Llm }
    /// What the judge found.
    pub enum Verdict { Pass, Fail, Unscored }
    /// What a gate decided.
    pub enum GateOutcome { Pass, Block, InsufficientEvidence }
}

facts! {
    /// Who or what judged.
    pub struct Judge {
        pub kind: JudgeKind,
        pub name: String,
        pub version: String,
        /// BLAKE3 of the rule, rubric or prompt.
        pub digest: Option<Blake3>,
    }
    /// A judgment was made. Never updated: a later one names what it supersedes.
    pub struct JudgmentRecorded {
        pub judgment: Ref,
        /// What is judged: a model, an evaluation, a deployment.
        pub subject: Ref,
        pub evaluation: Option<Ref>,
        /// The sample of that evaluation.
        pub sample: Option<String>,
        /// The question that was asked: `format`, `clarity`, …
        pub criterion: String,
        pub judge: Judge,
        pub verdict: Verdict,
        pub score: Option<Real>,
        /// Why; required where the verdict is `unscored`.
        pub reason: Option<String>,
        pub supersedes: Option<Ref>,
    }
    /// One condition of a gate.
    pub struct GateCheck {
        /// The condition as written: `format_validity >= 0.8`.
        pub condition: String,
        pub outcome: GateOutcome,
        pub observed: Option<Real>,
        pub threshold: Option<Real>,
        pub n: Option<u64>,
        pub standard_error: Option<Real>,
        /// In words: what was compared and what was missing.
        pub detail: String,
    }
    /// A gate was evaluated.
    pub struct GateEvaluated {
        pub judgment: Ref,
        pub gate: String,
        pub subject: Ref,
        pub baseline: Option<Ref>,
        pub run: Option<RunId>,
        #[serde(default)]
        pub evaluations: Vec<Ref>,
        pub outcome: GateOutcome,
        pub checks: Vec<GateCheck>,
        #[serde(default)]
        pub config: RawJson,
    }
}

impl Fact for JudgmentRecorded {
    fn stream(&self) -> String {
        self.subject.stream()
    }
    fn links(&self) -> Links {
        Links::default().used([&self.subject]).used(&self.evaluation).used(&self.supersedes).produced([&self.judgment])
    }
}
impl Fact for GateEvaluated {
    fn stream(&self) -> String {
        self.subject.stream()
    }
    fn links(&self) -> Links {
        Links::default()
            .used([&self.subject])
            .used(&self.baseline)
            .used(&self.evaluations)
            .used(&self.run.map(Ref::Run))
            .produced([&self.judgment])
    }
}

texts! {
    GateEvaluated { checks, config }
}

impl TextLike for Vec<GateCheck> {
    const BELOW: &'static str = "/*/detail";
    fn visit(&mut self, pointer: &str, subject: Option<&str>, each: EachText<'_>) {
        for (index, check) in self.iter_mut().enumerate() {
            check.detail.visit(&format!("{pointer}/{index}/detail"), subject, each);
        }
    }
}

/// A human judge is a person; a rule's or a model's name is not one's.
impl Texts for JudgmentRecorded {
    fn text_fields() -> Vec<TextField> {
        let name = || "/judge/name".to_owned();
        let judge = TextField { pointer: name(), subject: Some(name()), when: Some(("/judge/kind", "human")) };
        vec![judge, TextField { pointer: "/reason".into(), subject: None, when: None }]
    }
    fn texts(&mut self, each: EachText<'_>) {
        if self.judge.kind == JudgeKind::Human {
            let name = self.judge.name.clone();
            each(
                "/judge/name",
                Some(&name).filter(|name| !name.is_empty()).map(String::as_str),
                Text::Plain(&mut self.judge.name),
            );
        }
        self.reason.visit("/reason", None, each);
    }
}
