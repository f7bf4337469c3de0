// The smallest causal language model, as files that ONNX Runtime and transformers.js read: a token's embedding times a
// head. Its numbers are eighths, so that every logit is exact in f32.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { constant, model, node, typeNumber, value } from "../../scripts/onnx.mjs";

const PADDING = "<pad>";
const VOCABULARY = [PADDING, ..."abcdefghijklmnopqrstuvwxyz ,.'-"];
const CLASSES = VOCABULARY.length;
const WIDTH = 16;

const embedding = eighths(CLASSES * WIDTH, 7);
const head = eighths(WIDTH * CLASSES, 5);

function eighths(length: number, step: number): number[] {
  return Array.from({ length }, (_, i) => (((i * step) % 33) - 16) / 8);
}

/** The tokens of a text, one for each letter. */
export function tokensOf(text: string): number[] {
  return Array.from(text, (letter) => VOCABULARY.indexOf(letter));
}

/** The embedding of a token. */
export function embeddingOf(token: number): number[] {
  return embedding.slice(token * WIDTH, (token + 1) * WIDTH);
}

/** The logits of the model for the token after this one. */
export function logitsAfter(token: number): number[] {
  return Array.from({ length: CLASSES }, (_, y) =>
    embeddingOf(token).reduce((sum, hidden, i) => sum + hidden * (head[i * CLASSES + y] as number), 0),
  );
}

/** Writes the model in the layout of the hub: a configuration, a tokenizer, and `onnx/model.onnx` with logits of this type. */
export function writeCausalLm(folder: string, type: "float32" | "float16" = "float32"): void {
  const anySize = [undefined, undefined]; // [texts, sequence]
  const onnx = model({
    inputs: [value("input_ids", "int64", anySize)],
    outputs: [value("logits", type, [...anySize, CLASSES])],
    nodes: [
      node("Gather", ["embedding", "input_ids"], ["hidden"], { axis: 0 }),
      node("MatMul", ["hidden", "head"], ["wide"]),
      node("Cast", ["wide"], ["logits"], { to: typeNumber(type) }),
    ],
    constants: [
      constant("embedding", "float32", [CLASSES, WIDTH], Float32Array.from(embedding)),
      constant("head", "float32", [WIDTH, CLASSES], Float32Array.from(head)),
    ],
  });
  writeModel(folder, onnx, { model_type: "gpt2", vocab_size: CLASSES, n_embd: WIDTH, n_head: 1, n_layer: 1 });
}

/** Writes a model that gives each token its embedding, as the hub has them. */
export function writeEmbedder(folder: string): void {
  const anySize = [undefined, undefined]; // [texts, sequence]
  const onnx = model({
    inputs: [value("input_ids", "int64", anySize)],
    outputs: [value("last_hidden_state", "float32", [...anySize, WIDTH])],
    nodes: [node("Gather", ["embedding", "input_ids"], ["last_hidden_state"], { axis: 0 })],
    constants: [constant("embedding", "float32", [CLASSES, WIDTH], Float32Array.from(embedding))],
  });
  writeModel(folder, onnx, { model_type: "bert", vocab_size: CLASSES, hidden_size: WIDTH });
}

function writeModel(folder: string, onnx: Uint8Array, config: object): void {
  mkdirSync(join(folder, "onnx"), { recursive: true });
  writeFileSync(join(folder, "onnx/model.onnx"), onnx);

  const json = (name: string, content: object) => writeFileSync(join(folder, name), JSON.stringify(content));
  const vocab = Object.fromEntries(VOCABULARY.map((letter, token) => [letter, token]));
  json("config.json", config);
  json("generation_config.json", {});
  json("tokenizer.json", {
    added_tokens: [{ id: 0, content: PADDING, special: true }],
    model: { type: "BPE", vocab, merges: [] },
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
  });
  json("tokenizer_config.json", { tokenizer_class: "PreTrainedTokenizer", pad_token: PADDING });
}
