//! What the inference engine promises: an answer depends on its own request alone, whatever runs beside it; answers
//! join and leave at any token; what cannot fit is refused and what does not fit now waits; streams can be cut.

use std::sync::{Arc, LazyLock};

use cairn_gpu::{
    Answer, CounterRng, DecoderConfig, DecoderParts, Engine, EngineOptions, Error, Finish, Output, Quantisation,
    Request, Runtime, RuntimeOptions, Sampling, Tokenizer, Usage, Weights,
};

const VOCABULARY: u32 = 300;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::load(&RuntimeOptions::default()).unwrap());
static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::train(["so it goes, and so on".to_owned()].into_iter(), 261).unwrap());

fn config() -> DecoderConfig {
    DecoderConfig {
        layers: 3,
        width: 64,
        heads: 4,
        kv_heads: Some(2),
        head_width: Some(16),
        feed_forward: 96,
        vocabulary: VOCABULARY as usize,
        context: 128,
        ..DecoderConfig::default()
    }
}

/// Far from uniform, so that a difference in what a row sees shows in what it says.
fn parts() -> DecoderParts {
    let mut weights = Weights::initialize(&config(), 8);
    for (name, shape) in config().parameter_shapes() {
        if shape.len() == 2 {
            weights.get_mut(&name).unwrap().data.iter_mut().for_each(|value| *value *= 8.0);
        }
    }
    let detokenizer = Some(TOKENIZER.detokenizer().clone());
    DecoderParts { config: config(), weights: Arc::new(weights), detokenizer }
}

fn options() -> EngineOptions {
    EngineOptions { slots: 5, prompt_chunk: 16, ..EngineOptions::default() }
}

fn open(options: EngineOptions) -> Engine {
    Engine::open(&RUNTIME, parts(), options).unwrap()
}

fn tokens(seed: u64, length: usize) -> Vec<u32> {
    let mut rng = CounterRng::new(seed, 7);
    (0..length).map(|_| rng.next_below(u64::from(VOCABULARY)) as u32).collect()
}

fn drawn(seed: u64, max_new_tokens: usize) -> Sampling {
    Sampling {
        temperature: 0.9,
        top_k: Some(60),
        top_p: Some(0.97),
        min_p: Some(0.001),
        repetition_penalty: Some(1.1),
        seed,
        ..Sampling::greedy(max_new_tokens, vec![3, 4])
    }
}

/// Ragged in every way: lengths of prompts and answers, shared beginnings, greedy and drawn.
fn requests(seed: u64, count: u64) -> Vec<Request> {
    let mut rng = CounterRng::new(seed, 1);
    let beginning = tokens(999, 40);
    (0..count)
        .map(|number| {
            let length = 1 + rng.next_below(80) as usize;
            let own = tokens(seed * 1_000 + number, length);
            let prompt = match rng.next_below(3) {
                0 => [&beginning[..33], &own[..length.min(50)]].concat(),
                1 => beginning[..length.min(40)].to_vec(),
                _ => own,
            };
            let longest = 1 + rng.next_below(40) as usize;
            let sampling =
                if rng.next_below(3) == 0 { Sampling::greedy(longest, vec![3]) } else { drawn(number, longest) };
            Request { logprobs: Some(2), n: 1 + rng.next_below(2) as usize, ..Request::new(prompt, sampling) }
        })
        .collect()
}

fn answers(engine: &Engine, request: &Request) -> (Vec<Answer>, Usage) {
    engine.generate(request.clone()).unwrap().collect_answers().unwrap()
}

/// The promise that the rest rests on, bit by bit: log-probabilities too.
#[test]
fn an_answer_is_the_same_alone_and_in_any_company() {
    let seed = 41;
    let requests = requests(seed, 40);
    let alone = EngineOptions { slots: 2, prefix_cache: false, ..options() };
    let engine = open(alone);
    let expected: Vec<Vec<Answer>> = requests.iter().map(|request| answers(&engine, request).0).collect();
    for (slots, prefix_cache) in [(5, true), (16, true), (7, false)] {
        let engine = open(EngineOptions { slots, prefix_cache, ..options() });
        for order in 0..2 {
            let mut order: Vec<usize> = (0..requests.len()).rev().collect::<Vec<_>>().split_off(order);
            CounterRng::new(seed, slots as u64).shuffle(&mut order);
            let handles: Vec<_> =
                order.iter().map(|&at| (at, engine.generate(requests[at].clone()).unwrap())).collect();
            for (at, handle) in handles {
                let (found, _) = handle.collect_answers().unwrap();
                assert_eq!(found, expected[at], "request {at} of seed {seed} beside others, {slots} slots");
            }
        }
        assert_eq!(engine.load().running + engine.load().waiting, 0);
    }
    let distinct: std::collections::BTreeSet<_> =
        expected.iter().flatten().map(|answer| answer.tokens.clone()).collect();
    assert!(distinct.len() > 35, "answers must differ for this to show anything");
}

/// In fewer bits too, as long as steps are of more than one row or of one: see docs/performance.md.
#[test]
fn quantised_answers_in_company() {
    for quantise in [Quantisation::Bits8, Quantisation::Bits4] {
        let requests = requests(43, 12);
        let quantised = EngineOptions { quantise: Some(quantise), ..options() };
        let alone = open(EngineOptions { slots: 2, prefix_cache: false, ..quantised.clone() });
        let expected: Vec<Vec<Answer>> = requests.iter().map(|request| answers(&alone, request).0).collect();
        let engine = open(EngineOptions { slots: 12, ..quantised });
        let handles: Vec<_> = requests.iter().map(|request| engine.generate(request.clone()).unwrap()).collect();
        for (at, handle) in handles.into_iter().enumerate() {
            assert_eq!(handle.collect_answers().unwrap().0, expected[at], "request {at}, {quantise:?}");
        }
    }
}

#[test]
fn threads_do_not_show() {
    let one = Runtime::load(&RuntimeOptions { threads: 1, ..RuntimeOptions::default() }).unwrap();
    let one = Engine::open(&one, parts(), options()).unwrap();
    let two = open(options());
    for request in requests(42, 6) {
        assert_eq!(answers(&one, &request), answers(&two, &request));
    }
}

#[test]
fn beginnings_are_read_once() {
    let engine = open(options());
    let prompt = tokens(1, 70);
    let ask = |prompt: &[u32]| answers(&engine, &Request::new(prompt.to_vec(), Sampling::greedy(4, Vec::new())));
    let (first, usage) = ask(&prompt);
    assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens), (70, 0, 4));
    let (again, usage) = ask(&prompt);
    assert_eq!((again, usage.cached_tokens), (first, 64), "whole chunks of 16");
    assert_eq!(ask(&prompt[..64]).1.cached_tokens, 48, "a token has to be left to go on from");
    assert_eq!(ask(&[&prompt[..40], &tokens(2, 9)].concat()).1.cached_tokens, 32);
    let mut other = prompt.clone();
    other[0] ^= 1;
    assert_eq!(ask(&other).1.cached_tokens, 0);
    // Four slots are free beside the one that answers: the least recently used beginning went.
    (10..15).for_each(|seed| assert_eq!(ask(&tokens(seed, 40)).1.cached_tokens, 0));
    assert_eq!(ask(&prompt).1.cached_tokens, 0);
    let without = open(EngineOptions { prefix_cache: false, ..options() });
    (0..2).for_each(|_| {
        let request = Request::new(prompt.clone(), Sampling::greedy(4, Vec::new()));
        assert_eq!(answers(&without, &request).1.cached_tokens, 0);
    });
}

#[test]
fn several_answers_to_one_prompt_draw_apart_and_stay_what_they_are() {
    let engine = open(options());
    let request = Request { n: 9, ..Request::new(tokens(5, 30), drawn(11, 12)) };
    let (nine, usage) = answers(&engine, &request);
    let two = answers(&engine, &Request { n: 2, ..request.clone() }).0;
    assert_eq!(two, nine[..2], "answer i does not depend on n");
    assert_eq!(usage.completion_tokens, nine.iter().map(|answer| answer.tokens.len()).sum::<usize>());
    let distinct: std::collections::BTreeSet<_> = nine.iter().map(|answer| &answer.tokens).collect();
    assert!(distinct.len() > 6, "{distinct:?}");
}

#[test]
fn logits_are_those_that_greedy_answers_follow() {
    let engine = open(options());
    let prompt = tokens(6, 37);
    let request = Request { logprobs: Some(3), ..Request::new(prompt.clone(), Sampling::greedy(10, Vec::new())) };
    let answer = answers(&engine, &request).0.remove(0);
    let text = [prompt.as_slice(), &answer.tokens[..9]].concat();
    let logits = engine.logits(&text).unwrap();
    let rows: Vec<&[f32]> = logits.chunks_exact(VOCABULARY as usize).skip(prompt.len() - 1).collect();
    assert_eq!(rows.len(), answer.tokens.len());
    for ((row, &token), logprob) in rows.iter().zip(&answer.tokens).zip(&answer.logprobs) {
        let highest = row.iter().copied().fold(f32::MIN, f32::max);
        assert!(row[token as usize] >= highest - 1e-4, "{} of {highest}", row[token as usize]);
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        let expected = f64::from(row[token as usize]) - sum.ln();
        assert!((f64::from(logprob.logprob) - expected).abs() < 1e-3, "{} and {expected}", logprob.logprob);
        assert_eq!((logprob.top.len(), logprob.top[0]), (3, (token, logprob.logprob)));
        assert!(logprob.top.is_sorted_by(|a, b| a.1 >= b.1));
    }
}

#[test]
fn ends_are_named_and_stop_texts_are_cut_off() {
    let engine = open(options());
    let prompt = tokens(7, 20);
    let ask = |request: &Request| answers(&engine, request).0.remove(0);
    let free = ask(&Request::new(prompt.clone(), Sampling::greedy(30, Vec::new())));
    assert_eq!((free.tokens.len(), free.finish), (30, Finish::Length));
    let at = free.tokens.iter().position(|token| *token == free.tokens[9]).unwrap();
    let stopped = ask(&Request::new(prompt.clone(), Sampling::greedy(30, vec![free.tokens[9]])));
    assert_eq!((&stopped.tokens[..], stopped.finish), (&free.tokens[..at], Finish::Stop));
    let full = ask(&Request::new(prompt.clone(), Sampling::greedy(1_000, Vec::new())));
    assert_eq!((prompt.len() + full.tokens.len(), full.finish), (128, Finish::Context));
    // Any piece of the text in its middle ends it there.
    let begin = free.text.char_indices().nth(free.text.chars().count() / 2).unwrap().0;
    let stop: String = free.text[begin..].chars().take(3).collect();
    let cut = ask(&Request { stop: vec![stop.clone()], ..Request::new(prompt, Sampling::greedy(30, Vec::new())) });
    let expected = &free.text[..free.text.find(&stop).unwrap()];
    assert_eq!((cut.text.as_str(), cut.finish), (expected, Finish::Stop), "until {stop:?} of {:?}", free.text);
}

#[test]
fn answers_stream_and_can_be_cancelled() {
    let engine = open(EngineOptions { slots: 2, ..options() });
    let long = |seed| Request::new(tokens(seed, 10), Sampling::greedy(100, Vec::new()));
    let whole = answers(&engine, &long(1)).0.remove(0);
    let mut streamed = engine.generate(long(1)).unwrap();
    let mut seen = Vec::new();
    for output in streamed.by_ref() {
        match output.unwrap() {
            Output::Token(chunk) => {
                seen.push(chunk.token);
                assert_eq!(seen[..], whole.tokens[..seen.len()]);
            }
            Output::End { finish, .. } => assert_eq!(finish, whole.finish),
            Output::Done(usage) => assert_eq!(usage.completion_tokens, seen.len()),
        }
    }
    assert!(streamed.next().is_none());
    // Cut by hand, by another thread's hand, and by letting go of the handle; others are not touched.
    let mut cut = engine.generate(long(2)).unwrap();
    cut.next().unwrap().unwrap();
    let canceller = cut.canceller();
    let waiting = engine.generate(long(1)).unwrap();
    drop(engine.generate(long(3)).unwrap());
    canceller.cancel();
    let (rest, _) = cut.collect_answers().unwrap();
    assert!(rest[0].finish == Finish::Cancelled || rest[0].tokens.len() == 99, "{:?}", rest[0].finish);
    assert_eq!(waiting.collect_answers().unwrap().0[0], whole);
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let engine = open(EngineOptions { queue_max: 3, ..options() });
    let base = Request::new(tokens(1, 5), Sampling::greedy(5, Vec::new()));
    let refused = |request: Request, expected: &str| {
        let message = engine.generate(request).err().unwrap().to_string();
        assert!(message.contains(expected), "{message}");
    };
    refused(Request { prompt: Vec::new(), ..base.clone() }, "`prompt` is 0 tokens");
    refused(Request { prompt: vec![1; 128], ..base.clone() }, "`prompt` is 128 tokens, expected 1 to 127");
    refused(Request { prompt: vec![1, VOCABULARY], ..base.clone() }, "`prompt` is token 300");
    refused(Request { n: 0, ..base.clone() }, "`n` is 0");
    refused(Request { logprobs: Some(21), ..base.clone() }, "`logprobs` is 21");
    refused(Request { stop: vec![String::new()], ..base.clone() }, "`stop` is a text of 0 bytes");
    refused(
        Request { sampling: Sampling { top_p: Some(2.0), ..base.sampling.clone() }, ..base.clone() },
        "`top_p` is 2",
    );
    assert!(engine.logits(&[]).unwrap_err().to_string().contains("`tokens` is 0 tokens"));
    let silent = Engine::open(&RUNTIME, DecoderParts { detokenizer: None, ..parts() }, options()).unwrap();
    let stop = Request { stop: vec!["x".to_owned()], ..base.clone() };
    assert!(silent.generate(stop).err().unwrap().to_string().contains("no tokenizer"));
    let mut broken = parts();
    Arc::make_mut(&mut broken.weights).get_mut("model.norm.weight").unwrap().data[0] = f32::NAN;
    let error = Engine::open(&RUNTIME, broken, options()).err().unwrap().to_string();
    assert!(error.contains("`model.norm.weight`") && error.contains("NaN"), "{error}");
}

/// A queue of three, and answers long enough that nothing leaves while it fills.
#[test]
fn a_full_queue_refuses_and_recovers() {
    let engine = open(EngineOptions { slots: 1, queue_max: 3, ..options() });
    let long = Request::new(tokens(1, 5), Sampling::greedy(120, Vec::new()));
    let mut handles = Vec::new();
    let waiting = loop {
        match engine.generate(long.clone()) {
            Ok(handle) => handles.push(handle),
            Err(Error::Busy { waiting }) => break waiting,
            Err(other) => panic!("{other}"),
        }
    };
    assert!(waiting == 3 && handles.len() >= 3, "{} taken in", handles.len());
    let all: Vec<Answer> = handles.into_iter().flat_map(|handle| handle.collect_answers().unwrap().0).collect();
    assert!(all.iter().all(|answer| answer.tokens.len() == 120 && *answer == all[0]));
    assert_eq!(answers(&engine, &long).0[0], all[0]);
}

/// Memory for 60 positions beside five slots: answers wait for one another, none is harmed, and one that could never
/// fit is refused.
#[test]
fn memory_is_planned_before_admission() {
    let unbounded = open(options()).plan();
    let memory_bytes_max = unbounded.weight_bytes + unbounded.working_bytes + 60 * unbounded.position_bytes;
    let engine = open(EngineOptions { memory_bytes_max, ..options() });
    let plan = engine.plan();
    assert!((40..=60).contains(&plan.positions) && plan.context == plan.positions, "{plan:?}");
    let requests: Vec<Request> =
        (0..12).map(|seed| Request::new(tokens(seed, 10 + seed as usize), drawn(seed, 15))).collect();
    let reference = open(EngineOptions { slots: 1, ..options() });
    let handles: Vec<_> = requests.iter().map(|request| engine.generate(request.clone()).unwrap()).collect();
    for (request, handle) in requests.iter().zip(handles) {
        assert!(engine.load().positions <= plan.positions, "{:?}", engine.load());
        assert_eq!(handle.collect_answers().unwrap().0, answers(&reference, request).0);
    }
    let long = engine.generate(Request::new(tokens(1, plan.positions), Sampling::greedy(1, Vec::new())));
    assert!(long.err().unwrap().to_string().contains("`prompt` is"));
    let none = EngineOptions { memory_bytes_max: 1_000, ..options() };
    assert!(matches!(Engine::open(&RUNTIME, parts(), none), Err(Error::DoesNotFit { limit: 1_000, .. })));
}

#[test]
fn an_engine_that_goes_ends_what_is_under_way() {
    let engine = open(options());
    let mut handle = engine.generate(Request::new(tokens(1, 5), Sampling::greedy(100, Vec::new()))).unwrap();
    handle.next().unwrap().unwrap();
    drop(engine);
    let last = handle.by_ref().last().unwrap();
    assert!(matches!(last, Err(Error::Stopped) | Ok(Output::Done(_))), "{last:?}");
}
