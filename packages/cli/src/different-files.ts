import { fileOf, openArray } from "./arrays.ts";
import { badUsage } from "./failure.ts";
import { identityAt } from "./file-identity.ts";

/** Throws if a file is given twice, under any names: its rows would count twice. */
export async function assertDifferent(files: readonly string[]): Promise<void> {
  assertOnce(files, await Promise.all(files.map(async (file) => (await identityAt(file)) ?? file)));
}

/** Likewise for files of logits, of which one with several arrays may be given once for each array. */
export async function assertDifferentLogits(specs: readonly string[]): Promise<void> {
  // A missing file is reported when it is opened.
  const files = await Promise.all(specs.map(async (spec) => (await identityAt(fileOf(spec).path)) ?? spec));
  const times = new Map<string, number>();
  for (const file of files) times.set(file, (times.get(file) ?? 0) + 1);
  const keys: string[] = [];
  for (const [i, file] of files.entries()) {
    const spec = specs[i] as string;
    keys.push(times.get(file) === 1 || file === spec ? file : `${file}:${await arrayOf(spec)}`);
  }
  assertOnce(specs, keys);
}

/** The name of the array that is read, if the file has names. */
async function arrayOf(spec: string): Promise<string | undefined> {
  const { name, bytes } = await openArray(spec, { usual: "logits", raw: { dtype: "uint8" } });
  await bytes.close();
  return fileOf(name).wanted;
}

function assertOnce(names: readonly string[], keys: readonly string[]): void {
  const seen = new Map<string, string>();
  for (const [i, name] of names.entries()) {
    const key = keys[i] as string;
    const other = seen.get(key);
    if (other === name) throw badUsage(`${name}: is given twice: its rows would count twice`);
    if (other !== undefined) throw badUsage(`${name}: is the same file as ${other}: its rows would count twice`);
    seen.set(key, name);
  }
}
