import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX, RefObject, TargetedEvent } from "preact";
import { useEffect } from "preact/hooks";
import { type Filter, readWords } from "./filter.ts";
import { span } from "./format.ts";
import { SearchField } from "./parts.tsx";
import type { Roster } from "./roster.ts";

interface Props {
  readonly input: RefObject<HTMLInputElement | null>;
  readonly filter: Filter;
  readonly onChange: (filter: Filter) => void;
  readonly roster: Roster;
  readonly children?: ComponentChildren;
}

/** Words and conditions. `principal:ada older:2h` may be typed as well; Enter or a space takes a condition in. */
export function FilterBar({ input, filter, onChange, roster, children }: Props): JSX.Element {
  const text = useSignal(filter.q ?? "");
  useEffect(() => {
    if (document.activeElement !== input.current) text.value = filter.q ?? "";
  }, [filter.q]);

  const apply = (value: string, isDone: boolean): void => {
    text.value = value;
    // A word that is still being typed is not a condition yet.
    const cut = isDone ? value.length : value.lastIndexOf(" ") + 1;
    const { conditions, rest } = readWords(value.slice(0, cut));
    if (Object.keys(conditions).length > 0)
      text.value = `${rest}${rest === "" ? "" : " "}${value.slice(cut)}`;
    const q = withoutCondition(text.value.trim());
    onChange(changed({ ...filter, ...conditions }, "q", q === "" ? undefined : q));
  };
  const choose = (name: keyof Filter) => (event: TargetedEvent<HTMLSelectElement>) => {
    const { value } = event.currentTarget;
    onChange(changed(filter, name, value === "" ? undefined : value));
  };
  const age =
    filter.olderThan !== undefined
      ? `older ${filter.olderThan}`
      : filter.youngerThan !== undefined
        ? `younger ${filter.youngerThan}`
        : "";
  const chooseAge = (event: TargetedEvent<HTMLSelectElement>): void => {
    const [which, ms] = event.currentTarget.value.split(" ");
    const { olderThan: _older, youngerThan: _younger, ...rest } = filter;
    if (which === "older") onChange({ ...rest, olderThan: Number(ms) });
    else if (which === "younger") onChange({ ...rest, youngerThan: Number(ms) });
    else onChange(rest);
  };
  const chips = activeConditions(filter).filter(({ name }) => CHIPS.includes(name));

  return (
    <search class="filter-bar">
      <form role="presentation" onSubmit={(event) => event.preventDefault()}>
        <SearchField
          label="Filter sessions"
          placeholder="Filter by name, address, agent… or principal:ada"
          input={input}
          value={text.value}
          onInput={(value) => apply(value, false)}
          onKeyDown={(event) => {
            if (event.key === "Enter") {
              apply(event.currentTarget.value, true);
              toTable();
            } else if (event.key === "ArrowDown") toTable();
            else if (event.key === "Escape") {
              if (text.value === "") toTable();
              else apply("", true);
            } else return;
            event.preventDefault();
          }}
        />
        <Choice
          label="Mechanism"
          value={filter.mechanism}
          options={roster.mechanisms.value}
          onChange={choose("mechanism")}
        />
        <Choice label="State" value={filter.state} options={STATES} onChange={choose("state")} />
        <Choice label="Node" value={filter.node} options={roster.nodes.value} onChange={choose("node")} />
        <label class={age === "" ? "choice" : "choice is-set"}>
          <span class="unseen">Age</span>
          <select value={age} onChange={chooseAge}>
            <option value="">Age</option>
            {[...new Set([...AGES, age])]
              .filter((one) => one !== "")
              .map((one) => (
                <option key={one} value={one}>
                  {ageText(one)}
                </option>
              ))}
          </select>
        </label>
        {chips.map(({ name, text: said }) => (
          <button
            key={name}
            type="button"
            class="chip"
            onClick={() => onChange(changed(filter, name, undefined))}
            aria-label={`Remove the condition: ${said}`}
          >
            {said}
            <span aria-hidden="true"> ×</span>
          </button>
        ))}
      </form>
      {children}
    </search>
  );
}

function Choice(props: {
  label: string;
  value: string | undefined;
  options: readonly string[];
  onChange: (event: TargetedEvent<HTMLSelectElement>) => void;
}): JSX.Element {
  const { label, value = "", options } = props;
  const all = value === "" || options.includes(value) ? options : [...options, value];
  return (
    <label class={value === "" ? "choice" : "choice is-set"}>
      <span class="unseen">{label}</span>
      <select value={value} onChange={props.onChange}>
        <option value="">{label}</option>
        {all.map((one) => (
          <option key={one} value={one}>
            {one}
          </option>
        ))}
      </select>
    </label>
  );
}

/** The conditions in words. */
export function activeConditions(filter: Filter): { name: keyof Filter; text: string }[] {
  const said: { name: keyof Filter; text: string }[] = [];
  for (const name of ["principal", "mechanism", "state", "node", "tenant", "parent"] as const)
    if (filter[name] !== undefined) said.push({ name, text: `${name} ${filter[name]}` });
  if (filter.olderThan !== undefined)
    said.push({ name: "olderThan", text: `older than ${span(filter.olderThan)}` });
  if (filter.youngerThan !== undefined)
    said.push({ name: "youngerThan", text: `younger than ${span(filter.youngerThan)}` });
  if (filter.q !== undefined) said.push({ name: "q", text: `“${filter.q}”` });
  return said;
}

function changed(filter: Filter, name: keyof Filter, value: string | undefined): Filter {
  const { [name]: _before, ...rest } = filter;
  return value === undefined ? rest : ({ ...rest, [name]: value } as Filter);
}

/** Half a condition finds nothing as text. */
function withoutCondition(text: string): string {
  return text
    .split(/\s+/)
    .filter(
      (word) => !/^(?:principal|user|mechanism|mech|node|tenant|parent|state|is|older|younger):/.test(word),
    )
    .join(" ");
}

function ageText(value: string): string {
  const [which, ms] = value.split(" ");
  return `${which === "older" ? "Older than" : "Younger than"} ${span(Number(ms))}`;
}

function toTable(): void {
  document.querySelector<HTMLElement>("table[role=grid]")?.focus();
}

const STATES = ["established", "suspended", "negotiating"];
const CHIPS: readonly string[] = ["principal", "tenant", "parent"];
const AGES = [
  "younger 60000",
  "younger 600000",
  "younger 3600000",
  "older 3600000",
  "older 28800000",
  "older 86400000",
];
