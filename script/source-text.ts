/** A source file taken apart without a compiler: what is code, what is comment, what is text. */
export interface SourceText {
  /** The code with comments and the insides of strings blanked out; every offset and line is where it was. */
  readonly code: string;
  readonly comments: readonly Piece[];
  /** String literals, and the fixed parts of template literals. */
  readonly strings: readonly Piece[];
}

export interface Piece {
  readonly text: string;
  /** Offset of its first character in the file. */
  readonly at: number;
}

export function readSource(source: string): SourceText {
  const comments: Piece[] = [];
  const strings: Piece[] = [];
  let code = "";
  /** For each template literal that is open: how many braces are open inside its current `${`. */
  const templates: number[] = [];
  let at = 0;

  const keep = (until: number): void => {
    code += source.slice(at, until);
    at = until;
  };
  const blank = (until: number): string => {
    const text = source.slice(at, until);
    code += text.replace(/[^\n]/g, " ");
    at = until;
    return text;
  };
  const string = (until: number): void => {
    const from = at;
    strings.push({ text: blank(until), at: from });
  };
  const template = (): void => {
    const end = templateEnd(source, at);
    string(end);
    if (source.startsWith("${", end)) {
      templates.push(0);
      keep(end + 2);
    } else keep(Math.min(end + 1, source.length));
  };

  while (at < source.length) {
    const one = source.charAt(at);
    const two = source.slice(at, at + 2);
    if (two === "//" || two === "/*") {
      const end = two === "//" ? source.indexOf("\n", at) : source.indexOf("*/", at + 2) + 2;
      const from = at;
      comments.push({ text: blank(end < 2 ? source.length : end), at: from });
    } else if (one === '"' || one === "'") {
      keep(at + 1);
      string(stringEnd(source, at, one));
      keep(Math.min(at + 1, source.length));
    } else if (one === "`") {
      keep(at + 1);
      template();
    } else if (one === "{" && templates.length > 0) {
      templates.push((templates.pop() ?? 0) + 1);
      keep(at + 1);
    } else if (one === "}" && templates.length > 0) {
      const open = templates.pop() ?? 0;
      keep(at + 1);
      if (open === 0) template();
      else templates.push(open - 1);
    } else if (one === "/" && startsPattern(code)) {
      keep(at + 1);
      blank(patternEnd(source, at));
    } else keep(at + 1);
  }
  return { code, comments, strings };
}

export function lineOf(source: string, offset: number): number {
  return source.slice(0, offset).split("\n").length;
}

/** Where the string that starts before `from` ends: its closing quote, or the end of the line it was left open on. */
function stringEnd(source: string, from: number, quote: string): number {
  let at = from;
  while (at < source.length && source.charAt(at) !== quote && source.charAt(at) !== "\n") {
    at += source.charAt(at) === "\\" ? 2 : 1;
  }
  return Math.min(at, source.length);
}

/** The next closing backtick or `${`. */
function templateEnd(source: string, from: number): number {
  let at = from;
  while (at < source.length && source.charAt(at) !== "`" && !source.startsWith("${", at)) {
    at += source.charAt(at) === "\\" ? 2 : 1;
  }
  return Math.min(at, source.length);
}

/** The slash that ends a regular expression; one inside a class does not. */
function patternEnd(source: string, from: number): number {
  let at = from;
  let inClass = false;
  for (; at < source.length; at++) {
    const one = source.charAt(at);
    if (one === "\\") at++;
    else if (one === "[") inClass = true;
    else if (one === "]") inClass = false;
    else if ((one === "/" && !inClass) || one === "\n") break;
  }
  return Math.min(at, source.length);
}

/** A slash divides after a value, and starts a regular expression after an operator, a bracket or a keyword. */
function startsPattern(codeBefore: string): boolean {
  const before = codeBefore.trimEnd();
  return (
    before === "" ||
    /[(,=:[!&|?{};+\-*%~^<>]$/.test(before) ||
    /(?:^|[^\w$.])(?:return|typeof|case|in|of|void|delete|do|else|await|yield|throw)$/.test(before)
  );
}
