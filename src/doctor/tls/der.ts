import type { Fault, Reader } from "../../wire/index.ts";
import { fault } from "../../wire/index.ts";

/** One element of DER (ITU-T X.690): its identifier octet and what it holds. */
export interface DerElement {
  /** With class and constructed bit, such as 0x30 for a SEQUENCE and 0xa9 for [9]. */
  readonly tag: number;
  /** Offset of the content within what was decoded. */
  readonly at: number;
  readonly content: Buffer;
}

export const TAG = { integer: 0x02, octetString: 0x04, sequence: 0x30 } as const;

/** The identifier octet of `[number] EXPLICIT`, for numbers up to 30. */
export function explicitTag(number: number): number {
  return 0xa0 | number;
}

/** The element at the reader's place, which then stands behind it. Tags above 30 and lengths of 4 GiB are unsupported. */
export function readElement(reader: Reader): DerElement | Fault {
  const from = reader.at;
  const tag = reader.u8();
  if ((tag & 0x1f) === 0x1f) return fault("unsupported", from, "a tag of several octets");
  const length = readLength(reader);
  if (typeof length !== "number") return length;
  const at = reader.at;
  const content = reader.take(length);
  return reader.short ? fault("malformed", from, "it ends within an element") : { tag, at, content };
}

/** X.690 §10.1: the definite form, in as few octets as possible. */
function readLength(reader: Reader): number | Fault {
  const from = reader.at;
  const first = reader.u8();
  if (first < 0x80) return first;
  const octets = first & 0x7f;
  if (octets === 0) return fault("malformed", from, "a length without an end");
  if (octets > 4) return fault("unsupported", from, "a length of more than four octets");
  let length = 0;
  for (let i = 0; i < octets; i++) length = length * 256 + reader.u8();
  const least = octets === 1 ? 0x80 : 256 ** (octets - 1);
  if (!reader.short && length < least) return fault("malformed", from, "a length longer than it need be");
  return length;
}

/** A whole number of at most six octets, which is as much as is exact here. */
export function integerOf({ tag, at, content }: DerElement): number | Fault {
  if (tag !== TAG.integer) return fault("malformed", at, "not an INTEGER");
  if (content.length === 0) return fault("malformed", at, "an INTEGER without content");
  if (content.length > 6) return fault("unsupported", at, "an INTEGER of more than six octets");
  return content.readIntBE(0, content.length);
}
