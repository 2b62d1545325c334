/** Small parsers of header fields that several protocols share. */

/** A non-negative integer that JavaScript can hold exactly. */
export function parseCount(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text.trim())) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** RFC 9651 §3.3.6, a Boolean item; parameters are allowed and ignored. */
export function parseBoolean(text: string | undefined): boolean | undefined {
  const match = text === undefined ? null : /^ *\?([01]) *(?:;.*)?$/.exec(text);
  return match === null ? undefined : match[1] === "1";
}

/** RFC 9651 §3.3.1, an Integer item of at most 15 digits that is not negative. */
export function parseInteger(text: string | undefined): number | undefined {
  const match = text === undefined ? null : /^ *(\d{1,15}) *(?:;.*)?$/.exec(text);
  return match?.[1] === undefined ? undefined : Number(match[1]);
}

export function serializeBoolean(value: boolean): string {
  return value ? "?1" : "?0";
}

/** The media type without its parameters, in lower case. */
export function mediaType(field: string | undefined): string | undefined {
  return field?.split(";", 1)[0]?.trim().toLowerCase();
}

/** IMF-fixdate of RFC 9110 §5.6.7, in whole seconds. */
export function httpDate(at: number): string {
  return new Date(at).toUTCString();
}

/** RFC 9110 §5.6.7, in any of its three forms; ms since 1970, or `undefined`. */
export function parseHttpDate(text: string): number | undefined {
  if (!/^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)/.test(text)) return undefined;
  const at = Date.parse(text.endsWith("GMT") ? text : `${text} GMT`);
  return Number.isNaN(at) ? undefined : at;
}

/** RFC 6266: the file name of a Content-Disposition; the extended form wins. */
export function dispositionFileName(field: string | undefined): string | undefined {
  if (field === undefined) return undefined;
  const extended = /;\s*filename\*\s*=\s*UTF-8'[^']*'([^;\s]+)/i.exec(field)?.[1];
  if (extended !== undefined) {
    try {
      return decodeURIComponent(extended);
    } catch {
      // Broken percent-encoding: fall back to the plain form.
    }
  }
  const quoted = /;\s*filename\s*=\s*"((?:[^"\\]|\\.)*)"/i.exec(field)?.[1];
  if (quoted !== undefined) return quoted.replaceAll(/\\(.)/g, "$1");
  return /;\s*filename\s*=\s*([^;"\s]+)/i.exec(field)?.[1];
}

/** RFC 6266 for a response: an ASCII stand-in, and the real name in the extended form. */
export function attachment(name: string): string {
  const plain = name.replaceAll(/[^ !#-[\]-~]/g, "_");
  const extended = encodeURIComponent(name).replaceAll(
    /['()*]/g,
    (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return plain === name
    ? `attachment; filename="${plain}"`
    : `attachment; filename="${plain}"; filename*=UTF-8''${extended}`;
}
