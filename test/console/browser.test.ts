import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { gzipSync } from "node:zlib";
import type { Browser, BrowserContext, Locator, Page } from "playwright-core";
import {
  chromiumMissing,
  complaints,
  fits,
  follow,
  launchChromium,
  PATIENCE_MS,
  shot,
  until,
} from "./chromium.ts";
import { type Harness, startHarness } from "./harness.ts";

const missing = chromiumMissing();
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 844 };

describe("the console's page", () => {
  test("is at most 60 kB of JavaScript, gzipped", () => {
    const folder = "dist/console/ui";
    const scripts = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) =>
      name.endsWith(".js"),
    );
    assert.ok(scripts.length >= 3, "the page is not built");
    const bytes = scripts.reduce((sum, name) => sum + gzipSync(readFileSync(join(folder, name))).length, 0);
    assert.ok(bytes <= 60_000, `${scripts.join(", ")} have ${bytes} bytes`);
  });

  describe("in Chromium", { skip: missing ?? false }, () => {
    let harness: Harness;
    let browser: Browser;

    before(async () => {
      [harness, browser] = await Promise.all([startHarness(), launchChromium()]);
    });
    after(async () => {
      await browser?.close();
      await harness?.stop();
    });

    test("lets in with a link, once", async () => {
      const { page, done } = await open();
      const link = await harness.link();
      await page.goto(link);
      await rows(page).first().waitFor();
      assert.equal(new URL(page.url()).pathname, "/");
      await done();

      const other = await open();
      await other.page.goto(link);
      await other.page.getByRole("heading", { name: "This link does not work" }).waitFor();
      await other.page.goto(harness.origin);
      await other.page.getByRole("heading", { name: "You are signed out" }).waitFor();
      await other.done();
    });

    test("signs out, and is out", async () => {
      const { page, done } = await signedIn();
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("heading", { name: "You are signed out" }).waitFor();
      await page.goto(harness.origin);
      await page.getByRole("heading", { name: "You are signed out" }).waitFor();
      await done();
    });

    test("filters by words, by condition and by what is chosen, and keeps it in the address", async () => {
      const { page, done } = await signedIn();
      const filter = page.getByRole("textbox", { name: "Filter sessions" });
      await filter.fill("survey-2026");
      await until(async () => (await rows(page).count()) === 1, "one row");
      assert.match(await rows(page).first().innerText(), /mara\.lindqvist/);

      await filter.fill("");
      await page.getByRole("combobox", { name: "Mechanism" }).selectOption("dialog");
      await page.getByRole("combobox", { name: "State" }).selectOption("suspended");
      await until(
        async () => /mechanism=dialog&state=suspended|state=suspended&mechanism=dialog/.test(page.url()),
        "the address",
      );
      await until(async () => {
        const texts = await rows(page).allInnerTexts();
        return texts.length > 0 && texts.every((text) => /suspended/.test(text) && /dialog/.test(text));
      }, "suspended dialogs only");

      await page.reload();
      await rows(page).first().waitFor();
      assert.equal(await page.getByRole("combobox", { name: "Mechanism" }).inputValue(), "dialog");

      await filter.fill("principal:tomas.okafor ");
      await page.getByText("No session is like that.").waitFor();
      await page.getByRole("combobox", { name: "Mechanism" }).selectOption("");
      await page.getByRole("combobox", { name: "State" }).selectOption("");
      await until(async () => (await rows(page).count()) === 1, "one row of that principal");
      await page.getByRole("button", { name: "Remove the condition: principal tomas.okafor" }).click();
      await until(async () => (await rows(page).count()) > 10, "all rows");
      await done();
    });

    test("draws a session's life: segments, joins, tokens, sync points, refused uses", async () => {
      const { page, done } = await signedIn();
      await page.goto(`${harness.origin}/sessions/${harness.cast.upload}`);
      const picture = page.getByRole("img", { name: /The session's life/ });
      await picture.waitFor();
      assert.match(
        (await picture.getAttribute("aria-label")) ?? "",
        /3 transports, 2 resumes, 3 tokens, 9 sync points/,
      );
      assert.equal(await picture.locator(".transports rect").count(), 3);
      assert.equal(await picture.locator(".transports .join").count(), 2);
      assert.equal(await picture.locator(".tokens rect").count(), 3);
      assert.equal(await picture.locator(".sync-points line").count(), 9);
      assert.equal(await picture.locator(".lane").count(), 6);
      assert.deepEqual(await picture.locator(".transports text").allTextContents(), ["n1", "n2", "n3"]);

      await page.getByRole("button", { name: "To scale" }).click();
      assert.equal(await page.getByRole("button", { name: "To scale" }).getAttribute("aria-pressed"), "true");

      await page.goto(`${harness.origin}/sessions/${harness.cast.dialog}`);
      const talk = page.getByRole("img", { name: /1 resume, .* 7 turns, 9 sync points/ });
      await talk.waitFor();
      assert.equal(await talk.locator(".turns rect").count(), 7);
      assert.equal(await talk.locator(".sync-points line").count(), 9);
      await page.getByRole("cell", { name: "The initiator has the turn" }).first().waitFor();

      await page.goto(`${harness.origin}/sessions/${harness.cast.revoked}`);
      await picture.waitFor();
      assert.ok((await picture.locator(".event .is-refused").count()) >= 1);
      await page.getByRole("cell", { name: "Used after its end, refused" }).first().waitFor();
      await done();
    });

    test("shows a session's change while one looks at it", async () => {
      const { page, done } = await signedIn();
      const { record } = await harness.kernel.establish({
        mechanism: "transfer",
        mode: "simplex",
        principal: "live.tester",
        label: "growing.bin",
        checkpoint: { position: 0, total: 1000 },
      });
      await page.goto(`${harness.origin}/sessions/${record.handle}`);
      await page.getByText("0 %").waitFor();
      await harness.kernel.checkpoint(record, { position: 500, total: 1000 });
      await page.getByText("50 %").waitFor();
      await harness.kernel.end(record, { reason: "finished" });
      await page.getByText("Ended as it should").waitFor();
      await done();
    });

    test("ends everything a person has, with a receipt for each", async () => {
      const { page, done } = await signedIn();
      const principal = "quit.tester";
      for (let i = 0; i < 6; i++) await connected(principal, i);
      await page.goto(`${harness.origin}/people/${principal}`);
      await until(async () => (await rows(page).count()) === 6, "six rows");
      await page.getByRole("button", { name: /End everything/ }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByRole("button", { name: "End 6 sessions" }).waitFor();
      assert.ok(
        await dialog.getByRole("button", { name: "End 6 sessions" }).isDisabled(),
        "a reason is needed",
      );
      await dialog.getByRole("textbox", { name: "Reason" }).fill("a test");
      await dialog.getByRole("button", { name: "End 6 sessions" }).click();
      await dialog.getByText("6 of 6 sessions closed · all confirmed").waitFor();
      assert.equal(await dialog.locator("tr.is-closed").count(), 6);
      await dialog.getByRole("button", { name: "Done" }).click();
      await page.getByRole("heading", { name: /^Ended/ }).waitFor();
      await until(async () => (await page.locator("tr.state-ended").count()) === 6, "rows stay, as ended");

      await page.keyboard.press("g");
      await page.keyboard.press("e");
      await page.getByRole("link", { name: "a test" }).first().click();
      await page.getByText("6 of 6 sessions closed").waitFor();
      assert.equal(await harness.kernel.preview({ principal }).then(({ count }) => count), 0);
      await done();
    });

    test("ends what a filter by words means, exactly as listed, and spares one's own sign-in", async () => {
      const { page, done } = await signedIn();
      for (let i = 0; i < 3; i++) await connected("bulk.tester", i, "bulk-of-words");
      await page.goto(`${harness.origin}/?q=bulk-of-words`);
      await until(async () => (await rows(page).count()) === 3, "three rows");
      await page.getByRole("button", { name: "End these 3…" }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByText("Exactly the sessions listed now").waitFor();
      await dialog.getByRole("textbox", { name: "Reason" }).fill("maintenance");
      await dialog.getByRole("button", { name: "End 3 sessions" }).click();
      await dialog.getByText("3 of 3 sessions closed").waitFor();
      await dialog.getByRole("button", { name: "Done" }).click();

      await page.goto(`${harness.origin}/?mechanism=web`);
      await rows(page).first().waitFor();
      await page.getByRole("button", { name: /^End these/ }).click();
      await dialog.getByText("Your own sign-in is spared.").waitFor();
      await page.keyboard.press("Escape");
      await dialog.waitFor({ state: "detached" });
      await done();
    });

    test("locks a person out and lets them in again", async () => {
      const { page, done } = await signedIn();
      await connected("lock.tester", 0);
      await page.goto(`${harness.origin}/locks`);
      await page.getByRole("button", { name: /New lock/ }).click();
      const dialog = page.getByRole("dialog");
      await dialog.getByLabel("Which principal").fill("lock.tester");
      await dialog.getByRole("textbox", { name: "Reason" }).fill("a test of locks");
      await dialog.getByRole("button", { name: "Lock and end 1 session" }).click();
      await dialog.getByText("1 of 1 session closed").waitFor();
      await dialog.getByRole("button", { name: "Done" }).click();
      await page.getByText("a test of locks").waitFor();
      await assert.rejects(connected("lock.tester", 1), { code: "locked" });

      const lock = page.getByRole("listitem").filter({ hasText: "lock.tester" });
      await lock.getByRole("button", { name: /Lift/ }).click();
      await dialog.getByRole("button", { name: "Lift" }).click();
      await lock.waitFor({ state: "detached" });
      await connected("lock.tester", 2);
      await done();
    });

    test("works by keyboard alone", async () => {
      const { page, done } = await signedIn();
      await connected("keys.tester", 0);
      await page.keyboard.press("/");
      await page.keyboard.type("keys.tester");
      await until(async () => (await rows(page).count()) === 1, "the filter took the words");
      await page.keyboard.press("Enter");
      await until(
        async () => (await page.locator("tr[aria-selected=true]").count()) === 1,
        "a row is selected",
      );
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { name: "keys.tester 0" }).waitFor();
      await page.keyboard.press("p");
      await page.getByRole("heading", { name: "keys.tester", exact: true }).waitFor();
      await page.keyboard.press("Escape");
      await page.getByRole("heading", { name: "keys.tester 0" }).waitFor();
      await page.keyboard.press("x");
      const dialog = page.getByRole("dialog");
      await dialog.getByRole("button", { name: "End 1 session" }).waitFor();
      await page.keyboard.type("by keyboard");
      await page.keyboard.press("Enter");
      await dialog.getByText("1 of 1 session closed").waitFor();
      await page.keyboard.press("Escape");
      await page.getByText(/Ended abruptly/).waitFor();
      await page.keyboard.press("Escape");
      await page.getByRole("heading", { name: "Sessions" }).waitFor();
      await page.keyboard.press("Escape");
      await page.keyboard.press("Escape");
      await until(async () => (await rows(page).count()) > 10, "the filter is cleared");
      await page.keyboard.press("j");
      const before = await selected(page);
      await page.keyboard.press("j");
      assert.notEqual(await selected(page), before);
      await page.keyboard.press("k");
      assert.equal(await selected(page), before);
      await page.keyboard.press("?");
      await page.getByRole("dialog", { name: "Keys" }).waitFor();
      await page.keyboard.press("Escape");
      await page.getByRole("dialog").waitFor({ state: "detached" });
      await done();
    });

    test("keeps rows in their place while one reads, and counts what is new", async () => {
      const { page, done } = await signedIn();
      await page.keyboard.press("j");
      const places = (): Promise<string[]> =>
        page.locator("[role=grid] tbody tr").evaluateAll((all: { id: string }[]) => all.map(({ id }) => id));
      const before = await places();
      const first = before[0]?.slice("row-".length) ?? "";
      const made = await connected("new.tester", 0);
      await page.getByRole("button", { name: /1 new/ }).waitFor();
      assert.deepEqual(await places(), before);
      await page.keyboard.press("r");
      await page.locator(`#row-${made}`).waitFor();
      await harness.kernel.end(made, { reason: "finished" });
      await page.locator(`#row-${made}.state-ended`).waitFor();
      assert.ok(first !== "");
      await done();
    });

    test("says when the gateway is away, and has missed nothing when it is back", async () => {
      const { page, done } = await signedIn();
      await page.getByText("live", { exact: true }).waitFor();
      const gone = await connected("away.tester", 0);
      await page.locator(`#row-${gone}`).waitFor();
      harness.cut();
      await page.getByRole("alert").filter({ hasText: "cannot be reached" }).waitFor();
      await shot(page, "lost-wide-dark");
      const made = await connected("away.tester", 1);
      await harness.kernel.end(gone, { reason: "finished" });
      await harness.heal();
      await page.getByText("Connected again").waitFor();
      await page.locator(`#row-${made}`).waitFor();
      await page.locator(`#row-${gone}:not(.state-ended)`).waitFor({ state: "detached" });
      await done();
    });

    test("lets a viewer look and nothing else", async () => {
      const { page, done } = await signedIn("viewer");
      await page.getByText("viewer", { exact: true }).waitFor();
      assert.equal(await page.getByRole("button", { name: /^End/ }).count(), 0);
      await page.keyboard.press("j");
      await page.keyboard.press("x");
      await page.keyboard.press("X");
      assert.equal(await page.getByRole("dialog").count(), 0);
      await page.goto(`${harness.origin}/people/mara.lindqvist`);
      await rows(page).first().waitFor();
      assert.equal(await page.getByRole("button", { name: /End|Lock/ }).count(), 0);
      await shot(page, "viewer-wide-dark");
      await done();
    });

    for (const theme of ["dark", "light"] as const) {
      for (const [width, viewport] of [
        ["wide", WIDE],
        ["narrow", NARROW],
      ] as const) {
        test(`is readable and accessible: ${theme}, ${width}`, async () => {
          const { page, done } = await signedIn("operator", theme, viewport);
          const look = async (name: string): Promise<void> => {
            await shot(page, `${name}-${width}-${theme}`);
            assert.ok(await fits(page), `${name} scrolls sideways at ${viewport.width}`);
            // Colours are the same at every width, and what differs by width is the same in both themes.
            if (width === "wide" || theme === "dark")
              assert.deepEqual(await complaints(page), [], `${name} ${theme} ${width}`);
          };
          await look("list");
          await page.keyboard.press("j");
          await page.keyboard.press("X");
          await page
            .getByRole("dialog")
            .getByText(/live sessions/)
            .waitFor();
          await look("end");
          await page.keyboard.press("Escape");
          await page.keyboard.press("?");
          await look("keys");
          await page.keyboard.press("Escape");
          for (const [name, path, there] of screens()) {
            await follow(page, path);
            await page.getByText(there).first().waitFor();
            await look(name);
          }
          await page.getByRole("button", { name: /New lock/ }).click();
          await look("lock");
          await done();
        });
      }
    }

    test("shows how many TLS handshakes resumed, and why others were refused", async () => {
      const { page, done } = await signedIn("viewer");
      await page.goto(`${harness.origin}/health`);
      const figure = page.getByRole("listitem").filter({ hasText: "TLS resumed" });
      await figure.getByText("99 %").waitFor();
      await figure.getByText("of 2,000 offered").waitFor();
      const reasons = page.getByRole("region", { name: "TLS sessions refused, by reason" });
      assert.deepEqual(await reasons.getByRole("rowheader").allTextContents(), [
        "unknown-key",
        "expired",
        "revoked",
      ]);
      await done();
    });

    test("has logged no error", () => {
      assert.deepEqual(harness.errors, []);
    });

    function screens(): readonly (readonly [name: string, path: string, there: string | RegExp])[] {
      const { upload, dialog, revoked } = harness.cast;
      return [
        ["session", `/sessions/${upload}`, "Timeline"],
        ["session-dialog", `/sessions/${dialog}`, "Timeline"],
        ["session-over", `/sessions/${revoked}`, "Timeline"],
        ["session-none", "/sessions/00000000000000000000", "No such session"],
        ["person", "/people/mara.lindqvist", "4 live sessions"],
        ["people", "/people", "Mechanisms"],
        ["checkpoints", "/checkpoints", /\d+ sessions would lose/],
        ["endings", "/endings", "lost device"],
        ["health", "/health", "Live, by mechanism"],
        ["sign-in", "/sign-in?failed=1", "This link does not work"],
        ["locks", "/locks", "lost device, waits for a new key"],
      ];
    }

    async function open(
      theme: "dark" | "light" = "dark",
      viewport = WIDE,
    ): Promise<{ page: Page; context: BrowserContext; done: () => Promise<void> }> {
      const context = await browser.newContext({ viewport, colorScheme: theme, reducedMotion: "reduce" });
      context.setDefaultTimeout(PATIENCE_MS);
      const page = await context.newPage();
      const wrong: string[] = [];
      page.on("pageerror", (error) => wrong.push(String(error.stack)));
      return {
        page,
        context,
        done: async () => {
          await context.close();
          assert.deepEqual(wrong, [], "the page threw");
        },
      };
    }

    async function signedIn(
      role: "operator" | "viewer" = "operator",
      theme: "dark" | "light" = "dark",
      viewport = WIDE,
    ): ReturnType<typeof open> {
      const opened = await open(theme, viewport);
      await opened.page.goto(await harness.link(role));
      await rows(opened.page).first().waitFor();
      return opened;
    }

    async function connected(
      principal: string,
      index: number,
      label = `${principal} ${index}`,
    ): Promise<Parameters<typeof harness.kernel.lookUp>[0]> {
      const kernel = harness.nodes[index % harness.nodes.length] ?? harness.kernel;
      const { record } = await kernel.establish({
        mechanism: ["socks", "dialog", "netbios"][index % 3] ?? "socks",
        mode: "full-duplex",
        principal,
        label,
        credential: false,
        own: true,
      });
      await kernel.attach(record, { close: () => {} });
      return record.handle;
    }
  });
});

function rows(page: Page): Locator {
  return page.locator("[role=grid] tbody tr");
}

async function selected(page: Page): Promise<string | null> {
  return page.locator("[role=grid]").getAttribute("aria-activedescendant");
}
