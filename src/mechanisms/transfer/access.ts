import type { Exchange } from "./exchange.ts";
import type { AuthorizeRequest, TransferPolicy, TransfersOptions, Verdict } from "./policy.ts";
import type { CreateCommand, Fault } from "./protocol/messages.ts";
import type { Upload } from "./upload.ts";

/** Whose request it is, what it is about, and where things lie on this server. */
export class Access {
  readonly #authorize: TransfersOptions["authorize"];
  readonly #policy: TransferPolicy;

  constructor(authorize: TransfersOptions["authorize"], policy: TransferPolicy) {
    this.#authorize = authorize;
    this.#policy = policy;
  }

  async authorize(
    asked: Omit<AuthorizeRequest, "header" | "request">,
    exchange: Exchange,
    upload?: Upload,
  ): Promise<(Verdict & { allow: true }) | Fault> {
    const verdict = (await this.#authorize?.({
      ...asked,
      request: exchange.request,
      header: (name) => exchange.head.header(name),
    })) ?? { allow: true as const };
    if (!verdict.allow) {
      const { status, why, challenge } = verdict;
      if (status === 403) return { fault: "forbidden", why };
      return { fault: "unauthenticated", ...(challenge !== undefined && { challenge }) };
    }
    const owner = upload?.info.principal;
    // Another principal's upload looks as if it were not there.
    if (this.#authorize !== undefined && owner !== undefined && owner !== verdict.principal)
      return { fault: "absent" };
    return verdict;
  }

  target(path: string): { readonly token?: string } | undefined {
    const base = this.#policy.path.replace(/\/+$/, "");
    if (path === base || path === `${base}/`) return {};
    if (!path.startsWith(`${base}/`)) return undefined;
    const token = path.slice(base.length + 1);
    return token.includes("/") ? undefined : { token };
  }

  location(token: string): string {
    return `${this.#policy.publicOrigin ?? ""}${this.#policy.path.replace(/\/+$/, "")}/${token}`;
  }

  cors(exchange: Exchange): Readonly<Record<string, string>> {
    const origin = exchange.head.header("origin");
    const { cors } = this.#policy;
    if (origin === undefined || (cors !== "*" && !cors.includes(origin))) return {};
    return {
      "Access-Control-Allow-Origin": cors === "*" ? "*" : origin,
      ...(cors !== "*" && { "Access-Control-Allow-Credentials": "true", Vary: "Origin" }),
      "Access-Control-Allow-Methods": "OPTIONS, HEAD, GET, POST, PUT, PATCH, DELETE",
      "Access-Control-Allow-Headers": CORS_REQUEST_FIELDS,
      "Access-Control-Expose-Headers": CORS_RESPONSE_FIELDS,
      "Access-Control-Max-Age": "86400",
    };
  }
}

/** What `authorize` is told of an upload that exists. */
export function aboutUpload(upload: Upload): Omit<AuthorizeRequest, "header" | "request" | "action"> {
  const { name, type, handle, principal } = upload.info;
  return {
    handle,
    ...(upload.length !== undefined && { length: upload.length }),
    ...(name !== undefined && { name }),
    ...(type !== undefined && { type }),
    ...(principal !== undefined && { principal }),
  };
}

/** tus 1.0: X-HTTP-Method-Override stands for the method, for peers that cannot send PATCH or DELETE. */
export function methodOf(exchange: Exchange): string {
  return (exchange.head.header("x-http-method-override") ?? exchange.head.method).trim().toUpperCase();
}

/** And of one that is to be made. */
export function aboutCreation(command: CreateCommand): Pick<AuthorizeRequest, "length" | "name" | "type"> {
  const text = (key: string): string | undefined => {
    const bytes = command.metadata.get(key);
    return bytes === undefined ? undefined : Buffer.from(bytes).toString("utf8");
  };
  const [name, type] = [text("filename") ?? text("name"), text("filetype") ?? text("type")];
  return {
    ...(command.length !== undefined && { length: command.length }),
    ...(name !== undefined && { name }),
    ...(type !== undefined && { type }),
  };
}

/** The path of a URL, absolute or not; empty when it is neither. */
export function pathOf(url: string): string {
  try {
    return new URL(url, "http://localhost").pathname;
  } catch {
    return "";
  }
}

const CORS_REQUEST_FIELDS =
  "Authorization, Content-Type, Content-Digest, Content-Disposition, Repr-Digest, Want-Repr-Digest, Tus-Resumable, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Checksum, Upload-Complete, Upload-Incomplete, Upload-Draft-Interop-Version, X-HTTP-Method-Override, X-Requested-With";
const CORS_RESPONSE_FIELDS =
  "Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, Upload-Offset, Upload-Length, Upload-Metadata, Upload-Defer-Length, Upload-Concat, Upload-Expires, Upload-Complete, Upload-Incomplete, Upload-Limit, Upload-Draft-Interop-Version, Repr-Digest, ETag, Content-Range, Accept-Ranges, Content-Disposition";
