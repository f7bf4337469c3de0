// What each bundler does with an application's main.js, with no setting but where it is and where the bundle goes.
import { join } from "node:path";
import { nodeResolve } from "@rollup/plugin-node-resolve";
import { build as esbuild, type Platform } from "esbuild";
import { rollup } from "rollup";
import { createLogger, build as vite } from "vite";
import webpack from "webpack";

/** Bundles the application in folder `app` into folder `out`, and returns the warnings. */
export type Bundler = (app: string, out: string) => Promise<string[]>;

const withEsbuild =
  (platform: Platform, outfile: string): Bundler =>
  async (app, out) => {
    const entryPoints = [join(app, "main.js")];
    const built = await esbuild({ entryPoints, outfile: join(out, outfile), platform, bundle: true, minify: true });
    return built.warnings.map(({ text }) => text);
  };

const withWebpack =
  (target: "web" | "node", filename: string): Bundler =>
  async (context, path) => {
    const compiler = webpack({ context, entry: "./main.js", target, mode: "production", output: { path, filename } });
    const stats = await new Promise<webpack.Stats | undefined>((resolve, reject) =>
      compiler.run((error, built) => (error ? reject(error) : resolve(built))),
    );
    const { errors = [], warnings = [] } = stats?.toJson() ?? {};
    return [...errors, ...warnings].map(({ message }) => message);
  };

export const forPages: Record<string, Bundler> = {
  esbuild: withEsbuild("browser", "main.js"),
  async vite(root, outDir) {
    const warnings: string[] = [];
    const warn = (text: string) => warnings.push(text);
    const customLogger = { ...createLogger("silent"), warn, warnOnce: warn };
    await vite({ root, configFile: false, logLevel: "warn", customLogger, build: { outDir } });
    return warnings;
  },
  webpack: withWebpack("web", "main.js"),
  async rollup(app, dir) {
    const warnings: string[] = [];
    const plugins = [nodeResolve()];
    const built = await rollup({
      input: join(app, "main.js"),
      plugins,
      onwarn: ({ message }) => warnings.push(message),
    });
    await built.write({ dir });
    return warnings;
  },
};

export const forNode: Record<string, Bundler> = {
  esbuild: withEsbuild("node", "main.cjs"),
  webpack: withWebpack("node", "main.cjs"),
};
