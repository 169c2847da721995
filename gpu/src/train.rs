//! Training: forward and backward pass, clipping and AdamW as two graphs on ONNX Runtime, weights and moments held
//! by the runtime between steps. New state is made beside the old, never over it.

use serde::{Deserialize, Serialize};

use crate::graph::{AdamW, Builder, CrossEntropy, ElementType, Graph, Value, gradients, optimizer};
use crate::models::decoder::{self, Masks, Parameters, Sequence};
use crate::{Batch, DecoderConfig, Device, Error, Feed, IGNORE, Resident, Runtime, Session, Tensor, Weights};

use ElementType::{F32, I64};
use optimizer::{FIRST_MOMENT, GRADIENT, PARAMETER, SECOND_MOMENT, next, port};

const SEQUENCE_MAX: usize = 1 << 16;
const ROWS_MAX: usize = 1 << 16;
const MICRO_BATCHES_MAX: usize = 1 << 16;

/// What a run fixes about its steps.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields)]
pub struct TrainOptions {
    /// Rows of each `Batch`.
    pub rows_per_micro_batch: usize,
    /// Most micro-batches in a step; their gradients are summed before the update.
    pub micro_batches: usize,
    /// Tokens of each row.
    pub sequence_length: usize,
    pub betas: (f64, f64),
    pub eps: f64,
    /// Decoupled weight decay, on matrices only.
    pub weight_decay: f64,
    /// Upper bound on the norm of all gradients together.
    pub clip_norm: f64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            rows_per_micro_batch: 8,
            micro_batches: 1,
            sequence_length: 256,
            betas: (0.9, 0.95),
            eps: 1e-8,
            weight_decay: 0.1,
            clip_norm: 1.0,
        }
    }
}

impl TrainOptions {
    /// Refuses what cannot be trained with, naming the key.
    pub fn validate(&self, config: &DecoderConfig) -> Result<(), Error> {
        within("rows_per_micro_batch", self.rows_per_micro_batch, ROWS_MAX)?;
        within("micro_batches", self.micro_batches, MICRO_BATCHES_MAX)?;
        within("sequence_length", self.sequence_length, SEQUENCE_MAX.min(config.context))?;
        for (key, beta) in [("betas.0", self.betas.0), ("betas.1", self.betas.1)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(Error::invalid(key, beta, "0 or more and below 1"));
            }
        }
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return Err(Error::invalid("eps", self.eps, "a small number above 0"));
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(Error::invalid("weight_decay", self.weight_decay, "0 or more"));
        }
        if self.clip_norm.is_nan() || self.clip_norm <= 0.0 {
            return Err(Error::invalid("clip_norm", self.clip_norm, "a number above 0"));
        }
        Ok(())
    }
}

/// What one optimizer step did.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct StepReport {
    /// Number of the step, counted from 1.
    pub step: u64,
    /// Mean over the supervised tokens of the whole step, in nats, before the update.
    pub loss: f32,
    /// Norm of all gradients together, before clipping.
    pub grad_norm: f32,
    /// What gradients were multiplied by; 1 if they were within the limit.
    pub clip_scale: f32,
    pub supervised_tokens: u64,
    /// Tokens that are not padding.
    pub tokens: u64,
}

/// Everything a step reads and writes, on the host.
#[derive(Clone, PartialEq, Debug)]
pub struct TrainState {
    pub weights: Weights,
    pub first_moment: Weights,
    pub second_moment: Weights,
    /// Optimizer steps done.
    pub step: u64,
}

/// Trains one model. Reruns are bitwise equal on one machine, for any number of threads.
pub struct Trainer {
    config: DecoderConfig,
    options: TrainOptions,
    adamw: AdamW,
    graphs: Vec<Graph>,
    gradient: Session,
    update: Session,
    /// Where a step may have more than one micro-batch.
    sum: Option<Session>,
    states: Vec<ParameterState>,
    step: u64,
}

struct ParameterState {
    name: String,
    weight: Held,
    first_moment: Held,
    second_moment: Held,
}

/// A tensor given from outside, until the first step gives its successor.
enum Held {
    Host(Tensor),
    Device(Resident),
}

impl Held {
    fn feed(&self) -> Feed<'_> {
        match self {
            Self::Host(tensor) => Feed::F32(&tensor.data),
            Self::Device(resident) => Feed::Resident(resident),
        }
    }

    fn tensor(&self) -> Result<Tensor, Error> {
        match self {
            Self::Host(tensor) => Ok(tensor.clone()),
            Self::Device(resident) => Ok(Tensor { shape: resident.shape().to_vec(), data: resident.to_f32()? }),
        }
    }
}

impl Trainer {
    /// A fresh run from `weights`: zero moments, step 0.
    pub fn new(
        runtime: &Runtime,
        config: &DecoderConfig,
        weights: Weights,
        options: &TrainOptions,
    ) -> Result<Self, Error> {
        config.validate()?;
        let state = TrainState {
            weights,
            first_moment: Weights::zeros(config),
            second_moment: Weights::zeros(config),
            step: 0,
        };
        Self::restore(runtime, config, state, options)
    }

    /// Goes on from `state`, bitwise as if the run had never stopped.
    pub fn restore(
        runtime: &Runtime,
        config: &DecoderConfig,
        state: TrainState,
        options: &TrainOptions,
    ) -> Result<Self, Error> {
        config.validate()?;
        options.validate(config)?;
        state.weights.check(config)?;
        state.first_moment.check(config)?;
        state.second_moment.check(config)?;
        let shapes = config.parameter_shapes();
        let adamw = AdamW {
            betas: options.betas,
            epsilon: options.eps,
            weight_decay: options.weight_decay,
            clip_norm: options.clip_norm,
        };
        let embedding = Embedding::of(runtime.device());
        let mut graphs = vec![gradient_graph(config, options, embedding)?, adamw.graph(&shapes)];
        if options.micro_batches > 1 {
            graphs.push(sum_graph(&shapes));
        }
        Ok(Self {
            gradient: runtime.session(&graphs[0])?,
            update: runtime.session(&graphs[1])?,
            sum: graphs.get(2).map(|graph| runtime.session(graph)).transpose()?,
            config: config.clone(),
            options: options.clone(),
            adamw,
            graphs,
            step: state.step,
            states: parameter_states(&shapes, state),
        })
    }

    /// One optimizer step. The loss is divided by the supervised tokens of all micro-batches together, so that any
    /// division of the same rows into micro-batches is the same step. If it fails, the state is as before.
    pub fn step(&mut self, micro_batches: &[Batch], learning_rate: f64) -> Result<StepReport, Error> {
        self.check(micro_batches, learning_rate)?;
        let step = self.step + 1;
        let supervised_tokens: u64 = micro_batches.iter().map(|batch| batch.supervised_tokens).sum();
        if supervised_tokens == 0 {
            return Err(Error::invalid("supervised_tokens", 0, "at least 1 in a step: all its targets are ignored"));
        }
        let weight = (1.0 / supervised_tokens as f64) as f32;
        let mut loss_sum = 0.0;
        let mut sums: Option<Vec<Resident>> = None;
        for batch in micro_batches {
            let (loss, gradients) = self.differentiate(batch, weight)?;
            loss_sum += f64::from(loss);
            sums = Some(match sums {
                None => gradients,
                Some(earlier) => self.add(&earlier, &gradients)?,
            });
        }
        let loss = (loss_sum / supervised_tokens as f64) as f32;
        if !loss.is_finite() {
            return Err(Error::NotFinite { step, what: "the loss".to_owned(), value: loss });
        }
        let gradients = sums.expect("a step has a micro-batch");
        let (grad_norm, clip_scale) = self.apply(step, &gradients, learning_rate)?;
        let tokens = micro_batches.iter().flat_map(|batch| &batch.segments).filter(|&&segment| segment != 0).count();
        Ok(StepReport { step, loss, grad_norm, clip_scale, supervised_tokens, tokens: tokens as u64 })
    }

    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    pub fn options(&self) -> &TrainOptions {
        &self.options
    }

    /// Optimizer steps done.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// A copy of the weights.
    pub fn weights(&self) -> Result<Weights, Error> {
        self.collect(|state| &state.weight)
    }

    /// A copy of everything that `restore` needs.
    pub fn state(&self) -> Result<TrainState, Error> {
        Ok(TrainState {
            weights: self.weights()?,
            first_moment: self.collect(|state| &state.first_moment)?,
            second_moment: self.collect(|state| &state.second_moment)?,
            step: self.step,
        })
    }

    /// Name and ONNX bytes of each graph that steps run.
    pub fn graphs(&self) -> Vec<(String, &[u8])> {
        self.graphs.iter().map(|graph| (graph.name().to_owned(), graph.bytes())).collect()
    }

    /// Name and BLAKE3, in hex, of each graph that steps run.
    pub fn graph_digests(&self) -> Vec<(String, String)> {
        self.graphs.iter().map(|graph| (graph.name().to_owned(), graph.digest())).collect()
    }

    fn collect(&self, choose: impl Fn(&ParameterState) -> &Held) -> Result<Weights, Error> {
        self.states.iter().map(|state| Ok((state.name.clone(), choose(state).tensor()?))).collect()
    }

    /// Sum of the losses of a micro-batch and the gradients of `weight` times that.
    fn differentiate(&mut self, batch: &Batch, weight: f32) -> Result<(f32, Vec<Resident>), Error> {
        let weight = [weight];
        let mut inputs: Vec<(&str, Feed<'_>)> =
            self.states.iter().map(|state| (state.name.as_str(), state.weight.feed())).collect();
        inputs.extend([
            ("tokens", Feed::I64(&batch.tokens)),
            ("targets", Feed::I64(&batch.targets)),
            ("positions", Feed::I64(&batch.positions)),
            ("segments", Feed::I64(&batch.segments)),
            ("loss_weight", Feed::F32(&weight)),
        ]);
        let mut outputs = self.gradient.run(&inputs)?;
        let loss = outputs.take_f32("loss_sum")?[0];
        let gradients = self.states.iter().map(|state| outputs.take(&port(GRADIENT, &state.name)));
        Ok((loss, gradients.collect::<Result<_, _>>()?))
    }

    fn add(&mut self, earlier: &[Resident], later: &[Resident]) -> Result<Vec<Resident>, Error> {
        let session = self.sum.as_mut().expect("steps have one micro-batch where there is no sum");
        let names: Vec<[String; 2]> =
            self.states.iter().map(|state| ["earlier", "later"].map(|kind| port(kind, &state.name))).collect();
        let inputs: Vec<(&str, Feed<'_>)> = names
            .iter()
            .zip(earlier.iter().zip(later))
            .flat_map(|([a, b], (earlier, later))| {
                [(a.as_str(), Feed::Resident(earlier)), (b.as_str(), Feed::Resident(later))]
            })
            .collect();
        let mut outputs = session.run(&inputs)?;
        self.states.iter().map(|state| outputs.take(&port(GRADIENT, &state.name))).collect()
    }

    /// Clips, updates and, if the result is finite, replaces the state.
    fn apply(&mut self, step: u64, gradients: &[Resident], learning_rate: f64) -> Result<(f32, f32), Error> {
        let scalars = self.adamw.inputs(step, learning_rate);
        let [rate, first, second] =
            [scalars.learning_rate, scalars.first_correction, scalars.second_correction].map(|value| [value]);
        let kinds = [PARAMETER, GRADIENT, FIRST_MOMENT, SECOND_MOMENT];
        let names: Vec<[String; 4]> =
            self.states.iter().map(|state| kinds.map(|kind| port(kind, &state.name))).collect();
        let mut inputs: Vec<(&str, Feed<'_>)> = Vec::with_capacity(4 * names.len() + 3);
        for ((names, state), gradient) in names.iter().zip(&self.states).zip(gradients) {
            let feeds =
                [state.weight.feed(), Feed::Resident(gradient), state.first_moment.feed(), state.second_moment.feed()];
            inputs.extend(names.iter().map(String::as_str).zip(feeds));
        }
        inputs.extend([
            ("learning_rate", Feed::F32(&rate)),
            ("first_correction", Feed::F32(&first)),
            ("second_correction", Feed::F32(&second)),
        ]);
        let mut outputs = self.update.run(&inputs)?;
        let norm = outputs.take_f32("gradient_norm")?[0];
        let clip = outputs.take_f32("clip_scale")?[0];
        if !norm.is_finite() {
            return Err(Error::NotFinite { step, what: "the gradient norm".to_owned(), value: norm });
        }
        for state in &mut self.states {
            state.weight = Held::Device(outputs.take(&next(PARAMETER, &state.name))?);
            state.first_moment = Held::Device(outputs.take(&next(FIRST_MOMENT, &state.name))?);
            state.second_moment = Held::Device(outputs.take(&next(SECOND_MOMENT, &state.name))?);
        }
        self.step = step;
        Ok((norm, clip))
    }

    fn check(&self, micro_batches: &[Batch], learning_rate: f64) -> Result<(), Error> {
        if !(learning_rate.is_finite() && learning_rate >= 0.0) {
            return Err(Error::invalid("learning_rate", learning_rate, "0 or more"));
        }
        let most = self.options.micro_batches;
        if micro_batches.is_empty() || micro_batches.len() > most {
            return Err(Error::invalid("micro_batches", micro_batches.len(), format!("1 to {most} in a step")));
        }
        micro_batches.iter().try_for_each(|batch| check_batch(&self.config, &self.options, batch))
    }
}

/// How rows of the embedding table are chosen, which decides how their gradient is summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Embedding {
    Lookup,
    Product,
}

impl Embedding {
    /// On the CPU sums over repeated ids run in order; a GPU adds them atomically, in an order of its own.
    fn of(device: Device) -> Self {
        match device {
            Device::Cpu => Self::Lookup,
            Device::Cuda { .. } => Self::Product,
        }
    }
}

/// Forward, loss and backward of one micro-batch.
fn gradient_graph(config: &DecoderConfig, options: &TrainOptions, embedding: Embedding) -> Result<Graph, Error> {
    let mut b = Builder::new("decoder_gradient");
    let shape = [options.rows_per_micro_batch, options.sequence_length];
    let parameters = Parameters::declare(&mut b, config);
    let [tokens, targets, positions, segments] =
        ["tokens", "targets", "positions", "segments"].map(|name| b.input(name, I64, &shape));
    let weight = b.input("loss_weight", F32, &[]);
    let masks = Masks::packed(&mut b, config, segments);
    let sequence = Sequence::new(&mut b, config, (shape[0], shape[1]), positions, masks);
    let embedded = match embedding {
        Embedding::Lookup => decoder::embed(&mut b, &parameters, tokens),
        Embedding::Product => decoder::embed_by_product(&mut b, &parameters, tokens),
    };
    let logits = decoder::forward_embedded(&mut b, config, &parameters, embedded, &sequence);
    let targets = b.reshape(targets, &[shape[0] * shape[1]]);
    let loss = CrossEntropy::new(&mut b, logits, targets);
    let sum = b.reduce_sum(loss.per_row, &[0], false);
    b.output("loss_sum", sum);
    let seed = loss.gradient(&mut b, weight);
    let (names, values): (Vec<String>, Vec<Value>) =
        parameters.iter().map(|(name, value)| (port(GRADIENT, name), value)).unzip();
    let results = gradients(&mut b, &[(logits, seed)], &values)?;
    names.iter().zip(results).for_each(|(name, gradient)| b.output(name, gradient));
    Ok(b.finish())
}

fn sum_graph(parameters: &[(String, Vec<usize>)]) -> Graph {
    let mut b = Builder::new("gradient_sum");
    for (name, shape) in parameters {
        let [earlier, later] = ["earlier", "later"].map(|kind| b.input(&port(kind, name), F32, shape));
        let sum = b.add(earlier, later);
        b.output(&port(GRADIENT, name), sum);
    }
    b.finish()
}

fn parameter_states(shapes: &[(String, Vec<usize>)], mut state: TrainState) -> Vec<ParameterState> {
    let take = |weights: &mut Weights, name: &str| Held::Host(weights.remove(name).expect("checked to be there"));
    shapes
        .iter()
        .map(|(name, _)| ParameterState {
            name: name.clone(),
            weight: take(&mut state.weights, name),
            first_moment: take(&mut state.first_moment, name),
            second_moment: take(&mut state.second_moment, name),
        })
        .collect()
}

fn check_batch(config: &DecoderConfig, options: &TrainOptions, batch: &Batch) -> Result<(), Error> {
    let (rows, length) = (options.rows_per_micro_batch, options.sequence_length);
    if (batch.rows, batch.length) != (rows, length) {
        let found = format!("{} x {}", batch.rows, batch.length);
        return Err(Error::invalid("batch", found, format!("{rows} x {length} (rows x tokens)")));
    }
    let below = |key: &str, values: &[i64], limit: usize, also: Option<i64>| {
        if values.len() != rows * length {
            return Err(Error::invalid(key, format!("{} values", values.len()), format!("{}", rows * length)));
        }
        let bad = values.iter().find(|&&value| Some(value) != also && !(0..limit as i64).contains(&value));
        bad.map_or(Ok(()), |bad| Err(Error::invalid(key, bad, format!("0 or more and below {limit}"))))
    };
    below("tokens", &batch.tokens, config.vocabulary, None)?;
    below("targets", &batch.targets, config.vocabulary, Some(IGNORE))?;
    below("positions", &batch.positions, config.context, None)?;
    below("segments", &batch.segments, rows * length + 1, None)?;
    let supervised = batch.targets.iter().filter(|&&target| target != IGNORE).count() as u64;
    match supervised == batch.supervised_tokens {
        true => Ok(()),
        false => {
            let expected = format!("{supervised}, the number of its targets that are not ignored");
            Err(Error::invalid("supervised_tokens", batch.supervised_tokens, expected))
        }
    }
}

fn within(key: &str, found: usize, most: usize) -> Result<(), Error> {
    match (1..=most).contains(&found) {
        true => Ok(()),
        false => Err(Error::invalid(key, found, format!("a whole number from 1 to {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CounterRng, RuntimeOptions};

    /// Golden: recorded runs name their graphs by these digests.
    #[test]
    fn graphs_of_the_small_decoder_stay_what_they_were() {
        let config = DecoderConfig::default();
        let options = TrainOptions { rows_per_micro_batch: 2, sequence_length: 16, ..TrainOptions::default() };
        let digest = |embedding| gradient_graph(&config, &options, embedding).unwrap().digest();
        let found = [digest(Embedding::Lookup), digest(Embedding::Product)];
        assert_eq!(found, GRAPH_DIGESTS);
    }

    const GRAPH_DIGESTS: [&str; 2] = [
        "2e1947c0124c98ce25a7fa12cfd674caeb642aead403003bf200e345685731e2",
        "4b9db376fa6fda3e02fd4ec511c24841794f620d8472ececa2a18609ca010a1b",
    ];

    /// What runs on a GPU, checked on the CPU: the graphs with either embedding give the same losses and gradients.
    #[test]
    fn both_embeddings_have_the_same_gradient() {
        let config = DecoderConfig {
            layers: 1,
            width: 16,
            heads: 2,
            feed_forward: 24,
            vocabulary: 40,
            context: 16,
            tied_embeddings: false,
            ..DecoderConfig::default()
        };
        let options = TrainOptions { rows_per_micro_batch: 2, sequence_length: 16, ..TrainOptions::default() };
        let weights = Weights::initialize(&config, 3);
        let mut rng = CounterRng::new(1, 1);
        let mut ids = |bound: u64| -> Vec<i64> { (0..32).map(|_| rng.next_below(bound) as i64).collect() };
        let (tokens, targets) = (ids(7), ids(40));
        let positions: Vec<i64> = (0..32).map(|at| at % 16).collect();
        let segments = [1; 32];
        let runtime = Runtime::load(&RuntimeOptions::default()).unwrap();
        let mut results = [Embedding::Lookup, Embedding::Product].map(|embedding| {
            let graph = gradient_graph(&config, &options, embedding).unwrap();
            let mut feeds: Vec<_> = weights.iter().map(|(name, tensor)| (name, Feed::F32(&tensor.data))).collect();
            feeds.extend([
                ("tokens", Feed::I64(&tokens)),
                ("targets", Feed::I64(&targets)),
                ("positions", Feed::I64(&positions)),
                ("segments", Feed::I64(&segments)),
                ("loss_weight", Feed::F32(&[0.1])),
            ]);
            runtime.session(&graph).unwrap().run(&feeds).unwrap()
        });
        for (name, _) in config.parameter_shapes() {
            let name = port(GRADIENT, &name);
            let [lookup, product] = results.each_mut().map(|outputs| outputs.take_f32(&name).unwrap());
            for (at, (lookup, product)) in lookup.iter().zip(&product).enumerate() {
                assert!((lookup - product).abs() < 1e-5, "{name}[{at}]: {lookup} by lookup, {product} by product");
            }
            assert!(lookup.iter().any(|&x| x != 0.0), "{name} has no gradient");
        }
        assert_eq!(results[0].take_f32("loss_sum").unwrap(), results[1].take_f32("loss_sum").unwrap());
    }

    #[test]
    fn a_trainer_can_move_to_a_thread() {
        fn is_send<T: Send>() {}
        is_send::<Trainer>();
        is_send::<Runtime>();
    }
}
