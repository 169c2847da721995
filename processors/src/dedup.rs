//! Deduplication: exact by a fingerprint of the normalised text, near by the Jaccard similarity of word shingles.
//!
//! MinHash with banding (Broder 1997; Leskovec, Rajaraman, Ullman, *Mining of Massive Datasets*, ch. 3) only proposes
//! candidates; what decides is the exact similarity of the two sets of shingles.

use cairn_schemas::Blake3;
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// Two documents are near duplicates above this similarity, as the requirements have it (Jaccard ≤ 0.8 is kept).
pub const JACCARD_MAX: f64 = 0.8;
/// Words in one shingle; a text of fewer words is one shingle of all its words.
pub const SHINGLE_WORDS: usize = 5;
/// Smallest threshold for which `HASHES` still find every pair but one in a thousand.
const JACCARD_MAX_MIN: f64 = 0.1;
const HASHES: usize = 128;
/// Of pairs exactly at the threshold, at least this part become candidates. See `Banding::for_threshold`.
const RECALL_MIN: f64 = 0.999;
/// Seeds the hash functions: the same everywhere and always, so that every run proposes the same candidates.
const SEED: u64 = 0x0063_6169_726e_0001;

/// Unicode NFC, trimmed, each run of white space as one space. Case and punctuation stay.
pub fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.nfc().collect::<String>().split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// BLAKE3 of the normalised text: equal for exact duplicates and for nothing else.
pub fn fingerprint(text: &str) -> Blake3 {
    Blake3::of(normalize(text).as_bytes())
}

/// A document's set of shingles: sorted 64-bit hashes, each once.
///
/// A shingle is `SHINGLE_WORDS` successive words of the normalised text in lower case, or all words where there are
/// fewer: two short texts are then near duplicates only if they differ in nothing but case, which is what any larger
/// similarity would ask of them too (one word changed in four leaves 3/5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shingles(Vec<u64>);

impl Shingles {
    pub fn of(text: &str) -> Self {
        Self::of_normalized(&normalize(text))
    }

    fn of_normalized(normalized: &str) -> Self {
        let lower = normalized.to_lowercase();
        let words: Vec<u64> = lower.split(' ').filter(|w| !w.is_empty()).map(hash_word).collect();
        let size = SHINGLE_WORDS.min(words.len());
        if size == 0 {
            return Self(Vec::new());
        }
        let mut hashes: Vec<u64> = words.windows(size).map(combine).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes)
    }

    /// |A ∩ B| / |A ∪ B|, 0 to 1; 0 where both are empty, since an empty text resembles nothing.
    pub fn jaccard(&self, other: &Shingles) -> f64 {
        let (mut a, mut b) = (self.0.as_slice(), other.0.as_slice());
        let mut common = 0_usize;
        while let (Some(x), Some(y)) = (a.first(), b.first()) {
            common += usize::from(x == y);
            let (past_x, past_y) = (x <= y, y <= x);
            a = &a[usize::from(past_x)..];
            b = &b[usize::from(past_y)..];
        }
        match self.0.len() + other.0.len() - common {
            0 => 0.0,
            union => common as f64 / union as f64,
        }
    }
}

/// 64 bits of BLAKE3: two different words of one corpus share them with probability below 1e-7 at a million words.
fn hash_word(word: &str) -> u64 {
    let digest = blake3::hash(word.as_bytes());
    u64::from_le_bytes(digest.as_bytes()[..8].try_into().expect("a digest has 32 bytes"))
}

/// Hashes an ordered run of words.
fn combine(words: &[u64]) -> u64 {
    words.iter().fold(SEED, |state, word| mix(state.rotate_left(17) ^ word))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection whose output bits all depend on all input bits.
fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// How the hashes are cut into bands: documents that agree on all rows of one band become candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Banding {
    bands: usize,
    rows: usize,
}

impl Banding {
    /// The fewest candidates that keep the recall: the most rows a band with which a pair at the threshold `t` is
    /// proposed with probability `1 - (1 - t^rows)^bands` of at least 0.999. At 0.8 these are 25 bands of 5 rows:
    /// `1 - (1 - 0.8^5)^25 = 1 - 0.67232^25 = 0.99995`; a pair at 0.3 is proposed with 0.059.
    fn for_threshold(threshold: f64) -> Self {
        let fits = |rows: &usize| {
            let missed = (1.0 - threshold.powi(*rows as i32)).powi((HASHES / rows) as i32);
            1.0 - missed >= RECALL_MIN
        };
        let rows = (1..=16).rev().find(fits).unwrap_or(1);
        Self { bands: HASHES / rows, rows }
    }

    /// One key a band, with the band's number mixed in; none for an empty set.
    fn keys(&self, shingles: &Shingles) -> Vec<u64> {
        if shingles.0.is_empty() {
            return Vec::new();
        }
        let hash = |number: usize| {
            let multiplier = mix(SEED ^ (2 * number as u64)) | 1;
            let shift = mix(SEED ^ (2 * number as u64 + 1));
            let smallest = shingles.0.iter().map(|s| s.wrapping_mul(multiplier).wrapping_add(shift)).min();
            smallest.expect("the set is not empty")
        };
        let key = |band: usize| {
            let rows = band * self.rows..(band + 1) * self.rows;
            rows.map(hash).fold(band as u64, |state, value| mix(state ^ value).rotate_left(23))
        };
        (0..self.bands).map(key).collect()
    }
}

/// What a document turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Novelty {
    New,
    /// The same normalised text as an earlier document, whose fingerprint is its own.
    Exact,
    /// More alike than the threshold to an earlier document.
    Near {
        of: Blake3,
        jaccard: f64,
    },
}

/// A document's fingerprint, and what it turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub fingerprint: Blake3,
    pub novelty: Novelty,
}

/// Remembers the documents that were kept and compares each next one with them.
///
/// A document is compared with kept ones only: a chain of ever less similar texts is cut where it leaves the
/// threshold around the first. Memory is 8 bytes a kept word and about 2 KiB a kept document.
pub struct Deduplicator {
    threshold: f64,
    banding: Banding,
    exact: HashMap<Blake3, u32>,
    /// Kept documents by number.
    kept: Vec<(Blake3, Shingles)>,
    bands: HashMap<u64, Vec<u32>>,
    /// For each kept document the number of the last check that compared it, so that no pair is compared twice.
    compared_at: Vec<u64>,
    checks: u64,
}

/// A threshold that cannot be used.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("a Jaccard threshold of {0} cannot be used; expected 0.1 to 1.0")]
pub struct Error(f64);

impl Deduplicator {
    /// `threshold`: documents with a similarity above it are near duplicates; at 1.0 none is.
    pub fn new(threshold: f64) -> Result<Self, Error> {
        if !(JACCARD_MAX_MIN..=1.0).contains(&threshold) {
            return Err(Error(threshold));
        }
        Ok(Self {
            threshold,
            banding: Banding::for_threshold(threshold),
            exact: HashMap::new(),
            kept: Vec::new(),
            bands: HashMap::new(),
            compared_at: Vec::new(),
            checks: 0,
        })
    }

    /// Number of documents kept.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Compares a document with all kept ones, and keeps it where it is new. Of several near ones the most similar is
    /// named, and of equally similar ones the earliest.
    pub fn check(&mut self, text: &str) -> Checked {
        let normalized = normalize(text);
        let fingerprint = Blake3::of(normalized.as_bytes());
        if self.exact.contains_key(&fingerprint) {
            return Checked { fingerprint, novelty: Novelty::Exact };
        }
        let shingles = Shingles::of_normalized(&normalized);
        let keys = self.banding.keys(&shingles);
        if let Some((number, jaccard)) = self.nearest(&shingles, &keys) {
            let of = self.kept[number as usize].0;
            return Checked { fingerprint, novelty: Novelty::Near { of, jaccard } };
        }
        self.keep(fingerprint, shingles, keys);
        Checked { fingerprint, novelty: Novelty::New }
    }

    fn nearest(&mut self, shingles: &Shingles, keys: &[u64]) -> Option<(u32, f64)> {
        self.checks += 1;
        let mut best: Option<(u32, f64)> = None;
        for number in keys.iter().filter_map(|key| self.bands.get(key)).flatten().copied() {
            let last = &mut self.compared_at[number as usize];
            if std::mem::replace(last, self.checks) == self.checks {
                continue;
            }
            let jaccard = shingles.jaccard(&self.kept[number as usize].1);
            let better = best.is_none_or(|(of, most)| jaccard > most || (jaccard == most && number < of));
            if jaccard > self.threshold && better {
                best = Some((number, jaccard));
            }
        }
        best
    }

    fn keep(&mut self, fingerprint: Blake3, shingles: Shingles, keys: Vec<u64>) {
        let number = u32::try_from(self.kept.len()).expect("fewer than 2^32 documents fit in memory");
        self.exact.insert(fingerprint, number);
        self.kept.push((fingerprint, shingles));
        self.compared_at.push(0);
        for key in keys {
            self.bands.entry(key).or_default().push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sentence(words: impl IntoIterator<Item = u32>) -> String {
        words.into_iter().map(|w| format!("w{w}")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn exact_duplicates_differ_in_white_space_and_composition_only() {
        let mut seen = Deduplicator::new(JACCARD_MAX).unwrap();
        assert_eq!(seen.check("Caf\u{e9} au lait").novelty, Novelty::New);
        assert_eq!(seen.check("  Cafe\u{301}\tau \n lait ").novelty, Novelty::Exact);
        assert_eq!(seen.check("").novelty, Novelty::New);
        assert_eq!(seen.check(" \n").novelty, Novelty::Exact);
        assert_eq!(seen.check("Café au lait!").novelty, Novelty::New);
    }

    #[test]
    fn a_near_duplicate_names_its_match_and_similarity() {
        let mut seen = Deduplicator::new(JACCARD_MAX).unwrap();
        let first = seen.check(&sentence(0..50));
        // 46 shingles against 47, of which 46 are common.
        let found = seen.check(&sentence(0..51));
        assert_eq!(found.novelty, Novelty::Near { of: first.fingerprint, jaccard: 46.0 / 47.0 });
        // 46 and 36 with 36 in common: 0.783 is allowed.
        assert_eq!(seen.check(&sentence(0..40)).novelty, Novelty::New);
        assert_eq!(seen.kept(), 2);
    }

    #[test]
    fn exactly_at_the_threshold_is_kept() {
        // 8 shingles and 10 with 8 in common: 0.8.
        let mut seen = Deduplicator::new(0.8).unwrap();
        seen.check(&sentence(0..12));
        assert_eq!(Shingles::of(&sentence(0..12)).jaccard(&Shingles::of(&sentence(0..14))), 0.8);
        assert_eq!(seen.check(&sentence(0..14)).novelty, Novelty::New);
    }

    #[test]
    fn short_texts_are_near_duplicates_only_up_to_case() {
        let mut seen = Deduplicator::new(JACCARD_MAX).unwrap();
        let first = seen.check("What is 2 + 2?");
        assert_eq!(seen.check("what IS 2 + 2?").novelty, Novelty::Near { of: first.fingerprint, jaccard: 1.0 });
        assert_eq!(seen.check("What is 2 + 3?").novelty, Novelty::New);
        assert_eq!(seen.check("yes").novelty, Novelty::New);
        assert_eq!(seen.check("no").novelty, Novelty::New);
    }

    #[test]
    fn the_bands_keep_the_recall_they_promise() {
        assert_eq!(Banding::for_threshold(0.8), Banding { bands: 25, rows: 5 });
        for threshold in [0.1, 0.2, 0.5, 0.7, 0.8, 0.9, 0.99] {
            let Banding { bands, rows } = Banding::for_threshold(threshold);
            let recall = 1.0 - (1.0 - threshold.powi(rows as i32)).powi(bands as i32);
            assert!(bands * rows <= HASHES && recall >= RECALL_MIN, "{threshold}: {bands} x {rows}, recall {recall}");
        }
        for wrong in [0.0, 0.05, 1.5, f64::NAN] {
            assert!(Deduplicator::new(wrong).is_err(), "{wrong}");
        }
    }

    /// Jaccard from the definition, on the shingles' words themselves.
    fn brute_jaccard(a: &str, b: &str) -> f64 {
        let set = |text: &str| -> std::collections::BTreeSet<Vec<String>> {
            let words: Vec<String> = normalize(text).to_lowercase().split(' ').map(str::to_owned).collect();
            words.windows(SHINGLE_WORDS.min(words.len())).map(<[String]>::to_vec).collect()
        };
        let (a, b) = (set(a), set(b));
        a.intersection(&b).count() as f64 / a.union(&b).count() as f64
    }

    /// What the deduplicator should say, comparing each document with every kept one.
    fn brute_force(texts: &[String], threshold: f64) -> Vec<Novelty> {
        let mut kept: Vec<&String> = Vec::new();
        let mut found = Vec::new();
        for text in texts {
            if kept.iter().any(|k| normalize(k) == normalize(text)) {
                found.push(Novelty::Exact);
                continue;
            }
            let mut best: Option<(&String, f64)> = None;
            for k in &kept {
                let jaccard = brute_jaccard(k, text);
                if jaccard > threshold && best.is_none_or(|(_, most)| jaccard > most) {
                    best = Some((k, jaccard));
                }
            }
            match best {
                Some((k, jaccard)) => found.push(Novelty::Near { of: fingerprint(k), jaccard }),
                None => {
                    kept.push(text);
                    found.push(Novelty::New);
                }
            }
        }
        found
    }

    /// A few templates, each text one of them with some words changed: many pairs on both sides of the threshold.
    fn corpus() -> impl Strategy<Value = Vec<String>> {
        let edits = prop::collection::vec((0..60_usize, 100..110_u32), 0..4);
        let text = (0..4_u32, 1..60_usize, edits).prop_map(|(template, length, edits)| {
            let mut words: Vec<u32> = (0..length as u32).map(|at| template * 1_000 + at).collect();
            for (at, word) in edits {
                let place = at % words.len();
                words[place] = word;
            }
            sentence(words)
        });
        prop::collection::vec(text, 1..60)
    }

    proptest! {
        // A pair just above the threshold is missed with probability 5e-5, so that fixed cases decide the same way
        // everywhere; the generator's seed is fixed for that reason.
        #![proptest_config(ProptestConfig {
            cases: 64,
            rng_seed: proptest::test_runner::RngSeed::Fixed(7),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]
        #[test]
        fn agrees_with_comparing_every_pair(texts in corpus()) {
            let mut seen = Deduplicator::new(JACCARD_MAX).unwrap();
            let found: Vec<Novelty> = texts.iter().map(|text| seen.check(text).novelty).collect();
            prop_assert_eq!(found, brute_force(&texts, JACCARD_MAX));
        }
    }

    #[test]
    fn of_many_pairs_just_above_the_threshold_all_but_one_in_a_thousand_are_proposed() {
        let banding = Banding::for_threshold(JACCARD_MAX);
        let pairs = 4_000_u32;
        let proposed = (0..pairs).filter(|pair| {
            // 82 and 100 shingles with 82 in common.
            let base = pair * 1_000;
            let a = banding.keys(&Shingles::of(&sentence(base..base + 86)));
            let b = banding.keys(&Shingles::of(&sentence(base..base + 104)));
            a.iter().zip(&b).any(|(x, y)| x == y)
        });
        let recall = proposed.count() as f64 / f64::from(pairs);
        assert!(recall >= RECALL_MIN, "recall {recall}");
    }
}
