/**
 * Tasks on a queue in Redis, computed by workers on any number of machines, with exactly one result each. On top of BullMQ: a task that was
 * computed twice counts once, and an interrupted run continues where it stopped.
 *
 * @module
 */

export { type CollectOptions, collect, forget, type Task } from "./collect.ts";
export { assertReachable, QueueError } from "./connection.ts";
export { type ServeOptions, serve } from "./serve.ts";
