export const STYLE = `
:root { color-scheme: light dark;
  --bg: light-dark(#f6f5f1, #15171a); --card: light-dark(#ffffff, #1d2024); --line: light-dark(#e2dfd6, #2e3238);
  --text: light-dark(#1f2328, #e6e4de); --soft: light-dark(#626a73, #99a1ab); --accent: light-dark(#0b6e5f, #4fc3ae);
  --accent-text: light-dark(#ffffff, #0b1513); --bad: light-dark(#b3261e, #f2857d); --away: light-dark(#9a5b00, #e5b567); --good: light-dark(#0b6e5f, #4fc3ae);
  --shadow: 0 1px 2px rgb(0 0 0 / .06), 0 8px 24px rgb(0 0 0 / .05); }
* { box-sizing: border-box }
body { margin: 0; background: var(--bg); color: var(--text); font: 15px/1.55 system-ui, "Segoe UI", "DejaVu Sans", sans-serif }
main { max-width: 980px; margin: 0 auto; padding: 28px 20px 64px }
header.top { display: flex; align-items: center; gap: 14px; padding: 14px 20px; border-bottom: 1px solid var(--line); background: var(--card) }
header.top .brand { font-weight: 700; letter-spacing: .01em; color: inherit; text-decoration: none; display: flex; gap: 9px; align-items: center }
header.top .spacer { flex: 1 }
h1 { font-size: 26px; line-height: 1.2; margin: 6px 0 4px; letter-spacing: -.01em } h2 { font-size: 17px; margin: 0 0 4px }
p { margin: 0 0 12px } .soft { color: var(--soft) } .small { font-size: 13px } code, .mono { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .88em }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 20px 22px; margin: 18px 0; box-shadow: var(--shadow) }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(290px, 1fr)); gap: 18px } .grid .card { margin: 0 }
label { display: block; margin: 0 0 12px; font-size: 13px; color: var(--soft) }
input { display: block; width: 100%; margin-top: 4px; padding: 9px 11px; font: inherit; color: var(--text); background: var(--bg); border: 1px solid var(--line); border-radius: 8px }
input:focus-visible, button:focus-visible, a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
button { font: inherit; font-weight: 600; padding: 8px 14px; border-radius: 8px; border: 1px solid var(--accent); background: var(--accent); color: var(--accent-text); cursor: pointer; white-space: nowrap }
button.quiet { background: transparent; color: var(--text); border-color: var(--line); font-weight: 500 } button.bad { background: transparent; color: var(--bad); border-color: currentColor }
form.inline { display: inline } .row { display: flex; gap: 10px; align-items: center; flex-wrap: wrap } .row .spacer { flex: 1 } .row + p { margin-top: 10px }
.check { display: flex; gap: 8px; align-items: center } .check input { width: auto; margin: 0 }
ul.sessions { list-style: none; margin: 12px 0 0; padding: 0 } ul.sessions li { display: flex; gap: 14px; align-items: center; padding: 12px 0; border-top: 1px solid var(--line) }
ul.sessions .what { flex: 1; min-width: 0 } .pill { font-size: 12px; font-weight: 600; padding: 1px 8px; border-radius: 99px; border: 1px solid currentColor; color: var(--accent); white-space: nowrap }
.pill.bad { color: var(--bad) } .notice { border-left: 3px solid var(--accent); padding: 10px 14px; background: var(--card); border-radius: 6px; margin: 0 0 16px } .notice.bad { border-color: var(--bad) }
.lanes { margin-top: 12px; border: 1px solid var(--line); border-radius: 10px; overflow: hidden } .lane { display: grid; grid-template-columns: 158px 1fr; border-top: 1px solid var(--line) } .lane:first-child { border-top: 0 }
.lane > b { padding: 9px 12px; font-weight: 600; font-size: 13px; background: color-mix(in srgb, var(--line) 35%, transparent) } .lane > div { padding: 8px 12px; font-size: 13px; min-width: 0; overflow-wrap: anywhere } .lane.empty { opacity: .5 }
.event { margin: 1px 0 } .event time { color: var(--soft); margin-right: 8px; font-variant-numeric: tabular-nums } ol.steps { padding-left: 20px; margin: 0 } ol.steps li { margin: 8px 0 }
a.button { font-weight: 600; padding: 8px 14px; border-radius: 8px; background: var(--accent); color: var(--accent-text); text-decoration: none } [hidden] { display: none !important }
.drop { display: grid; place-items: center; gap: 2px; padding: 38px 20px; margin: 0 0 14px; border: 2px dashed var(--line); border-radius: 12px; cursor: pointer; text-align: center; transition: border-color .15s, background .15s } .drop.over, .drop:hover { border-color: var(--accent); background: color-mix(in srgb, var(--accent) 7%, transparent) }
.drop input { position: absolute; width: 1px; height: 1px; opacity: 0 } .drop:focus-within { outline: 2px solid var(--accent); outline-offset: 2px } .drop-title { font-size: 17px; font-weight: 600; color: var(--text) }
ul.uploads { list-style: none; margin: 0; padding: 0 } ul.uploads li { padding: 14px 0 12px; border-top: 1px solid var(--line); --tone: var(--accent) } ul.uploads li[data-state=away] { --tone: var(--away) } ul.uploads li[data-state=failed] { --tone: var(--bad) } ul.uploads li[data-state=paused] { --tone: var(--soft) }
ul.uploads .name { overflow-wrap: anywhere } ul.uploads .pill, .pill.away { color: var(--tone, var(--away)) } .bar { height: 8px; margin: 10px 0 6px; border-radius: 99px; background: color-mix(in srgb, var(--line) 70%, transparent); overflow: hidden } .bar i { display: block; height: 100%; width: 0; border-radius: inherit; background: var(--tone); transition: width .25s linear }
@media (max-width: 560px) { .lane { grid-template-columns: 1fr } .lane.empty > div { display: none } ul.sessions li { flex-wrap: wrap } }
`;
