// Log lines through the Loki transports of winston (protobuf under snappy, and JSON) and pino: node loki.mjs BASE_URL
import pino from "pino";
import pinoLoki from "pino-loki";
import winston from "winston";
import LokiTransport from "winston-loki";

const host = process.argv[2];
const failed = (error) => {
  console.error(error);
  process.exit(1);
};

for (const json of [false, true]) {
  const labels = { app: json ? "winston-json" : "winston-protobuf" };
  const transport = new LokiTransport({ host, json, labels, batching: false, gracefulShutdown: false, onConnectionError: failed });
  const logger = winston.createLogger({ level: "debug", format: winston.format.json(), transports: [transport] });
  logger.error("order failed", { order: 7 });
  logger.info("order «7» is mended");
  await transport.flush?.();
}

const stream = pinoLoki({ host, labels: { app: "pino" }, propsToLabels: ["kind"], batching: { interval: 1 }, silenceErrors: false });
const log = pino({ level: "debug" }, stream);
log.error({ kind: "book", order: 7 }, "order failed");
log.info({ kind: "book" }, "order «7» is mended");
stream.end();
