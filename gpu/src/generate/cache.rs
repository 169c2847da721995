//! Keys and values of the rows being generated, in the layout that the token graph reads without a copy.
//! Slots are contiguous from 0, so a batch of n rows is the first n slots. Bytes past a row's length are stale or
//! zero, always finite, and masked by the graph.

/// What one slot of one layer holds, for all layers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Shape {
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) head_width: usize,
}

impl Shape {
    fn floats_per_position(self) -> usize {
        self.heads * self.head_width
    }
}

/// Per layer: keys [slots, heads, head width, capacity], values [slots, heads, capacity, head width].
#[derive(Debug)]
pub(super) struct Cache {
    shape: Shape,
    slots: usize,
    capacity: usize,
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

impl Cache {
    pub(super) fn new(shape: Shape) -> Self {
        let empty = vec![Vec::new(); shape.layers];
        Self { shape, slots: 0, capacity: 0, keys: empty.clone(), values: empty }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Keys of the first `slots` slots of a layer.
    pub(super) fn keys(&self, layer: usize, slots: usize) -> &[f32] {
        &self.keys[layer][..slots * self.slot_floats()]
    }

    /// Values of the first `slots` slots of a layer.
    pub(super) fn values(&self, layer: usize, slots: usize) -> &[f32] {
        &self.values[layer][..slots * self.slot_floats()]
    }

    /// Makes room for `slots` slots of `capacity` positions, keeping the first `lengths[slot]` of each.
    pub(super) fn resize(&mut self, slots: usize, capacity: usize, lengths: &[usize]) {
        assert!(lengths.len() <= slots && lengths.iter().all(|&length| length <= capacity), "the rows must fit");
        if (slots, capacity) == (self.slots, self.capacity) {
            return;
        }
        let (old, size, outer) = (self.capacity, self.shape.head_width, self.shape.heads);
        for layer in 0..self.shape.layers {
            let mut keys = vec![0.0; slots * self.shape.floats_per_position() * capacity];
            let mut values = keys.clone();
            for (slot, &length) in lengths.iter().enumerate() {
                for line in slot * outer * size..(slot + 1) * outer * size {
                    keys[line * capacity..][..length].copy_from_slice(&self.keys[layer][line * old..][..length]);
                }
                for head in slot * outer..(slot + 1) * outer {
                    let from = &self.values[layer][head * old * size..][..length * size];
                    values[head * capacity * size..][..length * size].copy_from_slice(from);
                }
            }
            (self.keys[layer], self.values[layer]) = (keys, values);
        }
        (self.slots, self.capacity) = (slots, capacity);
    }

    /// Puts `count` positions from `start` on into a slot. `keys` and `values` are [heads, stride, head width], of
    /// which the first `count` positions are taken.
    pub(super) fn store(
        &mut self,
        layer: usize,
        slot: usize,
        (start, count): (usize, usize),
        stride: usize,
        (keys, values): (&[f32], &[f32]),
    ) {
        assert!(slot < self.slots && start + count <= self.capacity && count <= stride, "room was made before");
        let size = self.shape.head_width;
        for head in 0..self.shape.heads {
            let at = slot * self.shape.heads + head;
            let from = head * stride * size..(head * stride + count) * size;
            let values_at = (at * self.capacity + start) * size;
            self.values[layer][values_at..values_at + count * size].copy_from_slice(&values[from.clone()]);
            let keys_of_head = &mut self.keys[layer][at * size * self.capacity..][..size * self.capacity];
            for (position, key) in keys[from].chunks_exact(size).enumerate() {
                for (line, &number) in keys_of_head.chunks_exact_mut(self.capacity).zip(key) {
                    line[start + position] = number;
                }
            }
        }
    }

    /// Moves slot `from` over slot `to`.
    pub(super) fn move_slot(&mut self, from: usize, to: usize) {
        let floats = self.slot_floats();
        for tensor in self.keys.iter_mut().chain(&mut self.values) {
            tensor.copy_within(from * floats..(from + 1) * floats, to * floats);
        }
    }

    fn slot_floats(&self) -> usize {
        self.shape.floats_per_position() * self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { layers: 2, heads: 3, head_width: 4 };

    /// A number that names its place.
    fn number(layer: usize, row: usize, head: usize, position: usize, at: usize) -> f32 {
        ((((layer * 10 + row) * 10 + head) * 100 + position) * 10 + at) as f32
    }

    /// [heads, stride, head width] of a row, positions from `start` on.
    fn own(layer: usize, row: usize, start: usize, stride: usize) -> Vec<f32> {
        let mut numbers = Vec::new();
        for head in 0..SHAPE.heads {
            for position in start..start + stride {
                numbers.extend((0..SHAPE.head_width).map(|at| number(layer, row, head, position, at)));
            }
        }
        numbers
    }

    fn store(cache: &mut Cache, slot: usize, row: usize, start: usize, count: usize, stride: usize) {
        for layer in 0..SHAPE.layers {
            let keys = own(layer, row, start, stride);
            let values: Vec<f32> = keys.iter().map(|number| -number).collect();
            cache.store(layer, slot, (start, count), stride, (&keys, &values));
        }
    }

    fn assert_holds(cache: &Cache, slot: usize, row: usize, length: usize) {
        let capacity = cache.capacity();
        for layer in 0..SHAPE.layers {
            let (keys, values) = (cache.keys(layer, slot + 1), cache.values(layer, slot + 1));
            for head in 0..SHAPE.heads {
                for position in 0..length {
                    for at in 0..SHAPE.head_width {
                        let expected = number(layer, row, head, position, at);
                        let block = slot * SHAPE.heads + head;
                        assert_eq!(keys[(block * SHAPE.head_width + at) * capacity + position], expected);
                        assert_eq!(values[(block * capacity + position) * SHAPE.head_width + at], -expected);
                    }
                }
            }
        }
    }

    #[test]
    fn rows_survive_growing_shrinking_and_moving() {
        let mut cache = Cache::new(SHAPE);
        cache.resize(2, 8, &[]);
        store(&mut cache, 0, 5, 0, 6, 8);
        store(&mut cache, 1, 6, 0, 3, 8);
        store(&mut cache, 1, 6, 3, 1, 1);
        assert_holds(&cache, 0, 5, 6);
        assert_holds(&cache, 1, 6, 4);
        cache.resize(4, 16, &[6, 4]);
        assert_holds(&cache, 0, 5, 6);
        assert_holds(&cache, 1, 6, 4);
        store(&mut cache, 2, 7, 0, 9, 12);
        cache.move_slot(2, 0);
        assert_holds(&cache, 0, 7, 9);
        assert_holds(&cache, 1, 6, 4);
        cache.resize(2, 10, &[9, 4]);
        assert_holds(&cache, 0, 7, 9);
        assert_holds(&cache, 1, 6, 4);
        assert_eq!(cache.keys(1, 2).len(), 2 * 3 * 4 * 10);
    }
}
