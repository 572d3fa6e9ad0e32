// Options for pino: `pino(options)` writes the same lines as the logger of tracelog.mjs, without the source location.

import { errorFields, traceFields } from "./tracelog.mjs";

const SEVERITIES = { trace: "DEBUG", debug: "DEBUG", info: "INFO", warn: "WARNING", error: "ERROR", fatal: "CRITICAL" };

export const options = {
  messageKey: "message",
  base: null, // no `pid` and `hostname`
  timestamp: () => `,"time":"${new Date().toISOString()}"`,
  mixin: traceFields,
  formatters: {
    level: (label) => ({ severity: SEVERITIES[label] ?? "DEFAULT" }),
    log: ({ err, ...fields }) => (err instanceof Error ? { ...fields, ...errorFields(err) } : { ...fields, err }),
  },
};
