//! Training speed at the demo's shape: `cargo run -p cairn-gpu --example train_speed [steps] [threads]`.
//! Prints wall-clock and processor time per step, since other work on the machine distorts the former.

use std::time::Instant;

use cairn_gpu::{Batch, CounterRng, DecoderConfig, Device, Runtime, RuntimeOptions, TrainOptions, Trainer, Weights};

const DOCUMENT_LENGTH: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let steps = arguments.next().transpose()?.unwrap_or(20);
    let threads = arguments.next().transpose()?.unwrap_or(2);
    let config = DecoderConfig {
        layers: 4,
        width: 128,
        heads: 2,
        feed_forward: 352,
        vocabulary: 2048,
        context: 384,
        ..DecoderConfig::default()
    };
    let options = TrainOptions::default();
    let runtime = Runtime::load(&RuntimeOptions { threads, device: Device::detect() })?;
    println!("{:?}", runtime.describe());
    let started = Instant::now();
    let mut trainer = Trainer::new(&runtime, &config, Weights::initialize(&config, 1), &options)?;
    println!("{} parameters, sessions built in {:.2?}", config.parameters(), started.elapsed());
    let mut rng = CounterRng::new(7, 0);
    let (mut wall, mut busy) = (0.0, 0.0);
    for step in 0..steps {
        let batch = zipf_batch(&mut rng, &config, &options);
        let (started, before) = (Instant::now(), processor_seconds());
        let report = trainer.step(std::slice::from_ref(&batch), 1e-3)?;
        let seconds = started.elapsed().as_secs_f64();
        // The first step plans memory and starts threads.
        if step > 0 {
            wall += seconds;
            busy += processor_seconds() - before;
        }
        if step % 10 == 0 {
            println!(
                "step {:4}  loss {:.4}  norm {:.4}  {:6.1} ms",
                report.step,
                report.loss,
                report.grad_norm,
                seconds * 1e3
            );
        }
    }
    let counted = steps.saturating_sub(1).max(1) as f64;
    let tokens = (options.rows_per_micro_batch * options.sequence_length) as f64;
    println!(
        "{:.1} ms and {:.1} processor ms a step, {:.0} tokens/s ({:.0} if {threads} processors were free)",
        1e3 * wall / counted,
        1e3 * busy / counted,
        tokens * counted / wall,
        tokens * counted / busy * threads as f64,
    );
    println!("weights {}", trainer.weights()?.digest());
    Ok(())
}

/// Documents of 100 tokens whose ids follow Zipf's law.
fn zipf_batch(rng: &mut CounterRng, config: &DecoderConfig, options: &TrainOptions) -> Batch {
    let (rows, length) = (options.rows_per_micro_batch, options.sequence_length);
    let count = rows * length;
    let mut draw =
        || ((config.vocabulary as f64).powf(rng.next_f64()) as i64 - 1).clamp(0, config.vocabulary as i64 - 1);
    Batch {
        rows,
        length,
        tokens: (0..count).map(|_| draw()).collect(),
        targets: (0..count).map(|_| draw()).collect(),
        positions: (0..count).map(|at| (at % length % DOCUMENT_LENGTH) as i64).collect(),
        segments: (0..count).map(|at| (at % length / DOCUMENT_LENGTH + 1) as i64).collect(),
        supervised_tokens: count as u64,
    }
}

/// User and system time of this process, from the kernel's clock ticks (100 a second).
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}
