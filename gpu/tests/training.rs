//! Training steps: against PyTorch, under accumulation, reruns, threads, resumption and packing.

use cairn_gpu::{
    Batch, CounterRng, DecoderConfig, Error, IGNORE, Runtime, RuntimeOptions, Schedule, StepReport, Tensor,
    TrainOptions, Trainer, Weights,
};
use serde::Deserialize;

fn runtime(threads: usize) -> Runtime {
    Runtime::load(&RuntimeOptions { threads, ..RuntimeOptions::default() }).expect("the library is installed")
}

fn tiny() -> DecoderConfig {
    DecoderConfig {
        layers: 2,
        width: 32,
        heads: 2,
        feed_forward: 48,
        vocabulary: 64,
        context: 64,
        tied_embeddings: true,
        ..DecoderConfig::default()
    }
}

fn options(rows: usize, micro_batches: usize, length: usize) -> TrainOptions {
    TrainOptions { rows_per_micro_batch: rows, micro_batches, sequence_length: length, ..TrainOptions::default() }
}

/// One document a row, ids by Zipf's law, every token but some supervised.
fn batch(seed: u64, rows: usize, length: usize, vocabulary: usize) -> Batch {
    let mut rng = CounterRng::new(seed, 3);
    let count = rows * length;
    let mut draw = || (vocabulary as f64).powf(rng.next_f64()) as i64 - 1;
    let tokens = (0..count).map(|_| draw()).collect();
    let mut targets: Vec<i64> = (0..count).map(|_| draw()).collect();
    targets.iter_mut().step_by(7).for_each(|target| *target = IGNORE);
    let supervised_tokens = targets.iter().filter(|&&target| target != IGNORE).count() as u64;
    Batch {
        rows,
        length,
        tokens,
        targets,
        positions: (0..count).map(|at| (at % length) as i64).collect(),
        segments: vec![1; count],
        supervised_tokens,
    }
}

/// Rows `from..to` as a batch of their own.
fn rows_of(batch: &Batch, from: usize, to: usize) -> Batch {
    let cut = |values: &[i64]| values[from * batch.length..to * batch.length].to_vec();
    let targets = cut(&batch.targets);
    Batch {
        rows: to - from,
        length: batch.length,
        tokens: cut(&batch.tokens),
        positions: cut(&batch.positions),
        segments: cut(&batch.segments),
        supervised_tokens: targets.iter().filter(|&&target| target != IGNORE).count() as u64,
        targets,
    }
}

/// |a - b| / |a| over all weights.
fn distance(a: &Weights, b: &Weights) -> f64 {
    let (mut apart, mut size) = (0.0, 0.0);
    for ((name, a), (other, b)) in a.iter().zip(b.iter()) {
        assert_eq!(name, other);
        for (x, y) in a.data.iter().zip(&b.data) {
            apart += f64::from(x - y).powi(2);
            size += f64::from(*x).powi(2);
        }
    }
    (apart / size).sqrt()
}

fn close(found: f32, expected: f32, tolerance: f32, what: &str) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(1.0), "{what}: {found}, expected {expected}");
}

mod against_pytorch {
    //! `golden/make_golden.py` made the figures; weights and batches come from the same integer hashes.

    use std::collections::BTreeMap;

    use super::*;

    const TOLERANCE: f32 = 1e-4;

    #[derive(Deserialize)]
    struct Golden {
        config: DecoderConfig,
        options: TrainOptions,
        schedule: Schedule,
        losses: Vec<f32>,
        norms: Vec<f32>,
        weights: BTreeMap<String, GoldenWeight>,
    }

    #[derive(Deserialize)]
    struct GoldenWeight {
        l2: f32,
        first: Vec<f32>,
    }

    /// SplitMix64 of (stream, index).
    fn mix(stream: u64, index: u64) -> u64 {
        let mut z = (stream << 32 | index).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn initial(config: &DecoderConfig) -> Weights {
        let tensor = |stream: usize, shape: Vec<usize>| {
            let offset = if shape.len() == 1 { 1.0 } else { 0.0 };
            let count = shape.iter().product::<usize>() as u64;
            let value = |i| (mix(stream as u64, i) % 65_536) as f32 - 32_768.0;
            Tensor { shape, data: (0..count).map(|i| offset + value(i) / 262_144.0).collect() }
        };
        let shapes = config.parameter_shapes().into_iter().enumerate();
        shapes.map(|(stream, (name, shape))| (name, tensor(stream, shape))).collect()
    }

    fn golden_batch(config: &DecoderConfig, options: &TrainOptions, step: u64) -> Batch {
        let (rows, length) = (options.rows_per_micro_batch, options.sequence_length);
        let vocabulary = config.vocabulary as u64;
        let mut batch = Batch {
            rows,
            length,
            tokens: vec![0; rows * length],
            targets: vec![IGNORE; rows * length],
            positions: vec![0; rows * length],
            segments: vec![0; rows * length],
            supervised_tokens: 0,
        };
        for row in 0..rows {
            let stream = 1000 + step * rows as u64 + row as u64;
            let first = 5 + mix(stream, 0) % 6;
            let second = 4 + mix(stream, 1) % 5;
            for at in 0..first + second {
                let (start, end, segment) = if at < first { (0, first, 1) } else { (first, first + second, 2) };
                let pick = |at| (mix(stream, 100 + at) % vocabulary).min(mix(stream, 200 + at) % vocabulary);
                let ignored = at + 1 == end || mix(stream, 300 + at).is_multiple_of(5);
                let slot = row * length + at as usize;
                batch.tokens[slot] = pick(at) as i64;
                batch.positions[slot] = (at - start) as i64;
                batch.segments[slot] = segment;
                if !ignored {
                    batch.targets[slot] = pick(at + 1) as i64;
                    batch.supervised_tokens += 1;
                }
            }
        }
        batch
    }

    #[test]
    fn fifty_steps_with_clipping_and_schedule() {
        let golden: Golden = serde_json::from_str(include_str!("golden/training.json")).unwrap();
        let (config, options) = (&golden.config, &golden.options);
        let mut trainer = Trainer::new(&runtime(2), config, initial(config), options).unwrap();
        let mut clipped = 0;
        for (step, (loss, norm)) in golden.losses.iter().zip(&golden.norms).enumerate() {
            let batch = golden_batch(config, options, step as u64);
            let report = trainer.step(&[batch], golden.schedule.rate_at(step as u64)).unwrap();
            close(report.loss, *loss, TOLERANCE, &format!("loss of step {step}"));
            close(report.grad_norm, *norm, TOLERANCE, &format!("gradient norm of step {step}"));
            clipped += usize::from(report.clip_scale < 1.0);
        }
        assert_eq!(golden.losses.len(), 50);
        assert!((5..=45).contains(&clipped), "clipping acted in {clipped} of 50 steps: both cases are wanted");
        let weights = trainer.weights().unwrap();
        assert_eq!(weights.len(), golden.weights.len());
        for (name, expected) in &golden.weights {
            let data = &weights.get(name).unwrap().data;
            let l2 = data.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt() as f32;
            close(l2, expected.l2, TOLERANCE, &format!("norm of {name}"));
            for (at, (found, expected)) in data.iter().zip(&expected.first).enumerate() {
                close(*found, *expected, TOLERANCE, &format!("{name}[{at}]"));
            }
        }
    }
}

#[test]
fn a_batch_of_n_rows_is_n_micro_batches() {
    let config = tiny();
    let runtime = runtime(1);
    let weights = Weights::initialize(&config, 4);
    let mut whole = Trainer::new(&runtime, &config, weights.clone(), &options(4, 1, 32)).unwrap();
    let mut parts = Trainer::new(&runtime, &config, weights, &options(1, 4, 32)).unwrap();
    for step in 0..5 {
        let mut batch = batch(step, 4, 32, config.vocabulary);
        // Unequal numbers of targets: a mean of means would show.
        batch.targets[32..56].fill(IGNORE);
        batch.supervised_tokens = batch.targets.iter().filter(|&&target| target != IGNORE).count() as u64;
        let micro: Vec<Batch> = (0..4).map(|row| rows_of(&batch, row, row + 1)).collect();
        let a = whole.step(&[batch], 1e-3).unwrap();
        let b = parts.step(&micro, 1e-3).unwrap();
        close(b.loss, a.loss, 1e-6, "loss");
        close(b.grad_norm, a.grad_norm, 1e-6, "gradient norm");
        assert_eq!((a.tokens, a.supervised_tokens), (b.tokens, b.supervised_tokens));
    }
    let apart = distance(&whole.weights().unwrap(), &parts.weights().unwrap());
    assert!(apart < 1e-6, "weights are {apart} apart");
}

/// Repeated ids are where a parallel sum would race: uniform ids hide it.
#[test]
fn zipf_ids_rerun_bitwise_at_one_and_two_threads() {
    let config = DecoderConfig { layers: 1, vocabulary: 300, ..tiny() };
    let batches = [batch(1, 4, 64, 300), batch(2, 4, 64, 300)];
    let mut digests = std::collections::BTreeSet::new();
    for threads in [1, 2] {
        let runtime = runtime(threads);
        for _ in 0..20 {
            let mut trainer =
                Trainer::new(&runtime, &config, Weights::initialize(&config, 9), &options(4, 1, 64)).unwrap();
            for batch in &batches {
                trainer.step(std::slice::from_ref(batch), 1e-3).unwrap();
            }
            digests.insert(trainer.weights().unwrap().digest());
        }
    }
    assert_eq!(digests.len(), 1, "{digests:?}");
}

#[test]
fn a_resumed_run_continues_bitwise() {
    let config = tiny();
    let runtime = runtime(2);
    let options = options(2, 2, 32);
    let step = |trainer: &mut Trainer, number: u64| {
        let micro = [batch(number, 2, 32, 64), batch(number + 100, 2, 32, 64)];
        trainer.step(&micro, 1e-3 / (1.0 + number as f64)).unwrap()
    };
    let mut whole = Trainer::new(&runtime, &config, Weights::initialize(&config, 2), &options).unwrap();
    let mut reports: Vec<StepReport> = (0..3).map(|number| step(&mut whole, number)).collect();
    let saved = whole.state().unwrap();
    reports.extend((3..6).map(|number| step(&mut whole, number)));
    let mut resumed = Trainer::restore(&runtime, &config, saved, &options).unwrap();
    assert_eq!(resumed.steps(), 3);
    let again: Vec<StepReport> = (3..6).map(|number| step(&mut resumed, number)).collect();
    assert_eq!(again, reports[3..]);
    assert_eq!(resumed.state().unwrap(), whole.state().unwrap());
}

/// Documents a and b alone, and packed into one row with padding.
#[test]
fn packed_documents_do_not_see_one_another() {
    let config = tiny();
    let runtime = runtime(1);
    let weights = Weights::initialize(&config, 6);
    let (a, b) = (12, 17);
    let alone = batch(8, 2, 32, 64);
    let place = |documents: &[(usize, usize)]| {
        let mut row = Batch {
            rows: 1,
            length: 32,
            tokens: vec![0; 32],
            targets: vec![IGNORE; 32],
            positions: vec![0; 32],
            segments: vec![0; 32],
            supervised_tokens: 0,
        };
        let mut start = 0;
        for (number, &(source, length)) in documents.iter().enumerate() {
            for at in 0..length {
                row.tokens[start + at] = alone.tokens[source * 32 + at];
                row.targets[start + at] = alone.targets[source * 32 + at];
                row.positions[start + at] = at as i64;
                row.segments[start + at] = number as i64 + 1;
            }
            start += length;
        }
        row.supervised_tokens = row.targets.iter().filter(|&&target| target != IGNORE).count() as u64;
        row
    };
    let sum = |documents: &[(usize, usize)]| {
        let mut trainer = Trainer::new(&runtime, &config, weights.clone(), &options(1, 1, 32)).unwrap();
        let report = trainer.step(&[place(documents)], 0.0).unwrap();
        assert_eq!(report.tokens, documents.iter().map(|&(_, length)| length as u64).sum::<u64>());
        report.loss * report.supervised_tokens as f32
    };
    let separate = sum(&[(0, a)]) + sum(&[(1, b)]);
    close(sum(&[(0, a), (1, b)]), separate, 1e-5, "packed");
    close(sum(&[(1, b), (0, a)]), separate, 1e-5, "packed the other way round");
}

#[test]
fn an_output_projection_of_its_own_learns_too() {
    let config = DecoderConfig { tied_embeddings: false, ..tiny() };
    let tied = Weights::initialize(&tiny(), 3);
    let mut weights = tied.clone();
    weights.insert("lm_head.weight".into(), tied.get("model.embed_tokens.weight").unwrap().clone());
    let runtime = runtime(2);
    let mut with_own = Trainer::new(&runtime, &config, weights, &options(2, 1, 32)).unwrap();
    let mut with_shared = Trainer::new(&runtime, &tiny(), tied, &options(2, 1, 32)).unwrap();
    let batch = batch(1, 2, 32, 64);
    let first = with_own.step(std::slice::from_ref(&batch), 5e-3).unwrap();
    let shared = with_shared.step(std::slice::from_ref(&batch), 5e-3).unwrap();
    close(first.loss, shared.loss, 1e-6, "the same function at first");
    let last = (0..40).map(|_| with_own.step(std::slice::from_ref(&batch), 5e-3).unwrap().loss).last().unwrap();
    assert!(last < 0.5 * first.loss, "a batch seen 40 times: {} to {last}", first.loss);
}

#[test]
fn graphs_are_the_same_bytes_every_time() {
    let runtime = runtime(1);
    let build = || Trainer::new(&runtime, &tiny(), Weights::initialize(&tiny(), 1), &options(2, 1, 32)).unwrap();
    let (a, b) = (build(), build());
    assert_eq!(a.graph_digests(), b.graph_digests());
    assert_eq!(a.graphs(), b.graphs());
    assert_eq!(
        a.graph_digests().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["decoder_gradient", "adamw"]
    );
}

#[test]
fn bad_steps_are_refused_and_change_nothing() {
    let config = tiny();
    let mut trainer = Trainer::new(&runtime(1), &config, Weights::initialize(&config, 1), &options(2, 1, 32)).unwrap();
    let good = batch(1, 2, 32, 64);
    trainer.step(std::slice::from_ref(&good), 1e-3).unwrap();
    let before = trainer.state().unwrap();
    let spoilt = |spoil: fn(&mut Batch)| {
        let mut batch = good.clone();
        spoil(&mut batch);
        batch
    };
    let cases: [(Vec<Batch>, f64, &str); 10] = [
        (vec![], 1e-3, "`micro_batches` is 0"),
        (vec![good.clone(), good.clone()], 1e-3, "`micro_batches` is 2"),
        (vec![good.clone()], f64::NAN, "`learning_rate` is NaN"),
        (vec![rows_of(&good, 0, 1)], 1e-3, "`batch` is 1 x 32"),
        (vec![spoilt(|batch| batch.tokens[3] = 64)], 1e-3, "`tokens` is 64"),
        (vec![spoilt(|batch| batch.targets[3] = -1)], 1e-3, "`targets` is -1"),
        (vec![spoilt(|batch| batch.positions[3] = 64)], 1e-3, "`positions` is 64"),
        (vec![spoilt(|batch| batch.segments.truncate(9))], 1e-3, "`segments` is 9 values"),
        (vec![spoilt(|batch| batch.supervised_tokens += 1)], 1e-3, "`supervised_tokens` is"),
        (
            vec![spoilt(|batch| {
                batch.targets.fill(IGNORE);
                batch.supervised_tokens = 0;
            })],
            1e-3,
            "`supervised_tokens` is 0",
        ),
    ];
    for (batches, rate, expected) in cases {
        let message = trainer.step(&batches, rate).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
    assert_eq!(trainer.state().unwrap(), before);
}

#[test]
fn a_loss_that_is_no_number_stops_the_step() {
    let config = tiny();
    let mut weights = Weights::initialize(&config, 1);
    weights.get_mut("model.norm.weight").unwrap().data.fill(1e38);
    let mut trainer = Trainer::new(&runtime(1), &config, weights, &options(2, 1, 32)).unwrap();
    let before = trainer.state().unwrap();
    let error = trainer.step(&[batch(1, 2, 32, 64)], 1e-3).unwrap_err();
    assert!(matches!(error, Error::NotFinite { step: 1, .. }), "{error}");
    assert_eq!(trainer.state().unwrap(), before);
}

#[test]
fn options_are_checked() {
    let base = options(2, 1, 32);
    let bad = [
        (TrainOptions { rows_per_micro_batch: 0, ..base.clone() }, "`rows_per_micro_batch` is 0"),
        (
            TrainOptions { sequence_length: 65, ..base.clone() },
            "`sequence_length` is 65, expected a whole number from 1 to 64",
        ),
        (TrainOptions { betas: (1.0, 0.9), ..base.clone() }, "`betas.0` is 1"),
        (TrainOptions { eps: 0.0, ..base.clone() }, "`eps` is 0"),
        (TrainOptions { weight_decay: -0.1, ..base.clone() }, "`weight_decay` is -0.1"),
        (TrainOptions { clip_norm: f64::NAN, ..base }, "`clip_norm` is NaN"),
    ];
    for (options, expected) in bad {
        let message = options.validate(&tiny()).unwrap_err().to_string();
        assert!(message.starts_with(expected), "{message}");
    }
}
