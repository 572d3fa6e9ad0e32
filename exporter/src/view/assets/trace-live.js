// A trace that is open fills in. The address has the state of the page, so the fresh page is the same with more rows. It
// takes the place of this one, unless somebody uses the page: then a button offers it.

// The server sends an event every two seconds.
const MAX_SILENCE = 4500;

// After too many changes, the server does not say whether one is of this trace.
const SKIPPED_DELAY = 5000;

const isInUse = () => {
  const main = document.querySelector("main");
  const selection = getSelection();
  const isTyped = [...main.querySelectorAll("input[type=search]")].some((input) => input.value !== input.defaultValue);
  return scrollY > 0 || hasMoreRows || isTyped || main.contains(document.activeElement) ||
    main.querySelector(".trace:hover, details[open], dialog[open], .panel") !== null ||
    (selection && !selection.isCollapsed);
};

/** Returns whether a fresh page has something that this one has not. */
function hasNews(fresh) {
  const items = (part) => part.querySelector("#rows")?.dataset.items;
  const states = (part) => allRows(part).map((row) => `${row.id} ${row.matches(".failed")}`);
  const main = document.querySelector("main");
  const known = new Set(states(main));
  return items(fresh) !== items(main) || states(fresh).some((state) => !known.has(state));
}

let isFilling = false;
let filling = null;

/** Fills in once within this time, in milliseconds. */
function fillSoon(delay = 300) {
  filling ??= setTimeout(fillIn, delay);
}

async function fillIn() {
  clearTimeout(filling);
  filling = null;
  if (isFilling) return fillSoon();
  isFilling = true;
  const address = location.href;
  try {
    const fresh = parseHtml(await fetchText(address)).querySelector("main");
    if (address !== location.href) fillSoon();
    else if (fresh && hasNews(fresh)) isInUse() ? offer() : showMain(fresh);
  } catch (error) {
    handle(error, () => {});
  }
  isFilling = false;
}

function offer() {
  if (document.querySelector(".filled")) return;
  const button = Object.assign(document.createElement("button"), { className: "filled button", type: "button", textContent: "New rows have arrived" });
  button.addEventListener("click", () => visit(location.href));
  document.querySelector(".bar h1").after(button);
}

// === connection ===

let changes = null;
let lastEvent = Date.now();

function heard() {
  lastEvent = Date.now();
  if (silentSince === null) return;
  silentSince = null;
  isOffline = false;
  showConnection();
  // Changes can be missing.
  fillSoon();
}

function fallSilent() {
  silentSince ??= lastEvent;
  showConnection();
}

function connect() {
  disconnect();
  const source = new EventSource(`/live?trace=${path.split("/")[2]}`);
  changes = source;
  for (const name of ["trace", "skipped", "alive"]) source.addEventListener(name, heard);
  // Spans can have arrived since the page was made.
  for (const name of ["open", "trace"]) source.addEventListener(name, () => fillSoon());
  source.addEventListener("skipped", () => fillSoon(SKIPPED_DELAY));
  source.addEventListener("error", () => {
    fallSilent();
    // The browser does not connect again after an error of the server.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => source === changes && connect(), 2000);
  });
}

function disconnect() {
  changes?.close();
  changes = null;
}

setInterval(() => {
  if (!changes || Date.now() - lastEvent <= MAX_SILENCE || silentSince !== null) return;
  fallSilent();
  connect();
}, 500);

// A browser has six connections to a server, so a page that nobody sees has none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return disconnect();
  lastEvent = Date.now();
  connect();
  fillIn();
});
addEventListener("pagehide", disconnect);
addEventListener("pageshow", (event) => event.persisted && !document.hidden && connect());
if (!document.hidden) connect();
