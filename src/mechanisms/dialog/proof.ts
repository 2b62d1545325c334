/** What PROOF signs (docs/dialog-protocol.md §6). */
export function proofText(handle: string, epoch: number, nonce: Uint8Array): Uint8Array {
  const head = new TextEncoder().encode(`holdfast.v1 resume\0${handle}\0${epoch}\0`);
  const bytes = new Uint8Array(head.length + nonce.length);
  bytes.set(head);
  bytes.set(nonce, head.length);
  return bytes;
}
