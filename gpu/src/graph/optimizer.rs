//! AdamW with clipping by the global norm, as one plain graph: parameters, gradients and moments in, new ones out.
//! What changes from step to step is an input; what is fixed for a run is a constant of the graph.

use super::builder::{Builder, ElementType, Graph, Value};

use ElementType::F32;

/// Keeps the quotient finite for a zero gradient, as `torch.nn.utils.clip_grad_norm_` does.
const NORM_EPSILON: f64 = 1e-6;

/// Names of the optimizer's tensors for one parameter.
pub(crate) fn port(kind: &str, parameter: &str) -> String {
    format!("{kind}/{parameter}")
}

/// Name of the output that takes the place of an input.
pub(crate) fn next(kind: &str, parameter: &str) -> String {
    format!("next_{kind}/{parameter}")
}

pub(crate) const PARAMETER: &str = "parameter";
pub(crate) const GRADIENT: &str = "gradient";
pub(crate) const FIRST_MOMENT: &str = "first_moment";
pub(crate) const SECOND_MOMENT: &str = "second_moment";

/// What is fixed for a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamW {
    pub(crate) betas: (f64, f64),
    pub(crate) epsilon: f64,
    /// Decoupled, applied to tensors of two axes and more.
    pub(crate) weight_decay: f64,
    /// Upper bound on the norm of all gradients together; infinite for none.
    pub(crate) clip_norm: f64,
}

/// The scalar inputs of one step, numbered from 1.
pub(crate) struct StepInputs {
    pub(crate) learning_rate: f32,
    /// 1 / (1 - β₁ᵗ)
    pub(crate) first_correction: f32,
    /// 1 / √(1 - β₂ᵗ)
    pub(crate) second_correction: f32,
}

struct Scalars {
    clip: Value,
    kept_first: Value,
    new_first: Value,
    kept_second: Value,
    new_second: Value,
    epsilon: Value,
    rate: Value,
    second_correction: Value,
    decay: Value,
}

impl AdamW {
    /// Loshchilov and Hutter (2019), in PyTorch's order of operations.
    ///
    /// Inputs: `parameter/…`, `gradient/…`, `first_moment/…`, `second_moment/…` for each parameter, and the scalars of
    /// `StepInputs`. Outputs: the three states with `next_` before their names, `gradient_norm` (before clipping) and `clip_scale`.
    pub(crate) fn graph(&self, parameters: &[(String, Vec<usize>)]) -> Graph {
        let mut builder = Builder::new("adamw");
        let b = &mut builder;
        let states: Vec<[Value; 4]> = parameters
            .iter()
            .map(|(name, shape)| {
                [PARAMETER, GRADIENT, FIRST_MOMENT, SECOND_MOMENT].map(|kind| b.input(&port(kind, name), F32, shape))
            })
            .collect();
        let [learning_rate, first, second] =
            ["learning_rate", "first_correction", "second_correction"].map(|name| b.input(name, F32, &[]));
        let gradients: Vec<Value> = states.iter().map(|[_, gradient, ..]| *gradient).collect();
        let (norm, clip) = self.clipping(b, &gradients);
        let constant = |b: &mut Builder, value: f64| b.scalar(F32, value);
        let one = constant(b, 1.0);
        let weight_decay = constant(b, self.weight_decay);
        let shrink = b.mul(learning_rate, weight_decay);
        let scalars = Scalars {
            clip,
            kept_first: constant(b, self.betas.0),
            new_first: constant(b, 1.0 - self.betas.0),
            kept_second: constant(b, self.betas.1),
            new_second: constant(b, 1.0 - self.betas.1),
            epsilon: constant(b, self.epsilon),
            rate: b.mul(learning_rate, first),
            second_correction: second,
            decay: b.sub(one, shrink),
        };
        for ((name, shape), state) in parameters.iter().zip(states) {
            let decays = shape.len() > 1 && self.weight_decay != 0.0;
            let [parameter, first, second] = update(b, state, &scalars, decays);
            b.output(&next(PARAMETER, name), parameter);
            b.output(&next(FIRST_MOMENT, name), first);
            b.output(&next(SECOND_MOMENT, name), second);
        }
        b.output("gradient_norm", norm);
        b.output("clip_scale", clip);
        builder.finish()
    }

    /// The inputs of step `step`, counted from 1.
    pub(crate) fn inputs(&self, step: u64, learning_rate: f64) -> StepInputs {
        let left = |beta: f64| 1.0 - libm::pow(beta, step as f64);
        StepInputs {
            learning_rate: learning_rate as f32,
            first_correction: (1.0 / left(self.betas.0)) as f32,
            second_correction: (1.0 / libm::sqrt(left(self.betas.1))) as f32,
        }
    }

    /// The norm of all gradients together, and min(1, clip / (norm + ε)).
    fn clipping(&self, b: &mut Builder, gradients: &[Value]) -> (Value, Value) {
        let squares: Vec<Value> = gradients
            .iter()
            .map(|&gradient| {
                let axes: Vec<usize> = (0..b.rank(gradient)).collect();
                let square = b.reduce_sum_square(gradient, &axes, false);
                b.reshape(square, &[1])
            })
            .collect();
        let squares = b.concat(&squares, 0);
        let total = b.reduce_sum(squares, &[0], false);
        let norm = b.sqrt(total);
        let one = b.scalar(F32, 1.0);
        if self.clip_norm.is_infinite() {
            return (norm, one);
        }
        let [epsilon, limit] = [NORM_EPSILON, self.clip_norm].map(|value| b.scalar(F32, value));
        let safe = b.add(norm, epsilon);
        let quotient = b.div(limit, safe);
        let clip = b.min(quotient, one);
        (norm, clip)
    }
}

fn update(b: &mut Builder, state: [Value; 4], with: &Scalars, decays: bool) -> [Value; 3] {
    let [parameter, gradient, first, second] = state;
    let gradient = b.mul(gradient, with.clip);
    let kept = b.mul(first, with.kept_first);
    let new = b.mul(gradient, with.new_first);
    let first = b.add(kept, new);
    let kept = b.mul(second, with.kept_second);
    let square = b.mul(gradient, gradient);
    let new = b.mul(square, with.new_second);
    let second = b.add(kept, new);
    let root = b.sqrt(second);
    let corrected = b.mul(root, with.second_correction);
    let denominator = b.add(corrected, with.epsilon);
    let direction = b.div(first, denominator);
    let change = b.mul(direction, with.rate);
    let shrunk = if decays { b.mul(parameter, with.decay) } else { parameter };
    [b.sub(shrunk, change), first, second]
}
