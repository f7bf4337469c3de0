// Builds ONNX models. The messages have the fields of onnx.proto that a small graph needs.
import protobuf from "protobufjs";

const { root } = protobuf.parse(
  `
  syntax = "proto2";
  message Model { optional int64 ir_version = 1; optional Graph graph = 7; repeated OperatorSet opset_import = 8; }
  message OperatorSet { optional string domain = 1; optional int64 version = 2; }
  message Graph {
    repeated Node node = 1; optional string name = 2; repeated Tensor initializer = 5;
    repeated ValueInfo input = 11; repeated ValueInfo output = 12;
  }
  message Node { repeated string input = 1; repeated string output = 2; optional string op_type = 4; repeated Attribute attribute = 5; }
  message Attribute { optional string name = 1; optional int64 i = 3; optional bytes s = 4; optional int32 type = 20; }
  message Tensor { repeated int64 dims = 1; optional int32 data_type = 2; optional string name = 8; optional bytes raw_data = 9; }
  message ValueInfo { optional string name = 1; optional Type type = 2; }
  message Type { optional TensorType tensor_type = 1; }
  message TensorType { optional int32 elem_type = 1; optional Shape shape = 2; }
  message Shape { repeated Dimension dim = 1; }
  message Dimension { optional int64 dim_value = 1; }`,
  { keepCase: true },
);
const Model = root.lookupType("Model");

const TYPES = { float32: 1, int32: 6, int64: 7, float16: 10 };
const INTEGER = 2;
const STRING = 3;

/** The number of an attribute type. */
export function typeNumber(type) {
  return TYPES[type];
}

export function node(op_type, input, output, attributes = {}) {
  const attribute = Object.entries(attributes).map(([name, value]) =>
    typeof value === "string" ? { name, s: Buffer.from(value), type: STRING } : { name, i: value, type: INTEGER },
  );
  return { op_type, input, output, attribute };
}

export function constant(name, type, dims, array) {
  return { name, data_type: TYPES[type], dims, raw_data: new Uint8Array(array.buffer) };
}

/** An input or output. An undefined size is dynamic. */
export function value(name, type, shape) {
  const dim = shape.map((dim_value) => ({ dim_value }));
  return { name, type: { tensor_type: { elem_type: TYPES[type], shape: { dim } } } };
}

/** @param {{ inputs: object[], outputs: object[], nodes: object[], constants?: object[] }} parts */
export function model({ inputs, outputs, nodes, constants = [] }) {
  const graph = { name: "graph", node: nodes, initializer: constants, input: inputs, output: outputs };
  return Model.encode({ ir_version: 8, opset_import: [{ domain: "", version: 18 }], graph }).finish();
}
