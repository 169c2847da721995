//! Every gradient rule against central differences in f64. Where the runtime has no f64 kernel, the f32 gradient is
//! checked against the f64 primitive form of the same function.

use cairn_gpu::graph::{Builder, CrossEntropy, ElementType, Value, gradients};
use cairn_gpu::{CounterRng, Error, Feed, Runtime, RuntimeOptions};

use ElementType::{F32, F64};

const STEP: f64 = 1e-5;
const TOLERANCE_F64: f64 = 1e-7;
const TOLERANCE_F32: f64 = 2e-4;

type Build = fn(&mut Builder, &[Value]) -> Value;

struct Input {
    shape: &'static [usize],
    range: (f64, f64),
}

const fn free(shape: &'static [usize]) -> Input {
    Input { shape, range: (-1.5, 1.5) }
}

const fn positive(shape: &'static [usize]) -> Input {
    Input { shape, range: (0.4, 2.0) }
}

fn runtime() -> Runtime {
    Runtime::load(&RuntimeOptions { threads: 1, ..RuntimeOptions::default() }).expect("the library is installed")
}

fn draw(rng: &mut CounterRng, input: &Input) -> Vec<f64> {
    let (low, high) = input.range;
    // Multiples of 2^-12, which f32 and f64 represent alike.
    let count = input.shape.iter().product::<usize>();
    (0..count).map(|_| ((low + (high - low) * rng.next_f64()) * 4096.0).round() / 4096.0).collect()
}

/// Σ weight · f(inputs), run in f64.
struct Forward {
    session: cairn_gpu::Session,
    names: Vec<String>,
}

impl Forward {
    fn new(runtime: &Runtime, inputs: &[Input], build: Build, weights: &[f64]) -> Self {
        let mut b = Builder::new("forward");
        let names: Vec<String> = (0..inputs.len()).map(|slot| format!("x{slot}")).collect();
        let values: Vec<Value> =
            names.iter().zip(inputs).map(|(name, input)| b.input(name, F64, input.shape)).collect();
        let y = build(&mut b, &values);
        let shape = b.shape(y).to_vec();
        let weights = b.constant_f64(weights, &shape);
        let weighted = b.mul(y, weights);
        let axes: Vec<usize> = (0..shape.len()).collect();
        let sum = if axes.is_empty() { weighted } else { b.reduce_sum(weighted, &axes, false) };
        b.output("sum", sum);
        Self { session: runtime.session(&b.finish()).expect("forward graph"), names }
    }

    fn run(&mut self, data: &[Vec<f64>]) -> f64 {
        let inputs: Vec<(&str, Feed<'_>)> =
            self.names.iter().zip(data).map(|(name, data)| (name.as_str(), Feed::F64(data))).collect();
        self.session.run(&inputs).expect("forward run").take_f64("sum").expect("sum")[0]
    }
}

fn output_elements(inputs: &[Input], build: Build) -> usize {
    let mut b = Builder::new("shape");
    let values: Vec<Value> =
        inputs.iter().enumerate().map(|(slot, input)| b.input(&format!("x{slot}"), F64, input.shape)).collect();
    let y = build(&mut b, &values);
    b.shape(y).iter().product()
}

/// The gradient of every input by the rules, computed in `element`.
fn analytic(
    runtime: &Runtime,
    inputs: &[Input],
    build: Build,
    weights: &[f64],
    data: &[Vec<f64>],
    element: ElementType,
) -> Vec<Vec<f64>> {
    let mut b = Builder::new("gradient");
    let names: Vec<String> = (0..inputs.len()).map(|slot| format!("x{slot}")).collect();
    let values: Vec<Value> =
        names.iter().zip(inputs).map(|(name, input)| b.input(name, element, input.shape)).collect();
    let y = build(&mut b, &values);
    let shape = b.shape(y).to_vec();
    let seed = b.constant_f64(weights, &shape);
    let seed = b.cast(seed, b.element(y));
    let results = gradients(&mut b, &[(y, seed)], &values).expect("every operator here has a rule");
    for (name, result) in names.iter().zip(results) {
        let result = b.cast(result, F64);
        b.output(&format!("d{name}"), result);
    }
    let mut session = runtime.session(&b.finish()).expect("gradient graph");
    let narrow: Vec<Vec<f32>> = data.iter().map(|data| data.iter().map(|&x| x as f32).collect()).collect();
    let feeds: Vec<(&str, Feed<'_>)> = names
        .iter()
        .enumerate()
        .map(|(slot, name)| match element {
            F32 => (name.as_str(), Feed::F32(&narrow[slot])),
            _ => (name.as_str(), Feed::F64(&data[slot])),
        })
        .collect();
    let mut outputs = session.run(&feeds).expect("gradient run");
    names.iter().map(|name| outputs.take_f64(&format!("d{name}")).expect("gradient")).collect()
}

fn compare(name: &str, numeric: &[Vec<f64>], analytic: &[Vec<f64>], tolerance: f64) {
    for (slot, (numeric, analytic)) in numeric.iter().zip(analytic).enumerate() {
        let scale = numeric.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
        for (at, (n, a)) in numeric.iter().zip(analytic).enumerate() {
            assert!(
                (n - a).abs() <= tolerance * scale,
                "{name}: input {slot}, element {at}: differences give {n}, the rule {a}"
            );
        }
    }
    assert!(numeric.iter().flatten().any(|&x| x != 0.0), "{name}: no gradient at all, so this compares nothing");
}

fn differences(data: &[Vec<f64>], mut forward: impl FnMut(&[Vec<f64>]) -> f64) -> Vec<Vec<f64>> {
    let mut moved = data.to_vec();
    let mut results = Vec::new();
    for slot in 0..data.len() {
        let mut slopes = Vec::new();
        for at in 0..data[slot].len() {
            moved[slot][at] = data[slot][at] + STEP;
            let above = forward(&moved);
            moved[slot][at] = data[slot][at] - STEP;
            let below = forward(&moved);
            moved[slot][at] = data[slot][at];
            slopes.push((above - below) / (2.0 * STEP));
        }
        results.push(slopes);
    }
    results
}

fn check(name: &str, elements: &[ElementType], inputs: &[Input], build: Build) {
    let runtime = runtime();
    let mut rng = CounterRng::new(11, name.bytes().map(u64::from).sum());
    let data: Vec<Vec<f64>> = inputs.iter().map(|input| draw(&mut rng, input)).collect();
    let weights =
        draw(&mut rng, &Input { shape: Box::leak(Box::new([output_elements(inputs, build)])), range: (-1.0, 1.0) });
    let mut forward = Forward::new(&runtime, inputs, build, &weights);
    let numeric = differences(&data, |data| forward.run(data));
    for &element in elements {
        let results = analytic(&runtime, inputs, build, &weights, &data, element);
        let tolerance = if element == F64 { TOLERANCE_F64 } else { TOLERANCE_F32 };
        compare(&format!("{name} in {element:?}"), &numeric, &results, tolerance);
    }
}

/// For functions without any f64 form in the runtime: `f` is their definition.
fn check_against(name: &str, inputs: &[Input], build: Build, f: fn(f64) -> f64) {
    let mut rng = CounterRng::new(12, 0);
    let data: Vec<Vec<f64>> = inputs.iter().map(|input| draw(&mut rng, input)).collect();
    let weights = draw(&mut rng, &Input { shape: inputs[0].shape, range: (-1.0, 1.0) });
    let numeric = differences(&data, |data| data[0].iter().zip(&weights).map(|(&x, w)| f(x) * w).sum());
    let results = analytic(&runtime(), inputs, build, &weights, &data, F32);
    compare(name, &numeric, &results, TOLERANCE_F32);
}

const BOTH: &[ElementType] = &[F64, F32];
const NARROW: &[ElementType] = &[F32];

#[test]
fn functions_of_one_tensor() {
    let cases: [(&str, Input, Build); 13] = [
        ("neg", free(&[3, 2]), |b, x| b.neg(x[0])),
        ("exp", free(&[3, 2]), |b, x| b.exp(x[0])),
        ("log", positive(&[3, 2]), |b, x| b.log(x[0])),
        ("sqrt", positive(&[3, 2]), |b, x| b.sqrt(x[0])),
        ("reciprocal", positive(&[3, 2]), |b, x| b.reciprocal(x[0])),
        ("tanh", free(&[3, 2]), |b, x| b.tanh(x[0])),
        ("sigmoid", free(&[3, 2]), |b, x| b.sigmoid(x[0])),
        ("abs", free(&[3, 2]), |b, x| b.abs(x[0])),
        ("sin", free(&[3, 2]), |b, x| b.sin(x[0])),
        ("cos", free(&[3, 2]), |b, x| b.cos(x[0])),
        ("relu", free(&[3, 2]), |b, x| b.relu(x[0])),
        ("identity", free(&[3, 2]), |b, x| b.identity(x[0])),
        ("silu", free(&[3, 2]), |b, x| b.silu(x[0])),
    ];
    for (name, input, build) in cases {
        check(name, BOTH, &[input], build);
    }
    check("cast", BOTH, &[free(&[3, 2])], |b, x| {
        let wide = b.cast(x[0], F64);
        b.mul(wide, wide)
    });
}

#[test]
fn functions_by_their_definition() {
    check_against("softplus", &[free(&[7])], |b, x| b.softplus(x[0]), |x| x.exp().ln_1p());
    check_against("erf", &[free(&[7])], |b, x| b.erf(x[0]), libm::erf);
    let gelu = |x: f64| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2));
    check_against("gelu", &[free(&[7])], |b, x| b.gelu(x[0], false), gelu);
    let approximate =
        |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
    check_against("gelu by tanh", &[free(&[7])], |b, x| b.gelu(x[0], true), approximate);
}

#[test]
fn functions_of_two_tensors_that_broadcast() {
    let cases: [(&str, Build); 7] = [
        ("add", |b, x| b.add(x[0], x[1])),
        ("sub", |b, x| b.sub(x[0], x[1])),
        ("mul", |b, x| b.mul(x[0], x[1])),
        ("div", |b, x| b.div(x[0], x[1])),
        ("pow", |b, x| b.pow(x[0], x[1])),
        ("min", |b, x| b.min(x[0], x[1])),
        ("max", |b, x| b.max(x[0], x[1])),
    ];
    for (name, build) in cases {
        check(name, BOTH, &[positive(&[2, 3]), positive(&[2, 3])], build);
        check(name, BOTH, &[positive(&[2, 3]), positive(&[3])], build);
        check(name, BOTH, &[positive(&[2, 1, 3]), positive(&[4, 1])], build);
        check(name, BOTH, &[positive(&[]), positive(&[2, 2])], build);
    }
}

#[test]
fn products() {
    let matmul: Build = |b, x| b.matmul(x[0], x[1]);
    check("matmul", BOTH, &[free(&[2, 3]), free(&[3, 4])], matmul);
    check("matmul, batch by matrix", BOTH, &[free(&[2, 2, 3]), free(&[3, 4])], matmul);
    check("matmul, batch by batch", BOTH, &[free(&[2, 2, 3]), free(&[2, 3, 2])], matmul);
    check("matmul, one by batch", BOTH, &[free(&[1, 2, 3]), free(&[2, 3, 2])], matmul);
    check("matmul, matrix by batch", BOTH, &[free(&[2, 3]), free(&[2, 3, 2])], matmul);
    let fused: [(Build, [Input; 2]); 4] = [
        (|b, x| b.fused_matmul(x[0], x[1], (false, false), 0.5), [free(&[2, 2, 3]), free(&[2, 3, 2])]),
        (|b, x| b.fused_matmul(x[0], x[1], (true, false), 0.5), [free(&[2, 3, 2]), free(&[2, 3, 2])]),
        (|b, x| b.fused_matmul(x[0], x[1], (false, true), 0.5), [free(&[2, 2, 3]), free(&[2, 2, 3])]),
        (|b, x| b.fused_matmul(x[0], x[1], (true, true), 0.5), [free(&[2, 3, 2]), free(&[2, 2, 3])]),
    ];
    for (build, inputs) in fused {
        check("fused matmul", BOTH, &inputs, build);
    }
    let gemm: [(Build, [Input; 3]); 4] = [
        (|b, x| b.gemm(x[0], x[1], Some(x[2]), (false, false)), [free(&[2, 3]), free(&[3, 4]), free(&[4])]),
        (|b, x| b.gemm(x[0], x[1], Some(x[2]), (true, false)), [free(&[3, 2]), free(&[3, 4]), free(&[2, 1])]),
        (|b, x| b.gemm(x[0], x[1], Some(x[2]), (false, true)), [free(&[2, 3]), free(&[4, 3]), free(&[1, 4])]),
        (|b, x| b.gemm(x[0], x[1], Some(x[2]), (true, true)), [free(&[3, 2]), free(&[4, 3]), free(&[2, 4])]),
    ];
    for (build, inputs) in gemm {
        check("gemm", BOTH, &inputs, build);
    }
}

#[test]
fn reductions() {
    let cases: [(&str, Build); 8] = [
        ("reduce_sum", |b, x| b.reduce_sum(x[0], &[1], true)),
        ("reduce_sum of all", |b, x| b.reduce_sum(x[0], &[0, 1, 2], false)),
        ("reduce_mean", |b, x| b.reduce_mean(x[0], &[0, 2], false)),
        ("reduce_sum_square", |b, x| b.reduce_sum_square(x[0], &[2], false)),
        ("reduce_max", |b, x| b.reduce_max(x[0], &[2], true)),
        ("softmax", |b, x| b.softmax(x[0], 2)),
        ("softmax, middle", |b, x| b.softmax(x[0], 1)),
        ("log_softmax", |b, x| b.log_softmax(x[0], 2)),
    ];
    for (name, build) in cases {
        check(name, BOTH, &[free(&[2, 3, 4])], build);
    }
    check("reduce_l2", BOTH, &[free(&[2, 3])], |b, x| b.reduce_l2(x[0], &[1], false));
}

#[test]
fn norms_and_rotation() {
    check("rms_norm", BOTH, &[free(&[3, 4]), free(&[4])], |b, x| b.rms_norm(x[0], x[1], 1e-5).0);
    check("layer_norm", BOTH, &[free(&[3, 4]), free(&[4]), free(&[4])], |b, x| b.layer_norm(x[0], x[1], x[2], 1e-5).0);
    fn rotated(b: &mut Builder, x: Value) -> Value {
        let angles = [0.0_f64, 0.0, 1.0, 0.1, 2.0, 0.2];
        let [cosines, sines] = [f64::cos, f64::sin].map(|f| {
            let table: Vec<f64> = angles.iter().map(|&angle| f(angle)).collect();
            let table = b.constant_f64(&table, &[3, 2]);
            b.cast(table, b.element(x))
        });
        let positions = b.constant_i64(&[0, 1, 2, 2, 0, 1], &[2, 3]);
        b.rotary(x, positions, cosines, sines)
    }
    check("rotary, flat heads", BOTH, &[free(&[2, 3, 8])], |b, x| rotated(b, x[0]));
    check("rotary, split heads", BOTH, &[free(&[2, 2, 3, 4])], |b, x| rotated(b, x[0]));
}

#[test]
fn shapes() {
    let cases: [(&str, Build); 10] = [
        ("reshape", |b, x| b.reshape(x[0], &[4, 6])),
        ("transpose", |b, x| b.transpose(x[0], &[2, 0, 1])),
        ("unsqueeze", |b, x| b.unsqueeze(x[0], &[0, 2])),
        ("slice, start", |b, x| b.slice(x[0], 2, 0, 3)),
        ("slice, middle", |b, x| b.slice(x[0], 1, 1, 2)),
        ("slice, end", |b, x| b.slice(x[0], 2, 2, 4)),
        ("split", |b, x| {
            let parts = b.split(x[0], 2, &[1, 2, 1]);
            let wide = b.mul(parts[0], parts[2]);
            b.add(wide, parts[2])
        }),
        ("where", |b, x| {
            let chosen = b.constant_bool(&[true, false, true], &[3, 1]);
            let other = b.neg(x[0]);
            b.select(chosen, x[0], other)
        }),
        ("clip", |b, x| {
            let [low, high] = [-0.5, 0.7].map(|bound| b.scalar_like(x[0], bound));
            b.clip(x[0], low, high)
        }),
        ("squeeze", |b, x| {
            let wide = b.reshape(x[0], &[2, 1, 12, 1]);
            b.squeeze(wide, &[1, 3])
        }),
    ];
    for (name, build) in cases {
        check(name, BOTH, &[free(&[2, 3, 4])], build);
    }
    check("expand", BOTH, &[free(&[3, 1])], |b, x| b.expand(x[0], &[2, 3, 4]));
    check("concat", BOTH, &[free(&[2, 3]), free(&[2, 1]), free(&[2, 2])], |b, x| b.concat(x, 1));
}

#[test]
fn lookups() {
    check("gather", BOTH, &[free(&[4, 3])], |b, x| {
        let rows = b.constant_i64(&[1, 3, 1, 1, 0, 2], &[2, 3]);
        b.gather(x[0], rows, 0)
    });
    check("gather, axis 1", BOTH, &[free(&[2, 3, 2])], |b, x| {
        let columns = b.constant_i64(&[2, 2, 0, 1], &[4]);
        b.gather(x[0], columns, 1)
    });
    check("gather_elements", BOTH, &[free(&[3, 4])], |b, x| {
        let columns = b.constant_i64(&[0, 0, 3, 1, 2, 2], &[3, 2]);
        b.gather_elements(x[0], columns, 1)
    });
    check("scatter_add", BOTH, &[free(&[3, 4]), free(&[3, 2])], |b, x| {
        let columns = b.constant_i64(&[0, 0, 3, 1, 2, 2], &[3, 2]);
        b.scatter_add(x[0], columns, x[1], 1)
    });
}

#[test]
fn a_value_used_more_than_once_collects_every_term() {
    check("fan-out", BOTH, &[free(&[3, 2])], |b, x| {
        let a = b.sigmoid(x[0]);
        let a = b.mul(a, x[0]);
        let c = b.exp(a);
        let both = b.add(a, c);
        b.mul(both, x[0])
    });
    check("attention", NARROW, &[free(&[1, 2, 3, 4]), free(&[1, 2, 3, 4]), free(&[1, 2, 3, 4])], |b, x| {
        let scores = b.fused_matmul(x[0], x[1], (false, true), 0.5);
        let shares = b.softmax(scores, 3);
        b.matmul(shares, x[2])
    });
}

/// The hand-written gradient of cross-entropy, with ignored rows, against differences and against the rules.
#[test]
fn cross_entropy() {
    fn per_row(b: &mut Builder, x: &[Value]) -> Value {
        let targets = b.constant_i64(&[2, -100, 0, 4], &[4]);
        CrossEntropy::new(b, x[0], targets).per_row
    }
    check("cross-entropy", BOTH, &[free(&[4, 5])], per_row);
    let runtime = runtime();
    let data = draw(&mut CounterRng::new(5, 5), &free(&[4, 5]));
    let mut b = Builder::new("by_hand");
    let x = b.input("x", F64, &[4, 5]);
    let targets = b.constant_i64(&[2, -100, 0, 4], &[4]);
    let loss = CrossEntropy::new(&mut b, x, targets);
    let weight = b.scalar(F64, 0.3);
    let by_hand = loss.gradient(&mut b, weight);
    let seed = b.filled(F64, 0.3, &[4]);
    let by_rule = gradients(&mut b, &[(loss.per_row, seed)], &[x]).expect("rules")[0];
    b.output("by_hand", by_hand);
    b.output("by_rule", by_rule);
    let mut outputs = runtime.session(&b.finish()).unwrap().run(&[("x", Feed::F64(&data))]).unwrap();
    let [by_hand, by_rule] = ["by_hand", "by_rule"].map(|name| outputs.take_f64(name).unwrap());
    compare("by hand", &[by_rule], std::slice::from_ref(&by_hand), 1e-12);
    assert!(by_hand[5..10].iter().all(|&x| x == 0.0), "an ignored row has a gradient");
}

#[test]
fn what_has_no_rule_is_refused_by_name() {
    fn refused(build: Build, input: &'static [usize]) -> String {
        let mut b = Builder::new("refused");
        let x = b.input("x", F32, input);
        let y = build(&mut b, &[x]);
        let shape = b.shape(y).to_vec();
        let seed = b.filled(F32, 1.0, &shape);
        match gradients(&mut b, &[(y, seed)], &[x]) {
            Err(error @ Error::NoGradient { .. }) => error.to_string(),
            other => panic!("expected a refusal, got {other:?}"),
        }
    }
    let message = refused(|b, x| b.sign(x[0]), &[2]);
    assert!(message.contains("`Sign`") && message.contains("Sign.0"), "{message}");
    let statistic = refused(
        |b, x| {
            let scale = b.constant_f32(&[1.0, 1.0], &[2]);
            b.rms_norm(x[0], scale, 1e-5).1
        },
        &[3, 2],
    );
    assert!(statistic.contains("SimplifiedLayerNormalization (through a saved statistic)"), "{statistic}");
    let bounds = refused(
        |b, x| {
            let fixed = b.scalar(F32, 0.5);
            b.clip(fixed, x[0], fixed)
        },
        &[],
    );
    assert!(bounds.contains("Clip (with respect to its bounds)"), "{bounds}");
}

#[test]
fn a_parameter_that_the_loss_does_not_see_gets_zeros() {
    let mut b = Builder::new("unused");
    let x = b.input("x", F32, &[2]);
    let unused = b.input("unused", F32, &[3]);
    let seed = b.filled(F32, 1.0, &[2]);
    let results = gradients(&mut b, &[(x, seed)], &[x, unused]).unwrap();
    b.output("dx", results[0]);
    b.output("du", results[1]);
    let mut session = runtime().session(&b.finish()).unwrap();
    let mut outputs = session.run(&[("x", Feed::F32(&[1.0, 2.0])), ("unused", Feed::F32(&[0.0; 3]))]).unwrap();
    assert_eq!(outputs.take_f32("dx").unwrap(), [1.0, 1.0]);
    assert_eq!(outputs.take_f32("du").unwrap(), [0.0; 3]);
}
