//! A typed graph under construction: every value has an element type and a fixed shape, checked as nodes are added.
//! A wrong shape is a mistake of the graph's author, so it panics here and never reaches the runtime.

use std::collections::HashMap;

use prost::Message;

use super::onnx::{
    AttributeProto, DimensionProto, EXTERNAL, GraphProto, IR_VERSION, MICROSOFT, ModelProto, NodeProto, OPSET_VERSION,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto, attribute_type,
};

/// Stands for the first open extent; no tensor is that long.
const FIRST_STAND_IN: usize = 1_000_000_007;

/// The types of elements that graphs here are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    F32,
    F64,
    I64,
    Bool,
    F16,
    I32,
    U8,
}

impl ElementType {
    /// `TensorProto.DataType`.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F16 => 10,
            Self::F64 => 11,
        }
    }

    /// Bytes of one element.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

/// A tensor in a graph under construction. Only its own builder understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);

impl Value {
    /// An optional input that is not given.
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A named input or output of a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub element: ElementType,
    pub shape: Vec<usize>,
}

impl Port {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A finished graph: an encoded `ModelProto` and what it expects and gives.
#[derive(Clone, Debug)]
pub struct Graph {
    name: String,
    bytes: Vec<u8>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Graph {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The encoded ONNX `ModelProto`. The same construction always gives the same bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// BLAKE3 of the bytes, hex.
    pub fn digest(&self) -> String {
        blake3::hash(&self.bytes).to_hex().to_string()
    }

    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attribute {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
    Text(&'static str),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) operator: &'static str,
    pub(crate) domain: &'static str,
    pub(crate) inputs: Vec<Value>,
    pub(crate) outputs: Vec<Value>,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
}

impl Node {
    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        self.attributes.iter().find_map(|(key, value)| match value {
            Attribute::Int(value) if *key == name => Some(*value),
            _ => None,
        })
    }

    pub(crate) fn float(&self, name: &str) -> Option<f32> {
        self.attributes.iter().find_map(|(key, value)| match value {
            Attribute::Float(value) if *key == name => Some(*value),
            _ => None,
        })
    }

    pub(crate) fn ints(&self, name: &str) -> Option<&[i64]> {
        self.attributes.iter().find_map(|(key, value)| match value {
            Attribute::Ints(value) if *key == name => Some(value.as_slice()),
            _ => None,
        })
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'static str> {
        self.attributes.iter().find_map(|(key, value)| match value {
            Attribute::Text(value) if *key == name => Some(*value),
            _ => None,
        })
    }
}

struct Constant {
    value: Value,
    data: Data,
}

enum Data {
    Inline(Vec<u8>),
    /// Bytes from `offset` on of the file `location`, relative to the folder that the session is given.
    External {
        location: String,
        offset: u64,
    },
}

/// Adds nodes in the order in which they run. The operators are in `operators.rs`.
pub struct Builder {
    name: String,
    values: Vec<Port>,
    nodes: Vec<Node>,
    inputs: Vec<Value>,
    outputs: Vec<(String, Value)>,
    constants: Vec<Constant>,
    constant_index: HashMap<(ElementType, Vec<usize>, Vec<u8>), Value>,
    int_constants: HashMap<Value, Vec<i64>>,
    open_extents: HashMap<usize, &'static str>,
    written_first: Option<Value>,
}

impl Builder {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            values: Vec::new(),
            nodes: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            constants: Vec::new(),
            constant_index: HashMap::new(),
            int_constants: HashMap::new(),
            open_extents: HashMap::new(),
            written_first: None,
        }
    }

    /// Writes the node of `value` before all others, out of the order of evaluation: the runtime packs constants in the
    /// order in which nodes are written, and the largest is best packed while the others have not been read yet. The
    /// runtime sorts nodes itself; other readers of ONNX need not.
    pub(crate) fn write_first(&mut self, value: Value) {
        self.written_first = Some(value);
    }

    /// An extent that is known only when the graph runs. The number given back stands for it in shapes.
    pub fn open_extent(&mut self, name: &'static str) -> usize {
        let stand_in = FIRST_STAND_IN + self.open_extents.len();
        self.open_extents.insert(stand_in, name);
        stand_in
    }

    /// Declares an input. Names are the caller's and must differ.
    pub fn input(&mut self, name: &str, element: ElementType, shape: &[usize]) -> Value {
        assert!(self.inputs.iter().all(|&value| self.port(value).name != name), "input `{name}` declared twice");
        let value = self.declare(name.to_owned(), element, shape.to_vec());
        self.inputs.push(value);
        value
    }

    /// Names a value as an output.
    pub fn output(&mut self, name: &str, value: Value) {
        assert!(self.outputs.iter().all(|(known, _)| known != name), "output `{name}` declared twice");
        assert!(self.inputs.iter().all(|&input| self.port(input).name != name), "`{name}` is an input");
        self.outputs.push((name.to_owned(), value));
    }

    /// As `output`, without a node that may copy: the value itself takes the name. For buffers that a caller shares.
    pub(crate) fn output_directly(&mut self, name: &str, value: Value) {
        self.output(name, value);
        assert!(!self.inputs.contains(&value), "an input is not an output");
        name.clone_into(&mut self.values[value.index()].name);
    }

    pub fn constant_f32(&mut self, data: &[f32], shape: &[usize]) -> Value {
        self.constant(ElementType::F32, shape, data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    pub fn constant_f64(&mut self, data: &[f64], shape: &[usize]) -> Value {
        self.constant(ElementType::F64, shape, data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    pub fn constant_i64(&mut self, data: &[i64], shape: &[usize]) -> Value {
        let value = self.constant(ElementType::I64, shape, data.iter().flat_map(|x| x.to_le_bytes()).collect());
        self.int_constants.insert(value, data.to_vec());
        value
    }

    pub(crate) fn constant_bytes(&mut self, element: ElementType, data: Vec<u8>, shape: &[usize]) -> Value {
        self.constant(element, shape, data)
    }

    /// A constant under a name of its own whose bytes lie in a file, little endian, without a gap.
    pub(crate) fn constant_in_file(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        (location, offset): (&str, u64),
    ) -> Value {
        let value = self.declare(name.to_owned(), element, shape.to_vec());
        self.constants.push(Constant { value, data: Data::External { location: location.to_owned(), offset } });
        value
    }

    /// Leaves out an optional output that nothing uses.
    pub(crate) fn leave_out(&mut self, value: Value) {
        self.values[value.index()].name.clear();
    }

    pub fn constant_bool(&mut self, data: &[bool], shape: &[usize]) -> Value {
        self.constant(ElementType::Bool, shape, data.iter().map(|&x| u8::from(x)).collect())
    }

    /// A scalar of the given float type.
    pub fn scalar(&mut self, element: ElementType, value: f64) -> Value {
        match element {
            ElementType::F32 => self.constant_f32(&[value as f32], &[]),
            ElementType::F64 => self.constant_f64(&[value], &[]),
            other => panic!("a scalar of {other:?} is not a float"),
        }
    }

    /// A scalar of the type of `like`.
    pub fn scalar_like(&mut self, like: Value, value: f64) -> Value {
        self.scalar(self.element(like), value)
    }

    pub fn shape(&self, value: Value) -> &[usize] {
        &self.values[value.index()].shape
    }

    pub fn element(&self, value: Value) -> ElementType {
        self.values[value.index()].element
    }

    pub(crate) fn rank(&self, value: Value) -> usize {
        self.shape(value).len()
    }

    pub(crate) fn port(&self, value: Value) -> &Port {
        &self.values[value.index()]
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn value_count(&self) -> usize {
        self.values.len()
    }

    /// The elements of an integer constant; gradient rules need the axes that nodes were given as inputs.
    pub(crate) fn known_ints(&self, value: Value) -> &[i64] {
        self.int_constants.get(&value).expect("axes and sizes are constants made by this builder")
    }

    /// Adds a node with declared output types and shapes.
    pub(crate) fn node(
        &mut self,
        (domain, operator): (&'static str, &'static str),
        inputs: &[Value],
        outputs: &[(ElementType, Vec<usize>)],
        attributes: Vec<(&'static str, Attribute)>,
    ) -> Vec<Value> {
        let index = self.nodes.len();
        let outputs: Vec<Value> = outputs
            .iter()
            .enumerate()
            .map(|(slot, (element, shape))| {
                let name = match slot {
                    0 => format!("{operator}.{index}"),
                    _ => format!("{operator}.{index}.{slot}"),
                };
                self.declare(name, *element, shape.clone())
            })
            .collect();
        self.nodes.push(Node { operator, domain, inputs: inputs.to_vec(), outputs: outputs.clone(), attributes });
        outputs
    }

    /// Encodes the graph, without the nodes that no output needs.
    pub fn finish(self) -> Graph {
        let needed = self.needed_values();
        let nodes = self.nodes.iter().enumerate();
        let nodes = nodes.filter(|(_, node)| node.outputs.iter().any(|output| needed[output.index()]));
        let mut nodes: Vec<(usize, &Node)> = nodes.collect();
        // Stable: all others stay in order.
        nodes.sort_by_key(|(_, node)| !self.written_first.is_some_and(|first| node.outputs.contains(&first)));
        let mut encoded: Vec<NodeProto> = nodes.iter().map(|(index, node)| self.encode_node(*index, node)).collect();
        let mut outputs = Vec::new();
        for (name, value) in &self.outputs {
            if self.port(*value).name != *name {
                encoded.push(NodeProto {
                    input: vec![self.port(*value).name.clone()],
                    output: vec![name.clone()],
                    name: format!("output.{name}"),
                    op_type: "Identity".to_owned(),
                    ..NodeProto::default()
                });
            }
            outputs.push(Port { name: name.clone(), ..self.port(*value).clone() });
        }
        let inputs: Vec<Port> = self.inputs.iter().map(|&value| self.port(value).clone()).collect();
        let constants = self.constants.iter().filter(|constant| needed[constant.value.index()]);
        let graph = GraphProto {
            node: encoded,
            name: self.name.clone(),
            initializer: constants.map(|constant| self.encode_constant(constant)).collect(),
            input: inputs.iter().map(|port| self.encode_port(port)).collect(),
            output: outputs.iter().map(|port| self.encode_port(port)).collect(),
        };
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: "cairn".to_owned(),
            graph: Some(graph),
            opset_import: vec![opset("", OPSET_VERSION), opset(MICROSOFT, 1)],
        };
        Graph { name: self.name, bytes: model.encode_to_vec(), inputs, outputs }
    }

    fn declare(&mut self, name: String, element: ElementType, shape: Vec<usize>) -> Value {
        let value = Value(u32::try_from(self.values.len()).expect("fewer than 2^32 values"));
        self.values.push(Port { name, element, shape });
        value
    }

    /// Equal constants are one value, so that bytes do not depend on how often a rule asks for the same axes.
    fn constant(&mut self, element: ElementType, shape: &[usize], bytes: Vec<u8>) -> Value {
        let key = (element, shape.to_vec(), bytes);
        if let Some(&value) = self.constant_index.get(&key) {
            return value;
        }
        let (_, _, bytes) = key.clone();
        assert_eq!(bytes.len(), shape.iter().product::<usize>() * element.bytes(), "constant of shape {shape:?}");
        let value = self.declare(format!("constant.{}", self.constants.len()), element, shape.to_vec());
        self.constants.push(Constant { value, data: Data::Inline(bytes) });
        self.constant_index.insert(key, value);
        value
    }

    fn needed_values(&self) -> Vec<bool> {
        let mut needed = vec![false; self.values.len()];
        for (_, value) in &self.outputs {
            needed[value.index()] = true;
        }
        for node in self.nodes.iter().rev() {
            if node.outputs.iter().any(|output| needed[output.index()]) {
                let given = node.inputs.iter().filter(|&&input| input != Value::NONE);
                given.for_each(|input| needed[input.index()] = true);
            }
        }
        needed
    }

    fn encode_node(&self, index: usize, node: &Node) -> NodeProto {
        let given = |value: Value| if value == Value::NONE { String::new() } else { self.port(value).name.clone() };
        NodeProto {
            input: node.inputs.iter().map(|&value| given(value)).collect(),
            output: node.outputs.iter().map(|&value| self.port(value).name.clone()).collect(),
            name: format!("{}.{index}", node.operator),
            op_type: node.operator.to_owned(),
            attribute: node.attributes.iter().map(|(name, value)| encode_attribute(name, value)).collect(),
            domain: node.domain.to_owned(),
        }
    }

    fn encode_constant(&self, constant: &Constant) -> TensorProto {
        let port = self.port(constant.value);
        let mut tensor = TensorProto {
            dims: port.shape.iter().map(|&n| n as i64).collect(),
            data_type: Some(port.element.code()),
            name: port.name.clone(),
            ..TensorProto::default()
        };
        match &constant.data {
            Data::Inline(bytes) => tensor.raw_data = Some(bytes.clone()),
            Data::External { location, offset } => {
                let length = port.elements() * port.element.bytes();
                let entries =
                    [("location", location.clone()), ("offset", offset.to_string()), ("length", length.to_string())];
                let entry = |(key, value): (&str, String)| StringStringEntryProto { key: key.to_owned(), value };
                tensor.external_data = entries.map(entry).into();
                tensor.data_location = Some(EXTERNAL);
            }
        }
        tensor
    }

    fn encode_port(&self, port: &Port) -> ValueInfoProto {
        let dim = port.shape.iter().map(|extent| match self.open_extents.get(extent) {
            Some(name) => DimensionProto { dim_param: Some((*name).to_owned()), ..DimensionProto::default() },
            None => DimensionProto { dim_value: Some(*extent as i64), ..DimensionProto::default() },
        });
        let shape = TensorShapeProto { dim: dim.collect() };
        let tensor = TensorTypeProto { elem_type: Some(port.element.code()), shape: Some(shape) };
        ValueInfoProto { name: port.name.clone(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
    }
}

fn encode_attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut attribute = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match value {
        Attribute::Int(value) => {
            attribute.i = Some(*value);
            attribute.r#type = Some(attribute_type::INT);
        }
        Attribute::Float(value) => {
            attribute.f = Some(*value);
            attribute.r#type = Some(attribute_type::FLOAT);
        }
        Attribute::Ints(values) => {
            attribute.ints.clone_from(values);
            attribute.r#type = Some(attribute_type::INTS);
        }
        Attribute::Text(text) => {
            attribute.s = Some(text.as_bytes().to_vec());
            attribute.r#type = Some(attribute_type::STRING);
        }
    }
    attribute
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: Some(domain.to_owned()), version: Some(version) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Builder {
        let mut b = Builder::new("sample");
        let x = b.input("x", ElementType::F32, &[2, 3]);
        let unused = b.scalar(ElementType::F32, 7.0);
        b.mul(x, unused);
        let total = b.reduce_sum(x, &[1], false);
        let half = b.scalar(ElementType::F32, 0.5);
        let y = b.mul(total, half);
        b.output("y", y);
        b
    }

    #[test]
    fn a_graph_decodes_to_what_was_built() {
        let graph = sample().finish();
        let model = ModelProto::decode(graph.bytes()).unwrap();
        assert_eq!(model.ir_version, Some(IR_VERSION));
        let encoded = model.graph.unwrap();
        let operators: Vec<&str> = encoded.node.iter().map(|node| node.op_type.as_str()).collect();
        assert_eq!(operators, ["ReduceSum", "Mul", "Identity"], "the product that nothing needs is left out");
        assert_eq!(encoded.initializer.len(), 2, "axes and 0.5, without the unused 7");
        assert_eq!(graph.inputs(), [Port { name: "x".into(), element: ElementType::F32, shape: vec![2, 3] }]);
        assert_eq!(graph.outputs(), [Port { name: "y".into(), element: ElementType::F32, shape: vec![2] }]);
    }

    /// Golden: a recorded graph digest must not change because the encoding did.
    #[test]
    fn bytes_are_stable() {
        assert_eq!(sample().finish().digest(), sample().finish().digest());
        assert_eq!(sample().finish().digest(), GOLDEN_DIGEST);
    }

    const GOLDEN_DIGEST: &str = "57ace817f0dc687ea3f5e9c58ee3e10206972d0306f1512ac0bc23332619fcc7";

    #[test]
    fn equal_constants_are_one_value() {
        let mut b = Builder::new("constants");
        let a = b.constant_f32(&[1.0, 2.0], &[2]);
        assert_eq!(a, b.constant_f32(&[1.0, 2.0], &[2]));
        assert_ne!(a, b.constant_f32(&[1.0, 2.0], &[1, 2]));
        assert_ne!(b.constant_f32(&[0.0], &[]), b.constant_f32(&[-0.0], &[]));
    }

    #[test]
    #[should_panic(expected = "shapes [2, 3] and [2] do not broadcast")]
    fn shapes_are_checked_as_nodes_are_added() {
        let mut b = Builder::new("wrong");
        let x = b.input("x", ElementType::F32, &[2, 3]);
        let y = b.input("y", ElementType::F32, &[2]);
        b.add(x, y);
    }

    #[test]
    #[should_panic(expected = "`x` is an input")]
    fn an_output_cannot_take_the_name_of_an_input() {
        let mut b = Builder::new("wrong");
        let x = b.input("x", ElementType::F32, &[2]);
        b.output("x", x);
    }
}
