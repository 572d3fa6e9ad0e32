// The page of a trace works by links and forms. This adds details without a reload, further rows and keys. The address
// always has the state that is shown.

const MAX_COLLAPSED = 50;

// The number of rows of a page of the server.
const PAGE_ROWS = 500;

// Details open this long after the last key, in milliseconds.
const DETAILS_DELAY = 120;

const path = location.pathname;
const parameters = () => new URLSearchParams(location.search);
const parseHtml = (text) => new DOMParser().parseFromString(text, "text/html");

/** Returns the address with other values of some parameters. The others stay as they are written. */
function addressOf(changes) {
  const pairs = location.search.slice(1).split("&").filter((pair) => pair && !Object.hasOwn(changes, pair.split("=")[0]));
  for (const [name, value] of Object.entries(changes)) {
    // Commas separate ids.
    if (value) pairs.push(`${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`);
  }
  return pairs.length ? `${path}?${pairs.join("&")}` : path;
}

const setParameters = (changes) => history.replaceState(null, "", addressOf(changes));

// === connection ===

class HttpError extends Error {}

// Whether the last request failed, and since when there are no events.
let isOffline = false;
let silentSince = null;

/** Shows in words that there is no connection. */
function showConnection() {
  const output = document.querySelector(".connection");
  const since = silentSince && clockText(silentSince);
  const text = since ? `No connection since ${since}` : isOffline ? "No connection" : "";
  if (output) setText(output, text);
}
document.addEventListener("zone", showConnection);

async function fetchText(address, signal) {
  const response = await fetch(address, { signal });
  if (!response.ok) throw new HttpError(`${response.status} ${response.statusText}`);
  const text = await response.text();
  isOffline = false;
  showConnection();
  return text;
}

/** Without a connection, the page stays as it is. Other errors are shown by the server. */
function handle(error, showError) {
  if (error.name === "AbortError") return;
  if (error instanceof HttpError) return showError();
  isOffline = true;
  showConnection();
}

// === the whole page ===

// Whether there are more rows than the server has sent at first.
let hasMoreRows = false;

/** Shows another state of the page, and goes to a row. */
async function visit(address, id = new URL(address, location.href).hash.slice(1)) {
  const { signal } = beginRequest();
  let main;
  try {
    main = parseHtml(await fetchText(address, signal)).querySelector("main");
  } catch (error) {
    return handle(error, () => location.assign(address));
  }
  if (signal.aborted) return;
  if (!main?.querySelector("#rows")) return location.assign(address);
  history.replaceState(null, "", address);
  showMain(main);
  const row = id && document.getElementById(id);
  if (row) focusRow(row);
}

/** Replaces what is shown, but not the files that the page has loaded. */
function showMain(fresh) {
  const main = document.querySelector("main");
  const isContent = (node) => !(node instanceof Element && node.matches("link, script"));
  [...main.childNodes].filter(isContent).forEach((node) => node.remove());
  main.append(...[...fresh.childNodes].filter(isContent).map((node) => document.importNode(node, true)));
  hasMoreRows = false;
  begin();
}

function begin() {
  document.querySelector(".help").hidden = false;
  enhance(document);
  showConnection();
  // The server expands what is above the open row.
  const collapse = document.getElementById("rows")?.dataset.collapse ?? "";
  if (collapse !== (parameters().get("collapse") ?? "")) setParameters({ collapse });
}

// === details ===

/** Returns what a row is: a span or a line, and its id. */
function target(row) {
  const [kind, ...id] = row.id.split("-");
  return { span: kind === "s" ? id.join("-") : "", line: kind === "l" ? id.join("-") : "" };
}

// The request that decides what is shown next, and the timer of the next one.
let request = null;
let opening = null;

/** Cancels the request before, because nobody waits for it. */
function beginRequest() {
  clearTimeout(opening);
  request?.abort();
  request = new AbortController();
  return request;
}

async function openDetails(row) {
  const { signal } = beginRequest();
  const state = target(row);
  const [kind, id] = state.span ? ["spans", state.span] : ["lines", state.line];
  const showError = () => {
    setParameters(state);
    location.reload();
  };
  let panel;
  try {
    const text = await fetchText(`${path}/${kind}/${id}${addressOf(state).slice(path.length)}`, signal);
    panel = parseHtml(text).querySelector(".panel");
  } catch (error) {
    return handle(error, showError);
  }
  if (signal.aborted || !row.isConnected) return;
  if (!panel) return showError();
  setParameters(state);
  keepInPlace(row, () => {
    removePanel();
    row.classList.add("open");
    opener(row).setAttribute("aria-expanded", "true");
    for (const name of row.classList) if (/^c\d$/.test(name)) panel.classList.add(name);
    row.after(panel);
    enhance(panel);
  });
}

/** Changes what is around a row, which stays where it is in the window. */
function keepInPlace(row, change) {
  const before = row.getBoundingClientRect().top;
  change();
  scrollBy({ top: row.getBoundingClientRect().top - before, behavior: "instant" });
}

/** Opens the details of a row that was reached by a key, unless another key follows. */
function openSoon(row) {
  beginRequest();
  opening = setTimeout(() => openDetails(row), DETAILS_DELAY);
}

function removePanel() {
  document.querySelectorAll(".panel").forEach((panel) => panel.remove());
  document.querySelectorAll(".row.open").forEach((row) => {
    row.classList.remove("open");
    opener(row)?.setAttribute("aria-expanded", "false");
  });
}

function closeDetails() {
  beginRequest();
  const row = document.querySelector(".row.open");
  removePanel();
  setParameters({ span: "", line: "" });
  if (row) focusRow(row);
}

const opener = (row) => row.querySelector(".text[href], .message");

// === events ===

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const element = event.target instanceof Element ? event.target : null;
  const button = element?.closest("button");
  if (button?.matches(".help")) return document.querySelector(".keys").showModal();
  const link = element?.closest("a");
  if (!link) return;
  const row = link.closest(".row[id]");
  let action;
  if (row && link.matches("a.fold")) action = () => setCollapsed(row, !isCollapsed(row));
  else if (row && link === opener(row)) action = () => (row.classList.contains("open") ? closeDetails() : openDetails(row));
  else if (link.matches(".close")) action = closeDetails;
  else if (link.matches(".pages a")) action = () => loadMore(link);
  else if (link.matches(".mark")) {
    const line = document.getElementById(link.getAttribute("href").split("#")[1]);
    if (line && isShown(line)) action = () => { openDetails(line); focusRow(line); };
  }
  if (!action) return;
  event.preventDefault();
  action();
});

/** Sets a parameter of the address, or removes it, and others with it. */
const switchTo = (name, value, others) => {
  const changes = { ...Object.fromEntries(others.map((other) => [other, ""])), [name]: value };
  visit(addressOf(changes));
};
const isBeside = () => parameters().has("of") || !["", "interleaved"].includes(parameters().get("lines") ?? "");

const KEYS = {
  "/": () => {
    const find = document.querySelector(".find-in input");
    find.focus();
    find.select();
  },
  j: () => go(1) || loadNext(),
  k: () => go(-1),
  ArrowRight: () => withRow((row) => setCollapsed(row, false)),
  ArrowLeft: () => withRow((row) => (isOpenParent(row) ? setCollapsed(row, true) : toParent(row))),
  e: () => goToHit("error", 1),
  E: () => goToHit("error", -1),
  n: () => goToHit("found", 1),
  N: () => goToHit("found", -1),
  c: () => switchTo("path", parameters().get("path") === "critical" ? "" : "critical", ["row"]),
  l: () => switchTo("lines", isBeside() ? "" : "beside", ["row", "of"]),
  Escape: () => document.querySelector(".panel") && closeDetails(),
  "?": () => document.querySelector(".keys").showModal(),
};

const withRow = (action) => {
  const row = currentRow();
  if (row) action(row);
};
const isOpenParent = (row) => row.getAttribute("aria-expanded") === "true";
const toParent = (row) => {
  const parent = parentOf(row);
  if (parent) focusRow(parent);
  else if (parentBefore(row)) visit(parentBefore(row));
};
const loadNext = () => {
  const next = document.querySelector(".card.spans .pages .next");
  if (next) loadMore(next);
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target instanceof Element && event.target.closest("input, textarea, select, dialog, [contenteditable]")) return;
  const action = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (!action) return;
  event.preventDefault();
  action();
});

begin();
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView({ block: "center" });
