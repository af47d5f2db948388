// The interface of this working tree over the APIs of a running server, so that neither waits for the other to be built:
// node test/proxy.mjs SERVER_URL [PORT], then open http://127.0.0.1:PORT/ui/.
import { request as ask } from "node:http";
import { startMock } from "./mock.mjs";

/** Starts it; resolves to { url, close }. */
export const startProxy = (server, port = 0) => startMock(port, () => false, (request, response) => forward(new URL(server), request, response), (request, socket, head) => upgrade(new URL(server), request, socket, head));

function forward(server, request, response) {
  const options = { host: server.hostname, port: server.port, path: request.url, method: request.method, headers: { ...request.headers, host: server.host } };
  const onward = ask(options, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on("error", (e) => response.writeHead(502).end(e.message));
  request.pipe(onward);
}

function upgrade(server, request, socket, head) {
  const onward = ask({ host: server.hostname, port: server.port, path: request.url, headers: { ...request.headers, host: server.host } });
  onward.on("upgrade", (answer, behind, rest) => {
    const lines = Object.entries(answer.headers).map(([k, v]) => `${k}: ${v}`);
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${lines.join("\r\n")}\r\n\r\n`);
    socket.write(rest);
    behind.write(head);
    behind.pipe(socket).pipe(behind);
    for (const s of [behind, socket]) s.on("error", () => (behind.destroy(), socket.destroy()));
  });
  onward.on("response", (answer) => socket.end(`HTTP/1.1 ${answer.statusCode} No\r\n\r\n`));
  onward.on("error", () => socket.end("HTTP/1.1 502 No\r\n\r\n"));
  onward.end();
}

if (process.argv[1]?.endsWith("proxy.mjs")) {
  const { url } = await startProxy(process.argv[2], Number(process.argv[3] ?? 7072));
  console.log(`interface of this tree over ${process.argv[2]} at ${url}/ui/`);
}
