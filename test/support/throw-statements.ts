// Finds the throw statements of the package that have not run, by the coverage of V8.
import type { Session } from "node:inspector/promises";
import { parseAst } from "rolldown/parseAst";
import { expect } from "vitest";

/** The throw statements of dist/index.js that have not run. */
export async function throwsLeft(session: Session): Promise<string[]> {
  const { result } = await session.post("Profiler.takePreciseCoverage");
  const script = result.find(({ url }) => url.endsWith("/packages/xent/dist/index.js"));
  if (script === undefined) throw new Error("V8 has counted nothing of xent");
  await session.post("Debugger.enable");
  const { scriptSource } = await session.post("Debugger.getScriptSource", { scriptId: script.scriptId });
  session.disconnect();
  // The count of a statement is that of the innermost range around it.
  const ranges = script.functions.flatMap(({ ranges }) => ranges);
  const countAt = (at: number): number | undefined =>
    ranges
      .filter(({ startOffset, endOffset }) => startOffset <= at && at < endOffset)
      .sort((a, b) => a.endOffset - a.startOffset - (b.endOffset - b.startOffset))[0]?.count;
  const throws = throwsIn(parseAst(scriptSource));
  expect(throws.length).toBeGreaterThan(50);
  return throws.filter(({ start }) => !countAt(start)).map(({ start, end }) => scriptSource.slice(start, end));
}

interface Span {
  start: number;
  end: number;
}

function throwsIn(node: unknown): Span[] {
  if (typeof node !== "object" || node === null) return [];
  const below = Object.values(node).flatMap(throwsIn);
  return "type" in node && node.type === "ThrowStatement" ? [node as unknown as Span, ...below] : below;
}
