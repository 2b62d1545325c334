import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { ConnectionOptions } from "node:tls";
import type { Fetcher } from "./posted-link.ts";

/** Over Node's own HTTP client: `fetch` gives up streams that are quiet for five minutes, and takes no certificates. */
export function nodeFetcher(tls: ConnectionOptions = {}): Fetcher {
  return (url, { method, headers, body, signal }) =>
    new Promise((resolve, reject) => {
      const options = { method, headers: { ...headers }, signal };
      const request = url.startsWith("https:")
        ? requestHttps(url, { ...tls, ...options })
        : requestHttp(url, options);
      request.setNoDelay(true);
      request.on("error", reject);
      request.on("response", (response) => {
        resolve({ status: response.statusCode ?? 0, body: response });
        // Nobody reads the answer to a post, and unread it would hold its connection.
        if (response.headers["content-type"] !== "text/event-stream")
          response.on("error", () => undefined).resume();
      });
      request.end(body);
    });
}
