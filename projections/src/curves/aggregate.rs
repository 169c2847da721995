//! Several runs as one curve: what they have in common at each place of an axis, such as the seeds of one recipe.

use super::curve::{Curve, Range};
use super::query::{CurveQuery, Logical, exactly, named};
use super::smooth::{Sampler, Smoother, even_grid};
use super::{Axis, Curves, Smoothing};
use crate::Error;
use cairn_schemas::{Position, RunId};

/// Points of all runs up to which their own places are looked at, rather than even ones.
const OWN_PLACES_MAX: usize = 1 << 18;
/// Quantiles of one question.
const QUANTILES_MAX: usize = 16;

/// Which runs to take together, and how.
#[derive(Clone, Debug)]
pub struct AggregateQuery {
    pub runs: Vec<RunId>,
    pub metric: String,
    pub axis: Axis,
    pub from: Option<f64>,
    pub to: Option<f64>,
    /// Places on the axis, at most.
    pub points_max: usize,
    /// Each from 0 to 1.
    pub quantiles: Vec<f64>,
    pub as_of: Option<Position>,
    pub smoothing: Option<Smoothing>,
    pub ancestors: bool,
}

/// Several runs as one curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What `x` counts.
    pub axis: Axis,
    /// Those of the runs that have points in the range.
    pub runs: Vec<RunId>,
    /// Whether the places are those at which the runs logged, rather than even ones.
    pub exact: bool,
    pub points: Vec<AggregatePoint>,
    /// Runs that have no place on the axis, and why.
    pub unplaced: Vec<(RunId, String)>,
}

/// What the runs have at one place. NaN counts as nothing. A run whose points about here are infinite both ways has no
/// mean of them all: that of its finite ones stands for it.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregatePoint {
    pub x: f64,
    /// Runs that have a value here.
    pub n: usize,
    /// NaN where the runs' values are infinite both ways.
    pub mean: f64,
    /// The least value of any run's points about here: no spike is averaged away.
    pub min: f64,
    pub max: f64,
    /// As asked for, between two runs' values on the straight line.
    pub quantiles: Vec<f64>,
}

impl Curves {
    /// Takes runs together at common places: those at which they logged, where these are few enough, else even ones. A
    /// run that logged nothing at a place is read off on the straight line between its neighbours; where it has several
    /// points about an even place, their mean is its value and their extremes enter `min` and `max`. A metric that none
    /// of the runs has is an error where they have others.
    pub fn aggregate(&self, query: &AggregateQuery) -> Result<Aggregate, Error> {
        Ok(self.aggregates(std::slice::from_ref(&query.runs), query)?.remove(0))
    }

    /// The same for each of several groups of runs; the query's own runs are not looked at. A metric that only some
    /// groups have is no error.
    pub fn aggregates(&self, groups: &[Vec<RunId>], query: &AggregateQuery) -> Result<Vec<Aggregate>, Error> {
        let questioned = CurveQuery {
            axis: query.axis,
            as_of: query.as_of,
            ancestors: query.ancestors,
            smoothing: query.smoothing,
            ..CurveQuery::default()
        };
        let axis = questioned.axis_meant();
        query.smoothing.map_or(Ok(()), Smoothing::check)?;
        check_quantiles(&query.quantiles)?;
        let range = Range::of(axis, query.from, query.to)?;
        self.0.read(|store| {
            let runs: Vec<RunId> = groups.iter().flatten().copied().collect();
            let lines: Vec<Logical<'_>> =
                runs.iter().map(|run| Logical::of(store, *run, axis, &questioned)).collect::<Result<_, _>>()?;
            named(&[exactly(&query.metric)], &lines)?;
            let mut rest = &lines[..];
            let one = |group: &Vec<RunId>| {
                let (lines, others) = rest.split_at(group.len());
                rest = others;
                together(group, lines, axis, range, query)
            };
            groups.iter().map(one).collect()
        })
    }
}

/// The runs of one group, and what is known of each.
fn together(
    runs: &[RunId],
    lines: &[Logical<'_>],
    axis: Axis,
    range: Option<Range>,
    query: &AggregateQuery,
) -> Result<Aggregate, Error> {
    let mut answer = Aggregate { axis, runs: Vec::new(), exact: true, points: Vec::new(), unplaced: Vec::new() };
    let Some(range) = range else { return Ok(answer) };
    let mut curves: Vec<Curve<'_>> = Vec::new();
    for (run, line) in runs.iter().zip(lines) {
        let (curve, unplaced) = line.curve(&query.metric, range)?;
        answer.unplaced.extend(unplaced.map(|why| (*run, why)));
        if curve.extent().is_some() {
            answer.runs.push(*run);
            curves.push(curve);
        }
    }
    let places = match own_places(&curves, query)? {
        Some(places) => places,
        None => {
            answer.exact = false;
            let extents = curves.iter().filter_map(Curve::extent);
            let Some((from, to)) = extents.reduce(|(a, b), (c, d)| (a.min(c), b.max(d))) else {
                return Ok(answer);
            };
            even_grid(range.shown(from), range.shown(to), query.points_max)
        }
    };
    let mut columns: Vec<Vec<Cell>> = Vec::with_capacity(curves.len());
    for curve in &curves {
        columns.push(cells(curve, &places, query.smoothing)?);
    }
    answer.points = (0..places.len())
        .filter_map(|place| at_place(places[place], columns.iter().map(|cells| cells[place]), &query.quantiles))
        .collect();
    Ok(answer)
}

fn check_quantiles(quantiles: &[f64]) -> Result<(), Error> {
    if quantiles.len() > QUANTILES_MAX {
        let given = quantiles.len();
        return Err(Error::question("curves", format!("{given} quantiles; at most {QUANTILES_MAX} in one question")));
    }
    match quantiles.iter().find(|quantile| !(0.0..=1.0).contains(*quantile)) {
        Some(wrong) => {
            Err(Error::question("curves", format!("a quantile of {wrong}; use 0 to 1, such as 0.5 for the median")))
        }
        None => Ok(()),
    }
}

/// All places at which any of the runs logged, in order; `None` where they are too many.
fn own_places(curves: &[Curve<'_>], query: &AggregateQuery) -> Result<Option<Vec<f64>>, Error> {
    if curves.iter().map(Curve::points_max).sum::<usize>() > OWN_PLACES_MAX {
        return Ok(None);
    }
    let mut places: Vec<u64> = Vec::new();
    for curve in curves {
        curve.each(&mut Smoother::of(None), &mut |placed| places.push(placed.x))?;
        places.sort_unstable();
        places.dedup();
        if places.len() > query.points_max {
            return Ok(None);
        }
    }
    let Some(curve) = curves.first() else { return Ok(Some(Vec::new())) };
    Ok(Some(places.into_iter().map(|x| curve.range.shown(x)).collect()))
}

/// What one run has about one place.
#[derive(Clone, Copy, Debug)]
struct Cell {
    n: u64,
    sum: f64,
    n_finite: u64,
    sum_finite: f64,
    min: f64,
    max: f64,
    /// On the line between neighbours.
    between: Option<f64>,
}

impl Cell {
    const EMPTY: Self = Self {
        n: 0,
        sum: 0.0,
        n_finite: 0,
        sum_finite: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        between: None,
    };

    /// `value` is no NaN.
    fn add(&mut self, value: f64) {
        self.n += 1;
        self.sum += value;
        if value.is_finite() {
            self.n_finite += 1;
            self.sum_finite += value;
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// NaN where its points are infinite both ways, and none is finite.
    fn mean(&self) -> f64 {
        let mean = self.sum / self.n as f64;
        if mean.is_nan() { self.sum_finite / self.n_finite as f64 } else { mean }
    }
}

/// A run's values about each of the places, which go up.
fn cells(curve: &Curve<'_>, places: &[f64], smoothing: Option<Smoothing>) -> Result<Vec<Cell>, Error> {
    let mut cells = vec![Cell::EMPTY; places.len()];
    let mut sampler = Sampler::over(places);
    curve.each(&mut Smoother::of(smoothing), &mut |placed| {
        let (x, value) = (curve.range.shown(placed.x), placed.point.value);
        sampler.take(x, value, &mut |place, value| cells[place].between = Some(value));
        if value.is_nan() {
            return;
        }
        // The nearest place.
        let next = places.partition_point(|place| *place < x);
        let is_before = next > 0 && (next == places.len() || x - places[next - 1] < places[next] - x);
        cells[if is_before { next - 1 } else { next }].add(value);
    })?;
    Ok(cells)
}

/// All runs at one place; `None` where none has a value.
fn at_place(x: f64, cells: impl Iterator<Item = Cell>, quantiles: &[f64]) -> Option<AggregatePoint> {
    let (mut values, mut n, mut min, mut max) = (Vec::new(), 0, f64::INFINITY, f64::NEG_INFINITY);
    for cell in cells {
        let (value, least, greatest) = match (cell.n, cell.between) {
            (0, Some(between)) if !between.is_nan() => (between, between, between),
            (0, _) => continue,
            _ => (cell.mean(), cell.min, cell.max),
        };
        n += 1;
        min = min.min(least);
        max = max.max(greatest);
        if !value.is_nan() {
            values.push(value);
        }
    }
    if n == 0 {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let quantiles = quantiles.iter().map(|quantile| at_quantile(&values, *quantile)).collect();
    Some(AggregatePoint { x, n, mean, min, max, quantiles })
}

/// The linear method, which is NumPy's default (Hyndman and Fan's seventh). `values` are sorted; of none it is NaN.
fn at_quantile(values: &[f64], quantile: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let at = quantile * (values.len() - 1) as f64;
    let (below, along) = (values[at.floor() as usize], at.fract());
    let above = values[at.ceil() as usize];
    // Equal infinities have no difference.
    if below == above { below } else { below + (above - below) * along }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.1, 0.25, 0.5, 0.9, 1]).
        let values = [1.0, 2.0, 4.0, 8.0];
        for (quantile, expected) in [(0.0, 1.0), (0.1, 1.3), (0.25, 1.75), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!((at_quantile(&values, quantile) - expected).abs() < 1e-12, "{quantile}");
        }
        assert_eq!(at_quantile(&[5.0], 0.3), 5.0);
        assert_eq!(at_quantile(&[f64::INFINITY; 2], 0.5), f64::INFINITY);
        assert!(check_quantiles(&[1.1]).is_err() && check_quantiles(&[f64::NAN]).is_err());
        assert!(check_quantiles(&[0.5; 17]).is_err());
    }
}
