//! Leaderboards: the results that stand on a metric of a task, best first, and the best among those that are comparable.

use super::columns::{Columns, Series};
use super::filter::{At, Filter, Sieve, listed};
use super::query::standing_at;
use super::{Evals, Standing, cursor};
use crate::Error;
use cairn_schemas::Position;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

/// What a leaderboard is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Board {
    pub task: String,
    pub metric: String,
    /// Its `task` and `metric` are not looked at.
    pub filter: Filter,
    pub at: At,
}

/// A result and where it stands among those it is comparable with: of its suite, slice and protocol.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Ranked {
    #[serde(flatten)]
    pub standing: Standing,
    /// From 1; equal values share it.
    pub rank: u64,
    /// The rest of the board follows it.
    #[serde(skip)]
    pub cursor: String,
}

/// A page of a leaderboard. All pages that follow one another are as of the same position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BoardPage {
    pub items: Vec<Ranked>,
    /// Results on the whole board.
    pub total: u64,
    pub has_more: bool,
}

/// The best of the results that are comparable with one another.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Best {
    #[serde(flatten)]
    pub standing: Standing,
    /// Results that it stands before or beside, itself among them.
    pub among: u64,
}

/// Where a result stands in the order of a board: lower is better, NaN last; then the earlier record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Merit {
    key: u64,
    position: u64,
    ordinal: u32,
}

impl Merit {
    fn of(series: &Series, index: usize, higher_is_better: bool) -> Self {
        let key = key_of(series.value[index], higher_is_better);
        Self { key, position: series.position[index], ordinal: series.ordinal(index) }
    }
}

/// Numbers in the order of merit: equal for equal values, last for what is not a number.
fn key_of(value: f64, higher_is_better: bool) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    // Adding 0 turns -0 into 0.
    let bits = if higher_is_better { (0.0 - value) + 0.0 } else { value + 0.0 }.to_bits();
    // IEEE 754's own order, made one of whole numbers.
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

impl Evals {
    /// The subjects' latest results on a metric of a task, best first. A subject stands once for each suite, slice, step
    /// and protocol; superseded results are left out. Ranks are given among comparable results only.
    pub fn leaderboard(&self, board: &Board, after: Option<&str>, first: usize) -> Result<BoardPage, Error> {
        board.filter.check()?;
        self.read(|columns, store| {
            let (at, after) = match after {
                None => (At { as_of: board.at.as_of.or(columns.last), ..board.at }, None),
                Some(cursor) => {
                    let (as_of, merit) = decode_cursor(board, cursor)?;
                    (At { as_of, ..board.at }, Some(merit))
                }
            };
            let chosen = Chosen::of(columns, board, at)?;
            let (mut page, total) = chosen.page(after, first.saturating_add(1));
            let has_more = page.len() > first;
            page.truncate(first);
            let ranks = chosen.ranks(&page, after.is_none());
            let ranked = |((merit, series, index), rank): ((Merit, usize, usize), u64)| {
                let standing = standing_at(store, merit.position, merit.ordinal, &at)?;
                debug_assert_eq!(chosen.series[series].value[index].to_bits(), standing.value.to_bits());
                Ok(Ranked { standing, rank, cursor: encode_cursor(board, &at, &merit) })
            };
            let items = page.into_iter().zip(ranks).map(ranked).collect::<Result<_, Error>>()?;
            Ok(BoardPage { items, total, has_more })
        })
    }

    /// The best result of each suite, slice and protocol: unlike ones are not ranked against one another. The protocol
    /// that was used last comes first.
    pub fn best(&self, board: &Board) -> Result<Vec<Best>, Error> {
        board.filter.check()?;
        self.read(|columns, store| {
            let chosen = Chosen::of(columns, board, board.at)?;
            let mut found: Vec<(String, String, u64, Best)> = Vec::new();
            for (number, series) in chosen.series.iter().enumerate() {
                let mut best: Vec<Option<(Merit, u64, u64)>> = vec![None; series.groups.len()];
                chosen.each_of(number, &mut |index, merit| {
                    let group = &mut best[series.place_of(index).group as usize];
                    let (first, among, last) = group.unwrap_or((merit, 0, 0));
                    *group = Some((first.min(merit), among + 1, last.max(merit.position)));
                });
                for (merit, among, last) in best.into_iter().flatten() {
                    let standing = standing_at(store, merit.position, merit.ordinal, &board.at)?;
                    found.push((standing.suite.clone(), standing.slice.clone(), last, Best { standing, among }));
                }
            }
            found.sort_by(|a, b| (&a.0, &a.1, b.2).cmp(&(&b.0, &b.1, a.2)));
            Ok(found.into_iter().map(|(.., best)| best).collect())
        })
    }
}

/// The series of a board, and how their results are looked at.
struct Chosen<'a> {
    columns: &'a Columns,
    filter: &'a Filter,
    at: At,
    series: Vec<&'a Series>,
    higher_is_better: bool,
}

impl<'a> Chosen<'a> {
    fn of(columns: &'a Columns, board: &'a Board, at: At) -> Result<Self, Error> {
        let all: Vec<&Series> = columns.of_metric(&board.task, &board.metric).collect();
        if all.is_empty() {
            return Err(unknown(columns, &board.task, &board.metric));
        }
        // The task and metric are those of the series; the filter's own are not looked at.
        Filter { task: None, metric: None, ..board.filter.clone() }.check_names(columns)?;
        let sieve = Sieve::new(columns, &board.filter);
        let series: Vec<&Series> = all.into_iter().filter(|series| sieve.takes_part(series)).collect();
        // What the newest result says of its metric.
        let newest = series.iter().filter_map(|series| {
            let index = series.recorded_by(&at).checked_sub(1)?;
            Some((series.position[index], series.higher_is_better(index)))
        });
        let higher_is_better = newest.max_by_key(|(position, _)| *position).is_none_or(|(_, higher)| higher);
        Ok(Self { columns, filter: &board.filter, at, series, higher_is_better })
    }

    /// Every result of one series that stands: its index and merit.
    fn each_of(&self, series: usize, visit: &mut dyn FnMut(usize, Merit)) {
        let series = self.series[series];
        let mut sieve = Sieve::new(self.columns, self.filter);
        standing_results(self.columns, series, &self.at, &mut sieve, &mut |index| {
            visit(index, Merit::of(series, index, self.higher_is_better));
        });
    }

    /// The first `count` results after a merit, with series and index, and how many results there are in all.
    fn page(&self, after: Option<Merit>, count: usize) -> (Vec<(Merit, usize, usize)>, u64) {
        let mut best: BinaryHeap<(Merit, usize, usize)> = BinaryHeap::new();
        let mut total = 0;
        for number in 0..self.series.len() {
            self.each_of(number, &mut |index, merit| {
                total += 1;
                if after.is_some_and(|after| merit <= after) {
                    return;
                }
                if best.len() < count {
                    best.push((merit, number, index));
                } else if let Some(mut worst) = best.peek_mut()
                    && merit < worst.0
                {
                    *worst = (merit, number, index);
                }
            });
        }
        (best.into_sorted_vec(), total)
    }

    /// The rank of each result of a page. On the first page nothing better stands elsewhere.
    fn ranks(&self, page: &[(Merit, usize, usize)], is_first: bool) -> Vec<u64> {
        let group = |series: usize, index: usize| (series, self.series[series].place_of(index).group);
        // By group, the page's keys in order, and how many results come first at each of them.
        let mut groups: HashMap<(usize, u32), Vec<(u64, u64)>> = HashMap::new();
        for &(merit, series, index) in page {
            let keys = groups.entry(group(series, index)).or_default();
            if keys.last().is_none_or(|(key, _)| *key < merit.key) {
                keys.push((merit.key, 0));
            }
        }
        let mut note = |series: usize, index: usize, key: u64| {
            let Some(keys) = groups.get_mut(&group(series, index)) else { return };
            if keys.last().is_some_and(|(worst, _)| key < *worst) {
                let at = keys.partition_point(|(known, _)| *known <= key);
                keys[at].1 += 1;
            }
        };
        if is_first {
            page.iter().for_each(|&(merit, series, index)| note(series, index, merit.key));
        } else {
            for number in 0..self.series.len() {
                self.each_of(number, &mut |index, merit| note(number, index, merit.key));
            }
        }
        let rank = |&(merit, series, index): &(Merit, usize, usize)| {
            let keys = &groups[&group(series, index)];
            1 + keys.iter().take_while(|(key, _)| *key <= merit.key).map(|(_, better)| better).sum::<u64>()
        };
        page.iter().map(rank).collect()
    }
}

/// The results of a series that stand: at each place the latest that counts. By time of record, or where a valid time is
/// asked for, of measurement.
pub(super) fn standing_results(
    columns: &Columns,
    series: &Series,
    at: &At,
    sieve: &mut Sieve<'_>,
    visit: &mut dyn FnMut(usize),
) {
    let groups = sieve.groups(series);
    let mut wanted = |index: usize| {
        if !columns.counts(series, index, at) || !sieve.takes_dataset(series.dataset[index]) {
            return false;
        }
        let place = series.place_of(index);
        groups[place.group as usize] && sieve.takes_place(place)
    };
    if at.valid_at.is_none() {
        let mut seen = vec![0_u64; series.places.len().div_ceil(64)];
        for index in (0..series.recorded_by(at)).rev() {
            let place = series.place[index];
            let (word, bit) = (place as usize / 64, 1 << (place % 64));
            if seen[word] & bit == 0 && wanted(index) {
                seen[word] |= bit;
                visit(index);
            }
        }
        return;
    }
    let mut latest = vec![u32::MAX; series.places.len()];
    for index in 0..series.recorded_by(at) {
        let known = &mut latest[series.place[index] as usize];
        if (*known == u32::MAX || series.occurred[*known as usize] <= series.occurred[index]) && wanted(index) {
            *known = index as u32;
        }
    }
    latest.into_iter().filter(|index| *index != u32::MAX).for_each(|index| visit(index as usize));
}

/// Says what there is instead of a task or metric that nothing was measured on.
pub(super) fn unknown(columns: &Columns, task: &str, metric: &str) -> Error {
    let names = |wanted: &dyn Fn(&Series) -> Option<u32>| {
        let found: BTreeSet<&str> =
            columns.series.iter().filter_map(wanted).map(|number| columns.texts.text(number)).collect();
        listed(&found)
    };
    let number = columns.texts.find(task);
    let metrics = names(&|series| (Some(series.key.task) == number).then_some(series.key.metric));
    let tasks = names(&|series| Some(series.key.task));
    let why = if tasks.is_empty() {
        "no results are recorded yet".to_owned()
    } else if metrics.is_empty() {
        format!("nothing was measured on that task; the tasks are {tasks}")
    } else {
        format!("the task has no such metric; it has {metrics}")
    };
    Error::Unknown { what: format!("`{metric}` of task `{task}`"), why }
}

fn encode_cursor(board: &Board, at: &At, merit: &Merit) -> String {
    cursor::encode(board, at.as_of, [merit.key, merit.position, u64::from(merit.ordinal)])
}

fn decode_cursor(board: &Board, text: &str) -> Result<(Option<Position>, Merit), Error> {
    let (as_of, [key, position, ordinal]) = cursor::decode(board, text)?;
    let ordinal = u32::try_from(ordinal).map_err(|_| Error::Cursor { given: text.to_owned() })?;
    Ok((as_of, Merit { key, position, ordinal }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_order_of_merit() {
        let falling = [f64::INFINITY, 3.0, 1e-300, 0.0, -1e-300, -7.5, f64::NEG_INFINITY];
        for pair in falling.windows(2) {
            assert!(key_of(pair[0], true) < key_of(pair[1], true), "{pair:?}");
            assert!(key_of(pair[0], false) > key_of(pair[1], false), "{pair:?}");
        }
        for higher in [true, false] {
            assert_eq!(key_of(0.0, higher), key_of(-0.0, higher));
            assert!(falling.iter().all(|value| key_of(*value, higher) < key_of(f64::NAN, higher)));
            assert_eq!(key_of(f64::NAN, higher), key_of(-f64::NAN, higher));
        }
    }
}
