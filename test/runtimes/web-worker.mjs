// A worker that runs rows of batches which the owner of the memory shares with it. Where xent is comes with the message: the
// import map of a page does not hold in its workers.
let attached;

addEventListener("message", async ({ data: { url, xent, batch, options } }) => {
  attached ??= import(url).then(({ attach }) => attach(xent));
  (await attached).attachBatch(batch).run(options);
  postMessage("done");
});
