//! Memory is planned before anything is admitted: weights and working memory once, keys and values by the positions
//! that each answer may come to hold. What cannot fit is refused at once; what does not fit now waits.

use super::options::{EngineOptions, Plan};
use super::session::position_bytes;
use crate::models::DecoderConfig;
use crate::{Device, Error};

const CHUNK_MIN: usize = 16;

/// Of what the system could still give out, the part that is kept for others.
const KEPT_FREE_SHARE: u64 = 10;

/// The options with no more memory than the system has to give: planning with more would end in the process being
/// killed. Where the system does not say, they stay as they are.
pub(super) fn within_system(options: &EngineOptions) -> EngineOptions {
    let given = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    // What files are cached in is given back when it is needed.
    let used = std::fs::read_to_string("/sys/fs/cgroup/memory.stat").ok().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("anon ")).and_then(|bytes| bytes.trim().parse().ok())
    });
    let left = limit.map(|limit: u64| limit.saturating_sub(used.unwrap_or(0)));
    let most = given.into_iter().chain(left).min().map_or(u64::MAX, |bytes| bytes - bytes / KEPT_FREE_SHARE);
    EngineOptions { memory_bytes_max: options.memory_bytes_max.min(most), ..options.clone() }
}

/// `MemAvailable` of the kernel's account, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// Divides the memory. The chunk in which prompts are read shrinks where a long context would make it too dear.
pub(super) fn plan(config: &DecoderConfig, device: Device, options: &EngineOptions) -> Result<(Plan, usize), Error> {
    let context = options.context_max.map_or(config.context, |most| most.min(config.context));
    let weight_bytes = weight_bytes(config, options);
    let position = position_bytes(config, device);
    let too_small =
        |needed: u64, what: &str| Error::DoesNotFit { what: what.to_owned(), needed, limit: options.memory_bytes_max };
    let Some(rest) = options.memory_bytes_max.checked_sub(weight_bytes) else {
        return Err(too_small(weight_bytes, "the weights"));
    };
    let mut chunk = options.prompt_chunk.min(context);
    while working_bytes(config, options, chunk, context) > rest / 4 && chunk > CHUNK_MIN {
        chunk = (chunk / 2).max(CHUNK_MIN);
    }
    let working = working_bytes(config, options, chunk, context);
    let positions = (rest.saturating_sub(working) / position).min((options.slots * context) as u64) as usize;
    if positions < 2 {
        return Err(too_small(weight_bytes + working + 2 * position, "weights, working memory and two positions"));
    }
    let context = context.min(positions);
    let plan = Plan {
        weight_bytes,
        position_bytes: position,
        working_bytes: working,
        positions,
        context,
        slots: options.slots,
    };
    Ok((plan, chunk))
}

/// Of the matrices as they are packed, the table of embeddings beside them.
fn weight_bytes(config: &DecoderConfig, options: &EngineOptions) -> u64 {
    let table = (config.vocabulary * config.width) as u64;
    let outside = if config.tied_embeddings { table } else { 0 };
    match options.quantise {
        None => 4 * (config.parameters() + outside),
        // Of 32 numbers: their bits, a scale, a zero point. The embeddings stay as they are.
        Some(quantise) => {
            let matrices = config.parameters() + outside - table;
            4 * table + matrices * (32 * quantise.bits() as u64 + 32 + 8) / (8 * 32)
        }
    }
}

/// Of the larger of reading a chunk of a prompt and advancing every slot, rounded up generously: the widest tensors of
/// a layer, the attention's scores, the logits.
fn working_bytes(config: &DecoderConfig, options: &EngineOptions, chunk: usize, context: usize) -> u64 {
    let rows = chunk.max(options.slots) as u64;
    let widest = (3 * config.feed_forward + 4 * config.width + 4 * config.heads * config.head_width()) as u64;
    let scores = (config.heads * context) as u64;
    4 * (rows * widest + rows * scores + (options.slots * config.vocabulary) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> DecoderConfig {
        DecoderConfig {
            layers: 30,
            width: 576,
            heads: 9,
            kv_heads: Some(3),
            feed_forward: 1536,
            vocabulary: 49_152,
            context: 2_048,
            ..DecoderConfig::default()
        }
    }

    fn planned(options: &EngineOptions) -> Result<(Plan, usize), Error> {
        plan(&config(), Device::Cpu, options)
    }

    #[test]
    fn memory_is_divided_into_positions() {
        let (plan, chunk) = planned(&EngineOptions::default()).unwrap();
        assert_eq!((plan.position_bytes, plan.context, chunk), (46_080, 2_048, 256));
        assert_eq!(plan.positions, 16 * 2_048, "no more than all slots can hold");
        let half = EngineOptions { memory_bytes_max: 1 << 30, ..EngineOptions::default() };
        let (plan, _) = planned(&half).unwrap();
        let total = plan.weight_bytes + plan.working_bytes + plan.positions as u64 * plan.position_bytes;
        assert!(total <= 1 << 30 && total + plan.position_bytes > 1 << 30, "{plan:?}");
    }

    #[test]
    fn what_cannot_fit_is_refused_with_what_it_needs() {
        let small = |memory_bytes_max| EngineOptions { memory_bytes_max, ..EngineOptions::default() };
        for (bytes, what) in [(500 << 20, "the weights"), (651_600_000, "two positions")] {
            let error = planned(&small(bytes)).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains(&bytes.to_string()), "{error}");
        }
        let few = EngineOptions { quantise: Some(super::super::Quantisation::Bits4), ..small(500 << 20) };
        assert!(planned(&few).is_ok(), "in fewer bits it fits");
    }

    #[test]
    fn no_more_is_planned_with_than_there_is() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available("nothing"), None);
        let all = EngineOptions { memory_bytes_max: u64::MAX, ..EngineOptions::default() };
        assert!(within_system(&all).memory_bytes_max < 1 << 50);
        let little = EngineOptions { memory_bytes_max: 1, ..EngineOptions::default() };
        assert_eq!(within_system(&little), little);
    }

    #[test]
    fn a_dear_chunk_shrinks() {
        let long = DecoderConfig { context: 131_072, ..config() };
        let options = EngineOptions { memory_bytes_max: 2 << 30, ..EngineOptions::default() };
        let (plan, chunk) = plan(&long, Device::Cpu, &options).unwrap();
        assert!((CHUNK_MIN..256).contains(&chunk) && plan.context < 131_072, "{chunk}, {plan:?}");
    }
}
