//! The gradient rule of each operator, as more operators. Each is checked against central differences in
//! `tests/gradients.rs`.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use super::builder::{Builder, ElementType, Node, Value};

/// The gradient for each input, where wanted, or why there is none (`None`: the operator is not known here).
type Gradients = Result<Vec<Option<Value>>, Option<&'static str>>;

/// `gradients` are those of the outputs, at least one of them present; `wanted` says which inputs matter.
pub(super) fn backward(b: &mut Builder, node: &Node, gradients: &[Option<Value>], wanted: &[bool]) -> Gradients {
    if node.operator == "Split" {
        return Ok(split(b, node, gradients));
    }
    if gradients[1..].iter().any(Option::is_some) {
        return Err(Some("through a saved statistic"));
    }
    let g = gradients[0].expect("one output, which has a gradient");
    let inputs = node.inputs.as_slice();
    match node.operator {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" => Ok(binary(b, node, g, wanted)),
        "MatMul" | "FusedMatMul" | "Gemm" => Ok(product(b, node, g, wanted)),
        "Reshape" | "Squeeze" | "Unsqueeze" => {
            let shape = b.shape(inputs[0]).to_vec();
            Ok(vec![Some(b.reshape(g, &shape)), None])
        }
        "Expand" => Ok(vec![Some(reduce_to(b, g, inputs[0])), None]),
        "Transpose" => Ok(vec![Some(transpose(b, node, g))]),
        "Slice" => Ok(slice(b, node, g)),
        "Concat" => Ok(concat(b, node, g, wanted)),
        "Where" => Ok(select(b, node, g, wanted)),
        "Clip" => clip(b, node, g, wanted),
        "ReduceSum" | "ReduceMean" | "ReduceSumSquare" | "ReduceL2" | "ReduceMax" => Ok(reduction(b, node, g)),
        "Softmax" | "LogSoftmax" => Ok(softmax(b, node, g)),
        "LayerNormalization" => Ok(layer_norm(b, node, g, wanted)),
        "SimplifiedLayerNormalization" => Ok(rms_norm(b, node, g, wanted)),
        "RotaryEmbedding" => rotary(b, node, g, wanted),
        "Gather" => Ok(gather(b, node, g)),
        "GatherElements" => {
            let zeros = zeros_like(b, inputs[0]);
            let axis = axis(node);
            Ok(vec![Some(b.scatter_add(zeros, inputs[1], g, axis)), None])
        }
        "ScatterElements" if node.text("reduction") == Some("add") => {
            let axis = axis(node);
            let updates = wanted[2].then(|| b.gather_elements(g, inputs[1], axis));
            Ok(vec![Some(g), None, updates])
        }
        _ => unary(b, node, g).map(|gradient| vec![Some(gradient)]).ok_or(None),
    }
}

fn unary(b: &mut Builder, node: &Node, g: Value) -> Option<Value> {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let one = |b: &mut Builder| b.scalar_like(g, 1.0);
    let slope = match node.operator {
        "Identity" => return Some(g),
        "Neg" => return Some(b.neg(g)),
        "Cast" => return Some(b.cast(g, b.element(x))),
        "Log" => return Some(b.div(g, x)),
        "Exp" => y,
        "Sqrt" => {
            let half = b.scalar_like(g, 0.5);
            b.div(half, y)
        }
        "Reciprocal" => {
            let square = b.mul(y, y);
            b.neg(square)
        }
        "Tanh" => {
            let (one, square) = (one(b), b.mul(y, y));
            b.sub(one, square)
        }
        "Sigmoid" => {
            let one = one(b);
            let rest = b.sub(one, y);
            b.mul(y, rest)
        }
        "Softplus" => b.sigmoid(x),
        "Abs" => b.sign(x),
        "Sin" => b.cos(x),
        "Cos" => {
            let sine = b.sin(x);
            b.neg(sine)
        }
        "Relu" => {
            let zero = b.scalar_like(g, 0.0);
            let positive = b.greater(x, zero);
            b.cast(positive, b.element(g))
        }
        "Erf" => {
            let factor = b.scalar_like(g, FRAC_2_SQRT_PI);
            let bell = bell(b, x, 1.0);
            b.mul(bell, factor)
        }
        "Gelu" if node.text("approximate") == Some("tanh") => gelu_tanh_slope(b, x),
        "Gelu" => gelu_slope(b, x),
        // SiLU, y = x·s with s = sigmoid(x): the slope is y + s·(1 - y).
        "QuickGelu" => {
            let (one, gate) = (one(b), b.sigmoid(x));
            let rest = b.sub(one, y);
            let rest = b.mul(gate, rest);
            b.add(rest, y)
        }
        _ => return None,
    };
    Some(b.mul(g, slope))
}

/// exp(-x² · factor)
fn bell(b: &mut Builder, x: Value, factor: f64) -> Value {
    let square = b.mul(x, x);
    let factor = b.scalar_like(x, -factor);
    let exponent = b.mul(square, factor);
    b.exp(exponent)
}

/// Φ(x) + x·φ(x), with the normal distribution's Φ and φ.
fn gelu_slope(b: &mut Builder, x: Value) -> Value {
    let [root, half, density] = [FRAC_1_SQRT_2, 0.5, 1.0 / (2.0 * PI).sqrt()].map(|n| b.scalar_like(x, n));
    let scaled = b.mul(x, root);
    let erf = b.erf(scaled);
    let erf = b.mul(erf, half);
    let cumulative = b.add(erf, half);
    let bell = bell(b, x, 0.5);
    let bell = b.mul(bell, density);
    let weighted = b.mul(x, bell);
    b.add(cumulative, weighted)
}

/// Of 0.5·x·(1 + t), t = tanh(u), u = √(2/π)·(x + 0.044715·x³): 0.5·(1 + t) + 0.5·x·(1 - t²)·u'.
fn gelu_tanh_slope(b: &mut Builder, x: Value) -> Value {
    let root = (2.0 / PI).sqrt();
    let [linear, cubic, one, half, steep] =
        [root, root * 0.044_715, 1.0, 0.5, root * 3.0 * 0.044_715].map(|n| b.scalar_like(x, n));
    let square = b.mul(x, x);
    let inner = b.mul(square, cubic);
    let inner = b.add(inner, linear);
    let u = b.mul(x, inner);
    let t = b.tanh(u);
    let slope_of_u = b.mul(square, steep);
    let slope_of_u = b.add(slope_of_u, linear);
    let flat = b.mul(t, t);
    let flat = b.sub(one, flat);
    let second = b.mul(x, flat);
    let second = b.mul(second, slope_of_u);
    let first = b.add(one, t);
    let both = b.add(first, second);
    b.mul(both, half)
}

fn binary(b: &mut Builder, node: &Node, g: Value, wanted: &[bool]) -> Vec<Option<Value>> {
    let (x, y, out) = (node.inputs[0], node.inputs[1], node.outputs[0]);
    let left = wanted[0].then(|| match node.operator {
        "Add" | "Sub" => g,
        "Mul" => b.mul(g, y),
        "Div" => b.div(g, y),
        "Pow" => {
            let one = b.scalar_like(y, 1.0);
            let less = b.sub(y, one);
            let power = b.pow(x, less);
            let slope = b.mul(y, power);
            b.mul(g, slope)
        }
        _ => share_of_chosen(b, node, g, x, y),
    });
    let right = wanted[1].then(|| match node.operator {
        "Add" => g,
        "Sub" => b.neg(g),
        "Mul" => b.mul(g, x),
        // d(x/y)/dy = -(x/y)/y
        "Div" => {
            let slope = b.div(out, y);
            let slope = b.neg(slope);
            b.mul(g, slope)
        }
        "Pow" => {
            let log = b.log(x);
            let slope = b.mul(out, log);
            b.mul(g, slope)
        }
        _ => share_of_chosen(b, node, g, y, x),
    });
    vec![left.map(|left| reduce_to(b, left, x)), right.map(|right| reduce_to(b, right, y))]
}

/// Of Min and Max: all of the gradient where `x` was chosen over `other`, half of it where they are equal.
fn share_of_chosen(b: &mut Builder, node: &Node, g: Value, x: Value, other: Value) -> Value {
    let chosen = if node.operator == "Min" { b.less(x, other) } else { b.greater(x, other) };
    let equal = b.equal(x, other);
    let [zero, half, one] = [0.0, 0.5, 1.0].map(|n| b.scalar_like(g, n));
    let tied = b.select(equal, half, zero);
    let share = b.select(chosen, one, tied);
    b.mul(g, share)
}

/// `alpha · op(x) · op(y)`, possibly plus a bias, with leading axes that broadcast.
fn product(b: &mut Builder, node: &Node, g: Value, wanted: &[bool]) -> Vec<Option<Value>> {
    let (x, y) = (node.inputs[0], node.inputs[1]);
    let across_x = node.int("transA") == Some(1);
    let across_y = node.int("transB") == Some(1);
    let scale = node.float("alpha").unwrap_or(1.0);
    let left = wanted[0].then(|| match across_x {
        false => multiply(b, g, y, (false, !across_y), scale),
        true => multiply(b, y, g, (across_y, true), scale),
    });
    let right = wanted[1].then(|| {
        // A matrix used by every row of a batch: one product over all rows, not a sum of many.
        let (x, g) = match b.rank(y) == 2 && b.rank(x) > 2 && !across_x {
            true => (as_matrix(b, x), as_matrix(b, g)),
            false => (x, g),
        };
        match across_y {
            false => multiply(b, x, g, (!across_x, false), scale),
            true => multiply(b, g, x, (true, across_x), scale),
        }
    });
    let mut gradients = vec![left.map(|left| reduce_to(b, left, x)), right.map(|right| reduce_to(b, right, y))];
    if let Some(&bias) = node.inputs.get(2) {
        gradients.push(wanted[2].then(|| reduce_to(b, g, bias)));
    }
    gradients
}

fn multiply(b: &mut Builder, x: Value, y: Value, across: (bool, bool), scale: f32) -> Value {
    if b.rank(x) == 2 && b.rank(y) == 2 && scale == 1.0 {
        return b.gemm(x, y, None, across);
    }
    match across == (false, false) && scale == 1.0 {
        true => b.matmul(x, y),
        false => b.fused_matmul(x, y, across, scale),
    }
}

fn as_matrix(b: &mut Builder, x: Value) -> Value {
    let columns = *b.shape(x).last().expect("a factor has axes");
    let rows = b.shape(x).iter().product::<usize>() / columns;
    b.reshape(x, &[rows, columns])
}

fn transpose(b: &mut Builder, node: &Node, g: Value) -> Value {
    let order = node.ints("perm").expect("transpose always states its order");
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| inverse[from as usize] = to);
    b.transpose(g, &inverse)
}

fn slice(b: &mut Builder, node: &Node, g: Value) -> Vec<Option<Value>> {
    let x = node.inputs[0];
    let [start, end, axis] = [1, 2, 3].map(|slot| b.known_ints(node.inputs[slot])[0] as usize);
    let total = b.shape(x)[axis];
    let mut parts = vec![g];
    if start > 0 {
        parts.insert(0, zeros_along(b, x, axis, start));
    }
    if end < total {
        parts.push(zeros_along(b, x, axis, total - end));
    }
    let whole = if parts.len() == 1 { g } else { b.concat(&parts, axis) };
    vec![Some(whole), None, None, None]
}

fn split(b: &mut Builder, node: &Node, gradients: &[Option<Value>]) -> Vec<Option<Value>> {
    let axis = axis(node);
    let parts: Vec<Value> = node
        .outputs
        .iter()
        .zip(gradients)
        .map(|(&output, gradient)| gradient.unwrap_or_else(|| zeros_like(b, output)))
        .collect();
    vec![Some(b.concat(&parts, axis)), None]
}

fn concat(b: &mut Builder, node: &Node, g: Value, wanted: &[bool]) -> Vec<Option<Value>> {
    let axis = axis(node);
    let mut start = 0;
    node.inputs
        .iter()
        .zip(wanted)
        .map(|(&input, &wanted)| {
            let end = start + b.shape(input)[axis];
            let part = wanted.then(|| b.slice(g, axis, start, end));
            start = end;
            part
        })
        .collect()
}

fn select(b: &mut Builder, node: &Node, g: Value, wanted: &[bool]) -> Vec<Option<Value>> {
    let zero = b.scalar_like(g, 0.0);
    let condition = node.inputs[0];
    let yes = wanted[1].then(|| b.select(condition, g, zero)).map(|yes| reduce_to(b, yes, node.inputs[1]));
    let no = wanted[2].then(|| b.select(condition, zero, g)).map(|no| reduce_to(b, no, node.inputs[2]));
    vec![None, yes, no]
}

fn clip(b: &mut Builder, node: &Node, g: Value, wanted: &[bool]) -> Gradients {
    if wanted[1] || wanted[2] {
        return Err(Some("with respect to its bounds"));
    }
    let (x, low, high) = (node.inputs[0], node.inputs[1], node.inputs[2]);
    let above = b.less_or_equal(low, x);
    let below = b.less_or_equal(x, high);
    let inside = b.and(above, below);
    let zero = b.scalar_like(g, 0.0);
    Ok(vec![Some(b.select(inside, g, zero)), None, None])
}

fn reduction(b: &mut Builder, node: &Node, g: Value) -> Vec<Option<Value>> {
    let (x, y) = (node.inputs[0], node.outputs[0]);
    let axes: Vec<usize> = b.known_ints(node.inputs[1]).iter().map(|&axis| axis as usize).collect();
    let shape = b.shape(x).to_vec();
    let kept: Vec<usize> =
        shape.iter().enumerate().map(|(axis, &n)| if axes.contains(&axis) { 1 } else { n }).collect();
    let g = b.reshape(g, &kept);
    let gradient = match node.operator {
        "ReduceSum" => b.expand(g, &shape),
        "ReduceMean" => {
            let count = axes.iter().map(|&axis| shape[axis]).product::<usize>();
            let share = b.scalar_like(g, 1.0 / count as f64);
            let g = b.mul(g, share);
            b.expand(g, &shape)
        }
        "ReduceSumSquare" => {
            let two = b.scalar_like(g, 2.0);
            let g = b.mul(g, two);
            b.mul(x, g)
        }
        "ReduceL2" => {
            let y = b.reshape(y, &kept);
            let g = b.div(g, y);
            b.mul(x, g)
        }
        // Shared evenly among equal maxima.
        _ => {
            let y = b.reshape(y, &kept);
            let largest = b.equal(x, y);
            let largest = b.cast(largest, b.element(x));
            let count = b.reduce_sum(largest, &axes, true);
            let g = b.div(g, count);
            b.mul(largest, g)
        }
    };
    vec![Some(gradient), None]
}

fn softmax(b: &mut Builder, node: &Node, g: Value) -> Vec<Option<Value>> {
    let (y, axis) = (node.outputs[0], axis(node));
    if node.operator == "LogSoftmax" {
        let shares = b.exp(y);
        let total = b.reduce_sum(g, &[axis], true);
        let pulled = b.mul(shares, total);
        return vec![Some(b.sub(g, pulled))];
    }
    let weighted = b.mul(g, y);
    let total = b.reduce_sum(weighted, &[axis], true);
    let centred = b.sub(g, total);
    vec![Some(b.mul(y, centred))]
}

/// With h = x/rms and s = g·scale: dx = (s - h·mean(s·h))/rms, dscale = sum of g·h.
fn rms_norm(b: &mut Builder, node: &Node, g: Value, wanted: &[bool]) -> Vec<Option<Value>> {
    let (x, scale, inverse) = (node.inputs[0], node.inputs[1], node.outputs[1]);
    let last = b.rank(x) - 1;
    let normed = b.mul(x, inverse);
    let by_scale = wanted[1].then(|| {
        let product = b.mul(g, normed);
        reduce_to(b, product, scale)
    });
    let by_x = wanted[0].then(|| {
        let scaled = b.mul(g, scale);
        let aligned = b.mul(scaled, normed);
        let aligned = b.reduce_mean(aligned, &[last], true);
        let pulled = b.mul(normed, aligned);
        let difference = b.sub(scaled, pulled);
        b.mul(difference, inverse)
    });
    vec![by_x, by_scale]
}

/// As RMSNorm with h = (x - mean)/deviation, and the mean of s taken out too.
fn layer_norm(b: &mut Builder, node: &Node, g: Value, wanted: &[bool]) -> Vec<Option<Value>> {
    let (x, scale, bias) = (node.inputs[0], node.inputs[1], node.inputs[2]);
    let (mean, inverse) = (node.outputs[1], node.outputs[2]);
    let last = b.rank(x) - 1;
    let centred = b.sub(x, mean);
    let normed = b.mul(centred, inverse);
    let by_scale = wanted[1].then(|| {
        let product = b.mul(g, normed);
        reduce_to(b, product, scale)
    });
    let by_bias = wanted[2].then(|| reduce_to(b, g, bias));
    let by_x = wanted[0].then(|| {
        let scaled = b.mul(g, scale);
        let average = b.reduce_mean(scaled, &[last], true);
        let aligned = b.mul(scaled, normed);
        let aligned = b.reduce_mean(aligned, &[last], true);
        let pulled = b.mul(normed, aligned);
        let difference = b.sub(scaled, average);
        let difference = b.sub(difference, pulled);
        b.mul(difference, inverse)
    });
    vec![by_x, by_scale, by_bias]
}

/// A rotation is undone by the opposite rotation.
fn rotary(b: &mut Builder, node: &Node, g: Value, wanted: &[bool]) -> Gradients {
    if wanted[2] || wanted[3] {
        return Err(Some("with respect to its tables"));
    }
    let opposite = b.neg(node.inputs[3]);
    Ok(vec![Some(b.rotary(g, node.inputs[1], node.inputs[2], opposite)), None, None, None])
}

/// Rows used more than once collect all their gradients.
fn gather(b: &mut Builder, node: &Node, g: Value) -> Vec<Option<Value>> {
    let (table, indices, axis) = (node.inputs[0], node.inputs[1], axis(node));
    let shape = b.shape(table).to_vec();
    let count = b.shape(indices).iter().product::<usize>();
    let before = shape[..axis].iter().product::<usize>();
    let after = shape[axis + 1..].iter().product::<usize>();
    let zeros = b.filled(b.element(table), 0.0, &[before, shape[axis], after]);
    let updates = b.reshape(g, &[before, count, after]);
    let indices = b.reshape(indices, &[1, count, 1]);
    let indices = b.expand(indices, &[before, count, after]);
    let sums = b.scatter_add(zeros, indices, updates, 1);
    vec![Some(b.reshape(sums, &shape)), None]
}

/// Sums `g` over the axes along which `x` was repeated.
fn reduce_to(b: &mut Builder, g: Value, x: Value) -> Value {
    let (from, to) = (b.shape(g).to_vec(), b.shape(x).to_vec());
    if from == to {
        return g;
    }
    let lead = from.len() - to.len();
    let axes: Vec<usize> =
        (0..from.len()).filter(|&axis| axis < lead || (to[axis - lead] == 1 && from[axis] != 1)).collect();
    let sum = if axes.is_empty() { g } else { b.reduce_sum(g, &axes, true) };
    b.reshape(sum, &to)
}

fn axis(node: &Node) -> usize {
    node.int("axis").expect("operators here always state their axis") as usize
}

fn zeros_like(b: &mut Builder, x: Value) -> Value {
    let shape = b.shape(x).to_vec();
    b.filled(b.element(x), 0.0, &shape)
}

fn zeros_along(b: &mut Builder, x: Value, axis: usize, size: usize) -> Value {
    let mut shape = b.shape(x).to_vec();
    shape[axis] = size;
    let element: ElementType = b.element(x);
    b.filled(element, 0.0, &shape)
}
