//! The operators a graph can be made of, each with its shape rule. Names and meaning are ONNX's (operator set 20).

use super::builder::{Attribute, Builder, ElementType, Value};
use super::onnx::MICROSOFT;

use ElementType::{Bool, I64};

macro_rules! unary {
    ($($(#[$doc:meta])* $method:ident = $operator:literal;)+) => {
        impl Builder {
            $($(#[$doc])*
            pub fn $method(&mut self, x: Value) -> Value {
                let (element, shape) = (self.element(x), self.shape(x).to_vec());
                self.one(("", $operator), &[x], element, shape, vec![])
            })+
        }
    };
}

macro_rules! binary {
    ($($(#[$doc:meta])* $method:ident = $operator:literal;)+) => {
        impl Builder {
            $($(#[$doc])*
            pub fn $method(&mut self, a: Value, b: Value) -> Value {
                self.broadcasting($operator, a, b, None)
            })+
        }
    };
}

macro_rules! comparison {
    ($($(#[$doc:meta])* $method:ident = $operator:literal;)+) => {
        impl Builder {
            $($(#[$doc])*
            pub fn $method(&mut self, a: Value, b: Value) -> Value {
                self.broadcasting($operator, a, b, Some(Bool))
            })+
        }
    };
}

macro_rules! reduction {
    ($($(#[$doc:meta])* $method:ident = $operator:literal;)+) => {
        impl Builder {
            $($(#[$doc])*
            pub fn $method(&mut self, x: Value, axes: &[usize], keep: bool) -> Value {
                self.reduce($operator, x, axes, keep)
            })+
        }
    };
}

unary! {
    neg = "Neg";
    exp = "Exp";
    log = "Log";
    sqrt = "Sqrt";
    reciprocal = "Reciprocal";
    tanh = "Tanh";
    sigmoid = "Sigmoid";
    erf = "Erf";
    abs = "Abs";
    sign = "Sign";
    cos = "Cos";
    sin = "Sin";
    relu = "Relu";
    softplus = "Softplus";
    identity = "Identity";
    not = "Not";
}

binary! {
    add = "Add";
    sub = "Sub";
    mul = "Mul";
    div = "Div";
    pow = "Pow";
    min = "Min";
    max = "Max";
}

comparison! {
    equal = "Equal";
    less = "Less";
    less_or_equal = "LessOrEqual";
    greater = "Greater";
    and = "And";
    or = "Or";
}

reduction! {
    reduce_sum = "ReduceSum";
    reduce_mean = "ReduceMean";
    reduce_max = "ReduceMax";
    reduce_sum_square = "ReduceSumSquare";
    reduce_l2 = "ReduceL2";
}

impl Builder {
    /// x · sigmoid(x): one operator in f32, two in f64, for which the runtime has no kernel.
    pub fn silu(&mut self, x: Value) -> Value {
        let (element, shape) = (self.element(x), self.shape(x).to_vec());
        if element == ElementType::F64 {
            let gate = self.sigmoid(x);
            return self.mul(x, gate);
        }
        self.one((MICROSOFT, "QuickGelu"), &[x], element, shape, vec![("alpha", Attribute::Float(1.0))])
    }

    /// The exact form, or the tanh approximation.
    pub fn gelu(&mut self, x: Value, tanh: bool) -> Value {
        let (element, shape) = (self.element(x), self.shape(x).to_vec());
        let form = if tanh { "tanh" } else { "none" };
        self.one(("", "Gelu"), &[x], element, shape, vec![("approximate", Attribute::Text(form))])
    }

    /// Elements limited to [low, high], both scalars.
    pub fn clip(&mut self, x: Value, low: Value, high: Value) -> Value {
        let (element, shape) = (self.element(x), self.shape(x).to_vec());
        self.one(("", "Clip"), &[x, low, high], element, shape, vec![])
    }

    pub fn select(&mut self, condition: Value, yes: Value, no: Value) -> Value {
        assert_eq!(self.element(condition), Bool, "Where chooses by booleans");
        assert_eq!(self.element(yes), self.element(no), "Where chooses between equal types");
        let shape = broadcast(&broadcast(self.shape(condition), self.shape(yes)), self.shape(no));
        let element = self.element(yes);
        self.one(("", "Where"), &[condition, yes, no], element, shape, vec![])
    }

    pub fn cast(&mut self, x: Value, element: ElementType) -> Value {
        let shape = self.shape(x).to_vec();
        self.one(("", "Cast"), &[x], element, shape, vec![("to", Attribute::Int(element.code().into()))])
    }

    /// Matrix product over the last two axes; leading axes broadcast.
    pub fn matmul(&mut self, a: Value, b: Value) -> Value {
        let shape = product_shape(self.shape(a), self.shape(b), false, false);
        let element = self.element(a);
        assert_eq!(element, self.element(b), "MatMul of one type");
        self.one(("", "MatMul"), &[a, b], element, shape, vec![])
    }

    /// `scale · op(a) · op(b)` where `op` may transpose the last two axes. One operator in f32, its parts in f64.
    pub fn fused_matmul(&mut self, a: Value, b: Value, (across_a, across_b): (bool, bool), scale: f32) -> Value {
        let shape = product_shape(self.shape(a), self.shape(b), across_a, across_b);
        let element = self.element(a);
        if element == ElementType::F64 {
            let a = if across_a { self.transpose_last(a) } else { a };
            let b = if across_b { self.transpose_last(b) } else { b };
            let product = self.matmul(a, b);
            let scale = self.scalar(element, scale.into());
            return self.mul(product, scale);
        }
        let attributes = vec![
            ("transA", Attribute::Int(across_a.into())),
            ("transB", Attribute::Int(across_b.into())),
            ("alpha", Attribute::Float(scale)),
        ];
        self.one((MICROSOFT, "FusedMatMul"), &[a, b], element, shape, attributes)
    }

    /// `op(a) · op(b) + bias` of matrices; the bias broadcasts to the product.
    pub fn gemm(&mut self, a: Value, b: Value, bias: Option<Value>, (across_a, across_b): (bool, bool)) -> Value {
        assert!(self.rank(a) == 2 && self.rank(b) == 2, "Gemm is for matrices");
        let shape = product_shape(self.shape(a), self.shape(b), across_a, across_b);
        let element = self.element(a);
        let attributes = vec![("transA", Attribute::Int(across_a.into())), ("transB", Attribute::Int(across_b.into()))];
        let mut inputs = vec![a, b];
        inputs.extend(bias);
        self.one(("", "Gemm"), &inputs, element, shape, attributes)
    }

    pub fn softmax(&mut self, x: Value, axis: usize) -> Value {
        self.along("Softmax", x, axis)
    }

    pub fn log_softmax(&mut self, x: Value, axis: usize) -> Value {
        self.along("LogSoftmax", x, axis)
    }

    /// RMSNorm over the last axis (Zhang and Sennrich, 2019). Gives the result and 1/rms per row.
    /// In f64 in parts, because the operator saves its statistics as f32.
    pub fn rms_norm(&mut self, x: Value, scale: Value, epsilon: f64) -> (Value, Value) {
        let (element, shape) = (self.element(x), self.shape(x).to_vec());
        if element == ElementType::F64 {
            return self.normalize_in_parts(x, scale, epsilon);
        }
        let outputs = [(element, shape.clone()), (element, last_as_one(&shape))];
        let attributes = vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(epsilon as f32))];
        let out = self.node(("", "SimplifiedLayerNormalization"), &[x, scale], &outputs, attributes);
        (out[0], out[1])
    }

    /// Layer normalization over the last axis. Gives the result, the mean and 1/deviation per row.
    /// In f64 in parts, as for RMSNorm.
    pub fn layer_norm(&mut self, x: Value, scale: Value, bias: Value, epsilon: f64) -> (Value, Value, Value) {
        let (element, shape) = (self.element(x), self.shape(x).to_vec());
        if element == ElementType::F64 {
            let mean = self.reduce_mean(x, &[shape.len() - 1], true);
            let centred = self.sub(x, mean);
            let (scaled, inverse) = self.normalize_in_parts(centred, scale, epsilon);
            return (self.add(scaled, bias), mean, inverse);
        }
        let rows = (element, last_as_one(&shape));
        let outputs = [(element, shape), rows.clone(), rows];
        let attributes = vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(epsilon as f32))];
        let out = self.node(("", "LayerNormalization"), &[x, scale, bias], &outputs, attributes);
        (out[0], out[1], out[2])
    }

    /// Rotary position embedding (Su et al., 2021) in the half-split form.
    /// `x`: [rows, length, heads·size] or [rows, heads, length, size]; `positions`: [rows, length];
    /// `cosines`, `sines`: [positions_max, size/2]. One operator in f32, its parts in f64.
    pub fn rotary(&mut self, x: Value, positions: Value, cosines: Value, sines: Value) -> Value {
        let (element, shape) = (self.element(x), self.shape(x).to_vec());
        assert_eq!(self.element(positions), I64, "positions are integers");
        if element == ElementType::F64 {
            return self.rotary_in_parts(x, positions, cosines, sines);
        }
        self.one((MICROSOFT, "RotaryEmbedding"), &[x, positions, cosines, sines], element, shape, vec![])
    }

    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Value {
        assert_eq!(elements(self.shape(x)), elements(shape), "reshape {:?} to {shape:?}", self.shape(x));
        let element = self.element(x);
        let target = self.sizes(shape);
        self.one(("", "Reshape"), &[x, target], element, shape.to_vec(), vec![])
    }

    pub fn transpose(&mut self, x: Value, order: &[usize]) -> Value {
        let from = self.shape(x);
        assert_eq!(from.len(), order.len(), "transpose {from:?} by {order:?}");
        let shape = order.iter().map(|&axis| from[axis]).collect();
        let element = self.element(x);
        let perm = order.iter().map(|&axis| axis as i64).collect();
        self.one(("", "Transpose"), &[x], element, shape, vec![("perm", Attribute::Ints(perm))])
    }

    /// Inserts axes of size one; `axes` are positions in the result.
    pub fn unsqueeze(&mut self, x: Value, axes: &[usize]) -> Value {
        let mut shape = self.shape(x).to_vec();
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        sorted.iter().for_each(|&axis| shape.insert(axis, 1));
        let element = self.element(x);
        let axes = self.sizes(axes);
        self.one(("", "Unsqueeze"), &[x, axes], element, shape, vec![])
    }

    pub fn squeeze(&mut self, x: Value, axes: &[usize]) -> Value {
        let from = self.shape(x);
        assert!(axes.iter().all(|&axis| from[axis] == 1), "squeeze {from:?} at {axes:?}");
        let shape = from.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &n)| n).collect();
        let element = self.element(x);
        let axes = self.sizes(axes);
        self.one(("", "Squeeze"), &[x, axes], element, shape, vec![])
    }

    pub fn expand(&mut self, x: Value, shape: &[usize]) -> Value {
        assert_eq!(broadcast(self.shape(x), shape), shape, "expand {:?}", self.shape(x));
        let element = self.element(x);
        let target = self.sizes(shape);
        self.one(("", "Expand"), &[x, target], element, shape.to_vec(), vec![])
    }

    /// Elements `start..end` of one axis.
    pub fn slice(&mut self, x: Value, axis: usize, start: usize, end: usize) -> Value {
        let mut shape = self.shape(x).to_vec();
        assert!(start <= end && end <= shape[axis], "slice {start}..{end} of axis {axis} of {shape:?}");
        shape[axis] = end - start;
        let element = self.element(x);
        let [start, end, axis] = [start, end, axis].map(|n| self.sizes(&[n]));
        self.one(("", "Slice"), &[x, start, end, axis], element, shape, vec![])
    }

    pub fn split(&mut self, x: Value, axis: usize, sizes: &[usize]) -> Vec<Value> {
        let shape = self.shape(x).to_vec();
        assert_eq!(shape[axis], sizes.iter().sum::<usize>(), "split axis {axis} of {shape:?} into {sizes:?}");
        let element = self.element(x);
        let outputs: Vec<_> = sizes
            .iter()
            .map(|&size| {
                let mut part = shape.clone();
                part[axis] = size;
                (element, part)
            })
            .collect();
        let sizes = self.sizes(sizes);
        self.node(("", "Split"), &[x, sizes], &outputs, vec![("axis", Attribute::Int(axis as i64))])
    }

    pub fn concat(&mut self, parts: &[Value], axis: usize) -> Value {
        let mut shape = self.shape(parts[0]).to_vec();
        shape[axis] = parts.iter().map(|&part| self.shape(part)[axis]).sum();
        for &part in parts {
            let mut other = self.shape(part).to_vec();
            other[axis] = shape[axis];
            assert_eq!(other, shape, "concat on axis {axis}");
        }
        let element = self.element(parts[0]);
        self.one(("", "Concat"), parts, element, shape, vec![("axis", Attribute::Int(axis as i64))])
    }

    /// Whole slices of `table` along `axis`, chosen by integer `indices` of any shape.
    pub fn gather(&mut self, table: Value, indices: Value, axis: usize) -> Value {
        assert_eq!(self.element(indices), I64, "indices are integers");
        let from = self.shape(table);
        let mut shape = from[..axis].to_vec();
        shape.extend_from_slice(self.shape(indices));
        shape.extend_from_slice(&from[axis + 1..]);
        let element = self.element(table);
        self.one(("", "Gather"), &[table, indices], element, shape, vec![("axis", Attribute::Int(axis as i64))])
    }

    /// Rows of `table` chosen by integer `ids`, [ids, width], by a product with one-hot rows: its gradient is a product
    /// too and has a fixed order on every device. Costs a matrix [ids, rows of the table].
    pub fn rows_by_product(&mut self, table: Value, ids: Value) -> Value {
        let (count, all) = (elements(self.shape(ids)), self.shape(table)[0]);
        let numbers: Vec<i64> = (0..all as i64).collect();
        let numbers = self.constant_i64(&numbers, &[1, all]);
        let column = self.reshape(ids, &[count, 1]);
        let chosen = self.equal(column, numbers);
        let chosen = self.cast(chosen, self.element(table));
        self.gemm(chosen, table, None, (false, false))
    }

    pub fn gather_elements(&mut self, x: Value, indices: Value, axis: usize) -> Value {
        assert_eq!(self.element(indices), I64, "indices are integers");
        assert_eq!(self.rank(x), self.rank(indices), "GatherElements keeps the rank");
        let (element, shape) = (self.element(x), self.shape(indices).to_vec());
        let attributes = vec![("axis", Attribute::Int(axis as i64))];
        self.one(("", "GatherElements"), &[x, indices], element, shape, attributes)
    }

    /// `x` with `updates` added at `indices` along `axis`. Repeated indices are summed in order; unlike `ScatterND`
    /// this is correct and deterministic on the CPU with any number of threads.
    pub fn scatter_add(&mut self, x: Value, indices: Value, updates: Value, axis: usize) -> Value {
        assert_eq!(self.element(indices), I64, "indices are integers");
        assert_eq!(self.shape(indices), self.shape(updates), "one update per index");
        let (element, shape) = (self.element(x), self.shape(x).to_vec());
        let attributes = vec![("axis", Attribute::Int(axis as i64)), ("reduction", Attribute::Text("add"))];
        self.one(("", "ScatterElements"), &[x, indices, updates], element, shape, attributes)
    }

    /// A tensor of one number.
    pub fn filled(&mut self, element: ElementType, value: f64, shape: &[usize]) -> Value {
        let scalar = self.scalar(element, value);
        self.expand(scalar, shape)
    }

    /// An integer vector constant: axes, sizes, shapes.
    pub(crate) fn sizes(&mut self, sizes: &[usize]) -> Value {
        let sizes: Vec<i64> = sizes.iter().map(|&n| n as i64).collect();
        self.constant_i64(&sizes, &[sizes.len()])
    }

    fn transpose_last(&mut self, x: Value) -> Value {
        let mut order: Vec<usize> = (0..self.rank(x)).collect();
        let last = order.len() - 1;
        order.swap(last - 1, last);
        self.transpose(x, &order)
    }

    fn normalize_in_parts(&mut self, x: Value, scale: Value, epsilon: f64) -> (Value, Value) {
        let last = self.rank(x) - 1;
        let square = self.mul(x, x);
        let mean = self.reduce_mean(square, &[last], true);
        let epsilon = self.scalar_like(x, epsilon);
        let safe = self.add(mean, epsilon);
        let root = self.sqrt(safe);
        let inverse = self.reciprocal(root);
        let normed = self.mul(x, inverse);
        (self.mul(normed, scale), inverse)
    }

    fn rotary_in_parts(&mut self, x: Value, positions: Value, cosines: Value, sines: Value) -> Value {
        let half = self.shape(cosines)[1];
        let shape = self.shape(x).to_vec();
        let (rows, length) = (self.shape(positions)[0], self.shape(positions)[1]);
        let by_head = shape.len() == 4;
        let (split, table) = match by_head {
            true => (shape.clone(), [rows, 1, length, half]),
            false => (vec![rows, length, shape[2] / (2 * half), 2 * half], [rows, length, 1, half]),
        };
        let [cosines, sines] = [cosines, sines].map(|values| {
            let chosen = self.gather(values, positions, 0);
            self.reshape(chosen, &table)
        });
        let heads = self.reshape(x, &split);
        let halves = self.split(heads, 3, &[half, half]);
        let [a, b] = [halves[0], halves[1]];
        let [a_cos, b_sin] = [self.mul(a, cosines), self.mul(b, sines)];
        let [b_cos, a_sin] = [self.mul(b, cosines), self.mul(a, sines)];
        let rotated = [self.sub(a_cos, b_sin), self.add(b_cos, a_sin)];
        let rotated = self.concat(&rotated, 3);
        self.reshape(rotated, &shape)
    }

    fn one(
        &mut self,
        operator: (&'static str, &'static str),
        inputs: &[Value],
        element: ElementType,
        shape: Vec<usize>,
        attributes: Vec<(&'static str, Attribute)>,
    ) -> Value {
        self.node(operator, inputs, &[(element, shape)], attributes)[0]
    }

    fn broadcasting(&mut self, operator: &'static str, a: Value, b: Value, result: Option<ElementType>) -> Value {
        assert_eq!(self.element(a), self.element(b), "{operator} of one type");
        let shape = broadcast(self.shape(a), self.shape(b));
        let element = result.unwrap_or(self.element(a));
        self.one(("", operator), &[a, b], element, shape, vec![])
    }

    fn reduce(&mut self, operator: &'static str, x: Value, axes: &[usize], keep: bool) -> Value {
        let shape = self.shape(x).iter().enumerate();
        let shape = match keep {
            true => shape.map(|(axis, &n)| if axes.contains(&axis) { 1 } else { n }).collect(),
            false => shape.filter(|(axis, _)| !axes.contains(axis)).map(|(_, &n)| n).collect(),
        };
        let element = self.element(x);
        let axes = self.sizes(axes);
        self.one(("", operator), &[x, axes], element, shape, vec![("keepdims", Attribute::Int(keep.into()))])
    }

    fn along(&mut self, operator: &'static str, x: Value, axis: usize) -> Value {
        let (element, shape) = (self.element(x), self.shape(x).to_vec());
        assert!(axis < shape.len(), "{operator} along axis {axis} of {shape:?}");
        self.one(("", operator), &[x], element, shape, vec![("axis", Attribute::Int(axis as i64))])
    }
}

pub(crate) fn elements(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// The shape two shapes broadcast to, by NumPy's rule.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (m, n) if m == n => m,
            (1, n) => n,
            (m, 1) => m,
            _ => panic!("shapes {a:?} and {b:?} do not broadcast"),
        })
        .collect()
}

fn product_shape(a: &[usize], b: &[usize], across_a: bool, across_b: bool) -> Vec<usize> {
    assert!(a.len() >= 2 && b.len() >= 2, "a product of {a:?} and {b:?}");
    let ends = |shape: &[usize], across: bool| {
        let (m, n) = (shape[shape.len() - 2], shape[shape.len() - 1]);
        if across { (n, m) } else { (m, n) }
    };
    let ((rows, inner_a), (inner_b, columns)) = (ends(a, across_a), ends(b, across_b));
    assert_eq!(inner_a, inner_b, "a product of {a:?} (transposed: {across_a}) and {b:?} (transposed: {across_b})");
    let mut shape = broadcast(&a[..a.len() - 2], &b[..b.len() - 2]);
    shape.extend([rows, columns]);
    shape
}

fn last_as_one(shape: &[usize]) -> Vec<usize> {
    let mut shape = shape.to_vec();
    *shape.last_mut().expect("a normalized tensor has an axis") = 1;
    shape
}
