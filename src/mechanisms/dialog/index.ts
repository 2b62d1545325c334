export { Dialog } from "./dialog.ts";
export { DialogMessage } from "./told.ts";
export type { DialogEnd, DialogEvents, LastSent, SendLevel, SyncPoint } from "./told.ts";
export { TOKEN, UNIT } from "./numbers.ts";
export type { DialogsOptions, LinkRequest, Welcome } from "./options.ts";
export { createDialogs, Dialogs } from "./server.ts";
export type { Arrival, DialogListenOptions } from "./server.ts";
