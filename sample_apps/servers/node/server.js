// The routes of sample_apps/servers on node:http. ON_SIGTERM says what it does when it is asked to stop:
//
//   nothing   no handler: the signal ends the process at once. The default, as it is Node's.
//   exit      a handler that exits with status 0, which cuts what is in flight and looks well.
//   close     server.close() and server.closeIdleConnections(), as most guides say. From Node 19 on the first does the second.
//   drain     it serves on for DRAIN_MS with `Connection: close` on each answer, so that clients leave by themselves, and closes then.
//
// KEEP_ALIVE_MS is how long an idle connection is kept; Node's own 5 s unless it is set. START_MS is how long it takes until it listens.

import { createServer } from "node:http";

const LONGEST_ANSWER_MS = 30_000;
const DRAIN_MS = Number(process.env.DRAIN_MS ?? 1500);
let draining = false;

const server = createServer((request, response) => {
  const url = new URL(request.url, "http://localhost");
  const answer = (body, status = 200) => {
    const headers = { "Content-Type": "text/plain", "Content-Length": Buffer.byteLength(body) };
    response.writeHead(status, draining ? { ...headers, Connection: "close" } : headers).end(body);
  };
  const durationMs = (otherwise) => {
    const ms = Number.parseInt(url.searchParams.get("ms") ?? "", 10);
    return Math.min(Number.isNaN(ms) ? otherwise : ms, LONGEST_ANSWER_MS);
  };
  if (url.pathname === "/healthz") answer("ok");
  else if (url.pathname.startsWith("/echo/")) answer(url.pathname.slice("/echo/".length));
  else if (url.pathname === "/slow") setTimeout(() => answer("slow"), durationMs(300));
  else if (url.pathname === "/work") {
    const until = performance.now() + durationMs(5);
    while (performance.now() < until); // holds up the event loop, as rendering a page does
    answer("work");
  } else answer("no such route", 404);
});

const onSigterm = {
  nothing: undefined,
  exit: () => process.exit(0),
  close: () => {
    server.close();
    server.closeIdleConnections();
  },
  drain: () => {
    draining = true;
    setTimeout(onSigterm.close, DRAIN_MS);
  },
};

const chosen = process.env.ON_SIGTERM ?? "nothing";
if (!(chosen in onSigterm)) throw new Error(`ON_SIGTERM must be one of ${Object.keys(onSigterm).join(", ")}, not ${chosen}`);
if (onSigterm[chosen]) process.on("SIGTERM", onSigterm[chosen]);
if (process.env.KEEP_ALIVE_MS) server.keepAliveTimeout = Number(process.env.KEEP_ALIVE_MS);
const listen = () => server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log(`listening on ${process.env.PORT}`));
setTimeout(listen, Number(process.env.START_MS ?? 0));
