// Live rows of a list. The server sends a row when it is new or has changed. It gets its place in the order of the list,
// unless the user looks at the list: then the number of new rows is shown, and a click adds them.

const rows = document.querySelector("#rows[data-live]");
const button = document.querySelector("button.live");
const news = document.querySelector(".news");

if (rows && button) {
  const body = rows.tBodies?.[0] ?? rows;
  // The list does not get longer than this.
  const limit = Number(rows.dataset.limit);
  let source = null;
  let isPaused = false;
  // The time of the last event, and whether the connection has failed since.
  let lastEvent = Date.now();
  let isSilent = false;
  const waiting = new Map();
  // The server has skipped rows, or more have arrived without a connection than a page has.
  let isIncomplete = false;

  const show = () => {
    setText(button, isPaused ? "Paused" : isSilent ? `No connection since ${clockText(lastEvent)}` : "Live");
    button.classList.toggle("paused", isPaused);
    button.classList.toggle("offline", isSilent && !isPaused);
    const { length } = body.children;
    const count = document.querySelector(".count");
    setText(count, `${length} ${count.dataset.noun}${length === 1 ? "" : "s"}`);
    news.hidden = waiting.size === 0 && !isIncomplete;
    setText(news, isIncomplete ? "Rows are missing: reload" : `${waiting.size} new`);
  };

  const parse = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  };
  /** Whether the user looks at the list, so that nothing may move. */
  const isInUse = () =>
    scrollY > 0 || rows.matches(":hover") || rows.contains(document.activeElement) || isSelecting(rows);
  const isSelecting = (element) => {
    const selection = getSelection();
    return selection && !selection.isCollapsed && selection.containsNode(element, true);
  };

  // === the order ===

  // The numbers of a cursor are those by which the list is sorted. Lines of the future come last.
  const present = rows.dataset.present ? BigInt(rows.dataset.present) : null;
  const placeOf = (row) => {
    const numbers = row.dataset.cursor.match(/-?\d+/g).map(BigInt);
    return present === null ? numbers : [numbers[0] > present ? 0n : 1n, ...numbers];
  };
  /** Returns whether a row belongs before another one: the newest comes first. */
  const isBefore = (row, other) => {
    const [place, otherPlace] = [placeOf(row), placeOf(other)];
    const at = place.findIndex((number, index) => number !== otherPlace[index]);
    return at >= 0 && place[at] > otherPlace[at];
  };
  const insert = (row) => {
    const next = [...body.children].find((other) => isBefore(row, other));
    if (next) next.before(row);
    // After the last row of a page come those of the next one.
    else if (!document.querySelector(".more a[rel=next]")) body.append(row);
  };
  /** Removes the rows after the limit. The next page begins with them. */
  const trim = () => {
    if (body.children.length <= limit) return;
    while (body.children.length > limit) body.lastElementChild.remove();
    const address = new URL(location.href);
    const last = body.lastElementChild.dataset.cursor;
    address.searchParams.set("cursor", present === null ? last : `${present}.${last}`);
    let link = document.querySelector(".more a[rel=next]");
    if (!link) {
      const more = Object.assign(document.createElement("p"), { className: "more" });
      link = Object.assign(document.createElement("a"), { className: "button", rel: "next", textContent: rows.dataset.next });
      more.append(link);
      rows.after(more);
    }
    link.href = address.pathname + address.search;
  };
  /** Draws the bars of durations on the scale of the longest one. */
  const scale = () => {
    const bars = [...body.querySelectorAll(".share[data-nano]")];
    const log = (nanos) => Math.log(Math.max(1, nanos / 1e4));
    const longest = Math.max(log(1e6), ...bars.map((bar) => log(Number(bar.dataset.nano))));
    for (const bar of bars) {
      const share = Math.min(1, Math.max(0.01, log(Number(bar.dataset.nano)) / longest));
      bar.querySelector(".front").setAttribute("width", `${(share * 100).toFixed(1)}%`);
    }
  };

  // === rows ===

  const add = () => {
    for (const html of waiting.values()) {
      const row = parse(html);
      row.classList.add("new");
      enhance(row);
      insert(row);
    }
    waiting.clear();
    trim();
    scale();
    rows.hidden = false;
    document.querySelector(".bar").hidden = false;
    document.querySelector(".empty")?.remove();
    show();
  };
  const replace = (old, html) => {
    const row = parse(html);
    enhance(row);
    old.replaceWith(row);
    if (row.dataset.cursor !== old.dataset.cursor && !isInUse()) {
      row.remove();
      insert(row);
    }
  };
  /** Takes a row from the server. `update` shows it. */
  const take = (id, html) => {
    const old = document.getElementById(id);
    if (!old) {
      waiting.delete(id);
      waiting.set(id, html);
      // The oldest of too many make way: they are on the next page.
      if (waiting.size > limit) waiting.delete(waiting.keys().next().value);
    } else if (!old.contains(document.activeElement) && !old.querySelector("details[open]") && !isSelecting(old)) {
      replace(old, html);
    }
  };
  const update = () => {
    if (waiting.size && !isInUse()) return add();
    scale();
    show();
  };
  const receive = (event) => {
    heard();
    const { id, html } = JSON.parse(event.data);
    take(id, html);
    update();
  };

  // === connection ===

  const heard = () => {
    lastEvent = Date.now();
    isSilent = false;
  };
  const close = () => {
    source?.close();
    source = null;
  };
  /** Adds what has arrived without a connection, also what has since the page was made. */
  const catchUp = async () => {
    let fresh;
    try {
      const response = await fetch(location.href);
      if (!response.ok) return;
      fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("#rows");
    } catch {
      return;
    }
    const found = [...((fresh?.tBodies?.[0] ?? fresh)?.children ?? [])].filter((row) => row.id);
    // More rows than the page has are missing.
    if (found.length && body.children.length && !found.some((row) => document.getElementById(row.id))) isIncomplete = true;
    for (const row of found.reverse()) take(row.id, row.outerHTML);
    heard();
    update();
  };
  const open = () => {
    close();
    // A browser has six connections to a server, so a list that nobody sees has none.
    if (document.hidden) return;
    const events = new EventSource(rows.dataset.live);
    source = events;
    events.addEventListener("trace", receive);
    events.addEventListener("line", receive);
    events.addEventListener("skipped", () => {
      heard();
      isIncomplete = true;
      show();
    });
    events.addEventListener("open", catchUp);
    events.addEventListener("alive", (event) => {
      heard();
      serverOffset = Number(JSON.parse(event.data).unix_nano) / 1e6 - Date.now();
      if (waiting.size && !isInUse()) add();
      show();
    });
    events.addEventListener("error", () => {
      isSilent = true;
      show();
      // The browser does not connect again after an error of the server.
      if (events.readyState === EventSource.CLOSED) setTimeout(() => events === source && open(), 2000);
    });
  };
  // The server sends an event every two seconds.
  setInterval(() => {
    if (source && Date.now() - lastEvent > 4500 && !isSilent) {
      isSilent = true;
      show();
      open();
    }
  }, 500);

  button.hidden = false;
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    if (isPaused) close();
    else open();
    show();
  });
  document.addEventListener("visibilitychange", () => {
    if (isPaused) return;
    lastEvent = Date.now();
    open();
  });
  document.addEventListener("zone", show);
  news.addEventListener("click", () => {
    if (isIncomplete) return location.reload();
    add();
    scrollTo(0, 0);
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && !isPaused && open());
  open();
}
