// V8 compiles a function on its first call, which takes twice as long as compiling it with its script. Parentheses around a function ask
// for the latter. Bundlers with a minifier remove them again.
import { Session } from "node:inspector/promises";

/** The names of the functions of this module that run when it is imported and called. */
export async function functionsCalled(url, call) {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.startPreciseCoverage", { callCount: true });
  call(await import(url));
  const { result } = await session.post("Profiler.takePreciseCoverage");
  session.disconnect();
  const { functions } = result.find((script) => script.url === url);
  return new Set(functions.filter(({ ranges }) => ranges[0].count > 0).map(({ functionName }) => functionName));
}

/** The script with these of its functions in parentheses. */
export function withEager(code, names) {
  return code.replace(/^function ([\w$]+)\([^\n]*\{\n.*?^\}$/gms, (declaration, name) =>
    names.has(name) ? `const ${name} = (${declaration});` : declaration,
  );
}
