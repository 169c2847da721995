//! A checkpoint comes back whole, its bytes and digest are a function of its content, and foreign files are refused.

use cairn_gpu::{Checkpoint, DecoderConfig, LoaderState, RngState, TrainState, Weights};

fn config() -> DecoderConfig {
    DecoderConfig {
        layers: 2,
        width: 16,
        heads: 2,
        feed_forward: 24,
        vocabulary: 40,
        context: 32,
        tied_embeddings: true,
        ..DecoderConfig::default()
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        state: TrainState {
            weights: Weights::initialize(&config(), 1),
            first_moment: Weights::initialize(&config(), 2),
            second_moment: Weights::zeros(&config()),
            step: 17,
        },
        loader: LoaderState { epoch: 2, cursor: 40, seed: 9 },
        rng: RngState { seed: 9, stream: 3, counter: u64::MAX },
        micro_batches: 34,
    }
}

#[test]
fn comes_back_whole() {
    let bytes = checkpoint().to_safetensors();
    let read = Checkpoint::from_safetensors(&bytes).unwrap();
    assert_eq!(read, checkpoint());
    assert_eq!(read.digest(), checkpoint().digest());
    assert_eq!(read.to_safetensors(), bytes);
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(header % 8, 0, "data must be aligned");
}

/// Golden: the digest names checkpoints in ledgers that already exist.
#[test]
fn digest_stays_what_it_was() {
    assert_eq!(checkpoint().digest(), "d5596687ed7de1cd1419850efc0272c9bece231242d57d55b0c002dde3e3fc7b");
}

#[test]
fn digest_sees_every_part() {
    let changes: [fn(&mut Checkpoint); 8] = [
        |c| c.state.step += 1,
        |c| c.micro_batches += 1,
        |c| c.loader.cursor += 1,
        |c| c.loader.epoch += 1,
        |c| c.rng.counter -= 1,
        |c| c.state.weights.get_mut("model.norm.weight").unwrap().data[3] = 1.000_000_1,
        |c| c.state.second_moment.get_mut("model.norm.weight").unwrap().data[0] = f32::MIN_POSITIVE,
        |c| std::mem::swap(&mut c.state.first_moment, &mut c.state.second_moment),
    ];
    let mut digests = vec![checkpoint().digest()];
    for change in changes {
        let mut changed = checkpoint();
        change(&mut changed);
        digests.push(changed.digest());
    }
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[test]
fn foreign_and_broken_files_are_refused() {
    let message = |bytes: &[u8]| Checkpoint::from_safetensors(bytes).unwrap_err().to_string();
    let weights = checkpoint().state.weights.to_safetensors();
    assert!(message(&weights).contains("not a checkpoint"), "{}", message(&weights));
    let bytes = checkpoint().to_safetensors();
    for end in [0, 7, 100, bytes.len() - 1] {
        assert!(message(&bytes[..end]).starts_with("cannot read safetensors"));
    }
    let mut newer = bytes.clone();
    let at = newer.windows(12).position(|part| part == b"format\\\":1,\\").expect("the metadata is in the header");
    newer[at + 9] = b'7';
    assert!(message(&newer).contains("format 7"), "{}", message(&newer));
}
