import { WebBody } from "./body.ts";
import { downloadChunks } from "./download.ts";
import type { DownloadSource } from "./download.ts";
import type { Exchange } from "./exchange.ts";
import type { DownloadPlan } from "./protocol/download-plan.ts";
import type { Reply, RequestHead } from "./protocol/messages.ts";

export function webHead(request: Request): RequestHead {
  return { method: request.method, header: (name) => request.headers.get(name) ?? undefined };
}

export function webExchange(request: Request, killed: () => void): Exchange {
  const agent = request.headers.get("user-agent");
  const body = new WebBody(request.body);
  request.signal.addEventListener("abort", () => body.stop());
  return {
    head: webHead(request),
    request,
    path: new URL(request.url).pathname,
    peer: agent === null ? {} : { agent: agent.slice(0, 200) },
    body,
    // A fetch handler has one response to give.
    interim: () => {},
    kill: killed,
  };
}

export function replyResponse(
  request: Request,
  reply: Reply,
  cors: Readonly<Record<string, string>>,
): Response {
  const headers = new Headers({ ...cors, ...reply.headers });
  const body = reply.problem === undefined ? reply.text : JSON.stringify(reply.problem);
  if (body !== undefined && !headers.has("content-type")) {
    headers.set(
      "content-type",
      reply.problem === undefined ? "text/plain; charset=utf-8" : "application/problem+json",
    );
  }
  const bodiless = request.method === "HEAD" || reply.status === 204 || reply.status === 304;
  return new Response(bodiless ? null : (body ?? ""), { status: reply.status, headers });
}

export function downloadResponse(
  request: Request,
  plan: DownloadPlan,
  source: DownloadSource,
  cors: Readonly<Record<string, string>>,
): Response {
  const headers = new Headers({ ...cors, ...plan.headers });
  if (request.method === "HEAD" || plan.body.length === 0) {
    return new Response(null, { status: plan.status, headers });
  }
  const chunks = downloadChunks(plan, source);
  const stream = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      try {
        const next = await chunks.next();
        if (next.done === true) {
          controller.close();
          await source.close();
        } else {
          controller.enqueue(next.value);
        }
      } catch (error) {
        controller.error(error);
        await source.close();
      }
    },
    cancel: () => source.close(),
  });
  return new Response(stream, { status: plan.status, headers });
}
