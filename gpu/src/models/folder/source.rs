//! A folder as the inference engine reads it: a tensor at a time, or not at all where it can be used as it lies.

use std::borrow::Cow;
use std::path::PathBuf;

use safetensors::tensor::Dtype;

use super::load::Parts;
use super::{Located, ModelFolder, Stored};
use crate::Error;
use crate::engine::WeightSource;

impl ModelFolder {
    /// Reads every number once and refuses one that is not finite, keeping none.
    pub(crate) fn check_numbers(&self) -> Result<(), Error> {
        self.tensors
            .iter()
            .try_for_each(|(stored, name, located)| self.shards.read(name, located, stored.columns(), |_| ()))
    }

    /// The stored tensor that a parameter is in, and which part of it that is.
    fn holding(&self, name: &str) -> Result<(&Stored, &str, &Located, usize), Error> {
        let found = self.tensors.iter().find_map(|(stored, stored_name, located)| {
            let part = stored.parts.iter().position(|part| part.name == name)?;
            Some((stored, stored_name.as_str(), located, part))
        });
        found.ok_or_else(|| Error::Tensor { name: name.to_owned(), problem: "missing; the model needs it".to_owned() })
    }
}

impl WeightSource for ModelFolder {
    fn shape(&self, name: &str) -> Result<Vec<usize>, Error> {
        let (stored, _, _, part) = self.holding(name)?;
        Ok(stored.parts[part].shape.clone())
    }

    fn read(&self, name: &str) -> Result<Cow<'_, [f32]>, Error> {
        let (stored, stored_name, located, part) = self.holding(name)?;
        let mut parts = Parts::new(stored);
        self.shards.read(stored_name, located, stored.columns(), |rows| parts.take(rows))?;
        let (_, tensor) = parts.finish().nth(part).expect("found above");
        Ok(Cow::Owned(tensor.data))
    }

    fn in_file(&self, name: &str) -> Option<(PathBuf, u64)> {
        let (stored, _, located, _) = self.holding(name).ok()?;
        let whole = matches!(stored.parts.as_slice(), [part] if !part.transposed);
        (whole && located.dtype == Dtype::F32).then(|| self.shards.place(located))
    }
}
