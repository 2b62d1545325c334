import type { Command } from "../command.ts";
import { CommandError, EXIT } from "../command.ts";

/** Needs the whole table of commands, so it is made from it. */
export function completionOf(commands: () => readonly Command[]): Command {
  return {
    name: "completion",
    summary: "print what makes your shell complete commands and options",
    usage: "bash | zsh | fish",
    options: {},
    help: `
  bash: source <(holdfast completion bash)
  zsh:  source <(holdfast completion zsh)
  fish: holdfast completion fish | source`,
    async run(_values, [shell], terminal) {
      const write = shell === undefined ? undefined : SHELLS[shell];
      if (write === undefined) throw new CommandError("Name your shell: bash, zsh or fish.");
      terminal.out(write(commands()));
      return EXIT.done;
    },
  };
}

const SHELLS: Readonly<Record<string, (commands: readonly Command[]) => string>> = {
  bash,
  zsh: (commands) => `autoload -U +X bashcompinit && bashcompinit\n${bash(commands)}`,
  fish,
};

function flags(command: Command): string {
  return ["help", ...Object.keys(command.options)].map((name) => `--${name}`).join(" ");
}

function bash(commands: readonly Command[]): string {
  const cases = commands.map(
    (command) => `    ${command.name}) COMPREPLY=($(compgen -W "${flags(command)}" -- "$word")) ;;`,
  );
  return `_holdfast() {
  local word="\${COMP_WORDS[COMP_CWORD]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${commands.map((command) => command.name).join(" ")}" -- "$word"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
}
complete -o default -F _holdfast holdfast
`;
}

function fish(commands: readonly Command[]): string {
  const lines = ["complete -c holdfast -f"];
  for (const command of commands) {
    lines.push(
      `complete -c holdfast -n __fish_use_subcommand -a ${command.name} -d '${command.summary.replaceAll("'", "\\'")}'`,
    );
    for (const [name, option] of Object.entries(command.options)) {
      const short = option.short === undefined ? "" : ` -s ${option.short}`;
      lines.push(
        `complete -c holdfast -n '__fish_seen_subcommand_from ${command.name}' -l ${name}${short}${option.type === "string" ? " -r" : ""}`,
      );
    }
  }
  return `${lines.join("\n")}\n`;
}
