import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The command, as it is built. */
export const binary: string = fileURLToPath(new URL("../../packages/cli/dist/main.js", import.meta.url));

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Surroundings {
  readonly cwd?: string;
  readonly input?: string;
  readonly columns?: number;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs `xent` with these arguments to its end. */
export function xentCommand(
  args: readonly string[],
  { cwd, input = "", columns = 80, env: more = {} }: Surroundings = {},
): Ended {
  const env = { ...process.env, COLUMNS: `${columns}`, ...more };
  const { error, status, stdout, stderr } = spawnSync(process.execPath, [binary, ...args], {
    cwd,
    input,
    env,
    encoding: "utf8",
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

/** What `xent ... --json` prints; it has to succeed. */
export function xentJson<T>(args: readonly string[], surroundings?: Surroundings): T {
  const { status, stdout, stderr } = xentCommand([...args, "--json"], surroundings);
  if (status !== 0) throw new Error(`xent ${args.join(" ")} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

/** Arguments in which an option that is there again takes the place of the one before: the command itself refuses two. */
export function overriding(args: readonly string[]): string[] {
  const given = new Map<string, string[]>();
  const others: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const [arg, next] = [args[i] as string, args[i + 1]];
    if (!arg.startsWith("--")) others.push(arg);
    else if (next === undefined || next.startsWith("--")) given.set(arg, [arg]);
    else {
      given.set(arg, [arg, next]);
      i++;
    }
  }
  return [...others, ...[...given.values()].flat()];
}
