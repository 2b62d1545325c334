// Bundled for the browser by transfer-browser.test.ts: Uppy with its tus plugin, as its documentation sets it up. Not
// TypeScript: Uppy's types would bring those of browsers to all that is compiled.
import Uppy from "@uppy/core";
import Tus from "@uppy/tus";

const CHUNK_BYTES = 128 * 1024;

const uppy = new Uppy();
uppy.use(Tus, {
  endpoint: "/files",
  chunkSize: CHUNK_BYTES,
  retryDelays: [50, 100, 200, 400, 800, 1600, 3200, 6400],
});

/** What has become of the last upload. */
let outcome;
uppy.on("complete", ({ successful = [], failed = [] }) => {
  outcome = {
    good: successful.map((file) => file.uploadURL),
    bad: failed.map((file) => String(file.error)),
  };
});

Object.assign(globalThis, {
  begin: async (name) => {
    const bytes = await (await fetch("/source")).arrayBuffer();
    const data = new File([bytes], name, { type: "application/x-test", lastModified: 1 });
    uppy.addFile({ name, type: data.type, data });
    // What comes of it is told by the event.
    uppy.upload().catch(() => undefined);
  },
  pauseAll: () => uppy.pauseAll(),
  resumeAll: () => uppy.resumeAll(),
  outcome: () => outcome,
});
