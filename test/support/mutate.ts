// Mutates valid bytes: flips, cuts and doubles them, or puts in extreme numbers and words.

import { mulberry32 } from "./random.mjs";

/** Integers from 0 to below `n`. */
export type Random = (n: number) => number;

export function randomOf(seed: number): Random {
  const next = mulberry32(seed);
  return (n) => next() % n;
}

const INTEGERS = [
  0n,
  1n,
  2n,
  127n,
  128n,
  255n,
  256n,
  32767n,
  65535n,
  65536n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const DOUBLES = [
  0,
  -0,
  1,
  -1,
  0.5,
  1e300,
  -1e300,
  Number.MAX_VALUE,
  5e-324,
  NaN,
  Infinity,
  -Infinity,
  2 ** 31,
  2 ** 53,
  745,
  -745,
];
const TOKENS = [
  "0",
  "1",
  "-1",
  "1.5",
  "1e999",
  "99999999999999999999",
  "null",
  "[]",
  "{}",
  '""',
  "true",
  "NaN",
  "\\u0000",
  "..",
  "/",
  ",",
  ":",
  "'",
  "\n",
  "'shape': (3, 4), ",
  "__proto__",
];

const KINDS_AS_LONG = [0, 1, 6, 7];

/** Makes one to some changes. */
export function mutate(bytes: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let now = Buffer.from(bytes);
  // Most lengths stay, for readers refuse others at once.
  const staysAsLong = random(2) === 0;
  for (let changes = 1 + random(1 + random(4)); changes > 0; changes--) {
    const at = random(now.length + 1);
    const length = random(1 + random(32));
    const kind = staysAsLong ? (KINDS_AS_LONG[random(KINDS_AS_LONG.length)] as number) : random(10);
    if (kind === 0 && at < now.length) now[at] = (now[at] as number) ^ (1 << random(8));
    else if (kind === 1 && at < now.length) now[at] = random(256);
    else if (kind === 2) now = Buffer.concat([now.subarray(0, at), now.subarray(at + length)]);
    else if (kind === 3) now = Buffer.concat([now.subarray(0, at), now.subarray(at, at + length), now.subarray(at)]);
    else if (kind === 4)
      now = Buffer.concat([
        now.subarray(0, at),
        other.subarray(random(other.length + 1)).subarray(0, length),
        now.subarray(at),
      ]);
    else if (kind === 5) now = now.subarray(0, random(20) === 0 ? at : now.length);
    else if (kind === 6 && now.length >= 8) {
      const value = INTEGERS[random(INTEGERS.length)] as bigint;
      const place = random(2) === 0 ? 4 * random(now.length >> 2) : Math.min(at, now.length - 4);
      if (random(2) === 0 && place + 8 <= now.length) now.writeBigUInt64LE(value, place);
      else if (place + 4 <= now.length) now.writeUInt32LE(Number(value & 0xffffffffn), place);
    } else if (kind === 7 && now.length >= 8)
      now.writeDoubleLE(DOUBLES[random(DOUBLES.length)] as number, 4 * random((now.length - 4) >> 2));
    else if (kind === 8) {
      const numbers = [...now.toString("latin1").matchAll(/-?\d+|"[^"]*"|true|false/g)];
      const found = numbers[random(Math.max(1, numbers.length))];
      const token = TOKENS[random(TOKENS.length)] as string;
      if (found)
        now = Buffer.concat([
          now.subarray(0, found.index),
          Buffer.from(token),
          now.subarray(found.index + found[0].length),
        ]);
    } else
      now = Buffer.concat([
        now.subarray(0, at),
        Buffer.from(TOKENS[random(TOKENS.length)] as string),
        now.subarray(at + random(3)),
      ]);
  }
  return new Uint8Array(now);
}
