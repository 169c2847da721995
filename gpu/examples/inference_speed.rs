//! The inference engine under measurement: opens a model's folder, then answers one JSON line for each on stdin, so that
//! a peer can be measured in turns with it. `tests/bench/hf_peer.py` drives it.
//! `inference_speed FOLDER [threads] [bits: 32, 8 or 4] [slots]`, then for a decoder lines such as
//! `{"op":"generate","prompts":[[1,2]],"new":[128],"arrivals_s":[0.0],"batch":16}` or `{"op":"bandwidth"}`, for an encoder
//! `{"op":"embed","texts":["…"]}`.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use cairn_gpu::{
    Device, Encoder, EncoderEngine, EncoderOptions, EncoderOutput, Engine, EngineOptions, FolderTokenizer, ModelConfig,
    ModelFolder, Output, Quantisation, Request, Runtime, RuntimeOptions, Sampling,
};
use serde_json::{Value, json};

/// Reads of the whole buffer, of which the fastest counts.
const READS: usize = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = arguments.first().ok_or("a model's folder is expected")?;
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (threads, bits, slots) = (number(1, 2)?, number(2, 32)?, number(3, 16)?);
    let runtime = Runtime::load(&RuntimeOptions { threads, device: Device::Cpu })?;
    let quantise = match bits {
        4 => Some(Quantisation::Bits4),
        8 => Some(Quantisation::Bits8),
        _ => None,
    };
    // Prompts come again in every pair: a cache of beginnings would have them.
    let options = EngineOptions { slots, quantise, prefix_cache: false, ..EngineOptions::default() };
    let before = memory("VmRSS");
    let started = Instant::now();
    let folder = ModelFolder::open(Path::new(folder))?;
    if let ModelConfig::Encoder(_) = folder.config() {
        return embed(&runtime, &folder);
    }
    let engine = Engine::open_folder(&runtime, &folder, None, &options)?;
    say(&json!({
        "opened_s": started.elapsed().as_secs_f64(),
        "peak_bytes": memory("VmHWM") - before,
        "resident_bytes": memory("VmRSS") - before,
        "file_bytes": folder.files().1,
        "weight_bytes": engine.plan().weight_bytes,
    }))?;
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let answer = match asked["op"].as_str() {
            Some("generate") => generate(&engine, &asked)?,
            Some("bandwidth") => json!({ "bytes_per_s": bandwidth(engine.plan().weight_bytes as usize, threads) }),
            _ => return Err("`op` is generate or bandwidth".into()),
        };
        say(&answer)?;
    }
    Ok(())
}

/// Vectors of texts, tokens and all, as long as there are lines.
fn embed(runtime: &Runtime, folder: &ModelFolder) -> Result<(), Box<dyn Error>> {
    let tokenizer = FolderTokenizer::of_folder(folder)?;
    let pooling = folder.pooling().ok_or("an encoder that embeds is expected")?;
    let most = folder.texts().tokens_max.unwrap_or(folder.config().context());
    let encoder = Encoder::open_folder(runtime, folder, EncoderOutput::Embedding(pooling))?;
    let engine = EncoderEngine::new(encoder, EncoderOptions::default())?;
    say(&json!({ "file_bytes": folder.files().1 }))?;
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line?)?;
        let texts: Vec<&str> = asked["texts"].as_array().ok_or("`texts`")?.iter().filter_map(Value::as_str).collect();
        let started = Instant::now();
        let vectors = engine.run(tokenizer.encode_rows(&texts, most)?)?;
        let seconds = started.elapsed().as_secs_f64();
        let vectors = if asked["vectors"].as_bool() == Some(true) { vectors } else { Vec::new() };
        say(&json!({ "seconds": seconds, "vectors": vectors }))?;
    }
    Ok(())
}

fn say(line: &Value) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Requests at their times, each answer greedy and exactly as long as asked. With `batch`, as a server without
/// continuous batching: the requests that have come, so many at most, are answered together before others begin.
fn generate(engine: &Engine, asked: &Value) -> Result<Value, Box<dyn Error>> {
    let prompts: Vec<Vec<u32>> = serde_json::from_value(asked["prompts"].clone())?;
    let new: Vec<usize> = serde_json::from_value(asked["new"].clone())?;
    let arrivals: Vec<f64> = serde_json::from_value(asked["arrivals_s"].clone())?;
    let request = |at: usize| Request::new(prompts[at].clone(), Sampling::greedy(new[at], Vec::new()));
    let started = Instant::now();
    let mut readers = Vec::new();
    let mut at = 0;
    while at < prompts.len() {
        sleep_until(started, arrivals[at]);
        let here = started.elapsed().as_secs_f64();
        let end = match asked["batch"].as_u64() {
            Some(most) => {
                (at..prompts.len()).take(most as usize).take_while(|&other| arrivals[other] <= here).count() + at
            }
            None => at + 1,
        };
        let handles: Vec<_> = (at..end).map(|at| engine.generate(request(at))).collect::<Result<_, _>>()?;
        let fresh = handles.into_iter().map(|handle| std::thread::spawn(move || read(handle, started)));
        let fresh: Vec<_> = fresh.collect();
        match asked["batch"].is_null() {
            true => readers.extend(fresh),
            false => {
                let done = fresh.into_iter().map(|reader| reader.join().expect("a reader does not panic"));
                let done: Vec<_> = done.collect();
                readers.extend(done.into_iter().map(|done| std::thread::spawn(move || done)));
            }
        }
        at = end;
    }
    let results = readers.into_iter().map(|reader| reader.join().expect("a reader does not panic"));
    let results = results.collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "seconds": started.elapsed().as_secs_f64(),
        "first_s": results.iter().map(|result| result.0).collect::<Vec<_>>(),
        "end_s": results.iter().map(|result| result.1).collect::<Vec<_>>(),
        "tokens": results.into_iter().map(|result| result.2).collect::<Vec<_>>(),
    }))
}

/// When the first token and the end came, and the tokens.
fn read(handle: cairn_gpu::Handle, started: Instant) -> Result<(f64, f64, Vec<u32>), cairn_gpu::Error> {
    let (mut first, mut tokens) = (None, Vec::new());
    for output in handle {
        if let Output::Token(chunk) = output? {
            first.get_or_insert(started.elapsed().as_secs_f64());
            tokens.push(chunk.token);
        }
    }
    Ok((first.unwrap_or_default(), started.elapsed().as_secs_f64(), tokens))
}

fn sleep_until(started: Instant, seconds: f64) {
    let until = Duration::from_secs_f64(seconds);
    if let Some(rest) = until.checked_sub(started.elapsed()) {
        std::thread::sleep(rest);
    }
}

/// How fast as many bytes as the weights can be read by as many threads: the limit of decoding one answer.
fn bandwidth(bytes: usize, threads: usize) -> f64 {
    let numbers = vec![1.0f32; bytes / 4];
    let mut best = f64::INFINITY;
    for _ in 0..READS {
        let started = Instant::now();
        let total: f32 = std::thread::scope(|scope| {
            let parts = numbers.chunks(numbers.len().div_ceil(threads));
            let sums: Vec<_> = parts.map(|part| scope.spawn(move || sum(part))).collect();
            sums.into_iter().map(|sum| sum.join().expect("adding does not panic")).sum()
        });
        std::hint::black_box(total);
        best = best.min(started.elapsed().as_secs_f64());
    }
    (numbers.len() * 4) as f64 / best
}

/// In many partial sums, so that reading is what takes the time.
fn sum(numbers: &[f32]) -> f32 {
    let mut sums = [0.0f32; 64];
    for chunk in numbers.chunks_exact(64) {
        sums.iter_mut().zip(chunk).for_each(|(sum, number)| *sum += number);
    }
    sums.iter().sum()
}

/// A field of this process's status, in bytes.
fn memory(field: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let kibibytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<i64>().ok());
    kibibytes.unwrap_or(0) * 1024
}
