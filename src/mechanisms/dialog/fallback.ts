import type { Surroundings } from "./client.ts";

type Open = Surroundings["open"];

/**
 * Some networks let no WebSocket through, or swallow what goes over it. When nothing came over one, the next attempt goes
 * the other way, and back again when nothing comes there either; the way that works is kept. An address of HTTP
 * is asked for the other way at once.
 */
export function alternating(direct: Open, posted: Open): Open {
  let posts = false;
  let works = true;
  return (url, listener) => {
    if (!works) posts = !posts;
    works = false;
    return (posts || url.startsWith("http") ? posted : direct)(url, {
      ...listener,
      message(bytes) {
        works = true;
        listener.message(bytes);
      },
    });
  };
}
