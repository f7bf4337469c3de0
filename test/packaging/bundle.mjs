// node bundle.mjs <bundler> <browser or node> <application> <out>: bundles main.js of one folder into another, and prints the
// warnings. The only settings are paths and the target.
import { join } from "node:path";

const [name, platform, app, out] = process.argv.slice(2);
const input = join(app, "main.js");
const filename = platform === "node" ? "main.cjs" : "main.js";

const bundlers = {
  async esbuild() {
    const { build } = await import("esbuild");
    const outfile = join(out, filename);
    const built = await build({ entryPoints: [input], outfile, platform, bundle: true, minify: true });
    return built.warnings.map(({ text }) => text);
  },
  async vite() {
    const { build, createLogger } = await import("vite");
    const warnings = [];
    const warn = (text) => warnings.push(text);
    const customLogger = { ...createLogger("silent"), warn, warnOnce: warn };
    await build({ root: app, configFile: false, logLevel: "warn", customLogger, build: { outDir: out } });
    return warnings;
  },
  async webpack() {
    const { default: webpack } = await import("webpack");
    const target = platform === "node" ? "node" : "web";
    const compiler = webpack({
      context: app,
      entry: "./main.js",
      target,
      output: { path: out, filename },
      mode: "production",
    });
    const stats = await new Promise((resolve, reject) => {
      compiler.run((error, built) => (error ? reject(error) : resolve(built)));
    });
    const { errors, warnings } = stats.toJson();
    return [...errors, ...warnings].map(({ message }) => message);
  },
  async rollup() {
    const { rollup } = await import("rollup");
    const { nodeResolve } = await import("@rollup/plugin-node-resolve");
    const warnings = [];
    const built = await rollup({ input, plugins: [nodeResolve()], onwarn: ({ message }) => warnings.push(message) });
    await built.write({ dir: out });
    return warnings;
  },
};

console.log(JSON.stringify(await bundlers[name]()));
