import { connect } from "node:net";

/** Sends `requests` GETs over `connections` kept-alive connections, one at a time on each. Resolves with the seconds taken. */
export async function load(
  port: number,
  cookie: string,
  requests: number,
  connections = 16,
): Promise<number> {
  const head = `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nCookie: ${cookie}\r\nAccept: application/json\r\n\r\n`;
  let left = requests;
  const started = process.hrtime.bigint();
  await Promise.all(Array.from({ length: connections }, () => one(port, head, () => left-- > 0)));
  return Number(process.hrtime.bigint() - started) / 1e9;
}

function one(port: number, head: string, more: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true });
    let text = "";
    const next = (): void => {
      if (more()) socket.write(head);
      else socket.end();
    };
    socket.setEncoding("latin1");
    socket.on("connect", next);
    socket.on("data", (chunk: string) => {
      text += chunk;
      const whole = responseEnd(text);
      if (whole === undefined) return;
      if (!text.startsWith("HTTP/1.1 200") || !text.includes('"alice"')) {
        reject(new Error(`an answer that is not the user's: ${text.slice(0, 200)}`));
        socket.destroy();
        return;
      }
      text = text.slice(whole);
      next();
    });
    socket.on("close", () => resolve());
    socket.on("error", reject);
  });
}

/** Where the first response in `text` ends, by its Content-Length or its last chunk. */
function responseEnd(text: string): number | undefined {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd === -1) return undefined;
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, headEnd + 2))?.[1];
  if (length !== undefined) {
    const end = headEnd + 4 + Number(length);
    return text.length >= end ? end : undefined;
  }
  const last = text.indexOf("\r\n0\r\n\r\n", headEnd);
  return last === -1 ? undefined : last + 7;
}
