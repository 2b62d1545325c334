import { TransferError, isRetriable } from "./retry.ts";

export function failure(doing: string, response: Response | undefined): TransferError {
  return response === undefined
    ? new TransferError("unreachable", `The server could not be reached to ${doing}.`)
    : new TransferError(
        isRetriable(response.status) ? "unreachable" : "unsupported",
        `The server answered ${response.status} when asked to ${doing}.`,
        {
          status: response.status,
        },
      );
}

export function metadataField(metadata: Readonly<Record<string, string>>): string {
  return Object.entries(metadata)
    .map(([key, value]) => (value === "" ? key : `${key} ${base64(new TextEncoder().encode(value))}`))
    .join(",");
}

export function countOf(response: Response | undefined, name: string): number | undefined {
  const text = response?.headers.get(name);
  return text !== undefined && text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

export function digestOf(response: Response | undefined): string | undefined {
  return /(?:^|[,\s])sha-256=:([A-Za-z0-9+/=]+):/.exec(response?.headers.get("repr-digest") ?? "")?.[1];
}

export function base64(bytes: Uint8Array): string {
  let text = "";
  for (const one of bytes) text += String.fromCharCode(one);
  return btoa(text);
}
