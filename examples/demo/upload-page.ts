import type { Markup } from "./html.ts";
import { html } from "./html.ts";
import { page } from "./pages.ts";
import type { User } from "./users.ts";

export function uploadPage(user: User, handle: string): string {
  return page(
    "Uploads",
    html`<h1>Uploads that go on where they stopped</h1>
      <p class="soft">
        Drop a file, stop the server in the middle of it (<code>kill -9</code> will do), and start it again.
        Every byte that was acknowledged is on the disk and is never sent twice.
      </p>
      <section class="card" id="uploads" data-user="${user.name}">
        <label class="drop" id="drop">
          <input type="file" id="file" multiple />
          <span class="drop-title">Drop files here</span>
          <span class="soft small">or click to choose them</span>
        </label>
        <label class="check"
          ><input type="checkbox" id="slow" checked /> Slowly, 1 MiB a second, so that there is time to
          look</label
        >
        <ul class="uploads" id="list" aria-label="Uploads of this page"></ul>
      </section>
      <section class="card" aria-labelledby="known">
        <div class="row">
          <h2 id="known">What the server keeps</h2>
          <span class="spacer"></span><span class="pill" id="server" role="status">asking</span>
        </div>
        <p class="soft small">
          Each upload is a session of its own under your login <code>${handle}</code>: see it in the console,
          revoke it there, or sign out, and it ends.
        </p>
        <ul class="sessions" id="sessions"></ul>
      </section>
      ${steps()}
      <p><a href="/">Back to my sessions</a></p>
      <script type="module" src="/script/uploads.js"></script>`,
    user,
  );
}

export function uploadCard(): Markup {
  return html`<section class="card">
    <div class="row">
      <div>
        <h2>Upload a file</h2>
        <p class="soft small" style="margin: 0">
          Stop the server half way, start it again, and watch the file go on where it was.
        </p>
      </div>
      <span class="spacer"></span><a class="button" href="/uploads">Open uploads</a>
    </div>
  </section>`;
}

function steps(): Markup {
  return html`<section class="card">
    <h2>What to try</h2>
    <ol class="steps small">
      <li>Stop the server while a file is under way. The bar turns amber and waits.</li>
      <li>Start it again: the file goes on from the last byte the server had acknowledged.</li>
      <li>Close this page half way, come back, and drop the same file again.</li>
      <li>Sign out in another tab: the upload ends with the login it belongs to.</li>
    </ol>
  </section>`;
}
