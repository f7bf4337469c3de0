// Builds the playground and serves it on this machine until it is stopped. The first argument is the port, 8080 by default.
import { createServer } from "node:http";
import { buildPlayground, page } from "../packages/playground/build.mjs";

const html = await buildPlayground();
const port = Number(process.argv[2] ?? 8080);

const server = createServer(({ url }, response) => {
  const found = url === "/" || url === "/index.html";
  response.writeHead(found ? 200 : 404, { "Content-Type": "text/html; charset=utf-8" }).end(found ? html : "");
});
server.on("error", (error) => {
  console.error(`playground stopped: ${error.message}\n    another port: npm run playground -- 8081`);
  process.exit(1);
});
server.listen(port, "127.0.0.1", () => {
  console.log(`playground: http://localhost:${port}/ (${(html.length / 1000).toFixed(0)} kB; ends with Ctrl+C)`);
  console.log(`    the same page, without a server: ${page}`);
});
