import { attach } from "xent";

addEventListener("message", ({ data: { xent, batch, rows } }) => {
  postMessage(attach(xent).attachBatch(batch).run({ rows }));
});
