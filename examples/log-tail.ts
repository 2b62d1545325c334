/**
 * The tail of a syslog feed as a page, which loses nothing: node build/examples/log-tail.js DIRECTORY [PORT] [SYSLOG-PORT]
 *
 *   logger -n 127.0.0.1 -P 5514 -T "hello"
 *   curl -N http://127.0.0.1:8080/tail?from=oldest
 *
 * Open the page, close the lid, kill the server and start it again: the page goes on with the line after the last it had.
 */
import { createServer } from "node:http";
import { join } from "node:path";
import { createKernel } from "../src/kernel/index.ts";
import { Feed, serveFeed } from "../src/mechanisms/dialog/index.ts";
import { createSyslog, SEVERITIES } from "../src/mechanisms/syslog/index.ts";
import { embeddedLog } from "../src/store/embedded/log.ts";
import { memory } from "../src/store/memory/index.ts";

const [, , directory = "log-tail", port = "8080", syslogPort = "5514"] = process.argv;
const onFault = (error: unknown): void => console.error(error);
const kernel = createKernel({ store: memory(), onFault });
const log = embeddedLog({ path: join(directory, "streams"), onFault });
const feed = new Feed({ log, name: "syslog", keep: 10_000 });

const syslog = createSyslog({
  kernel,
  deliver: ({ severity, host = "-", app = "-", text }) =>
    feed.publish(`${SEVERITIES[severity]} ${host} ${app}: ${text}`),
  onFault,
});
const listening = await syslog.listenTcp({ port: Number(syslogPort) });
await syslog.listenUdp({ port: listening.port });

const server = createServer((request, response) => {
  if (request.url?.startsWith("/tail") === true)
    return void serveFeed(request, response, { kernel, feed, welcome: {}, onFault });
  response.setHeader("content-type", "text/html; charset=utf-8");
  response.end(PAGE);
});
await new Promise<void>((resolve) => server.listen(Number(port), "127.0.0.1", resolve));
const at = server.address();
console.log(`page http://127.0.0.1:${typeof at === "object" ? at?.port : port} syslog ${listening.port}`);

for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.once(signal, () => {
    void (async () => {
      server.closeAllConnections();
      server.close();
      await syslog.close();
      await feed.settled();
      await kernel.close();
      await log.close();
    })();
  });

const PAGE = `<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>Log tail</title>
<link rel="icon" href="data:,">
<style>
  body { font: 14px/1.5 ui-monospace, monospace; margin: 1.5rem; color-scheme: light dark }
  ol { list-style: none; padding: 0; overflow-wrap: anywhere }
  .warning, .err, .crit, .alert, .emerg { color: #c33 }
  .gap { opacity: 0.6; font-style: italic }
</style>
<h1>Log tail</h1>
<p role="status" id="state">connecting</p>
<ol id="lines"></ol>
<script>
  const lines = document.getElementById("lines");
  const state = document.getElementById("state");
  const add = (text, kind) => {
    const line = document.createElement("li");
    line.textContent = text;
    line.className = kind;
    lines.append(line);
    while (lines.children.length > 1000) lines.firstChild.remove();
    scrollTo(0, document.body.scrollHeight);
  };
  // After a reload it goes on as well; while the page is open the browser brings the last id along by itself.
  const last = sessionStorage.getItem("last");
  const source = new EventSource("/tail?from=" + (last === null ? "oldest" : Number(last) + 1));
  source.onopen = () => (state.textContent = "live");
  source.onerror = () => (state.textContent = "not connected, trying again");
  source.onmessage = ({ data, lastEventId }) => {
    sessionStorage.setItem("last", lastEventId);
    add(data, data.split(" ", 1)[0]);
  };
  source.addEventListener("gap", ({ data, lastEventId }) => {
    sessionStorage.setItem("last", lastEventId);
    const { from, to } = JSON.parse(data);
    add(to - from + 1 + " lines were not kept", "gap");
  });
  source.addEventListener("reset", () => add("the log begins anew", "gap"));
</script>
`;
