// node bundle.mjs <bundler> <bundles>: bundles main.js of folders into others, each { platform, app, out } as JSON, and prints the warnings
// of each as JSON. The only settings are paths and the target. One process for all of them loads and compiles the bundler once.
import { join } from "node:path";

const [name, bundles] = process.argv.slice(2);
const inputOf = ({ app }) => join(app, "main.js");
const filenameOf = ({ platform }) => (platform === "node" ? "main.cjs" : "main.js");

const bundlers = {
  async esbuild({ platform, out, ...bundle }) {
    const { build } = await import("esbuild");
    const outfile = join(out, filenameOf({ platform }));
    const built = await build({ entryPoints: [inputOf(bundle)], outfile, platform, bundle: true, minify: true });
    return built.warnings.map(({ text }) => text);
  },
  async vite({ app, out }) {
    const { build, createLogger } = await import("vite");
    const warnings = [];
    const warn = (text) => warnings.push(text);
    const customLogger = { ...createLogger("silent"), warn, warnOnce: warn };
    await build({ root: app, configFile: false, logLevel: "warn", customLogger, build: { outDir: out } });
    return warnings;
  },
  async webpack({ platform, app, out }) {
    const { default: webpack } = await import("webpack");
    const target = platform === "node" ? "node" : "web";
    const compiler = webpack({
      context: app,
      entry: "./main.js",
      target,
      output: { path: out, filename: filenameOf({ platform }) },
      mode: "production",
    });
    const stats = await new Promise((resolve, reject) => {
      compiler.run((error, built) => (error ? reject(error) : resolve(built)));
    });
    const { errors, warnings } = stats.toJson();
    return [...errors, ...warnings].map(({ message }) => message);
  },
  async rollup({ app, out }) {
    const { rollup } = await import("rollup");
    const { nodeResolve } = await import("@rollup/plugin-node-resolve");
    const warnings = [];
    const built = await rollup({
      input: inputOf({ app }),
      plugins: [nodeResolve()],
      onwarn: ({ message }) => warnings.push(message),
    });
    await built.write({ dir: out });
    return warnings;
  },
};

const warnings = [];
for (const bundle of JSON.parse(bundles)) warnings.push(await bundlers[name](bundle));
console.log(JSON.stringify(warnings));
