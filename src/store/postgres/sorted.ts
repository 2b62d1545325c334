/** Runs a batch sorted by `name`, and puts its outcomes back into the order of `items`. */
export async function inOrder<Item, Outcome>(
  items: readonly Item[],
  name: (item: Item) => string,
  run: (sorted: readonly Item[]) => Promise<readonly Outcome[]>,
): Promise<readonly Outcome[]> {
  const positions = items.map((item, position) => ({ item, name: name(item), position }));
  positions.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  const sorted = await run(positions.map(({ item }) => item));
  const outcomes: Outcome[] = [];
  for (const [i, { position }] of positions.entries()) outcomes[position] = sorted[i] as Outcome;
  return outcomes;
}
