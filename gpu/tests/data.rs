//! Packing keeps every target once, never mixes documents, and an order can be continued from its state.

use cairn_gpu::{Batch, CounterRng, Example, IGNORE, Loader, LoaderState, Overlong, Row, batches, pack};

fn random_examples(seed: u64, count: usize, longest: u64) -> Vec<Example> {
    let mut rng = CounterRng::new(seed, 0);
    (0..count)
        .map(|_| {
            let length = rng.next_below(longest + 1) as usize;
            let tokens = (0..length).map(|_| rng.next_below(1_000) as u32).collect();
            let supervised = (0..length).map(|_| rng.next_below(3) > 0).collect();
            Example { tokens, supervised }
        })
        .collect()
}

/// (example, token, target) of every supervised position, sorted.
fn targets_in_rows(rows: &[Row]) -> Vec<(usize, u32, i64)> {
    let mut targets = Vec::new();
    for row in rows {
        for at in 0..row.tokens.len() {
            if row.targets[at] != IGNORE {
                let example = row.examples[row.segments[at] as usize - 1];
                targets.push((example, row.tokens[at], row.targets[at]));
            }
        }
    }
    targets.sort_unstable();
    targets
}

fn targets_in_examples(examples: &[Example], most: usize) -> Vec<(usize, u32, i64)> {
    let mut targets = Vec::new();
    for (index, example) in examples.iter().enumerate() {
        for at in 1..example.tokens.len().min(most.saturating_add(1)) {
            if example.supervised[at] {
                targets.push((index, example.tokens[at - 1], i64::from(example.tokens[at])));
            }
        }
    }
    targets.sort_unstable();
    targets
}

fn assert_well_formed(rows: &[Row], length: usize) {
    for row in rows {
        assert!((1..=length).contains(&row.tokens.len()));
        for at in 0..row.tokens.len() {
            let begins = at == 0 || row.segments[at] != row.segments[at - 1];
            if begins {
                assert_eq!(row.positions[at], 0);
                assert_eq!(row.segments[at], if at == 0 { 1 } else { row.segments[at - 1] + 1 });
            } else {
                assert_eq!(row.positions[at], row.positions[at - 1] + 1);
            }
        }
        assert_eq!(row.examples.len(), *row.segments.last().unwrap() as usize);
    }
}

#[test]
fn splitting_keeps_every_target_exactly_once() {
    for seed in 0..20 {
        let examples = random_examples(seed, 150, 70);
        let rows = pack(&examples, 32, Overlong::Split).unwrap();
        assert_well_formed(&rows, 32);
        assert_eq!(targets_in_rows(&rows), targets_in_examples(&examples, usize::MAX), "seed {seed}");
        assert_eq!(rows, pack(&examples, 32, Overlong::Split).unwrap());
    }
}

#[test]
fn truncating_keeps_the_beginnings() {
    for seed in 0..20 {
        let examples = random_examples(seed, 150, 70);
        let rows = pack(&examples, 32, Overlong::Truncate).unwrap();
        assert_well_formed(&rows, 32);
        assert_eq!(targets_in_rows(&rows), targets_in_examples(&examples, 32), "seed {seed}");
    }
}

#[test]
fn packing_fills_rows() {
    let examples = random_examples(1, 2_000, 60);
    let rows = pack(&examples, 64, Overlong::Split).unwrap();
    let used: usize = rows.iter().map(|row| row.tokens.len()).sum();
    assert!(used as f64 > 0.95 * (rows.len() * 64) as f64, "{used} of {}", rows.len() * 64);
}

#[test]
fn a_small_packing_by_hand() {
    let examples = [
        Example::plain(vec![1, 2, 3]),
        Example::answered(&[4, 5], &[6, 7]),
        Example::plain(vec![8]),
        Example { tokens: vec![9, 9, 9], supervised: vec![true, false, false] },
        Example::plain(vec![10, 11]),
    ];
    let rows = pack(&examples, 4, Overlong::Truncate).unwrap();
    let first = Row {
        tokens: vec![1, 2, 10],
        targets: vec![2, 3, 11],
        positions: vec![0, 1, 0],
        segments: vec![1, 1, 2],
        examples: vec![0, 4],
    };
    let second = Row {
        tokens: vec![4, 5, 6],
        targets: vec![IGNORE, 6, 7],
        positions: vec![0, 1, 2],
        segments: vec![1, 1, 1],
        examples: vec![1],
    };
    assert_eq!(rows, [first, second]);
    let batch = Batch::assemble(&[&rows[0], &rows[1]], 3, 4).unwrap();
    assert_eq!(batch.tokens, [1, 2, 10, 0, 4, 5, 6, 0, 0, 0, 0, 0]);
    let no = IGNORE;
    assert_eq!(batch.targets, [2, 3, 11, no, no, 6, 7, no, no, no, no, no]);
    assert_eq!(batch.segments, [1, 1, 2, 0, 1, 1, 1, 0, 0, 0, 0, 0]);
    assert_eq!(batch.positions, [0, 1, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0]);
    assert_eq!((batch.supervised_tokens, batch.tokens_present()), (5, 6));
}

#[test]
fn mistakes_are_named() {
    let uneven = Example { tokens: vec![1, 2], supervised: vec![true] };
    let message = pack(&[uneven], 4, Overlong::Split).unwrap_err().to_string();
    assert_eq!(message, "`examples[0].supervised` is 1, expected as many marks as tokens (2)");
    assert!(pack(&[], 0, Overlong::Split).is_err());
    assert!(Loader::new(Vec::new(), 4, 0).is_err());
    let rows = pack(&[Example::plain(vec![1, 2, 3])], 4, Overlong::Split).unwrap();
    assert!(Loader::new(rows.clone(), 1, 0).is_err());
    let beyond = LoaderState { cursor: 1, ..LoaderState::default() };
    assert!(Loader::restore(rows, 4, beyond).is_err());
}

#[test]
fn each_epoch_shows_every_row_once_in_its_own_order() {
    let examples: Vec<Example> = (0..23).map(|id| Example::plain(vec![id, id, id, id, id])).collect();
    let rows = pack(&examples, 4, Overlong::Split).unwrap();
    assert_eq!(rows.len(), 23);
    let mut loader = Loader::new(rows, 4, 11).unwrap();
    assert_eq!(loader.batches_per_epoch(4), 6);
    let mut epochs = Vec::new();
    for epoch in 0..3 {
        let mut seen = Vec::new();
        for number in 0..6 {
            assert_eq!(loader.state().epoch, epoch);
            let batch = loader.next_batch(4).unwrap();
            let present = if number == 5 { 3 } else { 4 };
            assert_eq!(batch.supervised_tokens, present * 4);
            seen.extend(batch.tokens.chunks(4).take(present as usize).map(|row| row[0]));
        }
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..23).collect::<Vec<i64>>());
        epochs.push(seen);
    }
    assert_ne!(epochs[0], epochs[1]);
    assert_ne!(epochs[1], epochs[2]);
}

#[test]
fn a_restored_loader_continues_where_it_stood() {
    let rows = pack(&random_examples(4, 60, 40), 16, Overlong::Split).unwrap();
    let mut whole = Loader::new(rows.clone(), 16, 3).unwrap();
    let expected: Vec<Batch> = (0..40).map(|_| whole.next_batch(5).unwrap()).collect();
    for split in [0, 1, 7, 13, 39] {
        let mut first = Loader::new(rows.clone(), 16, 3).unwrap();
        (0..split).for_each(|_| drop(first.next_batch(5).unwrap()));
        let mut second = Loader::restore(rows.clone(), 16, first.state()).unwrap();
        let rest: Vec<Batch> = (split..40).map(|_| second.next_batch(5).unwrap()).collect();
        assert_eq!(rest, expected[split..], "split at {split}");
    }
}

#[test]
fn evaluation_batches_keep_the_order() {
    let rows = pack(&random_examples(5, 60, 40), 16, Overlong::Split).unwrap();
    let laid_out = batches(&rows, 4, 16).unwrap();
    assert_eq!(laid_out.len(), rows.len().div_ceil(4));
    let supervised: u64 = laid_out.iter().map(|batch| batch.supervised_tokens).sum();
    assert_eq!(supervised, rows.iter().map(Row::supervised_tokens).sum::<u64>());
    assert_eq!(laid_out[1].tokens[0], i64::from(rows[4].tokens[0]));
}
