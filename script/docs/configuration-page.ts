type Schema = { readonly [key: string]: unknown };

/** The configuration's reference, from the schema that every file is held against. */
export function configurationPage(schema: Schema): string {
  const { listeners, ...top } = membersOf(schema);
  const items = asSchema(listeners?.["items"]);
  const kinds = listOf(items["allOf"]).map((rule) => ({
    mechanism: words(asSchema(membersOf(asSchema(rule["if"]))["mechanism"])["const"]),
    schema: asSchema(rule["then"]),
  }));
  return `# Configuration of the gateway

Drawn from the schema by \`npm run docs\`. \`holdfast init\` writes a commented file to begin with, and
[holdfast.schema.json](holdfast.schema.json) lets an editor complete and check it. How it is run: [gateway.md](gateway.md).

| member | value | what it is |
|---|---|---|
${rows(top, "").join("\n")}
| \`listeners\` | list | What is served, one entry for each listener; see below. |
${kinds.map(({ mechanism, schema: kind }) => listenerPart(mechanism, kind)).join("")}`;
}

function listenerPart(mechanism: string, schema: Schema): string {
  const needed = namesOf(schema);
  const { mechanism: _, ...members } = membersOf(schema);
  return `
## \`mechanism: ${mechanism}\`

| member | value | what it is |
|---|---|---|
${rows(members, "", needed).join("\n")}
`;
}

function rows(
  members: Readonly<Record<string, Schema>>,
  prefix: string,
  needed: readonly string[] = [],
): string[] {
  return Object.entries(members).flatMap(([name, schema]) => {
    const path = `${prefix}${name}`;
    const must = needed.includes(name) ? " **Required.**" : "";
    const row = `| \`${path}\` | ${valueOf(schema)} | ${cell(words(schema["description"]))}${must} |`;
    const list = asSchema(schema["items"]);
    const own = namesOf(schema);
    if (schema["properties"] !== undefined) return [row, ...rows(membersOf(schema), `${path}.`, own)];
    if (list["properties"] !== undefined) return [row, ...rows(membersOf(list), `${path}[].`, namesOf(list))];
    return [row];
  });
}

function valueOf(schema: Schema): string {
  if (schema["const"] !== undefined) return `\`${words(schema["const"])}\``;
  if (schema["enum"] !== undefined)
    return wordsOf(schema["enum"])
      .map((one) => `\`${one}\``)
      .join(", ");
  if (typeof schema["title"] === "string") return cell(schema["title"]);
  const choices = [...listOf(schema["anyOf"]), ...listOf(schema["oneOf"])].map(asSchema).map(valueOf);
  if (choices.length > 0) return [...new Set(choices)].join(" or ");
  const { minimum, maximum, type } = schema;
  if (type === "integer" && minimum !== undefined)
    return maximum === undefined
      ? `whole number from ${words(minimum)}`
      : `${words(minimum)} to ${words(maximum)}`;
  return TYPES[words(type)] ?? "any";
}

function membersOf(schema: Schema): Readonly<Record<string, Schema>> {
  return Object.fromEntries(
    Object.entries(asSchema(schema["properties"])).map(([name, value]) => [name, asSchema(value)]),
  );
}

function asSchema(value: unknown): Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function listOf(value: unknown): readonly Schema[] {
  return Array.isArray(value) ? (value as readonly Schema[]) : [];
}

function namesOf(schema: Schema): string[] {
  return wordsOf(schema["required"]);
}

function wordsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.map(words) : [];
}

function words(value: unknown): string {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : "";
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

const TYPES: Readonly<Record<string, string>> = {
  array: "list",
  object: "mapping",
  string: "text",
  integer: "whole number",
  number: "number",
  boolean: "true or false",
};
