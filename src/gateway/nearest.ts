/** The known word that takes the fewest edits, if it takes at most two. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const scored = known.map((one) => ({ one, edits: distance(word, one) })).sort((a, b) => a.edits - b.edits);
  return scored[0] !== undefined && scored[0].edits <= 2 ? scored[0].one : undefined;
}

/** Levenshtein's: insertions, deletions and replacements. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swap = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(swap, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
