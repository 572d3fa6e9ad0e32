// The page of a trace works by links and forms. This adds details without a reload, further rows, keys, copies and local
// times. The address always has the state that is shown.

const MAX_COLLAPSED = 50;

const path = location.pathname;
const parameters = () => new URLSearchParams(location.search);

/** Replaces parameters of the address. A parameter without a value is removed. */
function setParameters(changes) {
  const query = parameters();
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  // Commas and slashes are readable.
  const text = query.toString().replaceAll("%2C", ",").replaceAll("%2F", "/");
  history.replaceState(null, "", text ? `?${text}` : path);
  return query;
}

async function fetchText(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return response.text();
}

// === details ===

/** Returns what a row is: a span or a line, and its id. */
function target(row) {
  const [kind, ...id] = row.id.split("-");
  return { span: kind === "s" ? id.join("-") : "", line: kind === "l" ? id.join("-") : "" };
}

let wanted = 0;

async function openDetails(row) {
  const number = ++wanted;
  const { span, line } = target(row);
  const query = setParameters({ span, line });
  let panel;
  try {
    const text = await fetchText(`${path}/${span ? `spans/${span}` : `lines/${line}`}?${query}`);
    panel = new DOMParser().parseFromString(text, "text/html").querySelector(".panel");
  } catch {
    panel = null;
  }
  if (number !== wanted) return;
  // Without an answer, the link shows what the server says.
  if (!panel) return location.reload();
  removePanel();
  row.classList.add("open");
  opener(row).setAttribute("aria-expanded", "true");
  for (const name of row.classList) if (/^c\d$/.test(name)) panel.classList.add(name);
  row.after(panel);
  enhance(panel);
}

function removePanel() {
  document.querySelectorAll(".panel").forEach((panel) => panel.remove());
  document.querySelectorAll(".row.open").forEach((row) => {
    row.classList.remove("open");
    opener(row)?.setAttribute("aria-expanded", "false");
  });
}

function closeDetails() {
  wanted++;
  const row = document.querySelector(".row.open");
  removePanel();
  setParameters({ span: "", line: "" });
  if (row) focusRow(row);
}

const opener = (row) => row.querySelector(".text[href], .message");

// === rows ===

const isShown = (row) => !row.hidden;
const allRows = () => [...document.querySelectorAll(".row[id]")];
const shownRows = () => allRows().filter(isShown);
const level = (row) => Number(row.getAttribute("aria-level"));
const currentRow = () => document.activeElement?.closest(".row[id]") ?? document.querySelector(".row.open") ?? document.querySelector(".row:target");

function focusRow(row) {
  opener(row)?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

/** Goes to the next or the previous row of which this is true. Returns false if there is none. */
function go(step, isWanted = () => true) {
  const list = shownRows();
  const at = list.indexOf(currentRow());
  let next = at < 0 ? (step > 0 ? 0 : list.length - 1) : at + step;
  while (list[next] && !isWanted(list[next])) next += step;
  if (!list[next]) return false;
  focusRow(list[next]);
  if (document.querySelector(".panel")) openDetails(list[next]);
  return true;
}

/** Returns the rows below a row. */
function below(row) {
  const found = [];
  for (let next = row.nextElementSibling; next; next = next.nextElementSibling) {
    if (!next.id) continue;
    if (level(next) <= level(row)) break;
    found.push(next);
  }
  return found;
}

function isCollapsed(row) {
  return row.getAttribute("aria-expanded") === "false";
}

function setCollapsed(row, collapse) {
  if (!row.hasAttribute("aria-expanded") || isCollapsed(row) === collapse) return;
  const { span } = target(row);
  const ids = (parameters().get("collapse") ?? "").split(",").filter((id) => id && id !== span);
  if (collapse) ids.push(span);
  setParameters({ collapse: ids.slice(-MAX_COLLAPSED).join(",") });
  const inside = below(row);
  // The server has not sent what was collapsed before.
  if (!collapse && inside.length === 0) return location.reload();
  row.setAttribute("aria-expanded", String(!collapse));
  const link = row.querySelector("a.fold");
  link.textContent = collapse ? "▸" : "▾";
  link.title = collapse ? "Expand" : "Collapse";
  link.setAttribute("aria-label", link.getAttribute("aria-label").replace(/^\w+/, link.title));
  row.querySelector(".hidden-rows")?.remove();
  if (collapse) {
    const count = document.createElement("span");
    count.className = "hidden-rows";
    count.textContent = `+${inside.length}`;
    row.querySelector(".name .text").after(count);
  }
  let hiddenBelow = 0;
  for (const inner of inside) {
    if (hiddenBelow && level(inner) <= hiddenBelow) hiddenBelow = 0;
    inner.hidden = collapse || hiddenBelow > 0;
    if (!hiddenBelow && isCollapsed(inner)) hiddenBelow = level(inner);
  }
  if (collapse && inside.some((inner) => inner.classList.contains("open"))) closeDetails();
  focusRow(row);
}

/** Adds the rows that a link leads to. */
async function loadMore(link) {
  const section = link.closest(".card");
  const isNext = link.classList.contains("next");
  link.setAttribute("aria-busy", "true");
  let fresh;
  try {
    const page = new DOMParser().parseFromString(await fetchText(link.href), "text/html");
    fresh = page.querySelector(section.classList.contains("log") ? ".card.log" : ".card.spans");
  } catch {
    fresh = null;
  }
  if (!fresh) return location.assign(link.href);
  const list = section.querySelector(".rows");
  const known = new Set([...list.children].map((row) => row.id));
  const added = [...fresh.querySelectorAll(".row[id]")].filter((row) => !known.has(row.id)).map((row) => document.importNode(row, true));
  const first = list.querySelector(".row");
  if (isNext) list.append(...added);
  else first.before(...added);
  added.forEach(enhance);
  // What is before or after the rows that are shown now.
  const nav = link.closest(".pages");
  const rest = fresh.querySelector(isNext ? ".pages .next" : ".pages .previous");
  if (rest) link.replaceWith(document.importNode(rest, true));
  else link.remove();
  nav.querySelector("span").textContent = `${added.length} more are shown`;
  if (added[0]) focusRow(isNext ? added[0] : added.at(-1));
}

// === find and errors ===

function goToHit(kind, step) {
  const hits = document.querySelector(`.hits.${kind}`);
  if (!hits) return;
  const isHit = kind === "error" ? (row) => row.matches(".failed, .loud") : (row) => row.matches(".match");
  if (go(step, isHit)) return;
  // Further rows are on another page.
  const address = step > 0 ? hits.dataset.after : hits.dataset.before;
  if (address) location.assign(address);
}

// === copies and times ===

function enhance(part) {
  part.querySelectorAll("button.copy").forEach((button) => { button.hidden = false; });
  showTimes(part);
}

/** Returns the text of a value, with the characters that are shown as symbols. */
function valueText(element) {
  const copy = element.cloneNode(true);
  copy.querySelectorAll("summary").forEach((summary) => summary.remove());
  copy.querySelectorAll(".ctl").forEach((symbols) => {
    const code = (symbol) => (symbol === "\u2421" ? 0x7f : symbol.codePointAt(0) - 0x2400);
    symbols.textContent = symbols.textContent.replaceAll(/\\u\{([0-9a-f]+)\}|[\u2400-\u2421]/g, (symbol, hex) =>
      String.fromCodePoint(hex ? parseInt(hex, 16) : code(symbol)));
  });
  return copy.textContent;
}

async function copy(button) {
  const text = button.dataset.copy ?? valueText(button.closest(".value").querySelector(".text"));
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // The clipboard is for secure pages only: a page over HTTP of another machine selects the text.
    const area = Object.assign(document.createElement("textarea"), { value: text });
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  button.textContent = done ? "Copied" : "Not copied";
  button.classList.add("done");
  setTimeout(() => {
    button.textContent = "Copy";
    button.classList.remove("done");
  }, 1500);
}

const ZONE = "logtracer.zone";

function zone() {
  try {
    return localStorage.getItem(ZONE) === "local" ? "local" : "utc";
  } catch {
    return "utc";
  }
}

/** Shows times in the zone that was chosen. The server has rendered UTC. */
function showTimes(part) {
  const isLocal = zone() === "local";
  part.querySelectorAll("time.at").forEach((time) => {
    const date = new Date(time.dateTime);
    if (!isLocal || Number.isNaN(date.getTime())) {
      time.textContent = time.dateTime;
      return;
    }
    const pad = (number) => String(number).padStart(2, "0");
    const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
    const clock = `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
    const fraction = time.dateTime.match(/\.\d+/)?.[0] ?? "";
    const minutes = -date.getTimezoneOffset();
    const offset = `${minutes < 0 ? "-" : "+"}${pad(Math.trunc(Math.abs(minutes) / 60))}:${pad(Math.abs(minutes) % 60)}`;
    time.textContent = `${day}T${clock}${fraction}${offset}`;
  });
  document.querySelectorAll("[data-zone]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.zone === zone()));
  });
}

// === events ===

document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const element = event.target instanceof Element ? event.target : null;
  const button = element?.closest("button");
  if (button?.matches(".copy")) return void copy(button);
  if (button?.matches(".help")) return document.querySelector(".keys").showModal();
  if (button?.dataset.zone) {
    try {
      localStorage.setItem(ZONE, button.dataset.zone);
    } catch {
      // Without storage, the choice is for this page: there is none.
    }
    return showTimes(document);
  }
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

const switchTo = (name, value, other) => {
  const query = parameters();
  if (query.get(name) === value) query.delete(name);
  else query.set(name, value);
  other.forEach((parameter) => query.delete(parameter));
  location.search = query.toString();
};

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
  c: () => switchTo("path", "critical", ["row"]),
  l: () => switchTo("lines", "beside", ["row"]),
  Escape: () => document.querySelector(".panel") && closeDetails(),
  "?": () => document.querySelector(".keys").showModal(),
};

const withRow = (action) => {
  const row = currentRow();
  if (row) action(row);
};
const isOpenParent = (row) => row.getAttribute("aria-expanded") === "true";
const toParent = (row) => {
  const list = shownRows();
  const parent = list.slice(0, list.indexOf(row)).findLast((before) => level(before) < level(row));
  if (parent) focusRow(parent);
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

document.querySelectorAll(".zone, .help").forEach((tool) => { tool.hidden = false; });
enhance(document);
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView({ block: "center" });

// === live ===

// A trace that is open fills in. The address has the state of the page, so the fresh page is the same with more rows. It
// takes the place of this one, unless somebody uses the rows: then a button offers it.

const isInUse = () => {
  const rows = document.querySelector(".trace");
  const selection = getSelection();
  return rows.matches(":hover") || rows.contains(document.activeElement) || document.querySelector("dialog[open]") ||
    document.activeElement?.matches("input") || (selection && !selection.isCollapsed);
};

async function fillIn() {
  let fresh;
  try {
    fresh = new DOMParser().parseFromString(await fetchText(location.href), "text/html").querySelector("main");
  } catch {
    return;
  }
  const main = document.querySelector("main");
  if (!fresh || fresh.textContent === main.textContent) return;
  if (isInUse()) {
    if (document.querySelector(".filled")) return;
    const button = Object.assign(document.createElement("button"), { className: "filled button", type: "button", textContent: "New rows have arrived" });
    button.addEventListener("click", () => location.reload());
    main.querySelector(".bar h1").after(button);
    return;
  }
  main.replaceChildren(...[...fresh.childNodes].map((node) => document.importNode(node, true)));
  document.querySelectorAll(".zone, .help").forEach((tool) => { tool.hidden = false; });
  enhance(document);
}

const changes = new EventSource(`/live?trace=${path.split("/")[2]}`);
let filling = null;
changes.addEventListener("trace", () => {
  clearTimeout(filling);
  filling = setTimeout(fillIn, 300);
});
addEventListener("pagehide", () => changes.close());
