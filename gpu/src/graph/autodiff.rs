//! Reverse-mode differentiation of a graph under construction: the gradient is more nodes of the same plain operators.
//! The rules for single operators are in `rules.rs`; an operator without one is refused by name.

use super::builder::{Builder, Value};
use super::rules;
use crate::Error;

/// Adds the nodes for the gradients of `sum over seeds of <value, weight>` with respect to each of `parameters`.
///
/// A seed is a value and a weight of its shape: `(loss, 1)` for a scalar loss, or `(logits, dloss/dlogits)` where the
/// last piece has been differentiated by hand. A parameter that no seed depends on gets zeros. Terms are added in
/// the order in which the backward pass meets them, which is fixed by the graph.
pub fn gradients(b: &mut Builder, seeds: &[(Value, Value)], parameters: &[Value]) -> Result<Vec<Value>, Error> {
    let depends = dependents(b, parameters);
    let mut terms: Vec<Option<Value>> = vec![None; b.value_count()];
    for &(value, weight) in seeds {
        assert_eq!(b.shape(value), b.shape(weight), "a seed has the shape of its value");
        accumulate(b, &mut terms, value, weight);
    }
    for index in (0..b.nodes().len()).rev() {
        let node = b.nodes()[index].clone();
        let gradients: Vec<Option<Value>> = node.outputs.iter().map(|output| at(&terms, *output)).collect();
        let wanted: Vec<bool> = node.inputs.iter().map(|input| depends[input.index()]).collect();
        if gradients.iter().all(Option::is_none) || !wanted.contains(&true) {
            continue;
        }
        let results = rules::backward(b, &node, &gradients, &wanted).map_err(|detail| {
            let operator = match detail {
                Some(detail) => format!("{} ({detail})", node.operator),
                None => node.operator.to_owned(),
            };
            Error::NoGradient { operator, node: format!("{}.{index}", node.operator) }
        })?;
        for ((&input, result), wanted) in node.inputs.iter().zip(results).zip(wanted) {
            if let (Some(result), true) = (result, wanted) {
                assert_eq!(b.shape(result), b.shape(input), "gradient of {} for an input", node.operator);
                accumulate(b, &mut terms, input, result);
            }
        }
    }
    let zeros = |b: &mut Builder, parameter: Value| {
        let shape = b.shape(parameter).to_vec();
        b.filled(b.element(parameter), 0.0, &shape)
    };
    Ok(parameters.iter().map(|&parameter| at(&terms, parameter).unwrap_or_else(|| zeros(b, parameter))).collect())
}

/// Which values are floats computed from `parameters`. Nothing is differentiated through integers and booleans.
fn dependents(b: &Builder, parameters: &[Value]) -> Vec<bool> {
    let mut depends = vec![false; b.value_count()];
    parameters.iter().for_each(|parameter| depends[parameter.index()] = true);
    for node in b.nodes() {
        if node.inputs.iter().any(|input| depends[input.index()]) {
            for output in &node.outputs {
                depends[output.index()] = b.element(*output).is_float();
            }
        }
    }
    depends
}

fn at(terms: &[Option<Value>], value: Value) -> Option<Value> {
    terms.get(value.index()).copied().flatten()
}

fn accumulate(b: &mut Builder, terms: &mut [Option<Value>], value: Value, term: Value) {
    let sum = match at(terms, value) {
        Some(earlier) => b.add(earlier, term),
        None => term,
    };
    terms[value.index()] = Some(sum);
}
