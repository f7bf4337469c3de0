// Orders the operations of unrolled loops, and of any long piece of code without branches. LLVM computes the vectors of a round one after
// the other, each a chain of dependent operations that is longer than processors look ahead. This script computes step by step: the first
// operation of all vectors, then the second. No operation changes, so no result does.

/** A piece is ordered if it has at least so many of these operations: the terms of four vectors. Others gain nothing. */
const OPERATION = /^f\d\dx\d\.relaxed_madd/;
const FEWEST = 32;

const CONTROL =
  /^(\(|block|loop|if|else|end|br|br_if|br_table|return|call|call_indirect|unreachable|drop|nop|memory\.\w+)(\b|(?<=\())/;

/** How many values an operation takes. */
const TAKES = [
  [
    1,
    /^v128\.load(\d+_(splat|zero)|\d+x\d+_[su])?$/,
    /^[if]\d\d\.load(\d+_[su])?$/,
    /^[if]\d+(x\d+)?\.(eqz|abs|neg|sqrt|splat|extract_lane(_[su])?|all_true|bitmask)$/,
    /^[if]\d+(x\d+)?\.(promote|demote|convert|extend|wrap|reinterpret|trunc_sat)_\w+$/,
    /^v128\.(not|any_true)$/,
  ],
  [
    2,
    /^[if]\d+(x\d+)?\.(add|sub|mul|div(_[su])?|rem_[su]|and|or|xor|shl|shr(_[su])?|p?min|p?max|replace_lane)$/,
    /^[if]\d+(x\d+)?\.(eq|ne|[lg][te](_[su])?|copysign)$/,
    /^v128\.(and|or|xor|andnot)$/,
    /^i8x16\.(shuffle|swizzle)$/,
    /^([if]\d\d|v128)\.store\d*$/,
  ],
  [3, /^f\d\dx\d\.relaxed_madd$/, /^v128\.bitselect$/, /^select$/],
];
const SCALAR_COMPARISON = /^[if]\d\d\.(eqz?|ne|[lg][te])(_[su])?$/;

/** Orders the operations of each piece of a function, whose text has one operation on a line. */
export function interleave(text) {
  const lines = text.split("\n");
  const typesOfLocals = Array.from(text.matchAll(/^ {2}\(func .*|^ {4}\(local .*/gm)).flatMap(([line]) =>
    Array.from(line.matchAll(/\((?:param|local) ([^)]*)\)/g)).flatMap(([, types]) => types.split(" ")),
  );
  const spare = new Spare(typesOfLocals.length);
  const result = [];
  let piece = [];
  for (const line of lines) {
    if (!CONTROL.test(line.trim())) {
      piece.push(line);
      continue;
    }
    const isLong = piece.filter((line) => OPERATION.test(line.trim())).length >= FEWEST;
    result.push(
      ...(isLong
        ? ordered(
            piece.map((line) => line.trim()),
            typesOfLocals,
            spare,
          )
        : piece),
      line,
    );
    piece = [];
  }
  result.push(...piece);
  const types = spare.types.join(" ");
  const all = result.join("\n");
  if (types === "") return all;
  return /^ {4}\(local /m.test(all)
    ? all.replace(/^ {4}\(local .*(?=\))/m, `$& ${types}`)
    : all.replace(/^ {2}\(func .*/, `$&\n    (local ${types})`);
}

/** Locals for results between operations. */
class Spare {
  constructor(first) {
    this.first = first;
    this.types = [];
    this.free = [];
  }

  take(type) {
    const place = this.free.findIndex((local) => this.types[local - this.first] === type);
    if (place >= 0) return this.free.splice(place, 1)[0];
    return this.first + this.types.push(type) - 1;
  }

  release(local) {
    this.free.push(local);
  }
}

function ordered(piece, typesOfLocals, spare) {
  const { nodes, initial, assigned, stack } = graphOf(piece, typesOfLocals);
  // As late as possible without making the longest chain longer: this needs the fewest locals at a time.
  for (const node of nodes) node.level = Math.max(0, ...node.after.map(([other, steps]) => other.level + steps));
  for (const node of nodes.toReversed()) {
    const latest = node.before.map(([other, steps]) => other.level - steps);
    if (latest.length > 0) node.level = Math.min(...latest);
  }
  const order = nodes.toSorted((a, b) => a.level - b.level || a.index - b.index);

  const result = [];
  const uses = new Map();
  const outputs = [...assigned.values(), ...stack];
  for (const value of [...nodes.flatMap((node) => node.inputs), ...outputs])
    uses.set(value, (uses.get(value) ?? 0) + 1);
  const read = (value) => {
    result.push(value.text ?? `local.get ${value.local}`);
    uses.set(value, uses.get(value) - 1);
    if (uses.get(value) === 0 && value.isSpare) spare.release(value.local);
  };
  for (const { operation, inputs, output } of order) {
    inputs.forEach(read);
    result.push(operation);
    if (!output) continue;
    // The local that has the result in the end, unless its initial value is still read.
    const free = [...assigned].find(([local, value]) => value === output && !uses.get(initial.get(local)));
    output.isSpare = free === undefined;
    output.local = free ? free[0] : spare.take(output.type);
    result.push(`local.set ${output.local}`);
    if (output.isSpare && !uses.has(output)) spare.release(output.local);
  }
  // Read all first: initial values of locals may be among them.
  const entries = [...assigned].filter(([local, value]) => value.local !== local);
  stack.forEach(read);
  for (const [, value] of entries) read(value);
  for (const [local] of entries.toReversed()) result.push(`local.set ${local}`);
  return result;
}

/** The operations of a piece with what each depends on, the new values of locals, and the values that stay on the stack. */
function graphOf(piece, typesOfLocals) {
  const initial = new Map();
  const assigned = new Map();
  const nodes = [];
  const stack = [];
  const valueIn = (local) => {
    if (!assigned.has(local) && !initial.has(local)) initial.set(local, { local, type: typesOfLocals[local] });
    return assigned.get(local) ?? initial.get(local);
  };
  const take = (count, name) => {
    if (stack.length < count)
      throw new Error(`interleave: ${name} takes what was on the stack before this piece of code`);
    return stack.splice(stack.length - count);
  };
  let [memory, writes] = [[], []];
  for (const operation of piece) {
    const [name, argument] = operation.split(" ");
    if (name === "local.get") stack.push(valueIn(Number(argument)));
    else if (name === "local.set" || name === "local.tee") {
      const [value] = take(1, name);
      if (name === "local.tee") stack.push(value);
      assigned.set(Number(argument), value);
    } else if (name.endsWith(".const")) stack.push({ text: operation, type: name.split(".")[0] });
    else {
      const stores = /\.store/.test(name);
      const [count] = TAKES.find(([, ...names]) => names.some((one) => one.test(name))) ?? [];
      if (count === undefined) throw new Error(`interleave: ${name} is not known`);
      const inputs = take(count, name);
      const node = { operation, inputs, index: nodes.length, before: [], after: [] };
      const follows = (other, steps) => {
        node.after.push([other, steps]);
        other.before.push([node, steps]);
      };
      for (const { node: made } of inputs) if (made) follows(made, 1);
      // A write of memory keeps its place among reads and writes.
      if (stores) for (const other of memory) follows(other, 0);
      else if (/\.load/.test(name)) for (const other of writes) follows(other, 0);
      if (stores) [memory, writes] = [[node], [node]];
      else if (/\.load/.test(name)) memory.push(node);
      if (!stores) {
        node.output = { node, type: typeOf(name, inputs) };
        stack.push(node.output);
      }
      nodes.push(node);
    }
  }
  return { nodes, initial, assigned, stack };
}

function typeOf(name, inputs) {
  if (name === "select") return inputs[0].type;
  if (SCALAR_COMPARISON.test(name) || /any_true|all_true|bitmask/.test(name)) return "i32";
  const [type] = name.split(".");
  if (!type.includes("x") && type !== "v128") return type;
  return name.includes("extract_lane") ? ({ i8: "i32", i1: "i32" }[type.slice(0, 2)] ?? type.split("x")[0]) : "v128";
}
