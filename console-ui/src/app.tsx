import { useSignal, useSignalEffect } from "@preact/signals";
import type { ComponentType, JSX } from "preact";
import { useEffect } from "preact/hooks";
import { api } from "./api.ts";
import { CheckpointsScreen } from "./checkpoints-screen.tsx";
import { now } from "./clock.ts";
import { EndDialog } from "./end-dialog.tsx";
import { EndingScreen, EndingsScreen } from "./endings-screen.tsx";
import { feedState } from "./feed.ts";
import { moment } from "./format.ts";
import { HelpDialog, helpOpen } from "./help-dialog.tsx";
import { InviteDialog, inviteOpen } from "./invite-dialog.tsx";
import { useKeys } from "./keys.ts";
import { ListScreen } from "./list-screen.tsx";
import { LockDialog } from "./lock-dialog.tsx";
import { LocksScreen } from "./locks-screen.tsx";
import { Empty, Heading } from "./parts.tsx";
import { PeopleScreen } from "./people-screen.tsx";
import { PersonScreen } from "./person-screen.tsx";
import { go, partOf, place } from "./router.ts";
import { theme, type Theme } from "./screen.ts";
import { SessionScreen } from "./session-screen.tsx";
import { SignInScreen } from "./sign-in-screen.tsx";
import { isOperator, me, signedOut } from "./state.ts";

export function App(): JSX.Element {
  if (me.value === "nobody" || place.value.path === "/sign-in") return <SignInScreen />;
  return <Shell />;
}

function Shell(): JSX.Element {
  useKeys({
    ...Object.fromEntries(SCREENS.map(({ key, href }) => [`g ${key}`, () => go(href)])),
    "?": () => (helpOpen.value = true),
  });
  const { path } = place.value;
  return (
    <div class="shell">
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href="/" aria-label="Holdfast, to the sessions">
          <svg viewBox="0 0 24 24" aria-hidden="true">
            <path d="M7 5v14M17 5v14M7 12h10" />
          </svg>
          <span>Holdfast</span>
        </a>
        <nav aria-label="Screens">
          <ul>
            {SCREENS.map(({ name, href, key, within }) => (
              <li key={name}>
                <a href={href} aria-current={within(path) ? "page" : undefined} title={`g ${key}`}>
                  {name}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <Tools />
      </header>
      <FeedBanner />
      <main id="main" tabIndex={-1} class={path === "/" || path === "/checkpoints" ? "is-full" : ""}>
        <Screen path={path} />
      </main>
      <EndDialog />
      <LockDialog />
      <HelpDialog />
      <InviteDialog />
    </div>
  );
}

function Screen({ path }: { path: string }): JSX.Element {
  const session = partOf(path, "/sessions/");
  const person = partOf(path, "/people/");
  const ending = partOf(path, "/endings/");
  if (path === "/") return <ListScreen />;
  if (session !== undefined) return <SessionScreen key={session} handle={session} />;
  if (person !== undefined) return <PersonScreen key={person} principal={person} />;
  if (ending !== undefined) return <EndingScreen key={ending} id={ending} />;
  if (path === "/people") return <PeopleScreen />;
  if (path === "/checkpoints") return <CheckpointsScreen />;
  if (path === "/locks") return <LocksScreen />;
  if (path === "/endings") return <EndingsScreen />;
  if (path === "/health") return <Health />;
  return (
    <div class="screen">
      <Heading title="Nothing here" />
      <Empty title="There is no such screen.">
        <a href="/">To the sessions</a>
      </Empty>
    </div>
  );
}

/** Charts are the heaviest part, and only this screen has any. */
function Health(): JSX.Element {
  const screen = useSignal<ComponentType | undefined>(undefined);
  const problem = useSignal("");
  useEffect(() => {
    import("./health-screen.tsx").then(
      (module) => void (screen.value = module.default),
      (error: unknown) => void (problem.value = String(error)),
    );
  }, []);
  const Loaded = screen.value;
  if (Loaded !== undefined) return <Loaded />;
  return (
    <div class="screen">
      <Empty title={problem.value === "" ? "Loading…" : problem.value} />
    </div>
  );
}

function Tools(): JSX.Element {
  const who = me.value;
  return (
    <div class="tools">
      <FeedLight />
      {typeof who === "object" && (
        <span class="who" title={`${who.node}, Holdfast ${who.version}`}>
          {who.name === who.role ? who.role : `${who.name}, ${who.role}`}
        </span>
      )}
      <button
        type="button"
        class="icon"
        aria-label={`Theme: ${theme.value}`}
        title={`Theme: ${theme.value}`}
        onClick={() => (theme.value = NEXT_THEME[theme.value])}
      >
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <circle cx="8" cy="8" r="5.2" />
          <path class="filled" d="M8 2.8a5.2 5.2 0 0 1 0 10.4z" />
        </svg>
      </button>
      <button
        type="button"
        class="icon"
        aria-label="Keys"
        title="Keys (?)"
        onClick={() => (helpOpen.value = true)}
      >
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d="M5.8 6.1a2.2 2.2 0 1 1 3.3 2c-.8.4-1.1.8-1.1 1.6M8 12.2v.1" />
        </svg>
      </button>
      {isOperator.value && (
        <button
          type="button"
          class="icon"
          aria-label="Let somebody in"
          title="Let somebody in"
          onClick={() => (inviteOpen.value = true)}
        >
          <svg viewBox="0 0 16 16" aria-hidden="true">
            <circle cx="6.4" cy="5.4" r="2.4" />
            <path d="M2.2 13c.3-2.6 2-4 4.2-4s3.9 1.4 4.2 4M12.4 5.2v4M10.4 7.2h4" />
          </svg>
        </button>
      )}
      <button
        type="button"
        class="icon"
        aria-label="Sign out"
        title="Sign out"
        onClick={() => void api.signOut().then(signedOut)}
      >
        <svg viewBox="0 0 16 16" aria-hidden="true">
          <path d="M6.5 3H3.5v10h3M7 8h6M10.6 5.4L13.2 8l-2.6 2.6" />
        </svg>
      </button>
    </div>
  );
}

function FeedLight(): JSX.Element {
  const { is } = feedState.value;
  const word = { connecting: "connecting", live: "live", lost: "lost", deaf: "behind" }[is];
  return (
    <span class={`feed-light is-${is}`} role="status">
      <i aria-hidden="true" />
      {word}
    </span>
  );
}

/** Says what is wrong and what that means; it lies over the page, so that nothing moves when it comes and goes. */
function FeedBanner(): JSX.Element | null {
  const shown = useSignal<"" | "lost" | "deaf" | "back">("");
  useSignalEffect(() => {
    const { is } = feedState.value;
    if (is === "lost" || is === "deaf") shown.value = is;
    else if (is === "live" && (shown.peek() === "lost" || shown.peek() === "deaf")) {
      shown.value = "back";
      setTimeout(() => {
        if (shown.peek() === "back") shown.value = "";
      }, 4000);
    }
  });
  const { since } = feedState.value;
  const text = {
    "": "",
    lost: `The gateway cannot be reached; trying again. What you see is from ${moment(since, now.value)}.`,
    deaf: `The gateway does not hear of changes since ${moment(since, now.value)}. What you see may be old; every use is checked against the store itself.`,
    back: "Connected again; everything is up to date.",
  }[shown.value];
  return (
    <div
      class={`banner is-${shown.value === "" ? "away" : shown.value}`}
      role={shown.value === "back" ? "status" : "alert"}
    >
      {text}
    </div>
  );
}

const SCREENS = [
  {
    name: "Sessions",
    href: "/",
    key: "s",
    within: (path: string) => path === "/" || path.startsWith("/sessions/"),
  },
  { name: "People", href: "/people", key: "p", within: (path: string) => path.startsWith("/people") },
  { name: "Checkpoints", href: "/checkpoints", key: "c", within: (path: string) => path === "/checkpoints" },
  { name: "Locks", href: "/locks", key: "l", within: (path: string) => path === "/locks" },
  { name: "Endings", href: "/endings", key: "e", within: (path: string) => path.startsWith("/endings") },
  { name: "Health", href: "/health", key: "h", within: (path: string) => path === "/health" },
] as const;
const NEXT_THEME: Readonly<Record<Theme, Theme>> = { system: "light", light: "dark", dark: "system" };
