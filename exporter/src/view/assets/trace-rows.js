// The rows of a trace: from one to another, what is collapsed, and further rows.

const isShown = (row) => !row.hidden;
const allRows = (list = document) => [...list.querySelectorAll(".row[id]")];
const shownRows = (list) => allRows(list).filter(isShown);
const level = (row) => Number(row.getAttribute("aria-level"));
const currentRow = () => document.activeElement?.closest(".row[id]") ?? document.querySelector(".row.open") ?? document.querySelector(".row:target");

function focusRow(row) {
  opener(row)?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function goTo(row) {
  focusRow(row);
  if (document.querySelector(".panel")) openSoon(row);
}

/** Goes to the next or the previous row. Returns false if there is none. */
function go(step) {
  const list = shownRows();
  const at = list.indexOf(currentRow());
  const next = list[at < 0 ? (step > 0 ? 0 : list.length - 1) : at + step];
  if (next) goTo(next);
  return Boolean(next);
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

function parentOf(row) {
  let above = row.previousElementSibling;
  while (above && !(above.id && level(above) < level(row))) above = above.previousElementSibling;
  return above;
}

/** Returns the address of the parent of a row if it is on an earlier page. The first row below it has the address. */
function parentBefore(row) {
  let first = row;
  while (first && !(level(first) === level(row) && first.dataset.parent)) first = first.previousElementSibling;
  return first?.dataset.parent;
}

// === what is collapsed ===

function isCollapsed(row) {
  return row.getAttribute("aria-expanded") === "false";
}

/** Expands what is above a row. */
function reveal(row) {
  const above = [];
  for (let next = parentOf(row); next; next = parentOf(next)) above.unshift(next);
  if (row.hidden) above.filter(isCollapsed).forEach((parent) => setCollapsed(parent, false));
}

/** Returns whether the server has rows that may follow a row. */
function isBeforeMore(row) {
  return allRows(row.parentElement).at(-1) === row && row.closest(".card").querySelector(".pages .next") !== null;
}

/** Returns the first row of the page of the server with this row, as a parameter. */
function pageOf(row) {
  const list = row.parentElement;
  const index = Number(list.dataset.first) + shownRows(list).indexOf(row);
  const first = Math.floor(index / PAGE_ROWS) * PAGE_ROWS;
  return first > 0 ? String(first) : "";
}

function setCollapsed(row, collapse) {
  if (!row.hasAttribute("aria-expanded") || isCollapsed(row) === collapse) return;
  const { span } = target(row);
  const ids = (parameters().get("collapse") ?? "").split(",").filter((id) => id && id !== span);
  if (collapse) ids.push(span);
  const state = { collapse: ids.slice(-MAX_COLLAPSED).join(",") };
  const inside = below(row);
  const isOpenInside = inside.some((inner) => inner.classList.contains("open"));
  if (collapse && isOpenInside) Object.assign(state, { span: "", line: "" });
  // The server has not sent what was collapsed before, and not yet what is below the last row.
  if (collapse ? isBeforeMore(inside.at(-1) ?? row) : inside.length === 0) {
    return visit(addressOf({ ...state, row: pageOf(row) }), row.id);
  }
  setParameters(state);
  row.setAttribute("aria-expanded", String(!collapse));
  const link = row.querySelector("a.fold");
  link.textContent = collapse ? "▸" : "▾";
  link.title = collapse ? "Expand" : "Collapse";
  link.setAttribute("aria-label", link.getAttribute("aria-label").replace(/^\w+/, link.title));
  row.querySelector(".hidden-rows")?.remove();
  if (collapse) {
    const count = document.createElement("span");
    count.className = "hidden-rows";
    // What was collapsed before is counted by the server, if it is not here.
    const hidden = inside.map((inner) => inner.querySelector(".hidden-rows")).filter((before) => before && below(before.closest(".row")).length === 0);
    count.textContent = `+${hidden.reduce((sum, before) => sum + Number(before.textContent), inside.length)}`;
    row.querySelector(".name .text").after(count);
  }
  let hiddenBelow = 0;
  for (const inner of inside) {
    if (hiddenBelow && level(inner) <= hiddenBelow) hiddenBelow = 0;
    inner.hidden = collapse || hiddenBelow > 0;
    if (!hiddenBelow && isCollapsed(inner)) hiddenBelow = level(inner);
  }
  if (collapse && isOpenInside) {
    beginRequest();
    removePanel();
  }
  focusRow(row);
}

// === further rows ===

/** Adds the rows that a link leads to. */
async function loadMore(link) {
  if (link.hasAttribute("aria-busy")) return;
  link.setAttribute("aria-busy", "true");
  const section = link.closest(".card");
  const isNext = link.classList.contains("next");
  const kind = section.classList.contains("log") ? ".card.log" : ".card.spans";
  let page;
  try {
    page = parseHtml(await fetchText(link.href));
  } catch (error) {
    link.removeAttribute("aria-busy");
    return handle(error, () => location.assign(link.href));
  }
  const fresh = page.querySelector(kind);
  if (!link.isConnected) return;
  if (!fresh) return location.assign(link.href);
  const list = section.querySelector(".rows");
  const known = new Set(allRows(list).map((row) => row.id));
  const added = allRows(fresh).filter((row) => !known.has(row.id)).map((row) => document.importNode(row, true));
  if (isNext) list.append(...added);
  else list.querySelector(".row[id]").before(...added);
  hasMoreRows = true;
  added.forEach(enhance);
  if (!isNext && list.dataset.first) list.dataset.first = fresh.querySelector(".rows").dataset.first;
  takeOverLinks(section, fresh, isNext);
  takeOverHits(page, isNext ? "after" : kind === ".card.spans" ? "before" : null);
  if (added[0]) focusRow(isNext ? added[0] : added.at(-1));
}

/** Shows the place of the rows that are here now, and the links to those before or after them. */
function takeOverLinks(section, fresh, isNext) {
  const replace = (old, other) => (other ? old?.replaceWith(document.importNode(other, true)) : old?.remove());
  if (!isNext) replace(section.querySelector(".pages.before"), fresh.querySelector(".pages.before"));
  const own = section.querySelector(".pages.around");
  const other = fresh.querySelector(".pages.around");
  if (!own || !other) return own?.remove();
  const link = isNext ? ".next" : ".previous";
  replace(own.querySelector(link), other.querySelector(link));
  const edge = isNext ? "end" : "first";
  own.dataset[edge] = other.dataset[edge];
  const text = own.querySelector("span");
  const [noun] = text.textContent.split(" ");
  text.textContent = `${noun} ${Number(own.dataset.first) + 1} to ${own.dataset.end} of ${other.dataset.total}`;
}

function takeOverHits(page, name) {
  if (!name) return;
  for (const hits of document.querySelectorAll(".hits")) {
    const kind = hits.matches(".error") ? ".error" : ".found";
    const address = page.querySelector(`.hits${kind}`)?.dataset[name];
    if (address) hits.dataset[name] = address;
    else delete hits.dataset[name];
  }
}

// === find and errors ===

/** Goes to the next or the previous error or match. */
function goToHit(kind, step) {
  const hits = document.querySelector(`.hits.${kind}`);
  if (!hits) return;
  const isHit = (row) => row.matches(kind === "error" ? ".failed, .loud" : ".match");
  // What the server has not sent because it is collapsed. It comes after the row.
  const inside = (row) => row?.querySelector(".hidden-rows")?.dataset[kind];
  const list = allRows();
  const at = list.indexOf(currentRow());
  let next = at < 0 && step < 0 ? list.length : at;
  if (step > 0 && inside(list[next])) return visit(inside(list[next]));
  for (next += step; list[next]; next += step) {
    if (step < 0 && inside(list[next])) return visit(inside(list[next]));
    if (isHit(list[next])) {
      reveal(list[next]);
      return goTo(list[next]);
    }
    if (step > 0 && inside(list[next])) return visit(inside(list[next]));
  }
  // Further rows are on another page.
  const address = step > 0 ? hits.dataset.after : hits.dataset.before;
  if (address) visit(address);
}
