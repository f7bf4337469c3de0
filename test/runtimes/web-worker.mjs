// A worker that runs rows of batches that the owner of the memory shares with it. The message has the URL of xent, for the import map of a
// page does not apply to its workers.
let attached;

addEventListener("message", async ({ data: { url, xent, batch, options } }) => {
  attached ??= import(url).then(({ attach }) => attach(xent));
  (await attached).attachBatch(batch).run(options);
  postMessage("done");
});
