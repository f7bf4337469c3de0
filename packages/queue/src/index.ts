/**
 * Tasks on a queue in Redis, computed by workers on any number of machines, with one result each. BullMQ does the work; this says
 * what is wanted of it: a task that was computed twice counts once, and a run that was broken off goes on where it was.
 *
 * @module
 */

export { type CollectOptions, collect, forget, type Task } from "./collect.ts";
export { assertReachable, QueueError } from "./connection.ts";
export { type ServeOptions, serve } from "./serve.ts";
