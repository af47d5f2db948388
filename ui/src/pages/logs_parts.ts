/** What the parts of the Logs page share. */
import type { FieldSource } from "../query/logql.ts";

/** Narrows the query to a value or away from it. `label` is the field's name in queries. */
export type OnFilter = (label: string, op: "=" | "!=", value: string, source: FieldSource) => void;
