import type { Surroundings } from "./client.ts";

type Open = Surroundings["open"];

/**
 * Some networks let no WebSocket through. When one was closed before anything came over it, the next attempt goes the
 * other way, and back again when that is closed as well; the way that works is kept.
 */
export function alternating(direct: Open, posted: Open): Open {
  let usesPosted = false;
  return (url, listener) => {
    if (!url.startsWith("ws")) return direct(url, listener);
    let works = false;
    return (usesPosted ? posted : direct)(url, {
      ...listener,
      message(bytes) {
        works = true;
        listener.message(bytes);
      },
      closed() {
        if (!works) usesPosted = !usesPosted;
        listener.closed();
      },
    });
  };
}
