import { render } from "preact";
import { onSignedOut } from "./api.ts";
import { App } from "./app.tsx";
import { listenToKeys } from "./keys.ts";
import { followLinks } from "./router.ts";
import { begin, signedOut } from "./state.ts";
import "./style/base.css";
import "./style/parts.css";
import "./style/tables.css";
import "./style/screens.css";

followLinks();
listenToKeys();
onSignedOut(signedOut);
const root = document.getElementById("app");
if (root === null) throw new Error("index.html has no #app");
render(<App />, root);
if (location.pathname !== "/sign-in") void begin();
