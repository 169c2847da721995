//! From the files of a folder to named f32 tensors, a piece at a time: the numbers are in memory once.

use super::{ModelFolder, Stored};
use crate::models::ModelConfig;
use crate::{Error, Tensor, Weights};

impl ModelFolder {
    /// Reads every weight as f32 under its own name, [out, in]. At its peak this holds the weights themselves and a
    /// piece of a few MiB. A number that is not finite is refused with its tensor and place.
    pub fn weights(&self) -> Result<Weights, Error> {
        let mut weights = Weights::default();
        for (stored, name, located) in &self.tensors {
            let mut parts = Parts::new(stored);
            self.shards.read(name, located, stored.columns(), |rows| parts.take(rows))?;
            weights.extend(parts.finish());
        }
        Ok(weights)
    }

    /// Bytes that the weights take once read.
    pub fn loaded_bytes(&self) -> u64 {
        4 * self.config.parameters()
    }
}

impl Weights {
    /// Exactly the tensors of `config`, in its shapes, all of them finite.
    pub fn check_model(&self, config: &ModelConfig) -> Result<(), Error> {
        self.check_shapes(config.parameter_shapes())
    }
}

/// The parameters of one stored tensor, filled row by row.
pub(super) struct Parts<'a> {
    stored: &'a Stored,
    tensors: Vec<Tensor>,
    row: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(stored: &'a Stored) -> Self {
        let tensors = stored.parts.iter().map(|part| {
            let count = part.shape.iter().product();
            let data = if part.transposed { vec![0.0; count] } else { Vec::with_capacity(count) };
            Tensor { shape: part.shape.clone(), data }
        });
        Self { stored, tensors: tensors.collect(), row: 0 }
    }

    pub(super) fn take(&mut self, rows: &[f32]) {
        let (columns, all_rows) = (self.stored.columns(), self.stored.rows());
        for (part, tensor) in self.stored.parts.iter().zip(&mut self.tensors) {
            if !part.transposed && part.columns == (0..columns) {
                tensor.data.extend_from_slice(rows);
                continue;
            }
            for (index, row) in rows.chunks_exact(columns).enumerate() {
                let own = &row[part.columns.clone()];
                match part.transposed {
                    false => tensor.data.extend_from_slice(own),
                    true => {
                        let places = tensor.data[self.row + index..].iter_mut().step_by(all_rows);
                        places.zip(own).for_each(|(place, &number)| *place = number);
                    }
                }
            }
        }
        self.row += rows.len() / columns;
    }

    pub(super) fn finish(self) -> impl Iterator<Item = (String, Tensor)> {
        self.stored.parts.iter().map(|part| part.name.clone()).zip(self.tensors)
    }
}
