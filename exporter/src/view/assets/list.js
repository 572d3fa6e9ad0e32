// Additions to the lists, which work without scripts.

// === live rows ===

// The server sends a row when it is new or has changed. A changed row is replaced in its place. New rows are added at
// the top, unless the user looks at the list: then their number is shown, and a click adds them.

const rows = document.querySelector("#rows[data-live]");
const button = document.querySelector("button.live");
const news = document.querySelector(".news");

// The list does not get longer than this.
const MAX_ROWS = 500;

if (rows && button) {
  const body = rows.tBodies?.[0] ?? rows;
  let source = null;
  let isPaused = false;
  // The time of the last event, and whether the connection has failed since.
  let lastEvent = Date.now();
  let isSilent = false;
  const waiting = new Map();
  // The server has skipped rows, or more have arrived without a connection than a page has.
  let isIncomplete = false;
  let wasOpen = false;

  const clock = (time) => new Date(time).toLocaleTimeString("en-GB");
  const show = () => {
    const text = isPaused ? "Paused" : isSilent ? `No connection since ${clock(lastEvent)}` : "Live";
    button.classList.toggle("paused", isPaused);
    button.classList.toggle("offline", isSilent && !isPaused);
    if (button.textContent !== text) button.textContent = text;
    if (!news) return;
    news.hidden = waiting.size === 0 && !isIncomplete;
    news.textContent = isIncomplete ? "Rows are missing: reload" : `${waiting.size} new`;
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
  const add = () => {
    for (const html of waiting.values()) {
      const row = parse(html);
      row.classList.add("new");
      enhance(row);
      body.prepend(row);
    }
    waiting.clear();
    while (body.children.length > MAX_ROWS) {
      body.lastElementChild.remove();
      // The next page would begin after the rows that are gone.
      document.querySelector(".more")?.remove();
    }
    rows.hidden = false;
    document.querySelector(".empty")?.remove();
    show();
  };
  const receive = (event) => {
    heard();
    const { id, html } = JSON.parse(event.data);
    const old = document.getElementById(id);
    if (!old) {
      waiting.delete(id);
      waiting.set(id, html);
      // The oldest of too many make way.
      if (waiting.size > MAX_ROWS) waiting.delete(waiting.keys().next().value);
      if (!isInUse()) add();
    } else if (!old.contains(document.activeElement) && !old.querySelector("details[open]") && !isSelecting(old)) {
      const row = parse(html);
      enhance(row);
      old.replaceWith(row);
    }
    show();
  };
  const heard = () => {
    lastEvent = Date.now();
    isSilent = false;
  };
  const close = () => {
    source?.close();
    source = null;
  };
  /** Adds what has arrived without a connection. */
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
    // The newest row is the first one.
    for (const row of found.reverse()) receive({ data: JSON.stringify({ id: row.id, html: row.outerHTML }) });
    show();
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
    events.addEventListener("open", () => {
      if (wasOpen) catchUp();
      wasOpen = true;
    });
    events.addEventListener("alive", () => {
      heard();
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
  news?.addEventListener("click", () => {
    if (isIncomplete) return location.reload();
    add();
    scrollTo(0, 0);
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && !isPaused && open());
  open();
}

// === copies ===

function enhance(element) {
  for (const copy of element.querySelectorAll("button[data-copy]")) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(copy.dataset.copy);
      copy.textContent = "✓";
      setTimeout(() => (copy.textContent = "⧉"), 1500);
    });
  }
}
if (rows) enhance(rows);

// === the overview ===

// A drag over the overview sets the times and the durations of the filter.

const overview = document.querySelector(".overview svg");
if (overview) {
  const figure = overview.parentElement;
  let start = null;
  let box = null;
  const { from, to, shortest, longest, margin } = overview.dataset;
  const first = Date.parse(from);
  const range = Date.parse(to) - first;
  const share = (position, size, units) => {
    const edge = (margin / units) * size;
    return Math.min(1, Math.max(0, (position - edge) / (size - 2 * edge)));
  };
  overview.addEventListener("dragstart", (event) => event.preventDefault());
  overview.addEventListener("pointerdown", (event) => {
    start = { x: event.offsetX, y: event.offsetY };
  });
  overview.addEventListener("pointermove", (event) => {
    if (!start || !event.buttons) return;
    if (!box) {
      if (Math.abs(event.offsetX - start.x) < 4) return;
      box = figure.appendChild(document.createElement("div"));
      box.className = "selection";
      overview.setPointerCapture(event.pointerId);
    }
    Object.assign(box.style, {
      left: `${Math.min(start.x, event.offsetX)}px`,
      width: `${Math.abs(start.x - event.offsetX)}px`,
      top: `${Math.min(start.y, event.offsetY)}px`,
      height: `${Math.abs(start.y - event.offsetY)}px`,
    });
  });
  overview.addEventListener("pointerup", (event) => {
    const begin = start;
    start = null;
    if (!box) return;
    box.remove();
    box = null;
    const { width, height } = overview.getBoundingClientRect();
    const xs = [begin.x, event.offsetX].sort((a, b) => a - b).map((x) => share(x, width, 1000));
    const ys = [begin.y, event.offsetY].sort((a, b) => b - a).map((y) => 1 - share(y, height, 96));
    // Rounded outward, so that the edges are in the selection.
    const time = (part, round) => new Date(round(first + part * range)).toISOString();
    const log = Math.log(longest / shortest);
    const micros = (part, round) => `${round((shortest * Math.exp(part * log)) / 1e3)}us`;
    const form = document.querySelector(".filters");
    form.elements.from.value = time(xs[0], Math.floor);
    form.elements.to.value = time(xs[1], (millis) => Math.ceil(millis) + 1);
    // A flat selection is one of times.
    if (Math.abs(begin.y - event.offsetY) > 12) {
      form.elements.min_duration.value = micros(ys[0], Math.floor);
      form.elements.max_duration.value = micros(ys[1], (value) => Math.ceil(value) + 1);
    }
    form.requestSubmit();
  });
  overview.addEventListener("click", (event) => event.detail === 0 || (Math.abs(event.movementX) > 3 && event.preventDefault()));
}

// Empty fields are not sent, so that links stay short.
for (const form of document.querySelectorAll(".filters")) {
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (!field.value) field.disabled = true;
  });
  addEventListener("pageshow", () => {
    for (const field of form.elements) field.disabled = false;
  });
}
