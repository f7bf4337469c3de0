// An application that uses all of xent, with a pool of two threads: on a page, or under Node.
import { job } from "./job.js";

job(2).then((outcomes) => console.log(JSON.stringify(outcomes)));
