//! Which split a document's row goes to: a function of seed and document alone, so that a row never moves when others
//! come or go.

use crate::pipeline::SplitSpec;
use cairn_schemas::Ref;

pub(crate) struct Assigner<'a> {
    seed: u64,
    /// Upper ends of the shares in the range of a 64-bit number; the last split takes what is left.
    ends: Vec<(u64, &'a str)>,
    last: &'a str,
}

impl<'a> Assigner<'a> {
    pub(crate) fn new(seed: u64, split: &'a SplitSpec) -> Self {
        let SplitSpec::Shares(shares) = split else {
            let SplitSpec::One(name) = split else { unreachable!("a split is one or shares") };
            return Self { seed, ends: Vec::new(), last: name };
        };
        let mut sum = 0.0;
        let ends = shares.iter().map(|(name, share)| {
            sum += share;
            // 2^64 as a float; a share that reaches it saturates.
            ((sum * 18_446_744_073_709_551_616.0) as u64, name.as_str())
        });
        let mut ends: Vec<(u64, &str)> = ends.collect();
        let (_, last) = ends.pop().expect("shares are checked not to be empty");
        Self { seed, ends, last }
    }

    pub(crate) fn split(&self, document: &Ref) -> &'a str {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"cairn split v1");
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(document.to_string().as_bytes());
        let digest = hasher.finalize();
        let place = u64::from_le_bytes(digest.as_bytes()[..8].try_into().expect("a digest has 32 bytes"));
        self.ends.iter().find(|(end, _)| place < *end).map_or(self.last, |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_schemas::Blake3;

    fn shares(shares: &[(&str, f64)]) -> SplitSpec {
        SplitSpec::Shares(shares.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect())
    }

    fn documents(count: u32) -> impl Iterator<Item = Ref> {
        (0..count).map(|n| Ref::Doc(Blake3::of(&n.to_le_bytes())))
    }

    #[test]
    fn shares_are_kept_and_do_not_depend_on_order() {
        let split = shares(&[("train", 0.9), ("validation", 0.07), ("test", 0.03)]);
        let assigner = Assigner::new(17, &split);
        let count = |name: &str| documents(10_000).filter(|d| assigner.split(d) == name).count() as f64;
        for (name, share) in [("train", 0.9_f64), ("validation", 0.07), ("test", 0.03)] {
            // Five standard deviations of a binomial.
            let slack = 5.0 * (10_000.0 * share * (1.0 - share)).sqrt();
            assert!((count(name) - 10_000.0 * share).abs() < slack, "{name}: {}", count(name));
        }
        let other = Assigner::new(18, &split);
        assert!(documents(1_000).any(|d| assigner.split(&d) != other.split(&d)));
    }

    #[test]
    fn one_split_takes_all() {
        let split = SplitSpec::One("test".to_owned());
        let assigner = Assigner::new(1, &split);
        assert!(documents(100).all(|d| assigner.split(&d) == "test"));
    }
}
