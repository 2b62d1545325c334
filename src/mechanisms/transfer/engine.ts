import {
  dialectOf,
  ietfAppended,
  ietfCreated,
  ietfInspected,
  ietfProgress,
  ietfRefused,
  ietfResumable,
  ietfTerminated,
  marksIetf,
  parseIetf,
} from "./protocol/ietf.ts";
import type { Fault, Limits, Parsed, Reply, RequestHead, UploadStatus } from "./protocol/messages.ts";
import type { MetadataLimits } from "./protocol/metadata.ts";
import {
  parseTus,
  tusAppended,
  tusCreated,
  tusInspected,
  tusRefused,
  tusTerminated,
} from "./protocol/tus.ts";

/** One protocol's way of reading requests and wording replies. What is done between the two is the same for both. */
export interface Engine {
  readonly protocol: "tus" | "ietf";
  /** True when the request itself says that it is of this protocol. */
  readonly marked: boolean;
  /** 104 with the upload's URL at creation; 104 with the offset while content arrives. */
  readonly tellsInterim: boolean;
  readonly tellsProgress: boolean;
  parse(
    head: RequestHead,
    method: string,
    onUpload: boolean,
    limits: Limits & { readonly metadata: MetadataLimits },
  ): Parsed;
  created(status: UploadStatus, location: string): Reply;
  appended(status: UploadStatus, location: string): Reply;
  inspected(status: UploadStatus): Reply;
  terminated(): Reply;
  refused(fault: Fault): Reply;
  resumable(location: string, status: UploadStatus): Reply;
  progress(offset: number): Reply;
}

export const tusEngine: Engine = {
  protocol: "tus",
  marked: true,
  tellsInterim: false,
  tellsProgress: false,
  parse: (head, method, onUpload, limits) => {
    const parsed = parseTus(head, method, limits);
    if ("fault" in parsed) return parsed;
    return (parsed.command.act === "create") === onUpload ? { fault: "method" } : parsed;
  },
  created: tusCreated,
  appended: tusAppended,
  inspected: tusInspected,
  terminated: tusTerminated,
  refused: tusRefused,
  resumable: (location, status) => tusCreated(status, location),
  progress: (offset) => ({ status: 104, headers: { "Upload-Offset": String(offset) } }),
};

export function ietfEngine(head: RequestHead, limits: Limits, now: () => number): Engine {
  const { dialect, named } = dialectOf(head);
  return {
    protocol: "ietf",
    marked: marksIetf(head),
    tellsInterim: named,
    tellsProgress: named && dialect.progress,
    parse: (request, method, onUpload) => parseIetf(request, method, onUpload, limits),
    created: (status, location) => ietfCreated(dialect, location, status, limits, now()),
    appended: (status, location) => ietfAppended(dialect, location, status, limits, now()),
    inspected: (status) => ietfInspected(dialect, status, limits, now()),
    terminated: () => ietfTerminated(dialect),
    refused: (fault) => ietfRefused(dialect, fault, limits),
    resumable: (location, status) => ietfResumable(dialect, location, status, limits, now()),
    progress: (offset) => ietfProgress(dialect, offset),
  };
}
