//! Losses, with their gradients written by hand where that saves passes over vocabulary-sized tensors.

use super::builder::{Builder, Value};

/// Cross-entropy of each row of `logits` [n, classes] with its target, by LogSoftmax (the logarithm of a Softmax
/// underflows). Rows whose target is negative are ignored.
pub struct CrossEntropy {
    /// `[n]`: -log p(target) in nats, 0 where ignored.
    pub per_row: Value,
    log_shares: Value,
    /// i64 [n, 1], 0 where ignored.
    index: Value,
    /// bool [n, 1].
    counted: Value,
}

impl CrossEntropy {
    /// `targets`: i64 `[n]`.
    pub fn new(b: &mut Builder, logits: Value, targets: Value) -> Self {
        let rows = b.shape(logits)[0];
        let zero = b.constant_i64(&[0], &[]);
        let targets = b.reshape(targets, &[rows, 1]);
        let ignored = b.less(targets, zero);
        let counted = b.not(ignored);
        let index = b.max(targets, zero);
        let log_shares = b.log_softmax(logits, 1);
        let chosen = b.gather_elements(log_shares, index, 1);
        let surprise = b.neg(chosen);
        let none = b.scalar_like(surprise, 0.0);
        let surprise = b.select(counted, surprise, none);
        let per_row = b.reshape(surprise, &[rows]);
        Self { per_row, log_shares, index, counted }
    }

    /// The gradient of `weight · sum(per_row)` for the logits: (softmax - one at the target) · weight, 0 where ignored.
    /// `weight` is a scalar.
    pub fn gradient(&self, b: &mut Builder, weight: Value) -> Value {
        let rows = b.shape(self.log_shares)[0];
        let shares = b.exp(self.log_shares);
        let minus_one = b.filled(b.element(shares), -1.0, &[rows, 1]);
        let difference = b.scatter_add(shares, self.index, minus_one, 1);
        let none = b.scalar_like(weight, 0.0);
        let weights = b.select(self.counted, weight, none);
        b.mul(difference, weights)
    }
}
