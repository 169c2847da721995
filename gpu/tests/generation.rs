//! What generation promises: a row does not depend on its batch, draws are reproducible, ends are named; and scores
//! agree with it, packed or alone.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use cairn_gpu::{
    Batch, Checkpoint, CounterRng, DecoderConfig, Example, Finish, Generated, Generator, Loader, Overlong, RngState,
    Runtime, RuntimeOptions, Sampling, Scorer, TrainOptions, Trainer, Weights, pack,
};

const VOCABULARY: u32 = 101;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::load(&RuntimeOptions::default()).unwrap());
static GENERATOR: LazyLock<Generator> = LazyLock::new(|| Generator::new(&RUNTIME, &config(), &weights()).unwrap());

fn config() -> DecoderConfig {
    DecoderConfig {
        layers: 2,
        width: 32,
        heads: 4,
        feed_forward: 40,
        vocabulary: VOCABULARY as usize,
        context: 100,
        tied_embeddings: false,
        ..DecoderConfig::default()
    }
}

/// Far from uniform, so that a difference in what a row sees shows in what it says.
fn weights() -> Weights {
    let mut weights = Weights::initialize(&config(), 8);
    for (name, shape) in config().parameter_shapes() {
        if shape.len() == 2 {
            weights.get_mut(&name).unwrap().data.iter_mut().for_each(|value| *value *= 12.0);
        }
    }
    weights
}

fn prompts(seed: u64, count: usize, longest: u64) -> Vec<Vec<u32>> {
    let mut rng = CounterRng::new(seed, 0);
    (0..count)
        .map(|_| {
            let length = 1 + rng.next_below(longest);
            (0..length).map(|_| rng.next_below(u64::from(VOCABULARY)) as u32).collect()
        })
        .collect()
}

fn drawn(seed: u64) -> Sampling {
    Sampling { temperature: 0.8, top_k: Some(50), top_p: Some(0.95), seed, ..Sampling::greedy(20, vec![7, 8]) }
}

/// The likeliest next token by scoring every candidate without a cache.
fn likeliest_uncached(scorer: &Scorer, text: &[u32]) -> (u32, f64) {
    let examples: Vec<Example> = (0..VOCABULARY).map(|token| Example::answered(text, &[token])).collect();
    let scores = scorer.score_examples(&examples).unwrap();
    let best = (0..VOCABULARY).min_by(|a, b| scores[*a as usize].nll_sum.total_cmp(&scores[*b as usize].nll_sum));
    let best = best.unwrap();
    let mut sums: Vec<f64> = scores.iter().map(|score| score.nll_sum).collect();
    sums.sort_unstable_by(f64::total_cmp);
    (best, sums[1] - sums[0])
}

#[test]
fn greedy_answers_are_the_likeliest_by_an_independent_scorer() {
    let scorer = Scorer::new(&RUNTIME, &config(), &weights(), 16, 64).unwrap();
    for prompt in prompts(1, 3, 20) {
        let answer = &GENERATOR.generate(std::slice::from_ref(&prompt), &Sampling::greedy(8, Vec::new())).unwrap()[0];
        let mut text = prompt.clone();
        for &token in &answer.tokens {
            let (expected, margin) = likeliest_uncached(&scorer, &text);
            assert!(token == expected || margin < 1e-4, "after {text:?}: {token}, scored {expected} by {margin}");
            text.push(token);
        }
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    let prompts = prompts(2, 45, 60);
    let sampling = Sampling::greedy(25, vec![3, 4, 5]);
    let together = GENERATOR.generate(&prompts, &sampling).unwrap();
    for (row, prompt) in prompts.iter().enumerate() {
        let alone = GENERATOR.generate(std::slice::from_ref(prompt), &sampling).unwrap();
        assert_eq!(together[row], alone[0], "row {row}");
    }
    let distinct: std::collections::BTreeSet<_> = together.iter().map(|row| &row.tokens).collect();
    assert!(distinct.len() > 30, "answers must differ for this to show anything");
}

#[test]
fn draws_repeat_and_are_keyed_by_row() {
    let prompts = prompts(3, 20, 40);
    let first = GENERATOR.generate(&prompts, &drawn(1)).unwrap();
    assert_eq!(first, GENERATOR.generate(&prompts, &drawn(1)).unwrap());
    assert_ne!(first, GENERATOR.generate(&prompts, &drawn(2)).unwrap());
    // The same rows at the same numbers, in other company.
    let mut fewer = prompts.clone();
    fewer.truncate(6);
    assert_eq!(GENERATOR.generate(&fewer, &drawn(1)).unwrap(), first[..6]);
    let same = vec![prompts[0].clone(); 4];
    let answers = GENERATOR.generate(&same, &drawn(1)).unwrap();
    assert!(answers[1..].iter().any(|answer| answer != &answers[0]), "rows draw apart");
}

#[test]
fn ends_are_named() {
    let prompt = prompts(4, 1, 30).remove(0);
    let greedy = |max_new_tokens, stop| {
        GENERATOR.generate(std::slice::from_ref(&prompt), &Sampling::greedy(max_new_tokens, stop)).unwrap().remove(0)
    };
    let free = greedy(12, Vec::new());
    assert_eq!((free.tokens.len(), free.finish), (12, Finish::Length));
    let stop = free.tokens[6];
    let until = free.tokens.iter().position(|&token| token == stop).unwrap();
    let stopped = greedy(12, vec![stop]);
    assert_eq!(stopped, Generated { tokens: free.tokens[..until].to_vec(), finish: Finish::Stop });
    let full = greedy(1_000, Vec::new());
    assert_eq!((prompt.len() + full.tokens.len(), full.finish), (100, Finish::Context));
    assert_eq!(full.tokens[..12], free.tokens);
    assert_eq!(GENERATOR.generate(&[], &Sampling::greedy(1, Vec::new())).unwrap(), []);
}

#[test]
fn tokens_stream_as_they_come_and_a_row_can_be_cut() {
    let prompts = prompts(5, 40, 50);
    let plain = GENERATOR.generate(&prompts, &drawn(9)).unwrap();
    let mut seen = vec![Vec::new(); prompts.len()];
    let streamed = GENERATOR
        .generate_with(&prompts, &drawn(9), &mut |row, token| {
            seen[row].push(token);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(streamed, plain);
    assert!(seen.iter().zip(&plain).all(|(seen, row)| *seen == row.tokens));
    let mut count = 0;
    let cut = GENERATOR
        .generate_with(&prompts, &drawn(9), &mut |row, _| {
            count += usize::from(row == 2);
            if row == 2 && count == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    let expected = if plain[2].tokens.len() < 2 { plain[2].finish } else { Finish::Cancelled };
    assert_eq!((&cut[2].tokens[..], cut[2].finish), (&plain[2].tokens[..2.min(plain[2].tokens.len())], expected));
    assert!((0..40).filter(|&row| row != 2).all(|row| cut[row] == plain[row]));
}

#[test]
fn mistakes_are_named() {
    let refused = |prompt: Vec<u32>, expected: &str| {
        let prompts = [vec![1], prompt];
        let message = GENERATOR.generate(&prompts, &Sampling::greedy(1, Vec::new())).unwrap_err().to_string();
        assert!(message.contains("`prompts[1]`") && message.contains(expected), "{message}");
    };
    refused(Vec::new(), "0 tokens");
    refused(vec![1; 100], "100 tokens");
    refused(vec![1, VOCABULARY], "token 101");
    assert!(GENERATOR.generate(&[vec![1]], &Sampling::greedy(0, Vec::new())).is_err());
    let mut missing = weights();
    missing.remove("model.norm.weight");
    assert!(Generator::new(&RUNTIME, &config(), &missing).is_err());
    let too_long = Scorer::new(&RUNTIME, &config(), &weights(), 2, 101).err().unwrap().to_string();
    assert!(too_long.contains("`length` is 101"), "{too_long}");
    let scorer = Scorer::new(&RUNTIME, &config(), &weights(), 2, 8).unwrap();
    let rows = pack(&[Example::plain(vec![1, 500])], 8, Overlong::Split).unwrap();
    let batch = Batch::assemble(&[&rows[0]], 2, 8).unwrap();
    assert!(scorer.score(&batch).unwrap_err().to_string().contains("`token` is 500"));
}

/// Documents that share a row must not see one another.
#[test]
fn packed_scores_equal_scores_alone() {
    let mut rng = CounterRng::new(6, 0);
    let examples: Vec<Example> = prompts(6, 30, 24)
        .into_iter()
        .map(|tokens| Example { supervised: tokens.iter().map(|_| rng.next_below(4) > 0).collect(), tokens })
        .collect();
    let packed = Scorer::new(&RUNTIME, &config(), &weights(), 4, 64).unwrap().score_examples(&examples).unwrap();
    let single = Scorer::new(&RUNTIME, &config(), &weights(), 1, 24).unwrap();
    let mut scored = 0;
    for (example, packed) in examples.iter().zip(&packed) {
        let alone = single.score_examples(std::slice::from_ref(example)).unwrap()[0];
        let supervised = example.supervised.iter().skip(1).filter(|&&counts| counts).count() as u64;
        assert_eq!((packed.tokens, alone.tokens), (supervised, supervised));
        let difference = (packed.nll_sum - alone.nll_sum).abs();
        assert!(difference <= 1e-5 * alone.nll_sum.max(1.0), "{} packed, {} alone", packed.nll_sum, alone.nll_sum);
        scored += packed.tokens;
    }
    assert!(scored > 150);
}

#[test]
fn an_untrained_model_is_as_surprised_as_a_uniform_guess() {
    let fresh = Weights::initialize(&config(), 1);
    let scorer = Scorer::new(&RUNTIME, &config(), &fresh, 4, 64).unwrap();
    let examples: Vec<Example> = prompts(7, 20, 60).into_iter().map(Example::plain).collect();
    let scores = scorer.score_examples(&examples).unwrap();
    let (sum, count) = scores.iter().fold((0.0, 0), |(sum, count), one| (sum + one.nll_sum, count + one.tokens));
    let mean = sum / count as f64;
    assert!((mean - f64::from(VOCABULARY).ln()).abs() < 0.05, "{mean}");
}

/// The whole way: what training taught is what generation says, after a trip through a checkpoint.
#[test]
fn a_trained_model_says_what_it_was_taught() {
    let config = DecoderConfig { vocabulary: 16, context: 40, ..config() };
    // Answers count on by three from the prompt's last token.
    let lesson = |start: u32| -> Vec<u32> { (0..12).map(|at| (start + 3 * at) % 16).collect() };
    let examples: Vec<Example> =
        (0..16).map(|start| Example::answered(&lesson(start)[..1], &lesson(start)[1..])).collect();
    let options = TrainOptions { rows_per_micro_batch: 4, sequence_length: 24, ..TrainOptions::default() };
    let mut loader = Loader::new(pack(&examples, 24, Overlong::Truncate).unwrap(), 24, 5).unwrap();
    let mut trainer = Trainer::new(&RUNTIME, &config, Weights::initialize(&config, 2), &options).unwrap();
    for _ in 0..60 {
        trainer.step(&[loader.next_batch(4).unwrap()], 1e-2).unwrap();
    }
    let checkpoint = Checkpoint {
        state: trainer.state().unwrap(),
        loader: loader.state(),
        rng: RngState::default(),
        micro_batches: trainer.steps(),
    };
    let read = Checkpoint::from_safetensors(&checkpoint.to_safetensors()).unwrap();
    assert_eq!(read, checkpoint);
    let generator = Generator::new(&RUNTIME, &config, &read.state.weights).unwrap();
    let prompts: Vec<Vec<u32>> = (0..16).map(|start| vec![start]).collect();
    for (start, answer) in (0..16).zip(generator.generate(&prompts, &Sampling::greedy(11, Vec::new())).unwrap()) {
        assert_eq!(answer.tokens, lesson(start)[1..], "after {start}");
    }
}
