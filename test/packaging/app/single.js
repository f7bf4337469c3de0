// The same without a pool: not bundled, it says what the bundles must say.
import { job } from "./job.js";

job(1).then((outcomes) => console.log(JSON.stringify(outcomes)));
