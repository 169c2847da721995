//! How the choices are made that a crash leaves open: at random from a seed, or every one of them in turn.

/// Answers each open question with a number below `n`.
pub(crate) trait Choose {
    fn pick(&mut self, n: usize) -> usize;

    fn flip(&mut self) -> bool {
        self.pick(2) == 1
    }
}

/// SplitMix64: the same numbers for the same seed, on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    /// Another sequence, made from this one.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

/// Choices at random, each time with another leaning, so that "all lost" and "all kept" come as often as mixtures.
pub(crate) struct Sampled {
    from: Seeded,
    /// Of 8, how many choices are the first or the last one for certain.
    leaning: usize,
    to_last: bool,
}

impl Sampled {
    pub(crate) fn new(mut from: Seeded) -> Self {
        let (leaning, to_last) = (from.below(9), from.below(2) == 1);
        Self { from, leaning, to_last }
    }
}

impl Choose for Sampled {
    fn pick(&mut self, n: usize) -> usize {
        match self.from.below(8) < self.leaning {
            true if self.to_last => n - 1,
            true => 0,
            false => self.from.below(n),
        }
    }
}

/// Nothing is kept that may be lost.
pub(crate) struct Nothing;

impl Choose for Nothing {
    fn pick(&mut self, _: usize) -> usize {
        0
    }
}

/// Every sequence of choices, one a round: call [`Every::advance`] between the rounds.
#[derive(Default)]
pub(crate) struct Every {
    /// What was chosen, and of how many.
    chosen: Vec<(usize, usize)>,
    at: usize,
}

impl Every {
    /// Goes on to the next sequence; `false` after the last.
    pub(crate) fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, of)) = self.chosen.pop() {
            if chosen + 1 < of {
                self.chosen.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}

impl Choose for Every {
    fn pick(&mut self, n: usize) -> usize {
        if self.at == self.chosen.len() {
            self.chosen.push((0, n));
        }
        self.at += 1;
        self.chosen[self.at - 1].0
    }
}

/// The seed of a test: `CAIRN_SEED`, or another one each time. It is printed when the test fails.
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    pub(crate) fn of_test() -> Self {
        let given = std::env::var("CAIRN_SEED").ok().map(|text| text.parse().expect("CAIRN_SEED is a number"));
        Self(given.unwrap_or_else(rand::random))
    }
    pub(crate) fn numbers(&self) -> Seeded {
        Seeded::new(self.0)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat this: CAIRN_SEED={}", self.0);
        }
    }
}

#[test]
fn every_sequence_of_choices_comes_once() {
    let (mut every, mut seen) = (Every::default(), Vec::new());
    loop {
        let first = every.pick(3);
        seen.push((first, if first == 1 { every.pick(2) } else { 9 }));
        if !every.advance() {
            break;
        }
    }
    assert_eq!(seen, [(0, 9), (1, 0), (1, 1), (2, 9)]);
}
