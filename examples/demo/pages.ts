import type { JournalEntry, SessionSummary } from "../../src/web.ts";
import { PHASES } from "../../src/web.ts";
import type { Markup } from "./html.ts";
import { html, Markup as Raw } from "./html.ts";
import { STYLE } from "./style.ts";
import type { Copy } from "./thief.ts";
import { uploadCard } from "./upload-page.ts";
import type { User } from "./users.ts";

export interface Notice {
  readonly text: string;
  readonly bad?: boolean;
}

export function page(title: string, body: Markup, user?: User): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} · Holdfast demo</title>
        <style>
          ${new Raw(STYLE)}
        </style>
      </head>
      <body>
        <header class="top">
          <a class="brand" href="/">${LOGO} Holdfast demo</a><span class="spacer"></span>
          ${
            user !== undefined &&
            html`<span class="soft">${user.fullName}</span>
              <form class="inline" method="post" action="/logout">
                <button class="quiet">Sign out</button>
              </form>`
          }
        </header>
        <main>${body}</main>
      </body>
    </html>`.text;
}

export function signInPage(notice?: Notice): string {
  return page(
    "Sign in",
    html`<h1>Sign in</h1>
      <p class="soft">Open this page in two browsers, sign in to both, and see each from the other.</p>
      ${noticeBox(notice)}
      <div class="grid">
        <form class="card" method="post" action="/login">
          <label>Name<input name="name" autocomplete="username" autofocus required /></label>
          <label
            >Password<input name="password" type="password" autocomplete="current-password" required
          /></label>
          <label class="check"
            ><input type="checkbox" name="remember" value="yes" /> Remember me on this browser</label
          >
          <button>Sign in</button>
        </form>
        <div class="card">
          <h2>Two people live here</h2>
          <p>
            <b>ada</b> with the password <code>analytical</code><br /><b>grace</b> with the password
            <code>nanosecond</code>
          </p>
          <h2>What to try</h2>
          <ol class="steps small">
            <li>Sign in, stop the server, start it again: you are still signed in.</li>
            <li>Sign in from a second browser and end it from the first.</li>
            <li>Let a thief copy your cookie, then rotate it or sign out, and watch the copy die.</li>
          </ol>
        </div>
      </div>`,
  );
}

export interface Home {
  readonly user: User;
  readonly mine: SessionSummary;
  readonly sessions: readonly SessionSummary[];
  readonly timeline: readonly JournalEntry[];
  readonly copies: readonly Copy[];
  readonly fresh: boolean;
  readonly now: number;
  readonly notice?: Notice | undefined;
}

export function homePage(home: Home): string {
  const { user, mine, sessions, now } = home;
  return page(
    "My sessions",
    html`${noticeBox(home.notice)}
      <h1>Hello, ${user.fullName.split(" ")[0]}</h1>
      <p class="soft">
        This browser is session <code>${mine.handle}</code>. It ends after
        ${span((mine.idleAt ?? now) - mine.touchedAt)} without use, and in any case in
        ${span((mine.absoluteAt ?? now) - now)}.
      </p>
      <section class="card" aria-labelledby="sessions">
        <div class="row">
          <h2 id="sessions">Where you are signed in</h2>
          <span class="spacer"></span>
          ${sessions.length > 1 && button("/end-others", "End the others", "bad")}
        </div>
        <ul class="sessions">
          ${sessions.map((one) => sessionItem(one, mine, now))}
        </ul>
      </section>
      ${uploadCard()}
      <div class="grid">${emailCard(home)} ${thiefCard(home)}</div>
      <section class="card">
        <h2>This session, phase by phase</h2>
        <p class="soft small">Every change is written in the same transaction as the session itself.</p>
        ${lanes(home.timeline)}
      </section>`,
    user,
  );
}

export function confirmPage(user: User, notice?: Notice): string {
  return page(
    "Prove it is you",
    html`<h1>Prove it is you</h1>
      <p class="soft">
        Your e-mail address can take over your account, so your password must be at most a minute old here.
      </p>
      ${noticeBox(notice)}
      <form class="card" method="post" action="/confirm" style="max-width: 380px">
        <label
          >Password of ${user.name}<input
            name="password"
            type="password"
            autocomplete="current-password"
            autofocus
            required
        /></label>
        <button>Confirm</button>
      </form>`,
    user,
  );
}

export function thiefPage(copy: Copy, timeline: readonly JournalEntry[]): string {
  return page(
    "The thief's browser",
    html`<h1>The thief's browser</h1>
      <p class="soft">
        This page holds a copy of the cookie of session <code>${copy.handle}</code>, taken at
        ${clock(copy.at)}. A script could not have read it (HttpOnly); think of malware on the victim's
        machine.
      </p>
      <section class="card">
        <div class="row">
          <h2>Knock with the copied cookie</h2>
          <span class="spacer"></span>${button(`/thief/${copy.id}`, "Use the copy")}
        </div>
        <p class="soft small">
          Use it now, then rotate the cookie or sign out in the victim's browser, and use it again.
        </p>
        <ul class="sessions">
          ${copy.tries.map(
            (one) =>
              html`<li>
                <span class="pill ${one.opened ? "" : "bad"}">${one.opened ? "opened" : "refused"}</span>
                <span class="what">${one.says}</span><time class="soft small">${clock(one.at)}</time>
              </li>`,
          )}
        </ul>
      </section>
      <section class="card">
        <h2>What the victim's session knows of it</h2>
        <p class="soft small">
          Its whole life, from before the cookie was made to after the session was over.
        </p>
        ${lanes(timeline)}
      </section>
      <p><a href="/">Back to the victim's browser</a></p>`,
  );
}

function sessionItem(one: SessionSummary, mine: SessionSummary, now: number): Markup {
  const here = one.handle === mine.handle;
  return html`<li>
    <div class="what">
      <div>${browserOf(one.peer.agent)} ${here && html`<span class="pill">this browser</span>`}</div>
      <div class="soft small">
        from ${one.peer.address ?? "an unknown address"} · since ${clock(one.createdAt)} · used
        ${span(now - one.touchedAt)} ago ·
        <code>${one.handle}</code>
      </div>
    </div>
    ${!here && button(`/end/${one.handle}`, "End", "quiet")}
  </li>`;
}

function emailCard({ user, fresh }: Home): Markup {
  return html`<form class="card" method="post" action="/email">
    <h2>E-mail</h2>
    <p class="soft small">
      Changing it asks for the password again unless you gave it within the last minute.
    </p>
    <label>Address<input name="email" type="email" value="${user.email}" required maxlength="200" /></label>
    <div class="row">
      <button>Change</button>
      ${fresh && html`<button class="quiet" name="later" value="yes">Pretend a minute has passed</button>`}
    </div>
    <p class="soft small">${fresh ? "You gave the password just now." : "This will ask for the password."}</p>
  </form>`;
}

function thiefCard({ copies }: Home): Markup {
  return html`<section class="card">
    <h2>Let a thief copy your cookie</h2>
    <p class="soft small">
      See what a copy is worth while you are signed in, after a rotation, and after you sign out.
    </p>
    <div class="row">
      ${button("/thief", "Copy my cookie", "quiet")} ${button("/rotate", "Rotate my cookie", "quiet")}
    </div>
    ${copies.map((copy) => html`<p class="small"><a href="/thief/${copy.id}">The copy of ${clock(copy.at)}</a></p>`)}
  </section>`;
}

function lanes(timeline: readonly JournalEntry[]): Markup {
  return html`<div class="lanes">
    ${PHASES.map((phase) => {
      const entries = timeline.filter((entry) => entry.phase === phase);
      return html`<div class="lane ${entries.length === 0 ? "empty" : ""}">
        <b>${phase}</b>
        <div>
          ${entries.map((entry) => html`<div class="event"><time>${clock(entry.at)}</time>${EVENTS[entry.event] ?? entry.event}</div>`)}
        </div>
      </div>`;
    })}
  </div>`;
}

const EVENTS: Readonly<Record<string, string>> = {
  begin: "the name and password arrived",
  establish: "a record was made, with a fresh id",
  issue: "the cookie was issued",
  update: "data changed",
  authenticate: "the password was proved again; a new cookie replaced the old one at once",
  rotate: "the cookie was replaced; the old one is good for ten more seconds",
  reuse: "a cookie was used after its time: taken for theft",
  end: "it ended",
  "late-use": "somebody came with its cookie after the end, and was refused",
};

function noticeBox(notice: Notice | undefined): Markup | undefined {
  return notice === undefined
    ? undefined
    : html`<p class="notice ${notice.bad === true ? "bad" : ""}" role="status">${notice.text}</p>`;
}

function button(action: string, text: string, style = ""): Markup {
  return html`<form class="inline" method="post" action="${action}">
    <button class="${style}">${text}</button>
  </form>`;
}

function clock(at: number): string {
  return new Date(at).toISOString().slice(11, 19);
}

function span(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

function browserOf(agent = ""): string {
  const name = /(Firefox|Edg|OPR|Chrome|HeadlessChrome|Safari|curl)\/(\d+)/.exec(agent);
  const system = /(Windows|Mac OS X|Android|iPhone|Linux)/.exec(agent)?.[1];
  const browser =
    name === null
      ? agent.slice(0, 40) || "An unknown browser"
      : `${NAMES[name[1] ?? ""] ?? name[1]} ${name[2]}`;
  return system === undefined ? browser : `${browser} on ${system === "Mac OS X" ? "macOS" : system}`;
}

const NAMES: Readonly<Record<string, string>> = { Edg: "Edge", OPR: "Opera", HeadlessChrome: "Chrome" };

const LOGO = new Raw(
  '<svg width="22" height="22" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" aria-hidden="true"><path d="M12 3v18M5 13a7 7 0 0 0 14 0M8.5 7.5h7"/><circle cx="12" cy="4" r="1.6"/></svg>',
);
