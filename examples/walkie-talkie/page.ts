/** Two radios side by side, as if two people had them. Open `/radio?name=Cleo` in a third window for one more. */
export const tablePage = `<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Walkie-talkie</title>
<link rel="icon" href="data:,">
<style>
  * { box-sizing: border-box }
  body { margin: 0; min-height: 100vh; display: grid; grid-template-rows: auto 1fr; background: #11161c; color: #e8edf2;
    font: 16px/1.5 system-ui, sans-serif }
  header { padding: 28px 24px 8px; text-align: center }
  h1 { margin: 0; font-size: 22px; letter-spacing: .02em }
  p { margin: 4px 0 0; color: #9fb0c0; font-size: 14px }
  main { display: flex; flex-wrap: wrap; justify-content: center; gap: 24px; padding: 16px 16px 32px }
  iframe { border: 0; width: 360px; height: 600px; border-radius: 28px }
</style>
<header><h1>One channel, one turn</h1><p>Press to talk. Cut a link while somebody speaks: nothing is lost, it only comes later.</p></header>
<main><iframe title="Ann's radio" src="/radio?name=Ann"></iframe><iframe title="Ben's radio" src="/radio?name=Ben"></iframe></main>
</html>`;

export const radioPage = `<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Radio</title>
<link rel="icon" href="data:,">
<style>
  * { box-sizing: border-box }
  body { margin: 0; height: 100vh; background: #11161c; color: #e8edf2; font: 15px/1.45 system-ui, sans-serif }
  .radio { height: 100%; max-width: 420px; margin: 0 auto; display: grid; grid-template-rows: auto auto 1fr auto auto; gap: 14px;
    padding: 20px; border-radius: 28px; background: linear-gradient(#25303b, #1b242d); border: 1px solid #35434f }
  header { display: flex; align-items: center; gap: 10px }
  h1 { margin: 0; font-size: 19px; flex: 1 }
  .link { display: flex; align-items: center; gap: 7px; font-size: 13px; color: #9fb0c0 }
  .link::before { content: ""; width: 9px; height: 9px; border-radius: 50%; background: #4fd18b; box-shadow: 0 0 8px #4fd18b88 }
  .link.down::before { background: #ff7a6b; box-shadow: 0 0 8px #ff7a6b88 }
  .turn { display: flex; align-items: center; gap: 12px; padding: 12px 14px; border-radius: 14px; background: #10161c;
    border: 1px solid #2c3945; transition: border-color .2s }
  .token { width: 26px; height: 26px; border-radius: 50%; border: 2px dashed #4a5b69; transition: all .25s }
  .mine .token { background: #ffc94d; border: 2px solid #ffe09a; box-shadow: 0 0 16px #ffc94d99 }
  .mine { border-color: #ffc94d88 }
  .theirs .token { background: #35434f; border: 2px solid #5d7182 }
  ol { list-style: none; margin: 0; padding: 14px; overflow-y: auto; border-radius: 14px; background: #0c1116;
    border: 1px solid #2c3945; display: flex; flex-direction: column; gap: 8px }
  li { max-width: 85%; padding: 8px 12px; border-radius: 14px; background: #25313c; overflow-wrap: anywhere }
  li b { display: block; font-size: 12px; color: #8fb8d8; font-weight: 600 }
  li.own { align-self: flex-end; background: #5a4716 }
  li.own b { color: #ffd978 }
  li.own.waits { opacity: .6 }
  form { display: flex; gap: 8px }
  input { flex: 1; min-width: 0; padding: 12px 14px; border-radius: 12px; border: 1px solid #35434f; background: #10161c;
    color: inherit; font: inherit }
  input:disabled { opacity: .45 }
  .keys { display: grid; grid-template-columns: 1fr auto; gap: 10px }
  button { padding: 14px 18px; border: 0; border-radius: 14px; font: inherit; font-weight: 600; cursor: pointer; color: #17120a;
    background: #ffc94d }
  button.plain { background: #34424e; color: #e8edf2 }
  button:focus-visible, input:focus-visible { outline: 3px solid #8fc7ff; outline-offset: 2px }
  button:disabled { opacity: .5; cursor: default }
</style>
<div class="radio">
  <header><h1></h1><span class="link down" role="status">no link</span></header>
  <div class="turn" aria-live="polite"><span class="token"></span><span class="who">Nobody speaks</span></div>
  <ol aria-label="What was said"></ol>
  <form><input aria-label="Say something" placeholder="Press to talk first" maxlength="500" disabled>
    <button class="plain send" disabled>Say</button></form>
  <div class="keys"><button class="talk">Press to talk</button><button class="plain cut">Cut the link</button></div>
</div>
<script type="module">
import { connect } from "/client.js";
const name = new URLSearchParams(location.search).get("name") ?? "Ann";
const find = (selector) => document.querySelector(selector);
const [log, input, talk, cut, turn, link] = ["ol", "input", ".talk", ".cut", ".turn", ".link"].map(find);
find("h1").textContent = name;
document.title = name + "'s radio";

const at = new URL("/dialog?radio=" + encodeURIComponent(name), location.href);
at.protocol = at.protocol.replace("http", "ws");
// The turn begins with the other side: 1 is the data token.
const dialog = await connect(at.href, { mode: "half-duplex", theirTokens: 1, authorization: name, reconnect: { maxMs: 500 } });
globalThis.dialog = dialog;
let asked = false;
let speaker = "";

function show() {
  const mine = dialog.hasTurn;
  turn.className = "turn" + (mine ? " mine" : speaker !== "" ? " theirs" : "");
  find(".who").textContent = mine ? "You have the turn" : speaker === "" || speaker === name ? "Nobody speaks" : speaker + " speaks";
  talk.textContent = mine ? "Over" : asked ? "Waiting…" : "Press to talk";
  talk.disabled = asked && !mine;
  input.disabled = find(".send").disabled = !mine;
  input.placeholder = mine ? "Speak" : "Press to talk first";
  link.className = dialog.linked ? "link" : "link down";
  link.textContent = dialog.ended ? "the end" : dialog.linked ? "linked" : "cut off, coming back";
}

function add(from, text, own) {
  const line = document.createElement("li");
  if (own) line.className = "own waits";
  line.append(Object.assign(document.createElement("b"), { textContent: from }), text);
  log.append(line);
  log.scrollTop = log.scrollHeight;
  return line;
}

talk.onclick = async () => {
  if (dialog.hasTurn) await dialog.giveTurn();
  else {
    asked = true;
    show();
    await dialog.takeTurn();
    asked = false;
    show();
    input.focus();
  }
  show();
};
find("form").onsubmit = (event) => {
  event.preventDefault();
  const text = input.value.trim();
  if (text === "") return;
  input.value = "";
  const line = add("You", text, true);
  // Committed by the server: whatever happens to the link now, it was said.
  dialog.send(text, { until: "acked" }).then(() => line.classList.remove("waits"));
};
cut.onclick = () => fetch("/cut?radio=" + encodeURIComponent(name), { method: "POST" });
dialog.on("link", show);
dialog.on("turn", show);
dialog.on("end", show);
show();
for await (const message of dialog) {
  const said = JSON.parse(message.text);
  if (message.kind === "typed") speaker = said.speaker;
  else add(said.from, said.text, false);
  message.commit();
  show();
}
</script>
</html>`;
