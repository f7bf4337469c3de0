// The READMEs and the docs show real output. support/blocks.ts assigns each code block to a suite.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import * as xent from "xent";
import { blocks, blocksRunBy, runnerOf, texts } from "../support/blocks.ts";
import { xentCommand } from "../support/cli.ts";
import { readGolden } from "../support/golden.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A package.json. */
function packageIn(folder: string): { name: string; scripts: Record<string, string> } {
  return JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
}

/** What the programs expect of their reader. */
const READERS = `
  const modelOutput = new Float32Array(128 * 32000);
  const nextTokens = new Int32Array(128);
  const backward = (gradient) => console.log(gradient[0].toFixed(9), gradient[1].toFixed(12));
  const numbers = (length, at = (i) => Math.sin(i * i)) => Float32Array.from({ length }, (_, i) => at(i));
  const categories = Int32Array.from({ length: 64 }, (_, i) => i % 10);
  const embeddings = numbers(64 * 384);
  const initialWeight = numbers(10 * 384);
  const imageEmbeddings = numbers(32 * 64, (i) => Math.sin(i * i) / 8);
  const textEmbeddings = numbers(32 * 64, (i) => (Math.sin(i * i) + Math.sin(i * i * 0.7)) / 8);
  const hiddenStates = numbers(128 * 64);
  const headBits = Uint16Array.from({ length: 5000 * 64 }, (_, i) => 0x3c00 + (i % 61));
  const teacherStates = numbers(128 * 96);
  const teacherBits = Uint16Array.from({ length: 5000 * 96 }, (_, i) => 0x3c00 + (i % 67));
  const tokens = Int32Array.from({ length: 128 }, (_, i) => (i * 37) % 5000);`;

/** The output of a program whose statements \`value; // what it is\` print the value. */
function outputOf(program: string): string {
  const printing = program.replace(/^([\w.[\]]+|\S.*(?=; \/\/ true)); \/\/ .*$/gm, "console.log($1);");
  const args = ["--input-type=module", "--eval", `${READERS}${printing}`];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
  expect(status, stderr).toBe(0);
  return stdout;
}

test("every code block is assigned to a suite", () => {
  expect(blocks.length).toBeGreaterThan(30);
  const left = blocks.filter((block) => runnerOf(block) === undefined);
  expect(left.map(({ file, line, language }) => `${file}:${line} (${language})`)).toEqual([]);
});

const [first, ...programs] = blocksRunBy("programs");

test("the first program prints the values in its comments", () => {
  const program = first?.code as string;
  const shown = [...program.matchAll(/^\w+; \/\/ (.*)$/gm)].map(([, value]) => value as string);
  expect(shown).toHaveLength(2);
  const [loss, gradient] = outputOf(program).split(/(?<=\])\n/) as [string, string];
  for (const [printed, written] of [
    [loss, shown[0]],
    [gradient, shown[1]],
  ] as const) {
    const [kind, digits] = (written as string).split(" [ ") as [string, string];
    expect(printed.startsWith(`${kind}(`)).toBe(true);
    const numbers = digits.match(/-?\d+\.\d+(?=…)/g) ?? [];
    const values = printed.match(/-?\d+\.\d+(e-\d+)?/g) ?? [];
    expect(numbers.length).toBeGreaterThan(1);
    for (const [i, number] of numbers.entries()) {
      const places = 10 ** (number.split(".")[1]?.length ?? 0);
      expect(Math.trunc(Number(values[i]) * places) / places).toBe(Number(number));
    }
  }
});

test.each(programs)("the program at $file:$line runs, and prints the values in its comments", ({ code }) => {
  const output = outputOf(code);
  // The mean of 128 rows whose 32,000 logits are equal: (1 / 32000 - 1) / 128 at the label, 1 / 32000 / 128 elsewhere.
  if (code.includes("backward(")) expect(output).toBe("-0.007812256 0.000000244141\n");
  const written = Array.from(code.matchAll(/^[\w.[\]]+; \/\/ (-?\d+\.\d+)…$/gm), ([, digits]) => digits as string);
  const printed = output.split("\n").filter((line) => /^-?\d+\.\d+$/.test(line));
  expect(written.map((digits, i) => printed[i]?.startsWith(digits))).toEqual(written.map(() => true));
  const claims = code.match(/^\S.*; \/\/ true/gm) ?? [];
  expect(output.split("\n").filter((line) => line === "true" || line === "false")).toEqual(claims.map(() => "true"));
});

test("every function that a signature names is exported", () => {
  const named = blocksRunBy("signatures")
    .flatMap(({ code }) => [...code.matchAll(/(?:^|\s{2,})(\w+)\(/gm)])
    .map(([, name]) => name as string);
  expect(named.length).toBeGreaterThanOrEqual(4);
  for (const name of named) expect(xent).toHaveProperty(name);
});

describe("a command that is shown exists:", () => {
  const { scripts } = packageIn("");
  const packages = readdirSync(join(root, "packages")).map((folder) => packageIn(`packages/${folder}`).name);
  const commands = blocksRunBy("commands").flatMap(({ file, code }) =>
    code
      .split("\n")
      .map((line) => line.replace(/(^| +)#.*$/, "").replace(/^[A-Z_]+=("[^"]*"|\S+) /, ""))
      .filter((line) => line !== "")
      .map((line) => [file, line] as const),
  );

  test.each(commands)("%s: %s", (_, command) => {
    const [program, ...args] = command.split(" ");
    if (program === "xent") {
      const { status, stdout } = xentCommand([args[0] as string, "--help"]);
      expect(status).toBe(0);
      for (const flag of args.filter((arg) => arg.startsWith("--"))) expect(stdout).toContain(`${flag} `);
    } else if (program === "npm" && args[0] === "install") expect(packages).toContain(args.at(-1));
    else if (program === "npm") {
      expect(Object.keys(scripts)).toContain(args[0] === "run" ? args[1] : args[0]);
    } else if (program === "npx" || program === "node") {
      const path = join(root, args[program === "npx" ? 2 : 0] as string);
      expect(existsSync(path) || existsSync(`${path}.test.ts`)).toBe(true);
    } else {
      const [, crate, suite] = /^cargo test(?: --release)? -p xent-(\w+) --test (\w+)$/.exec(command) ?? [];
      expect(existsSync(join(root, `crates/${crate}/tests/${suite}.rs`))).toBe(true);
    }
  });
});

describe("a search that is named exists, with its options:", () => {
  const usage = spawnSync(process.execPath, [join(root, "scripts/search.mjs")], { encoding: "utf8" }).stderr.split(
    "\n",
  );
  const named = texts.flatMap((file) =>
    Array.from(
      readFileSync(join(root, file), "utf8").matchAll(/npm run search -- ([^`#|\n]+)/g),
      ([, command = ""]) => [file, command.trim()] as const,
    ),
  );

  test.each(named)("%s: %s", (_, command) => {
    const [name, ...args] = command.split(" ");
    const options = usage.find((line) => line.split(" ")[0] === name);
    expect(options).toBeDefined();
    for (const flag of args.filter((arg) => arg.startsWith("-"))) {
      expect(options).toMatch(new RegExp(`\\[${flag}[ \\]]`));
    }
  });
});

/** The anchors of a text's headings, as GitHub and the site make them: a repeated one is numbered. */
function anchorsIn(text: string): Set<string> {
  const anchors = new Set(Array.from(text.matchAll(/ id="([^"]+)"/g), ([, id]) => id as string));
  for (const [, heading = ""] of text.matchAll(/^#+ (.*)$/gm)) {
    const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const anchor = words.replace(/[^\p{L}\p{N} _-]/gu, "").replaceAll(" ", "-");
    let repeats = 0;
    while (anchors.has(repeats === 0 ? anchor : `${anchor}-${repeats}`)) repeats++;
    anchors.add(repeats === 0 ? anchor : `${anchor}-${repeats}`);
  }
  return anchors;
}

test.each(texts)("every link of %s leads to a file, and to a heading of it", (file) => {
  const withoutBlocks = (path: string): string => readFileSync(path, "utf8").replace(/^(```+)[\s\S]*?^\1$/gm, "");
  const links = withoutBlocks(join(root, file)).matchAll(/\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)/g);
  const dead = [...links].filter(([, path, anchor]) => {
    const target = path === "" ? join(root, file) : join(root, file, "..", path as string);
    if (!existsSync(target)) return true;
    return anchor !== undefined && target.endsWith(".md") && !anchorsIn(withoutBlocks(target)).has(anchor);
  });
  expect(dead.map(([link]) => link)).toEqual([]);
});

test("every path on the map of the repository exists", () => {
  const places = blocksRunBy("map").flatMap(({ code }) => code.match(/^\S+/gm) ?? []);
  expect(places.length).toBeGreaterThan(8);
  expect(places.filter((place) => !existsSync(join(root, place)))).toEqual([]);
});

test("the generator of the golden values makes the rows that the checksums are of", async () => {
  const generators = blocksRunBy("generator");
  expect(generators).toHaveLength(1);
  const module = `${generators[0]?.code}\nexport { generate, checksum };`;
  const { generate, checksum } = await import(`data:text/javascript,${encodeURIComponent(module)}`);
  const { cases } = readGolden("generated");
  expect(cases.length).toBeGreaterThan(1);
  for (const { generator, options, logitsChecksum, labelsChecksum } of cases) {
    const { logits, labels } = generate(generator, (options as xent.LossOptions).ignoreIndex);
    expect([checksum(logits), checksum(labels)]).toEqual([logitsChecksum, labelsChecksum]);
  }
});
