import type { JSX } from "preact";
import { Heading } from "./parts.tsx";
import { place } from "./router.ts";

export function SignInScreen(): JSX.Element {
  const failed = place.value.params.has("failed");
  return (
    <main id="main" class="sign-in">
      <div>
        <svg class="sign-in-mark" viewBox="0 0 24 24" aria-hidden="true">
          <path d="M7 5v14M17 5v14M7 12h10" />
        </svg>
        <Heading title={failed ? "This link does not work" : "You are signed out"} />
        <p>
          {failed
            ? "A sign-in link works once, and for a quarter of an hour. This one was used already, or is too old."
            : "The console is opened with a link that works once."}
        </p>
        <p class="muted">
          The gateway prints a link when it starts, and an operator who is signed in can make another one.
          There is no name and no password to enter.
        </p>
        <p>
          <a class="button" href="/" onClick={() => location.assign("/")}>
            Try again
          </a>
        </p>
      </div>
    </main>
  );
}
