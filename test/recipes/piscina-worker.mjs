import { attach } from "xent";

export default ({ xent, batch, rows }) => attach(xent).attachBatch(batch).run({ rows });
