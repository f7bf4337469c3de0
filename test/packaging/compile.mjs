// node compile.mjs <typescript> <programs>: checks programs, each { folder, args } with the arguments of tsc, and prints the errors of each
// as JSON. One process for all of them parses the library of types once.
import { createRequire } from "node:module";

const [typescript, programs] = process.argv.slice(2);
const ts = createRequire(import.meta.url)(typescript);
const libraries = new Map();

function errorsOf({ folder, args }) {
  process.chdir(folder);
  const { options, fileNames, errors } = ts.parseCommandLine(args);
  const host = ts.createCompilerHost(options);
  const { getSourceFile } = host;
  host.getSourceFile = (name, ...how) => {
    if (!/\/lib\.[\w.]+\.d\.ts$/.test(name)) return getSourceFile(name, ...how);
    if (!libraries.has(name)) libraries.set(name, getSourceFile(name, ...how));
    return libraries.get(name);
  };
  const program = ts.createProgram(fileNames, options, host);
  // All files but TypeScript's own library, which takes most of the time.
  const files = program.getSourceFiles().filter((file) => !program.isSourceFileDefaultLibrary(file));
  const all = [
    ...errors,
    ...program.getConfigFileParsingDiagnostics(),
    ...program.getOptionsDiagnostics(),
    ...program.getGlobalDiagnostics(),
    ...files.flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]),
  ];
  return ts.formatDiagnostics(ts.sortAndDeduplicateDiagnostics(all), host);
}

console.log(JSON.stringify(JSON.parse(programs).map(errorsOf)));
