import { useSignal, useSignalEffect } from "@preact/signals";
import type { JSX } from "preact";
import { useRef } from "preact/hooks";
import { number, plural } from "./format.ts";
import { useKeys } from "./keys.ts";
import { Empty, Heading, SearchField } from "./parts.tsx";
import { go, goBack, personHref } from "./router.ts";
import { everyone } from "./state.ts";

interface Someone {
  readonly principal: string;
  readonly count: number;
  readonly mechanisms: readonly string[];
  readonly nodes: readonly string[];
}

/** Who is connected, those with the most sessions first; reckoned afresh every few seconds, so that it can be read. */
export function PeopleScreen(): JSX.Element {
  const input = useRef<HTMLInputElement>(null);
  const words = useSignal("");
  const people = useSignal<readonly Someone[]>([]);
  const reckonedAt = useSignal(0);
  useSignalEffect(() => {
    void everyone.version.value;
    if (performance.now() - reckonedAt.peek() < 3000 && people.peek().length > 0) return;
    reckonedAt.value = performance.now();
    people.value = reckoned();
  });
  useKeys({ "/": () => input.current?.focus(), Escape: () => goBack("/") });

  const found = people.value.filter(({ principal }) =>
    principal.toLowerCase().includes(words.value.toLowerCase()),
  );
  return (
    <div class="screen">
      <header class="screen-head">
        <Heading title="People" />
        <SearchField
          label="Find a person"
          input={input}
          value={words.value}
          onInput={(value) => (words.value = value)}
          onKeyDown={(event) => {
            const first = found[0];
            if (event.key === "Enter" && first !== undefined) go(personHref(first.principal));
            else if (event.key === "Escape") event.currentTarget.blur();
          }}
        />
      </header>
      {found.length === 0 ? (
        <Empty title={words.value === "" ? "Nobody is signed in." : "Nobody is called that."} />
      ) : (
        <div class="panel">
          <table class="plain people">
            <thead>
              <tr>
                <th scope="col">Principal</th>
                <th scope="col" class="is-number">
                  Sessions
                </th>
                <th scope="col">Mechanisms</th>
                <th scope="col" class="on-wide">
                  Nodes
                </th>
              </tr>
            </thead>
            <tbody>
              {found.slice(0, SHOWN).map(({ principal, count, mechanisms, nodes }) => (
                <tr key={principal}>
                  <td>
                    <a href={personHref(principal)}>{principal}</a>
                  </td>
                  <td class="is-number figure">{number(count)}</td>
                  <td class="muted">{mechanisms.join(", ")}</td>
                  <td class="muted on-wide">{nodes.join(", ")}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p class="muted small">
        {found.length > SHOWN
          ? `The first ${SHOWN} of ${plural(found.length, "person", "people")}.`
          : plural(found.length, "person", "people")}
      </p>
    </div>
  );
}

function reckoned(): Someone[] {
  const people = new Map<string, { count: number; mechanisms: Set<string>; nodes: Set<string> }>();
  for (const { principal, mechanism, node } of everyone.live()) {
    if (principal === undefined) continue;
    let one = people.get(principal);
    if (one === undefined)
      people.set(principal, (one = { count: 0, mechanisms: new Set(), nodes: new Set() }));
    one.count++;
    one.mechanisms.add(mechanism);
    if (node !== undefined) one.nodes.add(node);
  }
  return [...people]
    .map(([principal, { count, mechanisms, nodes }]) => ({
      principal,
      count,
      mechanisms: [...mechanisms].sort(),
      nodes: [...nodes].sort(),
    }))
    .sort((a, b) => b.count - a.count || (a.principal < b.principal ? -1 : 1));
}

const SHOWN = 300;
