import { HoldfastError } from "../../kernel/index.ts";
import { assertMembers } from "./option-check.ts";
import type { Login, StepUp } from "./session.ts";
import type { Json } from "../../kernel/index.ts";

/** A session is listed and ended by its principal, and a role decides what may be done: neither may be there by halves. */
const PRINCIPAL_BYTES = 1024;

/**
 * Refuses a login that says less than its caller meant: without its principal, or with `"admin"` where a list belongs.
 * @throws HoldfastError `invalid-argument`.
 */
export function assertLogin(login: Login<Json>): void {
  assertMembers("establish.", login, LOGIN);
  assertPrincipal(login.principal);
  assertProof("establish", login);
  if (login.transport !== undefined && login.transport !== "cookie" && login.transport !== "token")
    throw wrong("establish.transport", login.transport, '"cookie" or "token"');
  if (login.tenant !== undefined && typeof login.tenant !== "string")
    throw wrong("establish.tenant", login.tenant, "a text");
  if (
    login.authenticatedAt !== undefined &&
    !(Number(login.authenticatedAt) >= 0 && Number.isFinite(login.authenticatedAt))
  )
    throw wrong("establish.authenticatedAt", login.authenticatedAt, "milliseconds since 1970");
}

/** @throws HoldfastError `invalid-argument`. */
export function assertStepUp(proof: StepUp): void {
  assertMembers("stepUp.", proof, STEP_UP);
  if (proof.amr === undefined) throw wrong("stepUp.amr", undefined, 'a list of texts such as ["otp"]');
  assertProof("stepUp", proof);
}

/** @throws HoldfastError `invalid-argument` for anything but a text that can be a principal's name. */
export function assertPrincipal(principal: unknown): void {
  const bytes = typeof principal === "string" ? Buffer.byteLength(principal) : 0;
  if (bytes < 1 || bytes > PRINCIPAL_BYTES) {
    const wanted = `a text of 1 to ${PRINCIPAL_BYTES} bytes, such as String(user.id)`;
    throw wrong("principal", bytes > PRINCIPAL_BYTES ? `${bytes} bytes long` : principal, wanted);
  }
}

function assertProof(of: string, { amr, aal, roles }: Partial<StepUp>): void {
  for (const [name, list] of [
    ["amr", amr],
    ["roles", roles],
  ] as const) {
    const texts = Array.isArray(list) && list.every((one) => typeof one === "string");
    if (list !== undefined && !texts) throw wrong(`${of}.${name}`, list, "a list of texts");
  }
  if (aal !== undefined && aal !== 1 && aal !== 2 && aal !== 3) throw wrong(`${of}.aal`, aal, "1, 2 or 3");
}

function wrong(name: string, value: unknown, wanted: string): HoldfastError {
  return new HoldfastError(
    "invalid-argument",
    `${name} must be ${wanted}; it is ${JSON.stringify(value) ?? typeof value}.`,
    { detail: { name, value } },
  );
}

const LOGIN: Readonly<Record<keyof Login<Json>, true>> = {
  principal: true,
  amr: true,
  aal: true,
  authenticatedAt: true,
  roles: true,
  tenant: true,
  data: true,
  remember: true,
  transport: true,
};

const STEP_UP: Readonly<Record<keyof StepUp, true>> = { amr: true, aal: true, roles: true };
